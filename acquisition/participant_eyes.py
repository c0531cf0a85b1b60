"""The simulated eyes: fixations and saccades, pupils, and blinks that the EEG sees too.

* gaze (normalised, 0 at the left or upper edge of the screen, 1 at the right or lower): fixations
  of about a third of a second around the middle, joined by saccades whose duration grows with
  their size, ``21 ms + 2.2 ms/degree`` (Carpenter, Movements of the Eyes, 1988), on a screen of
  32 × 18 degrees;
* pupils (mm): ``D + 0.35 a`` with arousal a in [-1, 1] (already multiplied by the effect size,
  lagged by 0.6 s) and a personal D of 3.2-4.2 mm, plus the slow unrest called hippus: pupils
  widen with arousal whatever the valence (Bradley et al., Psychophysiology 45, 2008);
* blinks: about 13 a minute, not driven by affect; the eye tracker then sees nothing (NaN).
"""

from collections.abc import Sequence
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

__all__ = [
    "EyeState",
    "EyeTraits",
    "Saccade",
    "draw_eye_traits",
    "start_eyes",
    "step_blinks",
    "step_eyes",
]

SCREEN_DEGREES = np.array([32.0, 18.0])
PUPIL_GAIN_MM = 0.35
BLINK_PAUSE_SECONDS = (1.2, 3.2)  # shortest, and the mean of the exponential beyond it
BLINK_SECONDS = (0.12, 0.28)
BLINK_FORGOTTEN_SECONDS = 1.0

Blink = tuple[float, float]


def step_blinks(
    start_seconds: float,
    stop_seconds: float,
    generator: np.random.Generator,
    blinks: Sequence[Blink],
) -> tuple[Blink, ...]:
    """Plan blinks until one begins after the end of the block.

    Parameters
    ----------
    start_seconds, stop_seconds : float
        The block.
    generator : numpy.random.Generator
        Random numbers of this block.
    blinks : sequence of (start_seconds, duration_seconds)
        What the block before left behind, in order.

    Returns
    -------
    tuple of (start_seconds, duration_seconds)
        All blinks that may touch this block, and the first one after it.
    """
    planned = list(blinks)
    shortest, mean = BLINK_PAUSE_SECONDS
    while not planned or planned[-1][0] < stop_seconds:
        last = planned[-1][0] if planned else 0.0
        start = last + shortest + float(generator.exponential(mean))
        planned.append((start, float(generator.uniform(*BLINK_SECONDS))))
    return tuple(b for b in planned if b[0] > start_seconds - BLINK_FORGOTTEN_SECONDS)


@dataclass(frozen=True)
class Saccade:
    """One jump of the eye: start and duration in seconds, target (x, y) on the screen."""

    start_seconds: float
    duration_seconds: float
    target: tuple[float, float]


@dataclass(frozen=True)
class EyeTraits:
    """One person's eyes: pupils (mm) at rest, left and right, and the filters of their unrest."""

    pupils_mm: tuple[float, float]
    lag: NoiseFilter
    hippus: NoiseFilter
    tremor: NoiseFilter


@dataclass(frozen=True)
class EyeState:
    """Where the eye rests, the saccades not yet over, and filter states."""

    origin: tuple[float, float]
    saccades: tuple[Saccade, ...]
    lag: FilterState
    hippus: FilterState
    tremor: FilterState


def draw_eye_traits(sfreq: float, seed: int) -> EyeTraits:
    """Draw a person's eyes.

    Parameters
    ----------
    sfreq : float
        Sampling rate in Hz.
    seed : int
        The participant's seed.

    Returns
    -------
    EyeTraits
        The person.
    """
    draw = child_generator(seed, "eyes", TRAITS)
    pupil_mm, difference_mm = draw.uniform(3.2, 4.2), draw.normal(0, 0.08)
    return EyeTraits(
        pupils_mm=(float(pupil_mm + difference_mm), float(pupil_mm - difference_mm)),
        lag=lag_filter(0.6, sfreq),
        hippus=resonator(0.15, 0.1, sfreq),
        tremor=slow_drift(0.15, sfreq),
    )


def start_eyes(traits: EyeTraits, seed: int) -> EyeState:
    """Begin with the eyes on the middle of the screen.

    Parameters
    ----------
    traits : EyeTraits
        The person.
    seed : int
        The participant's seed.

    Returns
    -------
    EyeState
        For the first block.
    """
    draw = child_generator(seed, "eyes", SETTLE)
    return EyeState(
        origin=(0.5, 0.5),
        saccades=(),
        lag=rest_state(traits.lag, 1),
        hippus=settle_noise(traits.hippus, 1, draw),
        tremor=settle_noise(traits.tremor, 2, draw),
    )


def step_eyes(
    times_seconds: FloatArray,
    affect: FloatArray,
    blinks: Sequence[Blink],
    generator: np.random.Generator,
    traits: EyeTraits,
    state: EyeState,
) -> tuple[FloatArray, EyeState]:
    """Make the next block of gaze and pupils.

    Parameters
    ----------
    times_seconds : array (time,)
        Times of the samples.
    affect : array (time, 3)
        Valence, arousal, dominance, multiplied by the effect size.
    blinks : sequence of (start_seconds, duration_seconds)
        When the lids are closed.
    generator : numpy.random.Generator
        Random numbers of this block.
    traits : EyeTraits
        The person.
    state : EyeState
        What the block before left behind.

    Returns
    -------
    eyes : array (time, 4)
        Gaze x and y (normalised), left and right pupil (mm); NaN during blinks.
    state : EyeState
        For the next block.
    """
    n_samples = len(times_seconds)
    saccades = _plan_saccades(float(times_seconds[-1]), generator, state)
    tremor, tremor_state = step_noise(traits.tremor, n_samples, generator, state.tremor)
    hippus, hippus_state = step_noise(traits.hippus, n_samples, generator, state.hippus)
    arousal, lag = run_filter(traits.lag, affect[:, 1:2], state.lag)
    gaze = _draw_gaze(times_seconds, state.origin, saccades)
    gaze += 0.003 * tremor + 0.001 * generator.standard_normal((n_samples, 2))
    pupils = np.array(traits.pupils_mm) + PUPIL_GAIN_MM * np.real(arousal) + 0.08 * hippus
    pupils += 0.01 * generator.standard_normal((n_samples, 2))
    eyes = np.hstack([np.clip(gaze, 0, 1), np.clip(pupils, 1.5, 8.0)])
    eyes[_lids_closed(times_seconds, blinks)] = np.nan
    after = replace(state, lag=lag, hippus=hippus_state, tremor=tremor_state)
    return eyes, _forget_saccades(float(times_seconds[-1]), saccades, after)


def _plan_saccades(
    stop_seconds: float, generator: np.random.Generator, state: EyeState
) -> list[Saccade]:
    """Plan saccades until one begins after the block."""
    planned = list(state.saccades)
    while not planned or planned[-1].start_seconds <= stop_seconds:
        place = planned[-1].target if planned else state.origin
        resting = planned[-1].start_seconds + planned[-1].duration_seconds if planned else 0.0
        target = np.clip(0.5 + generator.normal(0, (0.17, 0.14)), 0.05, 0.95)
        degrees = float(np.linalg.norm((target - place) * SCREEN_DEGREES))
        fixation_seconds = 0.12 + float(generator.gamma(2.0, 0.11))
        planned.append(
            Saccade(
                resting + fixation_seconds,
                0.021 + 0.0022 * degrees,
                (float(target[0]), float(target[1])),
            )
        )
    return planned


def _forget_saccades(stop_seconds: float, saccades: Sequence[Saccade], state: EyeState) -> EyeState:
    """Keep the saccades that are not over; the last finished one is where the eye rests."""
    over = [s for s in saccades if s.start_seconds + s.duration_seconds <= stop_seconds]
    origin = over[-1].target if over else state.origin
    return replace(state, origin=origin, saccades=tuple(saccades[len(over) :]))


def _draw_gaze(
    times_seconds: FloatArray, origin: tuple[float, float], saccades: Sequence[Saccade]
) -> FloatArray:
    """Gaze (time, 2): each saccade moves it along a minimum-jerk path."""
    gaze = np.tile(np.array(origin), (len(times_seconds), 1))
    place = np.array(origin)
    for saccade in saccades:
        part = np.clip((times_seconds - saccade.start_seconds) / saccade.duration_seconds, 0, 1)
        path = part**3 * (10 - 15 * part + 6 * part**2)
        gaze += path[:, None] * (np.array(saccade.target) - place)
        place = np.array(saccade.target)
    return gaze


def _lids_closed(times_seconds: FloatArray, blinks: Sequence[Blink]) -> np.ndarray:
    """Whether the lids are closed at each sample."""
    closed = np.zeros(len(times_seconds), dtype=bool)
    for start, duration in blinks:
        closed |= (times_seconds >= start) & (times_seconds < start + duration)
    return closed
