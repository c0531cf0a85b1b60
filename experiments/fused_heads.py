"""Ratings as numbers, beside the classes or instead of them.

A head reads the features of a fused model and says mean and spread of each rating, on a scale
from -1 to 1 with 0 in the middle, where low ends and high begins. ``joint`` learns classes and
ratings together. ``continuous`` learns ratings alone, and the probability of the high class is
that of a rating above the middle under the normal distribution that the head says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from physioemo.errors import DataError

__all__ = ["HEADS", "RatingHead", "RatingScale"]

HEADS = ("classes", "joint", "continuous")
"""What a decoder says: classes alone, both, or ratings alone."""

_WEIGHTS = "head/weights/"


@dataclass(frozen=True)
class RatingScale:
    """From where to where ratings go.

    Parameters
    ----------
    lowest, highest : float
        As the recordings say.

    Raises
    ------
    DataError
        If the highest is not above the lowest.
    """

    lowest: float
    highest: float

    def __post_init__(self) -> None:
        if not self.lowest < self.highest:
            raise DataError(
                f"found a scale of ratings from {self.lowest} to {self.highest}, expected numbers "
                "of which the second is higher"
            )

    def inwards(self, rating: np.ndarray) -> np.ndarray:
        """Return ratings from -1 to 1."""
        half = (self.highest - self.lowest) / 2
        return (np.asarray(rating, float) - (self.lowest + self.highest) / 2) / half

    def outwards(self, value: np.ndarray) -> np.ndarray:
        """Return ratings as they are given, none beyond the ends of the scale."""
        half = (self.highest - self.lowest) / 2
        rating = (self.lowest + self.highest) / 2 + half * np.asarray(value, float)
        return np.clip(rating, self.lowest, self.highest)


@dataclass(frozen=True)
class RatingHead:
    """What a decoder says of ratings.

    Parameters
    ----------
    kind : {"joint", "continuous"}
        Whether the classes are learned too.
    scale : RatingScale
        Of the ratings.
    network : GaussianHead
        From the features of all dimensions side by side.
    prior : ndarray, shape (dimension,)
        Mean rating of training, from -1 to 1.
    """

    kind: str
    scale: RatingScale
    network: Any
    prior: np.ndarray

    @classmethod
    def untrained(cls, kind: str, scale: RatingScale, features: int, prior: np.ndarray) -> Any:
        """Return a head with random weights.

        Parameters
        ----------
        kind, scale, prior
            As in the class.
        features : int
            Length of a window's features, of all dimensions together.
        """
        from physioemo.models.affect_heads import GaussianHead

        network = GaussianHead(embed_dim=features, n_dimensions=len(prior))
        return cls(kind, scale, network.eval(), prior)

    def say(self, features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return mean and standard deviation of the ratings, from -1 to 1, (window, dimension).

        Parameters
        ----------
        features : ndarray, shape (window, dimension, embed)
            Of the fused model.
        """
        import torch

        flat = torch.from_numpy(np.ascontiguousarray(features)).flatten(1)
        with torch.no_grad():
            mean, sd = self.network(flat)
        return mean.numpy().astype(float), sd.numpy().astype(float)

    @staticmethod
    def logits(mean: np.ndarray, sd: np.ndarray) -> np.ndarray:
        """Return the log-probabilities of low and high, shape (window, dimension, 2)."""
        from scipy.special import log_ndtr

        return np.stack([log_ndtr(-mean / sd), log_ndtr(mean / sd)], axis=-1)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what goes into a safetensors file."""
        weights = {_WEIGHTS + k: v.numpy() for k, v in self.network.state_dict().items()}
        return {**weights, "head/prior": np.asarray(self.prior)}

    def to_dict(self) -> dict[str, Any]:
        """Return the rest, ready for JSON."""
        return {
            "kind": self.kind,
            "lowest": self.scale.lowest,
            "highest": self.scale.highest,
            "features": self.network.mean.in_features,
        }

    @classmethod
    def from_parts(cls, content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
        """Return what :meth:`to_dict` and :meth:`arrays` gave; all weights and no other.

        Raises
        ------
        RuntimeError, KeyError, ValueError
            If a part is missing, too much, or of another shape.
        """
        import torch

        if set(content) != {"kind", "lowest", "highest", "features"}:
            raise KeyError(f"fields of the head: {', '.join(content)}")
        if content["kind"] not in HEADS[1:]:
            raise ValueError(f"the head {content['kind']!r}")
        scale = RatingScale(content["lowest"], content["highest"])
        head = cls.untrained(content["kind"], scale, content["features"], arrays["head/prior"])
        weights = {k.removeprefix(_WEIGHTS): v for k, v in arrays.items() if k.startswith(_WEIGHTS)}
        head.network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        return head
