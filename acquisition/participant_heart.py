"""The simulated heart: beats by pulse frequency modulation, drawn as an ECG.

Beats come from an integral pulse frequency modulation model (Hyndman & Mohn, Automedica 1, 1975;
Mateo & Laguna, IEEE TBME 47, 2000): the heart beats when ``∫ rate(t) (1 + m(t)) dt`` passes a
whole number, where m is respiratory sinus arrhythmia (faster while breathing in) plus a wander
around 0.1 Hz. With valence v and arousal a in [-1, 1] (already multiplied by the effect size,
lagged by 1 s):

* ``rate = base + 8 a + 1.5 v`` beats/min with a personal base of 60-76: the heart quickens with
  arousal, and is a little slower in unpleasant states (Lang et al., Psychophysiology 30, 1993);
* ``m = exp(-0.6 a) (depth · breath + 0.025 · wander)``: less variability, and so a lower RMSSD,
  with arousal (Task Force, Circulation 93, 1996; Kreibig, Biological Psychology 84, 2010).

Each beat is a sum of five Gaussians P, Q, R, S, T at the angles, widths and proportions of
McSharry et al., IEEE TBME 50 (2003), stretched by the square root of its RR interval.
"""

from dataclasses import dataclass, replace

import numpy as np

from physioemo.acquisition.participant_noise import (
    SETTLE,
    TRAITS,
    FilterState,
    FloatArray,
    NoiseFilter,
    child_generator,
    lag_filter,
    resonator,
    rest_state,
    run_filter,
    settle_noise,
    slow_drift,
    step_noise,
)

__all__ = ["HeartState", "HeartTraits", "draw_heart_traits", "start_heart", "step_heart"]

RATE_GAIN_BPM = (1.5, 8.0, 0.0)  # per unit of valence, arousal, dominance
RATE_LIMITS_BPM = (42.0, 150.0)
VARIABILITY_GAIN = -0.6
WANDER_DEPTH = 0.025
# The pulse precedes its R-peak, so that a P-wave never has to be drawn into the past.
CONDUCTION_SECONDS = 0.4
WAVE_END_SECONDS = 0.7

# McSharry's five extrema, angles over 2 pi: time from R (s), width (s), height relative to R.
WAVE_SECONDS = np.array([-1 / 6, -1 / 24, 0.0, 1 / 24, 1 / 4])
WAVE_WIDTH_SECONDS = np.array([0.25, 0.1, 0.1, 0.1, 0.4]) / (2 * np.pi)
WAVE_HEIGHT = np.array([0.12, -0.12, 1.0, -0.22, 0.28])


@dataclass(frozen=True)
class HeartTraits:
    """One person's heart: base rate (beats/min), depth of the RSA (relative), R-peak (mV)."""

    sfreq: float
    rate_bpm: float
    rsa_depth: float
    r_peak_mv: float
    lag: NoiseFilter
    wander: NoiseFilter
    drift: NoiseFilter


@dataclass(frozen=True)
class HeartState:
    """The pulse integral, the beats still being drawn, and filter states.

    Attributes
    ----------
    phase : float
        Part of the next beat that has been integrated, in [0, 1).
    beats : tuple of (r_peak_seconds, rr_seconds)
        Beats whose waves are not over, some of them still to come.
    lag, wander, drift : FilterState
        Filter states.
    """

    phase: float
    beats: tuple[tuple[float, float], ...]
    lag: FilterState
    wander: FilterState
    drift: FilterState


def draw_heart_traits(sfreq: float, seed: int) -> HeartTraits:
    """Draw a person's heart.

    Parameters
    ----------
    sfreq : float
        Sampling rate in Hz.
    seed : int
        The participant's seed.

    Returns
    -------
    HeartTraits
        The person.
    """
    draw = child_generator(seed, "heart", TRAITS)
    return HeartTraits(
        sfreq=sfreq,
        rate_bpm=float(draw.uniform(60.0, 76.0)),
        rsa_depth=float(0.05 * np.exp(draw.normal(0, 0.15))),
        r_peak_mv=float(draw.uniform(0.8, 1.4)),
        lag=lag_filter(1.0, sfreq),
        wander=resonator(0.1, 0.02, sfreq),
        drift=slow_drift(40.0, sfreq),
    )


def start_heart(traits: HeartTraits, seed: int) -> HeartState:
    """Begin at a random point between two beats.

    Parameters
    ----------
    traits : HeartTraits
        The person.
    seed : int
        The participant's seed.

    Returns
    -------
    HeartState
        For the first block.
    """
    draw = child_generator(seed, "heart", SETTLE)
    return HeartState(
        phase=float(draw.uniform()),
        beats=(),
        lag=rest_state(traits.lag, 3),
        wander=settle_noise(traits.wander, 1, draw),
        drift=settle_noise(traits.drift, 1, draw),
    )


def step_heart(
    times_seconds: FloatArray,
    affect: FloatArray,
    breath: FloatArray,
    generator: np.random.Generator,
    traits: HeartTraits,
    state: HeartState,
) -> tuple[FloatArray, FloatArray, HeartState]:
    """Make the next block of ECG.

    Parameters
    ----------
    times_seconds : array (time,)
        Times of the samples.
    affect : array (time, 3)
        Valence, arousal, dominance, multiplied by the effect size.
    breath : array (time,)
        The breath in [-1, 1].
    generator : numpy.random.Generator
        Random numbers of this block.
    traits : HeartTraits
        The person.
    state : HeartState
        What the block before left behind.

    Returns
    -------
    ecg : array (time,)
        In mV.
    r_peaks_seconds : array (beat,)
        The planted R-peaks from the first sample up to one sample after the last.
    state : HeartState
        For the next block.
    """
    rate_hz, moved = _beat_rate(affect, breath, generator, traits, state)
    edges_seconds = np.append(times_seconds, times_seconds[-1] + 1 / traits.sfreq)
    beats, phase = _integrate_beats(edges_seconds, rate_hz, traits.sfreq, state)
    peaks_seconds = np.array([r_peak for r_peak, _ in beats])
    in_block = (peaks_seconds >= edges_seconds[0]) & (peaks_seconds < edges_seconds[-1])
    ecg = traits.r_peak_mv * _draw_waves(times_seconds, beats)
    ecg += 0.04 * breath + 0.008 * generator.standard_normal(len(times_seconds))
    lasting = tuple(b for b in beats if b[0] + WAVE_END_SECONDS > edges_seconds[-1])
    return ecg, peaks_seconds[in_block], replace(moved, phase=phase, beats=lasting)


def _beat_rate(
    affect: FloatArray,
    breath: FloatArray,
    generator: np.random.Generator,
    traits: HeartTraits,
    state: HeartState,
) -> tuple[FloatArray, HeartState]:
    """Beats per second over one block, by the laws of the module text."""
    lagged, lag = run_filter(traits.lag, affect, state.lag)
    wander, wander_state = step_noise(traits.wander, len(affect), generator, state.wander)
    drift, drift_state = step_noise(traits.drift, len(affect), generator, state.drift)
    driven = np.real(lagged)
    rate_bpm = traits.rate_bpm + driven @ np.array(RATE_GAIN_BPM) + 1.0 * drift[:, 0]
    variability = traits.rsa_depth * breath + WANDER_DEPTH * wander[:, 0]
    modulation = np.exp(VARIABILITY_GAIN * driven[:, 1]) * variability
    rate_hz = np.clip(rate_bpm * (1 + modulation), *RATE_LIMITS_BPM) / 60
    return rate_hz, replace(state, lag=lag, wander=wander_state, drift=drift_state)


def _integrate_beats(
    edges_seconds: FloatArray, rate_hz: FloatArray, sfreq: float, state: HeartState
) -> tuple[list[tuple[float, float]], float]:
    """Add the beats of one block to those still being drawn; also the phase that is left."""
    integral = state.phase + np.append(0.0, np.cumsum(rate_hz)) / sfreq
    whole = np.arange(1, int(integral[-1]) + 1)
    beats = list(state.beats)
    for pulse_seconds in np.interp(whole, integral, edges_seconds):
        r_peak = float(pulse_seconds) + CONDUCTION_SECONDS
        rr_seconds = r_peak - beats[-1][0] if beats else 60 / 68
        beats.append((r_peak, rr_seconds))
    return beats, float(integral[-1] % 1.0)


def _draw_waves(times_seconds: FloatArray, beats: list[tuple[float, float]]) -> FloatArray:
    """Sum the Gaussians of all beats, with R-peaks of height one."""
    ecg = np.zeros(len(times_seconds))
    for r_peak_seconds, rr_seconds in beats:
        stretch = min(np.sqrt(rr_seconds), 1.2)
        from_wave = times_seconds[:, None] - r_peak_seconds - stretch * WAVE_SECONDS
        ecg += np.exp(-0.5 * (from_wave / (stretch * WAVE_WIDTH_SECONDS)) ** 2) @ WAVE_HEIGHT
    return ecg
