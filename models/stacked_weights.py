"""The weights of many models of one architecture as one array, and their random numbers.

Every random number that a model sees in training is an argument of its step: dropout layers are
replaced by multiplication with factors drawn beforehand, from each model's own generator, in the
order in which the model alone would have drawn them.
"""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from physioemo.errors import CallError
from physioemo.models.prediction import call_model
from physioemo.models.training import TrainingConfig

__all__ = ["Architecture", "State", "draw_noise"]

DropoutCall = tuple[str, float, tuple[int, ...]]  # layer, probability, shape


class GivenDropout(nn.Module):
    """Dropout whose factors, 0 or ``1 / (1 - p)``, are given."""

    factor: Tensor

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p
        self.register_buffer("factor", torch.ones(()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Multiply while training, pass on otherwise."""
        return x * self.factor if self.training else x


@dataclass
class State:
    """What a step changes, for each model a row: weights and AdamW's two moments."""

    weights: Tensor  # (model, parameter)
    first: Tensor
    second: Tensor

    @classmethod
    def empty(cls, n_models: int, n_parameters: int, device: torch.device) -> "State":
        """Return zeros for some models."""
        zeros = (torch.zeros(n_models, n_parameters, device=device) for _ in range(3))
        return cls(*zeros)

    def take(self, rows: Tensor) -> "State":
        """Return the state of some models."""
        return State(self.weights[rows], self.first[rows], self.second[rows])


class Architecture:
    """A model without its weights.

    Parameters
    ----------
    model : nn.Module
        Any model of the family; it is copied.

    Raises
    ------
    CallError
        If the model keeps statistics between batches, as batch normalisation does: padding
        would enter them.
    """

    def __init__(self, model: nn.Module) -> None:
        buffers = [name for name, _ in model.named_buffers()]
        if buffers:
            raise CallError(
                f"found buffers in the model ({', '.join(buffers[:3])}), expected weights alone; "
                "train such models one by one with train_model"
            )
        self.names = [name for name, _ in model.named_parameters()]
        self.shapes = [p.shape for p in model.parameters()]
        self.sizes = [p.numel() for p in model.parameters()]
        self.training = _with_given_dropout(copy.deepcopy(model)).train()
        self.evaluation = copy.deepcopy(self.training).eval()
        self._dropout_calls: dict[tuple[torch.Size, bool], list[DropoutCall]] = {}

    @property
    def n_parameters(self) -> int:
        """Number of weights of one model."""
        return sum(self.sizes)

    def flatten(self, model: nn.Module) -> Tensor:
        """Return a model's weights as one row."""
        found = [(name, p.shape) for name, p in model.named_parameters()]
        if found != list(zip(self.names, self.shapes, strict=True)):
            raise CallError(
                "found models whose weights differ in name or shape, expected one architecture; "
                "train each architecture by its own call"
            )
        return torch.cat([p.detach().reshape(-1) for p in model.parameters()])

    def unflatten(self, row: Tensor) -> dict[str, Tensor]:
        """Return a state dict of copies from one row."""
        parts = zip(self.names, row.split(self.sizes), self.shapes, strict=True)
        return {name: part.reshape(shape).clone() for name, part, shape in parts}

    def stacked(self, weights: Tensor) -> dict[str, Tensor]:
        """Return views ``(model, *shape)`` of ``(model, parameter)``."""
        parts = zip(self.names, weights.split(self.sizes, dim=1), self.shapes, strict=True)
        return {name: part.reshape(len(weights), *shape) for name, part, shape in parts}

    def dropout_calls(self, tokens: Tensor, mask: Tensor | None) -> list[DropoutCall]:
        """Return every dropout of a pass over one model's batch, in the order of drawing.

        Raises
        ------
        CallError
            If a layer is called twice.
        """
        key = (tokens.shape, mask is None)
        if key not in self._dropout_calls:
            self._dropout_calls[key] = self._recorded_calls(tokens, mask)
        return self._dropout_calls[key]

    def _recorded_calls(self, tokens: Tensor, mask: Tensor | None) -> list[DropoutCall]:
        calls: list[DropoutCall] = []
        layers = {n: m for n, m in self.training.named_modules() if isinstance(m, GivenDropout)}
        if not layers:
            return calls

        def note(name: str, layer: nn.Module, arguments: tuple[Tensor]) -> None:
            calls.append((name, layers[name].p, tuple(arguments[0].shape)))

        hooks = [m.register_forward_pre_hook(partial(note, n)) for n, m in layers.items()]
        try:
            with torch.no_grad():
                call_model(self.training, tokens, mask)
        finally:
            for hook in hooks:
                hook.remove()
        if len({name for name, *_ in calls}) < len(calls):
            raise CallError(
                "found a dropout layer that is called twice in one pass, expected each once; "
                "give every place its own layer"
            )
        return calls


def _with_given_dropout(model: nn.Module) -> nn.Module:
    for module in list(model.modules()):
        for name, child in list(module.named_children()):
            if type(child) is nn.Dropout:
                setattr(module, name, GivenDropout(child.p) if child.p else nn.Identity())
    return model


def draw_noise(
    architecture: Architecture,
    generators: Sequence[torch.Generator | None],
    example: Tensor,
    mask: Tensor | None,
    n_rows: Sequence[int],
    config: TrainingConfig,
) -> tuple[Tensor | None, dict[str, Tensor]]:
    """Draw what a step of ``train_model`` would draw, from each model's own generator.

    Parameters
    ----------
    architecture : Architecture
        Which dropout layers there are.
    generators : sequence of torch.Generator or None
        One per model. With a single one all models draw together from it.
    example : Tensor, shape (model, row, electrode, band)
        Tokens of the batch; only shape and device are used.
    mask : Tensor or None
        Electrode mask of the batch.
    n_rows : sequence of int
        Rows of each model that are no padding; 0 draws nothing.
    config : TrainingConfig
        Level of the token noise.

    Returns
    -------
    noise : Tensor, shape (model, row, electrode, band), or None
    factors : dict of Tensor, shape (model, row, ...)
        By the name of the buffer that they replace.
    """
    n_models, width = example.shape[:2]
    one_mask = None if mask is None else mask[0]
    calls = architecture.dropout_calls(example[0], one_mask)
    noise = torch.zeros_like(example) if config.token_noise else None
    factors = {f"{name}.factor": example.new_zeros(n_models, *shape) for name, _, shape in calls}
    if len(generators) == 1 and n_models > 1:
        generator = generators[0]
        if noise is not None:
            noise.normal_(0, config.token_noise, generator=generator)
        for name, p, _ in calls:
            factors[f"{name}.factor"].bernoulli_(1 - p, generator=generator).div_(1 - p)
        return noise, factors
    for k, generator in enumerate(generators):
        rows = n_rows[k]
        if not rows or (noise is None and not calls):
            continue
        if noise is not None:
            drawn = torch.randn(
                rows, *example.shape[2:], generator=generator, device=example.device
            )
            noise[k, :rows] = config.token_noise * drawn
        for name, p, shape in calls:
            part = example.new_empty(_rows_of(shape, width, rows))
            part.bernoulli_(1 - p, generator=generator)
            factors[f"{name}.factor"][k, : len(part)] = part.div_(1 - p)
    return noise, factors


def _rows_of(shape: tuple[int, ...], width: int, rows: int) -> tuple[int, ...]:
    if shape[0] != width:
        raise CallError(
            f"found dropout on an array of shape {shape}, expected windows first ({width}); "
            "train such models one by one with train_model"
        )
    return (rows, *shape[1:])
