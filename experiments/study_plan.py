"""What a study would do, and how long that takes here."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from physioemo.errors import CallError, DataError
from physioemo.experiments.estimators import build_estimator, find_estimator
from physioemo.experiments.study_config import Study
from physioemo.experiments.study_inputs import StudyInputs, load_inputs, shared_electrodes
from physioemo.experiments.study_jobs import (
    TRUE_LABELS,
    Job,
    n_permutations,
    plan_jobs,
    predictions_of,
)
from physioemo.experiments.study_joint import ALL_COLUMNS
from physioemo.experiments.study_maps import ablation_seconds, plan_maps
from physioemo.experiments.study_modalities import plan_modalities
from physioemo.experiments.study_order import ordered_options

__all__ = ["StudyPlan", "plan_study"]

_EPOCHS, _WINDOWS = 4, 4000
_QUICK_SECONDS = 2.0


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
        How long one fit of each takes here, of a network with all its epochs.
    n_permutations : mapping of str to int
        How often each is repeated with permuted labels.
    n_more_fits : mapping of str to int
        Models to be trained for maps and for the comparison of families, by label.
    electrodes : tuple of str
        Those that all stores have, where there are several.
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
    electrodes: tuple[str, ...] = ()

    @property
    def total_seconds(self) -> float:
        """Estimate for one process, permuted labels, maps and families included."""
        return self.seconds_in(1)

    def seconds_in(self, jobs: int) -> float:
        """Estimate for some processes."""
        fits = [*self.n_fits.items(), *self.n_more_fits.items()]
        return (sum(n * self.seconds[k] for k, n in fits) + self.ablation_seconds) / jobs


def plan_study(study: Study, *, on_model: Callable[[str], None] | None = None) -> StudyPlan:
    """Return what a study would do, and how long one fit of each model takes here.

    Networks are fitted for a few epochs to some windows, and their time is scaled to all.

    Parameters
    ----------
    study : Study
        What was declared.
    on_model : callable, optional
        Told the label of each model before it is timed.
    """
    inputs = load_inputs(study)
    jobs = plan_jobs(study, len(inputs.columns), len(inputs.folds))
    n_fits = {
        m.label: sum(len(j.folds) for j in jobs if j.model == k) for k, m in enumerate(study.models)
    }
    n_more = Counter[str]()
    n_more[study.maps] += sum(part.n_fits for part in plan_maps(study, inputs))
    n_more[study.modalities] += len(plan_modalities(study, inputs))
    seconds = {}
    for k, model in enumerate(study.models):
        if on_model:
            on_model(model.label)
        seconds[model.label] = _seconds_of_fit(k, study, inputs)
    return StudyPlan(
        n_windows=len(inputs.groups),
        n_trials=len(set(inputs.groups.trial_id.tolist())),
        n_subjects=len(set(inputs.groups.person.tolist())),
        n_folds=len(inputs.folds),
        n_fits=n_fits,
        seconds=seconds,
        n_permutations={m.label: n_permutations(study, m) for m in study.models},
        n_more_fits={label: n for label, n in n_more.items() if n},
        ablation_seconds=ablation_seconds(study, inputs) if study.maps else 0.0,
        electrodes=shared_electrodes(study, inputs),
    )


def _seconds_of_fit(number: int, study: Study, inputs: StudyInputs) -> float:
    """Return how long it takes to fit one model to one fold, once everything is imported."""
    model = study.models[number]
    options = ordered_options(model.name, model.options, study.target)
    built = build_estimator(model.name, model.preset, joint=model.joint, **options)
    n_epochs = getattr(built, "n_epochs", 0)
    if n_epochs <= _EPOCHS:
        first = _timed(number, study, inputs)
        return min(first, _timed(number, study, inputs)) if first < _QUICK_SECONDS else first
    train, test = inputs.folds[0]
    every = max(1, len(train) // _WINDOWS)
    some = replace(inputs, folds=[(train[::every], test)])
    late = getattr(built, "late_from_epoch", None) or n_epochs
    parts = [(min(late, n_epochs), built.batch_size)]
    if late < n_epochs:
        parts.append((n_epochs - late, built.late_batch_size))
    _timed(number, _short(study, number, 1, built.batch_size), some)  # imports and compilers
    seconds = 0.0
    for n, batch_size in parts:
        one, all_ = (
            _timed(number, _short(study, number, k, batch_size), some) for k in (1, _EPOCHS)
        )
        # Where a computer is busy the difference may be anything, even below zero.
        of_epoch = max((all_ - one) / (_EPOCHS - 1), all_ / (2 * _EPOCHS))
        seconds += (all_ + of_epoch * max(n - _EPOCHS, 0)) * every
    return seconds


def _short(study: Study, number: int, n_epochs: int, batch_size: int) -> Study:
    """Return a study of which one model is trained for a few epochs."""
    models = list(study.models)
    options = {**models[number].options, "n_epochs": n_epochs, "batch_size": batch_size}
    for name in ("late_batch_size", "late_from_epoch"):
        options.pop(name, None)
    models[number] = replace(models[number], options=options)
    return replace(study, models=tuple(models))


def _timed(number: int, study: Study, inputs: StudyInputs) -> float:
    from threadpoolctl import threadpool_limits

    model = study.models[number]
    job = Job(number, ALL_COLUMNS if model.joint else 0, TRUE_LABELS, (0,))
    threads = None if find_estimator(model.name).uses_torch else 1
    try:
        with threadpool_limits(limits=threads):
            began = time.perf_counter()
            predictions_of(job, study, inputs, None)
            return time.perf_counter() - began
    except CallError as error:
        raise CallError(f"{model.label}: {error}") from error
    except DataError as error:
        raise DataError(f"{model.label}: {error}") from error
