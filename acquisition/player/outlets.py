"""The streams of the player: flips, markers, ratings, and a continuous rating if one is asked."""

import json
import socket
import time
from collections.abc import Mapping
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from physioemo import __version__
from physioemo.acquisition.lsl import make_outlet, push
from physioemo.acquisition.player.continuous import CONTINUOUS, CONTINUOUS_TYPE, ContinuousRating
from physioemo.acquisition.player.playlist import UNMEASURED, DisplaySettings, Playlist
from physioemo.acquisition.player.screen import Geometry
from physioemo.description import StreamDescription
from physioemo.prediction import DIMENSIONS
from physioemo.units import NO_UNIT

__all__ = [
    "FRAMES",
    "FRAME_CHANNELS",
    "MARKERS",
    "RATINGS",
    "PlayerOutlets",
    "rating_scales",
]

FRAMES, MARKERS, RATINGS = "PhysioEmo-Frames", "PhysioEmo-Player", "PhysioEmo-Ratings"
FRAME_CHANNELS = ("frame", "pts", "lateness", "dropped", "item")
_FRAME_UNITS = ("count", "s", "s", "count", "count")
_GRACE_SECONDS = 2.0
_SETTLE_SECONDS = 1.0
# LSL's own word for a stream that must not be evened out on reading.
_SYNC = "<synchronization><can_drop_samples>true</can_drop_samples></synchronization>"

Scale = tuple[float, float]


def rating_scales(playlist: Playlist) -> dict[Scale, tuple[str, ...]]:
    """Return what a playlist asks for, by scale; the first is that of the table of ratings.

    The scale of the self-assessment manikin comes first, with its three dimensions, unless the
    playlist has ratings and none of them is a manikin.
    """
    scales: dict[Scale, list[str]] = {}
    if any(i.kind == "sam" for i in playlist.items) or not any(i.is_rating for i in playlist.items):
        scales[1.0, 9.0] = list(DIMENSIONS)
    for item in playlist.items:
        for dimension, scale in item.rated.items():
            if dimension not in scales.setdefault(scale, []):
                scales[scale].append(dimension)
    return {scale: tuple(names) for scale, names in scales.items()}


class PlayerOutlets:
    """The streams of one player.

    Parameters
    ----------
    playlist : Playlist
        Its files are listed in the header, its ratings are channels.
    geometry : Geometry
        Of the window.
    display : mapping of str to str
        What else is known of the display.
    simulated : bool
        Whether a program answers: markers and ratings are then marked as simulated.
    device : str
        With what is rated continuously, where it is.
    """

    def __init__(
        self,
        playlist: Playlist,
        geometry: Geometry,
        display: Mapping[str, str],
        *,
        simulated: bool = False,
        device: str = "",
    ) -> None:
        header = _header(playlist, geometry, display)
        frames = _describe(FRAMES, "Frames", FRAME_CHANNELS, _FRAME_UNITS, "double64", header)
        markers = _describe(MARKERS, "Markers", ("marker",), (NO_UNIT,), "string", header)
        self._frames = make_outlet(frames)
        self._markers = make_outlet(markers, simulated=simulated)
        self._ratings: dict[Scale, tuple[tuple[str, ...], Any]] = {}
        for scale, names in rating_scales(playlist).items():
            unit = f"{scale[0]:g}-{scale[1]:g}"
            is_table = not self._ratings
            name = RATINGS if is_table else f"{RATINGS} {unit}"
            channels, units = ("trial", *names), ("count", *(unit,) * len(names))
            stype = "Ratings" if is_table else "OtherRatings"
            description = _describe(name, stype, channels, units, "double64", "")
            self._ratings[scale] = (names, make_outlet(description, simulated=simulated))
        self._answers: dict[tuple[Scale, int], dict[str, float]] = {}
        rating = playlist.continuous
        self._continuous = None
        if rating is not None:
            self._continuous = make_outlet(_describe_rating(rating, device), simulated=simulated)

    def wait_for_listeners(self, seconds: float) -> bool:
        """Wait until somebody listens to every stream, at most `seconds`; tell whether."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if all(outlet.have_consumers() for outlet in self._all()):
                time.sleep(_SETTLE_SECONDS)
                return True
            time.sleep(0.05)
        return False

    def send_flip(
        self, frame: int, pts: float, lateness: float, dropped: int, item: int, stamp: float
    ) -> None:
        """Publish a flip."""
        push(
            self._frames,
            np.array([[frame, pts, lateness, dropped, item]], float),
            np.array([stamp]),
        )

    def send_marker(self, content: Mapping[str, Any], stamp: float) -> None:
        """Publish a marker: a JSON object with the key ``event``."""
        text = json.dumps(content, ensure_ascii=False)
        push(self._markers, np.array([[text]], object), np.array([stamp]))

    def send_rating(
        self, trial: int, values: Mapping[str, float], scales: Mapping[str, Scale], stamp: float
    ) -> None:
        """Publish answers about a trial, together with those that it was given before."""
        for scale, (names, outlet) in self._ratings.items():
            given = {d: v for d, v in values.items() if scales[d] == scale and d in names}
            if given:
                known = self._answers.setdefault((scale, trial), {})
                known.update(given)
                row = [trial, *(known.get(name, np.nan) for name in names)]
                push(outlet, np.array([row], float), np.array([stamp]))

    def send_continuous(self, values: np.ndarray, stamp: float) -> None:
        """Publish a sample of the continuous rating; NaN where nothing is rated."""
        push(self._continuous, values[None], np.array([stamp]))

    def linger(self) -> None:
        """Give listeners time to take what was sent."""
        if any(outlet.have_consumers() for outlet in self._all()):
            time.sleep(_GRACE_SECONDS)

    def close(self) -> None:
        """Close the streams."""
        del self._frames, self._markers
        self._ratings.clear()
        self._continuous = None

    def _all(self) -> list[Any]:
        rated = [] if self._continuous is None else [self._continuous]
        pages = [outlet for _, outlet in self._ratings.values()]
        return [self._frames, self._markers, *pages, *rated]


def _describe(
    name: str,
    stype: str,
    channels: tuple[str, ...],
    units: tuple[str, ...],
    channel_format: str,
    header: str,
    sfreq: float = 0.0,
) -> StreamDescription:
    place = f"physioemo-player-{socket.gethostname()}"
    return StreamDescription(
        name=name,
        stype=stype,
        sfreq=sfreq,
        ch_names=channels,
        units=units,
        channel_format=channel_format,
        source_id=f"{place}-{name.removeprefix('PhysioEmo-')}",
        xml=header,
    )


def _describe_rating(rating: ContinuousRating, device: str) -> StreamDescription:
    names, n = rating.dimensions, len(rating.dimensions)
    channels = "".join(
        "<channel>{}</channel>".format(
            _tags(
                {
                    "minimum": f"{rating.minimum:g}",
                    "maximum": f"{rating.maximum:g}",
                    "axis": axis,
                    "device": device,
                }
            )
        )
        for axis in rating.axes
    )
    about = {
        "version": __version__,
        "device": device,
        "gauge": str(rating.gauge).lower(),
        "missing": "no stimulus on screen, or not moved since it began, or no device",
    }
    header = (
        f"<info><desc>{_SYNC}<channels>{channels}</channels><continuous_rating>{_tags(about)}"
        "</continuous_rating></desc></info>"
    )
    units = (rating.unit,) * n
    return _describe(CONTINUOUS, CONTINUOUS_TYPE, names, units, "float32", header, rating.sfreq)


def _header(playlist: Playlist, geometry: Geometry, display: Mapping[str, str]) -> str:
    settings: DisplaySettings = playlist.display
    facts = {
        "version": __version__,
        "title": playlist.title,
        "window_px": "{} {}".format(*geometry.window),
        "window_position_px": "{} {}".format(*geometry.position),
        "screen_px": "{} {}".format(*geometry.screen),
        "refresh_hz": _measured(settings.refresh_hz),
        "latency_seconds": _measured(settings.latency_seconds),
        "sound_latency_seconds": _measured(settings.sound_latency_seconds),
        "photodiode": settings.photodiode,
        "barcode": str(settings.barcode).lower(),
        **display,
    }
    files = []
    for number, file in enumerate(playlist.files, 1):
        if file is not None:
            about = {
                "item": str(number),
                "name": file.path.name,
                "sha256": file.sha256,
                "rate": "" if file.rate is None else str(file.rate),
                "size_px": "" if file.size is None else "{} {}".format(*file.size),
            }
            files.append(f"<file>{_tags(about)}</file>")
    player = f"<player>{_tags(facts)}<files>{''.join(files)}</files></player>"
    return f"<info><desc>{_SYNC}{player}</desc></info>"


def _measured(value: float | None) -> str:
    return UNMEASURED if value is None else repr(value)


def _tags(facts: Mapping[str, str]) -> str:
    return "".join(f"<{name}>{escape(value)}</{name}>" for name, value in facts.items() if value)
