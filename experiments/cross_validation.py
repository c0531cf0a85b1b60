"""How well the way a decoder is trained does on trials that it has not seen, beside baselines."""

from collections.abc import Callable
from typing import Any

import numpy as np

from physioemo.experiments.decoder_fit import fit_decoder
from physioemo.experiments.scores import balanced_accuracy, score_trials, trial_means
from physioemo.experiments.splits import trial_grouped_k_fold
from physioemo.experiments.training_config import StudyConfig
from physioemo.experiments.trial_data import TrialData, with_permuted_trials
from physioemo.fingerprint import config_fingerprint, package_versions

__all__ = ["HeldOut", "evaluate"]

HeldOut = Callable[[Any, np.ndarray, np.ndarray, Any], np.ndarray]
"""``held_out(data, train, test, config)``: what a model of `train` says of `test`."""


def evaluate(
    data: TrialData,
    config: StudyConfig,
    *,
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    held_out: HeldOut | None = None,
) -> dict[str, Any]:
    """Cross-validate over groups of trials, with majority and permuted-label baselines.

    Parameters
    ----------
    data : TrialData
        Labelled windows.
    config : StudyConfig
        Folds, permutations, and how to train.
    on_progress : callable
        Told what is being done, and how many of how many steps are done.
    held_out : callable, optional
        ``held_out(data, train, test, config)``: what a model of the windows `train` says of the
        windows `test`, (window, dimension); the decoder of the EEG by default.

    Returns
    -------
    dict
        JSON-able: protocol, seed, configuration and its hash, versions, data fingerprints and,
        per dimension, what :func:`physioemo.experiments.scores.score_trials` says and each
        held-out trial's probability.
    """
    total = config.n_folds * (1 + config.n_permutations)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        on_progress("cross-validation and its permuted-label baseline", done, total)

    said = held_out or _held_out
    probability = _cross_validated(data, config, step, said)
    generator = np.random.default_rng([config.seed, 1])
    permuted = np.array(
        [
            _permuted_scores(data, config, generator, step, said)
            for _ in range(config.n_permutations)
        ]
    ).reshape(-1, len(data.dimensions))
    return {
        "format": 1,
        "protocol": f"trial-grouped {config.n_folds}-fold (grouped by trial and stimulus)",
        "leaky": False,
        "seed": config.seed,
        "config": config.to_dict(),
        "config_hash": config_fingerprint(config.to_dict()),
        "versions": package_versions(),
        "data_fingerprints": dict(data.fingerprints),
        "n_trials": len(set(data.trial_ids.tolist())),
        "n_groups": len(set(data.groups.tolist())),
        "n_windows": len(data.values),
        "dimensions": _dimension_scores(data, probability, permuted),
    }


def _dimension_scores(
    data: TrialData, probability: np.ndarray, permuted: np.ndarray
) -> dict[str, Any]:
    names, means, labels = trial_means(probability, data.labels, data.trial_ids)
    scores = {}
    for d, dimension in enumerate(data.dimensions):
        rated = data.labels[:, d] >= 0
        windows = (probability[rated, d] > 0.5).astype(int)
        scores[dimension] = {
            **score_trials(labels[:, d], means[:, d], permuted[:, d]),
            "window_balanced_accuracy": balanced_accuracy(data.labels[rated, d], windows),
            "trials": [
                {"recording": r, "trial": int(t), "label": int(y), "probability": float(p)}
                for (r, _, t), y, p in zip(
                    (n.rpartition(" trial ") for n in names), labels[:, d], means[:, d], strict=True
                )
            ],
        }
    return scores


def _permuted_scores(
    data: TrialData,
    config: StudyConfig,
    generator: np.random.Generator,
    step: Callable[[], None],
    held_out: HeldOut,
) -> list[float]:
    """Repeat the whole procedure after the labels were permuted over the trials."""
    permuted = with_permuted_trials(data, generator)
    probability = _cross_validated(permuted, config, step, held_out)
    _, means, labels = trial_means(probability, permuted.labels, permuted.trial_ids)
    return [
        balanced_accuracy(labels[labels[:, d] >= 0, d], means[labels[:, d] >= 0, d] > 0.5)
        for d in range(len(data.dimensions))
    ]


def _cross_validated(
    data: TrialData, config: StudyConfig, step: Callable[[], None], held_out: HeldOut
) -> np.ndarray:
    """Return the held-out probability of every window, (window, dimension)."""
    probability = np.full(data.labels.shape, np.nan)
    folds = trial_grouped_k_fold(data.groups, n_folds=config.n_folds, seed=config.seed)
    for train, test in folds:
        probability[test] = held_out(data, train, test, config)
        step()
    return probability


def _held_out(
    data: TrialData, train: np.ndarray, test: np.ndarray, config: StudyConfig
) -> np.ndarray:
    decoder = fit_decoder(data, train, config)
    return decoder.probability(data.values[test], data.present[test])
