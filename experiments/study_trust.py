"""What a study's models promise: sets or intervals that hold the truth, and silence where unsure.

Of the training windows of every fold a share of the groups (those that the protocol keeps apart:
people, films or trials) is held out. No model learns from it, stops by it or is tested on it: it
serves :mod:`physioemo.models.conformal` and :mod:`physioemo.models.abstention` alone.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.experiments.fused_trust import TrustChoice
from physioemo.experiments.splits import held_out_groups
from physioemo.experiments.study_data import Groups
from physioemo.experiments.study_fields import check_keys
from physioemo.experiments.study_groups import kept_whole, names_of

if TYPE_CHECKING:
    from physioemo.experiments.study_config import Study

__all__ = [
    "Said",
    "check_trust",
    "fold_promises",
    "read_trust",
    "require_enough",
    "trust_parts",
    "wanted_risk",
]

_FIELDS: dict[str, tuple[type, ...]] = {
    "risk": (float, int),
    "certainty": (float, int),
    "thresholds": (list,),
    "coverage": (float, int),
    "cover": (str,),
    "calibration_share": (float, int),
}


class Said(NamedTuple):
    """What a model said of some windows.

    Parameters
    ----------
    values : ndarray, shape (window, class) or (window, 1)
        Probabilities, or one column of ratings.
    spread : ndarray, shape (window,), optional
        Standard deviation of a rating, of a model that says one.
    """

    values: np.ndarray
    spread: np.ndarray | None = None


def read_trust(content: Mapping[str, Any]) -> TrustChoice | None:
    """Return what the section ``[trust]`` of a study says; None without one.

    Raises
    ------
    CallError
        If a field is unknown, of another kind or out of its range.
    """
    if "trust" not in content:
        return None
    section = content["trust"]
    if not isinstance(section, dict):
        raise CallError(f"found trust = {section!r}, expected a section [trust]")
    check_keys(section, tuple(_FIELDS), "[trust]")
    for name, value in section.items():
        if isinstance(value, bool) or not isinstance(value, _FIELDS[name]):
            wanted = {"thresholds": "a list of numbers", "cover": "text"}.get(name, "a number")
            raise CallError(f"found {name} = {value!r} in [trust], expected {wanted}")
    given = dict(section)
    if "thresholds" in given:
        steps = given["thresholds"]
        if not all(isinstance(t, int | float) and not isinstance(t, bool) for t in steps):
            raise CallError(f"found thresholds = {steps!r} in [trust], expected a list of numbers")
        given["thresholds"] = tuple(float(t) for t in steps)
    return TrustChoice(**given)


def check_trust(study: "Study") -> None:
    """Refuse a promise that a study cannot make.

    Raises
    ------
    CallError
        If there is any.
    """
    choice = study.trust
    if choice is None:
        return
    if study.leaky:
        raise CallError(
            f"found [trust] with the protocol {study.protocol!r}, which tests what was trained on, "
            "expected groups of their own; choose another protocol or leave [trust] out"
        )
    joint = [m.label for m in study.models if m.joint]
    if joint:
        raise CallError(
            f"found [trust] with {joint[0]!r}, which predicts all dimensions at once, expected "
            "models of one dimension; leave [trust] or joint out"
        )
    if choice.risk is not None and study.target.kind in ("continuous", "ordinal"):
        raise CallError(
            f"found a risk for {study.target.kind} ratings, of which no answer is simply wrong, "
            "expected a coverage; name coverage in [trust] and leave risk out"
        )


def wanted_risk(study: "Study") -> float | None:
    """Return the risk that a study promises; None for none."""
    unordered = study.target.kind not in ("continuous", "ordinal")
    return study.trust.wanted_risk if study.trust is not None and unordered else None


def trust_parts(study: "Study", groups: Groups, train: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which training windows are learned from, and which are held out for promises.

    Parameters
    ----------
    study : Study
        With or without ``[trust]``.
    groups : Groups
        Of all windows.
    train : ndarray of int
        Rated training windows of a fold.

    Returns
    -------
    learned, apart : ndarray of int
        Windows; none is apart without ``[trust]``.
    """
    if study.trust is None:
        return train, train[:0]
    mine = groups.take(train)
    names = names_of(mine, kept_whole(study, mine))
    learned, apart = held_out_groups(names, share=study.trust.calibration_share, seed=study.seed)
    return train[learned], train[apart]


def require_enough(study: "Study", groups: Groups, train: np.ndarray, fold: int) -> None:
    """Refuse a promise that was named and that the groups of a fold can never keep.

    Parameters
    ----------
    study : Study
        With or without ``[trust]``.
    groups : Groups
        Of all windows.
    train : ndarray of int
        Rated training windows of the fold.
    fold : int
        Its number, for the message.

    Raises
    ------
    DataError
        If there are too few.
    """
    choice = study.trust
    if choice is None:
        return
    mine = groups.take(train)
    unit = kept_whole(study, mine)
    n_groups = len(set(names_of(mine, unit).tolist()))
    least = 1
    if choice.is_asked:
        least = choice.fewest_groups
    n_apart = 0
    if n_groups > 1:
        apart = groups.take(trust_parts(study, groups, train)[1])
        n_apart = len(set(names_of(apart, unit).tolist()))
    if n_apart < least:
        wanted = [
            f"{what} of {value:g}"
            for what, value in (("a coverage", choice.coverage), ("a risk", choice.risk))
            if value is not None
        ]
        raise DataError(
            f"found {n_apart} groups ({unit}) to calibrate on in fold {fold + 1}, of {n_groups}, "
            f"expected at least {least} for {' and '.join(wanted) or '[trust]'}; raise "
            "calibration_share, ask for less, or name neither risk nor coverage and take what is "
            "possible"
        )


def fold_promises(
    study: "Study",
    found: Said,
    target: np.ndarray,
    groups: np.ndarray,
    learned: np.ndarray,
    tested: Said,
) -> tuple[np.ndarray, dict[str, Any]]:
    """Fit what is promised on calibration windows, and apply it to tested ones.

    Parameters
    ----------
    study : Study
        With ``[trust]``.
    found, tested : Said
        Of the calibration windows, and of the tested ones.
    target : ndarray, shape (window,)
        Classes or ratings of the calibration windows.
    groups, learned : ndarray of str, shape (window,)
        Groups of the calibration windows, and of those that were learned from.

    Returns
    -------
    promises : ndarray, shape (window, class + 1) or (window, 2)
        Of each tested window which classes are possible and whether it is answered, or between
        what its rating lies; NaN where nothing could be promised.
    about : dict
        What was fitted, and what was not possible.
    """
    n_columns = 2 if target.dtype.kind == "f" else tested.values.shape[1] + 1
    promises = np.full((len(tested.values), n_columns), np.nan)
    about: dict[str, Any] = {"n_groups": len(set(groups.tolist())), "not_possible": []}
    apart = {"calibration_groups": groups, "training_groups": learned, "test_groups": None}
    for fit in (_cover, _silence):
        try:
            fit(study, found, target, tested, apart, promises, about)
        except DataError as error:
            about["not_possible"].append(str(error))
    return promises, about


def _cover(
    study: "Study",
    found: Said,
    target: np.ndarray,
    tested: Said,
    apart: dict[str, Any],
    promises: np.ndarray,
    about: dict[str, Any],
) -> None:
    """Write the sets or the intervals that are promised."""
    from physioemo.models.conformal import fit_intervals, fit_sets

    choice = study.trust
    if choice is None or choice.wanted_coverage is None:
        return
    how = {**apart, "coverage": choice.wanted_coverage, "cover": choice.cover}
    if target.dtype.kind == "f":
        sd, of_tested = (None if s.spread is None else s.spread[:, None] for s in (found, tested))
        fitted = fit_intervals(found.values, target[:, None], sd=sd, **how)
        promises[:] = fitted.intervals(tested.values, of_tested)[:, 0]
    else:
        ordered = study.target.kind == "ordinal"
        fitted = fit_sets(found.values, target, ordered=ordered, **how)
        promises[:, :-1] = fitted.sets(tested.values)[:, 0]
    about["quantile"] = fitted.quantile[0]


def _silence(
    study: "Study",
    found: Said,
    target: np.ndarray,
    tested: Said,
    apart: dict[str, Any],
    promises: np.ndarray,
    about: dict[str, Any],
) -> None:
    """Write what is answered so that few answers are wrong."""
    from physioemo.models.abstention import fit_abstention

    choice, risk = study.trust, wanted_risk(study)
    if choice is None or risk is None:
        return
    rule = fit_abstention(
        found.values.max(axis=1),
        found.values.argmax(axis=1) == target,
        risk=risk,
        certainty=choice.certainty,
        grid=choice.thresholds or None,
        **apart,
    )
    promises[:, -1] = ~rule.abstain(tested.values.max(axis=1))
    about["threshold"] = rule.threshold
