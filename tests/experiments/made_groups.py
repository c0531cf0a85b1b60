"""Where made-up windows come from: subjects, sessions, trials and clips."""

from dataclasses import replace

import numpy as np
from hypothesis import strategies as st

from physioemo.experiments.protocols import PROTOCOLS
from physioemo.experiments.study_data import Groups


def made_groups(
    n_subjects=3, n_sessions=2, n_trials=6, n_windows=3, *, clips=None, dataset="d", window=1.0
):
    """Groups of subjects who saw the same clips; windows of a trial overlap by half."""
    rows = [
        (
            f"s{s}",
            f"{e}",
            t,
            f"{dataset}/clip{t % clips}" if clips else "",
            20.0 * t + w * window / 2,
        )
        for s in range(n_subjects)
        for e in range(n_sessions)
        for t in range(n_trials)
        for w in range(n_windows)
    ]
    subject, session, trial, stimulus, onset = (
        np.array(c, object) for c in zip(*rows, strict=True)
    )
    return Groups(
        subject, session, trial.astype(int), stimulus, onset.astype(float), window,
        np.full(len(rows), dataset, object),
    )  # fmt: skip


def joined(*parts):
    arrays = [k for k, v in vars(parts[0]).items() if isinstance(v, np.ndarray)]
    return replace(parts[0], **{k: np.concatenate([getattr(p, k) for p in parts]) for k in arrays})


@st.composite
def random_groups(draw):
    """Windows of two data sets in random number and order; every trial has one clip."""
    sizes = st.tuples(st.integers(2, 4), st.integers(2, 3), st.integers(4, 7), st.integers(1, 4))
    parts = [
        made_groups(*draw(sizes), clips=draw(st.integers(3, 7)), dataset=name) for name in "ab"
    ]
    groups = joined(*parts)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    # Where every trial keeps some of its windows there are enough groups for each protocol.
    first = np.unique(groups.trial_id.astype(str), return_index=True)[1]
    kept = np.union1d(first, np.flatnonzero(rng.random(len(groups)) < 0.7))
    return groups.take(rng.permutation(kept))


SMALL = {
    "trial-grouped-k-fold": {"n_folds": 3},
    "leave-subject-and-stimulus-out": {"n_folds": 3},
    "leave-n-subjects-out": {"n_subjects": 3},
    "chronological": {"n_blocks": 3},
    "window-shuffled": {"n_folds": 3, "allow_leakage": True},
}


def options_of(name):
    """Options for small groups, as trained for each subject and pooled where both are possible."""
    small = SMALL.get(name, {})
    if "within_subject" not in PROTOCOLS[name].options:
        return [small]
    return [{**small, "within_subject": yes} for yes in (True, False)]


def by_subject(values):
    return {f"s{i:02}": float(v) for i, v in enumerate(values)}
