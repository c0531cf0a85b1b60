"""The table of models: a new one is a file and a row here, and the tests find it.

A catalogue model is an ``nn.Module`` whose keyword-only constructor takes at least ``n_chans``,
``n_bands``, ``n_outputs`` and ``dimensions``; it has ``config`` (its arguments, JSON-able) and
``forward(tokens, electrode_mask=None)`` to ``(batch, class)`` or ``(batch, dimension, class)``.
Its module has ``PRESETS``. Nothing is imported before a model is asked for.
"""

import inspect
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from physioemo.errors import CallError
from physioemo.hints import unknown_name

if TYPE_CHECKING:
    from torch import nn

__all__ = ["MODELS", "SAVED", "ModelRow", "build_model", "find_model", "find_saved"]


@dataclass(frozen=True)
class ModelRow:
    """One row of the table: where a model lives and what it is."""

    module: str
    class_name: str
    description: str
    presets: tuple[str, ...]

    def load_class(self) -> "type[nn.Module]":
        """Import the model's module and return its class."""
        return getattr(import_module(self.module), self.class_name)

    def load_presets(self) -> dict[str, dict[str, Any]]:
        """Import the model's module and return its presets by name."""
        return import_module(self.module).PRESETS


MODELS: dict[str, ModelRow] = {
    "intercortical": ModelRow(
        module="physioemo.models.intercortical",
        class_name="InterCorticalTransformer",
        description="Attention between electrodes over band entropies (arXiv 2511.13954).",
        presets=("published", "tiny"),
    ),
    "deepsets": ModelRow(
        module="physioemo.models.deepsets",
        class_name="DeepSets",
        description="Each electrode alone, then their mean (arXiv 1703.06114): no interaction.",
        presets=("default", "tiny"),
    ),
    "mlp": ModelRow(
        module="physioemo.models.mlp",
        class_name="FlatPerceptron",
        description="A perceptron on all electrodes side by side: no structure.",
        presets=("default", "tiny"),
    ),
}

SAVED: dict[str, ModelRow] = {
    **MODELS,
    "fused": ModelRow(
        module="physioemo.models.fused",
        class_name="FusedModel",
        description="One encoder per modality and a fusion of their tokens.",
        presets=(),
    ),
    "context": ModelRow(
        module="physioemo.models.temporal_context",
        class_name="ContextModel",
        description="Windows of a session with those before them.",
        presets=(),
    ),
    "multiple-instance": ModelRow(
        module="physioemo.models.multiple_instance",
        class_name="MultipleInstance",
        description="One rating for a trial of many windows.",
        presets=(),
    ),
}
"""Every model that a folder can hold: those of the table and those of several modalities."""


def find_saved(name: str) -> ModelRow:
    """Row of a model that a folder can hold.

    Raises
    ------
    CallError
        If there is no such model; the message names the nearest one.
    """
    if name not in SAVED:
        raise unknown_name("the model", name, SAVED)
    return SAVED[name]


def find_model(name: str) -> ModelRow:
    """Row of a model by its name.

    Raises
    ------
    CallError
        If there is no such model; the message names the nearest one.
    """
    if name not in MODELS:
        raise unknown_name("the model", name, MODELS)
    return MODELS[name]


def build_model(
    name: str, preset: str = "published", *, seed: int | None = None, **arguments: Any
) -> "nn.Module":
    """Build an untrained model of the catalogue.

    Parameters
    ----------
    name : str
        Name in ``MODELS``.
    preset : str
        Named set of sizes.
    seed : int, optional
        Seed of the initial weights; the global random state is then left as it was.
    **arguments
        Arguments of the model's constructor; they win over the preset.

    Returns
    -------
    nn.Module
        In training mode, on the CPU.

    Raises
    ------
    CallError
        If the model, the preset or an argument does not exist, or one is missing.
    """
    row = find_model(name)
    presets = row.load_presets()
    if preset not in presets:
        raise unknown_name("the preset", preset, presets, of=name)
    complete = {**presets[preset], **arguments}
    model_class = row.load_class()
    _check_arguments(name, model_class, complete)
    return model_class(**complete) if seed is None else _build_seeded(model_class, complete, seed)


def _build_seeded(
    model_class: "type[nn.Module]", arguments: dict[str, Any], seed: int
) -> "nn.Module":
    import torch  # the table itself must load without torch

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return model_class(**arguments)


def _check_arguments(name: str, model_class: "type[nn.Module]", arguments: dict[str, Any]) -> None:
    parameters = inspect.signature(model_class).parameters
    for argument in arguments:
        if argument not in parameters:
            raise unknown_name("the argument", argument, parameters, of=name)
    needed = [key for key, p in parameters.items() if p.default is p.empty]
    missing = [key for key in needed if key not in arguments]
    if missing:
        raise CallError(
            f"model {name!r} cannot be built without {', '.join(missing)}: "
            f"give {'it' if len(missing) == 1 else 'them'} by name."
        )
