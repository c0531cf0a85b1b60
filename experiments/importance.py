"""What a fitted model uses: which electrodes, and which pairs of them together.

An electrode is taken away by making its features missing, which every estimator of the table fills
or masks by what it learned in training. Its importance is how much worse the true class is then
predicted (permutation importance without the chance; Breiman 2001, Machine Learning 45:5-32). Two
electrodes interact where taking both away does something else than the sum of taking each away:
the second difference of the log-odds (Friedman and Popescu 2008, Ann. Appl. Stat. 2:916-954).

Neither says anything by itself: each stands beside the same numbers of models that were fitted to
permuted labels. Such models hardly dare to say anything, so that in plain log-odds every pair of a
model that learned something exceeds them, also where electrodes only add up. Interactions are
therefore compared in units of the standard deviation of each model's own log-odds, less what both
electrodes have in common with all others (average product correction; Dunn, Wahl and Gloor 2008,
Bioinformatics 24:333-340). Where electrodes are pooled before a curved head, as in Deep Sets, two
strong electrodes still interact in the model though they add up in the data: a pair says what the
model does, not what brains do. Attention weights are no connectivity and are no part of this.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import numpy as np

from physioemo.errors import CallError

__all__ = [
    "Interactions",
    "beside_null",
    "electrode_importance",
    "electrode_interactions",
    "interactions_beside_null",
    "model_interactions",
]

_LEAST_PROBABILITY = 1e-4
_SURE = 1e-9
_NO_INTERACTION = 1e-6  # of log-odds: rounding
_MOST_WINDOWS = 200


def electrode_importance(
    estimator: Any, X: np.ndarray, y: np.ndarray, *, n_own: int | None = None
) -> np.ndarray:
    """Return how much of the true class's log-probability is lost without each electrode.

    Parameters
    ----------
    estimator : object
        Fitted; ``predict_proba`` takes NaN where something is missing.
    X : ndarray, shape (window, channel, ...)
        Windows that did not train it.
    y : ndarray of int, shape (window,)
        Their classes, as numbers of ``estimator.classes_``.
    n_own : int, optional
        Features that are of the electrode alone; what follows says how it goes with each electrode
        in turn, as :func:`~physioemo.experiments.estimator_inputs.connectivity_tokens` makes it,
        and is taken away with either. By default all are its own.

    Returns
    -------
    ndarray, shape (channel,)
        Mean loss in nats; about zero where the electrode is not used, negative where it misleads.
    """
    _check(X)
    without = partial(_without, X, n_own)
    rows = np.arange(len(y))
    column = np.searchsorted(estimator.classes_, y)
    whole = _log_probability(estimator, X)[rows, column]
    return np.array(
        [
            float((whole - _log_probability(estimator, without(k))[rows, column]).mean())
            for k in range(X.shape[1])
        ]
    )


def electrode_interactions(
    estimator: Any,
    X: np.ndarray,
    *,
    pairs: Sequence[tuple[int, int]] | None = None,
    n_own: int | None = None,
) -> np.ndarray:
    """Return how far two electrodes act together, for every pair.

    Parameters
    ----------
    estimator : object
        Fitted; ``predict_proba`` takes NaN where something is missing.
    X : ndarray, shape (window, channel, ...)
        Windows; of more than 200, 200 evenly spread ones are used.
    pairs : sequence of (int, int), optional
        Which pairs, all by default.
    n_own : int, optional
        As in :func:`electrode_importance`.

    Returns
    -------
    ndarray, shape (channel, channel)
        Mean absolute second difference of the log-odds of the class that is said, symmetric, over
        windows of which the model is not sure beyond rounding (one in 10⁹); NaN on the diagonal,
        for pairs that were not asked for, and where it is always that sure.
    """
    _check(X)
    n_channels = X.shape[1]
    windows = _spread(X)
    without = partial(_without, windows, n_own)
    said = estimator.predict_proba(windows).argmax(axis=1)
    whole = _log_odds(estimator, windows, said)
    alone = [_log_odds(estimator, without(k), said) for k in range(n_channels)]
    if pairs is None:
        pairs = [(i, j) for i in range(n_channels) for j in range(i)]
    found = np.full((n_channels, n_channels), np.nan)
    for i, j in pairs:
        both = _log_odds(estimator, without(i, j), said)
        apart = np.abs(whole - alone[i] - alone[j] + both)
        known = np.isfinite(apart)
        found[i, j] = found[j, i] = apart[known].mean() if known.any() else np.nan
    return found


@dataclass(frozen=True)
class Interactions:
    """Pairs of electrodes beside what permuted labels give.

    Parameters
    ----------
    log_odds : list of list of float or None
        :func:`electrode_interactions` of every pair, (channel, channel).
    score : list of list of float or None
        The same in units of the SD of the model's log-odds, less what either electrode has in
        common with all others.
    null_largest : list of float
        The largest score of each model that was fitted to permuted labels.
    p : float
        How often the largest score of permuted labels is as large as that of the true ones,
        (b + 1) / (m + 1).
    threshold : float
        The largest of these, or of rounding.
    winners : list of (str, str, float)
        Pairs above the threshold, the strongest first.
    """

    log_odds: list[list[float | None]]
    score: list[list[float | None]]
    null_largest: list[float]
    p: float
    threshold: float
    winners: list[tuple[str, str, float]]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)


def interactions_beside_null(
    fit: Callable[[int | None], Any],
    X: np.ndarray,
    ch_names: Sequence[str],
    *,
    n_permutations: int = 5,
    n_own: int | None = None,
) -> Interactions:
    """Return the interactions of a model, and what models of permuted labels show by chance.

    Parameters
    ----------
    fit : callable
        ``fit(None)`` returns the model fitted to the true labels, ``fit(k)`` one fitted to their
        permutation k, by the same procedure.
    X : ndarray, shape (window, channel, ...)
        Windows that train neither.
    ch_names : sequence of str
        Electrodes.
    n_permutations : int
        How many models of permuted labels.
    n_own : int, optional
        As in :func:`electrode_importance`.

    Raises
    ------
    CallError
        If there are no permutations, or names and channels differ in number.
    """
    if n_permutations < 1 or len(ch_names) != X.shape[1]:
        raise CallError(
            f"found {n_permutations} permutations and {len(ch_names)} names for {X.shape[1]} "
            "channels, expected at least one permutation and one name each; a pair means nothing "
            "without its null"
        )
    plain, score = model_interactions(fit(None), X, n_own=n_own)
    null = [model_interactions(fit(k), X, n_own=n_own)[1] for k in range(n_permutations)]
    return beside_null(plain, score, null, ch_names)


def model_interactions(
    estimator: Any, X: np.ndarray, *, n_own: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the interactions of one model, in log-odds and as scores to be compared.

    Parameters
    ----------
    estimator, X, n_own
        As in :func:`electrode_interactions`.

    Returns
    -------
    log_odds, score : ndarray, shape (channel, channel)
        :func:`electrode_interactions`, and the same in units of the SD of the model's log-odds,
        less what either electrode has in common with all others.
    """
    plain = electrode_interactions(estimator, X, n_own=n_own)
    return plain, _specific(estimator, X, plain)


def beside_null(
    log_odds: np.ndarray,
    score: np.ndarray,
    null_scores: Sequence[np.ndarray],
    ch_names: Sequence[str],
) -> Interactions:
    """Return the interactions of a model beside those of models of permuted labels.

    Parameters
    ----------
    log_odds, score : ndarray, shape (channel, channel)
        Of the model, from :func:`model_interactions`.
    null_scores : sequence of ndarray, shape (channel, channel)
        Scores of each model that was fitted to permuted labels.
    ch_names : sequence of str
        Electrodes.
    """
    null = [float(np.nanmax(found, initial=0.0)) for found in null_scores]
    largest = float(np.nanmax(score, initial=0.0))
    threshold = max(*null, _NO_INTERACTION)
    pairs = [
        (ch_names[j], ch_names[i], float(score[i, j]))
        for i in range(len(score))
        for j in range(i)
        if score[i, j] > threshold
    ]
    return Interactions(
        log_odds=_rows(log_odds),
        score=_rows(score),
        null_largest=null,
        p=(sum(v >= largest for v in null) + 1) / (len(null) + 1),
        threshold=threshold,
        winners=sorted(pairs, key=lambda p: -p[2]),
    )


def _check(features: np.ndarray) -> None:
    if features.ndim < 3:
        raise CallError(
            f"found features of shape {features.shape}, expected (window, channel, ...); only "
            "features by electrode can be taken away by electrode"
        )


def _without(features: np.ndarray, n_own: int | None, *channels: int) -> np.ndarray:
    left = features.copy()
    left[:, list(channels)] = np.nan
    if n_own is not None:
        # Each electrode's token also says how it goes with the one that is taken away.
        shared = left[:, :, n_own:].reshape(*left.shape[:2], left.shape[1], -1)
        shared[:, :, list(channels)] = np.nan
        left[:, :, n_own:] = shared.reshape(*left.shape[:2], -1)
    return left


def _spread(features: np.ndarray) -> np.ndarray:
    return features[np.unique(np.linspace(0, len(features) - 1, _MOST_WINDOWS).astype(int))]


def _specific(estimator: Any, features: np.ndarray, plain: np.ndarray) -> np.ndarray:
    """Return interactions in units of the model's own spread, less those with all others."""
    if not np.nanmax(plain, initial=0.0) > _NO_INTERACTION:
        return np.where(np.isnan(plain), np.nan, 0.0)
    windows = _spread(features)
    odds = _log_odds(estimator, windows, np.zeros(len(windows), int))
    # Of a model that is always sure neither odds nor interactions are known.
    scaled = plain / np.nanstd(odds)
    of_each = np.nanmean(scaled, axis=1)
    return np.asarray(scaled - np.outer(of_each, of_each) / np.nanmean(of_each))


def _rows(matrix: np.ndarray) -> list[list[float | None]]:
    return [[float(v) if np.isfinite(v) else None for v in row] for row in matrix]


def _log_probability(estimator: Any, features: np.ndarray) -> np.ndarray:
    said = np.asarray(estimator.predict_proba(features), float)
    return np.asarray(np.log(np.clip(said, _LEAST_PROBABILITY, 1.0)))


def _log_odds(estimator: Any, features: np.ndarray, column: np.ndarray) -> np.ndarray:
    said = np.asarray(estimator.predict_proba(features), float)
    rows = np.arange(len(said))
    p = said[rows, column]
    others = said.copy()
    others[rows, column] = 0.0
    rest = others.sum(axis=1)
    # Where a probability is one but for rounding, its odds are not known, and a floor would look
    # like an interaction.
    known = (p > _SURE) & (rest > _SURE)
    return np.where(known, np.log(np.where(known, p / np.where(known, rest, 1.0), 1.0)), np.nan)
