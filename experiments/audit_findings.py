"""From the numbers of an audit to sentences: what leaks, and what a reader should know."""

from collections.abc import Iterator, Sequence

from physioemo.experiments.audit_report import AuditReport, PermutedRun
from physioemo.experiments.disjoint import check_disjoint
from physioemo.experiments.folds import Fold
from physioemo.experiments.protocols import Protocol
from physioemo.experiments.study_data import Groups, StudyData

__all__ = ["FITTED_ON", "notes", "problems"]

FITTED_ON = ("training", "trial", "nothing")
"""On what a step may be fitted: the fold's training windows, each trial for itself, nothing."""

_LEAST_INFLATION = 0.01
_STANDARD_ERRORS = 4.0
_WIDTH_95 = 3.92  # standard deviations between the 2.5th and the 97.5th percentile
_CLOCK_ERRORS = 3.0


def problems(
    report: AuditReport, groups: Groups, folds: Sequence[Fold], declared: Protocol | None
) -> Iterator[str]:
    """Yield one sentence for each thing that makes scores too good."""
    overlap, trials = report.overlap, report.shared["trial"]
    if overlap.n_overlapping:
        yield (
            f"{100 * overlap.share:.1f} % of the test windows ({overlap.n_overlapping} of "
            f"{overlap.n_test_windows}) share samples with a training window."
        )
    if overlap.n_identical:
        yield (
            f"{overlap.n_identical} test windows have bit by bit the features of a training "
            "window: windows were copied, or resampled before the split."
        )
    if trials.n_shared:
        yield (
            f"{100 * trials.share:.1f} % of the test windows are of a trial that is also in "
            f"training ({trials.n_shared} of {trials.n_groups} trials), and a nearest neighbour "
            f"names the trial of {100 * report.named_trial_here:.1f} % "
            f"({100 * report.named_trial_chance:.1f} % by chance)."
        )
    yield from _broken_promises(report, groups, folds, declared)
    yield from _fitted_across(report)
    for target in report.targets:
        if _above(target.permuted) and not trials.n_shared:
            yield (
                f"A nearest neighbour scores {100 * target.permuted.accuracy:.1f} % on permuted "
                f"{target.name}, above the {100 * target.permuted.chance:.1f} % expected."
            )


def _broken_promises(
    report: AuditReport, groups: Groups, folds: Sequence[Fold], declared: Protocol | None
) -> Iterator[str]:
    if declared is None:
        return
    for kind, shared in report.shared.items():
        if kind != "trial" and shared.n_shared and not shared.allowed:
            yield (
                f"{declared.name} keeps each {kind} on one side, but {shared.n_shared} of "
                f"{shared.n_groups} are on both ({100 * shared.share:.1f} % of the test windows)."
            )
    if "time" in declared.disjoint:
        later = sum(bool(check_disjoint(groups, *fold, what=("time",))) for fold in folds)
        if later:
            yield (
                f"{declared.name} tests what comes after training, but {later} of {len(folds)} "
                "folds train on windows that are later than a test window of the same subject."
            )


def _fitted_across(report: AuditReport) -> Iterator[str]:
    for step, where in report.fitted_on.items():
        if where not in FITTED_ON:
            yield (
                f"The {step} was fitted on {where!r}, not on the training windows of each fold "
                f"(expected {', '.join(FITTED_ON)})."
            )
    if report.smoothing not in (None, "none") and report.shared["trial"].n_shared:
        yield (
            f"The features were smoothed along each trial ({report.smoothing}), so test windows "
            "hold values of training windows of their trial."
        )


def _above(run: PermutedRun) -> bool:
    error = (run.high - run.low) / _WIDTH_95 / run.n_permutations**0.5
    return run.inflation > max(_LEAST_INFLATION, _STANDARD_ERRORS * error)


def notes(report: AuditReport, data: StudyData) -> Iterator[str]:
    """Yield what is no leak, but belongs beside the scores."""
    if data.source.get("simulated"):
        yield "The data are simulated: nobody was recorded."
    if report.declared_leaky or data.source.get("leaky"):
        yield "The study says itself that it is LEAKY" + (
            f": {data.source['why_leaky']}." if data.source.get("why_leaky") else "."
        )
    if report.protocol is None:
        yield "No protocol was declared, so shared subjects, sessions and stimuli are only counted."
    for kind, meaning in (("subject", "new subjects"), ("stimulus", "new stimuli")):
        shared = report.shared[kind]
        if shared.n_shared:
            yield (
                f"{100 * shared.share:.0f} % of the test windows have their {kind} in training: "
                f"the scores say nothing about {meaning}."
            )
    if not report.fitted_on:
        yield (
            "On what scaler, smoother, resampler and feature selection were fitted is not declared "
            "(fitted_on), and folds cannot show it."
        )
    if report.overlap.n_reached:
        yield (
            f"{report.overlap.n_reached} test windows share samples with training only through a "
            "feature that looks further back than its window (heart-rate variability)."
        )
    yield from _coverage(report)
    yield from _target_notes(report)


def _coverage(report: AuditReport) -> Iterator[str]:
    if report.n_untested:
        yield f"{report.n_untested} of {report.n_windows} windows are tested in no fold."
    if report.n_tested_twice:
        yield f"{report.n_tested_twice} of {report.n_windows} windows are tested in several folds."


def _target_notes(report: AuditReport) -> Iterator[str]:
    for target in report.targets:
        stimuli, clock = target.permuted_stimuli, target.nearest_in_time
        if stimuli and _above(stimuli) and report.shared["stimulus"].n_shared:
            yield (
                f"With {target.name} permuted over {stimuli.n_units} stimuli a nearest neighbour "
                f"scores {100 * stimuli.accuracy:.1f} %, {100 * stimuli.chance:.1f} % expected: it "
                "recognises stimuli."
            )
        expected = max(target.majority, target.permuted.chance)
        # Windows of a trial have one class: what counts is the number of trials.
        error = (expected * (1 - expected) / target.n_trials) ** 0.5
        in_blocks = clock is not None and clock > expected + _CLOCK_ERRORS * error
        if in_blocks and not report.shared["trial"].n_shared:
            yield (
                f"The class of the training trial nearest in time is right for "
                f"{100 * (clock or 0):.1f} % of {target.name} ({100 * expected:.1f} % expected): "
                "labels come in blocks, and slow drift alone "
                "would score; compare with the protocol chronological."
            )
