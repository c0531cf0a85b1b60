"""The protocols by name: what each is for, and what it promises to keep apart.

=============================== ======================================================= =========
name                            question                                                one model
=============================== ======================================================= =========
trial-grouped-k-fold            new trials of a known subject (the default)             a subject
leave-one-trial-out             the same, one trial at a time                           a subject
session-held-out                another day of a known subject                          a subject
chronological                   what comes next, from what came before                  a subject
leave-one-subject-out           a new subject, known clips                              for all
leave-n-subjects-out            the same, several at a time, with inner folds           for all
leave-stimulus-out              new clips, known subjects                               for all
leave-subject-and-stimulus-out  a new subject and new clips                             for all
cross-dataset                   another laboratory, device and clips                    for all
window-shuffled                 whether the trial is recognised (leaky; comparison)     for all
=============================== ======================================================= =========

In subject-dependent work a subject is on both sides by design, its trials and stimuli never. In
leave-one-subject-out all subjects have seen the same clips, so clips are on both sides by design.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments import splits
from physioemo.experiments.folds import Fold
from physioemo.experiments.inner_folds import inner_folds
from physioemo.experiments.study_data import Groups
from physioemo.hints import nearest, unknown_name

__all__ = ["DEFAULT_PROTOCOL", "PROTOCOLS", "Protocol", "find_protocol", "nested_folds", "split"]

DEFAULT_PROTOCOL = "trial-grouped-k-fold"
_NOT_OPTIONS = ("groups", "labels", "seed")


@dataclass(frozen=True)
class Protocol:
    """One protocol.

    Parameters
    ----------
    name : str
        As on the command line.
    function : callable
        ``function(groups, *, seed=0, **options)``, yields (train, test) window indices.
    description : str
        One line.
    disjoint : tuple of str
        What is never on both sides of a fold, as :func:`check_disjoint` names it.
    leaky : bool
        Whether windows of one trial are on both sides; results are stamped.
    """

    name: str
    function: Callable[..., Iterator[Fold]]
    description: str
    disjoint: tuple[str, ...]
    leaky: bool = False

    @property
    def options(self) -> Mapping[str, Any]:
        """Options with their defaults."""
        given = inspect.signature(self.function).parameters.items()
        return {k: p.default for k, p in given if k not in _NOT_OPTIONS}

    @property
    def within_subject(self) -> bool:
        """Whether every subject has its own folds and models, unless asked otherwise."""
        return bool(self.options.get("within_subject", False))

    @property
    def stratifies(self) -> bool:
        """Whether it can spread classes evenly over the folds."""
        return "labels" in inspect.signature(self.function).parameters


_ROWS = (
    Protocol(
        "trial-grouped-k-fold",
        splits.trial_grouped_k_fold,
        "whole trials are tested; trials of one stimulus stay together",
        ("window", "trial", "stimulus"),
    ),
    Protocol(
        "leave-one-trial-out",
        splits.leave_one_trial_out,
        "one trial is tested at a time, with the others of its stimulus",
        ("window", "trial", "stimulus"),
    ),
    Protocol(
        "session-held-out",
        splits.session_held_out,
        "one session is tested, the subject's others train; clips may return",
        ("window", "trial", "session"),
    ),
    Protocol(
        "chronological",
        splits.chronological,
        "earlier trials train, the next block is tested; clips may return",
        ("window", "trial", "time"),
    ),
    Protocol(
        "leave-one-subject-out",
        splits.leave_one_subject_out,
        "one subject is tested; all may have seen the same clips",
        ("window", "trial", "session", "subject"),
    ),
    Protocol(
        "leave-n-subjects-out",
        splits.leave_n_subjects_out,
        "some subjects are tested, each once; nested with folds over subjects",
        ("window", "trial", "session", "subject"),
    ),
    Protocol(
        "leave-stimulus-out",
        splits.leave_stimulus_out,
        "clips are tested that nobody saw in training; subjects are known",
        ("window", "trial", "stimulus"),
    ),
    Protocol(
        "leave-subject-and-stimulus-out",
        splits.leave_subject_and_stimulus_out,
        "a subject is tested on clips that nobody saw in training",
        ("window", "trial", "session", "subject", "stimulus"),
    ),
    Protocol(
        "cross-dataset",
        splits.cross_dataset,
        "one data set is tested, the others train",
        ("window", "trial", "session", "subject", "stimulus", "dataset"),
    ),
    Protocol(
        "window-shuffled",
        splits.window_shuffled,
        "LEAKY: shuffled windows; trials are on both sides",
        (),
        leaky=True,
    ),
)
PROTOCOLS: Mapping[str, Protocol] = MappingProxyType({row.name: row for row in _ROWS})


def find_protocol(name: str) -> Protocol:
    """Return a protocol by its name.

    Raises
    ------
    CallError
        If there is none; the message names the nearest one.
    """
    if name not in PROTOCOLS:
        raise unknown_name("the protocol", name, PROTOCOLS)
    return PROTOCOLS[name]


def split(
    name: str,
    groups: Groups,
    *,
    labels: np.ndarray | None = None,
    seed: int = 0,
    **options: Any,
) -> list[Fold]:
    """Return the folds of a protocol.

    Parameters
    ----------
    name : str
        In :data:`PROTOCOLS`.
    groups : Groups
        Where each window comes from.
    labels : ndarray of int, shape (window,), optional
        Classes to spread evenly over the folds, -1 = none.
    seed : int
        Which groups go together.
    **options
        As the protocol's function takes them.

    Returns
    -------
    list of (train, test)
        Window indices.

    Raises
    ------
    CallError
        If there is no such protocol or option, or the groups do not allow it.
    DataError
        If something that the protocol goes by is not known.
    """
    protocol = find_protocol(name)
    for option, value in options.items():
        _check_option(protocol, option, value)
    if labels is not None:
        if not protocol.stratifies:
            able = ", ".join(p.name for p in _ROWS if p.stratifies)
            raise CallError(
                f"found labels for {name}, expected none: its folds cannot be stratified; leave "
                f"them out or use {able}"
            )
        options["labels"] = labels
    return list(protocol.function(groups, seed=seed, **options))


def _check_option(protocol: Protocol, option: str, value: Any) -> None:
    there = protocol.options
    if option not in there:
        known = f"expected one of {', '.join(there)}{nearest(option, there)}" if there else ""
        raise CallError(
            f"found the option {option!r} for {protocol.name}, "
            + (known or "expected none; leave it out")
        )
    default = there[option]
    if value is None and default is None:
        return
    yes_or_no = isinstance(default, bool)
    if isinstance(value, bool) != yes_or_no or not isinstance(value, int | np.integer):
        raise CallError(
            f"found {option} = {value!r} for {protocol.name}, expected "
            + ("true or false" if yes_or_no else "a whole number")
        )


def nested_folds(
    name: str, groups: Groups, *, n_inner: int = 5, seed: int = 0, **options: Any
) -> Iterator[tuple[np.ndarray, np.ndarray, list[Fold]]]:
    """Yield (train, test, inner folds) of a protocol; the inner folds never see the test windows.

    Parameters
    ----------
    name : str
        In :data:`PROTOCOLS`.
    groups : Groups
        Where each window comes from.
    n_inner : int
        Most inner folds.
    seed : int
        Which groups go together.
    **options
        As the protocol's function takes them.

    Raises
    ------
    CallError
        As :func:`split`, or if training has too few groups for inner folds.
    """
    disjoint = find_protocol(name).disjoint
    for train, test in split(name, groups, seed=seed, **options):
        yield train, test, inner_folds(groups, train, disjoint, n_folds=n_inner, seed=seed)
