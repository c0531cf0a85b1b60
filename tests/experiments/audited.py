"""Windows whose features name their trial, and their split by trials."""

from dataclasses import replace

import numpy as np

from physioemo.experiments.splits import trial_grouped_k_fold
from physioemo.experiments.study_data import Groups, StudyData


def tokens(groups, values, classes):
    return StudyData(
        families={"de": np.asarray(values, float)},
        coords={"de": {"channel": tuple(str(k) for k in range(np.shape(values)[1]))}},
        groups=groups,
        ratings={"valence": np.where(classes, 7.0, 3.0)},
        scale=(1, 9),
        labels=None,
    )


def made_up(rng, n_subjects=2, n_trials=12, n_windows=6, stimulus=True, hop=1.0, **changes):
    """Return windows whose features name their trial, and a random class per trial."""
    n = n_subjects * n_trials
    trial = np.repeat(np.tile(np.arange(n_trials), n_subjects), n_windows)
    subject = np.repeat([f"s{k}" for k in range(n_subjects)], n_trials * n_windows).astype(object)
    clip = np.array([f"clip{t}" if stimulus else "" for t in trial], object)
    onset = trial * 100.0 + np.tile(np.arange(n_windows) * hop, n)
    groups = Groups(subject, np.full(len(trial), "1", object), trial, clip, onset, 1.0)
    values = np.repeat(rng.normal(0, 1, (n, 5)), n_windows, axis=0)
    values = values + rng.normal(0, 0.05, values.shape)
    classes = np.repeat(rng.permutation(np.arange(n) % 2), n_windows)
    return tokens(replace(groups, **changes), values, classes)


def by_trial(data, seed=0):
    return list(trial_grouped_k_fold(data.groups, within_subject=False, seed=seed))
