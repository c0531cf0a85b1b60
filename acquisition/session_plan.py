"""The plan of a simulated session: which clip when, what it arouses, and how it is rated.

There are 64 clips, the same for every participant. Each aims at a fixed affect, high or low in
valence, arousal and dominance with a magnitude of 0.6-1.0. Every four trials hold each quadrant
of valence × arousal once, in an order drawn from the seed; dominance is high in two of the four,
uncorrelated with the other two, and reversed in the next four, so that eight trials hold all
eight corners. A clip returns only after all 64 were shown.

A trial ends with a rating from 1 to 9 per dimension, ``5 + 4 · target + noise`` with a standard
deviation of 0.5, as on the Self-Assessment Manikin (Bradley & Lang, Journal of Behavior Therapy
and Experimental Psychiatry 25, 1994). Ratings follow the plan even where the signals do not
(``effect=0``).
"""

import itertools
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from physioemo.acquisition.participant import Affect
from physioemo.acquisition.participant_config import check_seconds
from physioemo.acquisition.participant_noise import child_generator

__all__ = [
    "N_CLIPS",
    "PlannedTrial",
    "iterate_trials",
    "plan_session",
    "rate_trial",
    "trial_fits",
]

N_CLIPS = 64
RATING_SD = 0.5
RATING_DELAY_SECONDS = 0.5
QUADRANTS = ((1, 1), (1, -1), (-1, 1), (-1, -1))


@dataclass(frozen=True)
class PlannedTrial:
    """One trial of the plan.

    Attributes
    ----------
    trial : int
        Number from 1.
    onset_seconds, duration_seconds : float
        When the clip plays.
    stimulus : str
        Name of the clip, such as ``"clip-03"``.
    target : tuple of 3 float
        Valence, arousal, dominance in [-1, 1] that the clip arouses.
    rating_seconds : float
        When the participant answers.
    """

    trial: int
    onset_seconds: float
    duration_seconds: float
    stimulus: str
    target: Affect
    rating_seconds: float

    @property
    def stop_seconds(self) -> float:
        """When the clip ends."""
        return self.onset_seconds + self.duration_seconds


def _clips() -> dict[tuple[int, int, int], list[tuple[str, Affect]]]:
    """All clips by the corner at which they aim."""
    corners = [(v, a, d) for v, a in QUADRANTS for d in (1, -1)]
    magnitudes = np.random.default_rng(2024).uniform(0.6, 1.0, size=(N_CLIPS, 3))
    clips: dict[tuple[int, int, int], list[tuple[str, Affect]]] = {c: [] for c in corners}
    for number, (v, a, d) in enumerate(magnitudes.tolist()):
        corner = corners[number % 8]
        target = (corner[0] * v, corner[1] * a, corner[2] * d)
        clips[corner].append((f"clip-{number + 1:02d}", target))
    return clips


def iterate_trials(
    *, seed: int, trial_seconds: float = 8.0, rest_seconds: float = 2.0
) -> Iterator[PlannedTrial]:
    """Plan trials without end.

    Parameters
    ----------
    seed : int
        Draws the order.
    trial_seconds : float
        Length of a clip.
    rest_seconds : float
        Neutral time between two clips; half of it comes before the first.

    Yields
    ------
    PlannedTrial
        The next trial.

    Raises
    ------
    CallError
        If a length is not a finite number, `trial_seconds` not positive or `rest_seconds`
        negative.
    """
    check_seconds("trial_seconds", trial_seconds)
    check_seconds("rest_seconds", rest_seconds, or_zero=True)
    return _trials(seed, float(trial_seconds), float(rest_seconds))


def _trials(seed: int, trial_seconds: float, rest_seconds: float) -> Iterator[PlannedTrial]:
    """Give each clip of the endless order its times."""
    for index, (stimulus, target) in enumerate(_clip_order(seed)):
        onset_seconds = rest_seconds / 2 + index * (trial_seconds + rest_seconds)
        stop_seconds = onset_seconds + trial_seconds
        yield PlannedTrial(
            trial=index + 1,
            onset_seconds=onset_seconds,
            duration_seconds=trial_seconds,
            stimulus=stimulus,
            target=target,
            rating_seconds=stop_seconds + min(RATING_DELAY_SECONDS, rest_seconds / 2),
        )


def _clip_order(seed: int) -> Iterator[tuple[str, Affect]]:
    """Shuffle the clips round by round, balanced over every four and every eight trials."""
    clips = _clips()
    for round_index in itertools.count():
        draw = child_generator(seed, "plan", round_index)
        decks = {corner: deque(draw.permutation(len(deck))) for corner, deck in clips.items()}
        for _ in range(N_CLIPS // 8):
            # d = ± v · a is high in two of four quadrants and uncorrelated with v and with a.
            sign = int(draw.choice((-1, 1)))
            for product in (sign, -sign):
                for v, a in draw.permutation(QUADRANTS).tolist():
                    corner = (v, a, v * a * product)
                    yield clips[corner][decks[corner].popleft()]


def plan_session(
    *,
    duration_seconds: float,
    seed: int,
    trial_seconds: float = 8.0,
    rest_seconds: float = 2.0,
) -> list[PlannedTrial]:
    """Plan all trials that fit into a session.

    Parameters
    ----------
    duration_seconds : float
        Length of the session: ``duration // (trial + rest)`` trials fit.
    seed : int
        Draws the order.
    trial_seconds, rest_seconds : float
        Length of a clip and of the neutral time between two clips.

    Returns
    -------
    list of PlannedTrial
        In order of time.

    Raises
    ------
    CallError
        If a length is not a finite number of a possible size.
    """
    check_seconds("duration_seconds", duration_seconds)
    trials = iterate_trials(seed=seed, trial_seconds=trial_seconds, rest_seconds=rest_seconds)
    return list(itertools.takewhile(lambda trial: trial_fits(trial, duration_seconds), trials))


def trial_fits(trial: PlannedTrial, duration_seconds: float) -> bool:
    """Tell whether a trial and its rating end within a session.

    Parameters
    ----------
    trial : PlannedTrial
        The trial.
    duration_seconds : float
        Length of the session; infinite for one without end.

    Returns
    -------
    bool
        Whether it is shown.
    """
    return trial.rating_seconds <= duration_seconds + 1e-9


def rate_trial(trial: PlannedTrial, seed: int) -> tuple[float, int, float, float, float]:
    """Answer how a clip felt.

    Parameters
    ----------
    trial : PlannedTrial
        The trial.
    seed : int
        The participant's seed.

    Returns
    -------
    tuple of (time_seconds, trial, valence, arousal, dominance)
        Ratings from 1 to 9.
    """
    noise = child_generator(seed, "ratings", trial.trial).normal(0, RATING_SD, size=3)
    valence, arousal, dominance = np.clip(5 + 4 * np.array(trial.target) + noise, 1, 9).tolist()
    return trial.rating_seconds, trial.trial, valence, arousal, dominance
