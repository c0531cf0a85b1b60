"""What models of several families share: one row of numbers, encoders, a fusion, its training.

A study hands over each window as one flat row and says by ``layout`` which numbers are of which
family. Families with channels and bands become one token per electrode, the filter bank of a
stimulus's sound becomes patches, its pictures tubelets, and all others one token per number. A
number that is missing is masked; a family of which nothing is there is a missing modality.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from physioemo.errors import CallError, SignalError
from physioemo.experiments.estimator_base import StudyEstimator
from physioemo.experiments.fused_fit_more import BATCH_OF_RATINGS
from physioemo.experiments.fused_modalities import (
    FamilyScaler,
    encoder_of,
    has_fixed_scale,
    modality_name,
    model_input,
)

__all__ = ["FusedEstimator", "Layout"]

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


class FusedEstimator(StudyEstimator):
    """Encoders of several families and a fusion of their tokens; a subclass says what of.

    Parameters
    ----------
    fusion, families, layout, size, modality_dropout, sizes, encoders, pretrained, n_epochs, \
batch_size, learning_rate, weight_decay, label_smoothing, patience, device, seed
        As in :class:`physioemo.experiments.estimators_fused.FusedClassifier`.
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
    def _fused(self) -> Any:
        """Return the fused model of a fitted estimator, without what reads its features."""
        return (
            self.model_["fused"] if "fused" in dict(self.model_.named_children()) else self.model_
        )

    def _with_only(self, X: Any, families: Sequence[str]) -> np.ndarray:
        """Return windows of which only some families are there."""
        values = self._features(X, None).reshape(len(np.asarray(X)), -1)
        for row in self.layout_:
            if row.family not in families:
                values[:, row.start : row.stop] = np.nan
        return values.reshape(np.shape(X))

    def _n_outputs(self) -> int:
        """Return how many classes the fused model tells apart."""
        raise NotImplementedError

    def _dimensions(self) -> list[str]:
        """Return what the fused model calls what it says."""
        return [_TARGET]

    def _more_parts(self) -> dict[str, Any]:
        """Return untrained networks that read the fused model's features, by name."""
        return {}

    def _training(self) -> Any:
        from physioemo.models.training import TrainingConfig

        names = set(TrainingConfig.__dataclass_fields__) & set(self.get_params())
        return TrainingConfig(**{name: getattr(self, name) for name in names})

    def _learn(
        self,
        values: np.ndarray,
        codes: np.ndarray,
        train: np.ndarray,
        chosen: np.ndarray,
        ratings: np.ndarray | None = None,
        weights: tuple[float, float] = (1.0, 1.0),
    ) -> dict[str, Any]:
        """Learn scales and the model, ratings too if they are given; return the inputs.

        ``weights`` say how much ratings and classes count.
        """
        from physioemo.models.fused_training import RatingTask, fused_outputs, train_fused
        from physioemo.models.modality_inputs import rows_of
        from physioemo.models.pretrained import use_pretrained

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
        fused = self._build_fused()
        found = fused_outputs(fused, rows_of(inputs, train[:1]))
        self.n_features_ = int(np.prod(found.features.shape[1:]))
        if self.pretrained is not None:
            use_pretrained(fused, self.pretrained)
        config, task = self._training(), None
        if ratings is not None:
            # How well a batch tells concordance depends on its size.
            config = replace(config, batch_size=max(config.batch_size, BATCH_OF_RATINGS))
            head = self._rating_head()
            task = RatingTask(head, ratings[train, None], ratings[chosen, None], *weights)
        self.training_ = train_fused(
            fused,
            rows_of(inputs, train),
            codes[train],
            validation_inputs=rows_of(inputs, chosen),
            validation_labels=codes[chosen],
            config=config,
            task=task,
        )
        self.model_ = self._together(fused, {} if task is None else {"head": task.head})
        return inputs

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

    def _build_fused(self) -> Any:
        import torch

        from physioemo.models.fused import FusedModel
        from physioemo.models.training import seeded

        device = torch.device(self.device)
        with seeded(self.seed, device):
            model = FusedModel(
                encoders=self._encoders(),
                dimensions=self._dimensions(),
                n_outputs=self._n_outputs(),
                fusion=self.fusion,
                preset=self.size,
                fusion_arguments={
                    **(self.sizes or {}),
                    "modality_dropout": float(self.modality_dropout),
                },
            )
        return model.to(device)

    def _rating_head(self) -> Any:
        """Return an untrained head that says mean and spread of the rating."""
        import torch

        from physioemo.models.affect_heads import GaussianHead
        from physioemo.models.training import seeded

        with seeded(self.seed, torch.device("cpu")):
            head = GaussianHead(embed_dim=self.n_features_, n_dimensions=1)
        return head.to(torch.device(self.device))

    def _said_ratings(self, values: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return mean and spread of the rating of each window, and where nothing was there."""
        import torch

        from physioemo.models.fused_training import fused_outputs

        found = fused_outputs(self._fused, self._scaled(self._parts(values)))
        flat = torch.from_numpy(found.features).flatten(1).to(torch.device(self.device))
        with torch.no_grad():
            said = self.model_["head"](flat)
        mean, sd = (part[:, 0].double().cpu().numpy() for part in said)
        return mean, sd, found.abstain

    def _build(self) -> Any:
        """Return all networks, untrained."""
        return self._together(self._build_fused(), self._more_parts())

    @staticmethod
    def _together(fused: Any, more: Mapping[str, Any]) -> Any:
        """Return the fused model and what reads its features as one module."""
        import torch

        return torch.nn.ModuleDict({"fused": fused, **more}) if more else fused
