"""The trials of a recording as feature stores take them, and how many windows each has."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from physioemo.errors import DataError
from physioemo.features.preprocess_recipe import PreprocessRecipe
from physioemo.recording import Recording

__all__ = ["TRIAL_COLUMNS", "Trial", "count_windows", "n_windows", "trials_of"]

TRIAL_COLUMNS = ("onset_seconds", "duration_seconds", "stimulus")
"""What every table of trials holds beside the number."""


@dataclass(frozen=True)
class Trial:
    """One trial.

    Parameters
    ----------
    number : int
        As the recording counts.
    onset_seconds, duration_seconds : float
        On the session's clock.
    stimulus : str
        What was shown.
    baseline : (float, float) or None
        Onset and length of its own baseline, where the recipe subtracts one.
    """

    number: int
    onset_seconds: float
    duration_seconds: float
    stimulus: str
    baseline: tuple[float, float] | None


def trials_of(recording: Recording, recipe: PreprocessRecipe) -> Iterator[Trial]:
    """Yield the trials of a recording.

    Raises
    ------
    DataError
        If there are none, or one has no baseline where the recipe needs it.
    """
    table, events = recording.trials, recording.events
    if not table.sizes["trial"]:
        raise DataError(
            "found no trials, expected at least one; record trial_start and trial_stop markers"
        )
    kinds = events["description"].values.astype(object)
    baselines = [
        (float(onset), float(seconds))
        for onset, seconds, kind in zip(
            events["onset_seconds"].values, events["duration_seconds"].values, kinds, strict=True
        )
        if kind == "baseline"
    ]
    columns = (table["trial"].values, *(table[c].values for c in TRIAL_COLUMNS))
    previous = -math.inf
    for number, onset, duration, stimulus in zip(*columns, strict=True):
        own = [b for b in baselines if previous <= b[0] and b[0] + b[1] <= onset + 1e-3]
        if recipe.baseline == "subtract" and not own:
            raise DataError(
                f"found no baseline before trial {number}, expected one to subtract; use "
                "--baseline none"
            )
        baseline = own[-1] if own and recipe.baseline == "subtract" else None
        yield Trial(int(number), float(onset), float(duration), str(stimulus), baseline)
        previous = float(onset)


def count_windows(trial: Trial, recipe: PreprocessRecipe) -> int:
    """Return how many windows a trial has.

    Raises
    ------
    DataError
        If it is shorter than a window.
    """
    n = n_windows(trial.duration_seconds, recipe)
    if not n:
        raise DataError(
            f"found trial {trial.number} of {trial.duration_seconds:g} s, expected at least one "
            f"window of {recipe.window_seconds:g} s; use shorter windows"
        )
    return n


def n_windows(duration_seconds: float, recipe: PreprocessRecipe) -> int:
    """Return how many windows a stretch of some seconds holds."""
    hops = (duration_seconds - recipe.window_seconds) / recipe.hop_seconds
    # Stamps and markers carry noise: a thousandth of a hop decides nothing.
    return max(0, math.floor(hops + 1e-3) + 1)
