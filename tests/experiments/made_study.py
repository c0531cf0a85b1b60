"""A study of made-up windows, in trials that have a value of their own and perhaps an effect."""

import numpy as np

from physioemo.experiments.study_config import ModelChoice, Study
from physioemo.experiments.study_data import Groups, StudyData
from physioemo.experiments.targets import Target

BINARY = Target("binary", ("valence",), threshold="midpoint")
TOML = """
name = "mine"
seed = 3
[data]
stores = ["effect.zarr"]
[target]
kind = "binary"
dimensions = ["valence"]
threshold = "midpoint"
[protocol]
name = "trial-grouped-k-fold"
n_folds = 4
[[models]]
name = "logistic"
[evaluation]
n_permutations = 1
"""


def made_up(
    n_subjects=4, n_trials=20, n_windows=6, effect=0.0, seed=0, n_channels=5, balanced=True
):
    """Return windows of trials with a common value of their own, and an effect of the rating."""
    rng = np.random.default_rng(seed)
    rows, values, ratings = [], [], []
    for subject in range(n_subjects):
        high = rng.permutation(np.arange(n_trials) % 2)
        if not balanced:
            high = rng.integers(0, 2, n_trials)
        for trial in range(n_trials):
            own = rng.normal(size=(n_channels, 4))
            own[0] += effect * (2 * high[trial] - 1)
            for k in range(n_windows):
                rows.append((f"{subject + 1:02d}", "1", trial + 1, "", 10.0 * trial + k))
                values.append(own + 0.3 * rng.normal(size=own.shape))
                ratings.append(7.0 if high[trial] else 3.0)
    subject, session, trial, stimulus, onset = zip(*rows, strict=True)
    groups = Groups(
        subject=np.array(subject, object),
        session=np.array(session, object),
        trial=np.array(trial),
        stimulus=np.array(stimulus, object),
        onset_seconds=np.array(onset),
        window_seconds=1.0,
    )
    names = tuple(f"E{k}" for k in range(n_channels))
    return StudyData(
        families={"de": np.array(values)},
        coords={"de": {"channel": names, "band": ("theta", "alpha", "beta", "gamma")}},
        groups=groups,
        ratings={"valence": np.array(ratings)},
        scale=(1.0, 9.0),
        labels=None,
        source={"simulated": True, "fingerprints": {"made up": str(seed)}},
    )


def study(store, *models, **changes):
    fields = {
        "name": "test",
        "stores": (store,),
        "target": BINARY,
        "models": models or (ModelChoice("logistic"),),
        "protocol_options": {"n_folds": 4, "within_subject": True},
        "n_permutations": 2,
    }
    return Study(**{**fields, **changes})


def score(results, model="logistic", level="trial"):
    return results["dimensions"]["valence"]["models"][model][level]["balanced_accuracy"]["mean"]
