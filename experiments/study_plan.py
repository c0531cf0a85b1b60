"""What a study would do, and how long that takes here."""

import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from physioemo.experiments.study_config import Study
from physioemo.experiments.study_inputs import load_inputs
from physioemo.experiments.study_jobs import (
    TRUE_LABELS,
    Job,
    n_permutations,
    plan_jobs,
    run_job,
)
from physioemo.experiments.study_joint import ALL_COLUMNS
from physioemo.experiments.study_maps import ablation_seconds, n_map_fits
from physioemo.experiments.study_modalities import n_modality_fits
from physioemo.experiments.study_pieces import raise_error

__all__ = ["StudyPlan", "plan_study"]


@dataclass(frozen=True)
class StudyPlan:
    """What a study would do.

    Parameters
    ----------
    n_windows, n_trials, n_subjects, n_folds : int
        What there is.
    n_fits : mapping of str to int
        Models to be trained, by label: with true and permuted labels.
    seconds : mapping of str to float
        How long one fit of each took just now.
    n_permutations : mapping of str to int
        How often each is repeated with permuted labels.
    n_more_fits : mapping of str to int
        Models to be trained for maps and for the comparison of families, by label.
    ablation_seconds : float
        How long the maps take besides their models.
    """

    n_windows: int
    n_trials: int
    n_subjects: int
    n_folds: int
    n_fits: dict[str, int]
    seconds: dict[str, float]
    n_permutations: dict[str, int]
    n_more_fits: dict[str, int]
    ablation_seconds: float = 0.0

    @property
    def total_seconds(self) -> float:
        """Estimate for one process, permuted labels, maps and families included."""
        return self.seconds_in(1)

    def seconds_in(self, jobs: int) -> float:
        """Estimate for some processes."""
        fits = [*self.n_fits.items(), *self.n_more_fits.items()]
        return (sum(n * self.seconds[k] for k, n in fits) + self.ablation_seconds) / jobs


def plan_study(study: Study) -> StudyPlan:
    """Return what a study would do, and how long one fit of each model takes here."""
    inputs = load_inputs(study)
    jobs = plan_jobs(study, len(inputs.columns), len(inputs.folds))
    n_fits = {
        m.label: sum(len(j.folds) for j in jobs if j.model == k) for k, m in enumerate(study.models)
    }
    return StudyPlan(
        n_windows=len(inputs.groups),
        n_trials=len(set(inputs.groups.trial_id.tolist())),
        n_subjects=len(set(inputs.groups.person.tolist())),
        n_folds=len(inputs.folds),
        n_fits=n_fits,
        seconds={m.label: _one_fit(k, study) for k, m in enumerate(study.models)},
        n_permutations={m.label: n_permutations(study, m) for m in study.models},
        n_more_fits=_more_fits(study, len(inputs.columns), len(inputs.folds)),
        ablation_seconds=ablation_seconds(study, inputs) if study.maps else 0.0,
    )


def _more_fits(study: Study, n_columns: int, n_folds: int) -> dict[str, int]:
    """Return the fits for maps and families, by the label of the model."""
    found: dict[str, int] = {}
    for label, n in (
        (study.maps, n_map_fits(n_columns, n_folds)),
        (study.modalities, n_modality_fits(n_columns, n_folds)),
    ):
        if label:
            found[label] = found.get(label, 0) + n
    return found


def _one_fit(model: int, study: Study) -> float:
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        column = ALL_COLUMNS if study.models[model].joint else 0
        outcome = run_job(Job(model, column, TRUE_LABELS, (0,)), study, Path(folder) / "jobs")
        seconds = time.perf_counter() - began
    raise_error([outcome])
    return seconds
