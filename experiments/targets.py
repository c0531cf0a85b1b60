"""What a study predicts, and how a rating becomes it.

Published scores hang on choices that papers leave out: 5.0 on the scale from 1 to 9 counts as
high in one toolkit and as low in another, a third cuts at 4.5; ``int(rating) - 1`` truncates, so
that the top class is for 9.0 exactly; a missing rating becomes some class. Here the threshold and
what happens at it are part of the target, bins follow the range of the scale, and a missing rating
stays missing. A joint target asks two questions at once, of data sets of which each answers one:
films that were named (SEED) and films that were rated (DEAP).
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.experiments.study_data import StudyData
from physioemo.experiments.target_rules import (
    AT_THRESHOLD,
    MISSING,
    bin_edges,
    binary_classes,
    binned_classes,
    class_order,
    class_weights,
    label_numbers,
    rating_scale,
    ratings_of,
    require_two_classes,
)
from physioemo.hints import unknown_name

__all__ = ["EMOTION", "KINDS", "MISSING", "Target", "class_weights", "require_two_classes"]

KINDS = ("binary", "multiclass", "ordinal", "continuous", "labels", "joint")
MIDPOINT = "midpoint"
EMOTION = "emotion"
"""The column of named emotions in a joint target."""

_LABELS = "label"
_LOW_HIGH = ("low", "high")
# Which fields a kind may have besides its dimensions.
_FIELDS = {
    "binary": ("threshold", "at_threshold"),
    "multiclass": ("n_bins", "edges"),
    "ordinal": ("n_bins", "edges"),
    "continuous": (),
    "labels": ("classes",),
    "joint": ("threshold", "at_threshold", "emotions"),
}


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Parameters
    ----------
    kind : {"binary", "multiclass", "ordinal", "continuous", "labels", "joint"}
        Two classes at a threshold; classes by bins of the scale; the same in their order, for
        cumulative-link models, one level for each whole number by default; the rating scaled to -1
        to 1; the data set's own classes; two classes of each dimension and the data set's own
        classes side by side, where a store may have either.
    dimensions : tuple of str
        What is rated, one column each; none for ``"labels"``.
    threshold : "midpoint" or float, optional
        Binary and joint: a rating above it is high (1). It must be stated.
    at_threshold : {"drop", "low", "high"}
        Binary and joint: what a rating exactly at the threshold is.
    n_bins : int, optional
        Multiclass and ordinal: number of bins of equal width over the scale.
    edges : tuple of float, optional
        Multiclass and ordinal: where one bin ends and the next begins, within the scale. A rating
        at an edge is in the upper bin.
    classes : tuple of str
        Labels: names in the order of their numbers; by default as the data set orders them.
    emotions : tuple of str
        Joint: the labels of all stores together, in the order of their numbers; the column is
        called :data:`EMOTION`.

    Raises
    ------
    CallError
        If the fields do not make a target.
    """

    kind: str
    dimensions: tuple[str, ...] = ()
    threshold: str | float | None = None
    at_threshold: str = "drop"
    n_bins: int | None = None
    edges: tuple[float, ...] | None = None
    classes: tuple[str, ...] = ()
    emotions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("the target kind", self.kind, KINDS)
        for name in ("dimensions", "edges", "classes", "emotions"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise CallError(f"found {name} = {value!r}, expected a list, also of one")
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        for name in ("dimensions", "classes", "emotions"):
            other = [v for v in getattr(self, name) if not isinstance(v, str) or not v]
            if other:
                raise CallError(f"found {other[0]!r} among the {name}, expected names; correct it")
        self._check_fields()
        self._check_dimensions()
        if self.kind in ("binary", "joint"):
            self._check_threshold()
            self._check_emotions()
        elif self.kind in ("multiclass", "ordinal"):
            self._check_bins()
        elif len(set(self.classes)) != len(self.classes) or len(self.classes) == 1:
            raise CallError(f"found the classes {self.classes}, expected two or more, each once")

    def _check_fields(self) -> None:
        for f in fields(self)[2:]:
            if getattr(self, f.name) != f.default and f.name not in _FIELDS[self.kind]:
                fitting = ", ".join(k for k in KINDS if f.name in _FIELDS[k])
                raise CallError(
                    f"found {f.name} for a {self.kind} target, expected it for {fitting} only; "
                    "leave it out or change the kind"
                )

    def _check_dimensions(self) -> None:
        if self.kind == "labels" and self.dimensions:
            raise CallError(
                f"found the dimensions {', '.join(self.dimensions)} for labels, expected none; "
                "labels are one column"
            )
        if self.kind != "labels" and not self.dimensions:
            raise CallError(
                f"found no dimension for a {self.kind} target, expected at least one, such as "
                "valence; name what is rated"
            )
        if len(set(self.dimensions)) != len(self.dimensions):
            raise CallError(f"found the dimensions {self.dimensions}, expected each once")

    def _check_emotions(self) -> None:
        names = self.emotions
        if self.kind == "joint" and (len(names) < 2 or len(set(names)) < len(names)):
            raise CallError(
                f"found the emotions {', '.join(names) or 'none'} for a joint target, expected two "
                "or more, each once; name all labels of all stores, such as negative, neutral, "
                "positive"
            )
        if self.kind == "joint" and EMOTION in self.dimensions:
            raise CallError(
                f"found the dimension {EMOTION!r} in a joint target, whose named emotions are "
                "called so, expected others; rename it in the store"
            )

    def _check_threshold(self) -> None:
        number = isinstance(self.threshold, int | float) and not isinstance(self.threshold, bool)
        if not (number and np.isfinite(float(self.threshold or 0))) and self.threshold != MIDPOINT:
            found = "no threshold" if self.threshold is None else f"threshold {self.threshold!r}"
            raise CallError(
                f"found {found} for a {self.kind} target, expected 'midpoint' or a number; state "
                "it: scores of other thresholds cannot be compared"
            )
        if self.at_threshold not in AT_THRESHOLD:
            raise CallError(
                f"found at_threshold {self.at_threshold!r}, expected one of "
                f"{', '.join(AT_THRESHOLD)}"
            )

    def _check_bins(self) -> None:
        if self.n_bins is not None and self.edges is not None:
            raise CallError("found both n_bins and edges, expected one of them; leave one out")
        if self.kind == "multiclass" and self.n_bins is None and self.edges is None:
            raise CallError(
                "found neither n_bins nor edges for a multiclass target, expected one of them; "
                "state how many bins of equal width the scale has, or where it is cut"
            )
        whole = isinstance(self.n_bins, int) and not isinstance(self.n_bins, bool)
        if self.n_bins is not None and not (whole and self.n_bins >= 2):
            raise CallError(f"found n_bins = {self.n_bins!r}, expected a whole number from 2")
        if self.edges is not None and (
            not self.edges or not (np.diff(np.array(self.edges, float)) > 0).all()
        ):
            raise CallError(f"found the edges {self.edges}, expected at least one, rising")

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns of :meth:`apply`."""
        if self.kind == "joint":
            return (*self.dimensions, EMOTION)
        return self.dimensions or (_LABELS,)

    def each(self) -> "list[Target]":
        """Return one target for each dimension: a model each instead of one for all."""
        if self.kind == "joint":
            about = {"threshold": self.threshold, "at_threshold": self.at_threshold}
            rated = [Target("binary", (d,), **about) for d in self.dimensions]  # type: ignore[arg-type]
            return [*rated, Target("labels", classes=self.emotions)]
        return [replace(self, dimensions=(d,)) for d in self.dimensions] or [self]

    def to_dict(self) -> dict[str, Any]:
        """Return what JSON or TOML can hold; :meth:`from_dict` reads it."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        kept = {k: v for k, v in values.items() if k in ("kind", *_FIELDS[self.kind])}
        if self.dimensions:
            kept["dimensions"] = self.dimensions
        return {
            k: list(v) if isinstance(v, tuple) else v
            for k, v in kept.items()
            if v is not None and v != ()
        }

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Target":
        """Return the target of :meth:`to_dict`.

        Raises
        ------
        CallError
            If a key is unknown or missing, or the fields do not make a target.
        """
        known = [f.name for f in fields(cls)]
        for key in values:
            if key not in known:
                raise unknown_name("the field of a target", key, known)
        if "kind" not in values:
            raise CallError(f"found a target without kind, expected one of {', '.join(KINDS)}")
        return cls(**values)

    def class_names(self, data: StudyData) -> tuple[str, ...]:
        """Return the names of the classes by number; none for a continuous target.

        Of a joint target, whose columns have classes of their own, see :meth:`column_classes`, it
        gives the numbers alone.

        Raises
        ------
        CallError, DataError
            If the target does not fit the data.
        """
        if self.kind == "continuous":
            return ()
        if self.kind == "binary":
            return _LOW_HIGH
        if self.kind == "joint":
            return tuple(str(k) for k in range(max(len(_LOW_HIGH), len(self.emotions))))
        if self.kind == "labels":
            return self.classes or class_order(data)
        low, high = rating_scale(data)
        if self._by_whole_number:
            return tuple(str(level) for level in range(int(low), int(high) + 1))
        cuts = [low, *bin_edges(self.n_bins, self.edges, (low, high)), high]
        return tuple(f"{a:g} to {b:g}" for a, b in itertools.pairwise(cuts))

    def column_classes(self, data: StudyData) -> tuple[tuple[str, ...], ...]:
        """Return the names of the classes of each column, as :meth:`class_names` does."""
        if self.kind == "joint":
            return (*(_LOW_HIGH for _ in self.dimensions), self.emotions)
        return tuple(self.class_names(data) for _ in self.columns)

    def class_edges(self, data: StudyData) -> tuple[float, ...]:
        """Return where one class ends and the next begins, on the scale from -1 to 1.

        Raises
        ------
        CallError, DataError
            If the target has no classes made of ratings, or does not fit the data.
        """
        if self.kind not in ("binary", "multiclass", "ordinal"):
            raise CallError(
                f"found a {self.kind} target, expected classes made of ratings: binary, "
                "multiclass or ordinal"
            )
        low, high = rating_scale(data)
        if self.kind == "binary":
            middle = (low + high) / 2
            cuts = [middle if self.threshold == MIDPOINT else float(self.threshold or 0)]
        elif self._by_whole_number:
            cuts = [level + 0.5 for level in range(int(low), int(high))]
        else:
            cuts = [float(e) for e in bin_edges(self.n_bins, self.edges, (low, high))]
        return tuple(2 * (cut - low) / (high - low) - 1 for cut in cuts)

    @property
    def _by_whole_number(self) -> bool:
        return self.kind == "ordinal" and self.n_bins is None and self.edges is None

    def apply(self, data: StudyData) -> np.ndarray:
        """Return what is to be predicted, shape (window, dimension).

        Parameters
        ----------
        data : StudyData
            Windows with ratings or labels.

        Returns
        -------
        ndarray of int, or of float for ``"continuous"``
            Class numbers, -1 = missing; or ratings scaled to -1 to 1, NaN = missing.

        Raises
        ------
        DataError
            If the data lack a dimension, a rating lies outside the scale, a label is unknown, or
            all windows have the same class. For a joint target: if they have nothing of what is
            asked, for the rest is missing; of one store alone one class is enough.
        CallError
            If the threshold or an edge lies outside the scale.
        """
        if self.kind == "joint":
            return self._side_by_side(data)
        if self.kind == "labels":
            columns = [label_numbers(data, self.class_names(data))]
        else:
            columns = [
                self._column(ratings_of(data, d), rating_scale(data)) for d in self.dimensions
            ]
        names = self.class_names(data)
        for name, column in zip(self.columns, columns, strict=True):
            require_two_classes(column, names, f"in {name}")
        return np.stack(columns, axis=1)

    def _side_by_side(self, data: StudyData) -> np.ndarray:
        """Return the columns of a joint target; of what the data do not have nothing is known."""
        columns = []
        for dimension in self.dimensions:
            there = data.scale is not None and dimension in data.ratings
            columns.append(
                self._column(ratings_of(data, dimension), rating_scale(data)) if there else None
            )
        columns.append(None if data.labels is None else label_numbers(data, self.emotions))
        if all(column is None for column in columns):
            raise DataError(
                f"found ratings of {', '.join(data.ratings) or 'nothing'} and no labels in the "
                f"store of {data.source.get('dataset', 'a data set')!s}, expected some of "
                f"{', '.join(self.columns)}; leave that store out or name its dimensions"
            )
        missing = np.full(len(data), MISSING)
        return np.stack([missing if c is None else c for c in columns], axis=1)

    def _column(self, ratings: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
        low, high = scale
        if self.kind == "continuous":
            return 2 * (ratings - low) / (high - low) - 1
        if self.kind in ("binary", "joint"):
            middle = (low + high) / 2
            threshold = middle if self.threshold == MIDPOINT else float(self.threshold or 0)
            return binary_classes(ratings, threshold, self.at_threshold, scale)
        if self._by_whole_number:
            if low % 1 or high % 1:
                raise CallError(
                    f"found a scale from {low:g} to {high:g}, expected whole numbers for ordinal "
                    "levels; give n_bins or edges"
                )
            edges: Sequence[float] = [level + 0.5 for level in range(int(low), int(high))]
        else:
            edges = bin_edges(self.n_bins, self.edges, scale)
        return binned_classes(ratings, edges, scale)
