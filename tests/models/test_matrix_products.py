"""Products that the compiler is told to compute otherwise are the same products."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from physioemo.models import matrix_products
from physioemo.models.matrix_products import ProductsPass
from physioemo.models.stacked_step import Engine
from physioemo.models.stacked_weights import Architecture
from physioemo.models.training import TrainingConfig
from tests.models.test_batched_training import builder


def rewritten(function, *arguments):
    module = make_fx(function, tracing_mode="fake")(*arguments)
    ProductsPass()(module.graph)
    module.recompile()
    return module


def targets(module):
    return [str(node.target) for node in module.graph.nodes if node.op == "call_function"]


def normal(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (torch.mm, [(512, 32), (32, 96)]),
        (lambda a, b: torch.mm(a.t(), b), [(2048, 32), (2048, 96)]),
        (lambda a, b: torch.mm(a.t(), b), [(2048, 96), (2048, 32)]),
        (lambda a, b: torch.mm(a, b.t()), [(512, 96), (32, 96)]),
        (lambda b, a, c: torch.addmm(b, a, c), [(96,), (512, 32), (32, 96)]),
    ],
)
def test_large_products_are_onednns_and_the_same(function, shapes):
    arguments = [normal(*shape) for shape in shapes]
    module = rewritten(function, *arguments)
    by_onednn = "physioemo.linear.default" in targets(module)
    assert by_onednn == torch.backends.mkldnn.is_available()
    assert by_onednn != bool({"aten.mm.default", "aten.addmm.default"} & set(targets(module)))
    torch.testing.assert_close(module(*arguments), function(*arguments), rtol=0, atol=2e-3)
    double = function(*(a.double() for a in arguments))
    error = (module(*arguments) - double).abs().max()
    assert error <= 2 * (function(*arguments) - double).abs().max() + 1e-6


def test_a_narrow_product_is_turned():
    values, attention = normal(6, 32, 8), normal(6, 32, 32)
    module = rewritten(torch.bmm, attention, values)
    product = next(n for n in module.graph.nodes if str(n.target) == "aten.bmm.default")
    assert product.meta["val"].shape == (6, 8, 32)
    expected = torch.bmm(attention, values)
    torch.testing.assert_close(module(attention, values), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("function", "arguments"),
    [
        (torch.mm, [normal(4, 4), normal(4, 4)]),  # too small
        (torch.mm, [normal(512, 64).double(), normal(64, 64).double()]),
        (torch.mm, [normal(512, 64).bfloat16(), normal(64, 64).bfloat16()]),
        (torch.bmm, [normal(6, 32, 32), normal(6, 32, 16)]),  # wide
        (torch.bmm, [normal(6, 32, 32).bfloat16(), normal(6, 32, 8).bfloat16()]),
        (
            lambda b, a, c: torch.addmm(b, a, c, beta=2),
            [normal(96), normal(512, 32), normal(32, 96)],
        ),
    ],
)  # fmt: skip
def test_what_gains_nothing_or_is_another_thing_is_left(function, arguments):
    plain = make_fx(function, tracing_mode="fake")(*arguments)
    assert targets(rewritten(function, *arguments)) == targets(plain)


def test_without_onednn_its_products_stay(monkeypatch):
    monkeypatch.setattr(matrix_products, "_has_onednn", lambda: False)
    module = rewritten(torch.mm, normal(512, 32), normal(32, 96))
    assert targets(module) == ["aten.mm.default"]


def test_a_compiled_step_is_told_of_them(monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "compile", lambda function, **more: seen.append(more["options"]))
    Engine(Architecture(builder("mlp")(0)), TrainingConfig(), compiled=True)
    assert [type(each["post_grad_custom_post_pass"]) for each in seen] == [ProductsPass] * 2


@pytest.mark.slow
def test_the_compiler_takes_them():
    def block(rows, weights, bias, attention):
        linear = torch.addmm(bias, rows, weights.t()).relu()
        return torch.bmm(attention, linear[:192, :8].reshape(6, 32, 8)), linear.t() @ rows

    arguments = (normal(2048, 32), normal(96, 32), normal(96), normal(6, 32, 32))
    options = {"post_grad_custom_post_pass": ProductsPass()}
    fast = torch.compile(block, fullgraph=True, options=options)
    fast(*arguments)
    with torch.profiler.profile(acc_events=True) as profile:
        results = fast(*arguments)
    n_calls = sum(e.count for e in profile.key_averages() if e.key == "physioemo::linear")
    assert n_calls == (2 if torch.backends.mkldnn.is_available() else 0)
    torch.testing.assert_close(results, block(*arguments), rtol=0, atol=1e-2)
