"""Learn encoders from recordings that nobody rated.

Each encoder guesses what was hidden from it (:mod:`physioemo.models.masking`), and what different
modalities saw of one window is drawn together at several depths
(:mod:`physioemo.models.contrast`), as in HiCMAE (Sun et al. 2024, arXiv 2401.05698). The fused
model that is pre-trained is the one that is later fine-tuned: its fusion stays as it was built.

All chance of an epoch comes from the seed and the epoch's number, so that a run that was killed
goes on with the numbers that it would have had.
"""

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
from torch import Tensor, nn

from physioemo.errors import CallError, SignalError
from physioemo.models.contrast import TEMPERATURE, allowed_negatives, info_nce
from physioemo.models.fused import FusedModel
from physioemo.models.intercortical import InterCorticalBlock
from physioemo.models.masking import can_mask, hide
from physioemo.models.modality_inputs import TensorInputs, count_windows, rows_of
from physioemo.models.modality_tokens import ModalityTokens
from physioemo.models.tapped_stages import tap_depths
from physioemo.models.training import FINAL_LEARNING_RATE, seeded

__all__ = ["MASK_SHARES", "PretrainingConfig", "PretrainingModel", "embeddings", "run_epoch"]

MASK_SHARES = {"ElectrodeTokens": 0.5, "AudioPatches": 0.8, "VideoTubelets": 0.9}
"""Share that is hidden, by the encoder's class; of video it is tubes."""

_TAPS = 3
_SEED_STEP = 1_000_003


@dataclass(frozen=True, kw_only=True)
class PretrainingConfig:
    """How to pre-train; ``dataclasses.asdict`` of it is JSON.

    Parameters
    ----------
    n_epochs, batch_size : int
        Contrast needs batches of several trials: 64 windows or more.
    learning_rate, weight_decay : float
        AdamW with a cosine schedule.
    contrast_weight : float
        How much the contrast counts beside the guessing; 0 leaves it out.
    contrast_dim : int
        Width of what is compared.
    temperature : float
        Of the contrast.
    seed : int
        Decides everything.

    Raises
    ------
    CallError
        If a value is out of its range.
    """

    n_epochs: int = 100
    batch_size: int = 256
    learning_rate: float = 1e-3
    weight_decay: float = 0.05
    contrast_weight: float = 1.0
    contrast_dim: int = 64
    temperature: float = TEMPERATURE
    seed: int = 0

    def __post_init__(self) -> None:
        counts = {k: getattr(self, k) for k in ("n_epochs", "contrast_dim")}
        rates = {k: getattr(self, k) for k in ("learning_rate", "temperature")}
        low = [k for k, v in counts.items() if v < 1] + [k for k, v in rates.items() if not v > 0]
        low += [k for k in ("weight_decay", "contrast_weight") if not getattr(self, k) >= 0]
        low += ["batch_size"] if self.batch_size < 2 else []
        if low:
            raise CallError(
                f"found {low[0]}={getattr(self, low[0])}, expected above 0 (weight_decay and "
                "contrast_weight: 0 or more; batch_size: 2 or more)"
            )


class PretrainingModel(nn.Module):
    """A fused model's encoders with heads that are thrown away.

    Parameters
    ----------
    model : FusedModel
        Its encoders are trained in place.
    contrast_dim : int
        Width of what is compared.

    Raises
    ------
    CallError
        If there is nothing to learn: one modality, and none that can be guessed.
    """

    def __init__(self, model: FusedModel, contrast_dim: int = 64) -> None:
        super().__init__()
        self.encoders = model.encoders
        maskable = [m for m, e in self.encoders.items() if can_mask(e)]
        if not maskable and len(self.encoders) < 2:
            raise CallError(
                f"found only {', '.join(self.encoders)}, whose tokens say nothing of each other, "
                "expected a second modality or an encoder with attention; add one"
            )
        self.depths = {m: _tapped(e) for m, e in self.encoders.items()}
        self.n_levels = max(len(d) for d in self.depths.values())
        width = {m: int(e.embed_dim) for m, e in self.encoders.items()}  # type: ignore[arg-type]
        self.guess = nn.ModuleDict(
            {
                m: nn.Sequential(
                    nn.LayerNorm(width[m]), nn.Linear(width[m], _n_values(self.encoders[m]))
                )
                for m in maskable
            }
        )
        self.project = nn.ModuleDict(
            {
                m: nn.ModuleList(
                    nn.Sequential(nn.LayerNorm(n), nn.Linear(n, contrast_dim))
                    for _ in range(self.n_levels)
                )
                for m, n in width.items()
            }
        )

    def guess_loss(self, inputs: TensorInputs, generator: torch.Generator) -> Tensor:
        """Return the mean squared error of what was hidden, averaged over modalities."""
        losses = []
        for name, head in self.guess.items():
            encoder = self.encoders[name]
            share = MASK_SHARES[type(encoder).__name__]
            guess = hide(encoder, _by_argument(inputs[name]), share, generator)
            tokens = encoder(**guess.inputs)
            apart = (head(tokens.values) - torch.nan_to_num(guess.values)).square().mean(dim=-1)
            losses.append((apart * guess.hidden).sum() / guess.hidden.sum().clamp(min=1))
        return torch.stack(losses).mean() if losses else torch.zeros(())

    def levels(self, inputs: TensorInputs) -> tuple[dict[str, list[Tensor]], dict[str, Tensor]]:
        """Return what is compared at each depth, and where each modality is there.

        Returns
        -------
        levels : mapping of str to list of Tensor, shape (window, contrast)
            From early to late.
        present : mapping of str to Tensor of bool, shape (window,)
        """
        said, present = {}, {}
        for name, encoder in self.encoders.items():
            tokens, stages = _with_stages(encoder, _by_argument(inputs[name]))
            depths = self.depths[name]
            tapped = [stages[d] for d in depths] if stages else [tokens.values]
            pooled = [_pool(x, tokens.mask) for x in tapped]
            heads: Any = self.project[name]
            said[name] = [
                heads[k](pooled[_level(k, self.n_levels, len(pooled))])
                for k in range(self.n_levels)
            ]
            present[name] = tokens.mask.any(dim=1)
        return said, present

    def contrast_loss(self, inputs: TensorInputs, allowed: Tensor, temperature: float) -> Tensor:
        """Return InfoNCE, averaged over pairs of modalities and depths."""
        said, present = self.levels(inputs)
        losses = [
            info_nce(x, y, allowed, present[a] & present[b], temperature=temperature)
            for a, b in combinations(said, 2)
            for x, y in zip(said[a], said[b], strict=True)
        ]
        return torch.stack(losses).mean()


def run_epoch(
    model: PretrainingModel,
    optimiser: torch.optim.Optimizer,
    inputs: TensorInputs,
    trial: Tensor,
    stimulus: Tensor,
    config: PretrainingConfig,
    epoch: int,
) -> dict[str, float]:
    """Train one epoch in place; the global random state is left alone.

    Parameters
    ----------
    model : PretrainingModel
        On the device of the inputs.
    optimiser : torch.optim.Optimizer
        Of all its parameters.
    inputs : mapping of tensors
        Windows of each modality, NaN where missing, from
        :func:`physioemo.models.modality_inputs.to_tensors`.
    trial, stimulus : Tensor of int, shape (window,)
        As in :func:`physioemo.models.contrast.allowed_negatives`.
    config : PretrainingConfig
        How.
    epoch : int
        From 0.

    Returns
    -------
    dict
        ``epoch``, ``learning_rate``, ``guess_loss``, ``contrast_loss``.

    Raises
    ------
    SignalError
        If there are not a trial and a stimulus for each window, or fewer than two windows.
    CallError
        If training diverged.
    """
    n = count_windows(inputs)
    if len(trial) != n or len(stimulus) != n or n < 2:
        raise SignalError(
            f"found {len(trial)} trials and {len(stimulus)} stimuli for {n} windows, expected one "
            "of each per window, and two windows or more"
        )
    share = 0.5 * (1 + math.cos(math.pi * epoch / config.n_epochs))
    rate = FINAL_LEARNING_RATE + share * (config.learning_rate - FINAL_LEARNING_RATE)
    for group in optimiser.param_groups:
        group["lr"] = rate
    chance = config.seed * _SEED_STEP + epoch
    generator = torch.Generator().manual_seed(chance)
    totals = torch.zeros(2)
    model.train()
    with seeded(chance, trial.device):
        for rows in torch.randperm(n, generator=generator).split(config.batch_size):
            if len(rows) > 1:
                at = rows.to(trial.device)
                losses = _step(model, optimiser, rows_of(inputs, at), trial[at], stimulus[at],
                               config, generator)  # fmt: skip
                totals += len(rows) * losses
    guessed, contrasted = (totals / n).tolist()
    if not math.isfinite(guessed + contrasted):
        raise CallError(
            f"training diverged in epoch {epoch} at learning rate {rate:g}: lower learning_rate or "
            "check the scale of the features"
        )
    return {
        "epoch": epoch,
        "learning_rate": rate,
        "guess_loss": guessed,
        "contrast_loss": contrasted,
    }


@torch.no_grad()
def embeddings(
    model: PretrainingModel, inputs: TensorInputs, *, batch_size: int = 1024
) -> dict[str, Tensor]:
    """Return what is compared at the last depth, (window, contrast); NaN where it is missing.

    Parameters
    ----------
    model : PretrainingModel
        In any mode; it is left as it was.
    inputs : mapping of tensors
        As in :func:`run_epoch`.
    batch_size : int
        How many windows at once.
    """
    was_training = model.training
    model.eval()
    parts: dict[str, list[Tensor]] = {m: [] for m in model.encoders}
    try:
        for k in range(0, count_windows(inputs), batch_size):
            said, present = model.levels(rows_of(inputs, slice(k, k + batch_size)))
            for name, levels in said.items():
                missing = ~present[name].unsqueeze(-1)
                parts[name].append(levels[-1].masked_fill(missing, torch.nan))
    finally:
        model.train(was_training)
    return {name: torch.cat(found) for name, found in parts.items()}


def _step(
    model: PretrainingModel,
    optimiser: torch.optim.Optimizer,
    inputs: TensorInputs,
    trial: Tensor,
    stimulus: Tensor,
    config: PretrainingConfig,
    generator: torch.Generator,
) -> Tensor:
    """Take one step; return both losses on the CPU."""
    guessed = model.guess_loss(inputs, generator).to(trial.device)
    contrasted = torch.zeros((), device=trial.device)
    if config.contrast_weight and len(model.encoders) > 1:
        allowed = allowed_negatives(trial, stimulus)
        contrasted = model.contrast_loss(inputs, allowed, config.temperature)
    loss = guessed + config.contrast_weight * contrasted
    optimiser.zero_grad(set_to_none=True)
    if loss.requires_grad:
        loss.backward()
        optimiser.step()
    return torch.stack([guessed.detach(), contrasted.detach()]).cpu()


def _by_argument(given: Any) -> dict[str, Tensor]:
    return dict(given) if isinstance(given, Mapping) else {"values": given}


def _tapped(encoder: nn.Module) -> tuple[int, ...]:
    """Return the depths that are compared: up to three, the last among them."""
    if "return_stages" not in inspect.signature(encoder.forward).parameters:
        return (0,)
    n = sum(isinstance(part, InterCorticalBlock) for part in encoder.modules())
    return tap_depths(n, min(_TAPS, n))


def _with_stages(
    encoder: nn.Module, given: dict[str, Tensor]
) -> tuple[ModalityTokens, list[Tensor]]:
    if "return_stages" not in inspect.signature(encoder.forward).parameters:
        return encoder(**given), []
    tokens, stages = encoder(**given, return_stages=True)
    return tokens, stages


def _level(level: int, n_levels: int, n_taps: int) -> int:
    """Return which tap stands for a level; an encoder with fewer repeats some."""
    return n_taps - 1 if n_levels == 1 else round(level * (n_taps - 1) / (n_levels - 1))


def _pool(values: Tensor, mask: Tensor) -> Tensor:
    kept = values.masked_fill(~mask.unsqueeze(-1), 0.0)
    return kept.sum(dim=1) / mask.sum(dim=1, keepdim=True).clamp(min=1)


def _n_values(encoder: Any) -> int:
    """Return how many values stand behind one token."""
    if hasattr(encoder, "n_bands"):
        return int(encoder.n_bands)
    if hasattr(encoder, "n_mels"):
        return int(encoder.patch**2)
    return int(encoder.n_frames_each * encoder.patch**2 * encoder.n_colours)
