"""A simulated participant who reacts to what a session shows, marked as simulated.

The session says in the marker stream ``PhysioEmo-Session`` what is shown and what that is expected
to evoke: ``{"event": "phase", ..., "evokes": {"valence": 0.8, "arousal": -0.2}}``. The hidden
affect moves there, times this participant's own susceptibility, and back to rest when nothing is
evoked.
"""

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from physioemo.acquisition.lsl import open_inlet, pull
from physioemo.acquisition.participant import (
    Affect,
    ParticipantConfig,
    describe_streams,
    start_participant,
    step_participant,
)
from physioemo.acquisition.participant import Block as SimulatedBlock
from physioemo.acquisition.publish import publish
from physioemo.acquisition.simulate import simulated_blocks

__all__ = ["EvokedAffect", "publish_reacting", "react"]

_REST: Affect = (0.0, 0.0, 0.0)
_SUSCEPTIBILITY = (0.8, 1.0)
# The session has trials and ratings of its own.
_NOT_PUBLISHED = ("markers", "ratings")


def react(config: ParticipantConfig, target: Callable[[], Affect]) -> Iterator[SimulatedBlock]:
    """Live on block by block, each towards what is evoked at its beginning.

    Parameters
    ----------
    config : ParticipantConfig
        The participant.
    target : callable
        Asked before every block for valence, arousal and dominance, -1 to 1.
    """
    state = start_participant(config)
    while True:
        block, state = step_participant(target(), state)
        yield block


class EvokedAffect:
    """What the session that is running evokes in this participant.

    Parameters
    ----------
    config : ParticipantConfig
        Its seed says how susceptible the participant is.
    source_id : str
        Of the session's marker stream; it may come later, and come back.
    """

    def __init__(self, config: ParticipantConfig, source_id: str) -> None:
        import pylsl

        draw = np.random.default_rng([config.seed, *b"susceptibility"])
        self._gain = draw.uniform(*_SUSCEPTIBILITY, size=3)
        self._resolver = pylsl.ContinuousResolver("source_id", source_id)
        self._inlets: dict[str, Any] = {}
        self._affect = _REST

    def __call__(self) -> Affect:
        """Return what is evoked now."""
        for info in self._resolver.results():
            if info.uid() not in self._inlets:
                self._inlets[info.uid()], _ = open_inlet(info)
        for inlet in self._inlets.values():
            texts, _ = pull(inlet, timeout_seconds=0.0)
            for text in np.ravel(texts).tolist():
                self._hear(text)
        return self._affect

    def _hear(self, text: str | bytes) -> None:
        try:
            content = json.loads(text)
        except ValueError:
            return
        if not isinstance(content, dict) or content.get("event") not in ("phase", "session_stop"):
            return
        evoked = content.get("evokes") or {}
        affect = np.clip(
            [float(evoked.get(d, 0.0)) for d in ("valence", "arousal", "dominance")], -1, 1
        )
        valence, arousal, dominance = (affect * self._gain).tolist()
        self._affect = (valence, arousal, dominance)


def publish_reacting(
    config: ParticipantConfig,
    source_id: str,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> int:
    """Publish a participant who reacts to a session; return the number of samples pushed.

    Parameters
    ----------
    config : ParticipantConfig
        The participant and its devices.
    source_id : str
        Of the session's marker stream.
    should_stop, on_progress
        See :func:`physioemo.acquisition.publish.publish`.
    """
    described = {k: d for k, d in describe_streams(config).items() if k not in _NOT_PUBLISHED}
    return publish(
        simulated_blocks(react(config, EvokedAffect(config, source_id)), config),
        described,
        simulated=True,
        should_stop=should_stop,
        on_progress=on_progress,
    )
