"""The table of estimators: one contract for the majority, linear models and networks.

Every estimator has scikit-learn's ``fit``, ``predict`` and, if it names classes,
``predict_proba`` and ``classes_``; ``fit`` also takes ``groups`` or ``validation`` rows, a
``channel_mask`` and all ``classes`` of the study. Scaling, imputation, class weights and stopping
are learned inside ``fit`` from its own rows, so nothing can be fitted across folds. Nothing is
imported before an estimator is asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from inspect import signature
from numbers import Integral, Real
from types import UnionType
from typing import Any, get_args, get_origin

from physioemo.errors import CallError
from physioemo.hints import unknown_name

__all__ = ["ESTIMATORS", "EstimatorRow", "build_estimator", "find_estimator"]

_LINEAR = "physioemo.experiments.estimators_linear"
_ORDINAL = "physioemo.experiments.estimators_ordinal"
_TOKENS = "physioemo.experiments.estimators_torch"
_JOINT = "physioemo.experiments.estimators_joint"
_RAW = "physioemo.experiments.estimators_raw"
_FUSED = "physioemo.experiments.estimators_fused"
_FUSED_JOINT = "physioemo.experiments.estimators_fused_joint"
_FUSED_RATINGS = "physioemo.experiments.estimators_fused_ratings"


@dataclass(frozen=True)
class EstimatorRow:
    """One row of the table.

    Parameters
    ----------
    module, class_name : str
        Where the estimator lives.
    reads : str
        Family of features: ``flat`` (window, feature) or any more axes, ``tokens`` (window,
        channel, band), ``connectivity`` (tokens extended by
        :func:`~physioemo.experiments.estimator_inputs.connectivity_tokens`), ``raw`` (window,
        channel, time), ``modalities`` (several families in one flat row, and where each stands).
    description : str
        What it is.
    uses_torch : bool
        Whether it is a network.
    continuous : bool
        Whether it predicts a number instead of a class.
    needs_weights : bool
        Whether a local file of weights must be given.
    ordered : mapping or None
        Arguments with which it knows that classes are ordered, empty if it always takes them to
        be; None if it cannot.
    joint : bool
        Whether it can predict several dimensions at once.
    arguments : mapping
        What the class is told.
    small : mapping
        Arguments of the preset ``small``, for tests and trials on a CPU.
    """

    module: str
    class_name: str
    reads: str
    description: str
    uses_torch: bool = False
    continuous: bool = False
    needs_weights: bool = False
    ordered: Mapping[str, Any] | None = None
    joint: bool = False
    arguments: Mapping[str, Any] = field(default_factory=dict)
    small: Mapping[str, Any] = field(default_factory=dict)

    def load_class(self) -> Any:
        """Import the module and return the class."""
        return getattr(import_module(self.module), self.class_name)

    def load_joint_class(self) -> Any:
        """Import the class that predicts several dimensions at once."""
        if self.class_name == "FusedClassifier":
            return import_module(_FUSED_JOINT).JointFusedClassifier
        return import_module(_JOINT).JointTokenClassifier


_KINDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "text",
    tuple: "a list",
    Sequence: "a list",
    Mapping: "a section",
}
_SMALL_TOKENS = {
    "preset": "tiny",
    "n_epochs": 30,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "patience": 8,
}
_SMALL_FUSED = {
    "size": "tiny",
    "n_epochs": 30,
    "batch_size": 64,
    "learning_rate": 3e-3,
    "patience": 8,
}
_SMALL_RAW = {"n_epochs": 30, "batch_size": 32, "patience": 10}


def _tokens(model: str, preset: str, reads: str, description: str, **more: Any) -> EstimatorRow:
    arguments = {"model": model, "preset": preset, **more}
    return EstimatorRow(
        _TOKENS, "TokenClassifier", reads, description, True, arguments=arguments,
        small=_SMALL_TOKENS, ordered={"link": "cumulative"}, joint=True,
    )  # fmt: skip


def _fused(fusion: str, description: str) -> EstimatorRow:
    return EstimatorRow(
        _FUSED, "FusedClassifier", "modalities", description, True, arguments={"fusion": fusion},
        small=_SMALL_FUSED, joint=True,
    )  # fmt: skip


def _raw(model: str, description: str, *, needs_weights: bool = False) -> EstimatorRow:
    return EstimatorRow(
        _RAW, "RawClassifier", "raw", description, True, needs_weights=needs_weights,
        arguments={"model": model}, small=_SMALL_RAW,
    )  # fmt: skip


ESTIMATORS: dict[str, EstimatorRow] = {
    "majority": EstimatorRow(
        _LINEAR, "Majority", "flat", "The most frequent class of the training windows."
    ),
    "logistic": EstimatorRow(
        _LINEAR, "Logistic", "flat", "Logistic regression; its penalty chosen on validation rows."
    ),
    "ordinal-logistic": EstimatorRow(
        _ORDINAL, "OrdinalLogistic", "flat",
        "Proportional odds of ordered classes; its penalty chosen on validation rows.",
        ordered={},
    ),
    "mean": EstimatorRow(
        _LINEAR, "MeanRating", "flat", "The mean rating of the training windows.",
        continuous=True,
    ),
    "ridge": EstimatorRow(
        _LINEAR, "RidgeRatings", "flat", "Ridge regression of a continuous rating.",
        continuous=True,
    ),
    "svm": EstimatorRow(
        _LINEAR, "SupportVectors", "flat",
        "Support vector machine with a Gaussian kernel, calibrated on validation rows.",
    ),
    "mlp": _tokens("mlp", "default", "flat", "A perceptron on all features at once.", flat=True),
    "deepsets": _tokens(
        "deepsets", "default", "tokens", "Each electrode alone, then their mean: no interaction."
    ),
    "intercortical": _tokens(
        "intercortical", "published", "tokens", "Attention between electrodes (arXiv 2511.13954)."
    ),
    "intercortical-connectivity": _tokens(
        "intercortical", "published", "connectivity",
        "Attention between electrodes whose tokens also say how each goes with every other.",
    ),
    "fused-transformer": _fused(
        "queries", "Several families: a query reads the tokens of all that are there."
    ),
    "concat-mlp": _fused(
        "concat", "Several families: their means side by side, the compulsory baseline."
    ),
    "late-fusion": _fused("late", "Several families: the mean probability of one model each."),
    "gated-fusion": _fused("gated", "Several families: one model each, weighted by a gate."),
    "fused-ratings": EstimatorRow(
        _FUSED_RATINGS, "FusedRatings", "modalities",
        "Several families: a continuous rating with its spread, by concordance and likelihood.",
        True, continuous=True, arguments={"fusion": "queries"}, small=_SMALL_FUSED,
    ),
    "eegnet": _raw("EEGNet", "Compact convolutions on raw windows (arXiv 1611.08024)."),
    "shallow": _raw(
        "ShallowFBCSPNet", "Learned filter bank and spatial patterns (arXiv 1703.05051)."
    ),
    "conformer": _raw(
        "EEGConformer", "Convolutions, then attention over time (Song et al. 2023)."
    ),
    "labram": _raw(
        "Labram", "LaBraM with local weights (arXiv 2405.18765).", needs_weights=True
    ),
    "biot": _raw("BIOT", "BIOT with local weights (arXiv 2305.10351).", needs_weights=True),
}  # fmt: skip


def find_estimator(name: str) -> EstimatorRow:
    """Row of an estimator by its name.

    Raises
    ------
    CallError
        If there is no such estimator; the message names the nearest one.
    """
    if name not in ESTIMATORS:
        raise unknown_name("the estimator", name, ESTIMATORS)
    return ESTIMATORS[name]


def build_estimator(
    name: str, preset: str = "default", /, *, seed: int = 0, joint: bool = False, **options: Any
) -> Any:
    """Build an estimator that has not been fitted.

    Parameters
    ----------
    name : str
        Name in ``ESTIMATORS``.
    preset : {"default", "small"}
        Published sizes and schedules, or small ones for tests on a CPU.
    seed : int
        Seed of everything random in it: same data, same seed, same numbers.
    joint : bool
        Whether it predicts several dimensions at once.
    **options
        Arguments of the estimator; they win over the preset. One may be called ``preset``: that
        of the network inside.

    Raises
    ------
    CallError
        If the estimator, the preset or an option does not exist, an option is of another kind
        than it should be, or the estimator cannot be joint.
    """
    row = find_estimator(name)
    if joint and not row.joint:
        able = ", ".join(name for name, other in ESTIMATORS.items() if other.joint)
        raise CallError(
            f"found joint = true for {name!r}, which predicts one dimension, expected one of "
            f"{able}; leave joint out and it is fitted to each dimension"
        )
    if preset not in ("default", "small"):
        raise unknown_name("the preset", preset, ("default", "small"))
    arguments = {**row.arguments, **(row.small if preset == "small" else {}), **options}
    estimator_class = row.load_joint_class() if joint else row.load_class()
    known = estimator_class._get_param_names()
    for option, value in arguments.items():
        if option not in known:
            raise unknown_name("the option", option, known, of=name)
        _check_kind(estimator_class, option, value, name)
    if row.needs_weights and arguments.get("weights") is None:
        raise CallError(
            f"estimator {name!r} cannot be built without weights: give weights= the path of a "
            "local safetensors file; nothing is ever downloaded"
        )
    return estimator_class(seed=seed, **arguments)


def _check_kind(estimator_class: Any, option: str, value: Any, name: str) -> None:
    """Refuse an option that is of another kind than the estimator states."""
    stated = signature(estimator_class.__init__).parameters[option].annotation
    kinds = get_args(stated) if isinstance(stated, UnionType) else (stated,)
    if not any(_is_of(value, get_origin(kind) or kind) for kind in kinds):
        wanted = _KINDS.get(get_origin(kinds[0]) or kinds[0], str(kinds[0]))
        raise CallError(f"found {option} = {value!r} for {name!r}, expected {wanted}")


def _is_of(value: Any, kind: Any) -> bool:
    if kind in (int, float):
        numbers = Integral if kind is int else Real
        return isinstance(value, numbers) and not isinstance(value, bool)
    if kind in (Sequence, tuple):  # TOML knows lists alone
        return isinstance(value, Sequence) and not isinstance(value, str)
    return isinstance(value, kind) if isinstance(kind, type) else True
