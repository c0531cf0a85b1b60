"""A prediction of valence, arousal and dominance."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["DIMENSIONS", "Prediction"]

DIMENSIONS = ("valence", "arousal", "dominance")


@dataclass(frozen=True)
class Prediction:
    """What a decoder says about one window.

    Parameters
    ----------
    time_seconds : float
        Session time of the newest sample that it used.
    probability : mapping of str to float
        Probability of the high class of each dimension.
    confidence : mapping of str to float
        Calibrated probability of the more likely class, 0.5 to 1.
    abstain : bool
        True if too little of the signal was usable; the probabilities are then the training
        prior.
    reason : str
        Why it abstains, in plain words; empty otherwise.
    model_id : str
        Which weights said it.
    """

    time_seconds: float
    probability: Mapping[str, float]
    confidence: Mapping[str, float]
    abstain: bool
    reason: str
    model_id: str
