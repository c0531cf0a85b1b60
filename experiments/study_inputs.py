"""What the models of a study read: windows of one or several stores, with targets and folds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from physioemo.errors import DataError
from physioemo.experiments.disjoint import require_apart
from physioemo.experiments.folds import Fold
from physioemo.experiments.protocols import find_protocol, split
from physioemo.experiments.study_config import Study
from physioemo.experiments.study_data import Groups, StudyData, open_study_data
from physioemo.experiments.study_features import read_families
from physioemo.experiments.study_fused_options import learns_ratings, reads_trials
from physioemo.experiments.study_join import electrodes_of, join_stores
from physioemo.experiments.study_order import check_options
from physioemo.experiments.study_stimuli import (
    BLIND,
    check_pretrained,
    check_stimuli,
    protocol_options,
)
from physioemo.experiments.study_trust import require_enough
from physioemo.experiments.targets import Target, require_two_classes
from physioemo.experiments.trial_sequences import require_one_hop

__all__ = [
    "StudyInputs",
    "load_inputs",
    "protocol_line",
    "shared_electrodes",
]


@dataclass(frozen=True)
class StudyInputs:
    """Everything that the jobs of a study need.

    Parameters
    ----------
    families : mapping of str to ndarray, shape (window, ...)
        Features.
    coords : mapping of str to mapping of str to tuple of str
        Axes of each family.
    groups : Groups
        Where each window comes from.
    targets : ndarray, shape (window, dimension)
        Classes (-1 = missing) or ratings (NaN = missing).
    columns : tuple of str
        Names of the dimensions.
    classes : tuple of str
        Names of the classes; none for ratings. Of a joint target the numbers of the widest column.
    folds : list of (train, test)
        Window indices.
    sources : list of mapping
        What stands in the results: data sets, recipes, fingerprints, simulated.
    leaks : tuple of str
        What is on both sides of a split though a model reads it, one sentence each.
    ratings : ndarray, shape (window, dimension), optional
        From -1 to 1 (NaN = missing), where a model learns them beside classes.
    edges : tuple of float
        Where one class ends and the next begins, on the same scale.
    column_classes : tuple of tuple of str
        Names of the classes of each column of a joint target; nothing for others, whose columns
        are alike.
    """

    families: Mapping[str, np.ndarray]
    coords: Mapping[str, Mapping[str, tuple[str, ...]]]
    groups: Groups
    targets: np.ndarray
    columns: tuple[str, ...]
    classes: tuple[str, ...]
    folds: list[Fold]
    sources: list[Mapping[str, Any]]
    leaks: tuple[str, ...] = ()
    ratings: np.ndarray | None = None
    edges: tuple[float, ...] = ()
    column_classes: tuple[tuple[str, ...], ...] = ()

    def classes_of(self, column: int) -> tuple[str, ...]:
        """Return the names of the classes of a column; none for ratings."""
        return self.column_classes[column] if self.column_classes else self.classes

    def rated(self, column: int) -> np.ndarray:
        """Return which windows have a target."""
        values = self.targets[:, column]
        return np.isfinite(values) if values.dtype.kind == "f" else values >= 0


def load_inputs(study: Study) -> StudyInputs:
    """Read the stores, make targets and folds, and refuse what cannot be studied.

    Raises
    ------
    DataError
        If the stores lack a family, do not fit together, a training fold has one class only, or
        windows of two trials share samples across a split.
    CallError
        If the protocol does not fit the groups, or leakage is not allowed and a model reads a
        stimulus that is on both sides of a split, or has seen in pre-training what is tested.
    """
    check_options(study.models, study.target)
    needed = _needed_families(study)
    opened = [open_study_data(path, sorted(needed)) for path in study.stores]
    targets = np.concatenate([study.target.apply(d) for d in opened])
    names = {study.target.class_names(d) for d in opened}
    if len(names) > 1:
        raise DataError(
            f"found the classes {' and '.join(map(str, sorted(names)))}, expected the same in all "
            "stores; choose a target that they share"
        )
    for d in opened:
        _check_numbers(study, d)
    data, is_joint = join_stores(opened), study.target.kind == "joint"
    inputs = StudyInputs(
        families=data.families,
        coords=data.coords,
        groups=data.groups,
        targets=targets,
        columns=study.target.columns,
        classes=names.pop(),
        folds=split(study.protocol, data.groups, seed=study.seed, **protocol_options(study)),
        sources=[d.source for d in opened],
        column_classes=study.target.column_classes(opened[0]) if is_joint else (),
        **_ratings_of(study, opened),
    )
    if is_joint:
        for column, name in enumerate(inputs.columns):
            require_two_classes(targets[:, column], inputs.classes_of(column), f"of {name}")
    require_apart(inputs.groups, inputs.folds, study.protocol)
    _check_folds(inputs)
    if any(m.joint for m in study.models):
        _check_joint_folds(inputs)
    if any(reads_trials(m) for m in study.models):
        require_one_hop(inputs.groups)
    for column in range(len(inputs.columns)):
        rated = inputs.rated(column)
        for k, (train, test) in enumerate(inputs.folds):
            if not rated[test].any():
                continue  # nothing is promised of it
            require_enough(study, inputs.groups, train[rated[train]], k)
    readers = {m.label: read_families(m, study) for m in study.models}
    leaks = (*check_stimuli(study, inputs, readers), *check_pretrained(study, inputs))
    return replace(inputs, leaks=leaks)


def _check_numbers(study: Study, data: StudyData) -> None:
    """Refuse what is infinite, and a store of which a model would read nothing at all."""
    path = data.source["path"]
    infinite = {f: int(np.isinf(v).sum()) for f, v in data.families.items()}
    for family, n in infinite.items():
        if n:
            raise DataError(
                f"found infinite numbers ({n}) among the features {family!r} of {path}, expected "
                "finite ones, or NaN where one is missing; make the store anew"
            )
    empty = {f for f, v in data.families.items() if np.isnan(v).all()}
    for model in study.models:
        read = read_families(model, study)
        if read <= empty and model.name not in BLIND:
            raise DataError(
                f"found no number at all among the features {', '.join(sorted(read))} of {path}, "
                f"which {model.label!r} reads, expected some that are not missing; make the store "
                "anew, or name other families"
            )


def _ratings_of(study: Study, opened: Sequence[StudyData]) -> dict[str, Any]:
    """Return the ratings beside classes, and where classes meet, if a model asks for them."""
    if not any(learns_ratings(m) for m in study.models):
        return {}
    edges = {tuple(np.round(study.target.class_edges(d), 9).tolist()) for d in opened}
    if len(edges) > 1:
        raise DataError(
            f"found classes that meet at {' and '.join(map(str, sorted(edges)))} of scales from -1 "
            "to 1, expected the same in all stores for heads other than 'classes'; choose the "
            "midpoint, or one scale"
        )
    numbers = Target("continuous", study.target.dimensions)
    return {"ratings": np.concatenate([numbers.apply(d) for d in opened]), "edges": edges.pop()}


def _needed_families(study: Study) -> set[str]:
    needed: set[str] = set()
    for model in study.models:
        needed |= read_families(model, study)
    return needed


def shared_electrodes(study: Study, inputs: StudyInputs) -> tuple[str, ...]:
    """Return the electrodes that all stores have; none where there is one store."""
    return electrodes_of(inputs.coords) if len(study.stores) > 1 else ()


def _check_folds(inputs: StudyInputs) -> None:
    if inputs.targets.dtype.kind == "f":
        return
    for column, name in enumerate(inputs.columns):
        y = inputs.targets[:, column]
        for k, (train, test) in enumerate(inputs.folds):
            classes = np.unique(y[train][y[train] >= 0])
            if len(classes) < 2 and (y[test] >= 0).any():
                who = ", ".join(sorted(set(inputs.groups.person[test].tolist()))[:3])
                only = f"only the class {inputs.classes_of(column)[classes[0]]!r}"
                found = only if len(classes) else "none"
                raise DataError(
                    f"found {found} of {name} in the training windows of fold {k + 1} (tested: "
                    f"{who}), expected two or more classes; leave that subject out, or choose "
                    "another threshold or protocol"
                )


def _check_joint_folds(inputs: StudyInputs) -> None:
    """Refuse folds in which one network would not have everything to learn that it is to say."""
    for k, (train, _) in enumerate(inputs.folds):
        for column, name in enumerate(inputs.columns):
            y = inputs.targets[train, column]
            if len(np.unique(y[y >= 0])) < 2:
                raise DataError(
                    f"found fewer than two classes of {name} in the training windows of fold "
                    f"{k + 1}, expected two or more for a model with joint = true, which says all "
                    "dimensions; use folds over all subjects (within_subject = false), or leave "
                    "joint out"
                )


def protocol_line(study: Study) -> str:
    """Return the protocol in words."""
    row = find_protocol(study.protocol)
    options = ", ".join(f"{k} {v}" for k, v in study.protocol_options.items())
    return f"{study.protocol}{f' ({options})' if options else ''}: {row.description}"
