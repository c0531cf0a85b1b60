"""Loudness after ITU-R BS.1770-5: K-weighted power of the last 400 ms.

The two filters are given for 48 kHz only; other rates use the analogue prototypes behind them
(B. Neunaber's derivation, as in libebur128). Sound is taken as played, in one or two channels,
each with weight 1; silence is floored at -120.7.
"""

import numpy as np
from numpy.typing import NDArray

from physioemo.errors import SignalError

__all__ = ["MOMENTARY_SECONDS", "k_weighted", "momentary_loudness"]

Floats = NDArray[np.float64]

MOMENTARY_SECONDS = 0.4
_OFFSET = -0.691
_FLOOR = 1e-12
_SHELF_HZ, _SHELF_DB, _SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
_HIGHPASS_HZ, _HIGHPASS_Q = 38.13547087602444, 0.5003270373238773


def k_weighted(samples: np.ndarray, sfreq: float) -> Floats:
    """Return sound (time, channel) behind the K-weighting filters."""
    from scipy.signal import sosfilt

    samples = np.asarray(samples, float)
    return np.asarray(sosfilt(_sections(sfreq), samples, axis=0)) if len(samples) else samples


def momentary_loudness(samples: np.ndarray, sfreq: float, ends_seconds: np.ndarray) -> Floats:
    """Return the loudness of the 400 ms before each of some times.

    Parameters
    ----------
    samples : ndarray, shape (time, channel)
        Sound, full scale 1.
    sfreq : float
        Rate in Hz.
    ends_seconds : ndarray, shape (n,)
        Where the stretches of 400 ms end, since the first sample.

    Returns
    -------
    ndarray, shape (n,)
        LUFS; NaN where the sound does not cover the 400 ms.

    Raises
    ------
    SignalError
        If the samples are not (time, 1 or 2 channels).
    """
    samples = np.asarray(samples, float)
    if samples.ndim != 2 or samples.shape[1] not in (1, 2):
        raise SignalError(
            f"found sound of shape {samples.shape}, expected (time, channel) with 1 or 2 channels; "
            "mix it down"
        )
    power = (k_weighted(samples, sfreq) ** 2).sum(axis=1)
    total = np.concatenate([[0.0], np.cumsum(power)])
    n = round(MOMENTARY_SECONDS * sfreq)
    stop = np.round(np.asarray(ends_seconds, float) * sfreq).astype(int)
    inside = (stop >= n) & (stop <= len(samples))
    stop = np.where(inside, stop, min(n, len(samples)))
    mean = (total[stop] - total[np.maximum(stop - n, 0)]) / n
    return np.where(inside, _OFFSET + 10 * np.log10(np.maximum(mean, _FLOOR)), np.nan)


def _sections(sfreq: float) -> Floats:
    """Return the shelf and the high-pass as second-order sections (2, 6)."""
    k = np.tan(np.pi * _SHELF_HZ / sfreq)
    high = 10 ** (_SHELF_DB / 20)
    middle = high**0.4996667741545416
    a0 = 1 + k / _SHELF_Q + k * k
    ends, centre = high + k * k, middle * k / _SHELF_Q
    shelf = [ends + centre, 2 * (k * k - high), ends - centre, a0]
    shelf += [2 * (k * k - 1), 1 - k / _SHELF_Q + k * k]
    k, b0 = _highpass_scale(sfreq)
    # The standard's numerator at 48 kHz is 1, -2, 1; elsewhere the pass band has the same gain.
    gain = _highpass_scale(48000.0)[1] / b0
    highpass = [gain, -2 * gain, gain]
    highpass += [1.0, 2 * (k * k - 1) / b0, (1 - k / _HIGHPASS_Q + k * k) / b0]
    return np.stack([np.array(shelf) / a0, np.array(highpass)])


def _highpass_scale(sfreq: float) -> tuple[float, float]:
    k = float(np.tan(np.pi * _HIGHPASS_HZ / sfreq))
    return k, 1 + k / _HIGHPASS_Q + k * k
