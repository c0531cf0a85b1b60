"""What belongs together is near, and what is not known to be apart is not pushed apart.

InfoNCE between modalities (van den Oord, Li & Vinyals 2018, arXiv 1807.03748), both ways, at a
temperature of 0.07. Windows of one trial share the state of the person, and those of one stimulus
share the film, at other times and in other people: as negatives they would teach that the same is
different. So they never are.
"""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from physioemo.errors import SignalError

__all__ = ["TEMPERATURE", "allowed_negatives", "info_nce", "retrieval"]

TEMPERATURE = 0.07


def allowed_negatives(trial: Tensor, stimulus: Tensor) -> Tensor:
    """Return which windows may be negatives of which.

    Parameters
    ----------
    trial : Tensor of int, shape (window,)
        Number of the trial, unique over all recordings.
    stimulus : Tensor of int, shape (window,)
        Number of the stimulus, the same for everybody who saw it; −1 is unknown, and then only
        the trial tells.

    Returns
    -------
    Tensor of bool, shape (window, window)
        Never True on the diagonal.

    Raises
    ------
    SignalError
        If there is not one of both for each window.
    """
    if trial.ndim != 1 or trial.shape != stimulus.shape:
        raise SignalError(
            f"found trials of shape {tuple(trial.shape)} and stimuli of {tuple(stimulus.shape)}, "
            "expected one number of each per window"
        )
    same_trial = trial[:, None] == trial[None]
    same_stimulus = (stimulus[:, None] == stimulus[None]) & (stimulus >= 0)[:, None]
    return ~(same_trial | same_stimulus)


def info_nce(
    first: Tensor,
    second: Tensor,
    allowed: Tensor,
    present: Tensor,
    *,
    temperature: float = TEMPERATURE,
) -> Tensor:
    """Symmetric InfoNCE of two modalities of the same windows.

    Parameters
    ----------
    first, second : Tensor, shape (window, embed)
        Normalised here.
    allowed : Tensor of bool, shape (window, window)
        From :func:`allowed_negatives`.
    present : Tensor of bool, shape (window,)
        Where both modalities are; others are neither positives nor negatives.
    temperature : float
        Divides cosines.

    Returns
    -------
    Tensor, shape ()
        Mean over windows with at least one negative; 0 without any.
    """
    cosines = normalize(first, dim=-1) @ normalize(second, dim=-1).T / temperature
    candidates = allowed & present[None] & present[:, None]
    used = candidates.any(dim=1)
    candidates = candidates | torch.eye(len(first), dtype=torch.bool, device=first.device)
    lowest = torch.finfo(cosines.dtype).min
    target = torch.arange(len(first), device=first.device)
    # `allowed` is symmetric, so columns lose the same candidates as rows.
    ways = [cosines.masked_fill(~candidates, lowest), cosines.T.masked_fill(~candidates, lowest)]
    lost = sum(cross_entropy(scores, target, reduction="none") for scores in ways) / 2
    return (lost * used).sum() / used.sum().clamp(min=1)


def retrieval(first: Tensor, second: Tensor) -> Tensor:
    """Return for each window whether the nearest of all in `second` is its own, both ways.

    Parameters
    ----------
    first, second : Tensor, shape (window, embed)
        Of the same windows; by chance 1 in `window` is found.

    Returns
    -------
    Tensor of bool, shape (2, window)
        From first to second, and back; a tie is a miss.
    """
    cosines = normalize(first, dim=-1) @ normalize(second, dim=-1).T
    own = cosines.diagonal()
    rivals = cosines - torch.eye(len(own), device=own.device) * 4
    return torch.stack([rivals.amax(dim=1) < own, rivals.amax(dim=0) < own])
