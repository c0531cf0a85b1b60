"""Audit what lies at a path: a feature store, a study's folder, or a split that names its store."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.experiments.audit import audit, default_targets
from physioemo.experiments.audit_report import AuditReport
from physioemo.experiments.folds import name_codes
from physioemo.experiments.outside_splits import read_split, stores_of, study_split
from physioemo.experiments.protocols import DEFAULT_PROTOCOL, find_protocol
from physioemo.experiments.protocols import split as protocol_folds
from physioemo.experiments.study_data import StudyData, open_study_data
from physioemo.experiments.study_join import join_stores

__all__ = ["audit_path"]

_SHUFFLED = "window-shuffled"


def _open(paths: list[Path]) -> tuple[StudyData, dict[str, np.ndarray] | None]:
    """Return the windows of some stores as a study has them, and targets where there are several.

    What one store has no rating or label of is missing in its windows.
    """
    if len(paths) == 1:
        return open_study_data(paths[0]), None
    whole = [open_study_data(p) for p in paths]
    shared = sorted(set.intersection(*({*d.families} for d in whole)))
    if not shared:
        raise DataError(
            f"found no features that {' and '.join(p.name for p in paths)} share, expected some; "
            "make the stores with the same --features"
        )
    opened = [replace(d, families={f: d.families[f] for f in shared},
                      coords={f: d.coords[f] for f in shared}) for d in whole]  # fmt: skip
    own = [{} if d.labels is not None else default_targets(d) for d in opened]
    targets = {
        name: np.concatenate(
            [t.get(name, np.full(len(d), -1)) for t, d in zip(own, opened, strict=True)]
        )
        for name in dict.fromkeys(n for t in own for n in t)
    }
    if any(d.labels is not None for d in opened):
        named = np.concatenate([
            np.full(len(d), "", object) if d.labels is None else d.labels.astype(object)
            for d in opened
        ])  # fmt: skip
        code = name_codes(named[named != ""])[1]
        targets["label"] = np.full(len(named), -1)
        targets["label"][named != ""] = code
    return join_stores(opened), targets


def audit_path(
    path: str | Path,
    split: str | Path | None = None,
    *,
    protocol: str | None = None,
    n_permutations: int = 200,
    seed: int = 0,
) -> tuple[AuditReport, AuditReport | None]:
    """Return the audit of what lies at a path.

    Parameters
    ----------
    path : str or Path
        A feature store; a study's folder with ``splits.json``; or a split that names its store.
    split : str or Path, optional
        A split of the feature store at `path`.
    protocol : str, optional
        What the split claims to be; without a split the protocol that is audited.
    n_permutations : int
        Runs with permuted labels.
    seed : int
        Source of chance.

    Returns
    -------
    report : AuditReport
    shuffled : AuditReport or None
        Where there is no split: the same windows shuffled into folds.

    Raises
    ------
    CallError
        If there is no such protocol, or a split is given for something that has its own.
    DataError, UnreadableFileError, RecordingNotFoundError
        If the store or the split cannot be used.
    """
    path = Path(path)
    if protocol:
        find_protocol(protocol)
    is_store = (path / "zarr.json").is_file() or not path.exists()
    if not is_store:
        if split is not None:
            raise CallError(
                f"found --split {split} for {path}, which brings its own split, expected a feature "
                "store; give one of them"
            )
        split = study_split(path) if path.is_dir() else path
        data, targets = _open(stores_of(split))
    else:
        data, targets = open_study_data(path), None
    if split is not None:
        found = read_split(split, len(data))
        report = audit(
            data,
            found.folds,
            protocol=protocol or found.protocol,
            targets=targets,
            fitted_on=found.fitted_on,
            declared_leaky=found.leaky,
            n_permutations=n_permutations,
            seed=seed,
        )
        return report, None
    name = protocol or DEFAULT_PROTOCOL
    leaky = find_protocol(name).leaky
    own: dict[str, Any] = {"allow_leakage": True} if leaky else {}
    folds = protocol_folds(name, data.groups, seed=seed, **own)
    report = audit(
        data,
        folds,
        protocol=name,
        declared_leaky=leaky,
        fitted_on={"features": "nothing"},
        n_permutations=n_permutations,
        seed=seed,
    )
    if leaky:
        return report, None
    mixed = protocol_folds(_SHUFFLED, data.groups, seed=seed, allow_leakage=True)
    return report, audit(data, mixed, protocol=_SHUFFLED, n_permutations=n_permutations, seed=seed)
