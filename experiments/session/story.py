"""What happened in a session, gathered from its recordings."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import PhysioEmoError
from physioemo.experiments.live_outlets import QUALITY
from physioemo.experiments.report.session import Session, open_sessions
from physioemo.experiments.session.continuous_traces import ContinuousTrace, read_traces
from physioemo.experiments.session.folder import SessionFolder
from physioemo.experiments.session.messages import OPERATOR, decode_event
from physioemo.experiments.session.verify import session_events
from physioemo.recording import Recording
from physioemo.store import open_recording

__all__ = ["SessionStory", "TrialStory", "tell_story"]

_HIDDEN = "hidden"


@dataclass
class TrialStory:
    """One trial.

    Parameters
    ----------
    trial : int
        Its number.
    kind : str
        ``"trial"`` or ``"practice"``.
    stimulus, block : str
        What was shown, and in which block.
    evokes : dict of str to float
        What that was expected to evoke, -1 to 1.
    decided : str
        Why it was shown.
    summary : dict
        Mean predictions, as fitted to the participant at that time.
    ratings : dict of str to float
        What was answered.
    lost : str
        Why it cannot be used; empty if it can.
    shown : bool
        Whether its stimulus was announced.
    left_out : str
        Why the policy or the operator left it out; empty if they did not.
    """

    trial: int
    kind: str = "trial"
    stimulus: str = ""
    block: str = ""
    evokes: dict[str, float] = field(default_factory=dict)
    decided: str = ""
    summary: dict[str, Any] = field(default_factory=dict)
    ratings: dict[str, float] = field(default_factory=dict)
    lost: str = ""
    shown: bool = False
    left_out: str = ""


@dataclass
class SessionStory:
    """A session.

    Parameters
    ----------
    facts : dict
        What was asked for.
    sessions : tuple of Session
        Its recordings, ready to be drawn.
    trials : dict of int to TrialStory
        By number: those that were shown, lost or left out, not those that were never reached.
    calibrations, refits : list of dict
        What each rating taught, and what came of fitting the last layer.
    continuous : list of ContinuousTrace
        Continuous ratings, recording by recording.
    problems, notes : list of (str, str)
        When, and what went wrong or was noted.
    reason : str
        Why it ended.
    latency_seconds, computing_seconds : ndarray
        Of every prediction that was not for silence.
    n_predictions, n_abstained, n_skipped : int
        Over all recordings.
    n_decisions : int
        Those before trials and during trials.
    """

    facts: dict[str, Any]
    sessions: tuple[Session, ...]
    trials: dict[int, TrialStory] = field(default_factory=dict)
    calibrations: list[dict[str, Any]] = field(default_factory=list)
    refits: list[dict[str, Any]] = field(default_factory=list)
    continuous: list[ContinuousTrace] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)
    notes: list[tuple[str, str]] = field(default_factory=list)
    reason: str = "it was cut off"
    latency_seconds: np.ndarray = field(default_factory=lambda: np.empty(0))
    computing_seconds: np.ndarray = field(default_factory=lambda: np.empty(0))
    n_predictions: int = 0
    n_abstained: int = 0
    n_skipped: int = 0
    n_decisions: int = 0

    @property
    def usable(self) -> list[TrialStory]:
        """Trials that were shown to their end and recorded."""
        return [t for t in self.trials.values() if t.kind == "trial" and t.summary and not t.lost]


def tell_story(path: str | Path, *, blinded: bool = False) -> SessionStory:
    """Gather what happened in a session.

    Parameters
    ----------
    path : str or Path
        Folder of ``physioemo session run``.
    blinded : bool
        Whether the arm, and the reasons that tell it, are hidden.

    Raises
    ------
    CallError
        If it is no session's folder.
    """
    folder = SessionFolder.open(Path(path))
    facts = dict(folder.facts)
    if blinded:
        facts["arm"] = _HIDDEN
    opened, unreadable = [], []
    for recording_path in folder.recordings:
        try:
            opened.append(open_recording(recording_path))
        except PhysioEmoError as error:
            unreadable.append((recording_path.name, str(error)))
    sessions = open_sessions(opened)
    story = SessionStory(facts, sessions, problems=unreadable)
    for session in sessions:
        _hear(story, session, blinded)
        _measure(story, session.recording)
        story.continuous += read_traces(session)
    reached = (t for t in story.trials.values() if t.shown or t.lost or t.left_out)
    story.trials = {t.trial: t for t in reached}
    return story


def _hear(story: SessionStory, session: Session, blinded: bool) -> None:
    """Take what the conductor and the operator said in one recording."""
    from physioemo.experiments.report.parts import clock_text

    shown = {1: ""}.get(len(story.sessions), f"{session.name} ")
    for time, content in session_events(session.recording):
        at = f"{shown}{clock_text(time - session.origin_seconds)}"
        event, number = content["event"], content.get("trial") or 0
        trial = story.trials.setdefault(number, TrialStory(number)) if number else None
        if event in ("decision", "monitor"):
            story.n_decisions += 1
        if event == "problem":
            story.problems.append((at, str(content["text"])))
        elif event == "refit":
            story.refits.append(content)
        elif event == "session_stop":
            story.reason = str(content["reason"])
        elif event == "calibration" and number:
            story.calibrations.append(content)
        if trial is not None:
            _hear_of_trial(trial, content, blinded)
    story.notes += [(f"{shown}{clock_text(t)}", text) for t, text in _notes(session)]


def _hear_of_trial(trial: TrialStory, content: Mapping[str, Any], blinded: bool) -> None:
    event = content["event"]
    if event == "decision":
        reason = str(content["action"]["reason"])
        trial.decided = _HIDDEN if blinded else reason
        if content["action"]["action"] == "skip":
            trial.left_out = trial.decided
    elif event == "phase" and content["phase"] in ("trial", "practice"):
        trial.kind, trial.block = content["phase"], content["block"]
        trial.stimulus, trial.evokes = content["stimulus"], content.get("evokes", {})
        trial.shown = True
    elif event == "trial_summary":
        trial.summary = content["summary"]
    elif event == "rated":
        trial.ratings = content["values"]
    elif event == "trial_lost":
        trial.lost = content["reason"]
    elif event == "trial_unshown" and content["left_out"]:
        trial.left_out = content["reason"]


def _notes(session: Session) -> list[tuple[float, str]]:
    """Return what the operator typed, with seconds from the recording's start."""
    found = []
    for key in session.recording.streams:
        if session.recording.description(key).name == OPERATOR:
            stream, time = session.stream(key)
            for at, text in zip(time.tolist(), np.ravel(stream["signal"].values), strict=True):
                content = decode_event(text)
                if content is not None:
                    what = content["event"]
                    found.append((at, str(content.get("text", what))))
    return found


def _measure(story: SessionStory, recording: Recording) -> None:
    """Take the latencies of one recording."""
    keys = [k for k in recording.streams if recording.description(k).name == QUALITY]
    for key in keys:
        stream = recording[key]
        names = [str(n) for n in stream["channel"].values]
        at = {n: stream["signal"].values[:, names.index(n)] for n in names[:7]}
        said = np.isfinite(at["first_stamp"])
        story.n_predictions += len(said)
        story.n_abstained += int((~said | (at["usable"] < 0.5)).sum())
        story.n_skipped += int(at["skipped"].max()) if len(said) else 0
        story.latency_seconds = np.append(story.latency_seconds, at["latency"][said])
        story.computing_seconds = np.append(story.computing_seconds, at["computing"][said])
