"""Which training windows of a study choose epochs and penalties, where groups alone do not say it.

Groups that are drawn answer for protocols without time (:mod:`physioemo.experiments.study_groups`).
Of a protocol in time the last trials of every subject choose, since what is tested comes later.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from physioemo.experiments.folds import name_codes
from physioemo.experiments.inner_folds import inner_split
from physioemo.experiments.protocols import find_protocol
from physioemo.experiments.splits import several_values
from physioemo.experiments.study_data import Groups

__all__ = ["later_trials"]


def later_trials(
    protocol: str, options: Mapping[str, Any], groups: Groups, labels: np.ndarray
) -> np.ndarray | None:
    """Return which training windows choose, of a protocol in time; None where groups are drawn.

    Parameters
    ----------
    protocol : str
        Row of :data:`physioemo.experiments.protocols.PROTOCOLS`.
    options : mapping
        Of the model: one that keeps its last epoch chooses by nothing.
    groups : Groups
        Of the training windows of one fold.
    labels : ndarray, shape (window,) or (window, dimension)
        Their classes or ratings.

    Returns
    -------
    ndarray of bool, shape (window,), or None
        None also where a subject has one trial, or the earlier trials are of one class alone.
    """
    disjoint = find_protocol(protocol).disjoint
    if "time" not in disjoint or options.get("keep") == "last":
        return None
    trial, person = name_codes(groups.trial_id)[1], name_codes(groups.person)[1]
    n_trials = [len(np.unique(trial[person == k])) for k in np.unique(person)]
    if min(n_trials, default=0) < 2:
        return None
    fit, held = inner_split(groups, np.arange(len(groups)), disjoint)
    columns = labels.reshape(len(labels), -1)
    if several_values(columns[fit]) != several_values(columns):
        return None
    chooses = np.zeros(len(groups), bool)
    chooses[held] = True
    return chooses
