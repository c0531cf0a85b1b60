"""Sessions on a virtual clock, with a simulated participant and a simulated decoder.

The plan, the policies and the distress rule are the real ones; only the person, the decoder and
time are simulated. What comes out is labelled so, and says nothing about people: it shows that a
loop does what it should where its assumptions hold, and nothing where stimuli do nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from physioemo.experiments.session.decisions import (
    Decision,
    DecisionInputs,
    LatestPrediction,
    PredictionSummary,
    summarise,
)
from physioemo.experiments.session.plan import PlannedStep
from physioemo.experiments.session.policies import decide
from physioemo.experiments.session.policy_state import PolicyState
from physioemo.experiments.session.simulated_participant import (
    NoisyDecoder,
    SimulatedParticipant,
)
from physioemo.prediction import Prediction

__all__ = ["SimulatedSession", "SimulatedTrial", "simulate_session"]

HOP_SECONDS = 1.0
DEFAULT_SECONDS = 8.0
_LATENCY_SECONDS = 0.02


@dataclass(frozen=True)
class SimulatedTrial:
    """One trial that was shown.

    Parameters
    ----------
    trial : int
        Its number.
    stimulus : str
        What was shown.
    chosen : bool
        Whether the policy chose it.
    states : tuple of mapping
        The hidden state after every hop, which nobody would know.
    ratings : mapping
        What was rated.
    """

    trial: int
    stimulus: str
    chosen: bool
    states: tuple[Mapping[str, float], ...]
    ratings: Mapping[str, float]


@dataclass
class SimulatedSession:
    """What happened.

    Parameters
    ----------
    start : PolicyState
        From which every decision can be recomputed.
    decisions : list of (DecisionInputs, Decision)
        All of them, in order.
    trials : list of SimulatedTrial
        Those that were shown.
    seconds : float
        On the virtual clock.
    stopped : bool
        Whether the policy ended it.
    """

    start: PolicyState
    decisions: list[tuple[DecisionInputs, Decision]] = field(default_factory=list)
    trials: list[SimulatedTrial] = field(default_factory=list)
    seconds: float = 0.0
    stopped: bool = False
    simulated: bool = True

    def share_in_zone(self, dimension: str, low: float, high: float) -> float:
        """Return the share of the policy's trials' time that the hidden state was in a zone.

        NaN if the policy chose none.
        """
        states = [s[dimension] for t in self.trials if t.chosen for s in t.states]
        inside = sum(low <= value <= high for value in states)
        return inside / len(states) if states else float("nan")


def simulate_session(
    steps: Sequence[PlannedStep],
    state: PolicyState,
    participant: SimulatedParticipant,
    decoder: NoisyDecoder,
    *,
    seconds_of: Mapping[str, float] | None = None,
    hop_seconds: float = HOP_SECONDS,
) -> SimulatedSession:
    """Run a session on a virtual clock.

    Parameters
    ----------
    steps : sequence of PlannedStep
        From :meth:`physioemo.experiments.session.protocol.Protocol.plan`.
    state : PolicyState
        From :meth:`physioemo.experiments.session.protocol.Protocol.start_policy`.
    participant : SimulatedParticipant
        Who reacts.
    decoder : NoisyDecoder
        Who predicts.
    seconds_of : mapping of str to float, optional
        How long each stimulus is shown; 8 s if it does not say.
    hop_seconds : float
        Time between predictions.
    """
    run = _Run(SimulatedSession(state), state, participant, decoder, hop_seconds)
    for step in steps:
        if run.session.stopped:
            break
        if step.kind in ("practice", "trial") and step.trial is not None:
            run.trial(step, step.trial, seconds_of or {})
        else:
            run.pass_time(step.duration_seconds)
    return run.session


@dataclass
class _Run:
    """A session that is running."""

    session: SimulatedSession
    state: PolicyState
    participant: SimulatedParticipant
    decoder: NoisyDecoder
    hop_seconds: float
    ratings: dict[str, Mapping[str, float]] = field(default_factory=dict)
    last: tuple[int, str] = (0, "")
    summary: PredictionSummary = field(default_factory=PredictionSummary)

    def pass_time(self, seconds: float) -> None:
        """Let the virtual clock run without a stimulus."""
        self.session.seconds += seconds
        self.participant.live(seconds)

    def ask(self, inputs: DecisionInputs) -> Decision:
        """Ask the policy, and keep question and answer."""
        decision, self.state = decide(self.state, inputs)
        self.session.decisions.append((inputs, decision))
        self.session.stopped = self.session.stopped or decision.action == "stop"
        return decision

    def trial(self, step: PlannedStep, number: int, seconds_of: Mapping[str, float]) -> None:
        """Choose, show, rate."""
        stimulus = step.stimulus
        if step.kind == "trial":
            decision = self.ask(
                DecisionInputs(
                    trial=number,
                    time_seconds=self.session.seconds,
                    stimulus=step.stimulus,
                    candidates=step.candidates,
                    last_trial=self.last[0],
                    last_stimulus=self.last[1],
                    predictions=self.summary,
                    ratings=dict(self.ratings),
                    model_id=self.decoder.model_id,
                )
            )
            if decision.action != "play":
                return
            stimulus = decision.stimulus
        before = sum(item.get("seconds", 0.0) for item in step.before)
        self.pass_time(before)
        began = self.session.seconds
        states, predictions, is_whole = self._show(step, number, stimulus, seconds_of)
        felt = {d: sum(s[d] for s in states) / len(states) for d in states[0]}
        given = self.participant.rate(felt) if step.ratings and is_whole else {}
        if step.kind == "trial":
            max_age = self.state.max_age_seconds
            self.summary = summarise(predictions, max_age_seconds=max_age)
            self.last = (number, stimulus)
            if given:
                self.ratings[str(number)] = given
            shown = SimulatedTrial(number, stimulus, not step.stimulus, tuple(states), given)
            self.session.trials.append(shown)
        taken = before + self.session.seconds - began
        self.pass_time(max(0.0, step.duration_seconds - taken))

    def _show(
        self, step: PlannedStep, number: int, stimulus: str, seconds_of: Mapping[str, float]
    ) -> tuple[list[Mapping[str, float]], list[tuple[Prediction, float]], bool]:
        """Show a stimulus; return hidden states, predictions with arrivals, if it was shown out."""
        states: list[Mapping[str, float]] = []
        predictions: list[tuple[Prediction, float]] = []
        asks = step.kind == "trial" and (step.feedback or self.state.distress is not None)
        self.decoder.begin_trial()
        onset, seconds = self.session.seconds, seconds_of.get(stimulus, DEFAULT_SECONDS)
        for _ in range(max(1, round(seconds / self.hop_seconds))):
            states.append(self.participant.live(self.hop_seconds, stimulus))
            self.session.seconds += self.hop_seconds
            made = self.decoder.predict(states[-1], self.session.seconds)
            arrived = self.session.seconds + _LATENCY_SECONDS
            predictions.append((made, arrived))
            if asks:
                decision = self._during(number, stimulus, made, arrived, onset)
                if decision.action in ("skip", "stop"):
                    return states, predictions, False
        return states, predictions, True

    def _during(
        self, number: int, stimulus: str, made: Prediction, arrived: float, onset: float
    ) -> Decision:
        return self.ask(
            DecisionInputs(
                trial=number,
                time_seconds=arrived,
                moment="during",
                stimulus=stimulus,
                latest=LatestPrediction.of(made),
                trial_seconds=arrived - onset,
                model_id=self.decoder.model_id,
            )
        )
