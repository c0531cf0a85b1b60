// What the operator does: buttons, notes, keys; and the player of a stored recording.

import { minutes } from "./timeline.js";

const $ = id => document.getElementById(id);

export class Controls {
  constructor(page, token, eeg) {
    this.page = page;
    this.token = token;
    this.eeg = eeg;
    for (const event of ["start", "pause", "resume", "skip", "refit"]) $(event).onclick = () => this.send({ event });
    $("abort").onclick = () => this.askAbort();
    $("keep").onclick = () => $("confirm").close();
    $("really").onclick = () => { $("confirm").close(); this.send({ event: "abort" }); };
    $("note").onsubmit = event => { event.preventDefault(); this.note(); };
    $("play").onclick = () => this.play();
    $("back").onclick = () => this.step(-10);
    $("forward").onclick = () => this.step(10);
    $("speed").onchange = () => this.send({ do: "speed", speed: Number($("speed").value) });
    $("slider").oninput = () => this.seek(Number($("slider").value));
    document.addEventListener("keydown", event => this.key(event));
  }

  hello(message) {
    $("controls").hidden = message.mode === "stored" || !message.controls;
    $("player").hidden = message.mode !== "stored";
  }

  async send(content) {
    const told = $("told");
    try {
      const answer = await fetch(`/act?token=${encodeURIComponent(this.token)}`, {
        method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(content),
      });
      const said = await answer.json();
      if (!answer.ok) throw new Error(said.error);
      if (!content.event) return true;
      told.textContent = said.listened ? `Sent: ${content.event}` : `Sent: ${content.event} — but NOBODY LISTENS: no recorder or session reads PhysioEmo-Operator`;
      told.classList.toggle("bad", !said.listened);
      return true;
    } catch (error) {
      told.textContent = `NOT sent: ${error.message}`;
      told.classList.add("bad");
      return false;
    }
  }

  async note() {
    const text = $("text").value.trim();
    if (text && await this.send({ event: "note", text })) $("text").value = "";
  }

  askAbort() { $("confirm").showModal(); }

  key(event) {
    if ($("confirm").open || event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input:not([type=range]), textarea");
    if (typing) { if (event.key === "Escape") event.target.blur(); return; }
    const live = !$("controls").hidden, stored = !$("player").hidden;
    const actions = {
      "+": () => this.eeg.zoom(-1), "=": () => this.eeg.zoom(-1), "-": () => this.eeg.zoom(1), "−": () => this.eeg.zoom(1),
      ...(live && {
        n: () => $("text").focus(), S: () => this.send({ event: "start" }), K: () => this.send({ event: "skip" }), A: () => this.askAbort(),
        P: () => this.send({ event: this.page.story.phase === "paused" ? "resume" : "pause" }),
      }),
      ...(stored && {
        ArrowLeft: () => this.step(-10), ArrowRight: () => this.step(10),
        Home: () => this.seek(Number($("slider").min)), End: () => this.seek(Number($("slider").max)),
        ...(event.target.matches("button, select") ? {} : { " ": () => this.play() }),
      }),
    };
    const action = actions[event.key];
    if (action) { event.preventDefault(); action(); }
  }

  play() { return this.send({ do: this.page.position?.playing ? "stop" : "play" }); }

  step(seconds) { this.seek((this.page.position?.seconds ?? 0) + seconds); }

  // While the slider is dragged, only the newest place is asked for.
  async seek(seconds) {
    if (this.page.mode !== "stored") return;
    this.wanted = seconds;
    if (this.seeking) return;
    this.seeking = true;
    while (this.wanted !== null && this.wanted !== undefined) {
      const to = this.wanted;
      this.wanted = null;
      await this.send({ do: "seek", seconds: to });
    }
    this.seeking = false;
    if (this.page.position) this.position(this.page.position);  // it may have come before the answer
  }

  position(at) {
    const slider = $("slider");
    slider.min = at.start;
    slider.max = at.stop;
    if (!this.seeking) slider.value = at.seconds;
    $("position").textContent = `${minutes(at.seconds - at.start)} of ${minutes(at.stop - at.start)}`;
    $("play").textContent = at.playing ? "Stop" : "Play";
  }
}
