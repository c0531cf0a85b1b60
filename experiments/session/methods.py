"""A paragraph for the methods section of a paper, from what really happened."""

import numpy as np

from physioemo.acquisition.player.continuous import CONTINUOUS
from physioemo.experiments.report.parts import plural
from physioemo.experiments.session.protocol import Protocol
from physioemo.experiments.session.story import SessionStory
from physioemo.experiments.session.verify import SessionCheck

__all__ = ["methods_paragraph"]

_LETTERS = ("eeg", "eog", "emg", "ecg", "eda")


def methods_paragraph(story: SessionStory, protocol: Protocol, check: SessionCheck | None) -> str:
    """Return sentences that a paper can take as they are.

    Parameters
    ----------
    story : SessionStory
    protocol : Protocol
    check : SessionCheck, optional
        What computing the session again gave; None if it was not done.
    """
    facts = story.facts
    sentences = [_who(story, protocol), *_continuous(story, protocol), _streams(story)]
    sentences.append(_decoder(story))
    if facts["arm"]:
        sentences.append(_loop(story, protocol))
    if story.calibrations:
        sentences.append(_calibration(story, protocol))
    sentences.append(_losses(story))
    if check is not None:
        same = sum(c.n_identical for c in check.predictions.values())
        total = sum(c.n_predictions - c.n_before for c in check.predictions.values())
        sentences.append(
            f"Recomputed offline from the recording, {same} of {total} predictions and "
            f"{check.n_identical} of {check.n_decisions} decisions were identical."
        )
    version = facts["versions"].get("physioemo", "")
    sentences.append(f"The session was run with PhysioEmo {version}".rstrip() + ".")
    return " ".join(sentences)


def _who(story: SessionStory, protocol: Protocol) -> str:
    facts, usable = story.facts, story.usable
    what = "A SIMULATED participant" if facts["simulated"] else "The participant"
    kinds = ", ".join(sorted({str(t.item["kind"]) for t in protocol.stimuli}))
    seconds = [s.seconds for s in protocol.stimuli]
    length = f"{min(seconds):g}" + (f"-{max(seconds):g}" if max(seconds) > min(seconds) else "")
    rated = ", ".join(protocol.ratings.dimensions)
    scale = "9-point self-assessment manikins" if protocol.ratings.scale == "sam" else "sliders"
    return (
        f"{what} ({facts['participant']}, session {facts['session']}) saw "
        f"{plural(len(usable), 'trial')} of {len(protocol.stimuli)} stimuli ({kinds}; "
        f"{length} s) and rated {rated} on {scale} after each."
    )


def _continuous(story: SessionStory, protocol: Protocol) -> list[str]:
    """Say what was rated while stimuli were shown, in our player and in other programs."""
    sentences = []
    rating = protocol.ratings.continuous
    if rating is not None:
        given = [t for t in story.continuous if t.name == CONTINUOUS]
        shares = [t.rated_share for t in given if np.isfinite(t.rated_share)]
        how = "by the simulation" if story.facts["simulated"] else f"with the {rating.device}"
        said = f"{100 * np.mean(shares):.0f} % of the trials' time" if shares else "not recorded"
        sentences.append(
            f"While each stimulus was shown, {' and '.join(rating.dimensions)} "
            f"{'was' if len(rating.dimensions) == 1 else 'were'} rated continuously {how} (scale "
            f"{rating.minimum:g} to {rating.maximum:g}, {rating.sfreq:g} Hz; {said})."
        )
    if protocol.ratings.continuous_stream:
        sentences.append(
            f"A continuous rating was recorded from the stream "
            f"'{protocol.ratings.continuous_stream}'."
        )
    return sentences


def _streams(story: SessionStory) -> str:
    parts = []
    for session in story.sessions[:1]:
        recording = session.recording
        for key in recording.streams:
            described = recording.description(key)
            # A continuous rating has its own sentence.
            if described.sfreq > 0 and described.modality != "continuous_rating":
                n = len(described.ch_names)
                what = _in_words(described.modality)
                parts.append(f"{what} ({plural(n, 'channel')}, {described.sfreq:g} Hz)")
    if not parts:
        return "No regular stream was recorded."
    listed = "; ".join(parts)
    return f"{listed[0].upper()}{listed[1:]} were recorded with Lab Streaming Layer on one clock."


def _in_words(modality: str) -> str:
    """Return a modality as it stands in a sentence."""
    return modality.upper() if modality in _LETTERS else modality.replace("_", " ")


def _decoder(story: SessionStory) -> str:
    latency = story.latency_seconds
    mark = "an UNTRAINED decoder" if story.facts["untrained"] else "a decoder"
    if not len(latency):
        return f"EEG was to be decoded by {mark} (model {story.facts['model_id']})."
    p50, p99 = 1e3 * np.percentile(latency, [50, 99])
    return (
        f"EEG was decoded by {mark} (model {story.facts['model_id']}) into "
        f"{story.n_predictions} predictions, {story.n_abstained} of which abstained; the time from "
        f"the newest sample to the prediction was {p50:.1f} ms (median; 99 % within {p99:.1f} ms)."
    )


def _loop(story: SessionStory, protocol: Protocol) -> str:
    arms = {a.name: a for a in protocol.arms}
    arm = arms.get(story.facts["arm"])
    if arm is None:
        return "Which policy chose the stimuli is hidden here: the session is blinded."
    stated = ", ".join(f"{k} = {v}" for k, v in arm.parameters.items() if v not in (None, ""))
    others = ", ".join(a for a in arms if a != arm.name)
    assigned = f", one of {len(arms)} arms (beside {others})" if others else ""
    return (
        f"Stimuli were chosen by the policy '{arm.policy}' ({stated}){assigned}; it was asked "
        f"{story.n_decisions} times."
    )


def _calibration(story: SessionStory, protocol: Protocol) -> str:
    last, stated = story.calibrations[-1], protocol.calibration
    method = stated.method if stated else "bias"
    after = stated.after_trials if stated else 0
    shares = [
        f"{d} {100 * last['accuracy_before'][d]:.0f} % before, {100 * share:.0f} % after"
        for d, share in last["accuracy_after"].items()
    ]
    return (
        f"From {plural(after, 'rated trial')} on, predictions were adjusted to the participant "
        f"({method}, shrunken; each trial by the ratings before it); trials whose side was "
        f"predicted: {'; '.join(shares)} (n = {last['n_rated']})."
    )


def _losses(story: SessionStory) -> str:
    lost = [t for t in story.trials.values() if t.lost]
    gaps = sum(len(q["gaps"]) for s in story.sessions for q in s.recording.quality().values())
    ended = "" if story.reason == "finished" else f" The session ended early: {story.reason}."
    return (
        f"{plural(len(lost), 'trial')} and {plural(story.n_skipped, 'prediction window')} were "
        f"lost, and the streams have {plural(gaps, 'gap')}.{ended}"
    )
