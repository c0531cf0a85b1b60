"""Calibration on groups of its own: what is measured was neither trained on nor is reported.

Windows of one trial share the state of the brain and the drift of the amplifier. A temperature,
an interval or a threshold that was fitted on windows of training trials claims too much, and one
fitted on those that are reported makes the report flatter itself. So every function here takes the
names of the trials, people or stimuli of all three parts, and refuses when they overlap.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from physioemo.errors import CallError
from physioemo.models.calibration import fit_temperature

__all__ = ["GroupNames", "fit_grouped_temperature", "group_codes", "require_separate_groups"]

GroupNames = ArrayLike | Mapping[str, ArrayLike]
"""One name per window; or several, by kind: ``{"trial": ..., "subject": ..., "stimulus": ...}``."""

_PLAIN = "group"
_SHOWN = 3


def require_separate_groups(
    *,
    training: GroupNames,
    calibration: GroupNames,
    test: GroupNames | None,
    what: str = "calibration",
) -> None:
    """Refuse calibration groups that are also trained on or reported.

    Parameters
    ----------
    training, calibration, test : array_like, shape (window,), or mapping of kind to array_like
        Name of the trial (or subject, or stimulus) of each window; an empty name is unknown and
        shared with nobody. With several kinds, each kind must be apart. ``test=None`` says that
        nothing is reported, as for the final decoder.
    what : str
        What the message calls the windows in the middle.

    Raises
    ------
    CallError
        If a group is in calibration and in training or test, if there is no calibration window, or
        if the three do not have the same kinds.
    """
    wanted = _by_kind(calibration)
    if not all(len(v) for v in wanted.values()):
        raise CallError(f"found no {what} windows, expected at least one: hold out some trials")
    others = {"training": _by_kind(training)}
    if test is not None:
        others["test"] = _by_kind(test)
    for part, names in others.items():
        if set(names) != set(wanted):
            raise CallError(
                f"found groups of the kinds {', '.join(names)} for {part} and {', '.join(wanted)} "
                f"for {what}, expected the same kinds: give each for all parts"
            )
        for kind, mine in wanted.items():
            shared = sorted((set(mine) & set(names[kind])) - {""})
            if shared:
                more = ", ..." if len(shared) > _SHOWN else ""
                raise CallError(
                    f"found {len(shared)} of the {what} {_plural(kind)} in {part} too "
                    f"({', '.join(shared[:_SHOWN])}{more}), expected none: use for {what} "
                    f"{_plural(kind)} that are neither trained on nor reported"
                )


def fit_grouped_temperature(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    calibration_groups: GroupNames,
    training_groups: GroupNames,
    test_groups: GroupNames | None,
) -> NDArray[np.float64]:
    """Temperature of each dimension, fitted on groups that are used for nothing else.

    Parameters
    ----------
    logits : array_like, shape (window, class) or (window, dimension, class)
        Of the calibration windows.
    labels : array_like of int, shape (window,) or (window, dimension)
        −1 is a missing rating and is left out.
    calibration_groups, training_groups, test_groups
        As in :func:`require_separate_groups`.

    Returns
    -------
    array of float64, shape (dimension,)
        As :func:`physioemo.models.calibration.fit_temperature`.

    Raises
    ------
    CallError
        If groups overlap, or are not one per calibration window.
    SignalError
        If a dimension has no rating, or logits and labels do not fit.
    """
    require_separate_groups(
        training=training_groups, calibration=calibration_groups, test=test_groups
    )
    require_one_per_window(calibration_groups, len(np.asarray(logits)))
    return fit_temperature(logits, labels)


def group_codes(groups: GroupNames, unit: str | None = None) -> NDArray[np.int64]:
    """Return a number from 0 for the group of each window.

    Parameters
    ----------
    groups : array_like or mapping
        As in :func:`require_separate_groups`.
    unit : str, optional
        Which kind, where there are several.

    Raises
    ------
    CallError
        If there is no such kind, or a name is empty.
    """
    kinds = _by_kind(groups)
    if unit is None and len(kinds) == 1:
        unit = next(iter(kinds))
    if unit not in kinds:
        raise CallError(f"found the unit {unit!r}, expected one of {', '.join(kinds)}")
    names = kinds[unit]
    if "" in names:
        raise CallError(
            f"found calibration window {names.index('')} without a {unit}, expected a name: leave "
            "it out or choose another unit"
        )
    return np.unique(np.array(names, object).astype(str), return_inverse=True)[1].astype(np.int64)


def require_one_per_window(groups: GroupNames, n_windows: int) -> None:
    """Refuse groups that are not one per window.

    Raises
    ------
    CallError
        If there are more or fewer.
    """
    for kind, names in _by_kind(groups).items():
        if len(names) != n_windows:
            raise CallError(
                f"found {len(names)} calibration {_plural(kind)} for {n_windows} windows, expected "
                "one for each window"
            )


def _by_kind(groups: Any) -> dict[str, list[str]]:
    kinds = groups if isinstance(groups, Mapping) else {_PLAIN: groups}
    if not kinds:
        raise CallError("found no kind of groups, expected one or more such as 'trial'")
    return {kind: _names(kind, values) for kind, values in kinds.items()}


def _names(kind: str, values: Any) -> list[str]:
    array = np.asarray(values)
    if array.ndim != 1 or (array.dtype.kind == "f" and array.size):
        raise CallError(
            f"found {_plural(kind)} as {array.dtype} of shape {array.shape}, expected one name or "
            "whole number for each window"
        )
    return [str(v) for v in array.tolist()]


def _plural(kind: str) -> str:
    return "stimuli" if kind == "stimulus" else f"{kind}s"
