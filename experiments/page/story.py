"""What is happening in a session: a fold over its markers, and one sentence for each.

``story = tell(story, event)`` for every marker of the conductor, the operator and the player. What
an operator may not know in a blinded session is taken out before anything is kept: it never
reaches the browser.
"""

from dataclasses import asdict, dataclass, field, replace
from typing import Any

from physioemo.experiments.session.messages import OPERATOR, SESSION, decode_event
from physioemo.led import RECORDED_AGAIN

__all__ = ["SHOWN_BLINDED", "Event", "Segment", "Story", "read_marker", "tell"]

SHOWN_BLINDED = (
    "event",
    "phase",
    "trial",
    "of",
    "n_trials",
    "block",
    "stimulus",
    "seconds",
    "protocol",
    "participant",
    "session",
    "blinded",
    "untrained",
    "text",
    "what",
)
"""Fields of the conductor's events that a blinded page shows; of an action, what and which."""

_ACTION_BLINDED = ("action", "stimulus")
_REASON_EVENTS = (
    "session_stop",
    "trial_lost",
    "trial_unshown",
)  # elsewhere a reason is the policy's
# What nobody reads while a session runs; the recording has it.
_UNSAID = (
    "protocol_fingerprint",
    "stimuli_folder",
    "decoder",
    "model_id",
    "began",
    "seed",
    "latency_seconds",
    "from_seconds",
    "until_seconds",
    "clock",
    "window",
    "window_position",
    "screen",
)
# Said of what was lost, when it is no more.
_IS_OVER = (" is back", " came back", RECORDED_AGAIN)
_LONGEST_VALUE = 90
_LONGEST_TEXT = 300
_MOST_SEGMENTS = 2000


@dataclass(frozen=True)
class Event:
    """One marker.

    Parameters
    ----------
    seconds : float
        When, on this computer's LSL clock, or in the recording.
    stream : str
        Which stream said it.
    name : str
        Its ``event``; ``"marker"`` for a text that is no JSON object, ``"returned"`` for a problem
        that is over.
    text : str
        One sentence for the log.
    content : dict
        All of it.
    """

    seconds: float
    stream: str
    name: str
    text: str
    content: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what the page shows of it."""
        return {k: getattr(self, k) for k in ("seconds", "stream", "name", "text")}


@dataclass(frozen=True)
class Segment:
    """A stretch of the timeline.

    Parameters
    ----------
    phase, label : str
        What kind it is, and what is written on it.
    start_seconds : float
        When it began.
    stop_seconds : float or None
        When it ended; None while it lasts.
    """

    phase: str
    label: str
    start_seconds: float
    stop_seconds: float | None = None


@dataclass(frozen=True)
class Story:
    """Where a session is.

    Parameters
    ----------
    phase : str
        ``""`` before anything is known, ``"started"``, one of the conductor's phases, or
        ``"stopped"``.
    protocol, participant, session, arm, block, stimulus : str
        As the conductor says.
    untrained : bool
        Whether the decoder has learnt nothing, so that its predictions mean nothing.
    trial, n_trials : int or None
        Number of the trial, from 1, and how many there are.
    since_seconds, planned_seconds : float or None
        When the phase began, and how long it should last.
    paused_from : str
        The phase that a pause interrupted.
    asked : str
        What the operator asked for, until the next phase begins.
    reason : str
        Why the session stopped.
    problem : str
        What the conductor reported last.
    problem_seconds : float or None
        When.
    decision : dict
        The last decision.
    segments : tuple of Segment
        The timeline.
    conducted : bool
        Whether a conductor tells the phases; without one, trial markers do.
    """

    phase: str = ""
    protocol: str = ""
    participant: str = ""
    session: str = ""
    arm: str = ""
    block: str = ""
    stimulus: str = ""
    trial: int | None = None
    n_trials: int | None = None
    since_seconds: float | None = None
    planned_seconds: float | None = None
    paused_from: str = ""
    asked: str = ""
    reason: str = ""
    problem: str = ""
    problem_seconds: float | None = None
    decision: dict[str, Any] = field(default_factory=dict)
    segments: tuple[Segment, ...] = ()
    conducted: bool = False
    untrained: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)


def read_marker(stream: str, text: str | bytes, seconds: float, *, blinded: bool = False) -> Event:
    """Return a marker as an event.

    Parameters
    ----------
    stream : str
        Name of the stream.
    text : str or bytes
        The sample.
    seconds : float
        Its time.
    blinded : bool
        Take out what would tell the arm.
    """
    content = decode_event(text)
    if content is None:
        plain = text.decode("utf-8", "replace") if isinstance(text, bytes) else str(text)
        return Event(seconds, stream, "marker", plain[:_LONGEST_TEXT], {})
    if blinded:
        content = _blinded(content)
    name = content["event"]
    if name == "problem" and str(content.get("text")).endswith(_IS_OVER):
        return Event(seconds, stream, "returned", str(content["text"])[:_LONGEST_TEXT], content)
    return Event(seconds, stream, name, _sentence(content)[:_LONGEST_TEXT], content)


def _blinded(content: dict[str, Any]) -> dict[str, Any]:
    """Return an event without whatever might tell the arm: only what is known to be harmless."""
    if content["event"] == "calibration":
        return content
    kept = {k: v for k, v in content.items() if k in SHOWN_BLINDED}
    if content["event"] in _REASON_EVENTS and "reason" in content:
        kept["reason"] = content["reason"]
    action = content.get("action")
    if isinstance(action, dict):
        kept["action"] = {k: v for k, v in action.items() if k in _ACTION_BLINDED}
    return kept


def _sentence(content: dict[str, Any]) -> str:
    """Return an event in words: its name, its text if it has one, then the other fields."""
    name = content["event"]
    words = [str(content["phase"])] if name == "phase" else [name.replace("_", " ")]
    if "text" in content:
        words.append(str(content["text"]))
    for key, value in content.items():
        if key in ("event", "phase", "text", *_UNSAID) or value is None or value == "":
            continue
        if key == "seconds" and not value:
            continue
        if isinstance(value, bool):
            words.append(f"{'' if value else 'not '}{key.replace('_', ' ')}")
            continue
        if key == "action" and isinstance(value, dict):
            words.append(" ".join(_plain(v) for v in value.values() if v not in (None, "")))
            continue
        plain = _plain(value)
        if len(plain) <= _LONGEST_VALUE:
            words.append(f"{key.replace('_', ' ')} {plain}")
    return " · ".join(words)


def _plain(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {_plain(v)}" for k, v in value.items() if v not in (None, ""))
    if isinstance(value, list):
        return ", ".join(map(_plain, value))
    return f"{round(value, 3):g}" if isinstance(value, float) else str(value)


def tell(story: Story, event: Event) -> Story:
    """Return where the session is after an event.

    Parameters
    ----------
    story : Story
        Where it was.
    event : Event
        What happened, in order of time.
    """
    if event.stream == OPERATOR or not event.content:
        return story
    if event.stream == SESSION:
        return _conducted(replace(story, conducted=True), event)
    return story if story.conducted else _by_trials(story, event)


def _conducted(story: Story, event: Event) -> Story:
    content = event.content
    if event.name == "session_start":
        return replace(
            _ended(story, event.seconds),
            phase="started",
            protocol=_text(content, "protocol"),
            participant=_text(content, "participant"),
            session=_text(content, "session"),
            arm=_text(content, "arm"),
            n_trials=_whole(content.get("n_trials")),
            untrained=content.get("untrained") is True,
            since_seconds=event.seconds,
            reason="",
        )
    if event.name == "phase":
        return _phase(story, event)
    if event.name == "problem":
        return replace(story, problem=_text(content, "text"), problem_seconds=event.seconds)
    if event.name == "returned":
        what = _text(content, "text").rpartition(": ")[2]
        for ending in _IS_OVER:
            what = what.removesuffix(ending)
        return replace(story, problem="") if what in story.problem else story
    if event.name == "obeyed":
        asked = _text(content, "what")
        return replace(story, asked="" if asked in ("start", "resume") else asked)
    if event.name == "decision":
        return replace(story, decision=content)
    if event.name == "session_stop":
        stopped = _ended(story, event.seconds)
        return replace(stopped, phase="stopped", asked="", reason=_text(content, "reason"))
    return story


def _phase(story: Story, event: Event) -> Story:
    content = event.content
    phase = str(content.get("phase", ""))
    trial = _whole(content.get("trial"))
    story = replace(_ended(story, event.seconds), asked="")
    if phase == "resumed":
        # The next step says what it is when it begins.
        return replace(story, phase="started", paused_from="", since_seconds=event.seconds)
    label = str(trial) if phase in ("trial", "practice") and trial is not None else ""
    segment = Segment(phase, label, event.seconds)
    is_waiting = phase in ("ready", "ended")
    return replace(
        story,
        phase=phase,
        paused_from=(story.paused_from or story.phase) if phase == "paused" else "",
        trial=story.trial if trial is None else trial,
        n_trials=_whole(content.get("of")) or story.n_trials,
        block=_text(content, "block") or story.block,
        stimulus=_text(content, "stimulus"),
        since_seconds=event.seconds,
        planned_seconds=_number(content.get("seconds")),
        segments=story.segments if is_waiting else (*story.segments, segment)[-_MOST_SEGMENTS:],
    )


def _by_trials(story: Story, event: Event) -> Story:
    content, trial = event.content, _whole(event.content.get("trial"))
    if event.name == "session_start":
        return replace(story, phase="started", since_seconds=event.seconds)
    if event.name == "trial_start":
        segment = Segment("trial", "" if trial is None else str(trial), event.seconds)
        return replace(
            _ended(story, event.seconds),
            phase="trial",
            trial=trial,
            stimulus=_text(content, "stimulus"),
            since_seconds=event.seconds,
            planned_seconds=_number(content.get("seconds")),
            segments=(*_ended(story, event.seconds).segments, segment)[-_MOST_SEGMENTS:],
        )
    if event.name == "trial_stop" and story.phase == "trial":
        between = replace(_ended(story, event.seconds), phase="between", stimulus="")
        return replace(between, since_seconds=event.seconds, planned_seconds=None)
    if event.name == "session_stop":
        return replace(_ended(story, event.seconds), phase="stopped", stimulus="")
    return story


def _ended(story: Story, seconds: float) -> Story:
    """Return the story with its last segment closed."""
    if not story.segments or story.segments[-1].stop_seconds is not None:
        return story
    last = replace(story.segments[-1], stop_seconds=seconds)
    return replace(story, segments=(*story.segments[:-1], last))


def _text(content: dict[str, Any], key: str) -> str:
    value = content.get(key)
    return "" if value is None else str(value)[:_LONGEST_TEXT]


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]
