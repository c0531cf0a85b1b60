"""The report's first paragraph: what was found, in plain words."""

from collections.abc import Mapping, Sequence
from typing import Any

from physioemo.errors import PhysioEmoError
from physioemo.experiments.report.parts import Note, clock_text, number_text, plural
from physioemo.experiments.report.predictions import live_score, read_predictions
from physioemo.experiments.report.scores import (
    Evaluation,
    interval_text,
    permuted_scores,
    told_apart,
)
from physioemo.experiments.report.session import Session

__all__ = ["describe_session", "verdict"]


def describe_session(session: Session) -> str:
    """Return one sentence that says what a recording holds."""
    rated = sum(bool(t.ratings) for t in session.trials)
    trials = f"{plural(len(session.trials), 'trial')}, {rated} of them rated"
    return (
        f"{session.name}: {clock_text(session.duration_seconds)} (min:s), "
        f"{plural(len(session.recording.streams), 'stream')} "
        f"({', '.join(session.recording.streams)}), {trials if session.trials else 'no trials'}."
    )


def verdict(
    sessions: Sequence[Session], evaluation: Evaluation | None, missing_scores: str
) -> list[Note]:
    """Return the verdict on held-out trials and on live predictions, one note each.

    Parameters
    ----------
    sessions : sequence of Session
        What was recorded.
    evaluation : mapping or None
        From :func:`physioemo.experiments.report.scores.read_evaluation`.
    missing_scores : str
        Why there is no evaluation, if there is none.
    """
    if evaluation is None:
        offline = [Note(f"No scores on held-out trials: {missing_scores.rstrip('.')}.", "missing")]
    else:
        offline = [Note(_held_out(evaluation), "warning" if evaluation.get("leaky") else "plain")]
    live = [Note(text) for session in sessions if (text := _live(session, evaluation))]
    return offline + live


def _held_out(evaluation: Evaluation) -> str:
    if evaluation.get("leaky"):
        return (
            f"The scores come from a leaky protocol ({evaluation.get('protocol', 'not named')}): "
            "the decoder saw the trials on which it was scored, so nothing can be concluded."
        )
    return " ".join(_sentence(name, s) for name, s in evaluation["dimensions"].items())


def _sentence(name: str, score: Mapping[str, Any]) -> str:
    found = told_apart(score)
    if found is None:
        return f"For {name} there are too few trials or no permuted labels to judge by."
    permuted = permuted_scores(score)
    words = (
        "was told apart on held-out trials"
        if found
        else "was not told apart better than chance on held-out trials"
    )
    return (
        f"{name.capitalize()} {words}: balanced accuracy {number_text(score['balanced_accuracy'])} "
        f"[95 % interval {interval_text(score['interval_95'])}] over "
        f"{plural(int(score.get('n_trials', 0)), 'trial')}, permuted labels "
        f"{number_text(float(permuted.mean()))}, majority class "
        f"{number_text(score.get('majority_balanced_accuracy'))}."
    )


def _live(session: Session, evaluation: Evaluation | None) -> str:
    """Return what the predictions of a live session got right, or nothing."""
    parts = []
    for key in session.with_modality("prediction"):
        try:
            predictions = read_predictions(session, key)
        except PhysioEmoError:
            continue  # the recording's own section says why
        for dimension in predictions.probability:
            score = live_score(session, predictions, dimension)
            if score.n_trials:
                parts.append(
                    f"{dimension} right in {score.n_right} of {score.n_trials} trials "
                    f"(always the larger class: {score.n_majority})"
                )
    if not parts:
        return ""
    return f"Live, in {session.name}: {', '.join(parts)}.{_seen_before(session, evaluation)}"


def _seen_before(session: Session, evaluation: Evaluation | None) -> str:
    known = (evaluation or {}).get("data_fingerprints") or {}
    if session.recording.fingerprint() in known.values():
        return " The decoder was trained on this very recording: this is no test of it."
    return ""
