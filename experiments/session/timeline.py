"""The timeline of a session as text, for a dry run."""

from collections import Counter
from collections.abc import Sequence

from physioemo.acquisition.player.continuous import CONTINUOUS
from physioemo.experiments.session.plan import PlannedStep
from physioemo.experiments.session.protocol import Protocol

__all__ = ["clock", "timeline"]

_STIMULUS_WIDTH = 24


def clock(seconds: float) -> str:
    """Return a time as minutes and seconds, with hours from the first on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes:02d}:{rest:02d}"


def timeline(protocol: Protocol, participant: str, session: str) -> str:
    """Return the timeline of a session: what comes when, how long it takes, the total.

    Parameters
    ----------
    protocol : Protocol
        What is declared.
    participant, session : str
        Whose session.

    Raises
    ------
    CallError
        If the protocol has no such participant or session.
    """
    steps = protocol.plan(participant, session)
    lines = [_header(protocol, participant, session), ""]
    begins, start = [], 0.0
    for step in steps:
        begins.append(start)
        start += step.duration_seconds
    lines += [_line(protocol, step, at) for step, at in zip(steps, begins, strict=True)]
    kinds = Counter(step.kind for step in steps)
    chosen = sum(step.kind == "trial" and not step.stimulus for step in steps)
    lines += [
        "",
        f"about {clock(start)} in all: {kinds['trial']} trials ({chosen} chosen by the policy), "
        f"{kinds['practice']} practice, {kinds['break']} breaks",
        *_remarks(protocol, steps),
    ]
    return "\n".join(lines)


def _header(protocol: Protocol, participant: str, session: str) -> str:
    arm = protocol.arm(participant, session)
    said = "no policy" if arm is None else "hidden" if protocol.loop.blinded else arm.name
    return (
        f"{protocol.title}: participant {participant} of {len(protocol.participants)}, session "
        f"{session} of {len(protocol.sessions)}, arm: {said}, seed {protocol.seed}"
    )


def _line(protocol: Protocol, step: PlannedStep, at: float) -> str:
    what = {"baseline": step.block, "break": "break"}.get(step.kind, f"trial {step.trial}")
    shown = step.stimulus or (f"one of {len(step.candidates)}" if step.candidates else "")
    quadrants = {s.id: s.quadrant for s in protocol.stimuli}
    extra = [quadrants[step.stimulus]] if step.stimulus else []
    extra += ["rated"] if step.ratings else []
    extra += ["feedback"] if step.feedback else []
    extra += ["practice"] if step.kind == "practice" else []
    line = f"{clock(at):>8}  {step.duration_seconds:6.1f} s  {what:<11} "
    return f"{line}{shown:<{_STIMULUS_WIDTH}} {', '.join(extra)}".rstrip()


def _remarks(protocol: Protocol, steps: Sequence[PlannedStep]) -> list[str]:
    """Return what the total does not say."""
    remarks = []
    if any(step.ratings for step in steps):
        each = protocol.ratings.expected_seconds
        remarks.append(f"an answer is expected to take {each:g} s per dimension")
    remarks += _continuous(protocol)
    if protocol.calibration is not None:
        remarks.append(
            f"the decoder is calibrated ({protocol.calibration.method}) after "
            f"{protocol.calibration.after_trials} rated trials"
        )
    if protocol.distress is not None:
        remarks.append(f"the distress rule may {protocol.distress['action']}")
    return remarks


def _continuous(protocol: Protocol) -> list[str]:
    """Return what is rated while trials run, and which streams have to be there for it."""
    rating, foreign = protocol.ratings.continuous, protocol.ratings.continuous_stream
    own = (
        [] if rating is None else [f"rated while each trial runs: {rating.words()} ({CONTINUOUS})"]
    )
    return [
        *own,
        *([f"the stream {foreign!r} of a continuous rating has to be there"] if foreign else []),
    ]
