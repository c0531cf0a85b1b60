"""Answers that a program gives in a participant's place, for tests and dry runs."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from physioemo.acquisition.player.continuous import ContinuousRating
from physioemo.acquisition.player.item import Item
from physioemo.errors import CallError

__all__ = ["Answers", "FileAnswers", "SimulatedAnswers", "read_answers"]


class Answers(Protocol):
    """Who answers in a participant's place."""

    delay_seconds: float

    def answer(self, item: Item) -> dict[str, float]:
        """Return the answer to a rating item by dimension."""

    def pointing(self, item: Item, rating: ContinuousRating) -> dict[str, float]:
        """Return to where the pointer is moved while an item is shown; empty: nowhere."""


class SimulatedAnswers:
    """Answers drawn from a seed, evenly over each scale; the same for the same trial.

    Parameters
    ----------
    seed : int
        Draws them.
    """

    delay_seconds = 0.4

    def __init__(self, seed: int) -> None:
        self.seed = seed

    def answer(self, item: Item) -> dict[str, float]:
        """Return the answer to a rating item by dimension."""
        values = {}
        for dimension, (low, high) in item.rated.items():
            word = [self.seed, item.trial or 0, *dimension.encode()]
            draw = np.random.default_rng(word).uniform()
            step = 1.0 if item.kind == "sam" else item.step
            value = low + draw * (high - low)
            if step:
                value = low + round((value - low) / step) * step
            values[dimension] = float(value)
        return values

    def pointing(self, item: Item, rating: ContinuousRating) -> dict[str, float]:
        """Return to where the pointer is moved while an item is shown."""
        values = {}
        for dimension in rating.dimensions:
            word = [self.seed, item.trial or 0, *b"pointer", *dimension.encode()]
            draw = np.random.default_rng(word).uniform(rating.minimum, rating.maximum)
            values[dimension] = float(draw)
        return values


class FileAnswers:
    """Answers from a JSON file: ``{"1": {"valence": 7, "arousal": 3, "dominance": 5}, ...}``.

    Parameters
    ----------
    table : mapping
        Answers by trial number (as text), each by dimension.
    where : str
        What errors call it.
    """

    delay_seconds = 0.4

    def __init__(self, table: Mapping[str, Mapping[str, float]], where: str) -> None:
        self.table, self.where = table, where

    def answer(self, item: Item) -> dict[str, float]:
        """Return the answer to a rating item by dimension.

        Raises
        ------
        CallError
            If the file does not answer it, or not within the scale.
        """
        given = self.table.get(str(item.trial), {})
        values = {}
        for dimension, (low, high) in item.rated.items():
            value = given.get(dimension)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if not is_number or not low <= float(value or 0) <= high:
                raise CallError(
                    f"found {dimension} = {value!r} for trial {item.trial} in {self.where}, "
                    f"expected a number from {low:g} to {high:g}"
                )
            values[dimension] = float(value or 0)
        return values

    def pointing(self, item: Item, rating: ContinuousRating) -> dict[str, float]:
        """Return nothing: a file answers pages alone."""
        return {}


class ToldAnswers:
    """Answers that come with each item, from the program that leads the player."""

    delay_seconds = 0.4

    def __init__(self) -> None:
        self.told: Mapping[str, float] = {}

    def answer(self, item: Item) -> dict[str, float]:
        """Return the answer to a rating item by dimension.

        Raises
        ------
        CallError
            If none came, or not within the scale.
        """
        return FileAnswers({str(item.trial): self.told}, "what was told").answer(item)

    def pointing(self, item: Item, rating: ContinuousRating) -> dict[str, float]:
        """Return to where the pointer is moved while an item is shown; empty if not told.

        Raises
        ------
        CallError
            If what was told is not within the scale.
        """
        for dimension in self.told:
            value = self.told[dimension]
            if dimension in rating.dimensions and not rating.minimum <= value <= rating.maximum:
                raise CallError(
                    f"found {dimension} = {value!r} for the continuous rating of trial "
                    f"{item.trial}, expected a number from {rating.minimum:g} to "
                    f"{rating.maximum:g}"
                )
        return {d: float(v) for d, v in self.told.items() if d in rating.dimensions}


def read_answers(text: str) -> Answers:
    """Return the answers that ``simulated:SEED``, ``told`` or the path of a JSON file names.

    Raises
    ------
    CallError
        If it is neither.
    """
    if text == "told":
        return ToldAnswers()
    word, _, seed = text.partition(":")
    if word == "simulated":
        if not seed.isdecimal():
            raise CallError(
                f"found --answers {text}, expected 'simulated:SEED' such as simulated:3"
            )
        return SimulatedAnswers(int(seed))
    path = Path(text)
    try:
        table: Any = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CallError(
            f"found that {path} cannot be read ({error}), expected 'simulated:SEED' or a JSON "
            "file of answers"
        ) from None
    if not isinstance(table, dict) or not all(isinstance(v, dict) for v in table.values()):
        raise CallError(
            f"found no answers by trial in {path}, expected such as "
            '{"1": {"valence": 7, "arousal": 3, "dominance": 5}}'
        )
    return FileAnswers(table, str(path))
