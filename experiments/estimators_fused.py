"""Models of several modalities as estimators: families side by side in one row of numbers.

A study hands over each window as one flat row and says by ``layout`` which numbers are of which
family. Families with channels and bands become one token per electrode, the filter bank of a
stimulus's sound becomes patches, its pictures tubelets, and all others one token per number. A
number that is missing is masked; a family of which nothing is there is a missing modality.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from physioemo.errors import CallError, SignalError
from physioemo.experiments.estimator_base import StudyClassifier
from physioemo.experiments.fused_modalities import (
    FamilyScaler,
    encoder_of,
    has_fixed_scale,
    modality_name,
    model_input,
)

__all__ = ["FusedClassifier", "Layout"]

_TARGET = "target"


class Layout(NamedTuple):
    """Where a family stands in a row of numbers.

    Parameters
    ----------
    family : str
        Name of the family.
    shape : tuple of int
        Its axes after ``window``.
    start, stop : int
        Its numbers in the row.
    seconds : tuple of float
        Of sound and pictures, when each row or picture was, relative to the window's end.
    """

    family: str
    shape: tuple[int, ...]
    start: int
    stop: int
    seconds: tuple[float, ...] = ()


class FusedClassifier(StudyClassifier):
    """Encoders of several families and a fusion of their tokens.

    Parameters
    ----------
    fusion : str
        Row of :data:`physioemo.models.fused.FUSIONS`.
    families : sequence of str, optional
        What a study hands over; those of the study by default.
    layout : sequence of (family, shape, start, stop, seconds), optional
        Where each family stands in a row, see :class:`Layout`; a study says it. Without it
        features with two axes per window are one family of electrodes, others one of numbers.
    size : {"tiny", "study"}
        Preset of encoders and fusion.
    modality_dropout : float
        Probability with which a family is hidden from a window in training; one always stays.
    sizes : mapping, optional
        Arguments of the fusion that win over the preset, such as ``depth``.
    encoders : mapping of str to mapping, optional
        By family, arguments of its encoder that win over the preset, and ``preset`` itself:
        ``{"audio": {"preset": "study"}}``.
    pretrained : str, optional
        Folder of ``physioemo pretrain`` whose encoders it begins with, where both have a family.
    n_epochs, batch_size, learning_rate, weight_decay, label_smoothing, patience
        As in :class:`physioemo.models.training.TrainingConfig`.
    device : str
        Where to train.
    seed : int
        Seed of the weights, the shuffles and what is hidden.
    """

    n_axes = (2, 3, 4)

    def __init__(
        self,
        fusion: str = "queries",
        families: Sequence[str] | None = None,
        layout: Sequence[Sequence[Any]] | None = None,
        size: str = "study",
        modality_dropout: float = 0.3,
        sizes: Mapping[str, Any] | None = None,
        encoders: Mapping[str, Mapping[str, Any]] | None = None,
        pretrained: str | None = None,
        n_epochs: int = 100,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-3,
        label_smoothing: float = 0.12,
        patience: int = 15,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        self.fusion = fusion
        self.families = families
        self.layout = layout
        self.size = size
        self.modality_dropout = modality_dropout
        self.sizes = sizes
        self.encoders = encoders
        self.pretrained = pretrained
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.patience = patience
        self.device = device
        self.seed = seed

    @property
    def modalities_(self) -> tuple[str, ...]:
        """Names of the families of a fitted estimator."""
        return tuple(row.family for row in self.layout_)

    def predict_proba_from(self, X: Any, families: Sequence[str]) -> np.ndarray:
        """Probability of each class (window, class) if only some families were there.

        Parameters
        ----------
        X : array_like
            As in :meth:`predict_proba`.
        families : sequence of str
            What is kept; with none the estimator says the shares of the classes in training.
        """
        values = self._features(X, None).reshape(len(np.asarray(X)), -1)
        for row in self.layout_:
            if row.family not in families:
                values[:, row.start : row.stop] = np.nan
        return self.predict_proba(values.reshape(np.shape(X)))

    def _fit(
        self, values: np.ndarray, codes: np.ndarray, train: np.ndarray, chosen: np.ndarray
    ) -> None:
        from physioemo.models.fused_training import train_fused
        from physioemo.models.modality_inputs import rows_of
        from physioemo.models.pretrained import use_pretrained
        from physioemo.models.training import TrainingConfig

        if not len(chosen):
            raise CallError(
                "found no validation window of a class to train on, expected some; hold out "
                "trials of every class"
            )
        self.layout_ = self._layout(values.shape[1:])
        parts = self._parts(values)
        self.scalers_ = {
            name: FamilyScaler.fit(part[train])
            for name, part in parts.items()
            if not has_fixed_scale(name)
        }
        inputs = self._scaled(parts)
        names = set(TrainingConfig.__dataclass_fields__) & set(self.get_params())
        model = self._build()
        if self.pretrained is not None:
            use_pretrained(model, self.pretrained)
        self.training_ = train_fused(
            model,
            rows_of(inputs, train),
            codes[train],
            validation_inputs=rows_of(inputs, chosen),
            validation_labels=codes[chosen],
            config=TrainingConfig(**{name: getattr(self, name) for name in names}),
        )
        self.model_ = model

    def _probabilities(self, values: np.ndarray) -> np.ndarray:
        from scipy.special import softmax

        from physioemo.models.fused_training import predict_fused

        logits, abstain = predict_fused(self.model_, self._scaled(self._parts(values)))
        said = softmax(logits[:, 0].astype(np.float64), axis=1)
        return np.where(abstain[:, None], self.prior_, said)

    def _layout(self, shape: tuple[int, ...]) -> tuple[Layout, ...]:
        """Return the layout, by default that of one family."""
        n = int(np.prod(shape))
        if self.layout is None:
            return (Layout("de" if len(shape) == 2 else "all", shape, 0, n),)
        rows = tuple(
            Layout(str(f), tuple(map(int, s)), a, b, *(tuple(times) for times in rest))
            for f, s, a, b, *rest in self.layout
        )
        fits = all(row.stop - row.start == int(np.prod(row.shape)) for row in rows)
        if not rows or not fits or max(row.stop for row in rows) > n:
            raise SignalError(
                f"found rows of {n} numbers for the layout {[tuple(r) for r in rows]}, expected "
                "one that fits; give the families that it names, in their order"
            )
        return rows

    def _parts(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """Return each family's values (window, number)."""
        flat = values.reshape(len(values), -1)
        return {modality_name(r.family): flat[:, r.start : r.stop] for r in self.layout_}

    def _scaled(self, parts: Mapping[str, np.ndarray]) -> dict[str, Any]:
        """Return what each family's encoder takes."""
        found = {}
        for row in self.layout_:
            name = modality_name(row.family)
            part = parts[name]
            scaled = self.scalers_[name](part) if name in self.scalers_ else part
            found[name] = model_input(
                row.family, np.asarray(scaled, np.float32), row.shape, row.seconds
            )
        return found

    def _encoders(self) -> dict[str, dict[str, Any]]:
        """Return what the model has to know of each family."""
        own = {modality_name(f): dict(about) for f, about in (self.encoders or {}).items()}
        found = {
            modality_name(r.family): encoder_of(r.family, r.shape, self.size, r.seconds)
            for r in self.layout_
        }
        unknown = [f for f in own if f not in found]
        if unknown:
            raise CallError(
                f"found an encoder for {unknown[0]!r}, expected some of {', '.join(found)}; name "
                "a family of the model"
            )
        return {name: {**about, **own.get(name, {})} for name, about in found.items()}

    def _build(self) -> Any:
        import torch

        from physioemo.models.fused import FusedModel
        from physioemo.models.training import seeded

        device = torch.device(self.device)
        with seeded(self.seed, device):
            model = FusedModel(
                encoders=self._encoders(),
                dimensions=[_TARGET],
                n_outputs=len(self.columns_),
                fusion=self.fusion,
                preset=self.size,
                fusion_arguments={
                    **(self.sizes or {}),
                    "modality_dropout": float(self.modality_dropout),
                },
            )
        return model.to(device)
