"""Temperature and calibration error on data whose answer is known."""

import numpy as np
import pytest
from scipy.special import softmax

from physioemo.errors import CallError, SignalError
from physioemo.models.calibration import (
    calibrated_probability,
    expected_calibration_error,
    fit_temperature,
)


def honest(n_windows=20_000, n_outputs=3, seed=0):
    """Logits whose softmax is the true probability of the labels drawn from it."""
    rng = np.random.default_rng(seed)
    logits = 1.5 * rng.normal(size=(n_windows, n_outputs))
    steps = softmax(logits, axis=-1).cumsum(axis=-1)
    labels = (rng.random((n_windows, 1)) > steps[:, :-1]).sum(axis=-1)
    return logits, labels


def test_overconfidence_of_three_is_found_and_undone():
    logits, labels = honest()
    temperature = fit_temperature(3 * logits, labels)
    assert temperature.shape == (1,)
    assert temperature[0] == pytest.approx(3, abs=0.1)
    before = expected_calibration_error(softmax(3 * logits, axis=-1), labels)
    probability = calibrated_probability(3 * logits, temperature)
    assert expected_calibration_error(probability, labels)[0] < 0.02 < 0.1 < before[0]
    assert np.array_equal(probability.argmax(-1), logits.argmax(-1))


def test_each_dimension_has_its_own_temperature_and_missing_ratings_are_skipped():
    (first, first_labels), (second, second_labels) = honest(seed=1), honest(seed=2)
    logits = np.stack([2 * first, 0.5 * second], axis=1)
    labels = np.stack([first_labels, second_labels], axis=1)
    labels[::2, 0] = -1
    logits[::2, 0] *= 100
    np.testing.assert_allclose(fit_temperature(logits, labels), [2, 0.5], rtol=0.05)
    assert calibrated_probability(logits, [2, 0.5]).shape == logits.shape


def test_temperature_stays_in_its_range():
    _, labels = honest(500, 2)
    right = np.eye(2)[labels]
    assert fit_temperature(right, labels)[0] == pytest.approx(0.05, rel=1e-3)
    assert fit_temperature(1 - right, labels)[0] == pytest.approx(20, rel=1e-3)


def test_calibration_error_is_the_gap_by_hand():
    probability = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6], [0.5, 0.5]])
    labels = np.array([0, 1, 1, 1, -1])
    by_hand = 0.5 * abs(0.5 - 0.9) + 0.5 * abs(1.0 - 0.6)
    assert expected_calibration_error(probability, labels) == pytest.approx(by_hand)
    certain = np.array([[1.0, 0.0]])
    assert expected_calibration_error(certain, [1], n_bins=1) == pytest.approx(1)


@pytest.mark.parametrize(
    ("logits", "labels", "told"),
    [
        (np.zeros((4, 2)), np.full(4, -1), "labels have no rating in dimension 0, expected at"),
        (np.zeros((4, 2)), np.zeros(3, int), "labels are int64 of shape (3,), expected whole"),
        (np.full((4, 2), np.nan), np.zeros(4, int), "logits[0, 0] is nan, expected a finite"),
        (np.zeros(4), np.zeros(4, int), "logits have shape (4,), expected (window, class) or"),
        (np.zeros((4, 2)), np.full(4, 2), "labels[0, 0] is 2, expected a class from 0 to 1"),
    ],
)
def test_data_that_say_nothing_are_told(logits, labels, told):
    with pytest.raises(SignalError) as caught:
        fit_temperature(logits, labels)
    assert told in str(caught.value)


def test_logits_are_not_taken_for_probabilities():
    with pytest.raises(SignalError, match=r"probability\[0, 0\] is .*give probabilities, not log"):
        expected_calibration_error(np.array([[2.0, -1.0]]), [0])


def test_wrong_calls_are_told():
    with pytest.raises(CallError, match="n_bins=0 is out of range"):
        expected_calibration_error(np.array([[0.5, 0.5]]), [0], n_bins=0)
    with pytest.raises(CallError, match=r"temperature is \[1.0, 2.0\], expected 1 positive"):
        calibrated_probability(np.zeros((3, 2)), [1.0, 2.0])
