"""The simulated breath and skin.

With arousal a in [-1, 1] (already multiplied by the effect size, and lagged as each organ lags):

* respiration (a.u.): ``rate = base + 0.05 a`` Hz with a personal base of 0.255-0.295 Hz, so that
  it stays within about 0.2-0.35 Hz; breathing quickens with arousal (Boiten, Frijda & Wientjes,
  International Journal of Psychophysiology 17, 1994). Inspiration is shorter than expiration.
* skin conductance (µS): a tonic level ``L · exp(0.35 a)`` with a personal L of 3-8 µS that
  follows within 6 s, and phasic responses of about 0.25 µS at a rate of ``7 · exp(1.1 a)`` per
  minute (Boucsein, Electrodermal Activity, 2012). A response is a Bateman function
  ``exp(-t / 2 s) - exp(-t / 0.75 s)`` (Alexander et al., Journal of Neuroscience Methods 146,
  2005; Benedek & Kaernbach, Journal of Neuroscience Methods 190, 2010).
"""

import math
from dataclasses import dataclass

import numpy as np

from physioemo.acquisition.participant_noise import (
    SETTLE,
    TRAITS,
    FilterState,
    FloatArray,
    NoiseFilter,
    child_generator,
    lag_filter,
    rest_state,
    run_filter,
    settle_noise,
    slow_drift,
    step_noise,
)

__all__ = [
    "BreathState",
    "BreathTraits",
    "SkinState",
    "SkinTraits",
    "draw_breath_traits",
    "draw_skin_traits",
    "start_breath",
    "start_skin",
    "step_breath",
    "step_skin",
]

RATE_GAIN_HZ = 0.05
RATE_LIMITS_HZ = (0.15, 0.45)
TONIC_GAIN, TONIC_LAG_SECONDS = 0.35, 6.0
SCR_PER_MINUTE, SCR_GAIN, SCR_LAG_SECONDS = 7.0, 1.1, 1.5
SCR_MEDIAN_US = 0.25
RISE_SECONDS, DECAY_SECONDS = 0.75, 2.0


@dataclass(frozen=True)
class BreathTraits:
    """One person's breath: base rate (Hz), its wander, depth (a.u.)."""

    sfreq: float
    rate_hz: float
    depth: float
    drift: NoiseFilter


@dataclass(frozen=True)
class BreathState:
    """Phase (cycles) and filter state between two blocks."""

    phase: float
    drift: FilterState


def draw_breath_traits(sfreq: float, seed: int) -> BreathTraits:
    """Draw a person's breath.

    Parameters
    ----------
    sfreq : float
        Sampling rate in Hz.
    seed : int
        The participant's seed.

    Returns
    -------
    BreathTraits
        The person.
    """
    draw = child_generator(seed, "breath", TRAITS)
    rate_hz, depth = draw.uniform(0.255, 0.295), math.exp(draw.normal(0, 0.15))
    return BreathTraits(sfreq, float(rate_hz), depth, slow_drift(6.0, sfreq))


def start_breath(traits: BreathTraits, seed: int) -> BreathState:
    """Begin at a random point of a breath.

    Parameters
    ----------
    traits : BreathTraits
        The person.
    seed : int
        The participant's seed.

    Returns
    -------
    BreathState
        For the first block.
    """
    draw = child_generator(seed, "breath", SETTLE)
    return BreathState(float(draw.uniform()), settle_noise(traits.drift, 2, draw))


def step_breath(
    affect: FloatArray, generator: np.random.Generator, traits: BreathTraits, state: BreathState
) -> tuple[FloatArray, FloatArray, BreathState]:
    """Breathe through the next block.

    Parameters
    ----------
    affect : array (time, 3)
        Valence, arousal, dominance, multiplied by the effect size.
    generator : numpy.random.Generator
        Random numbers of this block.
    traits : BreathTraits
        The person.
    state : BreathState
        What the block before left behind.

    Returns
    -------
    respiration : array (time,)
        What the belt measures, in arbitrary units; inspiration rises.
    drive : array (time,)
        The same breath without depth or noise, in [-1, 1]: it drives the heart.
    state : BreathState
        For the next block.
    """
    drift, drift_state = step_noise(traits.drift, len(affect), generator, state.drift)
    rate_hz = np.clip(
        traits.rate_hz + RATE_GAIN_HZ * affect[:, 1] + 0.015 * drift[:, 0], *RATE_LIMITS_HZ
    )
    phase = state.phase + np.cumsum(rate_hz) / traits.sfreq
    # The phase leads where the lung fills: about 40 % of a breath is inspiration.
    angle = 2 * np.pi * phase
    drive = np.sin(angle + 0.3 * np.sin(angle))
    depth = traits.depth * np.exp(0.15 * drift[:, 1])
    respiration = depth * drive + 0.01 * generator.standard_normal(len(affect))
    return respiration, drive, BreathState(float(phase[-1] % 1.0), drift_state)


@dataclass(frozen=True)
class SkinTraits:
    """One person's skin: tonic level (µS) and the filters between arousal and conductance."""

    sfreq: float
    level_us: float
    tonic_lag: NoiseFilter
    scr_lag: NoiseFilter
    response: NoiseFilter
    drift: NoiseFilter


@dataclass(frozen=True)
class SkinState:
    """Filter states between two blocks."""

    tonic_lag: FilterState
    scr_lag: FilterState
    response: FilterState
    drift: FilterState


def draw_skin_traits(sfreq: float, seed: int) -> SkinTraits:
    """Draw a person's skin.

    Parameters
    ----------
    sfreq : float
        Sampling rate in Hz.
    seed : int
        The participant's seed.

    Returns
    -------
    SkinTraits
        The person.
    """
    return SkinTraits(
        sfreq=sfreq,
        level_us=float(child_generator(seed, "skin", TRAITS).uniform(3.0, 8.0)),
        tonic_lag=lag_filter(TONIC_LAG_SECONDS, sfreq),
        scr_lag=lag_filter(SCR_LAG_SECONDS, sfreq),
        response=_bateman_filter(sfreq),
        drift=slow_drift(60.0, sfreq),
    )


def _bateman_filter(sfreq: float) -> NoiseFilter:
    """Sample the Bateman function, scaled to a peak of one, as a recursive filter."""
    rise, decay = (math.exp(-1 / (tau * sfreq)) for tau in (RISE_SECONDS, DECAY_SECONDS))
    ratio = DECAY_SECONDS / RISE_SECONDS
    peak_seconds = math.log(ratio) / (1 / RISE_SECONDS - 1 / DECAY_SECONDS)
    peak = math.exp(-peak_seconds / DECAY_SECONDS) - math.exp(-peak_seconds / RISE_SECONDS)
    numerator = np.array([0.0, (decay - rise) / peak])
    denominator = np.array([1.0, -(rise + decay), rise * decay])
    return NoiseFilter(((numerator, denominator),), math.ceil(5 * DECAY_SECONDS * sfreq))


def start_skin(traits: SkinTraits, seed: int) -> SkinState:
    """Settle the drift; arousal and responses begin at rest.

    Parameters
    ----------
    traits : SkinTraits
        The person.
    seed : int
        The participant's seed.

    Returns
    -------
    SkinState
        For the first block.
    """
    return SkinState(
        tonic_lag=rest_state(traits.tonic_lag, 1),
        scr_lag=rest_state(traits.scr_lag, 1),
        response=rest_state(traits.response, 1),
        drift=settle_noise(traits.drift, 1, child_generator(seed, "skin", SETTLE)),
    )


def step_skin(
    affect: FloatArray, generator: np.random.Generator, traits: SkinTraits, state: SkinState
) -> tuple[FloatArray, SkinState]:
    """Make the next block of skin conductance.

    Parameters
    ----------
    affect : array (time, 3)
        Valence, arousal, dominance, multiplied by the effect size.
    generator : numpy.random.Generator
        Random numbers of this block.
    traits : SkinTraits
        The person.
    state : SkinState
        What the block before left behind.

    Returns
    -------
    conductance : array (time,)
        In µS.
    state : SkinState
        For the next block.
    """
    n_samples, arousal = len(affect), affect[:, 1:2]
    tonic, tonic_lag = run_filter(traits.tonic_lag, arousal, state.tonic_lag)
    drive, scr_lag = run_filter(traits.scr_lag, arousal, state.scr_lag)
    drift, drift_state = step_noise(traits.drift, n_samples, generator, state.drift)
    per_second = SCR_PER_MINUTE / 60 * np.exp(SCR_GAIN * np.real(drive[:, 0]))
    onsets = generator.random(n_samples) < per_second / traits.sfreq
    sizes_us = SCR_MEDIAN_US * np.exp(0.5 * generator.standard_normal(n_samples))
    phasic, response = run_filter(
        traits.response, np.where(onsets, sizes_us, 0.0)[:, None], state.response
    )
    level_us = traits.level_us * np.exp(TONIC_GAIN * np.real(tonic[:, 0]) + 0.05 * drift[:, 0])
    noise_us = 0.003 * generator.standard_normal(n_samples)
    conductance = level_us + np.real(phasic[:, 0]) + noise_us
    return conductance, SkinState(tonic_lag, scr_lag, response, drift_state)
