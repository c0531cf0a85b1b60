"""Matrix products of a compiled step on a CPU, each by the library that is fast at its shape.

PyTorch gives products in float32 to Intel's MKL. On processors of other makers that is half as
fast as oneDNN, which PyTorch also brings, and everywhere it is slow where the result is a few
columns wide, as ``attention @ values`` is with small heads. A pass over the compiler's graph puts
the other product there: the same sums, rounded elsewhere.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor, fx
from torch._inductor.custom_graph_pass import CustomGraphPass, get_hash_for_files

__all__ = ["ProductsPass"]

_NARROW_COLUMNS = 8
_LEAST_PRODUCTS = 2**20  # multiplications; below, a call costs more than it wins


class ProductsPass(CustomGraphPass):
    """Rewrite the products of a graph; an option of the compiler (``post_grad_custom_post_pass``).

    Other types than float32 and other devices than the CPU are left as they are.
    """

    def __call__(self, graph: fx.Graph) -> None:
        """Change ``graph`` in place."""
        for target, rewrite in _rewrites().items():
            for node in graph.find_nodes(op="call_function", target=target):
                with graph.inserting_before(node):
                    other = rewrite(graph, node)
                if other is not None:
                    node.replace_all_uses_with(other)
                    graph.erase_node(node)

    def uuid(self) -> Any:
        """Return what the compiler's cache tells versions apart by."""
        return get_hash_for_files((__file__,), extra=str(_has_onednn()))


def _rewrites() -> dict[Any, Callable[[fx.Graph, fx.Node], fx.Node | None]]:
    aten = torch.ops.aten
    rewrites: dict[Any, Callable[[fx.Graph, fx.Node], fx.Node | None]]
    rewrites = {aten.bmm.default: _narrow_last}
    if _has_onednn():
        rewrites |= {aten.mm.default: _by_onednn, aten.addmm.default: _affine_by_onednn}
    return rewrites


def _narrow_last(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    """Turn ``A @ B`` of few columns into ``(Bᵀ @ Aᵀ)ᵀ`` of few rows."""
    left, right = node.args
    n_rows, n_columns = _value(node).shape[1:]
    if not _is_ours(node) or not n_columns <= _NARROW_COLUMNS < n_rows:
        return None
    product = _call(graph, node.target, _turned(graph, right), _turned(graph, left))
    return _turned(graph, product)


def _by_onednn(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    left, right = node.args
    n_rows, n_columns = _value(node).shape
    if not _is_ours(node) or not _is_worth_a_call(left, n_columns):
        return None
    linear = torch.ops.physioemo.linear.default
    # oneDNN copies the first argument unless its rows are contiguous: of two the smaller.
    if not _value(left).is_contiguous() and n_columns < n_rows:
        return _turned(graph, _call(graph, linear, _turned(graph, right), left, None))
    return _call(graph, linear, left, _turned(graph, right), None)


def _affine_by_onednn(graph: fx.Graph, node: fx.Node) -> fx.Node | None:
    bias, left, right = node.args
    if not _is_ours(node) or node.kwargs or _value(bias).ndim != 1:
        return None
    if not _is_worth_a_call(left, _value(node).shape[1]):
        return None
    return _call(graph, torch.ops.physioemo.linear.default, left, _turned(graph, right), bias)


def _is_worth_a_call(left: Any, n_columns: int) -> bool:
    return _value(left).numel() * n_columns >= _LEAST_PRODUCTS


def _is_ours(node: fx.Node) -> bool:
    value = _value(node)
    return value.dtype == torch.float32 and value.device.type == "cpu"


def _value(node: Any) -> Tensor:
    value: Tensor = node.meta["val"]
    return value


def _turned(graph: fx.Graph, node: Any) -> fx.Node:
    axes = list(range(_value(node).ndim))
    axes[-2:] = axes[:-3:-1]
    return _call(graph, torch.ops.aten.permute.default, node, axes)


def _call(graph: fx.Graph, target: Any, *arguments: Any) -> fx.Node:
    node = graph.call_function(target, arguments)
    node.meta["val"] = target(*(a.meta["val"] if isinstance(a, fx.Node) else a for a in arguments))
    return node


@cache
def _has_onednn() -> bool:
    """Tell whether oneDNN is there, and make its product known to the compiler."""
    if not torch.backends.mkldnn.is_available() or not hasattr(
        torch.ops.mkldnn, "_linear_pointwise"
    ):
        return False
    torch.library.define(
        "physioemo::linear", "(Tensor rows, Tensor weights, Tensor? bias) -> Tensor"
    )
    torch.library.impl("physioemo::linear", "CPU", _linear)
    torch.library.register_fake("physioemo::linear", _empty_result)
    return True


def _linear(rows: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
    """Return ``rows @ weights.T + bias``."""
    product: Tensor = torch.ops.mkldnn._linear_pointwise(rows, weights, bias, "none", [], "")
    return product


def _empty_result(rows: Tensor, weights: Tensor, bias: Tensor | None) -> Tensor:
    return rows.new_empty(len(rows), len(weights))
