"""What can be chosen about a simulated participant, and where its samples lie in time."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from physioemo.errors import CallError

__all__ = ["ParticipantConfig", "check_affect", "check_seconds", "sample_range", "sampling_rates"]

SFREQ_LIMITS_HZ = {
    "sfreq": (64.0, 20_000.0),
    "physiology_sfreq": (64.0, 20_000.0),
    "gaze_sfreq": (20.0, 5_000.0),
    "truth_sfreq": (1.0, 1_000.0),
}
EFFECT_LIMITS = (0.0, 3.0)
BLOCK_LIMITS_SECONDS = (0.1, 10.0)


@dataclass(frozen=True)
class ParticipantConfig:
    """A simulated participant and the devices that record it.

    Attributes
    ----------
    seed : int
        Who the participant is; the same seed and the same affect give the same bits.
    effect : float
        Size of the influence of affect on all signals, 0 (none) to 3.
    montage : str
        Standard montage of MNE-Python.
    sfreq, physiology_sfreq, gaze_sfreq, truth_sfreq : float
        Sampling rates in Hz of the EEG, of ECG/EDA/respiration, of the eye tracker and of the
        hidden affect.
    block_seconds : float
        Length of the blocks that :func:`step_participant` makes, 0.1 to 10 s.
    session : int
        Which of the participant's sessions, from 1: the same person, another day's noise,
        order of clips and ratings.

    Raises
    ------
    CallError
        If a value lies outside its range.
    """

    seed: int = 0
    effect: float = 1.0
    montage: str = "biosemi32"
    sfreq: float = 250.0
    physiology_sfreq: float = 250.0
    gaze_sfreq: float = 120.0
    truth_sfreq: float = 10.0
    block_seconds: float = 0.5
    session: int = 1

    def __post_init__(self) -> None:
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise CallError(
                f"The seed is {self.seed!r}, expected a whole number from 0; choose one."
            )
        if isinstance(self.session, bool) or not isinstance(self.session, int) or self.session < 1:
            raise CallError(
                f"The session is {self.session!r}, expected a whole number from 1; choose one."
            )
        for field, limits in SFREQ_LIMITS_HZ.items():
            _check_range(field, getattr(self, field), limits, " Hz")
        _check_range("effect", self.effect, EFFECT_LIMITS, "")
        _check_range("block_seconds", self.block_seconds, BLOCK_LIMITS_SECONDS, " s")

    @property
    def session_seed(self) -> int:
        """Seed of everything that differs between the sessions of one participant."""
        if self.session == 1:
            return self.seed
        return int(np.random.SeedSequence([self.seed, self.session]).generate_state(1)[0])


def _check_range(name: str, value: object, limits: tuple[float, float], unit: str) -> None:
    """Refuse a value that is no number between the limits."""
    low, high = limits
    if isinstance(value, int | float) and low <= value <= high:
        return
    raise CallError(
        f"{name} is {value!r}, expected a number from {low:g} to {high:g}{unit}; choose one there."
    )


def check_seconds(name: str, value: object, *, or_zero: bool = False) -> None:
    """Refuse a length of time that cannot be.

    Parameters
    ----------
    name : str
        Name of the argument.
    value : object
        What was given.
    or_zero : bool
        Whether zero is allowed.

    Raises
    ------
    CallError
        If it is not a finite, positive number.
    """
    if isinstance(value, int | float) and 0 <= value < math.inf and (or_zero or value > 0):
        return
    expected = "zero or a positive number" if or_zero else "a positive number"
    raise CallError(f"{name} is {value!r}, expected {expected} of seconds; choose one.")


def sampling_rates(config: ParticipantConfig) -> dict[str, float]:
    """List the sampling rates of the regular streams.

    Parameters
    ----------
    config : ParticipantConfig
        The participant.

    Returns
    -------
    dict of str to float
        In Hz, by the name of the stream.
    """
    return {
        "eeg": float(config.sfreq),
        "physiology": float(config.physiology_sfreq),
        "gaze": float(config.gaze_sfreq),
        "truth": float(config.truth_sfreq),
    }


def check_affect(affect: object) -> tuple[float, float, float]:
    """Check an affect target.

    Parameters
    ----------
    affect : sequence of 3 float
        Valence, arousal, dominance in [-1, 1].

    Returns
    -------
    tuple of 3 float
        The same as plain numbers.

    Raises
    ------
    CallError
        If there are not three finite numbers in [-1, 1].
    """
    try:
        values = [float(value) for value in affect]  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        values = []
    if len(values) != 3 or not all(-1 <= value <= 1 for value in values):
        raise CallError(
            f"The affect target is {affect!r}, expected valence, arousal and dominance; "
            "give three numbers from -1 to 1."
        )
    return values[0], values[1], values[2]


def sample_range(block_index: int, block_seconds: float, sfreq: float) -> tuple[int, int]:
    """Find the samples of a block, so that sample i lies at exactly i / sfreq for any rate.

    Parameters
    ----------
    block_index : int
        Number of the block from 0.
    block_seconds : float
        Length of a block.
    sfreq : float
        Sampling rate in Hz.

    Returns
    -------
    first, stop : int
        All i with ``block_index ≤ i / sfreq / block_seconds < block_index + 1``.
    """
    # In fractions: 511.7 Hz in floating point would lose or double a sample once in a while.
    per_block = Fraction(repr(float(sfreq))) * Fraction(repr(float(block_seconds)))
    return math.ceil(block_index * per_block), math.ceil((block_index + 1) * per_block)
