"""Seeded noise with a spectrum, filtered block by block without a seam.

Every signal of the simulated participant is white noise through one of the filters below. A
filter's state is an argument and a result, so that the last sample of one block and the first
of the next belong together; the random numbers of a block depend only on the seed, the modality
and the number of the block, so that one modality never disturbs another.
"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = [
    "MODALITIES",
    "SETTLE",
    "TRAITS",
    "FilterState",
    "FloatArray",
    "NoiseFilter",
    "child_generator",
    "lag_filter",
    "pink_filter",
    "resonator",
    "rest_state",
    "run_filter",
    "settle_noise",
    "slow_drift",
    "step_noise",
]

FloatArray = npt.NDArray[np.float64]
FilterState = tuple[npt.NDArray[np.generic], ...]

# The place in this tuple is the spawn key: append, never reorder, or old seeds change meaning.
MODALITIES = ("eeg", "heart", "breath", "skin", "blinks", "eyes", "plan", "ratings")

# Two draws that belong to no block: who the person is, and the run-in of the filters.
TRAITS, SETTLE = -2, -1


@dataclass(frozen=True)
class NoiseFilter:
    """A cascade of recursive filters for white noise of unit variance.

    Attributes
    ----------
    sections : tuple of (numerator, denominator)
        As :func:`scipy.signal.lfilter` takes them; complex for a rotating filter.
    settle_samples : int
        Samples after which the output has forgotten that it began at zero.
    """

    sections: tuple[tuple[npt.NDArray[np.generic], npt.NDArray[np.generic]], ...]
    settle_samples: int

    @property
    def is_complex(self) -> bool:
        """Whether the filter rotates, and is driven by complex noise."""
        return any(np.iscomplexobj(denominator) for _, denominator in self.sections)


def child_generator(seed: int, modality: str, block_index: int) -> np.random.Generator:
    """Make the random generator of one modality in one block.

    It is the grandchild that ``SeedSequence(seed).spawn(...)[modality].spawn(...)[block + 2]``
    would give, made directly, so that no generator has to be kept between blocks.

    Parameters
    ----------
    seed : int
        The participant's seed.
    modality : str
        One of ``MODALITIES``.
    block_index : int
        Number of the block from 0, or ``TRAITS`` or ``SETTLE``.

    Returns
    -------
    numpy.random.Generator
        A fresh generator.
    """
    key = (MODALITIES.index(modality), block_index - TRAITS)
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def resonator(centre_hz: float, half_bandwidth_hz: float, sfreq: float) -> NoiseFilter:
    """Design a rhythm: a double complex pole that waxes and wanes like an EEG rhythm.

    The power density around the centre is proportional to ``(1 + (Δf/g)²)**-2`` with
    ``g = half_bandwidth / 0.6436``; its flanks fall steeply enough not to fill the next band.

    Parameters
    ----------
    centre_hz : float
        Peak frequency in Hz.
    half_bandwidth_hz : float
        Distance in Hz from the peak to half of its power.
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    NoiseFilter
        Its output has unit variance.
    """
    decay = 2 * math.pi * half_bandwidth_hz / 0.6436 / sfreq
    radius = math.exp(-decay)
    pole = radius * np.exp(2j * math.pi * centre_hz / sfreq)
    gain = math.sqrt((1 - radius**2) ** 3 / (1 + radius**2))
    return NoiseFilter(
        sections=((np.array([gain + 0j]), np.array([1, -2 * pole, pole**2])),),
        settle_samples=math.ceil(8 / decay),
    )


def slow_drift(time_constant_seconds: float, sfreq: float) -> NoiseFilter:
    """Design a slow wander: an Ornstein-Uhlenbeck process of unit variance.

    Parameters
    ----------
    time_constant_seconds : float
        Time after which the wander has forgotten all but 1/e of where it was.
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    NoiseFilter
        Its output has unit variance.
    """
    pole = math.exp(-1 / (time_constant_seconds * sfreq))
    return NoiseFilter(
        sections=((np.array([math.sqrt(1 - pole**2)]), np.array([1.0, -pole])),),
        settle_samples=math.ceil(5 * time_constant_seconds * sfreq),
    )


def lag_filter(time_constant_seconds: float, sfreq: float) -> NoiseFilter:
    """Design a first-order lag with a gain of one at rest.

    Parameters
    ----------
    time_constant_seconds : float
        Time to 63 % of a step.
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    NoiseFilter
        To be used with :func:`run_filter` on a signal, not on noise.
    """
    pole = math.exp(-1 / (time_constant_seconds * sfreq))
    sections = ((np.array([1 - pole]), np.array([1.0, -pole])),)
    return NoiseFilter(sections, settle_samples=math.ceil(5 * time_constant_seconds * sfreq))


def pink_filter(sfreq: float) -> NoiseFilter:
    """Design 1/f noise with a density of 1/f (unit²/Hz) from 0.1 Hz to 0.4 × `sfreq`.

    Poles two octaves apart, each followed by a zero one octave above, follow the -10 dB per
    decade line within 1 dB; the density does not depend on `sfreq`. The idea is that of
    Keshner, "1/f noise", Proceedings of the IEEE 70 (1982).

    Parameters
    ----------
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    NoiseFilter
        Its output has the density 1/f.
    """
    from scipy.signal import freqz_zpk

    corners = 0.1 * 4.0 ** np.arange(int(math.log(4 * sfreq, 4)) + 1)
    poles = np.exp(-2 * np.pi * corners / sfreq)
    zeros = np.exp(-4 * np.pi * corners / sfreq)
    _, response = freqz_zpk(zeros, poles, 1.0, worN=[10.0], fs=sfreq)
    # White noise of unit variance has the one-sided density 2 / sfreq.
    gain = math.sqrt(0.1 * sfreq / 2) / abs(response[0])
    sections = [
        (np.poly(zeros[i : i + 2]), np.poly(poles[i : i + 2])) for i in range(0, len(poles), 2)
    ]
    sections[0] = (gain * sections[0][0], sections[0][1])
    return NoiseFilter(tuple(sections), settle_samples=math.ceil(8 * sfreq))


def rest_state(noise_filter: NoiseFilter, width: int) -> FilterState:
    """Make the state of a filter that has only seen zeros.

    Parameters
    ----------
    noise_filter : NoiseFilter
        The filter.
    width : int
        Number of parallel signals.

    Returns
    -------
    FilterState
        One array (order, width) per section.
    """
    dtype = np.complex128 if noise_filter.is_complex else np.float64
    return tuple(
        np.zeros((len(denominator) - 1, width), dtype) for _, denominator in noise_filter.sections
    )


def run_filter(
    noise_filter: NoiseFilter, signal: npt.NDArray[np.generic], state: FilterState
) -> tuple[npt.NDArray[np.generic], FilterState]:
    """Filter one block and hand on the state.

    Parameters
    ----------
    noise_filter : NoiseFilter
        The filter.
    signal : array (time, width)
        The block.
    state : FilterState
        What the block before left behind.

    Returns
    -------
    filtered : array (time, width)
        The filtered block.
    state : FilterState
        For the next block.
    """
    from scipy.signal import lfilter

    after = []
    for (numerator, denominator), before in zip(noise_filter.sections, state, strict=True):
        signal, left = lfilter(numerator, denominator, signal, axis=0, zi=before)
        after.append(left)
    return signal, tuple(after)


def step_noise(
    noise_filter: NoiseFilter, n_samples: int, generator: np.random.Generator, state: FilterState
) -> tuple[FloatArray, FilterState]:
    """Draw the next block of filtered noise.

    Parameters
    ----------
    noise_filter : NoiseFilter
        The filter.
    n_samples : int
        Length of the block.
    generator : numpy.random.Generator
        Source of the white noise.
    state : FilterState
        What the block before left behind.

    Returns
    -------
    noise : array (time, width)
        The real part of the filtered noise.
    state : FilterState
        For the next block.
    """
    shape = (n_samples, state[0].shape[1])
    white: npt.NDArray[np.generic] = (
        generator.standard_normal(shape) + 1j * generator.standard_normal(shape)
        if noise_filter.is_complex
        else generator.standard_normal(shape)
    )
    filtered, state = run_filter(noise_filter, white, state)
    return np.real(filtered), state


def settle_noise(
    noise_filter: NoiseFilter, width: int, generator: np.random.Generator
) -> FilterState:
    """Run a filter until its output has its lasting variance.

    Parameters
    ----------
    noise_filter : NoiseFilter
        The filter.
    width : int
        Number of parallel signals.
    generator : numpy.random.Generator
        Source of the white noise.

    Returns
    -------
    FilterState
        For the first block.
    """
    start = rest_state(noise_filter, width)
    return step_noise(noise_filter, noise_filter.settle_samples, generator, start)[1]
