"""Networks of the model catalogue as estimators, one by one or many in one program."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.estimator_base import StudyClassifier
from physioemo.experiments.estimator_inputs import Scaler

__all__ = ["TokenClassifier", "fit_together"]


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
    n_epochs, batch_size, learning_rate, weight_decay, label_smoothing, patience, token_noise
        As in :class:`physioemo.models.training.TrainingConfig`.
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
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-3,
        label_smoothing: float = 0.12,
        patience: int = 15,
        token_noise: float = 0.0,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        self.model = model
        self.preset = preset
        self.flat = flat
        self.sizes = sizes
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.label_smoothing = label_smoothing
        self.patience = patience
        self.token_noise = token_noise
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

        n_tokens, n_features = self.token_shape_
        sizes = {"n_chans": n_tokens, "n_bands": n_features, "n_outputs": len(self.columns_)}
        model = build_model(
            self.model, self.preset, seed=self.seed, **{**(self.sizes or {}), **sizes}
        )
        return model.to(self.device)

    def training_data(
        self, values: np.ndarray, codes: np.ndarray, train: np.ndarray, chosen: np.ndarray
    ) -> Any:
        """Learn the scaler and return what the model is trained on."""
        from physioemo.models.batched_training import TrainingData

        if not len(chosen):
            raise CallError(
                "found no validation window of a class to train on, expected some; hold out "
                "trials of every class"
            )
        tokens = self._tokens(values)
        self.token_shape_ = tokens.shape[1:]
        self.scaler_ = Scaler.fit(tokens[train])
        scaled, mask = self._scaled(tokens)
        return TrainingData(
            scaled[train], codes[train], scaled[chosen], codes[chosen], mask[train], mask[chosen],
            seed=self.seed,
        )  # fmt: skip

    def finish(self, model: Any, result: Any) -> None:
        """Take a trained model."""
        self.model_, self.training_ = model.eval(), result

    def _fit(
        self, values: np.ndarray, codes: np.ndarray, train: np.ndarray, chosen: np.ndarray
    ) -> None:
        from physioemo.models.training import train_model

        data = self.training_data(values, codes, train, chosen)
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
        How many at a time; chosen by :func:`physioemo.models.training_plan.training_plan`.

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
