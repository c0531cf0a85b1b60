"""The trained models of a study, kept on request: one folder per model, dimension and fold.

Models of permuted labels are not kept. A study that was interrupted keeps what is missing when it
goes on; a finished one that is run again with ``keep_models`` computes and keeps them all.
"""

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physioemo.errors import CallError, RecordingNotFoundError
from physioemo.experiments.estimator_store import DESCRIPTION, load_estimator, save_estimator
from physioemo.experiments.estimators import find_estimator
from physioemo.experiments.targets import Target

if TYPE_CHECKING:
    from physioemo.experiments.study_config import ModelChoice, Study
    from physioemo.experiments.study_inputs import StudyInputs

__all__ = ["MODELS", "is_kept", "keep_model", "kept_folder", "kept_predictions", "load_kept"]

MODELS = "models"
_ALL = "all"


def kept_folder(
    out: str | Path, study: dict[str, Any], label: str, dimension: str, fold: int
) -> Path:
    """Return where a model of a study is kept.

    Parameters
    ----------
    out : str or Path
        The study's folder.
    study : dict
        The study as ``config.json`` holds it.
    label : str
        The model.
    dimension : str
        What it predicts; any of a joint model.
    fold : int
        Number of the fold, from 0.

    Raises
    ------
    CallError
        If the study has no such model or dimension.
    """
    labels = [m["label"] for m in study["models"]]
    dimensions = Target.from_dict(study["target"]).columns
    for what, name, known in (("model", label, labels), ("dimension", dimension, dimensions)):
        if name not in known:
            raise CallError(f"found the {what} {name!r}, expected one of {', '.join(known)}")
    number = labels.index(label)
    place = _ALL if study["models"][number].get("joint") else dimension
    # Any text can be a label; the number keeps two apart that look alike as a file.
    safe = re.sub(r"[^A-Za-z0-9.-]+", "_", f"{number:02d}-{label}")
    column = re.sub(r"[^A-Za-z0-9.-]+", "_", place)
    return Path(out) / MODELS / safe / column / f"fold-{fold:04d}"


def keep_model(
    out: Path,
    estimator: Any,
    study: "Study",
    choice: "ModelChoice",
    column: int,
    inputs: "StudyInputs",
    fold: int,
) -> None:
    """Write one fitted model of a study.

    Parameters
    ----------
    out : Path
        The study's folder.
    estimator : object
        Fitted to the true labels of the fold's training windows.
    study, choice, column, inputs, fold
        What it is: the study, the model, the number of its dimension, the data, the fold.
    """
    dimensions = list(inputs.columns) if choice.joint else [inputs.columns[column]]
    metadata = {
        "study": study.name,
        "study_hash": study.fingerprint,
        "model": choice.label,
        "dimensions": dimensions,
        "classes": list(inputs.classes if choice.joint else inputs.classes_of(column)),
        "fold": int(fold),
        "protocol": study.protocol,
        "leaky": study.leaky or bool(inputs.leaks),
        "simulated": any(bool(s["simulated"]) for s in inputs.sources),
        "recipes": sorted({str(s.get("recipe_hash", "")) for s in inputs.sources}),
        "axes": {family: dict(axes) for family, axes in inputs.coords.items()},
    }
    where = kept_folder(out, study.to_dict(), choice.label, dimensions[0], fold)
    save_estimator(where, estimator, name=choice.name, joint=choice.joint, metadata=metadata)


def is_kept(out: Path, study: "Study", model: int, column: int, folds: np.ndarray) -> bool:
    """Return whether a model of each of these folds is there."""
    described = study.to_dict()
    dimension = study.target.columns[max(column, 0)]
    label = study.models[model].label
    return all(
        (kept_folder(out, described, label, dimension, int(f)) / DESCRIPTION).is_file()
        for f in folds
    )


def load_kept(out: str | Path, label: str, dimension: str, fold: int) -> tuple[Any, dict[str, Any]]:
    """Read a model that a study kept.

    Parameters
    ----------
    out : str or Path
        The study's folder.
    label, dimension, fold
        As for :func:`kept_folder`.

    Returns
    -------
    estimator : object
        Fitted; it reads the features of its study, see ``axes`` of the metadata.
    metadata : dict
        The study, its data and what the model predicts.

    Raises
    ------
    RecordingNotFoundError
        If the folder holds no study, or that model was not kept.
    CheckpointError
        If it is damaged.
    """
    path = Path(out) / "config.json"
    if not path.is_file():
        raise RecordingNotFoundError(
            f"found no study in {out}, expected the folder of one; check the path"
        )
    described = json.loads(path.read_text(encoding="utf-8"))["study"]
    folder = kept_folder(out, described, label, dimension, fold)
    if not folder.is_dir():
        raise RecordingNotFoundError(
            f"found no model at {folder}, expected one that was kept; run the study with "
            "--keep-models"
        )
    return load_estimator(folder)


def kept_predictions(
    out: str | Path, study: "Study", label: str, dimension: str, fold: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return what a kept model says of the windows on which its study tested it, bit for bit.

    Parameters
    ----------
    out, label, dimension, fold
        As for :func:`load_kept`.
    study : Study
        The one that was run, with its stores.

    Returns
    -------
    rows : ndarray of int, shape (window,)
        Tested windows of the study.
    said : ndarray, shape (window, class)
        Probabilities, or one column of ratings.

    Raises
    ------
    RecordingNotFoundError, CheckpointError
        As for :func:`load_kept`.
    CallError
        If the model is of another study.
    """
    from threadpoolctl import threadpool_limits

    from physioemo.experiments.study_features import feature_rows
    from physioemo.experiments.study_fits import said_of
    from physioemo.experiments.study_inputs import load_inputs
    from physioemo.experiments.study_joint import ALL_COLUMNS, rated_rows

    estimator, metadata = load_kept(out, label, dimension, fold)
    if metadata["study_hash"] != study.fingerprint:
        raise CallError(
            f"found a model of the study {metadata['study_hash']}, expected {study.fingerprint}; "
            "give the study that kept it"
        )
    inputs = load_inputs(study)
    choice = next(m for m in study.models if m.label == label)
    column = inputs.columns.index(dimension)
    rated = rated_rows(inputs, ALL_COLUMNS if choice.joint else column)
    rows = inputs.folds[fold][1]
    rows = rows[rated[rows]]
    features = feature_rows(choice, study, inputs)[rows]
    with threadpool_limits(limits=None if find_estimator(choice.name).uses_torch else 1):
        said = said_of(estimator, features, inputs.groups.take(rows))
    n_classes = max(1, len(inputs.classes_of(column)))
    return rows, said[:, column, :n_classes] if choice.joint else said
