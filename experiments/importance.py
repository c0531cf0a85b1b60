"""What a fitted model uses: which electrodes, and which pairs of them together.

An electrode is taken away by making its features missing, which every estimator of the table fills
or masks by what it learned in training. Its importance is how much worse the true class is then
predicted (permutation importance without the chance; Breiman 2001, Machine Learning 45:5-32). Two
electrodes interact where taking both away does something else than the sum of taking each away:
the second difference of the log-odds (Friedman and Popescu 2008, Ann. Appl. Stat. 2:916-954).

Neither says anything by itself: each stands beside the same numbers of models that were fitted to
permuted labels. The largest pair counts only if it exceeds the largest pair of nearly all of those.
Attention weights are no connectivity and are not shown.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from physioemo.errors import CallError

__all__ = [
    "Interactions",
    "electrode_importance",
    "electrode_interactions",
    "interactions_beside_null",
]

_LEAST_PROBABILITY = 1e-4
_SURE = 1e-9
_NO_INTERACTION = 1e-6  # of log-odds: rounding
_MOST_WINDOWS = 200


def electrode_importance(estimator: Any, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how much of the true class's log-probability is lost without each electrode.

    Parameters
    ----------
    estimator : object
        Fitted; ``predict_proba`` takes NaN where something is missing.
    X : ndarray, shape (window, channel, ...)
        Windows that did not train it.
    y : ndarray of int, shape (window,)
        Their classes, as numbers of ``estimator.classes_``.

    Returns
    -------
    ndarray, shape (channel,)
        Mean loss in nats; about zero where the electrode is not used, negative where it misleads.
    """
    _check(X)
    rows = np.arange(len(y))
    column = np.searchsorted(estimator.classes_, y)
    whole = _log_probability(estimator, X)[rows, column]
    return np.array(
        [
            float((whole - _log_probability(estimator, _without(X, k))[rows, column]).mean())
            for k in range(X.shape[1])
        ]
    )


def electrode_interactions(
    estimator: Any, X: np.ndarray, *, pairs: Sequence[tuple[int, int]] | None = None
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

    Returns
    -------
    ndarray, shape (channel, channel)
        Mean absolute second difference of the log-odds of the class that is said, symmetric, over
        windows of which the model is not sure beyond rounding (one in 10⁹); NaN on the diagonal,
        for pairs that were not asked for, and where it is always that sure.
    """
    _check(X)
    n_channels = X.shape[1]
    spread = np.unique(np.linspace(0, len(X) - 1, _MOST_WINDOWS).astype(int))
    windows = X[spread]
    said = estimator.predict_proba(windows).argmax(axis=1)
    whole = _log_odds(estimator, windows, said)
    alone = [_log_odds(estimator, _without(windows, k), said) for k in range(n_channels)]
    if pairs is None:
        pairs = [(i, j) for i in range(n_channels) for j in range(i)]
    found = np.full((n_channels, n_channels), np.nan)
    for i, j in pairs:
        both = _log_odds(estimator, _without(windows, i, j), said)
        apart = np.abs(whole - alone[i] - alone[j] + both)
        known = np.isfinite(apart)
        found[i, j] = found[j, i] = apart[known].mean() if known.any() else np.nan
    return found


@dataclass(frozen=True)
class Interactions:
    """Pairs of electrodes beside what permuted labels give.

    Parameters
    ----------
    score : list of list of float or None
        Of every pair, (channel, channel).
    null_largest : list of float
        The largest pair of each model that was fitted to permuted labels.
    threshold : float
        The largest of these, or of rounding.
    winners : list of (str, str, float)
        Pairs above the threshold, the strongest first.
    """

    score: list[list[float | None]]
    null_largest: list[float]
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
    score = electrode_interactions(fit(None), X)
    null = [
        float(np.nanmax(electrode_interactions(fit(k), X), initial=0.0))
        for k in range(n_permutations)
    ]
    threshold = max(*null, _NO_INTERACTION)
    pairs = [
        (ch_names[j], ch_names[i], float(score[i, j]))
        for i in range(len(score))
        for j in range(i)
        if score[i, j] > threshold
    ]
    return Interactions(
        score=[[None if np.isnan(v) else float(v) for v in row] for row in score],
        null_largest=null,
        threshold=threshold,
        winners=sorted(pairs, key=lambda p: -p[2]),
    )


def _check(features: np.ndarray) -> None:
    if features.ndim < 3:
        raise CallError(
            f"found features of shape {features.shape}, expected (window, channel, ...); only "
            "features by electrode can be taken away by electrode"
        )


def _without(features: np.ndarray, *channels: int) -> np.ndarray:
    left = features.copy()
    left[:, list(channels)] = np.nan
    return left


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
