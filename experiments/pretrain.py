"""Pre-train encoders on windows that nobody rated; what was interrupted goes on.

The folder holds a fused model (``model.json``, ``model.safetensors``) whose encoders are trained
and whose fusion is not, ``scalers.safetensors`` for its inputs, and ``pretraining.json``, written
last: configuration and its hash, data and their fingerprint, versions, seed, history, and what was
measured on stimuli that were held out.
"""

import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.atomic_file import new_path
from physioemo.errors import CallError, CheckpointError, RecordingExistsError
from physioemo.experiments.decoder import Scaler, fit_scaler
from physioemo.experiments.folds import name_codes
from physioemo.experiments.fused_modalities import (
    axis_seconds,
    encoder_of,
    has_fixed_scale,
    model_input,
)
from physioemo.experiments.pretrain_data import UnlabelledData
from physioemo.experiments.splits import held_out_groups
from physioemo.fingerprint import config_fingerprint, package_versions
from physioemo.models.pretraining import PretrainingConfig
from physioemo.prediction import DIMENSIONS

__all__ = ["RESULT", "PretrainPlan", "load_scalers", "pretrain"]

RESULT = "pretraining.json"
_CONFIG, _SCALERS = "config.json", "scalers.safetensors"


@dataclass(frozen=True, kw_only=True)
class PretrainPlan:
    """Everything that decides a pre-training besides the data.

    Parameters
    ----------
    preset : str
        Size of encoders and fusion.
    encoders : mapping of str to mapping
        By family, what is said otherwise: ``{"de": {"preset": "study"}}``.
    dimensions : tuple of str
        Of the fusion that will be trained later.
    n_outputs : int
        Its classes.
    fusion : str
        Row of :data:`physioemo.models.fused.FUSIONS`.
    held_out_share : float
        Share of the stimuli (of trials without one) to measure on.
    training : PretrainingConfig
        The optimiser's settings and the seed.

    Raises
    ------
    CallError
        If the share is not between 0 and 0.5.
    """

    preset: str = "tiny"
    encoders: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    dimensions: tuple[str, ...] = DIMENSIONS
    n_outputs: int = 2
    fusion: str = "queries"
    held_out_share: float = 0.1
    training: PretrainingConfig = field(default_factory=PretrainingConfig)

    def __post_init__(self) -> None:
        if not 0 < self.held_out_share <= 0.5:
            raise CallError(
                f"found held_out_share={self.held_out_share}, expected above 0 and at most 0.5"
            )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {**asdict(self), "dimensions": list(self.dimensions)}


def pretrain(
    data: UnlabelledData,
    plan: PretrainPlan,
    out: str | Path,
    *,
    overwrite: bool = False,
    device: str = "cpu",
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> dict[str, Any]:
    """Pre-train and write a folder; the same call again goes on, or returns what is finished.

    Parameters
    ----------
    data : UnlabelledData
        Windows.
    plan : PretrainPlan
        How.
    out : str or Path
        The folder.
    overwrite : bool
        Replace a pre-training of another configuration or of other data.
    device : str
        Where, as torch calls it.
    on_epoch : callable, optional
        Called with the row of each epoch once its checkpoint is on disk.

    Returns
    -------
    dict
        What ``pretraining.json`` holds.

    Raises
    ------
    RecordingExistsError
        If the folder holds something else.
    CallError
        If nothing can be learned from these data, or training diverged.
    CheckpointError
        If the checkpoint is damaged.
    """
    from physioemo.models.checkpoint import model_id, save_model
    from physioemo.models.pretraining_checkpoint import remove_checkpoint

    folder = Path(out)
    train, held = _split(data, plan)
    config = _config(data, plan)
    finished = _prepare(folder, config, overwrite=overwrite)
    if finished is not None:
        return finished
    scalers = {f: fit_scaler(v[train]) for f, v in data.families.items() if not has_fixed_scale(f)}
    model, pre = _build(config, plan)
    history = _train(pre, data, scalers, train, plan, folder, device, on_epoch)
    result = {
        "format": 1,
        **config,
        "n_windows": len(train),
        "n_held_out": len(held),
        "held_out": _measure(pre, _scaled(data, scalers, held), plan.training.seed),
        "history": history,
        "model_id": model_id(model),
    }
    note = {k: result[k] for k in ("config_hash", "data_fingerprint", "simulated", "families")}
    save_model(folder, model, name="fused", metadata={"pretrained_encoders_only": True, **note})
    _save_scalers(folder, scalers)
    with new_path(folder / RESULT, overwrite=True) as partial:
        partial.write_text(json.dumps(result, indent=1, ensure_ascii=False), "utf-8")
    remove_checkpoint(folder)
    return result


def _build(config: Mapping[str, Any], plan: PretrainPlan) -> tuple[Any, Any]:
    """Return the fused model, and the same with the heads of pre-training."""
    import torch

    from physioemo.models.fused import FusedModel
    from physioemo.models.pretraining import PretrainingModel
    from physioemo.models.training import seeded

    with seeded(plan.training.seed, torch.device("cpu")):
        model = FusedModel(
            encoders=config["encoders"],
            dimensions=plan.dimensions,
            n_outputs=plan.n_outputs,
            fusion=plan.fusion,
            preset=plan.preset,
        )
        return model, PretrainingModel(model, plan.training.contrast_dim)


def _train(
    pre: Any,
    data: UnlabelledData,
    scalers: Mapping[str, Scaler],
    train: np.ndarray,
    plan: PretrainPlan,
    folder: Path,
    device: str,
    on_epoch: Callable[[dict[str, float]], None] | None,
) -> list[dict[str, float]]:
    """Run the epochs that are not done; leave the model on the CPU in eval mode."""
    import torch

    from physioemo.models.modality_inputs import to_tensors
    from physioemo.models.pretraining import run_epoch
    from physioemo.models.pretraining_checkpoint import load_checkpoint, save_checkpoint

    training = plan.training
    pre.to(device)
    optimiser = torch.optim.AdamW(
        pre.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    history = load_checkpoint(folder, pre, optimiser)
    inputs = to_tensors(_scaled(data, scalers, train), torch.device(device))
    trial, stimulus = (torch.from_numpy(n[train]).to(device) for n in _numbers(data))
    for epoch in range(len(history), training.n_epochs):
        row = run_epoch(pre, optimiser, inputs, trial, stimulus, training, epoch)
        history.append(row)
        save_checkpoint(folder, pre, optimiser, history)
        if on_epoch:
            on_epoch(dict(row))
    pre.to("cpu").eval()
    return history


def load_scalers(folder: str | Path) -> dict[str, Scaler]:
    """Return the scaler of each family that a pre-training was made with.

    Sound and pictures have a fixed scale, and none.

    Raises
    ------
    CheckpointError
        If the folder holds none.
    """
    from physioemo.models.weights import parse_weights, read_bytes

    path = Path(folder) / _SCALERS
    arrays = {k: v.numpy() for k, v in parse_weights(read_bytes(path), path).items()}
    families = {k.removesuffix("/mean") for k in arrays if k.endswith("/mean")}
    if (arrays and not families) or any(f"{f}/scale" not in arrays for f in families):
        raise CheckpointError(
            f"found no scalers in {path}, expected those that 'physioemo pretrain' wrote; copy the "
            "folder again"
        )
    return {f: Scaler(arrays[f"{f}/mean"], arrays[f"{f}/scale"]) for f in sorted(families)}


def _split(data: UnlabelledData, plan: PretrainPlan) -> tuple[np.ndarray, np.ndarray]:
    n_groups = len(set(data.groups.tolist()))
    if n_groups < 3:
        raise CallError(
            f"found windows of {n_groups} stimul{'us' if n_groups == 1 else 'i'} or trial(s), "
            "expected three or more, to learn from two and to measure on one; add recordings"
        )
    return held_out_groups(data.groups, share=plan.held_out_share, seed=plan.training.seed)


def _config(data: UnlabelledData, plan: PretrainPlan) -> dict[str, Any]:
    unknown = [f for f in plan.encoders if f not in data.families]
    if unknown:
        raise CallError(
            f"found an encoder for {unknown[0]!r}, expected some of {', '.join(data.families)}"
        )
    encoders = {f: {**_encoder(data, f, plan.preset), **plan.encoders.get(f, {})}
                for f in data.families}  # fmt: skip
    decided = {"plan": plan.to_dict(), "data_fingerprint": data.fingerprint}
    return {
        **decided,
        "config_hash": config_fingerprint(decided),
        "seed": plan.training.seed,
        "encoders": encoders,
        "families": {f: {a: list(n) for a, n in axes.items()} for f, axes in data.coords.items()},
        "n_without_stimulus": int((data.stimulus == "").sum()),
        "sources": data.sources,
        "simulated": any(s["simulated"] for s in data.sources),
        "versions": package_versions(),
    }


def _encoder(data: UnlabelledData, family: str, preset: str) -> dict[str, Any]:
    shape = data.families[family].shape[1:]
    if has_fixed_scale(family):
        seconds = axis_seconds(family, data.coords[family])
        return encoder_of(family, shape, preset, seconds)
    if tuple(data.coords[family]) == ("channel", "band"):
        return {
            "encoder": "electrodes", "preset": preset, "n_chans": shape[0], "n_bands": shape[1],
        }  # fmt: skip
    return {"encoder": "scalars", "preset": preset, "n_scalars": int(np.prod(shape))}


def _prepare(folder: Path, config: dict[str, Any], *, overwrite: bool) -> dict[str, Any] | None:
    """Make the folder; return the results if this pre-training is finished."""
    # A process that was killed at its first breath leaves a partial file and nothing else.
    there = [p for p in folder.iterdir() if not p.name.startswith(".partial-")] \
        if folder.is_dir() else []  # fmt: skip
    if there:
        known = _known_hash(folder / _CONFIG)
        if known is None:
            raise RecordingExistsError(
                f"found something in {folder} that is no pre-training, expected nothing there; "
                "choose another --out"
            )
        if known == config["config_hash"] and not overwrite:
            done = folder / RESULT
            return json.loads(done.read_text("utf-8")) if done.is_file() else None
        if not overwrite:
            raise RecordingExistsError(
                f"found another pre-training, or one of other data (hash {known}), in {folder}, "
                f"expected {config['config_hash']}; choose another --out, or replace it with "
                "--overwrite"
            )
        shutil.rmtree(folder)
    with new_path(folder / _CONFIG, overwrite=True) as partial:
        partial.write_text(json.dumps(config, indent=1, ensure_ascii=False), "utf-8")
    return None


def _known_hash(path: Path) -> str | None:
    """Return the hash of the pre-training that is there; None if it is something else."""
    try:
        content = json.loads(path.read_text("utf-8"))
        return str(content["config_hash"]) if "plan" in content else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _scaled(
    data: UnlabelledData, scalers: Mapping[str, Scaler], rows: np.ndarray
) -> dict[str, Any]:
    """Return what each encoder takes; of pictures also when each was shown."""
    found: dict[str, Any] = {}
    for family, values in data.families.items():
        axes = data.coords[family]
        if has_fixed_scale(family):
            part = np.asarray(values[rows], np.float32)
            seconds = axis_seconds(family, axes)
            found[family] = model_input(family, part, values.shape[1:], seconds)
        else:
            scaled = scalers[family](values[rows])
            by_electrode = tuple(axes) == ("channel", "band")
            found[family] = scaled if by_electrode else scaled.reshape(len(rows), -1)
    return found


def _numbers(data: UnlabelledData) -> tuple[np.ndarray, np.ndarray]:
    """Return numbers of trials, and of stimuli (−1 where they are not known)."""
    stimulus = name_codes(data.stimulus)[1]
    return name_codes(data.trial)[1], np.where(data.stimulus == "", -1, stimulus)


def _measure(pre: Any, held: dict[str, Any], seed: int) -> dict[str, Any]:
    """Return how well held-out windows are guessed and found."""
    import torch
    from scipy.stats import binom

    from physioemo.models.contrast import retrieval
    from physioemo.models.modality_inputs import to_tensors
    from physioemo.models.pretraining import embeddings

    inputs = to_tensors(held, torch.device("cpu"))
    pre.eval()
    with torch.no_grad():
        guessed = float(pre.guess_loss(inputs, torch.Generator().manual_seed(seed)))
    found, pairs = embeddings(pre, inputs), {}
    for a, b in combinations(found, 2):
        both = torch.isfinite(found[a]).all(dim=1) & torch.isfinite(found[b]).all(dim=1)
        if both.any():
            hits = retrieval(found[a][both], found[b][both]).float().mean(dim=1)
            n = int(both.sum())
            pairs[f"{a}-{b}"] = {
                "n": n,
                "chance": 1 / n,
                "chance_interval_95": [float(binom.ppf(q, n, 1 / n)) / n for q in (0.025, 0.975)],
                "found": hits.tolist(),
            }
    return {"guess_loss": guessed if len(pre.guess) else None, "retrieval": pairs}


def _save_scalers(folder: Path, scalers: Mapping[str, Scaler]) -> None:
    from safetensors.numpy import save

    arrays = {}
    for family, scaler in scalers.items():
        arrays[f"{family}/mean"] = np.ascontiguousarray(scaler.mean, float)
        arrays[f"{family}/scale"] = np.ascontiguousarray(scaler.scale, float)
    with new_path(folder / _SCALERS, overwrite=True) as partial:
        partial.write_bytes(save(arrays))
