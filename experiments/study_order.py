"""Ordered classes in studies: which models know the order, and what is scored of it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from physioemo.errors import CallError
from physioemo.experiments.estimators import build_estimator, find_estimator
from physioemo.experiments.statistics import permutation_p
from physioemo.experiments.targets import Target

if TYPE_CHECKING:
    from physioemo.experiments.study_config import ModelChoice

__all__ = [
    "CUMULATIVE",
    "LOWER_IS_BETTER",
    "ORDERED_SCORES",
    "UNORDERED",
    "check_options",
    "order_of",
    "ordered_options",
    "permutation_tests",
]

ORDERED_SCORES = ("quadratic_weighted_kappa", "rank_error", "balanced_accuracy")
LOWER_IS_BETTER = ("rank_error",)
CUMULATIVE, UNORDERED = "cumulative link", "classes without an order"
BY_RATING = "distribution of the rating"
_KNOWS_NO_FEATURES = ("majority",)


def ordered_options(name: str, options: Mapping[str, Any], target: Target) -> dict[str, Any]:
    """Return the arguments of a model, which knows of the order of classes if it can.

    Parameters
    ----------
    name : str
        Row of :data:`physioemo.experiments.estimators.ESTIMATORS`.
    options : mapping
        What the study says, which wins.
    target : Target
        What is predicted.
    """
    own = find_estimator(name).ordered if target.kind == "ordinal" else None
    return {**(own or {}), **options}


def check_options(models: Sequence["ModelChoice"], target: Target) -> None:
    """Build every model of a study once, so that a wrong option is told before anything is fitted.

    Raises
    ------
    CallError
        If one cannot be built; the message names it.
    """
    for model in models:
        options = ordered_options(model.name, model.options, target)
        try:
            estimator = build_estimator(model.name, model.preset, joint=model.joint, **options)
            if hasattr(estimator, "check_options"):
                estimator.check_options()
            if hasattr(estimator, "training_config"):
                estimator.training_config()
        except CallError as error:
            raise CallError(f"{model.label}: {error}") from error


def order_of(name: str, options: Mapping[str, Any], target: Target) -> str:
    """Return what a result says of a model: whether it knew that classes are ordered.

    Parameters
    ----------
    name, options, target
        As for :func:`ordered_options`.

    Returns
    -------
    str
        Empty where classes are not ordered, or the model sees no features.
    """
    if target.kind != "ordinal" or name in _KNOWS_NO_FEATURES:
        return ""
    if options.get("heads") == "continuous":
        return BY_RATING
    row = find_estimator(name)
    if row.ordered == {}:
        return CUMULATIVE
    link = ordered_options(name, options, target).get("link", "softmax")
    return CUMULATIVE if link == "cumulative" else UNORDERED


def permutation_tests(
    means: Mapping[str, Mapping[str, float]], permuted: Sequence[Mapping[str, Mapping[str, float]]]
) -> dict[str, dict[str, Any]]:
    """Return how often permuted labels score as well, for each score and level.

    Parameters
    ----------
    means : mapping of score to level to float
        With the true labels.
    permuted : sequence of the same
        One for each permutation.
    """
    found: dict[str, dict[str, Any]] = {}
    for name, levels in means.items():
        sign = -1.0 if name in LOWER_IS_BETTER else 1.0
        found[name] = {
            level: permutation_p(sign * value, [sign * p[name][level] for p in permuted]).to_dict()
            | {"effect": value}
            for level, value in levels.items()
            if permuted
        }
    return found
