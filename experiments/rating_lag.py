"""How long a continuous rating lags behind what it rates, and ratings moved back by it.

Raters answer 2 to 4 s late (Mariooryad & Busso 2015, IEEE Trans. Affect. Comput. 6:97-108; Huang
et al. 2015, AVEC). The lag is where a ridge regression of all features together predicts the
rating best on stretches that it was not fitted to, by concordance; its chance is that of the same
search after circular shifts of the rating. In ratings of 2 to 4 minutes that have nothing to do
with the features that chance is 0.05 or less in 7 of 100, a little too often: take it as a hint.
For a single feature and a lag finer than a step see
:func:`physioemo.features.stimulus_lag.estimate_lag`.
"""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physioemo.errors import CallError, SignalError
from physioemo.recording import Recording

__all__ = ["RatingLag", "rating_lag", "ratings_of_windows", "recorded_rating"]

Floats = NDArray[np.float64]

_LEAST_LENGTHS = 10  # of the series, in widths of the search


class RatingLag(NamedTuple):
    """A lag, and how sure it is.

    Attributes
    ----------
    seconds : float
        By how much the rating comes after the features.
    concordance : float
        Of the held-out predictions at that lag.
    p_value : float
        Share of circular shifts with a concordance at least as high, itself among them; never
        below the share of the series that one search takes.
    lags_seconds, concordances : ndarray, shape (lag,)
        The whole search.
    """

    seconds: float
    concordance: float
    p_value: float
    lags_seconds: Floats
    concordances: Floats


def rating_lag(
    features: ArrayLike,
    rating: ArrayLike,
    hop_seconds: float,
    *,
    max_lag_seconds: float = 8.0,
    min_lag_seconds: float = 0.0,
    n_folds: int = 5,
    ridge: float = 1.0,
    n_shifts: int = 199,
    seed: int = 0,
) -> RatingLag:
    """Return the lag of a continuous rating behind features of the same windows.

    Parameters
    ----------
    features : array_like, shape (window, feature)
        Of windows in order, each at the middle of what it saw; a row with a NaN is left out.
    rating : array_like, shape (window,)
        The rating at the same times (:func:`ratings_of_windows` without a lag), none missing.
    hop_seconds : float
        From one window to the next: the resolution of the answer.
    max_lag_seconds, min_lag_seconds : float
        Where to look.
    n_folds : int
        Stretches that are held out in turn; next to one, windows as near as the widest lag are
        not fitted to.
    ridge : float
        Penalty on features of unit variance, in units of one window.
    n_shifts : int
        How many circular shifts the p value is made of.
    seed : int
        Of the shifts.

    Raises
    ------
    CallError
        If the search is empty, or there are fewer than two folds.
    SignalError
        If the lengths differ, the rating has missing values or never changes, or the series are
        shorter than ten times the widest lag.
    """
    first, last = (round(s / hop_seconds) for s in (min_lag_seconds, max_lag_seconds))
    if last <= first or n_folds < 2:
        raise CallError(
            f"found lags from {min_lag_seconds:g} to {max_lag_seconds:g} s in steps of "
            f"{hop_seconds:g} s and {n_folds} folds, expected two lags and two folds or more"
        )
    x, y = np.asarray(features, float), np.asarray(rating, float)
    width = max(abs(first), abs(last), last - first)
    _check(x, y, width)
    lags = np.arange(first, last + 1)
    rows = np.arange(max(0, -first), len(y) - max(0, last))
    rows = rows[np.isfinite(x[rows]).all(axis=1)]
    held_out = _held_out(x, rows, n_folds, ridge, gap=width)

    def scores(series: Floats) -> Floats:
        lagged = np.stack([series[rows + lag] for lag in lags], axis=1)
        return _concordances(held_out @ lagged, lagged)

    found = scores(y)
    best = int(found.argmax())
    shifts = np.random.default_rng(seed).integers(2 * width, len(y) - 2 * width, n_shifts)
    peaks = np.array([scores(np.roll(y, shift)).max() for shift in shifts])
    p_value = (1 + int((peaks >= found[best]).sum())) / (1 + n_shifts)
    # Overlapping searches are not separate ones: the series hold no more than these.
    p_value = max(p_value, len(lags) / len(y))
    return RatingLag(
        float(lags[best] * hop_seconds),
        float(found[best]),
        p_value,
        np.asarray(lags * hop_seconds, float),
        found,
    )


def ratings_of_windows(
    rating: ArrayLike,
    rating_seconds: ArrayLike,
    window_ends_seconds: ArrayLike,
    window_seconds: float,
    *,
    lag_seconds: float = 0.0,
) -> Floats:
    """Return the mean rating of each window, of the time when raters had seen it.

    Parameters
    ----------
    rating, rating_seconds : array_like, shape (sample,)
        A continuous rating and when each of its samples was given; NaN where missing.
    window_ends_seconds : array_like, shape (window,)
        On the same clock.
    window_seconds : float
        Length of the windows.
    lag_seconds : float
        The rater's: ratings given this much later belong to the window.

    Returns
    -------
    ndarray, shape (window,)
        NaN where no sample falls into the window.

    Raises
    ------
    SignalError
        If the shapes differ or the times do not rise.
    """
    values, times = np.asarray(rating, float), np.asarray(rating_seconds, float)
    if values.ndim != 1 or values.shape != times.shape or not (np.diff(times) > 0).all():
        raise SignalError(
            f"found ratings of shape {values.shape} at times of shape {times.shape}, expected one "
            "rising time for each"
        )
    times, values = times[np.isfinite(values)], values[np.isfinite(values)]
    ends = np.asarray(window_ends_seconds, float) + lag_seconds
    start, stop = np.searchsorted(times, ends - window_seconds), np.searchsorted(times, ends)
    total = np.concatenate([[0.0], np.cumsum(values)])
    count = stop - start
    return np.where(count > 0, (total[stop] - total[start]) / np.maximum(count, 1), np.nan)


def recorded_rating(
    recording: Recording, dimension: str, *, stream: str = ""
) -> tuple[Floats, Floats]:
    """Return a continuous rating of a recording, as :func:`ratings_of_windows` takes it.

    Parameters
    ----------
    recording : Recording
        With a stream of continuous ratings, such as the player's ``PhysioEmo-Continuous``.
    dimension : str
        Its channel.
    stream : str
        Which stream; the only one of continuous ratings if empty.

    Returns
    -------
    ndarray, ndarray, shape (sample,) each
        The rating, NaN where nothing was rated, and the recording's time in seconds.

    Raises
    ------
    SignalError
        If there is no such stream, more than one, or it has no such channel.
    """
    rated = [k for k in recording.streams if recording[k].attrs["modality"] == "continuous_rating"]
    chosen = [k for k in rated if stream in ("", k)]
    if len(chosen) != 1:
        raise SignalError(
            f"found the continuous ratings {', '.join(rated) or 'none'} in the recording, expected "
            f"{f'one called {stream!r}' if stream else 'one; name it by its stream'}"
        )
    signal = recording[chosen[0]]["signal"]
    names = [str(name) for name in signal["channel"].values]
    if dimension not in names:
        raise SignalError(
            f"found the dimensions {', '.join(names)} in {chosen[0]!r}, expected {dimension!r}"
        )
    values = np.asarray(signal.values[:, names.index(dimension)], float)
    return values, np.asarray(signal["time"].values, float)


def _check(x: Floats, y: Floats, width: int) -> None:
    fits = x.ndim == 2 and y.shape == x.shape[:1] and x.shape[1] > 0
    if not fits or len(y) < _LEAST_LENGTHS * width:
        raise SignalError(
            f"found features of shape {x.shape} and a rating of shape {y.shape}, expected (window, "
            f"feature) and (window,) of at least {_LEAST_LENGTHS * width} windows; use longer "
            "series or look less far"
        )
    known = np.isfinite(x).all(axis=1)
    if not np.isfinite(y).all() or not np.ptp(y) > 0 or known.mean() < 0.5:
        raise SignalError(
            f"found {int((~np.isfinite(y)).sum())} missing ratings and {int((~known).sum())} "
            f"missing rows of features in {len(y)} windows, expected a rating that varies and has "
            "no gap, and half of the features; cut out a stretch that was rated throughout"
        )


def _held_out(x: Floats, rows: NDArray[np.int_], n_folds: int, ridge: float, gap: int) -> Floats:
    """Return the matrix that turns ratings of the rows into held-out predictions of them."""
    matrix = np.zeros((len(rows), len(rows)))
    for test in np.array_split(np.arange(len(rows)), n_folds):
        far = (rows < rows[test[0]] - gap) | (rows > rows[test[-1]] + gap)
        train = np.flatnonzero(far)
        mean, spread = x[rows[train]].mean(axis=0), x[rows[train]].std(axis=0)
        scaled = (x[rows] - mean) / np.where(spread > 0, spread, 1.0)
        scaled = np.column_stack([np.ones(len(rows)), scaled])
        penalty = ridge * np.eye(scaled.shape[1])
        penalty[0, 0] = 0.0
        gram = scaled[train].T @ scaled[train] + penalty
        matrix[np.ix_(test, train)] = scaled[test] @ np.linalg.solve(gram, scaled[train].T)
    return matrix


def _concordances(predicted: Floats, truth: Floats) -> Floats:
    """Return the concordance of each column, as :func:`physioemo.experiments.metrics.concordance`.

    0 where nothing varies.
    """
    p, t = predicted - predicted.mean(axis=0), truth - truth.mean(axis=0)
    apart = (p**2 + t**2).mean(axis=0) + (predicted.mean(axis=0) - truth.mean(axis=0)) ** 2
    return np.asarray(2 * (p * t).mean(axis=0) / np.where(apart > 0, apart, 1.0), float)
