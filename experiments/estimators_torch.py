"""Networks of the model catalogue as estimators, one by one or many in one program."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.estimator_base import StudyClassifier
from physioemo.experiments.estimator_inputs import Scaler

__all__ = ["TokenClassifier", "fit_together"]

LINKS = ("softmax", "cumulative")
KEEPS = ("best", "last")
PRECISIONS = ("float32", "bfloat16")
_WINDOWS_AT_ONCE = 64


class TokenClassifier(StudyClassifier):
    """A model of the catalogue on tokens.

    Tokens are scaled per electrode and feature by the training windows. An electrode more than
    half of whose features are missing is masked; other gaps take the training mean. A window
    without any usable electrode gets the shares of the classes in training.

    Parameters
    ----------
    model : str
        Name in the model catalogue.
    preset : str
        Sizes of the model.
    flat : bool
        Whether every feature is a token of its own, so that each is masked by itself.
    sizes : mapping, optional
        Arguments of the model's constructor; they win over the preset.
    n_epochs, batch_size, late_batch_size, late_from_epoch, learning_rate, weight_decay, \
label_smoothing, patience, token_noise
        As in :class:`physioemo.models.training.TrainingConfig`.
    keep : {"best", "last"}
        Weights of the epoch with the lowest loss on validation rows, or of the last epoch: then
        all rows train and none chooses, as where a paper has no third set.
    link : {"softmax", "cumulative"}
        Classes without an order, or in the order of their numbers: one score and rising
        thresholds (:class:`physioemo.models.ordinal_link.CumulativeLink`).
    precision : {"float32", "bfloat16"}
        What matrix products are trained in. ``bfloat16``, on a CPU only, is faster with large
        batches and gives other numbers, the same alone as together: every batch is filled up to
        ``batch_size``, and the step is compiled, which takes half a minute the first time.
    device : str
        Where to train.
    seed : int
        Seed of the weights, the shuffles and the noise.
    """

    def __init__(
        self,
        model: str = "intercortical",
        preset: str = "published",
        flat: bool = False,
        sizes: Mapping[str, Any] | None = None,
        n_epochs: int = 100,
        batch_size: int = 256,
        late_batch_size: int | None = None,
        late_from_epoch: int | None = None,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-3,
        label_smoothing: float = 0.12,
        patience: int = 15,
        token_noise: float = 0.0,
        keep: str = "best",
        link: str = "softmax",
        precision: str = "float32",
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        self.model = model
        self.preset = preset
        self.flat = flat
        self.sizes = sizes
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.late_batch_size = late_batch_size
        self.late_from_epoch = late_from_epoch
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.patience = patience
        self.token_noise = token_noise
        self.keep = keep
        self.link = link
        self.precision = precision
        self.device = device
        self.seed = seed

    @property
    def n_axes(self) -> tuple[int, ...]:  # type: ignore[override]
        """How many axes the features may have."""
        return (2, 3, 4) if self.flat else (3,)

    def training_config(self) -> Any:
        """Return the :class:`~physioemo.models.training.TrainingConfig` of this estimator."""
        from physioemo.models.training import TrainingConfig

        names = TrainingConfig.__dataclass_fields__
        return TrainingConfig(**{name: getattr(self, name) for name in names})

    def build(self) -> Any:
        """Build the untrained model for the features that ``fit`` has seen."""
        from physioemo.models.catalogue import build_model

        if self.link not in LINKS:
            raise CallError(f"found link = {self.link!r}, expected one of {', '.join(LINKS)}")
        self._check_precision()
        n_outputs = self._n_outputs()
        ordered = self.link == "cumulative"
        n_tokens, n_features = self.token_shape_
        sizes = {
            "n_chans": n_tokens,
            "n_bands": n_features,
            "n_outputs": 1 if ordered else n_outputs,
            **self._heads(),
        }
        model = build_model(
            self.model, self.preset, seed=self.seed, **{**(self.sizes or {}), **sizes}
        )
        if ordered:
            from physioemo.models.ordinal_link import CumulativeLink

            n_dimensions = len(sizes["dimensions"]) if "dimensions" in sizes else None
            model = CumulativeLink(model, n_outputs=n_outputs, n_dimensions=n_dimensions)
        return model.to(self.device)

    def _check_precision(self) -> None:
        if self.precision not in PRECISIONS:
            raise CallError(
                f"found precision = {self.precision!r}, expected one of {', '.join(PRECISIONS)}"
            )
        if self.precision == "bfloat16" and self.device != "cpu":
            raise CallError(
                f"found precision = 'bfloat16' on the device {self.device!r}, expected 'cpu'; "
                "leave one of the two out"
            )

    def _n_outputs(self) -> int:
        """Return how many classes the model tells apart."""
        return len(self.columns_)

    def _heads(self) -> dict[str, Any]:
        """Return what the model is told of several dimensions: nothing, there is one."""
        return {}

    def training_data(
        self, values: np.ndarray, codes: np.ndarray, train: np.ndarray, chosen: np.ndarray
    ) -> Any:
        """Learn the scaler and return what the model is trained on."""
        from physioemo.models.batched_training import TrainingData

        if self.keep == "best" and not len(chosen):
            raise CallError(
                "found no validation window of a class to train on, expected some; hold out "
                "trials of every class"
            )
        tokens = self._tokens(values)
        self.token_shape_ = tokens.shape[1:]
        self.scaler_ = Scaler.fit(tokens[train])
        scaled, mask = self._scaled(tokens)
        data = TrainingData(scaled[train], codes[train], electrode_mask=mask[train], seed=self.seed)
        if self.keep == "last":
            return data
        return replace(
            data,
            validation_tokens=scaled[chosen],
            validation_labels=codes[chosen],
            validation_electrode_mask=mask[chosen],
        )

    def finish(self, model: Any, result: Any) -> None:
        """Take a trained model."""
        self.model_, self.training_ = model.eval(), result

    @property
    def attends(self) -> bool:
        """Whether the model pays attention between electrodes, for :meth:`attention`."""
        return self.model == "intercortical"

    def attention(self, X: Any, *, channel_mask: Any = None) -> np.ndarray:
        """How much each electrode attends to each: a weight inside the model, no connectivity.

        Parameters
        ----------
        X : array_like, shape (window, channel, feature)
            Features as in ``fit``; NaN is missing.
        channel_mask : array_like of bool, shape (window, channel), optional
            True where a channel is usable.

        Returns
        -------
        ndarray, shape (channel, channel)
            From the attending electrode (rows, which sum to 1) to the attended; mean over layers,
            heads and the windows in which the attending electrode is usable, NaN if there is none.

        Raises
        ------
        CallError
            If the model has no attention between electrodes.
        """
        if not self.attends:
            raise CallError(
                f"found the model {self.model!r}, which pays no attention, expected "
                "'intercortical'; ask another model for its importance only"
            )
        scaled, mask = self._scaled(self._tokens(self._features(X, channel_mask)))
        return _mean_attention(self.model_, scaled, mask)

    def _rows(
        self, n_windows: int, groups: Any, validation: Any, labels: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        if self.keep not in KEEPS:
            raise CallError(f"found keep = {self.keep!r}, expected one of {', '.join(KEEPS)}")
        if self.keep == "best":
            return super()._rows(n_windows, groups, validation, labels)
        if validation is not None:
            raise CallError(
                "found validation rows with keep = 'last', which trains on all, expected none; "
                "leave them out or keep the best epoch"
            )
        return np.arange(n_windows), np.empty(0, int)

    def _fit(
        self, values: np.ndarray, codes: np.ndarray, train: np.ndarray, chosen: np.ndarray
    ) -> None:
        from physioemo.models.training import train_model

        data = self.training_data(values, codes, train, chosen)
        if self.precision == "bfloat16":
            _fit_members([self], [data], None)
            return
        model = self.build()
        result = train_model(
            model,
            data.tokens,
            data.labels,
            validation_tokens=data.validation_tokens,
            validation_labels=data.validation_labels,
            config=self.training_config(),
            electrode_mask=data.electrode_mask,
            validation_electrode_mask=data.validation_electrode_mask,
        )
        self.finish(model, result)

    def _probabilities(self, values: np.ndarray) -> np.ndarray:
        from scipy.special import softmax

        from physioemo.models.prediction import predict_logits

        scaled, mask = self._scaled(self._tokens(values))
        logits = predict_logits(self.model_, scaled, mask).astype(np.float64)
        return np.where(mask.any(axis=1, keepdims=True), softmax(logits, axis=1), self.prior_)

    def _tokens(self, values: np.ndarray) -> np.ndarray:
        return values.reshape(len(values), -1, 1) if self.flat else values

    def _scaled(self, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        scaled = self.scaler_.apply(tokens)
        gaps = np.isnan(scaled)
        return np.where(gaps, 0.0, scaled), gaps.mean(axis=2) <= 0.5


def fit_together(
    estimators: Sequence[TokenClassifier],
    fits: Sequence[Mapping[str, Any]],
    *,
    plan: Any = None,
) -> list[TokenClassifier]:
    """Fit many estimators of one kind in one program, each as ``fit`` would alone.

    Parameters
    ----------
    estimators : sequence of TokenClassifier
        They may differ in nothing but ``seed``.
    fits : sequence of mapping
        The arguments of ``fit`` for each, ``X`` and ``y`` among them. Windows and classes may
        differ in number; estimators whose models differ in size are trained in several programs.
    plan : TrainingPlan, optional
        How many at a time; chosen by :func:`physioemo.models.training_plan.training_plan`. In
        bfloat16 only the number of processes counts.

    Returns
    -------
    list of TokenClassifier
        The same objects, fitted.

    Raises
    ------
    CallError
        If the estimators differ in more than their seed.
    """
    options = [{k: v for k, v in e.get_params().items() if k != "seed"} for e in estimators]
    if any(option != options[0] for option in options):
        raise CallError(
            "found estimators that differ in more than their seed, expected one kind; fit each "
            "kind by its own call"
        )
    sizes: dict[tuple[int, ...], list[int]] = {}
    datasets = []
    for i, (estimator, arguments) in enumerate(zip(estimators, fits, strict=True)):
        names = ("X", "y", "groups", "validation", "channel_mask", "classes")
        prepared = estimator._prepared(*(arguments.get(name) for name in names))
        datasets.append(estimator.training_data(*prepared))
        sizes.setdefault((*estimator.token_shape_, len(estimator.columns_)), []).append(i)
    for members in sizes.values():
        _fit_members([estimators[i] for i in members], [datasets[i] for i in members], plan)
    return list(estimators)


def _fit_members(estimators: list[TokenClassifier], datasets: list[Any], plan: Any) -> None:
    from physioemo.models.batched_training import train_models
    from physioemo.models.training_plan import bfloat16_plan

    if estimators[0].precision == "bfloat16":
        plan = bfloat16_plan(len(estimators), plan)
    trained = train_models(
        lambda index: estimators[index].build(),
        datasets,
        estimators[0].training_config(),
        device=estimators[0].device,
        plan=plan,
    )
    for estimator, each in zip(estimators, trained, strict=True):
        model = estimator.build()
        model.load_state_dict(each.weights)
        estimator.finish(model, each.result)


def _mean_attention(model: Any, tokens: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Return the attention between electrodes, mean over windows, layers and heads."""
    import torch

    from physioemo.models.prediction import model_device

    device = model_device(model)
    total = np.zeros((tokens.shape[1], tokens.shape[1]))
    with torch.no_grad():
        for start in range(0, len(tokens), _WINDOWS_AT_ONCE):
            part = slice(start, start + _WINDOWS_AT_ONCE)
            values = torch.tensor(tokens[part], dtype=torch.float32, device=device)
            usable = torch.tensor(mask[part], device=device)
            _, attention = model(values, usable, return_attention=True)
            of_windows = attention.mean(dim=(1, 2)) * usable[:, :, None]
            total += of_windows.sum(dim=0).double().cpu().numpy()
    with np.errstate(invalid="ignore"):
        return total / mask.sum(axis=0)[:, None]
