"""Train a decoder on rated recordings and score it on trials it has not seen."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError, RecordingExistsError
from physioemo.experiments.cross_validation import HeldOut, evaluate
from physioemo.experiments.decoder import DECODER_JSON
from physioemo.experiments.decoder_fit import (
    fit_decoder,
    fitted_temperature,
    shared_recipe,
    untrained_decoder,
)
from physioemo.experiments.training_config import StudyConfig
from physioemo.experiments.trial_data import TrialData, collect_trials
from physioemo.recording import Recording

__all__ = [
    "EVALUATION_JSON",
    "HeldOut",
    "StudyConfig",
    "TrainedDecoder",
    "evaluate",
    "fitted_temperature",
    "refuse_existing_decoder",
    "require_two_classes",
    "shared_recipe",
    "train_decoder",
    "untrained_decoder",
]

EVALUATION_JSON = "evaluation.json"


@dataclass(frozen=True)
class TrainedDecoder:
    """A decoder trained on all trials, and how the same procedure did on held-out trials."""

    decoder: Any
    evaluation: dict[str, Any]

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write decoder and evaluation into a new folder.

        Raises
        ------
        RecordingExistsError
            If something is there and `overwrite` is false, or it is not a decoder.
        """
        folder = Path(folder)
        refuse_existing_decoder(folder, overwrite=overwrite)
        self.decoder.save(folder)
        text = json.dumps(self.evaluation, indent=2, ensure_ascii=False)
        (folder / EVALUATION_JSON).write_text(text, "utf-8")
        return folder


def refuse_existing_decoder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that may not be used for a new decoder; touch nothing.

    Raises
    ------
    RecordingExistsError
        If something is there and `overwrite` is false, or it is not a decoder.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    is_decoder = (folder / DECODER_JSON).is_file()
    if not overwrite or not is_decoder:
        what = "a decoder" if is_decoder else "something that is not a decoder"
        raise RecordingExistsError(
            f"found {what} at {folder}, expected nothing there; choose another name"
            + (" or pass --overwrite" if is_decoder else "")
        )


def train_decoder(
    recordings: Mapping[str, Recording],
    config: StudyConfig | None = None,
    *,
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> TrainedDecoder:
    """Train on all rated trials; score by trial-grouped cross-validation beside baselines.

    Parameters
    ----------
    recordings : mapping of str to Recording
        By a name that stands in every result. All must share the EEG rate.
    config : StudyConfig, optional
        The defaults suit a session of some thirty trials.
    on_progress : callable
        Told what is being done, and how many of how many steps are done.

    Raises
    ------
    DataError
        If there are no rated trials, only one class, or the recordings' rates differ.
    CallError
        If there are fewer groups of trials than folds.
    """
    config = config or StudyConfig()
    if not recordings:
        raise CallError("found no recordings, expected at least one with rated trials")
    recipe, ch_names = shared_recipe(recordings, config)
    data = collect_trials(
        recordings, recipe, ch_names, dimensions=config.dimensions, midpoint=config.midpoint
    )
    require_two_classes(data)
    evaluation = evaluate(data, config, on_progress=on_progress)
    on_progress("final decoder", 0, 1)
    decoder = fit_decoder(data, np.arange(len(data.values)), config)
    on_progress("final decoder", 1, 1)
    evaluation["simulated"] = any(r.simulated for r in recordings.values())
    keys = ("protocol", "seed", "config", "config_hash", "versions", "data_fingerprints")
    metadata = {k: evaluation[k] for k in (*keys, "simulated")}
    return TrainedDecoder(replace(decoder, metadata=metadata), evaluation)


def require_two_classes(data: TrialData) -> None:
    """Refuse a dimension in which there is nothing to tell apart.

    Raises
    ------
    DataError
        If all its ratings are low, or high, or missing.
    """
    for d, name in enumerate(data.dimensions):
        classes = set(data.labels[:, d].tolist()) - {-1}
        if len(classes) < 2:
            which = {0: "low", 1: "high"}
            found = f"only {which[classes.pop()]} ratings" if classes else "no usable ratings"
            raise DataError(
                f"found {found} of {name}, expected trials of both classes; record more trials or "
                f"leave {name} out"
            )
