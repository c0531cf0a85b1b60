"""What a model must not see beside the protocol: a film on both sides, windows that it knows.

Loudness, colours and cuts tell which film is running. If other people's windows of that film train,
a model can learn the film's label by heart and score without anything of the person who is tested.
So a stimulus that a model reads may stand on one side of a fold only; the folds themselves are
looked at, not the protocol's name. And encoders must not have been pre-trained on what is tested.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.protocols import find_protocol
from physioemo.experiments.study_config import Study
from physioemo.features.stimulus_family import STIMULUS_FAMILIES

if TYPE_CHECKING:
    from physioemo.experiments.study_inputs import StudyInputs

__all__ = ["BLIND", "check_pretrained", "check_stimuli", "may_leak", "protocol_options"]

ALLOW = "allow_leakage"
_PRETRAINED = "pretrained"

_OF_STIMULI = {name.replace("-", "_") for name in STIMULUS_FAMILIES}
BLIND = ("majority", "mean")  # they are handed features and look at none
_SHOWN = 3


def may_leak(study: Study) -> bool:
    """Return whether a study can leak in spite of its protocol.

    Some family is of the stimulus, or some model begins with pre-trained encoders.
    """
    if any(m.options.get(_PRETRAINED) for m in study.models):
        return True
    named = [f for m in study.models for f in m.options.get("families") or ()]
    return bool({f.replace("-", "_") for f in (*study.families, *named)} & _OF_STIMULI)


def protocol_options(study: Study) -> dict[str, Any]:
    """Return the options that the protocol takes: only one that leaks is told to allow it."""
    options = dict(study.protocol_options)
    if not find_protocol(study.protocol).leaky and may_leak(study):
        options.pop(ALLOW, None)
    return options


def check_stimuli(
    study: Study, inputs: "StudyInputs", readers: Mapping[str, set[str]]
) -> tuple[str, ...]:
    """Return what leaks by the stimulus, one sentence; none if nothing does.

    Parameters
    ----------
    study : Study
        What is asked.
    inputs : StudyInputs
        Folds, groups and families.
    readers : mapping of str to set of str
        The families that each model is handed, by its label.

    Raises
    ------
    CallError
        If something leaks that is not allowed to.
    """
    blind = {m.label for m in study.models if m.name in BLIND}
    models = [label for label, f in readers.items() if f & _OF_STIMULI and label not in blind]
    if not models:
        return ()
    families = sorted(set().union(*(readers[m] for m in models)) & _OF_STIMULI)
    names = _stimulus_names(inputs, families)
    shared = [set(names[train]) & set(names[test]) - {""} for train, test in inputs.folds]
    n = sum(map(bool, shared))
    if not n:
        return ()
    every = sorted(set().union(*shared))
    listed = ", ".join(every[:_SHOWN]) + (", ..." if len(every) > _SHOWN else "")
    read = " and ".join(f.replace("_", "-") for f in families)
    found = (
        f"in {n} of {len(shared)} folds the same stimuli train and are tested ({listed}), and "
        f"{', '.join(models)} read{'s' if len(models) == 1 else ''} {read} of them"
    )
    if study.protocol_options.get(ALLOW) is not True:
        raise CallError(
            f"found that {found}, expected stimuli that are held out: such features tell which "
            "film is running, so its label is learned by heart; choose the protocol "
            "'leave-stimulus-out', 'trial-grouped-k-fold' or 'leave-subject-and-stimulus-out', "
            "leave these families out, or pass --allow-leakage: every result is stamped"
        )
    return (f"{found}; its label can be learned by heart",)


def check_pretrained(study: Study, inputs: "StudyInputs") -> tuple[str, ...]:
    """Return a sentence for each model whose encoders have seen data that are scored.

    Parameters
    ----------
    study : Study
        What is asked.
    inputs : StudyInputs
        Families, and where the windows come from.

    Raises
    ------
    CallError
        If there is one and that is not allowed.
    CheckpointError
        If a folder holds no finished pre-training, or one of other electrodes or bands.
    """
    from physioemo.experiments.pretrained_encoders import require_same_axes, seen_in_pretraining

    told = []
    for model in study.models:
        folder = model.options.get(_PRETRAINED)
        if not folder:
            continue
        require_same_axes(str(folder), inputs.coords)
        seen = seen_in_pretraining(str(folder), inputs.sources)
        if seen:
            listed = ", ".join(seen[:_SHOWN]) + (", ..." if len(seen) > _SHOWN else "")
            told.append(
                f"the encoders of {model.label} were pre-trained on {len(seen)} of the recordings "
                f"that are tested ({listed})"
            )
    if told and study.protocol_options.get(ALLOW) is not True:
        raise CallError(
            f"found that {'; '.join(told)}, expected others: windows that were seen, even without "
            "their ratings, are no new windows; pre-train on other recordings, or pass "
            "--allow-leakage: every result is stamped"
        )
    return tuple(told)


def _stimulus_names(inputs: "StudyInputs", families: list[str]) -> np.ndarray:
    """Return which stimulus each window shows; empty where nothing of it is known."""
    seen = np.zeros(len(inputs.groups), bool)
    for family in families:
        values = inputs.families[family]
        seen |= np.isfinite(values).reshape(len(values), -1).any(axis=1)
    hashes = _hashes(inputs)
    groups = inputs.groups
    named = zip(groups.dataset.tolist(), groups.stimulus.tolist(), seen.tolist(), strict=True)
    return np.array([_name(d, str(s), hashes) if there else "" for d, s, there in named], object)


def _name(dataset: str, stimulus: str, hashes: Mapping[tuple[str, str], set[str]]) -> str:
    """Return one name for one film: that of the first stimulus with the same bytes."""
    if not stimulus:
        return "one without a name"
    own = hashes.get((dataset, stimulus)) or hashes.get((dataset, Path(stimulus).stem), set())
    if len(own) != 1:
        return stimulus
    return min(name for (_, name), other in hashes.items() if other == own)


def _hashes(inputs: "StudyInputs") -> dict[tuple[str, str], set[str]]:
    """Return the SHA-256 of each data set's stimuli, as far as the stores say."""
    found: dict[tuple[str, str], set[str]] = {}
    for source in inputs.sources:
        for name, sha256 in dict(source["recipe"]).get("stimuli", {}).items():
            found.setdefault((str(source["dataset"]), name), set()).add(sha256)
    return found
