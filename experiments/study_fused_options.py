"""What a fused model of a study may be told, and what it cannot be together with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from physioemo.errors import CallError
from physioemo.experiments.fused_heads import HEADS
from physioemo.experiments.fused_modalities import FUSION_NAMES, SIZES
from physioemo.hints import unknown_name

if TYPE_CHECKING:
    from physioemo.experiments.study_config import ModelChoice, Study

__all__ = [
    "BAGS",
    "CONTEXT_NAMES",
    "POOLING_NAMES",
    "check_fused",
    "check_options",
    "learns_ratings",
    "offline_models",
    "reads_trials",
]

CONTEXT_NAMES = ("single", "causal-convolution", "causal-transformer", "offline-transformer")
"""Rows of :data:`physioemo.models.temporal_context.CONTEXTS`, here without importing torch."""

POOLING_NAMES = ("mean", "attention", "max", "noisy-or")
"""As :data:`physioemo.models.multiple_instance.POOLINGS`."""

BAGS = ("newest", "trial")
"""What a pooling says a window from: it and the newest ones before it, or its whole trial."""


def check_options(label: str, options: Mapping[str, Any]) -> None:
    """Refuse options of a fused model that are not known or contradict each other.

    Parameters
    ----------
    label : str
        What the model is called.
    options : mapping
        What it is told.

    Raises
    ------
    CallError
        If one is not known, or two cannot be had together.
    """
    for option, known in (
        ("size", SIZES),
        ("fusion", FUSION_NAMES),
        ("context", CONTEXT_NAMES),
        ("pooling", POOLING_NAMES),
        ("bag", BAGS),
        ("heads", HEADS),
    ):
        if options.get(option) is not None and options[option] not in known:
            raise unknown_name(f"the {option} of {label!r}", options[option], known)
    if options.get("context") is not None and options.get("pooling") is not None:
        raise CallError(
            f"found a context and a pooling for {label!r}, expected one of them: both say the "
            "classes from several windows; leave one out"
        )
    if options.get("bag", BAGS[0]) != BAGS[0] and options.get("pooling") is None:
        raise CallError(
            f"found bag = {options['bag']!r} for {label!r} without a pooling, expected one that "
            "makes a trial of its windows; name a pooling or leave bag out"
        )

    _check_heads(label, options)


def _check_heads(label: str, options: Mapping[str, Any]) -> None:
    weight = options.get("rating_weight", 1.0)
    if isinstance(weight, bool) or not isinstance(weight, int | float) or not weight > 0:
        raise CallError(
            f"found rating_weight = {weight!r} for {label!r}, expected a number above 0"
        )
    before = [k for k in ("context", "pooling") if options.get(k) is not None]
    if before and options.get("heads") == "continuous":
        raise CallError(
            f"found heads = 'continuous' with a {before[0]} for {label!r}, which says classes, "
            f"expected 'joint' or 'classes' with it; use one of these or leave the {before[0]} out"
        )


def check_fused(model: "ModelChoice", study: "Study") -> None:
    """Refuse options of a fused model that no store and no model could serve.

    Raises
    ------
    CallError
        If there are any.
    """
    families = model.options.get("families", list(study.families))
    if (
        not isinstance(families, list | tuple)
        or not families
        or not all(isinstance(f, str) for f in families)
        or len(set(families)) < len(families)
    ):
        raise CallError(
            f"found families = {families!r} for the model {model.label!r}, expected a list of "
            "features, each once, such as ['de', 'eda', 'gaze']"
        )
    check_options(model.label, model.options)
    if study.maps == model.label:
        raise CallError(
            f"found maps = {study.maps!r}, which reads several families side by side, expected a "
            "model of electrodes such as 'intercortical'; ask for modalities instead of maps"
        )
    if learns_ratings(model):
        _check_rated(model, study)
    if not reads_trials(model):
        return
    what = "context" if model.options.get("context") is not None else "pooling"
    if study.target.kind == "continuous":
        raise CallError(
            f"found a {what} for {model.label!r}, which says a rating, expected a model of "
            f"classes: a {what} learns classes from several windows; leave it out, or use a binary "
            "or ordinal target with heads = 'joint'"
        )
    if study.leaky:
        raise CallError(
            f"found a {what} for {model.label!r} with the protocol {study.protocol!r}, which puts "
            "windows of one trial on both sides, expected whole trials; choose another protocol, "
            f"or leave {what} out"
        )
    if study.resample == "smote":
        raise CallError(
            f"found a {what} for {model.label!r} with resample = 'smote', which makes windows of "
            f"no trial, expected windows of trials; leave {what} or resample out"
        )


def _check_rated(model: "ModelChoice", study: "Study") -> None:
    found = f"found heads = {model.options['heads']!r} for {model.label!r}"
    if study.target.kind not in ("binary", "multiclass", "ordinal"):
        raise CallError(
            f"{found} with a {study.target.kind} target, expected classes made of ratings (binary, "
            "multiclass, ordinal); leave heads out, or use 'fused-ratings' for a continuous target"
        )
    if study.resample == "smote":
        raise CallError(
            f"{found} with resample = 'smote', which makes windows without a rating, expected "
            "rated ones; leave heads or resample out"
        )


def learns_ratings(model: "ModelChoice") -> bool:
    """Whether a model learns ratings beside the classes of a study, or in their place."""
    return model.options.get("heads", HEADS[0]) != HEADS[0]


def reads_trials(model: "ModelChoice") -> bool:
    """Whether a model says a window from several windows of its trial."""
    return any(model.options.get(k) is not None for k in ("context", "pooling"))


def offline_models(study: "Study") -> dict[str, str]:
    """Return why models of a study are for offline use only, by label."""
    found = {}
    for model in study.models:
        context = str(model.options.get("context") or "")
        if context.startswith("offline"):
            found[model.label] = f"the context {context!r} sees later windows of the trial"
        elif model.options.get("pooling") is not None and model.options.get("bag") == "trial":
            found[model.label] = "the pooling is over the whole trial, later windows too"
    return found
