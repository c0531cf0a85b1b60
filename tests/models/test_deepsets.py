"""The baselines know exactly what they are meant to know."""

import pytest
import torch

from physioemo.errors import CallError, SignalError
from physioemo.models.catalogue import build_model


def model(name="deepsets", **arguments):
    return build_model(name, "tiny", **{"n_chans": 5, "seed": 0} | arguments).eval()


def test_the_order_of_electrodes_with_their_identity_does_not_matter():
    tokens, order = torch.randn(7, 5, 4), torch.tensor([3, 0, 4, 1, 2])
    first, second = model(), model()
    with torch.no_grad():
        second.identity.copy_(first.identity[:, order])
    assert torch.allclose(first(tokens), second(tokens[:, order]), atol=1e-6)
    assert not torch.allclose(first(tokens), first(tokens[:, order]), atol=1e-3)


def test_electrodes_do_not_interact_before_the_mean():
    sets = model()
    tokens, other = torch.randn(2, 1, 5, 4, generator=torch.Generator().manual_seed(0)).unbind()
    mixed = tokens.clone()
    mixed[:, 2] = other[:, 2]
    said = [sets.each(sets.projection(x) + sets.identity) for x in (tokens, mixed)]
    unchanged = [0, 1, 3, 4]
    assert torch.equal(said[0][:, unchanged], said[1][:, unchanged])


def test_masked_electrodes_are_as_good_as_absent():
    whole, mask = model(), torch.ones(3, 5, dtype=torch.bool)
    mask[:, 1] = False
    tokens, kept = torch.randn(3, 5, 4), [0, 2, 3, 4]
    fewer = model(n_chans=4)
    weights = whole.state_dict() | {"identity": whole.identity[:, kept]}
    fewer.load_state_dict(weights)
    assert torch.allclose(whole(tokens, mask), fewer(tokens[:, kept]), atol=1e-6)


def test_the_perceptron_knows_a_missing_electrode_from_one_at_its_mean():
    flat, mask = model("mlp"), torch.ones(1, 5, dtype=torch.bool)
    mask[0, 2] = False
    tokens = torch.zeros(1, 5, 4)
    assert not torch.allclose(flat(tokens, mask), flat(tokens))


@pytest.mark.parametrize("name", ["deepsets", "mlp"])
def test_wrong_arguments_are_told(name):
    with pytest.raises(CallError, match="hidden_dim=0 is not a size: give a Python int"):
        model(name, hidden_dim=0)
    with pytest.raises(CallError, match="dropout=1 is not a probability"):
        model(name, dropout=1)
    with pytest.raises(CallError, match="dimensions=.*cannot name the outputs"):
        model(name, dimensions=["valence", "valence"])
    with pytest.raises(SignalError, match=r"tokens have shape \(2, 5, 3\), but this model takes"):
        model(name)(torch.zeros(2, 5, 3))
    with pytest.raises(SignalError, match=r"electrode_mask is torch.float32 of shape \(2, 5\)"):
        model(name)(torch.zeros(2, 5, 4), torch.zeros(2, 5))
