"""The stimulus player as a live decoder hears it: joined when it comes, and again when it is back.

What is shown is taken on the player's own stamps. So whoever knows which flips and markers had
come, and where a window ended on the player's clock, computes the same from a recording, to the
bit.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from physioemo.acquisition.lsl import describe, open_inlet, pull
from physioemo.errors import CallError, DataError, StreamDescriptionError, StreamError
from physioemo.experiments.clocked_inlet import ClockedInlet
from physioemo.experiments.fused_live import ShownWindow
from physioemo.features.stimulus_features import StimulusFeatures
from physioemo.features.stimulus_tokens import StimulusLayout
from physioemo.features.stimulus_windows import FRAMES_STREAM, LiveStimulus, shown_sha256

__all__ = ["MARKERS_STREAM", "PlayerEar", "marker_texts"]

MARKERS_STREAM = "PhysioEmo-Player"

_LOOK_SECONDS, _OPEN_SECONDS = 0.2, 2.0
_PATIENCE_SECONDS = 5.0


class PlayerEar:
    """The two streams of the player.

    Parameters
    ----------
    stimuli : sequence of StimulusFeatures
        The files that may be shown; another is masked, and told.
    layout : StimulusLayout
        What a window holds.
    which : str
        XPath predicate that chooses the player; any by default.
    on_notice : callable
        Told what the operator should know.
    """

    def __init__(
        self,
        stimuli: Sequence[StimulusFeatures],
        layout: StimulusLayout,
        *,
        which: str = "",
        on_notice: Callable[[str], None] = lambda text: None,
    ) -> None:
        import pylsl

        self._stimuli, self._layout, self._on_notice = tuple(stimuli), layout, on_notice
        also = f" and ({which})" if which else ""
        self._resolvers = {
            name: pylsl.ContinuousResolver(pred=f"name='{name}'{also}")
            for name in (FRAMES_STREAM, MARKERS_STREAM)
        }
        self._flips: ClockedInlet | None = None
        self._markers: Any = None
        self._live: LiveStimulus | None = None
        self._uid = ""
        self._told: set[str] = set()
        self._refused: set[str] = set()
        self._began, self._due, self._n_joined = time.monotonic(), -np.inf, 0

    def listen(self) -> None:
        """Take what has come; look for the player while there is none."""
        import pylsl

        if self._flips is None and time.monotonic() >= self._due:
            self._due = time.monotonic() + _LOOK_SECONDS
            self._join()
        try:
            self._take()
        except pylsl.util.LostError:
            self._leave()
            self._on_notice("the player is gone: what is shown is missing until it is back")
        except DataError as error:
            self._refuse(error)

    def window(self, stop_seconds: float) -> ShownWindow | None:
        """Return what was shown in the window that ends at a time of this computer's clock.

        None while no player is heard, or where it showed what cannot be.
        """
        live, flips = self._live, self._flips
        if live is None or flips is None or live.fed.is_nothing or not flips.knows_clock:
            return None
        stop = stop_seconds - flips.offset_seconds
        try:
            tokens = live.tokens(stop)
        except (CallError, DataError) as error:
            self._tell_once(f"{error}; what is shown is missing")
            return None
        return ShownWindow(replace(tokens, end_seconds=np.array([stop_seconds])), stop, live.fed)

    def restart(self) -> None:
        """Forget what was shown before."""
        if self._live is not None:
            self._live = self._new_stimulus()

    def close(self) -> None:
        """Leave the streams."""
        self._leave()
        self._resolvers.clear()

    def _join(self) -> None:
        """Open both streams of the newest player; tell once if there is none for a while."""
        for flips in self._found(FRAMES_STREAM):
            for markers in self._found(MARKERS_STREAM):
                if flips.hostname() == markers.hostname() and self._open(flips, markers):
                    self._n_joined += 1
                    if self._n_joined > 1:
                        self._on_notice("the player is back")
                    return
        if not self._n_joined and time.monotonic() - self._began >= _PATIENCE_SECONDS:
            self._tell_once(
                f"found no stream {FRAMES_STREAM}: what is shown is missing until the player is "
                "there; start it"
            )

    def _found(self, name: str) -> list[Any]:
        """Return the streams of a name, the newest first."""
        there = [i for i in self._resolvers[name].results() if i.uid() not in self._refused]
        return sorted(there, key=lambda info: -float(info.created_at()))

    def _open(self, flips: Any, markers: Any) -> bool:
        """Listen to two streams; return whether they are those of one player that runs."""
        opened: list[Any] = []
        try:
            for info in (flips, markers):
                inlet, full = open_inlet(info, timeout_seconds=_OPEN_SECONDS, recover=False)
                opened.append((inlet, full))
            described = describe(opened[0][1])
            self._flips, self._markers = ClockedInlet(opened[0][0], described), opened[1][0]
            self._live = self._new_stimulus()
        except (DataError, StreamDescriptionError) as error:
            self._abandon(opened)
            self._refused.add(flips.uid())
            self._tell_once(f"{error}; what is shown is missing")
            return False
        except StreamError:  # one that has gone is still found for a while
            self._abandon(opened)
            return False
        self._uid = str(flips.uid())
        return True

    def _abandon(self, opened: list[Any]) -> None:
        for inlet, _ in opened:
            inlet.close_stream()
        self._flips = self._markers = self._live = None

    def _new_stimulus(self) -> LiveStimulus:
        assert self._flips is not None  # noqa: S101 -- it was just opened
        about = self._flips.description
        return LiveStimulus(
            self._stimuli,
            self._layout,
            header=about.xml,
            channels=about.ch_names,
            allow_missing=True,
        )

    def _take(self) -> None:
        live, flips = self._live, self._flips
        if live is None or flips is None:
            return
        # In this order the marker of a flip that has come has come too.
        values, times = flips.pull()
        told, stamps = pull(self._markers, timeout_seconds=0.0)
        texts = marker_texts(told)
        known = {features.sha256 for features in self._stimuli}
        for text in texts:
            if shown_sha256(text) not in (None, *known):
                self._tell_once(
                    f"found that {text} shows a file that is none of the given stimuli, expected "
                    "one of them; it is missing"
                )
        live.feed_markers(texts, stamps.tolist())
        if len(times):
            live.feed_flips(values, times)

    def _refuse(self, error: DataError) -> None:
        self._refused.add(self._uid)
        self._leave()
        self._tell_once(f"{error}; what is shown is missing")

    def _leave(self) -> None:
        if self._flips is not None:
            self._flips.close()
            self._markers.close_stream()
        self._flips = self._markers = self._live = None

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._on_notice(text)


def marker_texts(values: np.ndarray) -> list[str]:
    """Return the texts of a stream of markers, which may have come as bytes."""
    found = np.ravel(values).tolist()
    return [v.decode() if isinstance(v, bytes) else str(v) for v in found]
