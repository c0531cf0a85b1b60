"""What decides how a decoder of the EEG is trained and scored."""

from dataclasses import asdict, dataclass, field
from typing import Any

from physioemo.features.entropy import BANDS
from physioemo.models.training import TrainingConfig
from physioemo.prediction import DIMENSIONS

__all__ = ["StudyConfig"]


@dataclass(frozen=True)
class StudyConfig:
    """Everything that decides a result besides the data.

    Parameters
    ----------
    dimensions : tuple of str
        What to predict.
    window_seconds, hop_seconds : float
        Length of a window and the step between two.
    bands : tuple of (str, float, float)
        Name and edges in Hz.
    definition : str
        Which differential entropy; one that streams.
    midpoint : {"drop", "low", "high"}
        What a rating exactly in the middle of the scale is.
    preset : str
        Size of the transformer.
    n_folds, n_permutations : int
        Folds of the cross-validation; how often it is repeated with permuted labels.
    validation_share : float
        Share of the training groups held out for early stopping and calibration.
    training : TrainingConfig
        The optimiser's settings.
    seed : int
        Decides folds, permutations and initial weights.
    """

    dimensions: tuple[str, ...] = DIMENSIONS
    window_seconds: float = 1.0
    hop_seconds: float = 0.5
    bands: tuple[tuple[str, float, float], ...] = tuple((k, *v) for k, v in BANDS.items())
    definition: str = "gaussian-filter"
    midpoint: str = "drop"
    preset: str = "tiny"
    n_folds: int = 5
    n_permutations: int = 10
    validation_share: float = 0.2
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            n_epochs=40, batch_size=32, learning_rate=3e-3, patience=10, token_noise=0.7
        )
    )
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)
