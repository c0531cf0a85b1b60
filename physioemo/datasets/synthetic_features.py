"""Made-up features for fixtures, with an effect of the label planted in them."""

import numpy as np

__all__ = ["planted_entropy", "planted_eye"]

_ENTROPY = np.array([22.0, 20.0, 19.0, 18.0, 16.0])  # of the five bands, as in published files
_EFFECT = np.array([0.0, 0.0, -1.0, 1.0, 1.0])


def planted_entropy(
    rng: np.random.Generator, n_windows: int, valence: float, effect: float = 1.0
) -> np.ndarray:
    """Return differential entropies of 62 electrodes, smooth over time.

    Beta and gamma grow with valence by `effect`, alpha falls by it.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    n_windows : int
        Length.
    valence : float
        The label brought to -1 to 1.
    effect : float
        Strength; 0 plants nothing.

    Returns
    -------
    ndarray, shape (electrode, window, band)
    """
    level = _ENTROPY + effect * valence * _EFFECT + rng.normal(0, 0.3, (62, 1, 5))
    drift = np.cumsum(rng.normal(0, 0.1, (62, n_windows, 5)), axis=1)
    return np.clip(level + drift / np.sqrt(n_windows), 10, 29)


def planted_eye(
    rng: np.random.Generator, n_features: int, n_windows: int, valence: float, effect: float = 1.0
) -> np.ndarray:
    """Return eye features; the first two grow with valence by `effect`.

    Parameters
    ----------
    rng : Generator
        Source of chance.
    n_features, n_windows : int
        Shape of the result.
    valence : float
        The label brought to -1 to 1.
    effect : float
        Strength; 0 plants nothing.

    Returns
    -------
    ndarray, shape (feature, window)
        Positive.
    """
    scale = np.geomspace(1, 300, n_features)[:, None]
    values = scale * rng.uniform(0.5, 1.5, (n_features, n_windows))
    values[:2] += 3 + effect * valence
    return values
