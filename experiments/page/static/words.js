// What is said in words: the phase, the computer, the streams, the log, the alarm.

import { element, unit } from "./body.js";
import { minutes } from "./timeline.js";

const RED = ["stalled", "lost", "missing", "unreadable"];
const MARKS = { live: "●", slow: "▼", fast: "▲", stalled: "■", lost: "✕", missing: "?", unreadable: "!", quiet: "○", waiting: "…", stored: "●" };
const OURS = "PhysioEmo-";
const PROBLEM_SECONDS = 30;
const LOW_GIB = 2, LOW_SHARE = 0.03;
const BUSY_PERCENT = 90;
let busy = 0;
const $ = id => document.getElementById(id);

// Now: on the clock of the streams, or in the recording.
function seconds(page) { return page.mode === "stored" ? page.position?.seconds ?? 0 : Date.now() / 1000 - page.clockShift; }

function say(node, text) { if (node.textContent !== text) node.textContent = text; }

export function showStory(page) {
  const story = page.story, stored = page.mode === "stored", now = seconds(page);
  const phase = story.phase ?? "", isOver = over(page);
  const cut = (!page.connected || page.silent) && !isOver;
  const trial = story.trial ? ` ${story.trial}${story.n_trials ? ` / ${story.n_trials}` : ""}` : "";
  const words = {
    "": stored ? "RECORDING" : "NO SESSION", started: "STARTED", between: "BETWEEN", ready: "READY", rest: "REST", stopped: "ENDED", ended: "ENDED",
    trial: `TRIAL${trial}`, practice: `PRACTICE${trial}`, paused: "PAUSED", break: "BREAK", rating: `RATING${trial}`, baseline: "BASELINE",
  };
  const node = $("phase");
  say(node, cut ? "NO CONNECTION" : words[phase] ?? phase.toUpperCase());
  node.dataset.kind = cut ? "gone" : phase;
  document.body.classList.toggle("old", cut || isOver);
  $("untrained").hidden = !story.untrained;
  $("start").classList.toggle("next", phase === "ready" && !cut);
  $("resume").classList.toggle("next", phase === "paused" && !cut);
  const doing = [story.asked && `${story.asked.toUpperCase()} asked for`, phase === "between" && story.trial ? `after trial ${story.trial}` : "", phase === "ready" ? "waiting for Start" : "", story.block, story.stimulus, phase === "paused" && story.paused_from ? `in ${story.paused_from}` : "", story.reason, isOver ? "the session is over, its page has closed" : ""].filter(Boolean);
  const idle = stored ? page.position?.title ?? "" : page.health.length ? "no session is running" : "looking for streams";
  say($("what"), doing.join(" · ") || (phase ? "" : idle));
  const who = [story.protocol, story.participant && `participant ${story.participant}`, story.session && `session ${story.session}`, story.arm && `arm ${story.arm}`, decision(story)];
  say($("who"), who.filter(Boolean).join(" · "));
  const going = story.since_seconds && !["stopped", "ended", ""].includes(phase) && !cut;
  const spent = going ? minutes(now - story.since_seconds) : "";
  const planned = going && story.planned_seconds ? ` / ${minutes(story.planned_seconds)}` : "";
  $("count").replaceChildren(spent, element("small", "", planned));
}

// A session that has ended takes its page's server with it.
function over(page) { return page.mode === "live" && !page.connected && ["stopped", "ended"].includes(page.story.phase); }

function decision(story) {
  const made = story.decision;
  if (!made?.event) return "";
  const action = made.action ? Object.values(made.action).join(" ") : "";
  return `decided${made.policy ? ` by ${made.policy}` : ""}: ${action}`;
}

export function showAlarm(page) {
  const node = $("alarm"), texts = [];
  if (over(page)) { node.hidden = true; return; }
  if (!page.connected) texts.push(`The page has lost its server.${page.mode === "live" ? " Recording goes on without it." : ""}`);
  else if (page.silent) texts.push("The page's server is silent.");
  else for (const row of [...page.health].sort((a, b) => a.name.localeCompare(b.name))) if (RED.includes(row.state)) texts.push(`${row.name} ${row.state.toUpperCase()}${row.age_seconds === null ? "" : ` ${row.age_seconds.toFixed(0)} s`}`);
  const { problem, problem_seconds: since } = page.story;
  if (!texts.length && problem && seconds(page) - since < PROBLEM_SECONDS) texts.push(problem);
  const more = texts.length > 2 ? ` and ${texts.length - 2} more` : "";
  say(node, texts.slice(0, 2).join(" · ") + more);
  node.hidden = !texts.length;
}

export function showSystem(page) {
  const system = page.status.system, stored = page.mode === "stored";
  say($("clock"), new Date().toLocaleTimeString([], { hour12: false }));
  if (system) {
    const free = system.disk_free_gib;
    say($("disk"), free === null ? "unknown" : `${free >= 10 ? free.toFixed(0) : free.toFixed(1)} GiB`);
    $("disk").classList.toggle("low", free === null || free < LOW_GIB || system.disk_free_share < LOW_SHARE);
    busy += 0.2 * (system.cpu_percent - busy);  // over about three seconds
    say($("cpu"), `${busy.toFixed(0)} %`);
    $("cpu").classList.toggle("low", busy > BUSY_PERCENT);
  }
  $("computer").hidden = stored;
  say($("fps"), `${page.fps.toFixed(0)} fps`);
  $("fps").title = system ? `server ${system.own_percent?.toFixed(1)} % of a core` : "";
}

export function showHealth(page) {
  const body = $("streams");
  if (!page.health.length) {
    if (body.rows.length !== 1 || body.rows[0].cells.length !== 1) {
      const cell = element("td", "muted", "none yet");
      cell.colSpan = 7;
      body.replaceChildren(element("tr", "", cell));
    }
    return;
  }
  const rank = row => RED.includes(row.state) ? 0 : row.nominal_hz ? 1 : 2;  // what is wrong is on top
  const rows = [...page.health].sort((a, b) => rank(a) - rank(b) || a.name.localeCompare(b.name));
  const bad = rows.filter(row => RED.includes(row.state)).length;
  say($("health"), bad ? `■ ${bad} of ${rows.length} not there` : `● all ${rows.length} there`);
  $("health").classList.toggle("bad", bad > 0);
  while (body.rows.length > rows.length) body.deleteRow(-1);
  rows.forEach((row, i) => {
    let line = body.rows[i];
    if (!line || line.cells.length !== 7) {
      line?.remove();
      line = body.insertRow(i);
      ["state", "name", "n", "n", "n", "n", "n"].forEach(name => { line.insertCell().className = name; });
    }
    line.className = RED.includes(row.state) ? `red ${row.state}` : row.state;
    line.dataset.stream = row.name;
    line.title = row.note || row.name;
    const rate = row.nominal_hz ? `${number(row.measured_hz, 1)} / ${+row.nominal_hz.toFixed(2)}` : row.measured_hz ? `${number(row.measured_hz, 1)} / –` : "–";
    line.classList.toggle("ours", row.name.startsWith(OURS));
    const texts = [`${MARKS[row.state]} ${row.state}`, row.name.replace(OURS, ""), rate,
      row.loss === null ? "–" : `${(100 * row.loss).toFixed(row.loss && row.loss < 0.01 ? 2 : 1)} %`, String(row.gaps),
      row.offset_ms === null ? "–" : Math.abs(row.offset_ms) < 1000 ? `${(Math.round(100 * row.offset_ms) / 100 + 0).toFixed(2)} ms` : `${(row.offset_ms / 1000).toFixed(1)} s`,
      row.age_seconds === null ? "–" : `${row.age_seconds.toFixed(row.age_seconds < 10 ? 1 : 0)} s`];
    texts.forEach((text, k) => say(line.cells[k], text));
  });
}

function number(value, digits) { return value === null ? "–" : value.toFixed(digits); }

export function showQuality(page) {
  const rows = page.status.decoder_quality ?? [], node = $("quality");
  if (!rows.length) {
    if (node.firstChild?.firstChild?.nodeName === "DT") node.replaceChildren(element("div", "muted", "nothing yet"));
    return;
  }
  node.replaceChildren(...rows.map(row => element("div", "", element("dt", "", row.name.replaceAll("_", " ")),
    element("dd", "", amount(row)))));
}

function amount({ value, unit: in_ }) {
  if (value === null) return "–";
  if (in_ === "s" && Math.abs(value) < 1) return `${(1000 * value).toFixed(1)} ms`;
  if (in_ === "share") return `${(100 * value).toFixed(0)} %`;
  return `${+value.toPrecision(3)} ${["1", "n/a", "count"].includes(in_) ? "" : unit(in_)}`;
}

export function showLog(page) {
  const stored = page.mode === "stored";
  const lines = page.events.slice(-80).reverse().map(event => {
    const at = stored ? minutes(event.seconds - (page.position?.start ?? 0)) : new Date((event.seconds + page.clockShift) * 1000).toLocaleTimeString([], { hour12: false });
    return element("li", event.name, element("time", "", at), element("span", "from", event.stream.replace(OURS, "")), element("span", "said", event.text));
  });
  $("log").replaceChildren(...lines);
}
