"""Where the electrodes of a standard montage sit, as directions from the centre of the head.

All laws of the simulated EEG are written over directions, not over channel names, so that they
hold for any montage. Axes: x to the right ear, y to the nose, z to the vertex.
"""

import warnings

import numpy as np
import numpy.typing as npt

from physioemo.acquisition.participant_noise import FloatArray
from physioemo.errors import CallError

__all__ = ["electrode_directions", "mixing_matrix", "region_weight", "source_directions"]

SOURCE_SPREAD_DEGREES = 25.0


def electrode_directions(montage: str) -> tuple[tuple[str, ...], FloatArray]:
    """Look up a standard montage.

    Parameters
    ----------
    montage : str
        A name that :func:`mne.channels.make_standard_montage` knows.

    Returns
    -------
    ch_names : tuple of str
        Electrodes in the order of the montage.
    directions : array (channel, 3)
        Unit vectors from the centre of the best-fitting sphere.

    Raises
    ------
    CallError
        If MNE-Python has no EEG montage of this name.
    """
    import mne

    names = _eeg_montages()
    try:
        with warnings.catch_warnings():
            # MNE renames montages and keeps the old names for a while; both are the user's right.
            warnings.simplefilter("ignore", FutureWarning)
            positions = mne.channels.make_standard_montage(montage).get_positions()["ch_pos"]
        if str(montage).startswith("artinis"):
            raise ValueError("optodes")
    except (ValueError, TypeError):
        raise CallError(_unknown_montage(montage, names)) from None
    points = np.array(list(positions.values()), dtype=np.float64)
    return tuple(positions), _unit(points - _sphere_centre(points))


def _eeg_montages() -> list[str]:
    """List MNE's EEG montages; the Artinis ones hold optodes, not electrodes."""
    import mne

    return [name for name in mne.channels.get_builtin_montages() if not name.startswith("artinis")]


def _unknown_montage(montage: object, names: list[str]) -> str:
    """Word the error for a montage that does not exist."""
    from difflib import get_close_matches

    # Compared in lower case: "BioSemi32" is the commonest slip, a name cut short the next.
    lower, typed = {name.lower(): name for name in names}, str(montage).lower()
    longer = [name for name in lower if typed and name.startswith(typed)]
    near = longer[:1] or get_close_matches(typed, lower, n=1, cutoff=0.5)
    advice = f"did you mean {lower[near[0]]!r}?" if near else f"use one of {', '.join(names)}."
    return f"The montage is {montage!r}, expected a standard EEG montage of MNE-Python; {advice}"


def _sphere_centre(points: FloatArray) -> FloatArray:
    """Fit a sphere by linear least squares: |p|² = 2 c·p + (r² - |c|²)."""
    design = np.column_stack([2 * points, np.ones(len(points))])
    solution = np.linalg.lstsq(design, (points**2).sum(axis=1), rcond=None)[0]
    return np.asarray(solution[:3], dtype=np.float64)


def _unit(vectors: npt.NDArray[np.float64]) -> FloatArray:
    """Scale vectors to length one."""
    return np.asarray(vectors / np.linalg.norm(vectors, axis=-1, keepdims=True), dtype=np.float64)


def region_weight(
    directions: FloatArray, centre: tuple[float, float, float], spread_degrees: float
) -> FloatArray:
    """Weigh electrodes by their angle to a point of the scalp.

    Parameters
    ----------
    directions : array (channel, 3)
        Unit vectors.
    centre : tuple of float
        Direction of the region, of any length.
    spread_degrees : float
        Standard deviation of the Gaussian fall-off over the angle.

    Returns
    -------
    array (channel,)
        1 at the centre, towards 0 away from it.
    """
    cosine = np.clip(directions @ _unit(np.asarray(centre, dtype=np.float64)), -1, 1)
    return np.asarray(np.exp(-0.5 * (np.degrees(np.arccos(cosine)) / spread_degrees) ** 2))


def source_directions(n_sources: int) -> FloatArray:
    """Spread sources evenly over the head by the Fibonacci spiral, down to 30° below the ears.

    Parameters
    ----------
    n_sources : int
        How many.

    Returns
    -------
    array (source, 3)
        Unit vectors; the same for every montage, so that two montages see one brain.
    """
    index = np.arange(n_sources)
    height = 1 - 1.5 * (index + 0.5) / n_sources
    turn = np.pi * (3 - np.sqrt(5)) * index
    radius = np.sqrt(1 - height**2)
    return np.column_stack([radius * np.cos(turn), radius * np.sin(turn), height])


def mixing_matrix(directions: FloatArray, sources: FloatArray) -> FloatArray:
    """Mix unit-variance sources so that every electrode has unit variance.

    Neighbours share sources: two electrodes at an angle θ correlate about as
    ``exp(-θ² / (4 · spread²))``, the blur of volume conduction (Nunez & Srinivasan, Electric
    Fields of the Brain, 2006, chapter 8) with a spread of 25°.

    Parameters
    ----------
    directions : array (channel, 3)
        Electrodes.
    sources : array (source, 3)
        Sources.

    Returns
    -------
    array (channel, source)
        Rows of length one.
    """
    cosine = np.clip(directions @ sources.T, -1, 1)
    return _unit(np.exp(-0.5 * (np.degrees(np.arccos(cosine)) / SOURCE_SPREAD_DEGREES) ** 2))
