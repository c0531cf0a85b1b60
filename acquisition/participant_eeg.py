"""The simulated EEG: a 1/f background, three rhythms whose power follows affect, and blinks.

With valence v, arousal a, dominance d in [-1, 1] (already multiplied by the effect size), the
amplitude of rhythm r at electrode e is ``rms_r(e) · exp((gain_r(e) · (v, a, d) + drift_r) / 2)``,
so that ln power is linear in affect:

* alpha, individual peak 9-11 Hz, largest over the occiput:
  ``ln P = … + 0.65 v (F4(e) - F3(e)) - a (0.4 + 0.3 posterior(e))``.
  ln(right) - ln(left) over F4/F3 grows by 1.3 per unit of valence: relatively less left-frontal
  alpha, that is, more left-frontal activity, in positive affect (Davidson, Psychological Science
  3, 1992; Allen, Coan & Nazarian, Biological Psychology 67, 2004). Alpha falls with
  arousal (Barry et al., Clinical Neurophysiology 118, 2007).
* beta, around 20 Hz: ``+ 0.6 a + 0.8 v temporal(e) + 0.4 d midline(e)``; lateral temporal beta
  rises in positive affect (Zheng & Lu, IEEE TAMD 7, 2015); the rise with arousal everywhere is
  the other half of desynchronisation, simplified.
* frontal-midline theta, around 6 Hz: ``+ 1.1 d midline(e)``. For dominance the literature is
  thin (Reuderink, Mühl & Poel, IJAACS 6, 2013, report alpha asymmetry); theta, the sign of
  control being exerted (Cavanagh & Frank, Trends in Cognitive Sciences 18, 2014), is this
  simulator's own choice, so that the three dimensions stay apart.

Real effects are several times smaller; an `effect` of 0.2 to 0.3 is closer to the literature.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from physioemo.acquisition.participant_noise import (
    SETTLE,
    TRAITS,
    FilterState,
    FloatArray,
    NoiseFilter,
    child_generator,
    pink_filter,
    resonator,
    settle_noise,
    slow_drift,
    step_noise,
)
from physioemo.acquisition.participant_scalp import (
    electrode_directions,
    mixing_matrix,
    region_weight,
    source_directions,
)

__all__ = ["EegState", "EegTraits", "Rhythm", "draw_eeg_traits", "start_eeg", "step_eeg"]

N_SOURCES = 48
SENSOR_NOISE_UV = 0.8
DRIFT_LN_POWER = 0.15
DRIFT_SECONDS = 30.0
BLINK_TAIL_SECONDS = 0.15

F3, F4 = (-0.55, 0.67, 0.50), (0.55, 0.67, 0.50)
FZ, OZ = (0.0, 0.71, 0.71), (0.0, -0.90, 0.45)
T7, T8 = (-1.0, 0.0, 0.05), (1.0, 0.0, 0.05)
LEFT_EYE, RIGHT_EYE = (-0.33, 0.93, -0.15), (0.33, 0.93, -0.15)


@dataclass(frozen=True)
class Rhythm:
    """One rhythm: its filter, its size (µV rms) and what affect does to ln power, per channel."""

    noise: NoiseFilter
    rms_uv: FloatArray  # (channel,)
    gain: FloatArray  # (channel, 3): per unit of valence, arousal, dominance


@dataclass(frozen=True)
class EegTraits:
    """What is fixed for one person under one montage.

    Attributes
    ----------
    ch_names : tuple of str
        Electrodes.
    alpha_peak_hz : float
        The individual alpha frequency.
    background_uv : float
        Square root of the 1/f background's density at 1 Hz, in µV/√Hz.
    blink_uv : array (channel,)
        Height of a blink.
    mixing : array (channel, source)
        From sources to electrodes.
    background, drift : NoiseFilter
        The 1/f noise and the slow wander of the rhythms' power.
    rhythms : tuple of Rhythm
        Alpha, beta, theta.
    """

    ch_names: tuple[str, ...]
    alpha_peak_hz: float
    background_uv: float
    blink_uv: FloatArray
    mixing: FloatArray
    background: NoiseFilter
    drift: NoiseFilter
    rhythms: tuple[Rhythm, ...]


@dataclass(frozen=True)
class EegState:
    """Filter states between two blocks."""

    background: FilterState
    drift: FilterState
    rhythms: tuple[FilterState, ...]


def draw_eeg_traits(montage: str, sfreq: float, seed: int) -> EegTraits:
    """Draw a person's EEG and project it onto a montage.

    Parameters
    ----------
    montage : str
        A standard montage of MNE-Python.
    sfreq : float
        Sampling rate in Hz.
    seed : int
        The participant's seed; the person does not depend on the montage.

    Returns
    -------
    EegTraits
        The person under this montage.

    Raises
    ------
    CallError
        If the montage does not exist.
    """
    ch_names, directions = electrode_directions(montage)
    draw = child_generator(seed, "eeg", TRAITS)
    alpha_peak_hz = float(draw.uniform(9.0, 11.0))
    sizes = np.exp(draw.normal(0.0, 0.12, size=5))
    reactivity = draw.uniform(0.85, 1.15, size=(3, 1, 3))
    maps = _rhythm_maps(directions)
    filters = (
        resonator(alpha_peak_hz, 0.9, sfreq),
        resonator(20.0, 3.5, sfreq),
        resonator(6.0, 0.8, sfreq),
    )
    eyes = np.maximum(
        region_weight(directions, LEFT_EYE, 22.0), region_weight(directions, RIGHT_EYE, 22.0)
    )
    return EegTraits(
        ch_names=ch_names,
        alpha_peak_hz=alpha_peak_hz,
        background_uv=3.6 * float(sizes[3]),
        blink_uv=110.0 * sizes[4] * eyes,
        mixing=mixing_matrix(directions, source_directions(N_SOURCES)),
        background=pink_filter(sfreq),
        drift=slow_drift(DRIFT_SECONDS, sfreq),
        rhythms=tuple(
            Rhythm(noise, rms * size, gain * factor)
            for noise, (rms, gain), size, factor in zip(
                filters, maps, sizes[:3], reactivity, strict=True
            )
        ),
    )


def _rhythm_maps(directions: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
    """Size (µV) and gain per affect of alpha, beta and theta: the laws of the module text."""
    posterior = region_weight(directions, OZ, 40.0)
    side = region_weight(directions, F4, 35.0) - region_weight(directions, F3, 35.0)
    temporal = region_weight(directions, T7, 35.0) + region_weight(directions, T8, 35.0)
    midline = region_weight(directions, FZ, 32.0)
    zero = np.zeros(len(directions))
    # Neighbouring weights overlap: at F4 itself `side` would be less than one.
    side = side / (1 - region_weight(np.array([F3]), F4, 35.0)[0])
    return [
        (
            4.5 + 7.5 * posterior,
            np.column_stack([0.65 * side, -(0.4 + 0.3 * posterior), zero]),
        ),
        (
            np.full(len(directions), 4.0),
            np.column_stack([0.8 * temporal, zero + 0.6, 0.4 * midline]),
        ),
        (1.5 + 3.5 * midline, np.column_stack([zero, zero, 1.1 * midline])),
    ]


def start_eeg(traits: EegTraits, seed: int) -> EegState:
    """Settle all filters before the first sample.

    Parameters
    ----------
    traits : EegTraits
        The person.
    seed : int
        The participant's seed.

    Returns
    -------
    EegState
        For the first block.
    """
    draw = child_generator(seed, "eeg", SETTLE)
    return EegState(
        background=settle_noise(traits.background, N_SOURCES, draw),
        drift=settle_noise(traits.drift, len(traits.rhythms), draw),
        rhythms=tuple(settle_noise(rhythm.noise, N_SOURCES, draw) for rhythm in traits.rhythms),
    )


def step_eeg(
    times_seconds: FloatArray,
    affect: FloatArray,
    blinks: Sequence[tuple[float, float]],
    generator: np.random.Generator,
    traits: EegTraits,
    state: EegState,
) -> tuple[FloatArray, EegState]:
    """Make the next block of EEG.

    Parameters
    ----------
    times_seconds : array (time,)
        Times of the samples.
    affect : array (time, 3)
        Valence, arousal, dominance, multiplied by the effect size.
    blinks : sequence of (start_seconds, duration_seconds)
        Blinks that may touch this block.
    generator : numpy.random.Generator
        Random numbers of this block.
    traits : EegTraits
        The person.
    state : EegState
        What the block before left behind.

    Returns
    -------
    eeg : array (time, channel)
        In µV.
    state : EegState
        For the next block.
    """
    n_samples = len(times_seconds)
    background, background_state = step_noise(
        traits.background, n_samples, generator, state.background
    )
    drift, drift_state = step_noise(traits.drift, n_samples, generator, state.drift)
    eeg = traits.background_uv * background @ traits.mixing.T
    eeg += np.outer(blink_shape(times_seconds, blinks), traits.blink_uv)
    after = []
    for number, (rhythm, before) in enumerate(zip(traits.rhythms, state.rhythms, strict=True)):
        field, left = step_noise(rhythm.noise, n_samples, generator, before)
        ln_power = affect @ rhythm.gain.T + DRIFT_LN_POWER * drift[:, number, None]
        eeg += rhythm.rms_uv * np.exp(0.5 * ln_power) * (field @ traits.mixing.T)
        after.append(left)
    # Drawn last: its size depends on the montage, and two montages shall see one brain.
    eeg += SENSOR_NOISE_UV * generator.standard_normal(eeg.shape)
    return eeg, EegState(background_state, drift_state, tuple(after))


def blink_shape(times_seconds: FloatArray, blinks: Sequence[tuple[float, float]]) -> FloatArray:
    """Draw blinks of height one: up while the lid falls, slower down while it opens.

    Parameters
    ----------
    times_seconds : array (time,)
        Times of the samples.
    blinks : sequence of (start_seconds, duration_seconds)
        When the lid is closed.

    Returns
    -------
    array (time,)
        From 0 to 1.
    """
    shape = np.zeros(len(times_seconds))
    for start_seconds, duration_seconds in blinks:
        part = (times_seconds - start_seconds) / (duration_seconds + BLINK_TAIL_SECONDS)
        shape += np.sin(np.pi * np.clip(part, 0, 1) ** 0.7) ** 2
    return shape
