"""Concordance, likelihoods and ordered classes against known answers."""

import numpy as np
import pytest
import torch
from scipy.stats import norm

from physioemo.errors import CallError, SignalError
from physioemo.experiments.metrics import concordance as metric
from physioemo.models.affect_heads import GaussianHead, JointHead, OrdinalHead
from physioemo.models.affect_losses import (
    concordance,
    concordance_loss,
    gaussian_loss,
    ordinal_loss,
    ordinal_probabilities,
)


def draw(rho, n=200_000, seed=None):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    y = rho * x + np.sqrt(1 - rho**2) * rng.standard_normal(n)
    return torch.tensor(x)[:, None], torch.tensor(y)[:, None]


def test_variances_divide_by_n():
    # torchmetrics' documented example with ddof=0: .9768, not .9777 as with n − 1.
    p = torch.tensor([[3.0], [-0.5], [2.0], [7.0]], dtype=torch.float64)[:, :1]
    t = torch.tensor([[2.5], [0.0], [2.0], [8.0]], dtype=torch.float64)
    assert float(concordance(t, p)[0]) == pytest.approx(0.9768, abs=1e-4)


@pytest.mark.parametrize("rho", [0.3, 0.5, 0.8])
def test_the_best_model_by_squares_and_by_concordance_differ_as_they_must(rho):
    x, y = draw(rho)
    assert float(concordance(rho * x, y)[0]) == pytest.approx(2 * rho**2 / (1 + rho**2), abs=0.01)
    assert float(concordance(x, y)[0]) == pytest.approx(rho, abs=0.01)
    slope = torch.tensor(0.1, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.Adam([slope], lr=0.05)
    for _ in range(300):
        optimiser.zero_grad()
        concordance_loss(slope * x[:20_000], y[:20_000]).backward()
        optimiser.step()
    assert slope.item() == pytest.approx(1.0, abs=0.05)
    assert float(concordance(slope.detach() * x, y)[0]) == pytest.approx(rho, abs=0.01)


def test_loss_and_metric_are_one_definition(rng):
    p, t = rng.normal(size=(2, 500))
    found = concordance(torch.tensor(p)[:, None], torch.tensor(t)[:, None])
    assert float(found[0]) == pytest.approx(float(metric(t, p)), abs=1e-12)


def test_missing_ratings_change_nothing(rng):
    p, t = torch.tensor(rng.normal(size=(2, 100, 2)))
    holes = t.clone()
    holes[50:, 0] = torch.nan
    assert concordance(p, holes)[0] == pytest.approx(float(concordance(p[:50], t[:50])[0]))
    assert concordance(p, holes)[1] == concordance(p, t)[1]
    nothing = torch.full_like(t, torch.nan)
    assert concordance_loss(p, nothing) == 0 and concordance(p, nothing).tolist() == [0, 0]


def test_a_constant_prediction_has_a_finite_gradient():
    p = torch.zeros(10, 1, requires_grad=True)
    concordance_loss(p, torch.randn(10, 1)).backward()
    assert torch.isfinite(p.grad).all()


def test_shapes_must_agree():
    with pytest.raises(SignalError, match=r"shape \(5, 1\) for ratings of shape \(5, 2\)"):
        concordance(torch.zeros(5, 1), torch.zeros(5, 2))


def test_the_normal_likelihood_is_scipys(rng):
    mean, log_sd, target = torch.tensor(rng.normal(size=(3, 40, 2)))
    expected = -norm.logpdf(target, mean, log_sd.exp()).mean()
    assert float(gaussian_loss(mean, log_sd, target)) == pytest.approx(expected, rel=1e-12)
    target[3, 1] = torch.nan
    kept = np.isfinite(target.numpy())
    expected = -norm.logpdf(target, mean, log_sd.exp())[kept].mean()
    assert float(gaussian_loss(mean, log_sd, target)) == pytest.approx(expected, rel=1e-12)


def test_ordered_classes_have_the_probabilities_of_the_logistic_distribution(rng):
    score = torch.tensor(rng.normal(size=(20, 1)))
    thresholds = torch.tensor([[-1.0, 0.5, 2.0]])
    edges = torch.sigmoid(thresholds - score)
    expected = torch.diff(edges, prepend=torch.zeros(20, 1), append=torch.ones(20, 1))
    found = ordinal_probabilities(score, thresholds)[:, 0]
    assert torch.allclose(found, expected, atol=1e-12)
    labels = torch.tensor(rng.integers(0, 4, size=(20, 1)))
    labels[3] = -1
    chosen = expected.gather(1, labels.clamp(min=0)).log()[labels[:, 0] >= 0]
    assert float(ordinal_loss(score, thresholds, labels)) == pytest.approx(-float(chosen.mean()))


def test_far_scores_stay_finite():
    score = torch.tensor([[60.0], [-60.0]], requires_grad=True)
    loss = ordinal_loss(score, torch.tensor([[-1.0, 0.0, 1.0]]), torch.tensor([[0], [3]]))
    loss.backward()
    assert loss.item() == pytest.approx(61) and torch.isfinite(score.grad).all()


def test_planted_thresholds_are_found():
    generator = torch.Generator().manual_seed(7)
    x = torch.randn(4000, 1, generator=generator)
    noise = torch.logit(torch.rand(4000, 1, generator=generator).clamp(1e-6, 1 - 1e-6))
    labels = (2.0 * x + noise > torch.tensor([-2.0, 0.5, 1.5])).sum(dim=1, keepdim=True)
    head = OrdinalHead(embed_dim=1, n_dimensions=1, n_outputs=4)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.05)
    for _ in range(400):
        optimiser.zero_grad()
        head.loss(x, labels).backward()
        optimiser.step()
    assert head.score.weight.item() == pytest.approx(2.0, abs=0.25)
    assert head.thresholds[0].tolist() == pytest.approx([-2.0, 0.5, 1.5], abs=0.3)
    assert torch.allclose(head(x).sum(-1), torch.ones(4000, 1), atol=1e-5)


def test_an_order_needs_two_classes():
    with pytest.raises(CallError, match="found 1 classes, expected two or more"):
        OrdinalHead(embed_dim=3, n_dimensions=1, n_outputs=1)


def test_a_head_begins_with_equal_classes():
    head = OrdinalHead(embed_dim=3, n_dimensions=2, n_outputs=5)
    assert torch.allclose(head(torch.zeros(1, 3)), torch.full((1, 2, 5), 0.2), atol=1e-6)


def test_the_spread_of_ratings_is_learned():
    x = torch.rand(4000, 1) * 2 - 1
    y = x + 0.5 * torch.exp(x) * torch.randn(4000, 1)
    head = GaussianHead(embed_dim=1, n_dimensions=1, likelihood_weight=1.0)
    optimiser = torch.optim.Adam(head.parameters(), lr=0.03)
    for _ in range(400):
        optimiser.zero_grad()
        head.loss(x, y).backward()
        optimiser.step()
    _, sd = head(torch.tensor([[-1.0], [1.0]]))
    assert sd[:, 0].tolist() == pytest.approx([0.5 / np.e, 0.5 * np.e], rel=0.2)


def test_classes_and_ratings_may_each_be_missing():
    head = JointHead(embed_dim=4, n_dimensions=3, n_outputs=5)
    features = torch.randn(16, 4)
    labels, ratings = torch.randint(0, 5, (16,)), torch.randn(16, 3)
    both = head.loss(features, labels, ratings)
    no_labels = head.loss(features, torch.full((16,), -1), ratings)
    no_ratings = head.loss(features, labels, torch.full((16, 3), torch.nan))
    assert (no_labels + no_ratings).item() == pytest.approx(both.item(), rel=1e-5)
    assert [t.shape for t in head(features)] == [(16, 5), (16, 3), (16, 3)]
