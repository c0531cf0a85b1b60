"""A session's continuous ratings: which streams must be there, and with what they are given."""

import socket
from typing import TYPE_CHECKING

from physioemo.acquisition.player.continuous import CONTINUOUS, ContinuousRating
from physioemo.acquisition.player.pointer import require_device
from physioemo.acquisition.player.screen import prepare_sdl
from physioemo.experiments.session.declaration import Ratings, Stimulus

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["continuous_streams", "refuse_missing_pointer", "simulated_pointing"]


def continuous_streams(ratings: Ratings) -> tuple[str, ...]:
    """Return XPath predicates of the streams that must be recorded: our player's and others'."""
    return tuple(_predicates(ratings))


def _predicates(ratings: Ratings) -> "Iterator[str]":
    if ratings.continuous is not None:
        yield f"name='{CONTINUOUS}' and hostname='{socket.gethostname()}'"
    if ratings.continuous_stream:
        yield f"name='{ratings.continuous_stream}'"


def refuse_missing_pointer(ratings: Ratings, *, headless: bool) -> None:
    """Refuse to begin where the participant has nothing to rate with.

    Raises
    ------
    StreamError
        If the joystick of a continuous rating is not connected.
    """
    if ratings.continuous is not None:
        prepare_sdl(headless=headless)
        require_device(ratings.continuous)


def simulated_pointing(rating: ContinuousRating, stimulus: Stimulus) -> dict[str, float]:
    """Return to where a simulated participant moves the pointer: what a stimulus evokes."""
    middle, half = (rating.maximum + rating.minimum) / 2, (rating.maximum - rating.minimum) / 2
    evoked = {"valence": stimulus.valence, "arousal": stimulus.arousal}
    return {d: middle + half * evoked.get(d, 0.0) for d in rating.dimensions}
