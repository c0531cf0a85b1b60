"""The conductor: it goes through a session's steps, asks the policy, and tells everybody.

Everything that it decides is an event of ``PhysioEmo-Session`` with its inputs, so that
:mod:`physioemo.experiments.session.verify` can decide it again.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from typing import Any

from physioemo.errors import PhysioEmoError
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.session.booth import Booth
from physioemo.experiments.session.continuous import simulated_pointing
from physioemo.experiments.session.decisions import (
    Decision,
    DecisionInputs,
    LatestPrediction,
)
from physioemo.experiments.session.declaration import Stimulus
from physioemo.experiments.session.floor import (
    Floor,
    LostTrialError,
    UnshownTrialError,
    lsl_seconds,
)
from physioemo.experiments.session.folder import SessionFolder
from physioemo.experiments.session.hearing import Heard, PredictionEar
from physioemo.experiments.session.last_trial import LastTrial, summary_of, trial_predictions
from physioemo.experiments.session.loop_outlets import LoopOutlets
from physioemo.experiments.session.messages import EventEar, EventOutlet
from physioemo.experiments.session.person import Person
from physioemo.experiments.session.plan import PlannedStep
from physioemo.experiments.session.policies import decide
from physioemo.experiments.session.policy_state import PolicyState
from physioemo.experiments.session.protocol import Protocol
from physioemo.experiments.session.refit import refit_head
from physioemo.experiments.session.simulated_answers import simulated_answers
from physioemo.store import open_recording

__all__ = ["Conductor"]

_LATE_SECONDS = 0.4
_FIND_SECONDS = 180.0


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
        self.booth, self.folder, self.outlet, self.facts = booth, folder, outlet, facts
        self.ratings = {trial: dict(values) for trial, values in ratings.items()}
        self.n_trials = sum(s.trial is not None for s in protocol.plan(participant, session))
        self.loop = loop
        self.decoder = decoder
        self.floor = Floor(
            booth=booth,
            outlet=outlet,
            ear=ear,
            operator=operator,
            n_trials=self.n_trials,
            on_say=on_say,
            on_heard=self._publish_fitted,
            on_cut=lambda: self.tell_state("session_resumed"),
        )
        self._window_seconds = decoder.recipe.window_samples / decoder.recipe.sfreq
        self._say = on_say
        self._trial_now = 0
        self._last = last

    def run(self, *, wait_for_start: bool = False) -> str:
        """Go through all steps; return why the session ended, ``"finished"`` at the end."""
        floor = self.floor
        floor.ear.poll()  # what was said before the recording is no part of the session
        self.tell_state("session_start")
        try:
            if wait_for_start:
                floor.wait_for_start()
            for step in self.steps:
                floor.wait_while_paused()
                if floor.wants_refit and not floor.reason:
                    self._refit()
                if floor.reason:
                    break
                self._step(step)
        except KeyboardInterrupt:
            floor.reason = floor.reason or "stopped"
        except (PhysioEmoError, OSError) as error:
            floor.reason = str(error)
            self.outlet.send("problem", text=floor.reason)
        reason = floor.reason or "finished"
        floor.phase("ended")
        self.outlet.send("session_stop", reason=reason)
        with contextlib.suppress(OSError):
            self.folder.note(what="ended", reason=reason)
        return reason

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

    def _publish_fitted(self, new: list[Heard]) -> None:
        self.loop.send_fitted([self.person.adjusted(h, self._trial_now) for h in new])

    def _step(self, step: PlannedStep) -> None:
        self.folder.note(what="begun", step=step.index, trial=step.trial)
        try:
            if step.trial is None:
                self.floor.phase(step.kind, step=step, seconds=step.duration_seconds)
                for item in (*step.before, step.item, *step.after):
                    self.floor.show(item)
            elif step.kind == "practice":
                self._shown_trial(step, step.stimulus)
            else:
                self._trial(step)
        except LostTrialError as error:
            self.outlet.send("trial_lost", trial=step.trial, reason=str(error))
            self.floor.problem(f"trial {step.trial} is lost: {error}")
            return
        except UnshownTrialError as error:
            # One that the operator left out is done; one that the session's end cut off is not.
            self.folder.note(what="unshown", step=step.index, trial=step.trial)
            self.outlet.send(
                "trial_unshown",
                trial=step.trial,
                reason=str(error),
                left_out=not self.floor.reason,
            )
            self._say(f"trial {step.trial} is not shown: {error}")
        if self.floor.reason:
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
            time_seconds=lsl_seconds(),
            stimulus=step.stimulus,
            candidates=step.candidates,
            last_trial=self._last.trial,
            last_stimulus=self._last.stimulus,
            predictions=self._last.summary,
            ratings=self.ratings,
            model_id=self.floor.ear.decoder_id,
        )
        decision = self._decide("decision", inputs)
        if decision.action == "stop":
            self.floor.reason = f"ended by the policy: {decision.reason}"
            raise UnshownTrialError(self.floor.reason)
        if decision.action == "skip":
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
        self.floor.begin_trial()
        self._trial_now = trial
        self.floor.show_before(step.before)
        shown = next(s for s in self.protocol.stimuli if s.id == stimulus)
        self.floor.phase(
            step.kind,
            step=step,
            stimulus=stimulus,
            seconds=shown.seconds,
            evokes={"valence": shown.valence, "arousal": shown.arousal},
        )
        self._say(f"trial {trial}/{self.n_trials}: {stimulus}")
        start, stop = self.floor.show(
            self.protocol.item(stimulus, trial),
            watch=self._watch(step, stimulus),
            answers=self._simulated_pointing(shown),
        )
        if self.floor.reason:
            raise LostTrialError("the session ended while it was shown")
        bounds = (start + self._window_seconds, stop)
        self.floor.phase("rating" if step.ratings else "rest", step=step)
        given: dict[str, float] = {}
        for item in step.ratings:
            self.floor.show(item, answers=self._answers(shown, trial, item), given=given)
        if given and step.kind == "trial":
            self.ratings[str(trial)] = given
            self.outlet.send("rated", trial=trial, values=given)
        for item in step.after:
            self.floor.show(item)
        self.floor.turn_for(_LATE_SECONDS)
        if not self.floor.is_whole:
            raise LostTrialError("the recording was cut off while it ran")
        return trial_predictions(self.floor.heard, *bounds), bounds

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

    def _watch(self, step: PlannedStep, stimulus: str) -> Callable[[float, Heard], None] | None:
        """Return what is asked at each prediction of a trial; None if the policy wants none."""
        wanted = step.feedback or self.policy.distress is not None
        if step.kind != "trial" or self.floor.reason or not wanted:
            return None
        return lambda start, heard: self._monitor(step, stimulus, start, heard)

    def _monitor(self, step: PlannedStep, stimulus: str, start: float, heard: Heard) -> None:
        """Ask the policy while a trial runs, once for each prediction."""
        trial, now = step.trial or 0, lsl_seconds()
        so_far = trial_predictions(self.floor.heard, start, heard.prediction.time_seconds)
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
            model_id=self.floor.ear.decoder_id,
        )
        decision = self._decide("monitor", inputs, from_seconds=start, n_predictions=len(so_far))
        if decision.action == "feedback" and decision.value is not None:
            self.loop.send_feedback(decision.value)
            if self.booth.player is not None:
                output = str(self.policy.parameters.get("output", "bar"))
                self.booth.player.feedback(decision.value, output=output)
        elif decision.action in ("skip", "stop"):
            self.floor.problem(f"trial {trial}: {decision.reason}")
            self.floor.skip = True
            if decision.action == "stop":
                self.floor.reason = f"ended by the policy: {decision.reason}"

    def _refit(self) -> None:
        """Fit the decoder's last layer to the trials so far; go on with it if it is better."""
        self.floor.wants_refit = False
        self.floor.phase("refitting")
        self._say("refitting the decoder's last layer to the rated trials")
        try:
            recordings = [open_recording(path) for path in self.folder.recordings]
            made = refit_head(self.decoder, recordings, self.ratings)
        except PhysioEmoError as error:
            self.floor.problem(f"the decoder stays as it is: {error}")
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

    def _use(self, decoder: Decoder | FusedDecoder) -> None:
        """Go on with another decoder, in a recording of its own."""
        folder = decoder.save(self.folder.path / f"decoder-{decoder.id}")
        self.folder.note(what="refit", folder=folder.name, model_id=decoder.id)
        self.floor.ear.close()
        self.booth.change_decoder(folder)
        self.decoder, self.floor.ear = decoder, PredictionEar(decoder.id, _FIND_SECONDS)
        self.booth.renew_recorder()
        self.facts = {**self.facts, "model_id": decoder.id}
        # The new layer knows the participant already.
        self.person = Person.start(self.person.calibration, decoder.dimensions)
        self.floor.ear.poll()
        self.tell_state("session_resumed")

    def _answers(
        self, shown: Stimulus, trial: int, item: Mapping[str, Any]
    ) -> dict[str, float] | None:
        """Return what the simulated participant answers; None of a person."""
        if self.booth.plan.simulate is None:
            return None
        return simulated_answers(shown, trial, item, self.policy.seed)

    def _simulated_pointing(self, shown: Stimulus) -> dict[str, float] | None:
        rating = self.protocol.ratings.continuous
        is_simulated = self.booth.plan.simulate is not None
        return simulated_pointing(rating, shown) if rating is not None and is_simulated else None
