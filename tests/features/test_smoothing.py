"""Smoothing from window to window: known answers, and nothing from the future unless asked."""

import numpy as np
import pytest

from physioemo.errors import CallError
from physioemo.features.smoothing import SMOOTHINGS, VARIANCE_RATIO, smooth

CAUSAL = ("none", "moving-average", "lds")


def test_a_moving_average_is_the_mean_of_the_windows_so_far():
    values = np.arange(6.0)[:, None]
    smoothed = smooth(values, "moving-average", n_windows=3)[:, 0]
    np.testing.assert_allclose(smoothed, [0, 0.5, 1, 2, 3, 4])


@pytest.mark.parametrize("method", CAUSAL)
def test_causal_smoothing_does_not_see_the_future(method, rng):
    values = rng.normal(size=(30, 2, 3))
    changed = values.copy()
    changed[20:] = 99.0
    assert np.array_equal(smooth(values, method)[:20], smooth(changed, method)[:20])


def test_the_smoother_does_see_the_future(rng):
    values = rng.normal(size=(30, 2))
    changed = values.copy()
    changed[20:] = 99.0
    assert not np.allclose(smooth(values, "lds-smoother")[19], smooth(changed, "lds-smoother")[19])


@pytest.mark.parametrize("method", SMOOTHINGS)
def test_a_constant_stays_and_missing_stays_missing(method):
    values = np.full((12, 3), 4.25)
    values[[0, 5, 6], 1] = np.nan
    smoothed = smooth(values, method)
    np.testing.assert_array_equal(np.isnan(smoothed), np.isnan(values))
    np.testing.assert_allclose(smoothed[np.isfinite(values)], 4.25)


@pytest.mark.parametrize("backward", [False, True])
def test_lds_is_the_textbook_kalman_filter_and_smoother(backward, rng):
    """The joint Gaussian of walk and noise, conditioned by linear algebra."""
    n = 15
    y = rng.normal(size=n)
    # A flat prior for the first state: precision of the walk's differences and of the noise.
    steps = np.diff(np.eye(n), axis=0)
    method = "lds-smoother" if backward else "lds"
    found = smooth(y[:, None], method)[:, 0]
    for k in range(n):
        m = n if backward else k + 1
        precision = steps[: m - 1, :m].T @ steps[: m - 1, :m] / VARIANCE_RATIO + np.eye(m)
        assert found[k] == pytest.approx(np.linalg.solve(precision, y[:m])[k], rel=1e-9)


def test_unknown_methods_are_named():
    with pytest.raises(CallError, match="found the smoothing 'lsd'.*did you mean 'lds'"):
        smooth(np.zeros((2, 1)), "lsd")
    with pytest.raises(CallError, match="found a moving average of 0 windows"):
        smooth(np.zeros((2, 1)), "moving-average", n_windows=0)
