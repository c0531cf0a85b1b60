"""Splits that somebody else made, as CSV or JSON; windows are rows of a feature store, from 0.

CSV, with a header; other columns are ignored::

    window,fold,part      part is train, validation or test; a window may be in many folds
    window,fold           each window is tested in its fold and trains in all others
    window,part           one fold
    fold                  one row per window of the store, in its order; -1 is never tested

JSON::

    {"folds": [{"train": [...], "validation": [...], "test": [...]}, ...]}
    {"train": [...], "test": [...]}          one fold
    [{"train": [...], "test": [...]}, ...]   folds alone
    {"test_fold": [0, 1, ...]}               one number per window, -1 is never tested

A JSON object may also have ``protocol`` (a name), ``leaky`` (true or false), ``fitted_on`` (for
each step on what it was fitted: ``training``, ``trial``, ``nothing``, or something that leaks),
``n_windows``, and ``config`` with ``store``, the path of the feature store, seen from the file's
folder, or ``stores``, of a study over several. A study's folder has this as ``splits.json``;
``config`` may stand in ``config.json`` beside it. Validation windows count as training: they choose
the model.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import DataError, RecordingNotFoundError, UnreadableFileError
from physioemo.experiments.audit_shared import check_folds
from physioemo.experiments.folds import Fold, name_codes

__all__ = ["OutsideSplit", "read_split", "store_of", "stores_of", "study_split", "write_split"]

_PARTS = {"train": 0, "training": 0, "validation": 0, "val": 0, "test": 1, "testing": 1}
_LIKE_WINDOW = ("index", "idx", "row", "sample", "segment", "epoch", "id")
_ALIKE = 0.75
_TRAINING_KEYS = ("train", "validation")


@dataclass(frozen=True)
class OutsideSplit:
    """A split that was read.

    Parameters
    ----------
    folds : list of (train, test)
        Window indices.
    protocol : str or None
        The protocol that it claims to be of.
    leaky : bool
        Whether it says itself that it leaks.
    fitted_on : mapping of str to str
        On what each step was fitted.
    store : Path or None
        The feature store.
    stores : tuple of Path
        Of a study over several: all of them, whose windows follow each other in this order.
    """

    folds: list[Fold]
    protocol: str | None = None
    leaky: bool = False
    fitted_on: Mapping[str, str] = field(default_factory=dict)
    store: Path | None = None
    stores: tuple[Path, ...] = ()


def write_split(path: str | Path, split: OutsideSplit) -> None:
    """Write a split as :func:`read_split` reads it, the paths of the stores as they are."""
    named = {"stores": [str(s) for s in split.stores]} if split.stores else {}
    content = {
        "protocol": split.protocol,
        "leaky": split.leaky,
        "fitted_on": dict(split.fitted_on),
        "config": {"store": str(split.store)} if split.store else named,
        "folds": [{"train": a.tolist(), "test": b.tolist()} for a, b in split.folds],
    }
    Path(path).write_text(json.dumps(content), encoding="utf-8")


def study_split(folder: str | Path) -> Path:
    """Return the ``splits.json`` of a study's folder.

    Raises
    ------
    RecordingNotFoundError
        If there is none.
    """
    path = Path(folder) / "splits.json"
    if not path.is_file():
        raise RecordingNotFoundError(
            f"found no splits.json in {folder}, expected a study's folder or a feature store; "
            "check the path"
        )
    return path


def stores_of(path: str | Path) -> list[Path]:
    """Return the feature stores that a split names, one or several of one study.

    Raises
    ------
    DataError
        If it names none.
    """
    path = Path(path)
    content = _load(path) if path.suffix.lower() == ".json" else {}
    own = content.get("config") if isinstance(content, dict) else None
    several = own.get("stores") if isinstance(own, dict) else None
    if not (isinstance(several, list) and several and all(isinstance(s, str) for s in several)):
        return [store_of(path)]
    return [path.parent / name for name in several]


def store_of(path: str | Path) -> Path:
    """Return the feature store that a split names.

    Raises
    ------
    DataError
        If it names none.
    """
    path = Path(path)
    content = _load(path) if path.suffix.lower() == ".json" else {}
    beside = path.with_name("config.json")
    own = content.get("config") if isinstance(content, dict) else None
    if not (isinstance(own, dict) and "store" in own) and beside.is_file():
        own = _load(beside)
    store = own.get("store") if isinstance(own, dict) else None
    if not isinstance(store, str):
        raise DataError(
            f"found no feature store named in {path}, expected config.store; give the store first: "
            f"physioemo audit STORE --split {path}"
        )
    return path.parent / store


def read_split(path: str | Path, n_windows: int) -> OutsideSplit:
    """Read a split from a CSV or JSON file.

    Parameters
    ----------
    path : str or Path
        The file.
    n_windows : int
        How many windows the feature store has.

    Raises
    ------
    RecordingNotFoundError
        If there is no file.
    UnreadableFileError
        If the file is not of a form that is told above.
    DataError
        If its length is not that of the store, a window is not known, or stands on both sides.
    """
    path = Path(path)
    if path.suffix.lower() == ".json":
        found = _from_json(path, _load(path), n_windows)
    else:
        found = OutsideSplit(_from_csv(path, n_windows))
    check_folds(found.folds, n_windows, str(path))
    return found


def _text(path: Path) -> str:
    if not path.is_file():
        raise RecordingNotFoundError(
            f"found no file at {path}, expected a split as CSV or JSON; check the path"
        )
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise _unreadable(path, f"bytes that are no text ({error.reason})") from error


def _unreadable(path: Path, what: str) -> UnreadableFileError:
    return UnreadableFileError(
        f"found {what} in {path}, expected a split: CSV with the columns window, fold, part, or "
        "JSON with folds of train and test"
    )


def _load(path: Path) -> Any:
    try:
        return json.loads(_text(path))
    except ValueError as error:
        raise _unreadable(path, f"damaged JSON ({error})") from error


def _from_json(path: Path, content: Any, n_windows: int) -> OutsideSplit:
    if isinstance(content, list):
        content = {"folds": content}
    if not isinstance(content, dict):
        raise _unreadable(path, f"a {type(content).__name__}")
    if "n_windows" in content:
        _check_length(path, content["n_windows"], n_windows)
    if "test_fold" in content:
        folds = _tested_in(path, _numbers(path, content["test_fold"], "test_fold"), n_windows)
    else:
        rows = content.get("folds", [content] if "train" in content else None)
        if not isinstance(rows, list):
            raise _unreadable(path, f"the entries {', '.join(map(str, content)) or 'none'}")
        folds = [_json_fold(path, k, row) for k, row in enumerate(rows)]
    protocol, steps = content.get("protocol"), content.get("fitted_on") or {}
    if not (isinstance(steps, dict) and (protocol is None or isinstance(protocol, str))):
        raise _unreadable(path, f"protocol {protocol!r} and fitted_on {steps!r}")
    return OutsideSplit(
        folds,
        protocol,
        content.get("leaky") is True,
        {str(k): str(v) for k, v in steps.items()},
    )


def _json_fold(path: Path, k: int, row: Any) -> Fold:
    if not (isinstance(row, dict) and "train" in row and "test" in row):
        raise _unreadable(path, f"fold {k} without 'train' and 'test'")
    train = [_numbers(path, row[key], f"fold {k}") for key in _TRAINING_KEYS if key in row]
    return np.concatenate(train), _numbers(path, row["test"], f"fold {k}")


def _numbers(path: Path, values: Any, where: str) -> np.ndarray:
    whole = isinstance(values, list) and all(
        isinstance(v, int) and not isinstance(v, bool) for v in values
    )
    if not whole:
        wrong = next((v for v in values if type(v) is not int), "") if values else values
        raise _unreadable(path, f"{wrong!r} for a window's number in {where}")
    return np.array(values, np.int64)


def _check_length(path: Path, found: Any, n_windows: int) -> None:
    if found != n_windows:
        raise DataError(
            f"found a split of {found} windows in {path}, expected {n_windows} as in the feature "
            "store; give the store that the split was made on"
        )


def _tested_in(path: Path, fold: np.ndarray, n_windows: int) -> list[Fold]:
    _check_length(path, len(fold), n_windows)
    rows = np.arange(n_windows)
    return [(rows[fold != k], rows[fold == k]) for k in np.unique(fold[fold >= 0])]


def _from_csv(path: Path, n_windows: int) -> list[Fold]:
    reader = csv.DictReader(_text(path).splitlines(), skipinitialspace=True)
    columns = {str(name).strip().lower(): name for name in reader.fieldnames or ()}
    if "fold" not in columns and not {"window", "part"} <= set(columns):
        raise _unreadable(path, f"the columns {', '.join(columns) or 'none'}")
    rows = list(reader)

    def column(name: str) -> list[str]:
        return [str(row[columns[name]] or "").strip() for row in rows]

    names = column("fold") if "fold" in columns else ["0"] * len(rows)
    if "window" not in columns:
        _require_order(path, columns)
        return _tested_in(path, _whole(path, names, "fold"), n_windows)
    windows = _whole(path, column("window"), "window")
    if "part" in columns:
        return _csv_parts(path, windows, names, column("part"))
    _check_tested_once(path, windows)
    _check_length(path, len(windows), n_windows)
    order, code = name_codes(np.array(names, object))
    return [(windows[code != k], windows[code == k]) for k in range(len(order))]


def _require_order(path: Path, columns: Mapping[str, str]) -> None:
    """Refuse rows that are in the store's order only if a column is misread."""
    others = [c for c in columns if c != "fold"]
    numbers = [c for c in others if c == "part" or c in _LIKE_WINDOW or get_close_matches(
        c, ["window"], cutoff=_ALIKE)]  # fmt: skip
    if numbers:
        raise UnreadableFileError(
            f"found the column {numbers[0]!r} without 'window' in {path}, expected 'window' with "
            "the numbers of windows; rename it, or leave 'fold' alone for one row per window in "
            "the order of the store"
        )


def _check_tested_once(path: Path, windows: np.ndarray) -> None:
    values, counts = np.unique(windows, return_counts=True)
    if (counts > 1).any():
        raise DataError(
            f"found the window {values[counts > 1][0]} in several rows of {path}, expected one "
            "row each; say with a column 'part' which is training and which is test"
        )


def _csv_parts(
    path: Path, windows: np.ndarray, names: Sequence[str], parts: Sequence[str]
) -> list[Fold]:
    for k, part in enumerate(parts):
        if part.lower() not in _PARTS:
            raise UnreadableFileError(
                f"found the part {part!r} in line {k + 2} of {path}, expected train, validation "
                "or test"
            )
    tested = np.array([_PARTS[p.lower()] for p in parts], bool)
    order, code = name_codes(np.array(names, object))
    return [
        (windows[(code == k) & ~tested], windows[(code == k) & tested]) for k in range(len(order))
    ]


def _whole(path: Path, texts: Sequence[str], what: str) -> np.ndarray:
    for k, text in enumerate(texts):
        if not text.removeprefix("-").isascii() or not text.removeprefix("-").isdigit():
            raise UnreadableFileError(
                f"found {text!r} in line {k + 2} of {path}, expected the number of a {what}"
            )
    return np.array([int(t) for t in texts], np.int64)
