// A sweep: traces run to the right and overwrite what is oldest, as on an oscilloscope.
// Only what is new is drawn; everything is drawn anew when size, scale or rows change.

import { fit } from "./traces.js";

const GROUND = "#141a20", GRID = "#222b33", HEAD = "#3a4651";
const GAP_PIXELS = 14;

export class Sweep {
  // lanes: [{ring, row, centre (0..1), height (0..1), colour, offset, gain}]: y = centre - (value - offset) * gain
  constructor(canvas) {
    this.canvas = canvas;
    this.context = canvas.getContext("2d", { alpha: false });
    this.lanes = [];
    this.groups = new Map();
    this.drawn = new Map();
    this.stale = true;
  }

  setLanes(lanes) {
    this.lanes = lanes;
    this.groups = Map.groupBy(lanes, lane => lane.ring);
    this.stale = true;
  }

  draw() {
    if (fit(this.canvas)) this.stale = true;
    for (const ring of this.groups.keys()) {
      if (this.drawn.get(ring)?.version !== ring.version) this.stale = true;
    }
    if (this.stale) this.redraw();
    else for (const [ring, lanes] of this.groups) this.advance(ring, lanes);
  }

  redraw() {
    const { context, canvas } = this;
    context.fillStyle = GROUND;
    context.fillRect(0, 0, canvas.width, canvas.height);
    this.grid(0, canvas.width, 0, canvas.height);
    this.drawn.clear();
    this.stale = false;
    for (const [ring, lanes] of this.groups) {
      this.drawn.set(ring, { version: ring.version, head: ring.head });
      if (ring.head < 0) continue;
      const oldest = ring.head - ring.n + 1;
      const turn = ring.head - (ring.head % ring.n);  // first column of this turn
      if (turn > oldest) this.stretch(ring, lanes, oldest, turn - 1);
      this.stretch(ring, lanes, Math.max(turn, oldest), ring.head);
      this.gap(lanes, Math.ceil((ring.head % ring.n + 1) / ring.n * canvas.width));
    }
  }

  advance(ring, lanes) {
    const state = this.drawn.get(ring);
    if (!state || ring.head === state.head) return;
    const first = Math.max(state.head + 1, ring.head - ring.n + 1);
    state.head = ring.head;
    const turn = ring.head - (ring.head % ring.n);
    if (turn > first) {
      this.erase(ring, lanes, first, turn - 1);
      this.stretch(ring, lanes, first, turn - 1);
    }
    this.erase(ring, lanes, Math.max(turn, first), ring.head);
    this.stretch(ring, lanes, Math.max(turn, first), ring.head);
  }

  x(ring, number) {
    return ((number % ring.n) + 0.5) / ring.n * this.canvas.width;
  }

  bounds(lanes) {
    const height = this.canvas.height;
    const top = Math.min(...lanes.map(l => l.centre - l.height / 2)) * height;
    const bottom = Math.max(...lanes.map(l => l.centre + l.height / 2)) * height;
    return [Math.floor(top), Math.ceil(bottom - top)];
  }

  erase(ring, lanes, first, last) {
    const { context, canvas } = this;
    const step = canvas.width / ring.n;
    const from = Math.floor((first % ring.n) * step), to = Math.ceil((last % ring.n + 1) * step);
    const [top, tall] = this.bounds(lanes);
    context.fillStyle = GROUND;
    context.fillRect(from, top, to - from, tall);
    this.grid(from, to, top, top + tall);
    this.gap(lanes, to);
  }

  gap(lanes, from) {
    const { context } = this;
    const [top, tall] = this.bounds(lanes);
    context.fillStyle = GROUND;
    context.fillRect(from, top, GAP_PIXELS, tall);
    this.grid(from, from + GAP_PIXELS, top, top + tall);
    context.fillStyle = HEAD;
    context.fillRect(from + 2, top, 1, tall);
  }

  grid(from, to, top, bottom) {
    const { context, canvas } = this;
    context.fillStyle = GRID;
    for (let second = 0; second < 10; second++) {
      const x = Math.round(second / 10 * canvas.width);
      if (x >= from && x < to) context.fillRect(x, top, 1, bottom - top);
    }
  }

  stretch(ring, lanes, first, last) {
    const { context, canvas } = this;
    const height = canvas.height, width = ring.rows.length * 2;
    context.lineWidth = 1.1 * (window.devicePixelRatio || 1);
    context.lineJoin = "bevel";
    for (const [colour, some] of Map.groupBy(lanes, lane => lane.colour)) {
      context.strokeStyle = colour;
      context.beginPath();
      for (const lane of some) {
        const centre = lane.centre * height, gain = lane.gain * height, offset = lane.offset;
        const top = centre - lane.clip * height, bottom = centre + lane.clip * height;
        let pen = false, lastY = centre;
        const begin = first % ring.n === 0 ? first : first - 1;
        for (let number = begin; number <= last; number++) {
          const slot = number % ring.n, at = slot * width + 2 * lane.row;
          const low = ring.values[at], high = ring.values[at + 1];
          if (ring.numbers[slot] !== number || low !== low) { pen = false; continue; }
          const x = (slot + 0.5) / ring.n * canvas.width;
          const a = Math.min(bottom, Math.max(top, centre - (low - offset) * gain));
          const b = Math.min(bottom, Math.max(top, centre - (high - offset) * gain));
          if (!pen) { context.moveTo(x, a); context.lineTo(x, b); lastY = b; pen = true; continue; }
          // From where the pen is, to the nearer end first.
          if (Math.abs(lastY - a) < Math.abs(lastY - b)) { context.lineTo(x, a); context.lineTo(x, b); lastY = b; }
          else { context.lineTo(x, b); context.lineTo(x, a); lastY = a; }
        }
      }
      context.stroke();
    }
  }
}
