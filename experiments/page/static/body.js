// Heart, skin, breath and pupils: each in its own lane and range, with the number it gives.

import { Sweep } from "./sweep.js";

const NAMES = { ecg: "ECG", pleth: "Pulse", eda: "Skin", respiration: "Breath", temperature: "Temperature", pupil: "Pupil", acceleration: "Motion" };
const ORDER = ["ecg", "pleth", "eda", "respiration", "pupil", "temperature", "acceleration"];
const COLOURS = { ecg: "#e69f00", pleth: "#e69f00", eda: "#33c79c", respiration: "#56b4e9", temperature: "#f0e442", pupil: "#cc79a7", acceleration: "#56b4e9" };
const OTHERS = ["#f0e442", "#cc79a7", "#c5d0d9"];  // of further traces in a lane
const SHARED = ["pupil", "acceleration"];  // kinds whose channels share a lane
const LEAST = { eda: { uS: 0.5 }, pupil: { mm: 0.4 }, ecg: { mV: 0.5 } };
const RANGE_MS = 1500, CHANGED = 0.12;
const $ = id => document.getElementById(id);

export class BodyPanel {
  constructor(page) {
    this.page = page;
    this.sweep = new Sweep($("body"));
    this.lanes = [];
    this.groups = [];
    this.ranged = 0;
  }

  layout() {
    const groups = new Map();
    for (const ring of this.page.traces.streams.values()) {
      ring.rows.forEach((row, index) => {
        if (row.panel !== "body") return;
        const key = SHARED.includes(row.kind) ? `${row.kind}/${ring.id}` : `${row.kind}/${ring.id}/${index}`;
        if (!groups.has(key)) groups.set(key, { kind: row.kind, unit: row.unit, traces: [] });
        const group = groups.get(key), n = group.traces.length;
        group.traces.push({ ring, row: index, label: row.label, colour: n ? OTHERS[(n - 1) % OTHERS.length] : COLOURS[row.kind] });
      });
    }
    this.groups = [...groups.values()].sort((a, b) => ORDER.indexOf(a.kind) - ORDER.indexOf(b.kind)).slice(0, 8);
    $("body-empty").hidden = this.groups.length > 0;
    $("body-empty").textContent = this.page.mode === "stored" ? "no physiology in this recording" : "no physiology stream yet";
    const n = this.groups.length;
    this.groups.forEach((group, i) => Object.assign(group, { centre: (i + 0.5) / n, height: 1 / n, low: 0, high: 0 }));
    $("body-labels").replaceChildren(...this.groups.map(group => {
      group.range = element("div", "range");
      const names = group.traces.length > 1 ? group.traces.map(t => t.label).join(" · ") : "";
      const box = element("div", "", element("div", "name", NAMES[group.kind]), group.range);
      box.title = names || group.traces[0].label;
      box.firstChild.style.color = group.traces[0].colour;
      return box;
    }));
    $("body-numbers").replaceChildren(...this.groups.map(group => {
      group.value = element("div", "value");
      group.note = element("div", "note");
      return element("div", "", group.value, group.note);
    }));
    this.lanes = this.groups.flatMap(group => group.traces);
    this.ranges();
  }

  resized() { requestAnimationFrame(() => this.draw()); }

  ranges() {
    this.ranged = performance.now();
    let changed = false;
    for (const group of this.groups) {
      const found = group.traces.map(t => t.ring.range(t.row)).filter(Boolean);
      if (!found.length) continue;
      let low = Math.min(...found.map(f => f[0])), high = Math.max(...found.map(f => f[1]));
      const least = LEAST[group.kind]?.[group.unit] ?? 1e-9;
      const short = Math.max(0, least - (high - low)) / 2;
      low -= short; high += short;
      const span = high - low || 1, known = group.high - group.low;
      const moved = Math.max(Math.abs(low - group.low), Math.abs(high - group.high));
      const sticks = known > 0 && moved < CHANGED * known;
      if (!sticks) { group.low = low - 0.05 * span; group.high = high + 0.05 * span; changed = true; }
      group.range.textContent = `${edge(group.low, group)} – ${edge(group.high, group)} ${unit(group.unit)}`;
    }
    if (!changed && this.sweep.lanes.length === this.lanes.length) return;
    for (const group of this.groups) {
      const span = group.high - group.low || 1;
      for (const lane of group.traces) Object.assign(lane, {
        centre: group.centre, height: group.height, offset: (group.low + group.high) / 2,
        gain: 0.9 * group.height / span, clip: group.height / 2,
      });
    }
    this.sweep.setLanes(this.lanes);
  }

  numbers() {
    const measured = this.page.status.measured ?? {};
    for (const group of this.groups) {
      const readings = group.traces.map(t => measured[t.ring.id]?.readings[t.row]).filter(Boolean);
      const known = readings.filter(r => r.value !== null);
      const reading = known[0] ?? readings[0];
      const mean = known.reduce((sum, r) => sum + r.value, 0) / (known.length || 1);
      const text = !reading ? "–" : known.length ? short_(mean) : "–";
      const shown = reading ? unit(reading.unit) : "";
      const note = reading ? reading.note : group.kind === "acceleration" ? "" : "no data";
      if (group.shown === text + shown + note) continue;
      group.shown = text + shown + note;
      group.value.replaceChildren(text, element("small", "", known.length ? ` ${shown}` : ""));
      group.note.textContent = note;
      group.note.title = note;
    }
  }

  draw() {
    if (!this.lanes.length) return;
    if (performance.now() - this.ranged > RANGE_MS) this.ranges();
    this.sweep.draw();
  }
}

export function element(tag, name, ...children) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...children);
  return made;
}

export function unit(text) { return text === "uS" ? "µS" : text === "uV" ? "µV" : text; }

function edge(value, { low, high }) { return value.toFixed(high - low >= 20 ? 0 : high - low >= 1 ? 1 : 2); }

function short_(value) {
  const size = Math.abs(value);
  return size >= 100 ? value.toFixed(0) : size >= 20 ? value.toFixed(0) : size >= 1 ? value.toFixed(1) : value.toFixed(2);
}
