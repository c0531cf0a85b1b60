"""What a simulated participant answers after a trial: what was evoked, and noise."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from physioemo.experiments.session.declaration import Stimulus

__all__ = ["simulated_answers"]

_RATING_SD = 0.7


def simulated_answers(
    stimulus: Stimulus, trial: int, item: Mapping[str, Any], seed: int
) -> dict[str, float]:
    """Return the answers to a page of ratings, from 1 to 9, by dimension.

    Parameters
    ----------
    stimulus : Stimulus
        What was shown.
    trial : int
        Its number.
    item : mapping
        The page, as the player shows it.
    seed : int
        Of the session's policy.
    """
    evoked = {"valence": stimulus.valence, "arousal": stimulus.arousal}
    draw = np.random.default_rng([seed, trial, *str(item["kind"]).encode()])
    answers = {}
    for dimension in item.get("dimensions") or [item["dimension"]]:
        value = 5 + 4 * evoked.get(dimension, 0.0) + _RATING_SD * draw.standard_normal()
        answers[dimension] = float(np.clip(np.round(value), 1, 9))
    return answers
