// The operator's page: one WebSocket in, pictures out; what the operator does goes by POST.

import { Traces } from "./traces.js";
import { EegPanel } from "./eeg.js";
import { BodyPanel } from "./body.js";
import { AffectPlane, GazeView } from "./plane.js";
import { Timeline } from "./timeline.js";
import { Controls } from "./controls.js";
import { showHealth, showLog, showStory, showSystem, showQuality, showAlarm } from "./words.js";

const RETRY_MS = 1000, SILENT_MS = 2000, SLOW_MS = 250;
const token = new URLSearchParams(location.search).get("token") ?? "";
const $ = id => document.getElementById(id);

export const page = {
  mode: "live", blinded: false, traces: new Traces(), story: {}, events: [], points: [], health: [],
  status: {}, clockShift: 0, frames: 0, fps: 0, connected: false, silent: false, position: null,
};
window.page = page;  // for tests and for whoever opens the console

const eeg = new EegPanel(page), body = new BodyPanel(page);
const plane = new AffectPlane($("plane"), page), gaze = new GazeView($("gaze"), page);
const controls = new Controls(page, token, eeg);
const timeline = new Timeline($("timeline"), page, seconds => controls.seek(seconds));

const take = {
  hello(message) {
    Object.assign(page, { mode: message.mode, blinded: message.blinded, health: [], status: {} });
    page.position = null;
    page.traces.streams.clear();  // numbers of streams are the server's
    $("blinded").hidden = !message.blinded;
    $("rig").textContent = message.rig ? `rig: ${message.rig}` : message.title ?? "";
    controls.hello(message);
  },
  layout(message) {
    page.traces.layout(message);
    $("simulated").hidden = !message.simulated;
    eeg.layout();
    body.layout();
  },
  events(message) {
    if (message.restarts && page.mode === "stored") {  // what is shown elsewhere in the recording
      for (const ring of page.traces.streams.values()) ring.clear();
    }
    page.events = (message.restarts ? message.events : [...page.events, ...message.events]).slice(-400);
    showLog(page);
  },
  points(message) {
    page.points = (message.restarts ? message.points : [...page.points, ...message.points]).slice(-600);
  },
  story(message) { page.story = message.story; },
  health(message) { page.health = message.health; showHealth(page); showAlarm(page); },
  status(message) {
    page.status = message;
    page.clockShift = Date.now() / 1000 - message.now;
    page.health = message.health;
    $("blinded").hidden = !message.blinded;
    eeg.scores();
    showHealth(page); showQuality(page); showSystem(page);
  },
  position(message) { page.position = { ...page.position, ...message }; controls.position(page.position); },
};

let dirty = false, lastWord = 0;

function connect() {
  const scheme = location.protocol === "https:" ? "wss" : "ws";
  const socket = new WebSocket(`${scheme}://${location.host}/stream?token=${encodeURIComponent(token)}`);
  socket.binaryType = "arraybuffer";
  socket.onopen = () => { page.connected = true; lastWord = performance.now(); };
  socket.onmessage = event => {
    lastWord = performance.now();
    if (typeof event.data === "string") {
      const message = JSON.parse(event.data);
      take[message.type]?.(message);
    } else page.traces.take(event.data);
    if (!dirty) { dirty = true; requestAnimationFrame(draw); }
  };
  socket.onclose = () => {
    page.connected = false;
    showAlarm(page);
    setTimeout(connect, RETRY_MS);
  };
}

function draw() {
  dirty = false;
  eeg.draw();
  body.draw();
  page.frames++;
}

let before = { at: performance.now(), frames: 0 };
setInterval(() => {
  const now = performance.now();
  page.silent = page.connected && now - lastWord > SILENT_MS;
  if (now - before.at >= 2000) {
    page.fps = 1000 * (page.frames - before.frames) / (now - before.at);
    before = { at: now, frames: page.frames };
  }
  gaze.draw();
  plane.draw();
  showStory(page);
  showAlarm(page);
  timeline.draw();
  body.numbers();
}, SLOW_MS);

new ResizeObserver(() => { eeg.resized(); body.resized(); }).observe(document.body);
connect();
