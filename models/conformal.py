"""Intervals and sets that hold the truth as often as they say, for new trials or new people.

Split-conformal prediction (Vovk, Gammerman & Shafer 2005; Lei et al. 2018, JASA 113:1094-1111)
promises its coverage for exchangeable units. Windows of one trial are not exchangeable with those
of others; trials are, or people are. So the unit here is the group, as in hierarchical conformal
prediction (Lee, Barber & Willett 2023, arXiv 2306.06342; Dunn, Wasserman & Ramdas 2023, JASA
118:2491-2502): each of K calibration groups has the weight 1 / (K + 1), shared evenly by its
windows, and the group to come has the last share, at infinity.

- ``cover="window"``: a window drawn from a new group is covered with at least the wanted
  probability.
- ``cover="group"``: all windows of a new group together are (one score per group, its worst).

Both are over the draw of the calibration groups too, and say nothing of a single person.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physioemo.errors import CallError, DataError, SignalError
from physioemo.models.checks import checked_labels, checked_logits
from physioemo.models.grouped_calibration import (
    GroupNames,
    group_codes,
    require_one_per_window,
    require_separate_groups,
)

__all__ = ["COVERS", "Conformal", "fit_intervals", "fit_sets", "grouped_quantile"]

COVERS = ("window", "group")
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Conformal:
    """What was fitted; ``asdict`` of it is JSON.

    Parameters
    ----------
    kind : {"interval", "set"}
        For ratings or for classes.
    quantile : tuple of float
        One per dimension: of the error in standard deviations, or of 1 − probability.
    coverage : float
        What is promised.
    cover : {"window", "group"}
        For what it is promised.
    n_groups : tuple of int
        Calibration groups with a rating, per dimension.
    ordered : bool
        Whether a set has no gaps, its classes being ordered as they are numbered.
    """

    kind: str
    quantile: tuple[float, ...]
    coverage: float
    cover: str
    n_groups: tuple[int, ...]
    ordered: bool = False

    def intervals(self, mean: ArrayLike, sd: ArrayLike | None = None) -> NDArray[np.float64]:
        """Return lowest and highest value, shape (window, dimension, 2).

        Parameters
        ----------
        mean : array_like, shape (window, dimension)
        sd : array_like, shape (window, dimension), optional
            As in :func:`fit_intervals`: given there and here, or in neither.
        """
        self._require("interval")
        centre, spread = _checked_means(mean, sd)
        self._require_dimensions(centre.shape[1])
        reach = spread * np.array(self.quantile)
        return np.stack([centre - reach, centre + reach], axis=-1)

    def sets(self, probability: ArrayLike) -> NDArray[np.bool_]:
        """Return which classes are in the set, bool, shape (window, dimension, class).

        A set may hold all classes (nothing is known) or none (no class looks like it did). Of
        ordered classes it has no gaps.
        """
        self._require("set")
        shares = checked_logits(probability, name="probability")
        self._require_dimensions(shares.shape[1])
        if self.ordered:
            shares = _without_gaps(shares)
        return np.asarray(1.0 - shares <= np.array(self.quantile)[:, np.newaxis])

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "Conformal":
        """Return what :meth:`to_dict` gave."""
        lists = {k: tuple(content[k]) for k in ("quantile", "n_groups")}
        return cls(**{**content, **lists})

    def _require(self, kind: str) -> None:
        if self.kind != kind:
            raise CallError(f"found a conformal {self.kind}, expected one fitted as {kind}")

    def _require_dimensions(self, n: int) -> None:
        if n != len(self.quantile):
            raise SignalError(f"found {n} dimensions, expected {len(self.quantile)} as calibrated")


def fit_intervals(
    mean: ArrayLike,
    ratings: ArrayLike,
    *,
    calibration_groups: GroupNames,
    training_groups: GroupNames,
    test_groups: GroupNames | None,
    sd: ArrayLike | None = None,
    coverage: float = 0.9,
    cover: str = "window",
    unit: str | None = None,
) -> Conformal:
    """Fit prediction intervals of continuous ratings: ``mean ± quantile · sd``.

    Parameters
    ----------
    mean, ratings : array_like, shape (window, dimension)
        Of calibration windows; NaN in `ratings` is missing.
    calibration_groups, training_groups, test_groups
        As in :func:`physioemo.models.grouped_calibration.require_separate_groups`.
    sd : array_like, shape (window, dimension), optional
        Predicted standard deviation, for intervals that are wide where the model is unsure; 1 if
        not given.
    coverage : float
        Wanted share of ratings within their interval.
    cover : {"window", "group"}
        What the share is of; see the module.
    unit : str, optional
        Which kind of group is exchangeable, where several are given.

    Raises
    ------
    CallError
        If groups overlap, or an option is out of its range.
    DataError
        If there are too few groups for that coverage.
    SignalError
        If shapes do not fit or a mean is not finite.
    """
    _require_apart(training_groups, calibration_groups, test_groups, coverage, cover)
    centre, spread = _checked_means(mean, sd)
    truth = np.asarray(ratings, float)
    if truth.shape != centre.shape:
        raise SignalError(
            f"found ratings of shape {truth.shape} for means of shape {centre.shape}, expected the "
            "same: (window, dimension)"
        )
    scores = np.abs(truth - centre) / spread
    return _fit("interval", scores, calibration_groups, coverage, cover, unit)


def fit_sets(
    probability: ArrayLike,
    labels: ArrayLike,
    *,
    calibration_groups: GroupNames,
    training_groups: GroupNames,
    test_groups: GroupNames | None,
    coverage: float = 0.9,
    cover: str = "window",
    unit: str | None = None,
    ordered: bool = False,
) -> Conformal:
    """Fit sets of classes: all whose probability is high enough.

    The score is 1 − probability of the true class, which gives the smallest sets on average
    (Sadinle, Lei & Wasserman 2019, JASA 114:223-234). Of ordered classes a set is all between two
    of them: the score is 1 − the largest probability p such that the true class lies between
    classes of p or more, so that sets of probabilities with one peak stay as they are.

    Parameters
    ----------
    probability : array_like, shape (window, class) or (window, dimension, class)
        Of calibration windows, calibrated or not.
    labels : array_like of int, shape (window,) or (window, dimension)
        −1 is missing.
    calibration_groups, training_groups, test_groups, coverage, cover, unit
        As in :func:`fit_intervals`.
    ordered : bool
        Whether the classes are ordered as they are numbered.

    Raises
    ------
    CallError, DataError, SignalError
        As in :func:`fit_intervals`.
    """
    _require_apart(training_groups, calibration_groups, test_groups, coverage, cover)
    shares = checked_logits(probability, name="probability")
    classes = checked_labels(labels, *shares.shape)
    if ordered:
        shares = _without_gaps(shares)
    true = np.take_along_axis(shares, np.maximum(classes, 0)[..., np.newaxis], axis=-1)[..., 0]
    scores = np.where(classes >= 0, 1.0 - true, np.nan)
    fitted = _fit("set", scores, calibration_groups, coverage, cover, unit)
    return replace(fitted, ordered=ordered)


def _without_gaps(shares: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the lowest shares with one peak that are nowhere below those given."""
    up = np.maximum.accumulate(shares, axis=-1)
    down = np.maximum.accumulate(shares[..., ::-1], axis=-1)[..., ::-1]
    return np.asarray(np.minimum(up, down))


def grouped_quantile(
    scores: ArrayLike, groups: NDArray[np.int64], coverage: float, cover: str = "window"
) -> float:
    """Smallest score that a new group's stays below with the wanted probability.

    Parameters
    ----------
    scores : array_like, shape (window,)
    groups : ndarray of int, shape (window,)
        From :func:`physioemo.models.grouped_calibration.group_codes`.
    coverage, cover
        As in :func:`fit_intervals`.

    Returns
    -------
    float
        Infinite where there are too few groups.
    """
    values = np.asarray(scores, float)
    _, code, size = np.unique(groups, return_inverse=True, return_counts=True)
    if cover == "group":
        worst = np.full(len(size), -np.inf)
        np.maximum.at(worst, code, values)
        values, weight = worst, np.ones(len(worst))
    else:
        weight = 1.0 / size[code]
    order = np.argsort(values, kind="stable")
    reached = np.cumsum(weight[order]) >= coverage * (len(size) + 1) - _ROUNDING
    return float(values[order][np.argmax(reached)]) if reached.any() else float("inf")


def _fit(
    kind: str,
    scores: NDArray[np.float64],
    groups: GroupNames,
    coverage: float,
    cover: str,
    unit: str | None,
) -> Conformal:
    require_one_per_window(groups, len(scores))
    codes = group_codes(groups, unit)
    quantiles, counts = [], []
    for d in range(scores.shape[1]):
        rated = np.isfinite(scores[:, d])
        counts.append(len(np.unique(codes[rated])))
        quantiles.append(grouped_quantile(scores[rated, d], codes[rated], coverage, cover))
        if not np.isfinite(quantiles[-1]):
            least = int(np.ceil(coverage / (1 - coverage) - _ROUNDING))
            raise DataError(
                f"found {counts[-1]} rated calibration groups in dimension {d}, expected at least "
                f"{least} for a coverage of {coverage:g}; hold out more groups or ask for less"
            )
    return Conformal(kind, tuple(quantiles), coverage, cover, tuple(counts))


def _require_apart(
    training: GroupNames,
    calibration: GroupNames,
    test: GroupNames | None,
    coverage: float,
    cover: str,
) -> None:
    if not 0 < coverage < 1 or cover not in COVERS:
        raise CallError(
            f"found a coverage of {coverage} for each {cover!r}, expected above 0 and below 1 for "
            f"each of {', '.join(COVERS)}"
        )
    require_separate_groups(training=training, calibration=calibration, test=test)


def _checked_means(
    mean: ArrayLike, sd: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    centre = np.asarray(mean, float)
    spread = np.ones_like(centre) if sd is None else np.asarray(sd, float)
    if centre.ndim != 2 or spread.shape != centre.shape:
        raise SignalError(
            f"found means of shape {centre.shape} and deviations of shape {spread.shape}, expected "
            "(window, dimension) for both"
        )
    if not np.isfinite(centre).all() or not (np.isfinite(spread) & (spread > 0)).all():
        raise SignalError(
            "found a mean that is not finite or a deviation that is not above 0, expected finite "
            "predictions: leave out the windows where the model abstains"
        )
    return centre, spread
