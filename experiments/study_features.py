"""What a model of a study reads of each window: one family, or several side by side."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from physioemo.experiments.estimator_inputs import connectivity_tokens
from physioemo.experiments.estimators import find_estimator
from physioemo.experiments.fused_modalities import axis_seconds
from physioemo.experiments.study_config import ModelChoice, Study

if TYPE_CHECKING:
    from physioemo.experiments.study_inputs import StudyInputs

__all__ = ["FamilyRows", "feature_rows", "features_for", "read_families", "with_layout"]


def read_families(model: ModelChoice, study: Study) -> set[str]:
    """Return the families that a model is handed, as arrays are called.

    Parameters
    ----------
    model : ModelChoice
        One of the study's.
    study : Study
        Which families a flat or fused model reads by default.
    """
    names = {
        "flat": set(study.families),
        "tokens": {"de"},
        "connectivity": {"de", "connectivity"},
        "raw": {"raw"},
        "modalities": set(_modalities(model, study)),
    }[find_estimator(model.name).reads]
    return {f.replace("-", "_") for f in names}


def features_for(model: str | ModelChoice, study: Study, inputs: "StudyInputs") -> np.ndarray:
    """Return the features (window, ...) that a model, or a choice with its options, reads."""
    choice = ModelChoice(model) if isinstance(model, str) else model
    reads = find_estimator(choice.name).reads
    families = inputs.families
    if reads == "tokens":
        return families["de"]
    if reads == "raw":
        return families["raw"]
    if reads == "connectivity":
        return connectivity_tokens(families["de"], families["connectivity"])
    if reads == "modalities":
        return feature_rows(choice, study, inputs)[np.arange(len(inputs.groups))]
    chosen = [families[f.replace("-", "_")] for f in study.families]
    if len(chosen) == 1:
        return chosen[0]
    return np.concatenate([v.reshape(len(v), -1) for v in chosen], axis=1)


class FamilyRows:
    """Families side by side, one row per window, put together for the windows asked for alone.

    Sound and pictures are ten thousand numbers of single precision per window; beside families of
    double precision they would be held twice as large, and all of them at once.

    Parameters
    ----------
    parts : sequence of ndarray, shape (window, ...)
        The families in their order.
    """

    def __init__(self, parts: Sequence[np.ndarray]) -> None:
        self._parts = tuple(parts)

    def __len__(self) -> int:
        return len(self._parts[0])

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        taken = [
            part[rows].reshape(len(rows), int(np.prod(part.shape[1:]))) for part in self._parts
        ]
        return np.concatenate(taken, axis=1)


def feature_rows(
    model: ModelChoice, study: Study, inputs: "StudyInputs"
) -> np.ndarray | FamilyRows:
    """Return what gives the features of windows by their numbers, as :func:`features_for` does."""
    if find_estimator(model.name).reads != "modalities":
        return features_for(model, study, inputs)
    names = [f.replace("-", "_") for f in _modalities(model, study)]
    return FamilyRows([inputs.families[name] for name in names])


def with_layout(model: ModelChoice, study: Study, inputs: "StudyInputs") -> ModelChoice:
    """Return a model that knows where each family stands in the rows of :func:`features_for`.

    A model that does not read several families is returned as it is.
    """
    if find_estimator(model.name).reads != "modalities":
        return model
    layout, start = [], 0
    for family in _modalities(model, study):
        name = family.replace("-", "_")
        shape = inputs.families[name].shape[1:]
        stop = start + int(np.prod(shape))
        seconds = axis_seconds(family, inputs.coords[name])
        layout.append((family, shape, start, stop, *([seconds] if seconds else [])))
        start = stop
    more = {"edges": list(inputs.edges)} if model.options.get("heads") == "continuous" else {}
    return replace(model, options={**model.options, "layout": layout, **more})


def _modalities(model: ModelChoice, study: Study) -> tuple[str, ...]:
    return tuple(model.options.get("families") or study.families)
