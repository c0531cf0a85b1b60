"""The pieces of a study: computed once, each into one file, whole or not at all.

So a study can be interrupted at any time and spread over processes, and comes out the same.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.atomic_file import new_path
from physioemo.errors import CallError, DataError, PhysioEmoError
from physioemo.experiments.estimators import find_estimator
from physioemo.experiments.study_config import Study
from physioemo.experiments.study_inputs import StudyInputs, load_inputs

__all__ = ["compute_piece", "is_there", "raise_error", "read_piece"]


class _StudyKey:
    """A study by its hash and paths, so that a worker reads its stores once."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.key = f"{study.fingerprint} {study.stores}"

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _StudyKey) and self.key == other.key


@lru_cache(maxsize=1)
def _inputs_of(key: _StudyKey) -> StudyInputs:
    return load_inputs(key.study)


def is_there(name: str, folder: Path) -> bool:
    """Tell whether a piece was computed before."""
    return _path(name, folder).is_file()


def compute_piece(
    name: str,
    study: Study,
    folder: Path,
    model: int,
    work: Callable[[StudyInputs], Mapping[str, np.ndarray]],
) -> dict[str, Any]:
    """Compute one piece and write it; return its name and what went wrong.

    What cannot be fitted is reported, not raised, so that a study says of which model it is.

    Parameters
    ----------
    name : str
        Of the piece, and of its file in `folder`.
    study : Study
        What was declared.
    folder : Path
        Where the pieces lie.
    model : int
        Number of the model that it is of.
    work : callable
        ``work(inputs)`` returns the arrays to keep.
    """
    from threadpoolctl import threadpool_limits

    choice = study.models[model]
    networks = find_estimator(choice.name).uses_torch
    try:
        # Small linear fits lose more to the start of threads than they win, and their last bits
        # would depend on how many there are.
        with threadpool_limits(limits=None if networks else 1):
            content: dict[str, Any] = dict(work(_inputs_of(_StudyKey(study))))
    except PhysioEmoError as error:
        wrong_call = isinstance(error, CallError)
        return {"job": name, "error": f"{choice.label}: {error}", "wrong_call": wrong_call}
    with new_path(_path(name, folder), overwrite=True) as partial, partial.open("wb") as file:
        np.savez(file, **content)
    return {"job": name, "reused": False, "error": ""}


def read_piece(name: str, folder: Path) -> dict[str, np.ndarray]:
    """Return the arrays of a piece that is there."""
    with np.load(_path(name, folder), allow_pickle=False) as file:
        return {key: file[key] for key in file.files}


def raise_error(outcomes: Iterable[Mapping[str, Any]]) -> None:
    """Raise the first error that :func:`compute_piece` reports."""
    for outcome in outcomes:
        if outcome["error"]:
            raise (CallError if outcome["wrong_call"] else DataError)(outcome["error"])


def _path(name: str, folder: Path) -> Path:
    return folder / f"{name}.npz"
