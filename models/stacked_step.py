"""One training step of many models of one architecture: stacked weights, stacked AdamW.

The weights of ``K`` models are one array ``(K, parameter)``; ``torch.func.vmap`` runs the
architecture over its rows, so that ``K`` small matrix products become one batched product.
"""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap

from physioemo.models.losses import weighted_cross_entropy
from physioemo.models.stacked_weights import Architecture, State
from physioemo.models.training import TrainingConfig, per_dimension

__all__ = ["Engine", "adamw_coefficients"]

FIRST_DECAY, SECOND_DECAY, EPSILON = 0.9, 0.999, 1e-8  # AdamW's defaults in torch


def adamw_coefficients(
    config: TrainingConfig, rate: float, n_steps: int, *, active: bool
) -> tuple[float, float, float, float, float]:
    """Return the five numbers of AdamW's next step of one model, in double precision.

    They are the shares of the new first and second moment, the factor of weight decay, the step
    size, and the root of the second bias correction (Loshchilov & Hutter 2019, arXiv
    1711.05101). A model that is not ``active`` stays exactly as it is.
    """
    if not active:
        return 0.0, 0.0, 1.0, 0.0, 1.0
    first_bias = 1 - FIRST_DECAY ** (n_steps + 1)
    second_root = (1 - SECOND_DECAY ** (n_steps + 1)) ** 0.5
    decay = 1 - rate * config.weight_decay
    return 1 - FIRST_DECAY, 1 - SECOND_DECAY, decay, rate / first_bias, second_root


class Engine:
    """The step and the evaluation of an architecture, compiled where asked and possible.

    Parameters
    ----------
    architecture : Architecture
        Which models.
    config : TrainingConfig
        Label smoothing is what counts here.
    compiled : bool
        Whether to compile. Where that fails (no C++ compiler, say) a warning tells why and the
        same numbers are computed without.
    cuda_graph : bool
        Whether to replay the step as one CUDA graph.
    bfloat16 : bool
        Whether matrix products of the training pass run in bfloat16: faster, other numbers.
    """

    def __init__(
        self,
        architecture: Architecture,
        config: TrainingConfig,
        *,
        compiled: bool = False,
        cuda_graph: bool = False,
        bfloat16: bool = False,
    ) -> None:
        self.architecture = architecture
        self.bfloat16 = bfloat16
        self.smoothing = config.label_smoothing
        self.fast = compiled or cuda_graph
        self._step: Callable[..., Any] = self._eager_step
        self._logits: Callable[..., Any] = self._eager_logits
        if compiled:
            # Without fullgraph a break would leave most of it uncompiled, and say nothing. The
            # compiler's cache is blind to the number of threads unless it is an option: code for
            # two threads, met by a process of one, takes five times as long.
            whole = partial(
                torch.compile,
                dynamic=False,
                fullgraph=True,
                options={"cpp.threads": torch.get_num_threads(), **_products_of_choice()},
            )
            rounding = "other roundings" if bfloat16 else "the same numbers"
            self._step = _guarded(whole(self._whole_step), self._step, rounding)
            self._logits = _guarded(whole(self._eager_logits), self._logits, rounding)
        if cuda_graph:
            self._step = _guarded(_Graphed(self._step), self._step, "the same numbers")

    def step(
        self,
        state: State,
        tokens: Tensor,
        mask: Tensor | None,
        labels: Tensor,
        class_weights: Tensor,
        coefficients: Tensor,
        factors: dict[str, Tensor],
    ) -> tuple[State, Tensor]:
        """Return the state after one step of every model, and the losses before it.

        Parameters
        ----------
        state : State
        tokens : Tensor, shape (model, row, electrode, band)
        mask : Tensor of bool, shape (model, row, electrode), or None
        labels : Tensor of int, shape (model, row, dimension)
            −1 is a missing rating; a padded row has no other.
        class_weights : Tensor, shape (model, dimension, class)
        coefficients : Tensor, shape (model, 5)
            From :func:`adamw_coefficients`.
        factors : dict of Tensor
            From :func:`draw_noise`.
        """
        batch = (tokens, mask, labels, class_weights, factors)
        *arrays, losses = self._step(state.weights, state.first, state.second, coefficients, *batch)
        return State(*arrays), losses

    @torch.no_grad()
    def logits(self, weights: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
        """Logits (model, row, dimension, class) without dropout."""
        return self._logits(weights, tokens, mask)

    def _losses(
        self,
        stacked: dict[str, Tensor],
        tokens: Tensor,
        mask: Tensor | None,
        labels: Tensor,
        class_weights: Tensor,
        factors: dict[str, Tensor],
    ) -> Tensor:
        def one(
            weights: dict[str, Tensor],
            given: dict[str, Tensor],
            x: Tensor,
            electrodes: Tensor | None,
        ) -> Tensor:
            with torch.autocast(x.device.type, torch.bfloat16, enabled=self.bfloat16):
                return _call(self.architecture.training, {**weights, **given}, x, electrodes)

        def loss(logits: Tensor, y: Tensor, w: Tensor) -> Tensor:
            return weighted_cross_entropy(logits, y, w, label_smoothing=self.smoothing)

        logits = _over_models(one, (stacked, factors, tokens, mask)).to(class_weights.dtype)
        return vmap(loss)(logits, labels, class_weights)

    def _eager_step(
        self, weights: Tensor, first: Tensor, second: Tensor, coefficients: Tensor, *batch: Any
    ) -> tuple[Tensor, ...]:
        stacked = {
            name: view.detach().requires_grad_()
            for name, view in self.architecture.stacked(weights).items()
        }
        with torch.enable_grad():
            losses = self._losses(stacked, *batch)
            gradients = torch.autograd.grad(losses.sum(), list(stacked.values()))
        with torch.no_grad():
            flat = torch.cat([g.reshape(len(weights), -1) for g in gradients], dim=1)
            return (*_adamw(weights, first, second, flat, coefficients), losses.detach())

    def _whole_step(
        self, weights: Tensor, first: Tensor, second: Tensor, coefficients: Tensor, *batch: Any
    ) -> tuple[Tensor, ...]:
        def total(stacked: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
            losses = self._losses(stacked, *batch)
            return losses.sum(), losses

        # One graph for the pass, the gradients and AdamW, so that the compiler fuses across.
        stacked = self.architecture.stacked(weights)
        gradients, (_, losses) = grad_and_value(total, has_aux=True)(stacked)
        parts = [gradients[name].reshape(len(weights), -1) for name in stacked]
        flat = torch.cat(parts, dim=1)
        return (*_adamw(weights, first, second, flat, coefficients), losses)

    def _eager_logits(self, weights: Tensor, tokens: Tensor, mask: Tensor | None) -> Tensor:
        def one(values: dict[str, Tensor], x: Tensor, electrodes: Tensor | None) -> Tensor:
            return _call(self.architecture.evaluation, values, x, electrodes)

        return _over_models(one, (self.architecture.stacked(weights), tokens, mask))


def _call(
    module: nn.Module, values: dict[str, Tensor], tokens: Tensor, mask: Tensor | None
) -> Tensor:
    arguments = (tokens,) if mask is None else (tokens, mask)
    return per_dimension(functional_call(module, values, arguments))


def _over_models(function: Callable[..., Tensor], arguments: tuple[Any, ...]) -> Tensor:
    if len(next(iter(arguments[0].values()))) == 1:  # a batch of one product is slower than none
        alone = torch.utils._pytree.tree_map(lambda a: None if a is None else a[0], arguments)
        return function(*alone).unsqueeze(0)
    in_dims = tuple(0 if isinstance(a, Tensor) or a else None for a in arguments)
    return vmap(function, in_dims=in_dims)(*arguments)


def _adamw(
    weights: Tensor, first: Tensor, second: Tensor, gradient: Tensor, coefficients: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    new_first, new_second, decay, step_size, root = coefficients.unsqueeze(-1).unbind(1)
    first = torch.lerp(first, gradient, new_first)
    second = second * (1 - new_second) + new_second * gradient * gradient
    return weights * decay - step_size * first / (second.sqrt() / root + EPSILON), first, second


def _guarded(
    fast: Callable[..., Any], plain: Callable[..., Any], rounding: str
) -> Callable[..., Any]:
    """Return ``fast``, or from its first failure on ``plain``."""
    chosen = fast

    def call(*arguments: Any) -> Any:
        nonlocal chosen
        if chosen is plain:
            return plain(*arguments)
        try:
            return chosen(*arguments)
        except Exception as error:  # a compiler fails in many ways of its own
            result = plain(*arguments)  # what is wrong with the data is raised here again
            reason = str(error).strip().split("\n")[0][:200]
            warnings.warn(
                f"training runs uncompiled, at {rounding}: {type(error).__name__} {reason}",
                RuntimeWarning,
                stacklevel=2,
            )
            chosen = plain
            return result

    return call


def _products_of_choice() -> dict[str, Any]:
    """Return the compiler's option for faster products, where this torch has such a thing."""
    try:
        from physioemo.models.matrix_products import ProductsPass  # loads the compiler
    except ImportError:  # its place is private: another version may have another
        return {}
    return {"post_grad_custom_post_pass": ProductsPass()}


class _Graphed:
    """A function of tensors, recorded once as a CUDA graph for each set of shapes."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        self.recorded: dict[Any, tuple[Any, list[Tensor], Any]] = {}

    def __call__(self, *arguments: Any) -> Any:
        tree = torch.utils._pytree
        leaves = tree.tree_leaves(arguments)
        shapes = tuple(getattr(leaf, "shape", None) for leaf in leaves)
        if shapes not in self.recorded:
            self.recorded[shapes] = self._record(arguments)
        graph, inputs, outputs = self.recorded[shapes]
        for mine, given in zip(inputs, leaves, strict=True):
            if mine is not None:
                mine.copy_(given)
        graph.replay()
        return tree.tree_map(torch.clone, outputs)

    def _record(self, arguments: Any) -> tuple[Any, list[Tensor], Any]:
        tree = torch.utils._pytree
        own = tree.tree_map(lambda a: a if a is None else a.clone(), arguments)
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(3):  # libraries allocate and compilers tune in the first calls
                self.function(*own)
        torch.cuda.current_stream().wait_stream(stream)
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            outputs = self.function(*own)
        return graph, tree.tree_leaves(own), outputs
