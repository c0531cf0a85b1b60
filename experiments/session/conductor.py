"""The conductor: it goes through a session's steps, asks the policy, and tells everybody.

Everything that it decides is an event of ``PhysioEmo-Session`` with its inputs, so that
:mod:`physioemo.experiments.session.verify` can decide it again.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from physioemo.errors import PhysioEmoError, StreamError
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.session.booth import Booth
from physioemo.experiments.session.continuous import simulated_pointing
from physioemo.experiments.session.decisions import (
    Decision,
    DecisionInputs,
    LatestPrediction,
    PredictionSummary,
    summarise,
)
from physioemo.experiments.session.folder import SessionFolder
from physioemo.experiments.session.hearing import Heard, PredictionEar
from physioemo.experiments.session.loop_outlets import LoopOutlets
from physioemo.experiments.session.messages import EventEar, EventOutlet
from physioemo.experiments.session.person import Person
from physioemo.experiments.session.plan import PlannedStep
from physioemo.experiments.session.policies import decide
from physioemo.experiments.session.policy_state import PolicyState
from physioemo.experiments.session.protocol import Protocol
from physioemo.experiments.session.refit import refit_head
from physioemo.store import open_recording

__all__ = ["Conductor", "LastTrial", "summary_of"]

_TURN_SECONDS = 0.02
_LATE_SECONDS = 0.4
_RATING_SD = 0.7
_FIND_SECONDS = 60.0


def trial_predictions(heard: list[Heard], start_seconds: float, stop_seconds: float) -> list[Heard]:
    """Return the predictions whose newest sample lies in a stretch."""
    return [h for h in heard if start_seconds < h.prediction.time_seconds <= stop_seconds]


@dataclass(frozen=True)
class LastTrial:
    """The trial that was finished last, if there was one.

    Parameters
    ----------
    trial : int
        Its number, 0 for none.
    stimulus : str
        What was shown.
    summary : PredictionSummary
        What was predicted, as fitted to the participant at that time.
    """

    trial: int = 0
    stimulus: str = ""
    summary: PredictionSummary = field(default_factory=PredictionSummary)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {**vars(self), "summary": self.summary.to_dict()}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "LastTrial":
        """Return what :meth:`to_dict` wrote."""
        return cls(**{**table, "summary": PredictionSummary.from_dict(table["summary"])})


class _LostTrialError(Exception):
    """A trial that cannot be used: the player or the recording was cut off."""


class Conductor:
    """Goes through one session.

    Parameters
    ----------
    protocol, participant, session
        What is declared, and of whom.
    steps : sequence of PlannedStep
        What is still to come.
    policy : PolicyState
        Where the policy stands.
    person : Person
        What is known of the participant.
    booth : Booth
        The running programs.
    folder : SessionFolder
        Where progress is noted.
    outlet : EventOutlet
        ``PhysioEmo-Session``.
    loop : LoopOutlets
        Feedback, and predictions as fitted.
    ear : PredictionEar
    operator : EventEar
        ``PhysioEmo-Operator``.
    decoder : Decoder or FusedDecoder
        The one that runs. A trial's predictions begin the length of its window after the onset.
    ratings : mapping
        Those so far, by trial and dimension.
    last : LastTrial
        The trial before.
    facts : mapping
        What the event ``session_start`` says besides.
    on_say : callable
        Told in words what happens.
    """

    def __init__(
        self,
        protocol: Protocol,
        participant: str,
        session: str,
        *,
        steps: tuple[PlannedStep, ...],
        policy: PolicyState,
        person: Person,
        booth: Booth,
        folder: SessionFolder,
        outlet: EventOutlet,
        loop: LoopOutlets,
        ear: PredictionEar,
        operator: EventEar,
        decoder: Decoder | FusedDecoder,
        ratings: Mapping[str, Mapping[str, float]],
        last: LastTrial,
        facts: Mapping[str, Any],
        on_say: Callable[[str], None],
    ) -> None:
        self.protocol, self.steps, self.policy, self.person = protocol, steps, policy, person
        self.participant, self.session = participant, session
        self.booth, self.folder, self.outlet = booth, folder, outlet
        self.ear, self.operator, self.facts = ear, operator, facts
        self.ratings = {trial: dict(values) for trial, values in ratings.items()}
        self.n_trials = sum(s.trial is not None for s in protocol.plan(participant, session))
        self.loop = loop
        self.reason = ""
        self.is_paused = False
        self.has_started = False
        self.decoder = decoder
        self._window_seconds = decoder.recipe.window_samples / decoder.recipe.sfreq
        self._wants_refit = False
        self._say = on_say
        self._heard: list[Heard] = []
        self._skip = False
        self._trial_now = 0
        self._is_whole = True
        self._last = last

    def run(self, *, wait_for_start: bool = False) -> str:
        """Go through all steps; return why the session ended, ``"finished"`` at the end."""
        self.ear.poll()  # what was said before the recording is no part of the session
        self.tell_state("session_start")
        try:
            if wait_for_start:
                self._wait_for_start()
            for step in self.steps:
                self._wait_while_paused()
                if self._wants_refit and not self.reason:
                    self._refit()
                if self.reason:
                    break
                self._step(step)
        except KeyboardInterrupt:
            self.reason = self.reason or "stopped"
        except (PhysioEmoError, OSError) as error:
            self.reason = str(error)
            self.outlet.send("problem", text=self.reason)
        self.reason = self.reason or "finished"
        self._phase("ended")
        self.outlet.send("session_stop", reason=self.reason)
        with contextlib.suppress(OSError):
            self.folder.note(what="ended", reason=self.reason)
        return self.reason

    def tell_state(self, event: str) -> None:
        """Say where everything stands: what decisions are recomputed from."""
        self.outlet.send(
            event,
            **self.facts,
            n_trials=self.n_trials,
            policy_state=self.policy.to_dict(),
            person=self.person.to_dict(),
            ratings=self.ratings,
            last=self._last.to_dict(),
        )

    def _step(self, step: PlannedStep) -> None:
        self.folder.note(what="begun", step=step.index, trial=step.trial)
        try:
            if step.trial is None:
                self._phase(step.kind, step=step, seconds=step.duration_seconds)
                for item in (*step.before, step.item, *step.after):
                    self._show(item)
            elif step.kind == "practice":
                self._shown_trial(step, step.stimulus)
            else:
                self._trial(step)
        except _LostTrialError as error:
            self.outlet.send("trial_lost", trial=step.trial, reason=str(error))
            self._problem(f"trial {step.trial} is lost: {error}")
            return
        if self.reason:
            return
        self.folder.note(
            what="done",
            step=step.index,
            trial=step.trial,
            policy_state=self.policy.to_dict(),
            person=self.person.to_dict(),
            ratings=self.ratings,
            last=self._last.to_dict(),
        )

    def _trial(self, step: PlannedStep) -> None:
        trial = step.trial or 0
        inputs = DecisionInputs(
            trial=trial,
            time_seconds=self._now(),
            stimulus=step.stimulus,
            candidates=step.candidates,
            last_trial=self._last.trial,
            last_stimulus=self._last.stimulus,
            predictions=self._last.summary,
            ratings=self.ratings,
            model_id=self.ear.decoder_id,
        )
        decision = self._decide("decision", inputs)
        if decision.action == "stop":
            self.reason = f"ended by the policy: {decision.reason}"
        elif decision.action == "skip":
            self._say(f"trial {trial} is left out: {decision.reason}")
        else:
            stimulus = decision.stimulus or step.stimulus
            heard, bounds = self._shown_trial(step, stimulus)
            self._learn(trial, stimulus, heard, bounds)

    def _shown_trial(
        self, step: PlannedStep, stimulus: str
    ) -> tuple[list[Heard], tuple[float, float]]:
        """Show a trial with all around it; return its predictions and from when to when."""
        trial = step.trial or 0
        self._is_whole, self._heard, self._trial_now = True, [], trial
        for item in step.before:
            self._show(item)
        shown = next(s for s in self.protocol.stimuli if s.id == stimulus)
        self._phase(
            step.kind,
            step=step,
            stimulus=stimulus,
            seconds=shown.seconds,
            evokes={"valence": shown.valence, "arousal": shown.arousal},
        )
        self._say(f"trial {trial}/{self.n_trials}: {stimulus}")
        monitor = step if step.kind == "trial" and not self.reason else None
        item, moved = self.protocol.item(stimulus, trial), self._simulated_pointing(shown)
        start, stop = self._show(item, monitor, stimulus, answers=moved)
        bounds = (start + self._window_seconds, stop)
        self._phase("rating" if step.ratings else "rest", step=step)
        given: dict[str, float] = {}
        for item in step.ratings:
            answers = self._simulated_answers(shown, trial, item)
            self._show(item, answers=answers, given=given)
        if given and step.kind == "trial":
            self.ratings[str(trial)] = given
            self.outlet.send("rated", trial=trial, values=given)
        for item in step.after:
            self._show(item)
        self._turn_for(_LATE_SECONDS)
        if not self._is_whole:
            raise _LostTrialError("the recording was cut off while it ran")
        return trial_predictions(self._heard, *bounds), bounds

    def _learn(
        self, trial: int, stimulus: str, heard: list[Heard], bounds: tuple[float, float]
    ) -> None:
        """Take what a finished trial teaches: first of the policy's kind, then of the person's."""
        max_age = self.policy.max_age_seconds
        raw = summary_of(heard, max_age)
        adjusted = summary_of([self.person.adjusted(h, trial) for h in heard], max_age)
        self._last = LastTrial(trial, stimulus, adjusted)
        self.outlet.send(
            "trial_summary",
            trial=trial,
            stimulus=stimulus,
            from_seconds=bounds[0],
            until_seconds=bounds[1],
            stamps=[h.prediction.time_seconds for h in heard],
            summary=adjusted.to_dict(),
        )
        before = self.person
        self.person = before.learn(trial, raw.probability, self.ratings.get(str(trial), {}))
        if self.person is not before and self.person.calibration is not None:
            self.outlet.send("calibration", trial=trial, **self.person.told())

    def _decide(self, event: str, inputs: DecisionInputs, **more: Any) -> Decision:
        began = time.perf_counter()
        decision, self.policy = decide(self.policy, inputs)
        self.outlet.send(
            event,
            trial=inputs.trial,
            policy=self.policy.policy,
            inputs=inputs.to_dict(),
            action=decision.to_dict(),
            model_id=inputs.model_id,
            latency_seconds=time.perf_counter() - began,
            **more,
        )
        return decision

    def _monitor(self, step: PlannedStep, stimulus: str, start: float, heard: Heard) -> None:
        """Ask the policy while a trial runs, once for each prediction."""
        trial, now = step.trial or 0, self._now()
        so_far = trial_predictions(self._heard, start, heard.prediction.time_seconds)
        adjusted = [self.person.adjusted(h, trial) for h in so_far]
        latest = self.person.adjusted(heard, trial).prediction
        inputs = DecisionInputs(
            trial=trial,
            time_seconds=now,
            moment="during",
            stimulus=stimulus,
            last_trial=self._last.trial,
            last_stimulus=self._last.stimulus,
            predictions=summary_of(adjusted, self.policy.max_age_seconds),
            latest=LatestPrediction.of(latest),
            trial_seconds=now - start,
            model_id=self.ear.decoder_id,
        )
        decision = self._decide("monitor", inputs, from_seconds=start, n_predictions=len(so_far))
        if decision.action == "feedback" and decision.value is not None:
            self.loop.send_feedback(decision.value)
            if self.booth.player is not None:
                output = str(self.policy.parameters.get("output", "bar"))
                self.booth.player.feedback(decision.value, output=output)
        elif decision.action in ("skip", "stop"):
            self._problem(f"trial {trial}: {decision.reason}")
            self._skip = True
            if decision.action == "stop":
                self.reason = f"ended by the policy: {decision.reason}"

    def _show(
        self,
        item: Mapping[str, Any] | None,
        monitor: PlannedStep | None = None,
        stimulus: str = "",
        *,
        answers: Mapping[str, float] | None = None,
        given: dict[str, float] | None = None,
    ) -> tuple[float, float]:
        """Show an item to its end; return when it began and ended, in LSL seconds."""
        if item is None or self.reason:
            return self._now(), self._now()
        player = self.booth.player
        if player is None:
            raise StreamError("found no player, expected it to run; start the session again")
        self._skip = False
        number = player.show(item, answers=answers)
        start, asked = self._now(), False
        watches = monitor is not None and (monitor.feedback or self.policy.distress is not None)
        while True:
            for event in player.events(_TURN_SECONDS):
                if event["event"] in ("died", "closed"):
                    self._revive_player(event["text"])
                if event["event"] == "problem":
                    self._problem(str(event["text"]))
                if event.get("id") != number:
                    continue
                if event["event"] == "started":
                    start = float(event["lsl_seconds"])
                elif event["event"] == "rating" and given is not None:
                    given.update(event["values"])
                elif event["event"] == "error":
                    raise StreamError(f"the stimulus player says: {event['text']}")
                elif event["event"] == "ended":
                    return start, float(event["lsl_seconds"])
            new = self._turn()
            if monitor is not None and watches and not self._skip:
                for heard in new:
                    self._monitor(monitor, stimulus, start, heard)
            if (self._skip or self.reason) and not asked:
                player.stop()
                asked = True

    def _revive_player(self, text: str) -> None:
        self._problem(f"{text}; it is started again")
        self.booth.start_player()
        raise _LostTrialError("the player was cut off while it ran")

    def _turn(self) -> list[Heard]:
        """Mind the programs, the operator and the decoder; return new predictions."""
        for content in self.operator.poll():
            self._obey(content)
        if not self.booth.tend():
            self._is_whole = False
            # A recording has to say from where its decisions are recomputed.
            self.tell_state("session_resumed")
        new = self.ear.poll()
        self._heard += new
        self.loop.send_fitted([self.person.adjusted(h, self._trial_now) for h in new])
        return new

    def _turn_for(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self._turn()
            time.sleep(_TURN_SECONDS)

    def _obey(self, content: Mapping[str, Any]) -> None:
        what = content["event"]
        if what == "abort":
            self.reason = self.reason or "aborted by the operator"
        elif what == "skip":
            self._skip = True
        elif what == "start":
            self.has_started = True
        elif what == "refit":
            self._wants_refit = True
        elif what in ("pause", "resume"):
            self.is_paused = what == "pause"
        if what != "note":
            self.outlet.send("obeyed", what=what)
            self._say(f"operator: {what}")

    def _refit(self) -> None:
        """Fit the decoder's last layer to the trials so far; go on with it if it is better."""
        self._wants_refit = False
        self._phase("refitting")
        self._say("refitting the decoder's last layer to the rated trials")
        try:
            recordings = [open_recording(path) for path in self.folder.recordings]
            made = refit_head(self.decoder, recordings, self.ratings)
        except PhysioEmoError as error:
            self._problem(f"the decoder stays as it is: {error}")
            return
        self.outlet.send(
            "refit",
            taken=list(made.taken),
            accuracy_before=dict(made.accuracy_before),
            accuracy_after=dict(made.accuracy_after),
            n_trials=dict(made.n_trials),
            model_id=made.decoder.id,
        )
        shares = ", ".join(
            f"{d} {made.accuracy_before[d]:.2f} -> {a:.2f}" for d, a in made.accuracy_after.items()
        )
        self._say(f"held-out trials predicted: {shares}; new for {', '.join(made.taken) or 'none'}")
        if made.taken:
            self._use(made.decoder)

    def _use(self, decoder: Decoder) -> None:
        """Go on with another decoder, in a recording of its own."""
        folder = decoder.save(self.folder.path / f"decoder-{decoder.id}")
        self.folder.note(what="refit", folder=folder.name, model_id=decoder.id)
        self.ear.close()
        self.booth.change_decoder(folder)
        self.decoder, self.ear = decoder, PredictionEar(decoder.id, _FIND_SECONDS)
        self.booth.renew_recorder()
        self.facts = {**self.facts, "model_id": decoder.id}
        # The new layer knows the participant already.
        self.person = Person.start(self.person.calibration, decoder.dimensions)
        self.ear.poll()
        self.tell_state("session_resumed")

    def _wait_for_start(self) -> None:
        self.operator.poll()  # Start means what was ready when it was pressed
        self._phase("ready")
        self._say("waiting for Start on the operator's page")
        while not (self.has_started or self.reason):
            self._turn_for(0.1)

    def _wait_while_paused(self) -> None:
        self._turn()
        if not self.is_paused:
            return
        self._phase("paused")
        while self.is_paused and not self.reason:
            self._turn_for(0.1)
        self._phase("resumed")

    def _phase(
        self,
        phase: str,
        *,
        step: PlannedStep | None = None,
        stimulus: str = "",
        seconds: float = 0.0,
        evokes: Mapping[str, float] | None = None,
    ) -> None:
        self.outlet.send(
            "phase",
            phase=phase,
            trial=step.trial if step else None,
            of=self.n_trials,
            block=step.block if step else "",
            stimulus=stimulus,
            seconds=seconds,
            **({"evokes": dict(evokes)} if evokes else {}),
        )

    def _problem(self, text: str) -> None:
        self.outlet.send("problem", text=text)
        self._say(f"! {text}")

    def _simulated_answers(
        self, shown: Any, trial: int, item: Mapping[str, Any]
    ) -> dict[str, float] | None:
        """Return what the simulated participant answers: what was evoked, and noise."""
        if self.booth.plan.simulate is None:
            return None
        evoked = {"valence": shown.valence, "arousal": shown.arousal}
        draw = np.random.default_rng([self.policy.seed, trial, *str(item["kind"]).encode()])
        answers = {}
        for dimension in item.get("dimensions") or [item["dimension"]]:
            value = 5 + 4 * evoked.get(dimension, 0.0) + _RATING_SD * draw.standard_normal()
            answers[dimension] = float(np.clip(np.round(value), 1, 9))
        return answers

    def _simulated_pointing(self, shown: Any) -> dict[str, float] | None:
        rating = self.protocol.ratings.continuous
        is_simulated = self.booth.plan.simulate is not None
        return simulated_pointing(rating, shown) if rating is not None and is_simulated else None

    def _now(self) -> float:
        import pylsl

        return float(pylsl.local_clock())


def summary_of(heard: list[Heard], max_age_seconds: float) -> PredictionSummary:
    """Return the summary of predictions as policies are told it."""
    pairs = [(h.prediction, h.arrived_seconds) for h in heard]
    return summarise(pairs, max_age_seconds=max_age_seconds)
