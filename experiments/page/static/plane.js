// The affect plane with its trail, and where the eyes look.

import { element } from "./body.js";
import { fit } from "./traces.js";

const TRAIL_POINTS = 80, OLD_SECONDS = 5, SILENT_SECONDS = 1;
const [T, PV, PA, PD, CV, CA, CD, ABSTAIN] = [0, 1, 2, 3, 4, 5, 6, 7];
const LINE = "#33404b", TEXT = "#94a1ad", SKY = "#56b4e9", YELLOW = "#f0e442";
const $ = id => document.getElementById(id);

export class AffectPlane {
  constructor(canvas, page) { this.canvas = canvas; this.page = page; this.seen = ""; }

  draw() {
    const { page, canvas } = this;
    const now = page.mode === "stored" ? page.position?.seconds ?? 0 : Date.now() / 1000 - page.clockShift;
    const last = page.points.at(-1), age = last ? now - last[T] : NaN;
    const isOld = !(age < OLD_SECONDS);
    const key = `${last?.[T]}/${isOld}/${canvas.clientWidth}x${canvas.clientHeight}`;
    if (fit(canvas) || key !== this.seen) { this.seen = key; this.paint(last, isOld); }
    const text = $("affect-text");
    if (last && !isOld && !last[ABSTAIN]) text.replaceChildren(...words(last));
    else text.textContent = !last ? "no predictions" : isOld ? `no prediction for ${age.toFixed(0)} s` : `ABSTAINS: ${this.why()}`;
  }

  why() {
    const found = this.page.status.decoder_quality?.find(row => row.name === "staleness");
    return found?.value >= SILENT_SECONDS ? "the EEG is silent" : "too little usable signal";
  }

  paint(last, isOld) {
    const { canvas } = this, c = canvas.getContext("2d", { alpha: false });
    const ratio = window.devicePixelRatio || 1, w = canvas.width, h = canvas.height;
    c.fillStyle = "#141a20"; c.fillRect(0, 0, w, h);
    const font = 12 * ratio, bar = 16 * ratio;
    const side = Math.max(20, Math.min(w - 3 * bar - 2 * font, h - 2.4 * font));
    const left = (w - side - 2.2 * bar) / 2, top = (h - 1.6 * font - side) / 2 + 0.2 * font;
    const at = (v, a) => [left + v * side, top + (1 - a) * side];
    c.strokeStyle = LINE; c.lineWidth = ratio;
    c.strokeRect(left + .5, top + .5, side, side);
    c.beginPath();
    c.moveTo(left, top + side / 2); c.lineTo(left + side, top + side / 2);
    c.moveTo(left + side / 2, top); c.lineTo(left + side / 2, top + side);
    c.stroke();
    c.fillStyle = TEXT; c.font = `${font}px system-ui, sans-serif`; c.textAlign = "center"; c.textBaseline = "top";
    c.fillText("valence →", left + side / 2, top + side + 0.3 * font);
    c.save(); c.translate(left - 0.5 * font, top + side / 2); c.rotate(-Math.PI / 2);
    c.textBaseline = "bottom"; c.fillText("arousal →", 0, 0); c.restore();
    const x = left + side + bar;
    c.strokeRect(x + .5, top + .5, bar, side);
    c.textBaseline = "top"; c.fillText("dom.", x + bar / 2, top + side + 0.3 * font);
    const points = this.page.points.slice(-TRAIL_POINTS).filter(p => p[PV] !== null && p[PA] !== null);
    c.lineWidth = 2 * ratio;
    for (let i = 1; i < points.length; i++) {
      c.strokeStyle = `rgba(86,180,233,${0.08 + 0.6 * i / points.length})`;
      c.beginPath(); c.moveTo(...at(points[i - 1][PV], points[i - 1][PA])); c.lineTo(...at(points[i][PV], points[i][PA])); c.stroke();
    }
    if (!last || last[PV] === null || last[PA] === null) return;
    const [cx, cy] = at(last[PV], last[PA]);
    const certain = ((last[CV] ?? .5) + (last[CA] ?? .5)) - 1;  // 0 to 1
    // A large open ring is doubt, a small full dot is certainty.
    c.strokeStyle = c.fillStyle = isOld ? TEXT : last[ABSTAIN] ? YELLOW : SKY;
    c.setLineDash(last[ABSTAIN] || isOld ? [4 * ratio, 4 * ratio] : []);
    c.beginPath(); c.arc(cx, cy, (8 + 26 * (1 - certain)) * ratio, 0, 7); c.stroke(); c.setLineDash([]);
    c.beginPath(); c.arc(cx, cy, 6 * ratio, 0, 7); last[ABSTAIN] || isOld ? c.stroke() : c.fill();
    if (last[PD] !== null) { c.fillRect(x + 2, top + (1 - last[PD]) * side, bar - 3, last[PD] * side); }
  }
}

function words(point) {
  const parts = [["V", PV, CV], ["A", PA, CA], ["D", PD, CD]].filter(([, p]) => point[p] !== null);
  return parts.map(([name, p, c]) => element("span", "", `${name} ${point[p].toFixed(2)} `,
    element("small", "", point[c] === null ? "" : `${Math.round(100 * point[c])} %`)));
}

export class GazeView {
  constructor(canvas, page) { this.canvas = canvas; this.page = page; this.seen = ""; }

  draw() {
    const { canvas, page } = this;
    let found = null;
    for (const ring of page.traces.streams.values()) {
      const rows = ring.rows.map((row, i) => ({ ...row, i })).filter(r => r.panel === "gaze");
      if (rows.length >= 2) { found = { ring, x: rows[0], y: rows[1] }; break; }
    }
    const key = `${found?.ring.head}`;
    if (!fit(canvas) && key === this.seen) return;
    this.seen = key;
    const c = canvas.getContext("2d", { alpha: false });
    const ratio = window.devicePixelRatio || 1;
    c.fillStyle = "#141a20"; c.fillRect(0, 0, canvas.width, canvas.height);
    const font = 12 * ratio;
    c.font = `${font}px system-ui, sans-serif`; c.fillStyle = TEXT; c.textAlign = "center"; c.textBaseline = "middle";
    if (!found) { c.fillText("no gaze stream", canvas.width / 2, canvas.height / 2); return; }
    const w = Math.min(canvas.width - 4, (canvas.height - 4) * 16 / 9), h = w * 9 / 16;
    const left = (canvas.width - w) / 2, top = (canvas.height - h) / 2;
    c.strokeStyle = LINE; c.lineWidth = ratio; c.strokeRect(left + .5, top + .5, w, h);
    const { ring, x, y } = found;
    const isShare = x.unit === "normalized";
    const rx = isShare ? [0, 1] : ring.range(x.i), ry = isShare ? [0, 1] : ring.range(y.i);
    if (!rx || !ry) return;
    const n = Math.min(ring.n, Math.round(1.5 * ring.rate)), width = ring.rows.length * 2;
    let newest = null;
    for (let k = n - 1; k >= 0; k--) {
      const number = ring.head - k, slot = ((number % ring.n) + ring.n) % ring.n;
      if (ring.numbers[slot] !== number) continue;
      const vx = ring.values[slot * width + 2 * x.i], vy = ring.values[slot * width + 2 * y.i];
      if (vx !== vx || vy !== vy) { newest = null; continue; }
      const px = left + w * (vx - rx[0]) / (rx[1] - rx[0] || 1), py = top + h * (vy - ry[0]) / (ry[1] - ry[0] || 1);
      newest = [px, py];
      c.fillStyle = `rgba(86,180,233,${0.08 + 0.4 * (1 - k / n)})`;
      c.fillRect(px - 1.5 * ratio, py - 1.5 * ratio, 3 * ratio, 3 * ratio);
    }
    if (newest) {
      c.strokeStyle = YELLOW; c.lineWidth = 2 * ratio;
      c.beginPath(); c.arc(...newest, 8 * ratio, 0, 7); c.stroke();
    } else { c.fillStyle = TEXT; c.fillText("no eye seen", left + w / 2, top + h / 2); }
  }
}
