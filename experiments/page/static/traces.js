// Traces: the binary message decoded into one ring of pixel columns per stream.

const HEAD_BYTES = 16, BLOCK_BYTES = 24;

export class Traces {
  constructor() {
    this.window = 10;
    this.streams = new Map();
  }

  layout(message) {
    this.window = message.window;
    const before = this.streams;
    this.streams = new Map();
    for (const stream of message.streams) {
      const old = before.get(stream.id);
      this.streams.set(stream.id, old ?? new Ring(stream, Math.max(1, Math.round(message.window * stream.rate))));
    }
  }

  take(buffer) {
    const view = new DataView(buffer);
    const nBlocks = view.getUint32(4, true);
    let at = HEAD_BYTES;
    for (let i = 0; i < nBlocks; i++) {
      const id = view.getUint32(at, true), nRows = view.getUint32(at + 4, true);
      const nColumns = view.getUint32(at + 8, true), restarts = view.getUint32(at + 12, true);
      const first = view.getFloat64(at + 16, true);
      const values = new Float32Array(buffer, at + BLOCK_BYTES, nColumns * nRows * 2);
      at += BLOCK_BYTES + values.byteLength;
      const ring = this.streams.get(id);
      if (ring && ring.rows.length === nRows) ring.take(first, nColumns, values, Boolean(restarts));
    }
  }
}

export class Ring {
  constructor(stream, n) {
    this.id = stream.id;
    this.name = stream.name;
    this.rate = stream.rate;
    this.rows = stream.rows;
    this.n = n;
    this.values = new Float32Array(n * stream.rows.length * 2).fill(NaN);
    this.numbers = new Float64Array(n).fill(-1);
    this.head = -1;        // newest column
    this.version = 0;      // grows when all that was drawn is void
  }

  take(first, nColumns, values, restarts) {
    const width = this.rows.length * 2;
    if (restarts) this.clear();
    for (let k = 0; k < nColumns; k++) {
      const slot = (first + k) % this.n;
      this.values.set(values.subarray(k * width, (k + 1) * width), slot * width);
      this.numbers[slot] = first + k;
    }
    this.head = first + nColumns - 1;
  }

  clear() {
    this.numbers.fill(-1);
    this.values.fill(NaN);
    this.head = -1;
    this.version++;
  }

  // Minimum and maximum of a row over the ring, or null where nothing is there.
  range(row) {
    let low = Infinity, high = -Infinity;
    const width = this.rows.length * 2;
    for (let slot = 0; slot < this.n; slot++) {
      if (this.numbers[slot] <= this.head - this.n) continue;
      const a = this.values[slot * width + 2 * row], b = this.values[slot * width + 2 * row + 1];
      if (a < low) low = a;
      if (b > high) high = b;
    }
    return high >= low ? [low, high] : null;
  }
}

// Fit a canvas to its place on the page; return whether its size changed.
export function fit(canvas) {
  const ratio = window.devicePixelRatio || 1;
  const width = Math.max(1, Math.round(canvas.clientWidth * ratio));
  const height = Math.max(1, Math.round(canvas.clientHeight * ratio));
  if (canvas.width === width && canvas.height === height) return false;
  canvas.width = width;
  canvas.height = height;
  return true;
}
