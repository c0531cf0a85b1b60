"""What is on both sides of a split, said in words."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.experiments.folds import Fold, name_codes, rows_by_subject, session_ranks
from physioemo.experiments.study_data import Groups

__all__ = ["KINDS", "check_disjoint", "require_apart", "shared_samples"]

KINDS = ("window", "trial", "session", "subject", "stimulus", "dataset", "time")
_SHOWN = 3
# Onsets are sums of hops: windows that follow each other may seem to overlap by a rounding error.
_ROUNDING = 1e-6


def check_disjoint(
    groups: Groups, train: np.ndarray, test: np.ndarray, what: Sequence[str] = KINDS[:-1]
) -> list[str]:
    """Return what training and test windows have in common, one sentence for each kind.

    Parameters
    ----------
    groups : Groups
        Where each window comes from.
    train, test : ndarray of int
        Window indices.
    what : sequence of {"window", "trial", "session", "subject", "stimulus", "dataset", "time"}
        What must not be shared: samples of a recording; a trial, session, subject, stimulus or
        data set; or, for ``"time"``, no training window of a subject may be later than one of its
        test windows.

    Returns
    -------
    list of str
        Empty if nothing is shared.

    Raises
    ------
    CallError
        If there is no such kind.
    """
    unknown = [w for w in what if w not in KINDS]
    if unknown:
        raise CallError(f"found the kind {unknown[0]!r}, expected some of {', '.join(KINDS)}")
    return [sentence for w in what if (sentence := _CHECKS[w](groups, train, test))]


def shared_samples(groups: Groups, train: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Return which test windows have samples in common with a training window.

    Windows overlap if they are of one subject and session and their onsets are closer than the
    length of a window.

    Returns
    -------
    ndarray of bool, shape (test window,)

    Raises
    ------
    DataError
        If an onset is not a number.
    """
    rows = np.concatenate([train, test]).astype(int)
    onset = groups.onset_seconds[rows].astype(float)
    if not np.isfinite(onset).all():
        raise DataError("found windows without an onset, expected seconds; overlap cannot be told")
    recording = name_codes(_sessions(groups.take(rows)))[1]
    n_train, least = len(train), groups.window_seconds * (1 - _ROUNDING)
    shared = np.zeros(len(test), bool)
    for code in np.unique(recording[n_train:]):
        there = np.sort(onset[:n_train][recording[:n_train] == code])
        mine = np.flatnonzero(recording[n_train:] == code)
        if len(there):
            at = onset[n_train:][mine]
            after = np.searchsorted(there, at)
            to_next = np.abs(there[np.minimum(after, len(there) - 1)] - at)
            to_last = np.abs(there[np.maximum(after - 1, 0)] - at)
            shared[mine] = np.minimum(to_next, to_last) < least
    return shared


def require_apart(groups: Groups, folds: Sequence[Fold], protocol: str) -> None:
    """Refuse folds of which windows of two trials share samples, as trials that overlap do.

    Parameters
    ----------
    groups : Groups
        Where each window comes from.
    folds : sequence of (train, test)
        Window indices.
    protocol : str
        Row of :data:`physioemo.experiments.protocols.PROTOCOLS`; nothing is asked of a leaky one.

    Raises
    ------
    DataError
        If a test window shares samples with a training window of its fold.
    """
    from physioemo.experiments.protocols import find_protocol

    onset = groups.onset_seconds.astype(float)
    if "window" not in find_protocol(protocol).disjoint or not np.isfinite(onset).all():
        return
    recording, trial = name_codes(_sessions(groups))[1], name_codes(groups.trial_id)[1]
    order = np.lexsort((onset, recording))
    first, second = order[:-1], order[1:]
    close = onset[second] - onset[first] < groups.window_seconds * (1 - _ROUNDING)
    close &= (recording[first] == recording[second]) & (trial[first] != trial[second])
    if not close.any():
        return  # windows of one trial stay on one side
    at = int(np.flatnonzero(close)[0])
    pair = " and ".join(str(groups.trial_id[rows[at]]) for rows in (first, second))
    for k, (train, test) in enumerate(folds):
        n = int(shared_samples(groups, train, test).sum())
        if n:
            raise DataError(
                f"found {n} test windows in fold {k + 1} that share samples with training windows, "
                f"since trials such as {pair} overlap in time, expected trials that do not; "
                "correct the times of the trials and make the store anew"
            )


def _sessions(groups: Groups) -> np.ndarray:
    pairs = zip(groups.person.tolist(), groups.session.tolist(), strict=True)
    return np.array([f"{p} session {s}" for p, s in pairs], object)


def _listed(names: Iterable[str], plural: str, singular: str) -> str:
    there = list(names)
    if not there:
        return ""
    noun = f"1 {singular} is" if len(there) == 1 else f"{len(there)} {plural} are"
    more = ", ..." if len(there) > _SHOWN else ""
    return f"{noun} in training and test: {', '.join(there[:_SHOWN])}{more}"


def _shared_names(
    plural: str, singular: str, names_of: Callable[[Groups], np.ndarray]
) -> Callable[[Groups, np.ndarray, np.ndarray], str]:
    def check(groups: Groups, train: np.ndarray, test: np.ndarray) -> str:
        names = names_of(groups)
        both = np.concatenate([names[train], names[test]])
        there, code = name_codes(both)
        common = np.intersect1d(code[: len(train)], code[len(train) :])
        return _listed([there[i] for i in common if there[i]], plural, singular)

    return check


def _check_windows(groups: Groups, train: np.ndarray, test: np.ndarray) -> str:
    shared = shared_samples(groups, train, test)
    if not shared.any():
        return ""
    share = 100 * shared.mean()
    return (
        f"{shared.sum()} of {len(shared)} test windows ({share:.1f} %) share samples with training "
        "windows"
    )


def _check_time(groups: Groups, train: np.ndarray, test: np.ndarray) -> str:
    onset, early = groups.onset_seconds.astype(float), []
    session = session_ranks(groups)
    in_train, in_test = np.zeros((2, len(groups)), bool)
    in_train[train], in_test[test] = True, True
    for name, rows in rows_by_subject(groups, True):
        past, future = rows[in_train[rows]], rows[in_test[rows]]
        if len(past) and len(future):
            last = max(zip(session[past], onset[past], strict=True))
            first = min(zip(session[future], onset[future], strict=True))
            if last >= first:
                early.append(name)
    if not early:
        return ""
    return (
        f"{len(early)} subject{'s' if len(early) > 1 else ''} with training windows later than "
        f"test windows: {', '.join(early[:_SHOWN])}{', ...' if len(early) > _SHOWN else ''}"
    )


_CHECKS: dict[str, Callable[[Groups, np.ndarray, np.ndarray], str]] = {
    "window": _check_windows,
    "trial": _shared_names("trials", "trial", lambda g: g.trial_id),
    "session": _shared_names("sessions", "session", _sessions),
    "subject": _shared_names("subjects", "subject", lambda g: g.person),
    "stimulus": _shared_names("stimuli", "stimulus", lambda g: g.stimulus),
    "dataset": _shared_names("data sets", "data set", lambda g: g.dataset),
    "time": _check_time,
}
