"""Any model of the table made one of ordered classes: a score and thresholds that rise.

The cumulative-link model ``P(y ≤ k) = sigmoid(threshold_k − score)`` (McCullagh 1980, J. R. Stat.
Soc. B 42:109-142) as logits: what comes out are logarithms of probabilities, whose softmax they are
again. So cross-entropy of them is the likelihood of ordered classes, and everything that trains and
reads classes, alone or many models at a time, does the same with these.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from physioemo.errors import CallError
from physioemo.models.affect_losses import ordinal_log_probabilities

__all__ = ["CumulativeLink", "OrderedThresholds"]


class OrderedThresholds(nn.Module):
    """Thresholds between ordered classes, which rise whatever training does.

    Parameters
    ----------
    n_dimensions, n_outputs : int
        Rated dimensions and ordered classes of each, two or more.

    Raises
    ------
    CallError
        If there are fewer than two classes.
    """

    def __init__(self, *, n_dimensions: int, n_outputs: int) -> None:
        super().__init__()
        if n_outputs < 2:
            raise CallError(f"found {n_outputs} classes, expected two or more for an order")
        # Evenly likely classes to begin with: thresholds at the logits of k / n.
        share = torch.arange(1, n_outputs) / n_outputs
        first = torch.logit(share)
        self.first = nn.Parameter(first[0].repeat(n_dimensions))
        steps = first[1:] - first[:-1]
        self.steps = nn.Parameter(torch.log(torch.expm1(steps)).repeat(n_dimensions, 1))

    @property
    def thresholds(self) -> Tensor:
        """Thresholds in rising order, shape (dimension, class − 1)."""
        rises = softplus(self.steps).cumsum(dim=1)
        return torch.cat([self.first[:, None], self.first[:, None] + rises], dim=1)


class CumulativeLink(nn.Module):
    """A model with one output, and thresholds that turn it into ordered classes.

    Parameters
    ----------
    body : nn.Module
        ``body(tokens, electrode_mask)`` to scores (window, 1), or (window, dimension, 1).
    n_outputs : int
        Ordered classes, of each dimension if there are several.
    n_dimensions : int, optional
        Rated dimensions, where the body has an axis for them.

    Raises
    ------
    CallError
        If there are fewer than two classes.
    """

    def __init__(self, body: nn.Module, *, n_outputs: int, n_dimensions: int | None = None) -> None:
        super().__init__()
        self.body = body
        self.several = n_dimensions is not None
        self.ordered = OrderedThresholds(n_dimensions=n_dimensions or 1, n_outputs=n_outputs)

    @property
    def thresholds(self) -> Tensor:
        """Thresholds in rising order, shape (dimension, class − 1)."""
        return self.ordered.thresholds

    def forward(
        self,
        tokens: Tensor,
        electrode_mask: Tensor | None = None,
        *,
        return_attention: bool = False,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logarithms of the probabilities of ordered classes.

        Parameters
        ----------
        tokens, electrode_mask
            As the body takes them.
        return_attention : bool
            Whether to return the body's attention as well.

        Returns
        -------
        Tensor, shape (window, class) or (window, dimension, class)
        """
        more: dict[str, Any] = {"return_attention": True} if return_attention else {}
        found = self.body(tokens, electrode_mask, **more)
        score, attention = found if return_attention else (found, None)
        said = ordinal_log_probabilities(
            score.squeeze(-1) if self.several else score, self.thresholds
        )
        said = said if self.several else said.squeeze(1)
        return said if attention is None else (said, attention)
