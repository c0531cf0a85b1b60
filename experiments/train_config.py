"""What ``physioemo train`` can be told in a TOML file; options on the command line win."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from physioemo.errors import CallError, RecordingNotFoundError
from physioemo.experiments.fused_config import FusedConfig, default_side
from physioemo.experiments.fused_stimulus import StimulusChoice, stimulus_files
from physioemo.experiments.fused_trust import TrustChoice
from physioemo.experiments.training import StudyConfig
from physioemo.features.stimulus_cache import stimulus_features
from physioemo.features.stimulus_features import StimulusFeatures
from physioemo.hints import unknown_name

__all__ = ["MODELS", "SETTINGS", "read_train_file", "train_config", "train_stimuli"]

MODELS = ("eeg", "fused")

SETTINGS: dict[str, type] = {
    "model": str,
    "families": list,
    "fusion": str,
    "modality_dropout": float,
    "eeg_first": bool,
    "midpoint": str,
    "preset": str,
    "window_seconds": float,
    "hop_seconds": float,
    "definition": str,
    "folds": int,
    "permutations": int,
    "epochs": int,
    "seed": int,
    "sides": dict,
    "stimuli": list,
    "stimulus": dict,
    "trust": dict,
    "heads": str,
    "rating_weight": float,
    "context": str,
    "pooling": str,
    "pretrained": str,
    "dimensions": list,
    "emotions": list,
    "emotion_of": dict,
    "emotion_weight": float,
}
"""The fields of the file and what each is."""

_NAMED = ("emotions", "emotion_of", "emotion_weight")
_MORE = ("trust", "heads", "rating_weight", "context", "pooling", "pretrained", *_NAMED)
"""What a decoder of the EEG alone may have as well, if it is a fused one."""
_OF_FUSED = (
    "families",
    "fusion",
    "modality_dropout",
    "eeg_first",
    "sides",
    "stimuli",
    "stimulus",
    *_MORE,
)
_OF_TRUST = {
    "risk": float,
    "certainty": float,
    "thresholds": list,
    "coverage": float,
    "cover": str,
    "calibration_share": float,
}
_OF_STIMULUS = {"modalities": list, "window_seconds": float, "n_pictures": int, "cache": str}
_OF_SIDE = ("window_seconds", "hop_seconds", "max_age_seconds", "hrv_window_seconds")
_KINDS = {
    bool: "true or false",
    str: "text",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a section",
}


def read_train_file(path: str | Path) -> dict[str, Any]:
    """Return the settings in a TOML file.

    Raises
    ------
    RecordingNotFoundError
        If there is no such file.
    CallError
        If it is no TOML, or a field is not known or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise RecordingNotFoundError(
            f"found no file at {path}, expected a TOML file such as families = ['eda', 'gaze']; "
            "check the path"
        )
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CallError(f"found {path} that is no TOML ({error}), expected settings") from error
    try:
        settings = {key: _checked(key, value) for key, value in content.items()}
    except CallError as error:
        raise CallError(f"{path}: {error}") from error
    if "stimuli" in settings:  # seen from the file's folder
        settings["stimuli"] = [str(path.parent / p) for p in settings["stimuli"]]
    if "pretrained" in settings:
        settings["pretrained"] = str(path.parent / settings["pretrained"])
    return settings


def _checked(key: str, value: Any) -> Any:
    if key not in SETTINGS:
        raise unknown_name("the field", key, SETTINGS)
    kind = SETTINGS[key]
    _require_kind(key, value, kind)
    return float(value) if kind is float else value


def _require_kind(key: str, value: Any, kind: type) -> None:
    fits = isinstance(value, int | float) if kind is float else isinstance(value, kind)
    if not fits or (isinstance(value, bool) and kind is not bool):
        raise CallError(f"found {key} = {value!r}, expected {_KINDS[kind]}")
    if kind is list and not all(isinstance(v, str) for v in value):
        raise CallError(f"found {key} = {value!r}, expected a list of names")


def train_config(settings: Mapping[str, Any]) -> StudyConfig:
    """Return the configuration of a training; a :class:`FusedConfig` for a fused model.

    Parameters
    ----------
    settings : mapping
        Fields of :data:`SETTINGS`; what is not named has its default. A fused model is one that
        is asked for, or whose families are named, or that has more than classes of windows.

    Raises
    ------
    CallError
        If a name is not known, or something is said that the model does not use.
    """
    said = {k: v for k, v in settings.items() if v is not None}
    beside = said.get("families") or said.get("stimuli") or any(k in said for k in _MORE)
    model = said.get("model", "fused" if beside else "eeg")
    if model not in MODELS:
        raise unknown_name("the model", model, MODELS)
    common = _common(said)
    if model == "eeg":
        unused = [k for k in _OF_FUSED if k in said]
        if unused:
            raise CallError(
                f"found {unused[0]} for the model 'eeg', which reads the EEG alone, expected the "
                "model 'fused'; use that, or leave it out"
            )
        return StudyConfig(**common)
    if not beside:
        raise CallError(
            "found no families for the model 'fused', expected those beside the EEG, such as "
            "eda, hrv, respiration, gaze, pupil; name them with --families, or --stimuli"
        )
    names = ("fusion", "modality_dropout", "eeg_first", *(k for k in _MORE if k != "trust"))
    fused = {k: said[k] for k in names if k in said}
    if "emotions" in fused:
        fused["emotions"] = tuple(fused["emotions"])
    if "emotion_of" in fused:
        fused["emotion_of"] = tuple(sorted(fused["emotion_of"].items()))
    sides = _sides(said.get("families", []), said.get("sides", {}))
    trust = _trust(said["trust"]) if "trust" in said else None
    return FusedConfig(**common, **fused, sides=sides, stimulus=_stimulus(said), trust=trust)


def train_stimuli(
    settings: Mapping[str, Any], config: StudyConfig, *, beside: Path | None = None
) -> list[StimulusFeatures]:
    """Return the features of the stimulus files that are named; none if they are not read.

    Parameters
    ----------
    settings : mapping
        Fields of :data:`SETTINGS`.
    config : StudyConfig
        From :func:`train_config`.
    beside : Path, optional
        Folder from which relative paths of ``[stimulus] cache`` are seen.

    Raises
    ------
    CallError, UnreadableFileError
        If a file is not there or cannot be decoded.
    """
    stimulus = getattr(config, "stimulus", None)
    if stimulus is None:
        return []
    cache = settings.get("stimulus", {}).get("cache")
    folder = None if cache is None else (beside or Path()) / cache
    paths = stimulus_files(settings["stimuli"])
    return [stimulus_features(path, folder, stimulus.recipe) for path in paths]


def _stimulus(said: Mapping[str, Any]) -> StimulusChoice | None:
    about = said.get("stimulus", {})
    for key, value in about.items():
        if key not in _OF_STIMULUS:
            raise unknown_name("the field of [stimulus]", key, _OF_STIMULUS)
        _require_kind(key, value, _OF_STIMULUS[key])
    if not said.get("stimuli"):
        if about:
            raise CallError(
                "found [stimulus] without stimuli, expected the files that were shown; name them "
                "with stimuli = ['clips'] or --stimuli"
            )
        return None
    own = {k: v for k, v in about.items() if k != "cache"}
    if "modalities" in own:
        own["modalities"] = tuple(own["modalities"])
    return StimulusChoice(**own)


def _trust(about: Mapping[str, Any]) -> TrustChoice:
    for key, value in about.items():
        if key not in _OF_TRUST:
            raise unknown_name("the field of [trust]", key, _OF_TRUST)
        if key != "thresholds":
            _require_kind(key, value, _OF_TRUST[key])
        elif not isinstance(value, list) or not all(_is_number(v) for v in value):
            raise CallError(f"found {key} = {value!r}, expected a list of numbers")
    said: dict[str, Any] = {k: tuple(v) if k == "thresholds" else v for k, v in about.items()}
    return TrustChoice(**said)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _common(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a :class:`StudyConfig` that are said."""
    base = StudyConfig()
    names = ("midpoint", "preset", "window_seconds", "hop_seconds", "definition", "seed")
    found = {k: said[k] for k in names if k in said}
    if "dimensions" in said:
        found["dimensions"] = _dimensions(said["dimensions"])
    for ours, theirs in (("folds", "n_folds"), ("permutations", "n_permutations")):
        if ours in said:
            found[theirs] = said[ours]
    if "epochs" in said:
        training = {**asdict(base.training), "n_epochs": said["epochs"]}
        found["training"] = type(base.training)(**training)
    return found


def _dimensions(names: list[str]) -> tuple[str, ...]:
    if not names or len(set(names)) < len(names):
        raise CallError(
            f"found dimensions = {names!r}, expected one or more, each once, such as "
            "['valence', 'arousal']"
        )
    return tuple(names)


def _sides(families: Iterable[str], about: Mapping[str, Any]) -> tuple[Any, ...]:
    names = list(families)
    if about and not names:
        raise CallError(
            f"found [sides.{next(iter(about))}] without families, expected its family among those "
            "beside the EEG; name it with families = [...] or --families"
        )
    for family in about:
        if family not in names:
            raise unknown_name("[sides] of the family", family, names)
    return tuple(default_side(name, **_side(name, about.get(name, {}))) for name in names)


def _side(family: str, about: Any) -> dict[str, float]:
    if not isinstance(about, dict):
        raise CallError(f"found sides.{family} = {about!r}, expected a section")
    for key, value in about.items():
        if key not in _OF_SIDE:
            raise unknown_name(f"the field of [sides.{family}]", key, _OF_SIDE)
        if not _is_number(value):
            raise CallError(f"found {key} = {value!r} in [sides.{family}], expected a number")
    return {key: float(value) for key, value in about.items()}
