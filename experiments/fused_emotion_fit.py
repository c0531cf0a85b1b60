"""Fit what a decoder says of named emotions, and score it on held-out trials."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from physioemo.errors import DataError
from physioemo.experiments.fused_config import FusedConfig
from physioemo.experiments.fused_context import window_features
from physioemo.experiments.fused_emotions import EmotionHead
from physioemo.experiments.fused_training_data import FusedTrialData, take_rows
from physioemo.experiments.metrics import balanced_accuracy
from physioemo.experiments.statistics import binomial_test, permutation_p
from physioemo.experiments.trial_scores import trial_mean

__all__ = [
    "SaidEmotions",
    "calibrated_emotions",
    "emotion_head",
    "emotion_note",
    "emotion_scores",
    "emotion_task",
    "require_several_emotions",
]


class SaidEmotions(NamedTuple):
    """What was said of the emotions of held-out windows.

    Parameters
    ----------
    probability : ndarray, shape (window, emotion)
    truth : ndarray of int, shape (window,)
        Number of the emotion, -1 = not known.
    trials : ndarray of str, shape (window,)
        Which trial each window is of.
    """

    probability: np.ndarray
    truth: np.ndarray
    trials: np.ndarray


def require_several_emotions(data: FusedTrialData, names: Sequence[str]) -> None:
    """Refuse data in which there are no emotions to tell apart.

    Raises
    ------
    DataError
        If fewer than two are known.
    """
    known = [] if data.emotions is None else sorted({int(e) for e in data.emotions if e >= 0})
    if len(known) < 2:
        found = ", ".join(names[e] for e in known) or "none"
        raise DataError(
            f"found trials of the emotions {found}, expected two or more of {', '.join(names)}; "
            "say with [emotion_of] which stimulus stands for which, or leave emotions out"
        )


def emotion_head(
    model: Any,
    data: FusedTrialData,
    inputs: Mapping[str, Any],
    rows: np.ndarray,
    config: FusedConfig,
) -> EmotionHead | None:
    """Return an untrained head for named emotions, if any are to be said.

    Parameters
    ----------
    model : FusedModel
        Whose features it reads.
    data : FusedTrialData
        All windows.
    inputs : mapping
        What the model takes of them.
    rows : ndarray of int
        Windows that are learned from.
    config : FusedConfig
        What is to be said.
    """
    import torch

    from physioemo.models.fused_training import fused_outputs
    from physioemo.models.training import seeded

    if not config.emotions or data.emotions is None:
        return None
    known = data.emotions[rows]
    counts = np.bincount(known[known >= 0], minlength=len(config.emotions))
    prior = counts / counts.sum() if counts.any() else np.full(len(counts), 1 / len(counts))
    features = window_features(fused_outputs(model, take_rows(inputs, rows[:1]))).shape[1]
    with seeded(config.seed, torch.device("cpu")):
        return EmotionHead.untrained(config.emotions, features, prior)


def emotion_task(
    head: EmotionHead | None,
    data: FusedTrialData,
    inner: np.ndarray,
    held: np.ndarray,
    config: FusedConfig,
) -> Any:
    """Return what is learned of named emotions; None for nothing.

    Parameters
    ----------
    head : EmotionHead, optional
        From :func:`emotion_head`.
    data, config
        As there.
    inner, held : ndarray of int
        Windows that are learned from, and that stop it.
    """
    from physioemo.models.fused_training import NamedTask

    if head is None or data.emotions is None:
        return None
    return NamedTask(head.network, data.emotions[inner], data.emotions[held], config.emotion_weight)


def calibrated_emotions(
    head: EmotionHead | None, features: np.ndarray, truth: np.ndarray
) -> EmotionHead | None:
    """Return the head with the temperature that fits validation windows.

    Parameters
    ----------
    head : EmotionHead, optional
        Trained.
    features : ndarray, shape (window, dimension, embed)
        Of the fused model, of windows of which something was there.
    truth : ndarray of int, shape (window,)
        Number of the emotion, -1 = not known; with none known the head stays as it is.
    """
    from physioemo.models.calibration import fit_temperature

    if head is None or not (truth >= 0).any():
        return head
    logits = head.logits(features)[:, None]
    return replace(head, temperature=float(fit_temperature(logits, truth[:, None])[0]))


def emotion_scores(
    said: Sequence[SaidEmotions],
    permuted: Sequence[Sequence[SaidEmotions]],
    names: Sequence[str],
) -> dict[str, Any]:
    """Return how well named emotions of held-out trials were told, beside what says nothing.

    Parameters
    ----------
    said : sequence of SaidEmotions
        Of each fold.
    permuted : sequence of sequence of SaidEmotions
        The same after the emotions were permuted over trials, for each permutation.
    names : sequence of str
        The emotions.

    Returns
    -------
    dict
        ``names``, ``n_trials``, ``balanced_accuracy`` over the emotions that were tested, that of
        the most frequent one, of permuted ones, ``p_permutation``, ``p_binomial`` (one-sided,
        against always saying the most frequent one), ``confusion`` (true by rows) and ``trials``.
    """
    trials, truth, mean = _trials(said)
    told = mean.argmax(axis=1)
    score, right = balanced_accuracy(truth, told), int((told == truth).sum())
    counts = np.bincount(truth, minlength=len(names))
    chance = [balanced_accuracy(t, m.argmax(axis=1)) for _, t, m in map(_trials, permuted)]
    share = float(counts.max() / max(counts.sum(), 1))
    confusion = np.zeros((len(names), len(names)), int)
    np.add.at(confusion, (truth, told), 1)
    return {
        "names": list(names),
        "n_trials": len(truth),
        "n_per_emotion": counts.tolist(),
        "balanced_accuracy": score,
        "majority_balanced_accuracy": 1 / max(int((counts > 0).sum()), 1),
        "permuted_balanced_accuracy": [float(c) for c in chance],
        "p_permutation": permutation_p(score, np.array(chance)).p,
        "p_binomial": binomial_test(right, len(truth), share).p if 0 < share < 1 else 1.0,
        "confusion": confusion.tolist(),
        "trials": [
            {"trial": name, "emotion": names[t], "probability": [float(v) for v in row]}
            for name, t, row in zip(trials, truth, mean, strict=True)
        ],
    }


def _trials(said: Sequence[SaidEmotions]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the trials whose emotion is known: names, truth and mean probabilities."""
    joined = SaidEmotions(*(np.concatenate(parts) for parts in zip(*said, strict=True)))
    names, truth, mean = trial_mean(joined.truth, joined.probability, joined.trials)
    known = np.flatnonzero((truth >= 0) & np.isfinite(mean).all(axis=1))
    return [names[k] for k in known], truth[known], mean[known]


def emotion_note(scores: Mapping[str, Any]) -> str:
    """Return one sentence about :func:`emotion_scores`."""
    permuted = scores["permuted_balanced_accuracy"]
    shuffled = (
        f"{np.mean(permuted):.2f} with permuted ones" if permuted else "permuted ones not run"
    )
    return (
        f"Emotions ({', '.join(scores['names'])}): balanced accuracy "
        f"{scores['balanced_accuracy']:.2f} on {scores['n_trials']} held-out trials, "
        f"{scores['majority_balanced_accuracy']:.2f} for always the same, {shuffled}, binomial p "
        f"{scores['p_binomial']:.2g}."
    )
