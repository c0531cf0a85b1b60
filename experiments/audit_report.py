"""What an audit found, as numbers and in plain words."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

__all__ = ["AuditReport", "Overlap", "PermutedRun", "Shared", "TargetAudit"]

_LEAST_POINTS = 1.0


@dataclass(frozen=True)
class Overlap:
    """Samples on both sides.

    Parameters
    ----------
    n_test_windows : int
        Test windows, all folds together.
    n_overlapping : int
        Those that share samples with a training window of their recording.
    n_identical : int
        Those whose features stand bit by bit in training too.
    n_reached : int
        Those that share samples only because a feature looks further back than its window.
    """

    n_test_windows: int
    n_overlapping: int
    n_identical: int
    n_reached: int = 0

    @property
    def share(self) -> float:
        """Share of the test windows that overlap with training."""
        return self.n_overlapping / max(self.n_test_windows, 1)


@dataclass(frozen=True)
class Shared:
    """Groups of one kind on both sides.

    Parameters
    ----------
    n_groups, n_shared : int
        How many there are, and how many are on both sides of some fold.
    n_test_windows : int
        Test windows whose group is in training too, all folds together.
    share : float
        Their share of the test windows.
    allowed : bool or None
        Whether the declared protocol allows it; None where no protocol is declared.
    """

    n_groups: int
    n_shared: int
    n_test_windows: int
    share: float
    allowed: bool | None


@dataclass(frozen=True)
class PermutedRun:
    """A nearest neighbour after the labels were permuted, so that there is nothing to learn.

    Parameters
    ----------
    unit : str
        What the labels were permuted over.
    n_units, n_permutations : int
        How many there were.
    accuracy : float
        Mean over the permutations.
    low, high : float
        95 % of the permutations.
    chance : float
        What the mean would be if no unit were recognised: the chance that two units have one
        class.
    """

    unit: str
    n_units: int
    n_permutations: int
    accuracy: float
    low: float
    high: float
    chance: float

    @property
    def inflation(self) -> float:
        """Accuracy above what is expected."""
        return self.accuracy - self.chance


@dataclass(frozen=True)
class TargetAudit:
    """One target on these folds; accuracies are over test windows.

    Parameters
    ----------
    name : str
        Dimension, or ``label``.
    n_windows, n_trials : int
        Test windows that were scored (a sample where there are many), and trials with a class.
    nearest : float
        Accuracy of a nearest neighbour with the true labels.
    majority : float
        Accuracy of the most frequent class of the training windows.
    nearest_in_time : float or None
        Accuracy of the class of the training trial that is nearest in time within the recording:
        what knowing the clock is worth. None where no test window has one.
    permuted : PermutedRun
        Labels permuted over trials.
    permuted_stimuli : PermutedRun or None
        Labels permuted over stimuli, where every stimulus has one class.
    """

    name: str
    n_windows: int
    n_trials: int
    nearest: float
    majority: float
    nearest_in_time: float | None
    permuted: PermutedRun
    permuted_stimuli: PermutedRun | None


@dataclass(frozen=True)
class AuditReport:
    """Everything an audit found; :meth:`verdict` says it in words.

    Parameters
    ----------
    n_windows, n_folds, n_untested, n_tested_twice : int
        Size; windows that no fold tests, and those that several test.
    protocol : str or None
        The declared protocol.
    declared_leaky : bool
        Whether the study says itself that it leaks.
    overlap : Overlap
        Samples on both sides.
    shared : mapping of str to Shared
        Trials, sessions, subjects, stimuli, data sets on both sides.
    fitted_on : mapping of str to str
        On what scaler, smoother, resampler or selection were fitted, as declared.
    smoothing : str or None
        How the features were smoothed along the windows of a trial; None where not known.
    named_trial, named_trial_chance, named_trial_here : float
        How often a nearest neighbour names the trial of a held-out window: where the windows of
        every trial are shuffled, by chance, and on these folds.
    targets : tuple of TargetAudit
        One per target.
    problems, notes : tuple of str
        What makes the split leak, and what a reader should know.
    """

    n_windows: int
    n_folds: int
    n_untested: int
    n_tested_twice: int
    protocol: str | None
    declared_leaky: bool
    overlap: Overlap
    shared: Mapping[str, Shared]
    fitted_on: Mapping[str, str]
    smoothing: str | None
    named_trial: float
    named_trial_chance: float
    named_trial_here: float
    targets: tuple[TargetAudit, ...]
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def leaky(self) -> bool:
        """Whether anything was found that makes scores too good."""
        return bool(self.problems)

    @property
    def inflation_points(self) -> float:
        """Points (%) of accuracy that recognising the trial is worth: the most of all targets."""
        return max((100 * t.permuted.inflation for t in self.targets), default=0.0)

    def verdict(self) -> str:
        """Return CLEAN or LEAKY, why, and by how much scores are inflated."""
        if not self.targets:
            measured = "No target has two classes, so no score was tried."
        else:
            worst = max(self.targets, key=lambda t: t.permuted.inflation)
            run = worst.permuted
            measured = (
                f"With {worst.name} permuted over {run.n_units} trials ({run.n_permutations} "
                f"times), so that there is nothing to learn, a nearest neighbour scores "
                f"{100 * run.accuracy:.1f} % (95 % of the runs {100 * run.low:.1f} to "
                f"{100 * run.high:.1f}) where {100 * run.chance:.1f} % is expected"
            )
            if self.leaky and self.inflation_points >= _LEAST_POINTS:
                measured += (
                    f": about {self.inflation_points:.1f} points of a score on this split come "
                    "from recognising trials."
                )
            else:
                measured += "; the leak does not show in this number." if self.leaky else "."
        found = " ".join(self.problems) if self.leaky else self._nothing_found()
        return f"{'LEAKY' if self.leaky else 'CLEAN'}. {found} {measured}"

    def _nothing_found(self) -> str:
        return (
            f"No test window of {self.n_folds} folds shares samples or its trial with training"
            + (f", and what {self.protocol} promises holds." if self.protocol else ".")
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary, verdict included."""
        fields = asdict(self)
        fields["overlap"]["share"] = self.overlap.share
        for entry, target in zip(fields["targets"], self.targets, strict=True):
            for key in ("permuted", "permuted_stimuli"):
                run = getattr(target, key)
                if run is not None:
                    entry[key]["inflation"] = run.inflation
        return {
            "verdict": "LEAKY" if self.leaky else "CLEAN",
            "leaky": self.leaky,
            "inflation_points": self.inflation_points,
            "in_words": self.verdict(),
            **fields,
            "targets": list(fields["targets"]),
            "problems": list(self.problems),
            "notes": list(self.notes),
        }
