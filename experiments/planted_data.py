"""Made-up recordings with one known effect, to see that a study finds it, and nothing else.

Each effect is planted into the noise of :mod:`physioemo.experiments.null_data` between the onset
and the end of the trials whose valence is high; arousal and dominance stay chance. What was
planted, and how strongly, stands in the recording's attribute ``planted``.

============== =================================================================================
kind           effect, and its unit
============== =================================================================================
band-power     8-13 Hz of every channel is `effect` dB stronger
asymmetry      8-13 Hz is `effect`/2 dB stronger right and as much weaker left: the mean of the
               logarithms stays
coupling       8-13 Hz of one pair of electrodes has the coherency `effect` (0 to 1) at 45 degrees,
               and 0 in low trials; the spectrum of every single channel is the same in both
drift-confound nothing in the signal but a trend: each channel's log gain moves by `effect` times
               its own normal number over the session, and the low trials come in one block
bad-subject    band-power in all subjects but the first, whose amplifier gives white noise
unbalanced     band-power, three of four trials high
============== =================================================================================
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.null_data import (
    NULL_CHANNELS,
    RMS_MICROVOLTS,
    SFREQ_HZ,
    NullPlan,
    pink_spectrum,
    recorded,
    trial_classes,
    wandering_gain,
)
from physioemo.hints import unknown_name
from physioemo.recording import Recording

__all__ = ["COUPLED", "PLANTED", "Planted", "planted_recordings"]

COUPLED = ("F3", "P8")
"""The pair of electrodes of the kind ``coupling``; the second follows the first."""

_BAND_HZ = (8.0, 13.0)
_PHASE_RADIAN = np.pi / 4
_RAMP_SECONDS = 0.5
_UNBALANCED_SHARE = 0.75
_BAD_FACTOR = 5.0
_LEFT = ("AF3", "F7", "F3", "FC5", "T7", "P7", "O1")

Plant = Callable[[np.ndarray, np.ndarray, float], np.ndarray]


@dataclass(frozen=True)
class Planted:
    """One kind of effect.

    Parameters
    ----------
    plant : callable
        ``plant(spectrum, in_band, effect)``: the spectrum (channel, frequency) of a high trial.
    effect, unit : float, str
        Its strength where none is given.
    description : str
        One line.
    """

    plant: Plant
    effect: float
    unit: str
    description: str


def _nothing(spectrum: np.ndarray, in_band: np.ndarray, effect: float) -> np.ndarray:
    return spectrum


def _band_power(spectrum: np.ndarray, in_band: np.ndarray, effect: float) -> np.ndarray:
    return spectrum * np.where(in_band, 10 ** (effect / 20), 1.0)


def _asymmetry(spectrum: np.ndarray, in_band: np.ndarray, effect: float) -> np.ndarray:
    side = np.array([-1.0 if name in _LEFT else 1.0 for name in NULL_CHANNELS])
    return spectrum * np.where(in_band, 10 ** (side[:, None] * effect / 40), 1.0)


def _coupling(spectrum: np.ndarray, in_band: np.ndarray, effect: float) -> np.ndarray:
    leader, follower = (NULL_CHANNELS.index(name) for name in COUPLED)
    led = effect * np.exp(-1j * _PHASE_RADIAN) * spectrum[leader]
    own = np.sqrt(1 - effect**2) * spectrum[follower]
    planted = spectrum.copy()
    planted[follower] = np.where(in_band, led + own, spectrum[follower])
    return planted


PLANTED: Mapping[str, Planted] = MappingProxyType(
    {
        "band-power": Planted(_band_power, 3.0, "dB", "alpha is stronger in high trials"),
        "asymmetry": Planted(_asymmetry, 3.0, "dB", "alpha moves from left to right"),
        "coupling": Planted(_coupling, 0.8, "coherency", "two electrodes are coupled"),
        "drift-confound": Planted(_nothing, 1.0, "log gain", "a trend, and labels in blocks"),
        "bad-subject": Planted(_band_power, 3.0, "dB", "alpha, and one subject of pure noise"),
        "unbalanced": Planted(_band_power, 3.0, "dB", "alpha, and few low trials"),
    }
)
"""Every kind of planted effect by its name."""


def planted_recordings(
    kind: str, plan: NullPlan | None = None, *, effect: float | None = None
) -> Iterator[Recording]:
    """Yield recordings with a planted effect of valence.

    Parameters
    ----------
    kind : str
        One of :data:`PLANTED`.
    plan : NullPlan, optional
        Size of the data set.
    effect : float, optional
        Strength in the unit of the kind; 0 plants nothing.

    Raises
    ------
    CallError
        If the kind is not known, or a coherency lies outside 0 to 1.
    """
    if kind not in PLANTED:
        raise unknown_name("the planted effect", kind, PLANTED)
    plan = plan or NullPlan()
    strength = PLANTED[kind].effect if effect is None else effect
    if kind == "coupling" and not 0 <= strength <= 1:
        raise CallError(f"found the coherency {strength:g}, expected 0 to 1")
    if kind == "unbalanced":
        plan = replace(plan, share_high=_UNBALANCED_SHARE)
    return (_planted_recording(kind, plan, subject, strength) for subject in range(plan.n_subjects))


def _planted_recording(kind: str, plan: NullPlan, subject: int, effect: float) -> Recording:
    rng = np.random.default_rng([plan.seed, subject])
    high = trial_classes(rng, plan)
    bad = kind == "bad-subject" and subject == 0
    slope = np.zeros(len(NULL_CHANNELS))
    if kind == "drift-confound":
        high[:, 0] = np.sort(high[:, 0])
        slope = effect * rng.normal(0, 1, len(NULL_CHANNELS))
    stretches = []
    for k, gain in enumerate(wandering_gain(rng, plan)):
        trend = np.exp(slope * (k / (plan.n_trials - 1) - 0.5))[:, None]
        plant = PLANTED[kind].plant if high[k, 0] else _nothing
        signal = _stretch(rng, gain.shape[1], plan, plant, effect)
        if bad:
            signal = rng.normal(0, _BAD_FACTOR * RMS_MICROVOLTS, gain.shape)
        stretches.append(signal * gain * trend)
    truth: dict[str, object] = {
        "kind": kind,
        "effect": 0.0 if bad else effect,
        "unit": PLANTED[kind].unit,
        "dimension": "valence",
        "bad": bad,
    }
    return recorded(plan, subject, stretches, high, rng, truth)


def _stretch(
    rng: np.random.Generator, n_samples: int, plan: NullPlan, plant: Plant, effect: float
) -> np.ndarray:
    """Return baseline and trial (channel, time); the effect fades in before the onset."""
    spectrum, n = pink_spectrum(rng, n_samples)
    frequency = np.fft.rfftfreq(n, 1 / SFREQ_HZ)
    in_band = (frequency >= _BAND_HZ[0]) & (frequency < _BAND_HZ[1])
    plain = np.fft.irfft(spectrum, n)[:, :n_samples]
    planted = np.fft.irfft(plant(spectrum, in_band, effect), n)[:, :n_samples]
    since_onset = np.arange(n_samples) / SFREQ_HZ - plan.baseline_seconds
    weight = np.clip(1 + since_onset / _RAMP_SECONDS, 0, 1)
    return (1 - weight) * plain + weight * planted
