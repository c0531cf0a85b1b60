"""What stays whole inside the training windows of a study: people, films or trials."""

from typing import TYPE_CHECKING

import numpy as np

from physioemo.experiments.folds import kept_together
from physioemo.experiments.protocols import find_protocol
from physioemo.experiments.study_data import Groups

if TYPE_CHECKING:
    from physioemo.experiments.study_config import Study

__all__ = ["kept_whole", "names_of"]


def kept_whole(study: "Study", groups: Groups) -> str:
    """Return what validation inside training keeps whole, as the protocol does outside.

    Parameters
    ----------
    study : Study
        Its protocol.
    groups : Groups
        Of the training windows.

    Returns
    -------
    {"window", "person", "stimulus", "trial"}
    """
    row = find_protocol(study.protocol)
    if row.leaky:
        return "window"
    if "subject" in row.disjoint and len(set(groups.person.tolist())) > 2:
        return "person"
    return "stimulus" if "stimulus" in row.disjoint and any(groups.stimulus) else "trial"


def names_of(groups: Groups, unit: str) -> np.ndarray:
    """Return the name of each window's person, stimulus, trial or of itself.

    A trial whose stimulus is not known is a unit of its own beside the stimuli.
    """
    if unit == "window":
        return np.arange(len(groups)).astype(str).astype(object)
    if unit == "stimulus":
        return groups.stimulus if all(groups.stimulus) else kept_together(groups)
    return groups.person if unit == "person" else groups.trial_id
