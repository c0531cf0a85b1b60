"""What a TOML file may say of a pre-training, checked before anything is computed."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from physioemo.errors import CallError, RecordingNotFoundError
from physioemo.experiments.pretrain import PretrainPlan
from physioemo.experiments.pretrain_data import (
    UnlabelledData,
    is_feature_store,
    read_recordings,
    read_stores,
)
from physioemo.features.stimulus_family import StimulusCut
from physioemo.features.stimulus_files import find_stimuli
from physioemo.hints import nearest
from physioemo.models.pretraining import PretrainingConfig

__all__ = ["DataChoice", "read_data", "read_plan"]

_PLAN = ("preset", "dimensions", "n_outputs", "fusion", "held_out_share", "seed")


@dataclass(frozen=True, kw_only=True)
class DataChoice:
    """Which windows.

    Parameters
    ----------
    paths : tuple of Path
        Feature stores, or recordings.
    families : tuple of str
        Features of a store; by default all that are small enough. Of recordings with stimuli, some
        of ``de`` and the families of the stimulus.
    window_seconds, hop_seconds : float
        For recordings.
    stimuli : tuple of Path
        For recordings: the files that were shown, folders or tables of them.
    allow_missing_stimuli : bool
        Mask a stimulus that has no file.
    stimulus_mels, stimulus_pictures : int
        Bands of the sound, and pictures in a window.
    """

    paths: tuple[Path, ...] = ()
    families: tuple[str, ...] = ()
    window_seconds: float = 1.0
    hop_seconds: float = 0.5
    stimuli: tuple[Path, ...] = ()
    allow_missing_stimuli: bool = False
    stimulus_mels: int = 128
    stimulus_pictures: int = 4


def read_plan(path: str | Path) -> tuple[PretrainPlan, DataChoice]:
    """Read a pre-training from a TOML file; paths in it are seen from its folder.

    ::

        preset = "tiny"
        seed = 0
        held_out_share = 0.1
        [data]
        paths = ["features.zarr"]
        families = ["de", "hrv"]
        [training]
        n_epochs = 200
        [encoders.de]
        preset = "study"

    Parameters
    ----------
    path : str or Path
        The file.

    Raises
    ------
    RecordingNotFoundError
        If there is no such file.
    CallError
        If something in it is unknown or of the wrong kind.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordingNotFoundError(f"found no file at {path}, expected a TOML file")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CallError(f"found {path} that is no TOML ({error}), expected a plan") from error
    try:
        return _plan(content), _data(content, path.parent)
    except (CallError, TypeError, AttributeError) as error:
        raise CallError(f"{path}: {error}") from error


def read_data(choice: DataChoice, *, cache: str | Path | None = None) -> UnlabelledData:
    """Read the windows that were chosen.

    Parameters
    ----------
    choice : DataChoice
        Which.
    cache : str or Path, optional
        Folder of decoded stimuli.

    Raises
    ------
    CallError
        If there is no path, stores and recordings are mixed, or options do not fit them.
    """
    from physioemo.store import open_recording

    stores = [p for p in choice.paths if is_feature_store(p)]
    if not choice.paths or 0 < len(stores) < len(choice.paths):
        raise CallError(
            f"found {len(stores)} feature stores among {len(choice.paths)} paths, expected one or "
            "more paths, all feature stores or all recordings"
        )
    if stores and choice.stimuli:
        raise CallError(
            "found stimuli for feature stores, expected recordings; a store holds what 'physioemo "
            "preprocess --stimuli' put in, so name its families"
        )
    if stores:
        return read_stores(stores, choice.families)
    if choice.families and not choice.stimuli:
        raise CallError(
            "found --families for recordings, expected a feature store; make one with 'physioemo "
            "preprocess recording'"
        )
    names = [p.stem if sum(q.stem == p.stem for q in choice.paths) == 1 else p.as_posix()
             for p in choice.paths]  # fmt: skip
    opened = {n: open_recording(p) for n, p in zip(names, choice.paths, strict=True)}
    allow = choice.allow_missing_stimuli
    return read_recordings(
        opened,
        window_seconds=choice.window_seconds,
        hop_seconds=choice.hop_seconds,
        stimuli=find_stimuli(choice.stimuli, cache=cache, allow_missing=allow)
        if choice.stimuli
        else None,
        families=choice.families,
        cut=StimulusCut(n_mels=choice.stimulus_mels, n_pictures=choice.stimulus_pictures),
    )


def _plan(content: Mapping[str, Any]) -> PretrainPlan:
    _check_keys(content, (*_PLAN, "data", "training", "encoders"), "the plan")
    training = content.get("training", {})
    _check_keys(training, [f.name for f in fields(PretrainingConfig)], "[training]")
    config = PretrainingConfig(**training)
    if "seed" in content:
        config = replace(config, seed=content["seed"])
    chosen = {k: content[k] for k in _PLAN if k in content and k != "seed"}
    if "dimensions" in chosen:
        chosen["dimensions"] = tuple(chosen["dimensions"])
    return PretrainPlan(**chosen, encoders=content.get("encoders", {}), training=config)


def _data(content: Mapping[str, Any], folder: Path) -> DataChoice:
    data = content.get("data", {})
    _check_keys(data, [f.name for f in fields(DataChoice)], "[data]")
    lists = {
        "paths": tuple(folder / p for p in data.get("paths", ())),
        "families": tuple(data.get("families", ())),
        "stimuli": tuple(folder / p for p in data.get("stimuli", ())),
    }
    return DataChoice(**{**data, **lists})


def _check_keys(section: Any, valid: Iterable[str], where: str) -> None:
    names = list(valid)
    for key in section:
        if key not in names:
            hint = nearest(key, names)
            raise CallError(f"found {key!r} in {where}, expected some of {', '.join(names)}{hint}")
