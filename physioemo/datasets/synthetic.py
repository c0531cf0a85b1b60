"""Made-up signals for fixtures, with an effect of the ratings planted in them."""

import numpy as np

__all__ = ["planted_eeg", "pulse_wave", "slow_wave"]

ALPHA_HZ, BETA_HZ = 10.0, 20.0


def planted_eeg(
    rng: np.random.Generator,
    n_channels: int,
    n_samples: int,
    sfreq: float,
    *,
    valence: float,
    arousal: float,
    effect: float = 1.0,
) -> np.ndarray:
    """Return noise with an alpha and a beta rhythm whose amplitudes follow the ratings.

    The alpha amplitude falls with arousal and the beta amplitude grows with valence, each by
    the factor ``2 ** (effect * rating)``; phases differ between channels.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    n_channels, n_samples : int
        Shape of the result.
    sfreq : float
        Rate in Hz.
    valence, arousal : float
        Ratings brought to -1 to 1.
    effect : float
        Strength; 0 plants nothing.

    Returns
    -------
    ndarray, shape (channel, time)
        In microvolts.
    """
    time = np.arange(n_samples) / sfreq
    phase = rng.uniform(0, 2 * np.pi, (2, n_channels, 1))
    alpha = 8 * 2 ** (-effect * arousal) * np.sin(2 * np.pi * ALPHA_HZ * time + phase[0])
    beta = 4 * 2 ** (effect * valence) * np.sin(2 * np.pi * BETA_HZ * time + phase[1])
    return rng.normal(0, 4, (n_channels, n_samples)) + alpha + beta


def pulse_wave(rng: np.random.Generator, n_samples: int, sfreq: float) -> np.ndarray:
    """Return narrow peaks at about 70 per minute, shape (time,)."""
    beats = np.cumsum(rng.normal(0.86, 0.04, int(n_samples / sfreq) * 2 + 4))
    time = np.arange(n_samples) / sfreq
    nearest = beats[np.minimum(np.searchsorted(beats, time + 0.43), len(beats) - 1)]
    return np.exp(-0.5 * ((time - nearest) / 0.03) ** 2) + rng.normal(0, 0.01, n_samples)


def slow_wave(
    rng: np.random.Generator, n_samples: int, sfreq: float, frequency_hz: float
) -> np.ndarray:
    """Return a slow oscillation between -1 and 1, shape (time,)."""
    phase = rng.uniform(0, 2 * np.pi)
    return np.sin(2 * np.pi * frequency_hz * np.arange(n_samples) / sfreq + phase)
