"""What a fused model takes, as tensors: rows of windows of several modalities at once."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from physioemo.errors import SignalError

__all__ = ["TensorInputs", "count_windows", "rows_of", "to_tensors"]

TensorInputs = dict[str, Any]
"""A tensor for each modality, or a dictionary of tensors by the encoder's argument names."""


def to_tensors(inputs: Mapping[str, Any], device: torch.device) -> TensorInputs:
    """Return the arrays of each modality as float32 tensors on a device."""

    def convert(value: Any) -> Tensor:
        return torch.as_tensor(np.asarray(value, np.float32), device=device)

    return {
        name: {k: convert(v) for k, v in given.items()}
        if isinstance(given, Mapping)
        else convert(given)
        for name, given in inputs.items()
    }


def count_windows(inputs: Mapping[str, Any]) -> int:
    """Return how many windows there are.

    Raises
    ------
    SignalError
        If there is no modality, or they have different numbers of windows.
    """
    first = {k: next(iter(v.values())) if isinstance(v, Mapping) else v for k, v in inputs.items()}
    lengths = {name: len(values) for name, values in first.items()}
    if len(set(lengths.values())) != 1:
        raise SignalError(f"found {lengths} windows, expected the same number of each modality")
    return next(iter(lengths.values()))


def rows_of(inputs: Mapping[str, Any], rows: Any) -> TensorInputs:
    """Return some windows of every modality; `rows` is a slice or an index."""
    return {
        name: {k: v[rows] for k, v in part.items()} if isinstance(part, Mapping) else part[rows]
        for name, part in inputs.items()
    }
