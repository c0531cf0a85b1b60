"""Made-up studies whose answer only several windows of a trial know, or only the rating does."""

from dataclasses import replace

import numpy as np

from physioemo.experiments.study_config import ModelChoice, Study
from physioemo.experiments.study_data import Groups, StudyData
from physioemo.experiments.targets import Target

QUICK = {
    "size": "tiny",
    "n_epochs": 12,
    "patience": 12,
    "label_smoothing": 0.0,
    "batch_size": 16,
    "learning_rate": 5e-3,
}


def study_data(values, trial, onset, rating, subject):
    """Return windows (window, 4 electrodes, 3 bands) of trials as a study reads them."""
    n = len(trial)
    return StudyData(
        families={"de": values},
        coords={"de": {"channel": ("F3", "F4", "P3", "P4"), "band": ("a", "b", "c")}},
        groups=Groups(
            subject=np.array([f"{s + 1:02d}" for s in subject], object),
            session=np.full(n, "1", object),
            trial=trial,
            stimulus=np.full(n, "", object),
            onset_seconds=onset,
            window_seconds=1.0,
        ),
        ratings={"valence": rating},
        scale=(1.0, 9.0),
        labels=None,
        source={"simulated": True, "fingerprints": {"made up": "0"}},
    )


def told_once(where, n_trials=24, n_windows=6, n_subjects=2, seed=0):
    """Return trials of which one window tells the class: the first, or one at random.

    Windows overlap by half; all the others say nothing.
    """
    rng = np.random.default_rng(seed)
    number = np.arange(n_subjects * n_trials)
    high = np.concatenate([rng.permutation(np.arange(n_trials) % 2) for _ in range(n_subjects)])
    told = np.zeros(len(number), int)
    if where == "anywhere":
        told = rng.integers(0, n_windows, len(number))
    values = rng.normal(0, 0.3, (len(number), n_windows, 4, 3))
    values[number, told, :2] += (2.0 * (2 * high - 1))[:, None, None]
    each = np.repeat(number, n_windows)
    return study_data(
        values.reshape(-1, 4, 3),
        each % n_trials,
        100.0 * (each % n_trials) + 0.5 * np.tile(np.arange(n_windows), len(number)),
        np.where(high, 7.0, 3.0)[each],
        each // n_trials,
    )


def rated_together(n_trials=60, n_windows=3, n_subjects=2, seed=0):
    """Return trials whose rating is a sign of the brain times a number of the skin.

    Neither says anything alone, nor does any sum of the two.
    """
    rng = np.random.default_rng(seed)
    n = n_subjects * n_trials
    sign, size = rng.permutation(np.arange(n) % 2) * 2 - 1, rng.uniform(-1, 1, n)
    each = np.repeat(np.arange(n), n_windows)
    values = rng.normal(0, 0.3, (len(each), 4, 3))
    values[:, :2] += sign[each][:, None, None]
    data = study_data(
        values,
        each % n_trials,
        10.0 * (each % n_trials) + np.tile(np.arange(n_windows), n),
        (5 + 3.5 * sign * size)[each],
        each // n_trials,
    )
    skin = np.stack([size[each] + rng.normal(0, 0.05, len(each)), rng.normal(size=len(each))], 1)
    return replace(
        data,
        families={**data.families, "eda": skin},
        coords={**data.coords, "eda": {"feature": ("tonic", "phasic")}},
    )


def sure_and_unsure(n_trials=80, n_windows=3, n_subjects=4, seed=0, rating=False):
    """Return trials of which most say their class loudly, and others by chance."""
    rng = np.random.default_rng(seed)
    n = n_subjects * n_trials
    high, loud = rng.permutation(np.arange(n) % 2), rng.random(n) < 0.6
    told = np.where(loud | (rng.random(n) < 0.5), high, 1 - high)
    each = np.repeat(np.arange(n), n_windows)
    values = rng.normal(0, 0.3, (len(each), 4, 3))
    values[:, :2] += (np.where(loud, 1.5, 0.15) * (2 * told - 1))[each][:, None, None]
    ratings = np.where(high, 7.0, 3.0)
    if rating:
        ratings = np.clip(5 + 2 * np.where(loud, 1.5, 0.15) * (2 * told - 1)
                          + rng.normal(0, 0.7, n), 1, 9)  # fmt: skip
    return study_data(
        values,
        each % n_trials,
        10.0 * (each % n_trials) + np.tile(np.arange(n_windows), n),
        ratings[each],
        each // n_trials,
    )


def fused(label="", name="concat-mlp", **options):
    """Return a small fused model of the electrodes alone."""
    own = {**QUICK, "families": ["de"], **options}
    return ModelChoice(name, label=label, preset="small", options=own)


def study(store, *models, **changes):
    """Return a study of two folds without permutations."""
    fields = {
        "name": "planted",
        "stores": (store,),
        "target": Target("binary", ("valence",), threshold="midpoint"),
        "models": models,
        "protocol_options": {"n_folds": 2, "within_subject": False},
        "n_permutations": 0,
    }
    return Study(**{**fields, **changes})


def score(results, label, level="trial", name="balanced_accuracy"):
    """Return the mean of a score over subjects."""
    return results["dimensions"]["valence"]["models"][label][level][name]["mean"]
