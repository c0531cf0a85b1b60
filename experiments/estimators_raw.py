"""braindecode's networks on raw windows, trained by skorch.

Each channel is scaled by its own mean and standard deviation over the training windows; missing
samples and masked channels take the training mean, zero. Weights come from a local file or not at
all: nothing is ever downloaded.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import CallError, CheckpointError
from physioemo.experiments.estimator_base import StudyClassifier
from physioemo.experiments.estimator_inputs import Scaler

__all__ = ["RawClassifier"]


class RawClassifier(StudyClassifier):
    """One of braindecode's models, classes weighted equally, with early stopping.

    Parameters
    ----------
    model : str
        Name of a class in ``braindecode.models``.
    sizes : mapping, optional
        Arguments of its constructor.
    weights : str or Path, optional
        A local ``.safetensors`` file to start from; its last layer may be of another size and is
        then learned anew.
    sfreq : float, optional
        Sampling rate in Hz, for the models that ask for it.
    channels : sequence of str, optional
        Names of the channels, for the models that know electrodes by name, as LaBraM does.
    n_epochs, batch_size, learning_rate, weight_decay, patience
        As in :class:`physioemo.models.training.TrainingConfig`.
    device : str
        Where to train.
    seed : int
        Seed of weights, shuffles and dropout.
    """

    n_axes = (3,)

    def __init__(
        self,
        model: str = "EEGNet",
        sizes: Mapping[str, Any] | None = None,
        weights: str | Path | None = None,
        sfreq: float | None = None,
        channels: Sequence[str] | None = None,
        n_epochs: int = 100,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-3,
        patience: int = 20,
        device: str = "cpu",
        seed: int = 0,
    ) -> None:
        self.model = model
        self.sizes = sizes
        self.weights = weights
        self.sfreq = sfreq
        self.channels = channels
        self.n_epochs = n_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.patience = patience
        self.device = device
        self.seed = seed

    def _fit(
        self, values: np.ndarray, codes: np.ndarray, train: np.ndarray, chosen: np.ndarray
    ) -> None:
        if not len(chosen):
            raise CallError(
                "found no validation window of a class to train on, expected some; hold out "
                "trials of every class"
            )
        self.scaler_ = Scaler.fit(values[train], axes=(0, 2))
        signals = self._signals(values)
        with _seeded(self.seed):
            self.net_ = self._net(codes[train], (signals[chosen], codes[chosen]))
            self.net_.fit(signals[train], codes[train])

    def _probabilities(self, values: np.ndarray) -> np.ndarray:
        from scipy.special import softmax

        with _seeded(self.seed):  # a loader draws a seed even where nothing is random
            logits = self.net_.forward(self._signals(values)).numpy(force=True)
        return softmax(logits.astype(np.float64), axis=1)

    def take_weights(self, tensors: Mapping[str, Any]) -> None:
        """Take the weights of a network that was kept, for the shapes that ``fit`` has seen.

        Parameters
        ----------
        tensors : mapping of str to Tensor
            The network's state dict.
        """
        n_classes = len(self.columns_)
        example = np.zeros((n_classes, *self.feature_shape_), np.float32)
        weights, self.weights = self.weights, None
        try:
            with _seeded(self.seed):
                net = self._net(np.arange(n_classes), (example, np.arange(n_classes)))
                net.initialize()
        finally:
            self.weights = weights
        net.module_.load_state_dict(dict(tensors))
        self.net_ = net

    def _signals(self, values: np.ndarray) -> np.ndarray:
        return np.nan_to_num(self.scaler_.apply(values)).astype(np.float32)

    def _net(self, codes: np.ndarray, validation: tuple[np.ndarray, np.ndarray]) -> Any:
        import torch
        from skorch import NeuralNetClassifier
        from skorch.callbacks import EarlyStopping
        from skorch.dataset import Dataset
        from skorch.helper import predefined_split

        n_classes = len(self.columns_)
        share = len(codes) / (n_classes * np.bincount(codes, minlength=n_classes))
        return NeuralNetClassifier(
            self._module(),
            criterion=torch.nn.CrossEntropyLoss,
            criterion__weight=torch.tensor(share, dtype=torch.float32),
            optimizer=torch.optim.AdamW,
            optimizer__weight_decay=self.weight_decay,
            lr=self.learning_rate,
            max_epochs=self.n_epochs,
            batch_size=self.batch_size,
            iterator_train__shuffle=True,
            train_split=predefined_split(Dataset(*validation)),
            classes=list(range(n_classes)),
            callbacks=[EarlyStopping(patience=self.patience, load_best=True, sink=_silent)],
            device=self.device,
            verbose=0,
        )

    def _module(self) -> Any:
        import braindecode.models

        model_class = getattr(braindecode.models, self.model, None)
        if model_class is None:
            raise CallError(
                f"found no model {self.model!r} in braindecode, expected one of its classes such "
                "as 'EEGNet'; mind upper and lower case"
            )
        n_chans, n_times = self.feature_shape_
        shape = {"n_chans": n_chans, "n_times": n_times, "n_outputs": len(self.columns_)}
        if self.sfreq is not None:
            shape["sfreq"] = self.sfreq
        try:
            module = model_class(**{**(self.sizes or {}), **shape})
        except (ValueError, RuntimeError, TypeError, AssertionError) as error:
            told = str(error).strip().split("\n")[0]
            raise CallError(
                f"found windows of {n_chans} channels and {n_times} samples from which "
                f"{self.model} cannot be built ({told}), expected longer ones or other sizes; "
                "change the window"
            ) from error
        if self.weights is not None:
            _load(module, Path(self.weights))
        if "ch_names" in signature(module.forward).parameters:
            module.forward = partial(module.forward, ch_names=self._names(n_chans))
        return module

    def _names(self, n_channels: int) -> list[str]:
        if self.channels is None or len(self.channels) != n_channels:
            found = "no" if self.channels is None else str(len(self.channels))
            raise CallError(
                f"found {found} channel names for {n_channels} channels, expected one each for "
                f"{self.model}; give channels="
            )
        return [str(name) for name in self.channels]


def _load(module: Any, path: Path) -> None:
    """Start from local weights; only the last layer may differ."""
    from safetensors import SafetensorError
    from safetensors.torch import load

    try:
        tensors = load(path.read_bytes())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(
            f"found no readable weights at {path} ({error}), expected a local safetensors file; "
            "convert others with safetensors"
        ) from error
    own = module.state_dict()
    last = list(own)[-1].split(".")[0]
    wrong = [
        name
        for name in {*own, *tensors}
        if name.split(".")[0] != last
        and (name not in own or name not in tensors or own[name].shape != tensors[name].shape)
    ]
    if wrong:
        raise CheckpointError(
            f"found weights in {path} that do not fit {type(module).__name__} at "
            f"{', '.join(sorted(wrong)[:3])}, expected the same architecture; give its own weights"
        )
    fitting = {n: t for n, t in tensors.items() if n in own and own[n].shape == t.shape}
    module.load_state_dict(own | fitting)


def _silent(*_: Any, **__: Any) -> None:
    """Take what skorch would print."""


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
