"""What training minimises: cross-entropy over rated dimensions, classes weighted equally."""

import torch
from torch import Tensor

__all__ = ["class_weights", "weighted_cross_entropy"]


def class_weights(labels: Tensor, n_outputs: int) -> Tensor:
    """Weights that give every class of a dimension the same say.

    ``n / (k · n_c)`` for the ``k`` classes that occur, 0 for the others.

    Parameters
    ----------
    labels : Tensor of int, shape (window, dimension)
        −1 is a missing rating and is not counted.
    n_outputs : int
        Number of classes.

    Returns
    -------
    Tensor of float32, shape (dimension, class)
    """
    classes = torch.arange(n_outputs, device=labels.device)
    counts = (labels.unsqueeze(-1) == classes).sum(dim=0).float()  # (dimension, class)
    n_present = (counts > 0).sum(dim=-1, keepdim=True).clamp(min=1)
    shares = counts.sum(dim=-1, keepdim=True) / n_present
    return torch.where(counts > 0, shares / counts.clamp(min=1), 0.0)


def weighted_cross_entropy(
    logits: Tensor, labels: Tensor, weights: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Class-weighted cross-entropy, averaged over dimensions that have a rating.

    For one dimension it is ``torch.nn.functional.cross_entropy`` with ``weight`` and
    ``label_smoothing`` (Szegedy et al. 2016, arXiv 1512.00567), without its NaN where no
    window of the batch is rated.

    Parameters
    ----------
    logits : Tensor, shape (window, dimension, class)
    labels : Tensor of int, shape (window, dimension)
        −1 is a missing rating and is left out.
    weights : Tensor, shape (dimension, class)
    label_smoothing : float
        Share of the target that is spread over all classes.

    Returns
    -------
    Tensor, shape ()
    """
    n_outputs = logits.shape[-1]
    known = labels >= 0  # (window, dimension)
    chosen = torch.nn.functional.one_hot(labels.clamp(min=0), n_outputs).to(logits.dtype)
    target = chosen * (1.0 - label_smoothing) + label_smoothing / n_outputs
    loss = -(target * weights * logits.log_softmax(dim=-1)).sum(dim=-1)  # (window, dimension)
    scale = (chosen * weights).sum(dim=-1)  # (window, dimension)
    per_dimension = (loss * known).sum(dim=0) / (scale * known).sum(dim=0).clamp(min=1e-12)
    return per_dimension.sum() / known.any(dim=0).sum().clamp(min=1)
