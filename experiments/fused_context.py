"""What the windows before say of this one: a context, or a bag of the newest windows.

Both read the features of the fused model, window by window, and say the classes in its place. The
state is an argument and a result; a gap begins a new one. A context that sees later windows is for
offline use: :func:`physioemo.models.temporal_context.require_causal` keeps it out of live sessions.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from physioemo.models.checkpoint import load_model, save_model

__all__ = [
    "GAP_HOPS",
    "FusedState",
    "RunningBag",
    "WindowContext",
    "load_context",
    "sequence_codes",
    "whole_bags",
    "window_features",
]

_BATCH_BAGS = 256
GAP_HOPS = 1.5
"""Windows that end further apart than this do not follow one another."""


class FusedState(NamedTuple):
    """What a decoder remembers of the windows so far.

    Parameters
    ----------
    segment : int
        The stretch without a gap to which they belong; of another nothing is remembered.
    context : object
        What the context keeps; None without one.
    """

    segment: int
    context: Any


@dataclass(frozen=True)
class WindowContext:
    """A model of the sequence of windows.

    Parameters
    ----------
    network : ContextModel
        In eval mode.
    n_windows : int
        Of the longest sequence in training; one that sees later windows sees so many at once.
    """

    network: Any
    n_windows: int

    @property
    def n_before(self) -> int:
        """How many windows before one it can see; of one that sees later ones none are led in."""
        return 0 if self.offline_only else int(self.network.context.field_windows) - 1

    @property
    def offline_only(self) -> bool:
        """Whether it sees later windows."""
        return bool(self.network.offline_only)

    def start(self) -> Any:
        """Return the state before the first window.

        Raises
        ------
        CallError
            If it sees later windows.
        """
        return self.network.start()

    def step(self, vector: np.ndarray, state: Any) -> tuple[np.ndarray, np.ndarray, Any]:
        """Return logits (1, dimension, class) and abstention (1,) of a window, and the state after.

        Parameters
        ----------
        vector : ndarray of float32, shape (feature,)
            NaN where the window is missing.
        state : object
            Of the window before, or :meth:`start`.
        """
        import torch

        said, state = self.network.step(torch.from_numpy(vector), state)
        return said.logits.numpy()[None], said.abstain.numpy()[None], state

    def batch(self, vectors: np.ndarray, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logits and abstention of all windows at once; within 1e-4 of the steps.

        Parameters
        ----------
        vectors : ndarray of float32, shape (window, feature)
            In order of time.
        sequences : ndarray of int, shape (window,)
            Windows of one number follow one another. For a context that sees later windows a
            sequence longer than those of training is cut.
        """
        import torch

        said, abstain = [], []
        with torch.no_grad():
            for rows in _stretches(sequences, self.n_windows if self.offline_only else None):
                found = self.network(torch.from_numpy(vectors[rows])[None])
                said.append(found.logits[0].numpy())
                abstain.append(found.abstain[0].numpy())
        return np.concatenate(said), np.concatenate(abstain)

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        save_model(folder, self.network, name="context")

    def to_dict(self) -> dict[str, Any]:
        """Return what stands in the decoder's JSON."""
        return {
            "kind": "context",
            "n_windows": self.n_windows,
            "offline_only": self.offline_only,
        }


@dataclass(frozen=True)
class RunningBag:
    """The newest windows as one bag, such as those that a rating of a whole trial was learned from.

    Parameters
    ----------
    network : MultipleInstance
        In eval mode.
    n_windows : int
        How many windows at most; those of a usual trial.
    """

    network: Any
    n_windows: int
    offline_only = False

    @property
    def n_before(self) -> int:
        """How many windows before one it can see."""
        return self.n_windows - 1

    def start(self) -> Any:
        """Return the state before the first window: no window."""
        import torch

        return torch.empty(0, self.network.config["in_dim"])

    def step(self, vector: np.ndarray, state: Any) -> tuple[np.ndarray, np.ndarray, Any]:
        """Return logits (1, dimension, class) and abstention (1,) of the bag, and the state after.

        Parameters
        ----------
        vector : ndarray of float32, shape (feature,)
            Of the newest window, NaN where it is missing.
        state : object
            Of the window before, or :meth:`start`.
        """
        import torch

        bag = torch.cat([state, torch.from_numpy(vector)[None]])[-self.n_windows :]
        with torch.no_grad():
            said = self.network(bag[None])
        return said.logits.numpy(), said.abstain.numpy(), bag

    def batch(self, vectors: np.ndarray, sequences: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return logits and abstention of the bag that each window ends; within 1e-4 of the steps.

        Parameters
        ----------
        vectors, sequences
            As in :meth:`WindowContext.batch`.
        """
        import torch

        nothing = np.full((self.n_windows - 1, vectors.shape[1]), np.nan, np.float32)
        said, abstain = [], []
        for rows in _stretches(sequences, None):
            known = np.concatenate([nothing, vectors[rows]])
            bags = np.lib.stride_tricks.sliding_window_view(known, self.n_windows, axis=0)
            bags = np.swapaxes(bags, 1, 2)  # (window, bag, feature)
            for k in range(0, len(bags), _BATCH_BAGS):
                with torch.no_grad():
                    found = self.network(torch.from_numpy(bags[k : k + _BATCH_BAGS].copy()))
                said.append(found.logits.numpy())
                abstain.append(found.abstain.numpy())
        return np.concatenate(said), np.concatenate(abstain)

    def save(self, folder: Path) -> None:
        """Write it into a folder."""
        save_model(folder, self.network, name="multiple-instance")

    def to_dict(self) -> dict[str, Any]:
        """Return what stands in the decoder's JSON."""
        return {"kind": "bag", "n_windows": self.n_windows}


def load_context(content: Mapping[str, Any], folder: Path) -> WindowContext | RunningBag:
    """Return what `save` wrote into a folder.

    Parameters
    ----------
    content : mapping
        What `to_dict` gave.
    folder : Path
        Of its weights.

    Raises
    ------
    CheckpointError
        If the weights are missing, damaged or changed.
    ValueError
        If the content is of another kind.
    """
    network, _ = load_model(folder)
    found: WindowContext | RunningBag
    if content["kind"] == "bag":
        found = RunningBag(network, int(content["n_windows"]))
    else:
        found = WindowContext(network, int(content["n_windows"]))
    if found.to_dict() != dict(content):
        raise ValueError(f"a context of another kind ({dict(content)})")
    return found


def whole_bags(
    network: Any, vectors: np.ndarray, sequences: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return of each window what all windows of its sequence say together, later ones too.

    Parameters
    ----------
    network : MultipleInstance
        In eval mode.
    vectors, sequences
        As in :meth:`WindowContext.batch`.

    Returns
    -------
    logits, abstain
        The same for all windows of a sequence.
    """
    import torch

    said, abstain = [], []
    with torch.no_grad():
        for rows in _stretches(sequences, None):
            found = network(torch.from_numpy(vectors[rows])[None])
            n = len(vectors[rows])
            said.append(found.logits.repeat(n, 1, 1).numpy())
            abstain.append(found.abstain.repeat(n).numpy())
    return np.concatenate(said), np.concatenate(abstain)


def window_features(found: Any) -> np.ndarray:
    """Return what a context reads of windows: their features side by side, NaN where nothing was.

    Parameters
    ----------
    found : physioemo.models.fused_training.FusedOutputs
        What a fused model says.
    """
    flat = found.features.reshape(len(found.features), -1)
    return np.where(found.abstain[:, None], np.float32(np.nan), flat)


def sequence_codes(
    names: np.ndarray, stop_seconds: np.ndarray | None, hop_seconds: float
) -> np.ndarray:
    """Return a number for the stretch of windows to which each belongs, shape (window,).

    Parameters
    ----------
    names : ndarray, shape (window,)
        Of the trial; windows of one stand together, in order of time.
    stop_seconds : ndarray, shape (window,), optional
        When each ends; a gap begins a new stretch.
    hop_seconds : float
        From window to window.
    """
    new = np.r_[False, names[1:] != names[:-1]] if len(names) else np.empty(0, bool)
    if stop_seconds is not None and len(names):
        new |= np.r_[False, np.abs(np.diff(stop_seconds)) > GAP_HOPS * hop_seconds]
    return np.cumsum(new)


def _stretches(sequences: np.ndarray, most: int | None) -> list[slice]:
    """Return where equal numbers stand side by side, in pieces of at most so many."""
    edges = np.flatnonzero(np.diff(sequences)) + 1
    bounds = [0, *edges.tolist(), len(sequences)]
    found = []
    for start, stop in pairwise(bounds):
        step = most or max(stop - start, 1)
        found += [slice(k, min(k + step, stop)) for k in range(start, stop, step)]
    return found
