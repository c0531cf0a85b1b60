// The EEG: every channel at one scale, coloured and marked by its quality.

import { Sweep } from "./sweep.js";
import { fit } from "./traces.js";
import { unit } from "./body.js";

const SCALES = [5, 10, 20, 30, 50, 70, 100, 150, 200, 300, 500, 1000, 2000];
const FAIR = 0.75, BAD = 0.5, KEPT_SCORES = 5, FEWEST_SCORES = 3;
export const QUALITY = {
  good: { colour: "#c5d0d9", mark: "●" },
  fair: { colour: "#e69f00", mark: "▲" },
  bad: { colour: "#ff6a13", mark: "✕" },
  unknown: { colour: "#8b98a4", mark: "·" },
};
const $ = id => document.getElementById(id);

export class EegPanel {
  constructor(page) {
    this.page = page;
    this.sweep = new Sweep($("eeg"));
    this.labels = $("eeg-labels");
    this.scale = SCALES.indexOf(100);
    this.lanes = [];
    this.kept = new Map();
    this.version = "";
  }

  layout() {
    const lanes = [];
    for (const ring of this.page.traces.streams.values()) {
      ring.rows.forEach((row, index) => {
        if (row.panel === "eeg") lanes.push({ ring, row: index, label: row.label, kind: row.kind, unit: row.unit, quality: "unknown" });
      });
    }
    this.lanes = lanes;
    $("eeg-empty").hidden = lanes.length > 0;
    $("eeg-empty").textContent = this.page.mode === "stored" ? "no EEG in this recording" : "no EEG stream yet";
    const n = lanes.length, rings = new Set(lanes.map(l => l.ring));
    $("eeg-title").textContent = n ? `${n} channels · ${[...rings].map(r => r.name).join(", ")}` : "";
    this.arrange();
    this.scores();
  }

  arrange() {
    const n = this.lanes.length;
    this.lanes.forEach((lane, i) => {
      Object.assign(lane, { centre: (i + 0.5) / n, height: 1 / n, offset: 0, clip: Math.max(2.5 / n, 0.04) });
      lane.gain = 1 / n / SCALES[this.scale];
      lane.colour = QUALITY[lane.quality].colour;
    });
    const units = new Set(this.lanes.map(l => l.unit));
    $("eeg-scale").textContent = n ? `row = ${SCALES[this.scale]} ${[...units].map(unit).join(" / ")}` : "";
    this.sweep.setLanes(this.lanes);
    this.name();
  }

  zoom(step) {
    this.scale = Math.min(SCALES.length - 1, Math.max(0, this.scale + step));
    this.arrange();
    requestAnimationFrame(() => this.draw());
  }

  resized() {
    this.name();
    requestAnimationFrame(() => this.draw());
  }

  // The median of the last scores: a blink does not make an electrode bad.
  scores() {
    const measured = this.page.status.measured ?? {}, text = JSON.stringify(measured);
    if (text === this.scored) return;
    this.scored = text;
    let changed = false;
    const stored = this.page.mode === "stored", nKept = stored ? 1 : KEPT_SCORES, fewest = stored ? 1 : FEWEST_SCORES;
    const counts = { good: 0, fair: 0, bad: 0, unknown: 0 };
    for (const lane of this.lanes) {
      const key = `${lane.ring.id}/${lane.row}`, score = measured[lane.ring.id]?.scores[lane.row];
      let kept = this.kept.get(key) ?? [];
      kept = score === null || score === undefined ? [] : [...kept, score].slice(-nKept);
      this.kept.set(key, kept);
      const median = kept.length < fewest ? undefined : [...kept].sort((a, b) => a - b)[kept.length >> 1];
      const quality = median === undefined ? "unknown" : median < BAD ? "bad" : median < FAIR ? "fair" : "good";
      counts[quality]++;
      if (quality !== lane.quality) {
        lane.quality = quality;
        lane.colour = QUALITY[quality].colour;
        changed = true;
      }
    }
    this.counts = counts;
    for (const word of ["good", "fair", "bad"]) {
      const plain = { good: "good", fair: "doubtful", bad: "bad" }[word];
      document.querySelector(`.legend .${word}`).textContent = `${QUALITY[word].mark} ${counts[word]} ${plain}`;
    }
    if (changed) this.name();  // traces take their new colour as they go on
  }

  name() {
    const canvas = this.labels, n = this.lanes.length;
    fit(canvas);
    const context = canvas.getContext("2d", { alpha: false });
    context.fillStyle = "#141a20";
    context.fillRect(0, 0, canvas.width, canvas.height);
    const ratio = window.devicePixelRatio || 1, pitch = canvas.height / Math.max(n, 1);
    const size = Math.min(14 * ratio, Math.max(8 * ratio, pitch * 0.92));
    const every = Math.max(1, Math.ceil(size * 0.8 / pitch));
    context.textBaseline = "middle";
    this.lanes.forEach((lane, i) => {
      const { colour, mark } = QUALITY[lane.quality], y = (i + 0.5) * pitch;
      const isShown = i % every === 0 || lane.quality === "bad";
      if (!isShown) return;
      context.fillStyle = colour;
      context.font = `${lane.quality === "bad" ? "bold " : ""}${size}px system-ui, sans-serif`;
      context.textAlign = "left";
      context.fillText(lane.label, 14 * ratio, y, canvas.width - 16 * ratio);
      context.font = `${size * (mark === "●" ? 0.6 : 0.85)}px system-ui, sans-serif`;
      context.textAlign = "center";
      context.fillText(mark, 6 * ratio, y);
    });
  }

  draw() { if (this.lanes.length) this.sweep.draw(); }
}
