"""What a fused model of a study may be told, and what it cannot be together with."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from physioemo.errors import CallError
from physioemo.experiments.fused_modalities import FUSION_NAMES, SIZES
from physioemo.experiments.study_fields import unknown

if TYPE_CHECKING:
    from physioemo.experiments.study_config import ModelChoice, Study

__all__ = [
    "BAGS",
    "CONTEXT_NAMES",
    "POOLING_NAMES",
    "check_fused",
    "check_windows_option",
    "offline_models",
    "reads_trials",
]

CONTEXT_NAMES = ("single", "causal-convolution", "causal-transformer", "offline-transformer")
"""Rows of :data:`physioemo.models.temporal_context.CONTEXTS`, here without importing torch."""

POOLING_NAMES = ("mean", "attention", "max", "noisy-or")
"""As :data:`physioemo.models.multiple_instance.POOLINGS`."""

BAGS = ("newest", "trial")
"""What a pooling says a window from: it and the newest ones before it, or its whole trial."""


def check_windows_option(label: str, options: Mapping[str, Any]) -> None:
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
    ):
        if options.get(option) is not None and options[option] not in known:
            raise unknown(f"the {option} of {label!r}", options[option], known)
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
    check_windows_option(model.label, model.options)
    if study.maps == model.label:
        raise CallError(
            f"found maps = {study.maps!r}, which reads several families side by side, expected a "
            "model of electrodes such as 'intercortical'; ask for modalities instead of maps"
        )
    if not reads_trials(model):
        return
    what = "context" if model.options.get("context") is not None else "pooling"
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
