"""The parts of a session protocol, each beside the table of what its section may say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from physioemo.acquisition.player.continuous import (
    AXES,
    DEVICES,
    LEAST_HZ,
    MOST_HZ,
    ContinuousRating,
)
from physioemo.experiments.session.fields import Field, named_list, number, one_of, switch, text
from physioemo.experiments.session.fields import whole as whole_number
from physioemo.prediction import DIMENSIONS

__all__ = [
    "ORDERS",
    "QUADRANTS",
    "RATED",
    "SECTIONS",
    "Arm",
    "Baseline",
    "Block",
    "Calibration",
    "Loop",
    "Practice",
    "Ratings",
    "Stimulus",
    "quadrant_of",
    "rating_items",
]

ORDERS = ("fixed", "shuffled", "counterbalanced", "adaptive")
QUADRANTS = ("HVHA", "HVLA", "LVHA", "LVLA", "neutral")
"""High or low valence, high or low arousal; neutral is near the middle of both."""

RATED = (*DIMENSIONS, "liking", "familiarity")
NEUTRAL_WITHIN = 0.2
KEY_SECONDS = 15.0  # what is expected of a text that waits for a key

_QUESTIONS = {
    "valence": ("How pleasant did you feel?", ("unpleasant", "pleasant")),
    "arousal": ("How excited did you feel?", ("calm", "excited")),
    "dominance": ("How much in control did you feel?", ("controlled", "in control")),
    "liking": ("How much did you like it?", ("not at all", "very much")),
    "familiarity": ("How well did you know it?", ("not at all", "very well")),
}
_LOWEST, _HIGHEST, _MOST_SCALE = 1.0, 9.0, 1000.0


def quadrant_of(valence: float, arousal: float) -> str:
    """Return the quadrant of a point of the affect plane, each axis -1 to 1."""
    if max(abs(valence), abs(arousal)) < NEUTRAL_WITHIN:
        return "neutral"
    return f"{'H' if valence >= 0 else 'L'}V{'H' if arousal >= 0 else 'L'}A"


@dataclass(frozen=True)
class Stimulus:
    """Something to show.

    Parameters
    ----------
    id : str
        The same in every recording.
    item : mapping
        Fields of the player's item, without trial and name.
    seconds : float
        How long it is shown.
    valence, arousal : float
        What it is expected to evoke, -1 to 1.
    quadrant : str
        One of :data:`QUADRANTS`.
    pool : tuple of str
        The pools that it is in.
    sha256 : str
        Of its file's bytes; empty without a file.
    """

    id: str
    item: Mapping[str, Any]
    seconds: float
    valence: float
    arousal: float
    quadrant: str
    pool: tuple[str, ...] = ("main",)
    sha256: str = ""


@dataclass(frozen=True)
class Baseline:
    """Rest before everything else."""

    eyes_open_seconds: float = 0.0
    eyes_closed_seconds: float = 0.0
    instruction_seconds: float = 8.0


@dataclass(frozen=True)
class Practice:
    """Trials that nothing is learnt from."""

    n_trials: int = 0
    pool: str = "main"


@dataclass(frozen=True)
class Block:
    """Trials in one order.

    Parameters
    ----------
    name : str
        What it is called.
    pool : str
        Where its stimuli are from.
    stimuli : tuple of str
        Ids of the pool in the order in which they are meant; all of it if empty.
    n_trials : int
        How many; each stimulus once if 0.
    order : {"fixed", "shuffled", "counterbalanced", "adaptive"}
        Adaptive: the policy chooses.
    max_same_quadrant : int
        No more of a quadrant in a row when shuffled; 0 for no limit.
    may_repeat : bool
        Whether a stimulus may follow itself when shuffled.
    rated, feedback : bool
        Whether each trial is rated, and whether the policy sets a feedback while one runs.
    fixation_seconds, pause_seconds : float
        A cross before each trial, and an empty screen after it.
    break_seconds : float
        After the block, unless it is the last, or within it after every `break_every` trials.
    break_every : int
        0 for none within the block.
    instruction : str
        Text before the first trial.
    instruction_seconds : float
        How long it stays; 0 until a key is pressed.
    """

    name: str
    pool: str = "main"
    stimuli: tuple[str, ...] = ()
    n_trials: int = 0
    order: str = "shuffled"
    max_same_quadrant: int = 0
    may_repeat: bool = False
    rated: bool = True
    feedback: bool = False
    fixation_seconds: float = 2.0
    pause_seconds: float = 0.0
    break_seconds: float = 0.0
    break_every: int = 0
    instruction: str = ""
    instruction_seconds: float = 8.0


@dataclass(frozen=True)
class Ratings:
    """What is asked after a trial.

    Parameters
    ----------
    dimensions : tuple of str
        Of :data:`RATED`, in the order in which they are asked.
    scale : {"sam", "slider"}
        Manikins and steps from 1 to 9, or sliders without steps.
    timeout_seconds : float or None
        How long a page waits.
    expected_seconds : float
        How long an answer takes, for the timeline.
    continuous_stream : str
        Name of another program's LSL stream of a continuous rating; empty without one.
    continuous : ContinuousRating or None
        What the participant rates in our player while a stimulus is shown; None if nothing.
    """

    dimensions: tuple[str, ...] = ("valence", "arousal")
    scale: str = "sam"
    timeout_seconds: float | None = None
    expected_seconds: float = 4.0
    continuous_stream: str = ""
    continuous: ContinuousRating | None = None


@dataclass(frozen=True)
class Calibration:
    """When the decoder is fitted to the participant.

    Parameters
    ----------
    after_trials : int
        Rated trials before it.
    method : {"bias", "bias-and-scale"}
        What is fitted.
    """

    after_trials: int
    method: str = "bias"


@dataclass(frozen=True)
class Loop:
    """What holds for every arm.

    Parameters
    ----------
    vary : {"participant", "session"}
        Whether a participant stays in one arm, or has another in each session.
    blinded : bool
        Whether the operator is not told the arm.
    max_age_seconds : float
        A prediction whose newest sample is older is stale.
    """

    vary: str = "participant"
    blinded: bool = False
    max_age_seconds: float = 2.0


@dataclass(frozen=True)
class Arm:
    """A policy with its parameters, as some of the participants have it.

    Parameters
    ----------
    name : str
        What it is called.
    policy : str
        Row of :data:`physioemo.experiments.session.policies.POLICIES`.
    parameters : mapping
        All of them.
    decisions : str
        Path of the decisions that a sham replays; ``{participant}`` and ``{session}`` stand for
        its own.
    """

    name: str
    policy: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    decisions: str = ""


_SECONDS = 86400.0
SECTIONS: dict[str, dict[str, Field]] = {
    "": {
        "title": text("Steering arousal"),
        "description": text("what it is for", ""),
        "seed": whole_number(0, 2**31 - 1, 0),
    },
    "baseline": {
        "eyes_open_seconds": number(0, _SECONDS, 0.0),
        "eyes_closed_seconds": number(0, _SECONDS, 0.0),
        "instruction_seconds": number(0, _SECONDS, 8.0),
    },
    "practice": {"n_trials": whole_number(1, 1000), "pool": text("main", "main")},
    "stimulus": {
        "id": text("calm-1"),
        "pool": named_list('the name of a pool such as "main", or a list', default=("main",)),
        "valence": number(-1, 1),
        "arousal": number(-1, 1),
        "quadrant": one_of(*QUADRANTS, default=""),
    },
    "block": {
        "name": text("steering", ""),
        "pool": text("main", "main"),
        "stimuli": named_list("a list of ids of stimuli, each once", default=()),
        "n_trials": whole_number(1, 10_000, 0),
        "order": one_of(*ORDERS, default="shuffled"),
        "max_same_quadrant": whole_number(0, 10_000, 0),
        "may_repeat": switch(False),
        "rated": switch(True),
        "feedback": switch(False),
        "fixation_seconds": number(0, _SECONDS, 2.0),
        "pause_seconds": number(0, _SECONDS, 0.0),
        "break_seconds": number(0, _SECONDS, 0.0),
        "break_every": whole_number(0, 10_000, 0),
        "instruction": text("Watch and let it work on you.", ""),
        "instruction_seconds": number(0, _SECONDS, 8.0),
    },
    "ratings": {
        "dimensions": named_list(
            f"a list of some of {', '.join(RATED)}", *RATED, default=("valence", "arousal")
        ),
        "scale": one_of("sam", "slider", default="sam"),
        "timeout_seconds": number(1, _SECONDS, None),
        "expected_seconds": number(0.1, _SECONDS, 4.0),
        "continuous_stream": text("Continuous-Valence", ""),
        "continuous": named_list(f"a list of one or two of {', '.join(RATED)}", *RATED, default=()),
        "continuous_device": one_of(*DEVICES, default="mouse"),
        "continuous_axis": one_of(*AXES, default="vertical"),
        "continuous_minimum": number(-_MOST_SCALE, _MOST_SCALE, _LOWEST),
        "continuous_maximum": number(-_MOST_SCALE, _MOST_SCALE, _HIGHEST),
        "continuous_sfreq": number(LEAST_HZ, MOST_HZ, 20.0),
        "continuous_gauge": switch(True),
    },
    "calibration": {
        "after_trials": whole_number(2, 10_000),
        "method": one_of("bias", "bias-and-scale", default="bias"),
    },
    "loop": {
        "vary": one_of("participant", "session", default="participant"),
        "blinded": switch(False),
        "max_age_seconds": number(0.05, 3600, 2.0),
    },
}
"""What every section may say, besides ``[[arm]]`` and ``[distress]``."""


def rating_items(ratings: Ratings, trial: int) -> tuple[dict[str, Any], ...]:
    """Return the player's items that ask for the ratings of a trial."""
    with_manikin = [d for d in ratings.dimensions if d in DIMENSIONS and ratings.scale == "sam"]
    items: list[dict[str, Any]] = []
    if with_manikin:
        items.append({"kind": "sam", "trial": trial, "dimensions": with_manikin})
    for dimension in ratings.dimensions:
        if dimension in with_manikin:
            continue
        label, anchors = _QUESTIONS[dimension]
        item: dict[str, Any] = {"kind": "slider", "trial": trial, "dimension": dimension}
        item |= {"label": label, "anchors": list(anchors), "minimum": _LOWEST, "maximum": _HIGHEST}
        items.append(item | {"step": 1.0 if ratings.scale == "sam" else 0.0})
    if ratings.timeout_seconds is not None:
        items = [item | {"timeout_seconds": ratings.timeout_seconds} for item in items]
    return tuple(items)
