"""A session decided again: every prediction and every decision, from its recordings alone.

What cannot be computed because a recording lacks it (a program was killed, the disk was full) is
named as a gap; what comes out differently is a difference, and the session did not pass.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import CallError, PhysioEmoError
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.decoder_folder import load_decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.live_outlets import PREDICTIONS, QUALITY, read_prediction
from physioemo.experiments.session.decisions import (
    Decision,
    DecisionInputs,
    LatestPrediction,
    PredictionSummary,
)
from physioemo.experiments.session.declaration import Calibration
from physioemo.experiments.session.folder import SessionFolder
from physioemo.experiments.session.hearing import Heard
from physioemo.experiments.session.last_trial import LastTrial, summary_of
from physioemo.experiments.session.messages import SESSION, decode_event
from physioemo.experiments.session.person import Person
from physioemo.experiments.session.policies import decide
from physioemo.experiments.session.policy_state import PolicyState
from physioemo.experiments.session.recompute import PredictionCheck, check_predictions
from physioemo.experiments.session.session_stimuli import shown_stimuli
from physioemo.prediction import DIMENSIONS
from physioemo.recording import Recording
from physioemo.store import open_recording

__all__ = ["SessionCheck", "check_lines", "heard_in", "session_events", "verify_session"]


@dataclass
class SessionCheck:
    """How a session compares with what its recordings say.

    Parameters
    ----------
    predictions : dict of str to PredictionCheck
        By recording.
    n_decisions, n_identical : int
        Decisions in the recordings, and those that came out the same.
    differences, gaps : list of str
        A sentence each.
    """

    predictions: dict[str, PredictionCheck] = field(default_factory=dict)
    n_decisions: int = 0
    n_identical: int = 0
    differences: list[str] = field(default_factory=list)
    gaps: list[str] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing came out differently, and something was there to compare."""
        same = all(check.passed for check in self.predictions.values())
        return same and not self.differences and self.n_identical == self.n_decisions

    @property
    def all_gaps(self) -> list[str]:
        """What cannot be computed, of the session and of its predictions, a sentence each."""
        return [*self.gaps, *(g for found in self.predictions.values() for g in found.gaps)]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        predictions = {name: vars(check) for name, check in self.predictions.items()}
        return {**vars(self), "predictions": predictions, "passed": self.passed}


def session_events(recording: Recording) -> list[tuple[float, dict[str, Any]]]:
    """Return what the conductor said, in order, each with its session time in seconds."""
    if not _has(recording, SESSION):
        return []
    stream = recording[SESSION]
    texts = np.ravel(stream["signal"].values)
    pairs = zip(stream["time"].values.tolist(), texts.tolist(), strict=True)
    return [(t, content) for t, text in pairs if (content := decode_event(text)) is not None]


def heard_in(recording: Recording, decoder_id: str) -> list[Heard]:
    """Return the predictions of a recording as the conductor heard them."""
    if not (_has(recording, PREDICTIONS) and _has(recording, QUALITY)):
        return []
    said, quality = recording[PREDICTIONS], recording[QUALITY]
    names = [str(n) for n in said["channel"].values]
    at = [str(n) for n in quality["channel"].values].index("staleness")
    stale = quality["signal"].values[:, at].tolist()
    known: dict[float, list[float]] = {}
    for stamp, value in zip(quality["raw_time"].values.tolist(), stale, strict=True):
        known.setdefault(stamp, []).append(value)
    heard = []
    rows = said["signal"].values.astype(float).tolist()
    for stamp, row in zip(said["raw_time"].values.tolist(), rows, strict=True):
        if known.get(stamp):
            prediction = read_prediction(row, names, stamp, decoder_id)
            heard.append(Heard(prediction, known[stamp].pop(0)))
    return heard


def verify_session(
    path: str | Path,
    *,
    decoder_folder: str | Path | None = None,
    stimuli: Sequence[str | Path] = (),
    cache: str | Path | None = None,
) -> SessionCheck:
    """Compute every prediction and every decision of a session again.

    Parameters
    ----------
    path : str or Path
        Folder of ``physioemo session run``.
    decoder_folder : str or Path, optional
        Where the decoder lies now, if it was moved.
    stimuli : sequence of str or Path
        Files, or folders of files, where those that were shown lie now, if they were moved; they
        are known by their SHA-256.
    cache : str or Path, optional
        Folder of decoded stimuli.

    Returns
    -------
    SessionCheck

    Raises
    ------
    CallError
        If it is no session, there is no recording in it, or nothing at a path of the stimuli.
    CheckpointError
        If the decoder is not there any more.
    """
    folder = SessionFolder.open(Path(path))
    facts = folder.facts
    decoders = _decoders(folder, decoder_folder or facts["decoder"])
    check = SessionCheck()
    chain = _Chain(check)
    if not folder.recordings:
        raise CallError(f"found no recording in {path}, expected one; was the session begun?")
    for recording_path in folder.recordings:
        name = recording_path.name
        try:
            recording = open_recording(recording_path)
        except PhysioEmoError as error:
            check.gaps.append(f"{name} cannot be opened: {error}")
            continue
        check.gaps += [f"{name}: {note}" for note in recording.notes]
        if _has(recording, PREDICTIONS) and _has(recording, QUALITY):
            source_id = recording.description(recording.key(PREDICTIONS)).source_id
            used = next((d for i, d in decoders.items() if source_id.endswith(i)), decoders[""])
            shown = shown_stimuli(recording, used, facts, stimuli, cache)
            check.predictions[name] = check_predictions(recording, used, stimuli=shown)
        else:
            check.gaps.append(f"{name} has no predictions")
        chain.follow(name, recording)
    lacking = sorted(_shown_trials(folder) - chain.trials)
    if lacking:
        check.gaps.append(f"no recording holds the trials {', '.join(map(str, lacking))}")
    return check


def _shown_trials(folder: SessionFolder) -> set[int]:
    """Return the trials that were begun, and not ended before anything of them was shown."""
    begun: set[int] = set()
    for line in folder.progress():
        if line.get("trial") and line["what"] == "begun":
            begun.add(line["trial"])
        elif line["what"] == "unshown":
            begun.discard(line["trial"])
    return begun


def _decoders(folder: SessionFolder, first: str | Path) -> dict[str, Decoder | FusedDecoder]:
    """Return the decoders of a session by their ids; the one that it began with also as ``""``."""
    begun = load_decoder(first)
    fitted = [
        load_decoder(folder.path / line["folder"])
        for line in folder.progress()
        if line["what"] == "refit"
    ]
    return {**{d.id: d for d in (begun, *fitted)}, "": begun}


def _has(recording: Recording, name: str) -> bool:
    return any(recording.description(key).name == name for key in recording.streams)


class _Chain:
    """Goes through what the conductor said, and decides again."""

    def __init__(self, check: SessionCheck) -> None:
        self.check = check
        self.trials: set[int] = set()
        self.policy: PolicyState | None = None
        self.person = Person.start(None, DIMENSIONS)
        self.ratings: dict[str, dict[str, float]] = {}
        self.last = LastTrial()
        self.heard: list[Heard] = []
        self.monitored: list[tuple[int, float]] = []
        self.name = ""

    def follow(self, name: str, recording: Recording) -> None:
        """Go through one recording."""
        self.name, self.heard = name, heard_in(recording, "")
        for _, content in session_events(recording):
            work = {
                "session_start": self._begin,
                "session_resumed": self._begin,
                "decision": self._decision,
                "monitor": self._monitor,
                "rated": self._rated,
                "trial_summary": self._summary,
                "phase": self._phase,
            }.get(content["event"])
            if work is not None:
                work(content)

    def _begin(self, content: Mapping[str, Any]) -> None:
        told = PolicyState.from_dict(content["policy_state"])
        if self.policy is not None and self.policy.to_dict() != told.to_dict():
            self.check.gaps.append(
                f"{self.name}: it begins with the policy's state as told, not as decided before: "
                "the session, or its recording, was cut off"
            )
        stated = content.get("calibration")
        calibration = Calibration(**stated) if stated else None
        self.policy = told
        self.person = Person.from_dict(content["person"], calibration)
        self.ratings = {t: dict(v) for t, v in content["ratings"].items()}
        self.last = LastTrial.from_dict(content["last"])

    def _phase(self, content: Mapping[str, Any]) -> None:
        if content.get("trial") and content["phase"] in ("trial", "practice"):
            self.monitored = []
            self.trials.add(content["trial"])

    def _rated(self, content: Mapping[str, Any]) -> None:
        self.ratings[str(content["trial"])] = dict(content["values"])

    def _summary(self, content: Mapping[str, Any]) -> None:
        """Compute a trial's summary again, and what it teaches of the participant."""
        trial, stamps = content["trial"], content["stamps"]
        heard = self._recorded(stamps)
        told = PredictionSummary.from_dict(content["summary"])
        if len(heard) < len(stamps):
            self._gap(trial, f"it has {len(heard)} of {len(stamps)} predictions that were heard")
            self.last = LastTrial(trial, content["stimulus"], told)
            return
        max_age = self.policy.max_age_seconds if self.policy else 0.0
        adjusted = summary_of([self.person.adjusted(h, trial) for h in heard], max_age)
        if adjusted != told:
            self._differs(trial, "its summary of predictions")
        self.last = LastTrial(trial, content["stimulus"], adjusted)
        raw = summary_of(heard, max_age)
        self.person = self.person.learn(trial, raw.probability, self.ratings.get(str(trial), {}))

    def _recorded(self, stamps: list[float]) -> list[Heard]:
        """Return the predictions of this recording with these stamps, as many as asked for.

        Those for silence repeat the stamp of the newest sample.
        """
        wanted, found = Counter(stamps), []
        for heard in self.heard:
            at = heard.prediction.time_seconds
            if wanted[at] > 0:
                wanted[at] -= 1
                found.append(heard)
        return found

    def _decision(self, content: Mapping[str, Any]) -> None:
        told = DecisionInputs.from_dict(content["inputs"])
        inputs = replace(
            told,
            last_trial=self.last.trial,
            last_stimulus=self.last.stimulus,
            predictions=self.last.summary,
            ratings=self.ratings,
        )
        self.trials.add(told.trial)
        self._decide(content, told, inputs)

    def _monitor(self, content: Mapping[str, Any]) -> None:
        told = DecisionInputs.from_dict(content["inputs"])
        n = content["n_predictions"]
        if told.latest is not None:
            self.monitored.append((told.trial, told.latest.time_seconds))
        start = content["from_seconds"]
        stamps = [at for trial, at in self.monitored if trial == told.trial and at > start]
        so_far = self._recorded(stamps)
        inputs = told
        if len(so_far) != n:
            self._gap(told.trial, f"it has {len(so_far)} of {n} predictions that were heard")
        elif told.latest is not None and self.policy is not None:
            adjusted = [self.person.adjusted(h, told.trial) for h in so_far]
            newest = [h for h in adjusted if h.prediction.time_seconds == told.latest.time_seconds]
            inputs = replace(told, predictions=summary_of(adjusted, self.policy.max_age_seconds))
            if newest and LatestPrediction.of(newest[-1].prediction) != told.latest:
                self._differs(told.trial, "the newest prediction that it was decided from")
        self._decide(content, told, inputs)

    def _decide(
        self, content: Mapping[str, Any], told: DecisionInputs, inputs: DecisionInputs
    ) -> None:
        if self.policy is None:
            self._gap(told.trial, "the policy's state is not recorded")
            return
        self.check.n_decisions += 1
        decision, self.policy = decide(self.policy, inputs)
        if inputs.to_dict() != told.to_dict():
            self._differs(told.trial, "what was decided from")
        elif decision != Decision.from_dict(content["action"]):
            self._differs(told.trial, f"the decision {content['action']}")
        else:
            self.check.n_identical += 1

    def _differs(self, trial: int, what: str) -> None:
        self.check.differences.append(
            f"{self.name}, trial {trial}: {what} comes out differently from the recording"
        )

    def _gap(self, trial: int, what: str) -> None:
        text = f"{self.name}, trial {trial}: {what}"
        if text not in self.check.gaps:
            self.check.gaps.append(text)


def check_lines(check: SessionCheck) -> Iterator[str]:
    """Yield what a check found, in words."""
    for name, found in check.predictions.items():
        line = f"{name}: {found.n_identical} of {found.n_predictions} predictions identical"
        line += f", {found.n_silent} of them abstain for silence" if found.n_silent else ""
        line += f", {found.n_before} from before the recording" if found.n_before else ""
        yield line
        yield from (f"! {text}" for text in found.differences)
        yield from (f"gap: {text}" for text in found.gaps)
    yield f"{check.n_identical} of {check.n_decisions} decisions identical"
    yield from (f"! {text}" for text in check.differences)
    yield from (f"gap: {text}" for text in check.gaps)
