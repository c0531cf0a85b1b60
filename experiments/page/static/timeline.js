// The session from its beginning: phases as blocks with their letter or number, markers as ticks.

import { fit } from "./traces.js";

const COLOURS = { baseline: "#56b4e9", practice: "#f0e442", trial: "#009e73", rating: "#cc79a7", break: "#5b6873", paused: "#e69f00", rest: "#3d4852" };
const LETTERS = { baseline: "B", practice: "P", trial: "T", rating: "R", break: "–", paused: "‖", rest: "·" };
const LEAST_SECONDS = 120;

export class Timeline {
  constructor(canvas, page, onSeek) {
    this.canvas = canvas;
    this.page = page;
    this.span = [0, LEAST_SECONDS];
    const seek = event => {
      if (page.mode !== "stored" || !(event.buttons & 1)) return;
      const share = event.offsetX / canvas.clientWidth;
      onSeek(this.span[0] + share * (this.span[1] - this.span[0]));
    };
    canvas.addEventListener("pointerdown", seek);
    canvas.addEventListener("pointermove", seek);
  }

  draw() {
    const { page, canvas } = this;
    const stored = page.mode === "stored";
    const now = stored ? page.position?.seconds ?? 0 : Date.now() / 1000 - page.clockShift;
    const segments = (stored ? page.position?.segments : page.story.segments) ?? [];
    const ticks = stored ? page.position?.ticks ?? [] : page.events.map(e => e.seconds);
    if (stored && page.position) this.span = [page.position.start, page.position.stop];
    else {
      const first = segments[0]?.start_seconds ?? page.events[0]?.seconds ?? now;
      const planned = page.story.since_seconds && page.story.planned_seconds ? page.story.since_seconds + page.story.planned_seconds : now;
      this.span = [first, Math.max(first + LEAST_SECONDS, now + 5, planned)];
    }
    fit(canvas);
    const c = canvas.getContext("2d", { alpha: false }), ratio = window.devicePixelRatio || 1;
    const w = canvas.width, h = canvas.height, [start, stop] = this.span;
    const x = seconds => (seconds - start) / (stop - start) * w;
    c.fillStyle = "#141a20"; c.fillRect(0, 0, w, h);
    const top = Math.round(h * 0.12), tall = Math.round(h * 0.5);
    c.textAlign = "center"; c.textBaseline = "middle";
    for (const segment of segments) {
      const a = x(segment.start_seconds), b = Math.max(a + 1, x(segment.stop_seconds ?? (stored ? stop : now)));
      c.fillStyle = COLOURS[segment.phase] ?? "#5b6873";
      c.fillRect(a, top, b - a - 0.5, tall);
      const text = segment.label || LETTERS[segment.phase] || segment.phase[0];
      c.fillStyle = "#0b0d0f"; c.font = `700 ${Math.round(tall * 0.62)}px system-ui, sans-serif`;
      if (b - a > c.measureText(text).width + 4) c.fillText(text, (a + b) / 2, top + tall / 2 + 1);
    }
    c.fillStyle = "#7d8b97";
    for (const at of ticks) c.fillRect(Math.round(x(at)), top + tall + 2, 1, Math.round(h * 0.1));
    this.axis(c, x, w, h, ratio);
    c.fillStyle = "#ffffff";
    c.fillRect(Math.round(x(now)) - 1, 0, 2, h);
  }

  axis(c, x, w, h, ratio) {
    const [start, stop] = this.span, length = stop - start;
    const step = [10, 30, 60, 120, 300, 600, 1800, 3600].find(s => s / length * w > 70 * ratio) ?? 7200;
    c.fillStyle = "#94a1ad"; c.font = `${10 * ratio}px system-ui, sans-serif`; c.textBaseline = "bottom"; c.textAlign = "left";
    for (let at = 0; at < length; at += step) {
      const text = minutes(at);
      c.fillText(text, x(start + at) + 3 * ratio, h - 1);
      c.fillRect(Math.round(x(start + at)), h - 11 * ratio, 1, 11 * ratio);
    }
  }
}

export function minutes(seconds) {
  const whole = Math.max(0, Math.floor(seconds)), rest = String(whole % 60).padStart(2, "0");
  return whole >= 3600 ? `${Math.floor(whole / 3600)}:${String(Math.floor(whole / 60) % 60).padStart(2, "0")}:${rest}` : `${Math.floor(whole / 60)}:${rest}`;
}
