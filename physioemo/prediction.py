"""A prediction of valence, arousal and dominance."""

from collections.abc import Mapping
from dataclasses import dataclass, field

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
        True if too little of the signal was usable, or the decoder is not sure enough to keep the
        risk that was asked for; the probabilities are then the training prior.
    reason : str
        Why it abstains, in plain words; empty otherwise.
    model_id : str
        Which weights said it.
    classes : mapping of str to tuple of str
        Of each dimension the classes (``low``, ``high``) that are possible with the coverage that
        was asked for; both where it abstains. Empty if the decoder promises none.
    value : mapping of str to float
        Predicted rating of each dimension, on the scale of the ratings; where it abstains, the
        mean rating of training. Empty if the decoder predicts none.
    interval : mapping of str to (float, float)
        Between what the rating lies with the coverage that was asked for; the whole scale where it
        abstains. Empty if the decoder promises none.
    emotions : mapping of str to float
        Probability of each named emotion, adding to 1; where it abstains, the shares of training.
        Empty if the decoder knows no names.
    """

    time_seconds: float
    probability: Mapping[str, float]
    confidence: Mapping[str, float]
    abstain: bool
    reason: str
    model_id: str
    classes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    value: Mapping[str, float] = field(default_factory=dict)
    interval: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    emotions: Mapping[str, float] = field(default_factory=dict)
