"""What a study predicts, and how a rating becomes it.

Published scores hang on choices that papers leave out: 5.0 on the scale from 1 to 9 counts as
high in one toolkit and as low in another, a third cuts at 4.5; ``int(rating) - 1`` truncates, so
that the top class is for 9.0 exactly; a missing rating becomes some class. Here the threshold and
what happens at it are part of the target, bins follow the range of the scale, and a missing rating
stays missing.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from physioemo.errors import CallError
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

__all__ = ["KINDS", "MISSING", "Target", "class_weights", "require_two_classes"]

KINDS = ("binary", "multiclass", "ordinal", "continuous", "labels")
MIDPOINT = "midpoint"
_LABELS = "label"
# Which fields a kind may have besides its dimensions.
_FIELDS = {
    "binary": ("threshold", "at_threshold"),
    "multiclass": ("n_bins", "edges"),
    "ordinal": ("n_bins", "edges"),
    "continuous": (),
    "labels": ("classes",),
}


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Parameters
    ----------
    kind : {"binary", "multiclass", "ordinal", "continuous", "labels"}
        Two classes at a threshold; classes by bins of the scale; the same in their order, for
        cumulative-link models, one level for each whole number by default; the rating scaled to -1
        to 1; the data set's own classes.
    dimensions : tuple of str
        What is rated, one column each; none for ``"labels"``.
    threshold : "midpoint" or float, optional
        Binary: a rating above it is high (1). It must be stated.
    at_threshold : {"drop", "low", "high"}
        Binary: what a rating exactly at the threshold is.
    n_bins : int, optional
        Multiclass and ordinal: number of bins of equal width over the scale.
    edges : tuple of float, optional
        Multiclass and ordinal: where one bin ends and the next begins, within the scale. A rating
        at an edge is in the upper bin.
    classes : tuple of str
        Labels: names in the order of their numbers; by default as the data set orders them.

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

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise unknown_name("the target kind", self.kind, KINDS)
        for name in ("dimensions", "edges", "classes"):
            value = getattr(self, name)
            if isinstance(value, str):
                raise CallError(f"found {name} = {value!r}, expected a list, also of one")
            if value is not None:
                object.__setattr__(self, name, tuple(value))
        self._check_fields()
        self._check_dimensions()
        if self.kind == "binary":
            self._check_threshold()
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

    def _check_threshold(self) -> None:
        number = isinstance(self.threshold, int | float) and not isinstance(self.threshold, bool)
        if not (number and np.isfinite(float(self.threshold or 0))) and self.threshold != MIDPOINT:
            found = "no threshold" if self.threshold is None else f"threshold {self.threshold!r}"
            raise CallError(
                f"found {found} for a binary target, expected 'midpoint' or a number; state it: "
                "scores of other thresholds cannot be compared"
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
        return self.dimensions or (_LABELS,)

    def each(self) -> "list[Target]":
        """Return one target for each dimension: a model each instead of one for all."""
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

        Raises
        ------
        CallError, DataError
            If the target does not fit the data.
        """
        if self.kind == "continuous":
            return ()
        if self.kind == "binary":
            return ("low", "high")
        if self.kind == "labels":
            return self.classes or class_order(data)
        low, high = rating_scale(data)
        if self._by_whole_number:
            return tuple(str(level) for level in range(int(low), int(high) + 1))
        cuts = [low, *bin_edges(self.n_bins, self.edges, (low, high)), high]
        return tuple(f"{a:g} to {b:g}" for a, b in itertools.pairwise(cuts))

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
            all windows have the same class.
        CallError
            If the threshold or an edge lies outside the scale.
        """
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

    def _column(self, ratings: np.ndarray, scale: tuple[float, float]) -> np.ndarray:
        low, high = scale
        if self.kind == "continuous":
            return 2 * (ratings - low) / (high - low) - 1
        if self.kind == "binary":
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
