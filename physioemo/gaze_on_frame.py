"""Where on which frame a person looked: the gaze stream joined with the player's log of flips.

A frame is seen from its flip, plus the measured latency of the display if there is one, until the
next flip. Gaze goes from the tracker's coordinates to pixels of the screen, of the player's window
and of the picture in the stimulus file. What the tracker's coordinates mean is known for the
devices of the device table that measure gaze on a screen, and otherwise stated by the caller: it is
never guessed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.errors import CallError, DataError
from physioemo.media import sha256_of
from physioemo.recording import Recording
from physioemo.trials import parse_marker

__all__ = ["GazeConvention", "gaze_maps", "gaze_on_frame"]

FRAMES_STREAM = "PhysioEmo-Frames"
_CHANNELS = ("frame", "pts", "lateness", "dropped", "item")
_PLACE = ("item", "window", "window_position", "screen")
_SAME_FLIP_SECONDS = 0.05
_EYELINK_MISSING = -32768.0
_ORIGINS = ("top-left", "bottom-left")
_SURFACES = ("screen", "window")


@dataclass(frozen=True)
class GazeConvention:
    """What a tracker's coordinates mean; their unit is that of the channels.

    Parameters
    ----------
    origin : {"top-left", "bottom-left"}
        Where x and y are 0.
    surface : {"screen", "window"}
        Of what they are coordinates: ``normalized`` ones run from 0 to 1 over it, ``px`` are its
        pixels.

    Raises
    ------
    CallError
        If a word is not one of these.
    """

    origin: str = "top-left"
    surface: str = "screen"

    def __post_init__(self) -> None:
        if self.origin not in _ORIGINS or self.surface not in _SURFACES:
            raise CallError(
                f"found the gaze convention {self.origin!r} on {self.surface!r}, expected one of "
                f"{', '.join(_ORIGINS)} on one of {', '.join(_SURFACES)}"
            )


_CONVENTIONS = {
    "tobii-pro": GazeConvention(),  # Tobii's active display coordinate system
    "titta-lsl": GazeConvention(),
    "eyelink": GazeConvention(),  # the tracker's screen_pixel_coords must be the screen's
}
_SCENE_CAMERAS = ("pupil-capture", "pupil-neon", "file-neon")


def gaze_on_frame(
    recording: Recording,
    *,
    gaze: str = "gaze",
    frames: str = FRAMES_STREAM,
    convention: GazeConvention | None = None,
    media: Iterable[str | Path] = (),
) -> xr.Dataset:
    """Return for each gaze sample which frame was on the screen and where on it the gaze was.

    Parameters
    ----------
    recording : Recording
        With a gaze stream, the player's flips and its markers.
    gaze, frames : str
        The two streams.
    convention : GazeConvention, optional
        What the tracker's coordinates mean; by the device table if not given.
    media : iterable of str or Path
        The stimulus files; if given, those that were shown are found among them by their SHA-256.

    Returns
    -------
    Dataset
        Along ``time`` (the gaze's own): ``presentation`` (row of the second table, -1 where it is
        not known), ``item``, ``frame`` (number in the file, -1 before the first flip), ``pts`` and
        ``age_seconds`` of that frame (since it is seen), ``x`` and ``y`` in pixels of the file's
        upright picture (pixel i reaches from i to i + 1; NaN where there is none), ``window_x``
        and ``window_y`` in pixels of the window, ``valid`` (the tracker saw an eye), and
        ``on_picture``. Along ``shown``, the second table: ``number``, ``kind``, ``stimulus``,
        ``trial`` (-1 without), ``file``, ``sha256``, ``path``, ``width``, ``height``,
        ``onset_seconds``. The attribute ``latency_applied`` tells whether the display's latency
        was measured; ``latency_seconds`` is what was added.

    Raises
    ------
    NoStreamError
        If a stream is missing.
    DataError
        If the streams are not what they should be, the convention is unknown, or a file that was
        shown is not among `media`.
    """
    stream, flips = recording[gaze], recording[frames]
    rows = _flip_table(flips)
    starts = _item_starts(recording)
    latency = _latency(starts)
    time = np.asarray(stream["time"].values, float)
    seen = np.maximum.accumulate(rows["time"] + (latency or 0.0))
    index = np.searchsorted(seen, time, side="right") - 1
    known = index >= 0
    at = np.maximum(index, 0)
    presentation = _presentations(rows, starts)
    row_of = np.where(known, presentation[at], -1) if len(rows["time"]) else np.full(len(time), -1)
    xy = _gaze_position(stream, _convention_of(stream, convention), starts, row_of)
    picture, inside = _on_picture(xy, starts, row_of)

    def per_sample(name: str, missing: float) -> np.ndarray:
        values = rows[name][at] if len(rows[name]) else np.full(len(time), missing)
        return np.where(known, values, missing)

    table = _presentation_table(starts, media)
    return xr.Dataset(
        {
            "presentation": ("time", row_of),
            "item": ("time", per_sample("item", -1).astype(int)),
            "frame": ("time", per_sample("frame", -1).astype(int)),
            "pts": ("time", per_sample("pts", np.nan), {"units": "s"}),
            "age_seconds": ("time", np.where(known, time - _take(seen, at), np.nan)),
            "x": ("time", picture[:, 0], {"units": "px"}),
            "y": ("time", picture[:, 1], {"units": "px"}),
            "window_x": ("time", xy[:, 0], {"units": "px"}),
            "window_y": ("time", xy[:, 1], {"units": "px"}),
            "valid": ("time", np.isfinite(_raw_position(stream)).all(axis=1)),
            "on_picture": ("time", inside),
            **{name: ("shown", values) for name, values in table.items()},
        },
        coords={"time": ("time", time, {"units": "s"})},
        attrs={
            "latency_applied": latency is not None,
            "latency_seconds": latency or 0.0,
            "gaze": recording.key(gaze),
            "frames": recording.key(frames),
        },
    )


def gaze_maps(
    joined: xr.Dataset,
    presentation: int,
    *,
    shape: tuple[int, int] = (36, 64),
    blur_cells: float = 0.0,
) -> xr.DataArray:
    """Return for each frame of a presentation how many gaze samples fell where.

    Parameters
    ----------
    joined : Dataset
        From :func:`gaze_on_frame`.
    presentation : int
        Row of its second table.
    shape : (int, int)
        Rows and columns of cells that the picture is divided into.
    blur_cells : float
        Standard deviation of a Gaussian in cells; the sum over the picture is kept but for what
        is blurred over its edge.

    Returns
    -------
    DataArray, shape (frame, row, column)
        ``frame`` are the numbers of those frames during which gaze was sampled.

    Raises
    ------
    CallError
        If there is no such presentation, or it has no picture.
    """
    n = joined.sizes["shown"]
    if not 0 <= presentation < n or not joined["width"].values[presentation] > 0:
        raise CallError(
            f"found presentation {presentation}, expected one of {n} (from 0) that has a picture"
        )
    size = [float(joined[s].values[presentation]) for s in ("height", "width")]
    mine = joined["presentation"].values == presentation
    numbers = np.unique(joined["frame"].values[mine])
    used = mine & joined["on_picture"].values
    maps = np.zeros((len(numbers), *shape))
    row, column = (
        (joined[axis].values[used] / side * cells).astype(int)
        for axis, side, cells in zip(("y", "x"), size, shape, strict=True)
    )
    frame = np.searchsorted(numbers, joined["frame"].values[used])
    np.add.at(maps, (frame, row, column), 1.0)
    if blur_cells > 0:
        from scipy.ndimage import gaussian_filter

        maps = gaussian_filter(maps, (0, blur_cells, blur_cells), mode="constant")
    return xr.DataArray(maps, dims=("frame", "row", "column"), coords={"frame": numbers})


def _flip_table(flips: xr.Dataset) -> dict[str, np.ndarray]:
    names = [str(c) for c in flips["channel"].values]
    if any(name not in names for name in _CHANNELS):
        raise DataError(
            f"found the channels {', '.join(names)} in the stream of flips, expected "
            f"{', '.join(_CHANNELS)}; name the stream that the stimulus player published"
        )
    time = np.asarray(flips["time"].values, float)
    order = np.argsort(time, kind="stable")
    signal = np.asarray(flips["signal"].values, float)[order]
    return {"time": time[order], **{n: signal[:, names.index(n)] for n in _CHANNELS}}


def _item_starts(recording: Recording) -> list[dict[str, Any]]:
    events, found = recording.events, []
    for onset, text in zip(
        events["onset_seconds"].values, events["description"].values, strict=True
    ):
        marker = parse_marker(str(text))
        if marker is not None and marker["event"] == "item_start" and set(_PLACE) <= set(marker):
            found.append({**marker, "onset_seconds": float(onset)})
    return found


def _latency(starts: list[dict[str, Any]]) -> float | None:
    stated = {s.get("latency_seconds") for s in starts}
    if len(stated) > 1:
        raise DataError(
            f"found the display latencies {', '.join(map(str, stated))} in one recording, "
            "expected one; join the parts of the recording one by one"
        )
    latency = stated.pop() if stated else None
    return None if latency is None else float(latency)


def _presentations(rows: dict[str, np.ndarray], starts: list[dict[str, Any]]) -> np.ndarray:
    """Return for each flip the latest item with its number that had begun; -1 without."""
    found = np.full(len(rows["time"]), -1)
    for i, start in enumerate(starts):
        begun = rows["time"] >= start["onset_seconds"] - _SAME_FLIP_SECONDS
        found[(rows["item"] == start["item"]) & begun] = i
    return found


def _convention_of(stream: xr.Dataset, stated: GazeConvention | None) -> GazeConvention:
    if stated is not None:
        return stated
    device = str(stream.attrs.get("device", ""))
    if device in _SCENE_CAMERAS:
        raise DataError(
            f"found gaze of a {device}, which is in the picture of its scene camera, expected gaze "
            "on the screen; map it to the screen first and state convention=GazeConvention(...)"
        )
    is_ours = str(stream.attrs.get("name", "")).startswith("Simulated-")
    if device in _CONVENTIONS or is_ours:
        return _CONVENTIONS.get(device, GazeConvention())
    raise DataError(
        f"found gaze of the stream {stream.attrs.get('name')!r}, whose coordinates no known device "
        "explains, expected their meaning; state convention=GazeConvention(origin, surface)"
    )


def _raw_position(stream: xr.Dataset) -> np.ndarray:
    """Return x and y in the tracker's coordinates, both eyes averaged, shape (time, 2)."""
    names = [str(c) for c in stream["channel"].values]
    signal = np.asarray(stream["signal"].values, float)
    if {"gaze_x", "gaze_y"} <= set(names):
        return _seen(stream, signal[:, [names.index("gaze_x"), names.index("gaze_y")]])
    eyes = [e for e in ("left", "right") if {f"gaze_x_{e}", f"gaze_y_{e}"} <= set(names)]
    if not eyes:
        raise DataError(
            f"found the channels {', '.join(names)}, expected gaze_x and gaze_y, or those of the "
            "left or right eye"
        )
    parts = []
    for eye in eyes:
        part = _seen(stream, signal[:, [names.index(f"gaze_{a}_{eye}") for a in "xy"]])
        flag = f"gaze_point_valid_{eye}"
        if flag in names:
            part = np.where(signal[:, [names.index(flag)]] == 1, part, np.nan)
        parts.append(part)
    both = np.stack(parts)
    n_seen = np.isfinite(both).sum(axis=0)
    total = np.nansum(both, axis=0)
    return np.where(n_seen > 0, total / np.maximum(n_seen, 1), np.nan)


def _seen(stream: xr.Dataset, position: np.ndarray) -> np.ndarray:
    """Return NaN where one of both coordinates is missing, or is the tracker's word for it."""
    gone = ~np.isfinite(position)
    if stream.attrs.get("device") == "eyelink":
        gone |= position <= _EYELINK_MISSING
    return np.where(gone.any(axis=1, keepdims=True), np.nan, position)


def _gaze_position(
    stream: xr.Dataset,
    convention: GazeConvention,
    starts: list[dict[str, Any]],
    row_of: np.ndarray,
) -> np.ndarray:
    """Return gaze in pixels of the window, shape (time, 2); NaN where the window is unknown."""
    names = [str(c) for c in stream["channel"].values]
    units = {
        str(u)
        for n, u in zip(names, stream["channel_unit"].values, strict=True)
        if n.startswith(("gaze_x", "gaze_y"))
    }
    position = _raw_position(stream)
    if units not in ({"normalized"}, {"px"}):
        raise DataError(
            f"found gaze in {' and '.join(sorted(units))}, expected 'normalized' or 'px'; state "
            "the unit that the tracker really uses"
        )
    result = np.full(position.shape, np.nan)
    for i in np.unique(row_of[row_of >= 0]).tolist():
        size = np.array(starts[i][convention.surface], float)
        mine = row_of == i
        pixels = position[mine] * (size if units == {"normalized"} else 1.0)
        if convention.origin == "bottom-left":
            pixels = pixels * [1, -1] + [0, size[1]]
        if convention.surface == "screen":
            pixels = pixels - np.array(starts[i]["window_position"], float)
        result[mine] = pixels
    return result


def _on_picture(
    window: np.ndarray, starts: list[dict[str, Any]], row_of: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return pixels of the picture and whether they are on it."""
    picture, inside = np.full(window.shape, np.nan), np.zeros(len(window), bool)
    for i in np.unique(row_of[row_of >= 0]).tolist():
        start = starts[i]
        if "rect" not in start or "size" not in start:
            continue
        rect, size = np.array(start["rect"], float), np.array(start["size"], float)
        mine = row_of == i
        picture[mine] = (window[mine] - rect[:2]) / rect[2:] * size
        with np.errstate(invalid="ignore"):
            inside[mine] = ((picture[mine] >= 0) & (picture[mine] < size)).all(axis=1)
    return picture, inside


def _presentation_table(
    starts: list[dict[str, Any]], media: Iterable[str | Path]
) -> dict[str, np.ndarray]:
    paths = {sha256_of(p): str(p) for p in media}
    for start in starts if paths else ():
        if "sha256" in start and start["sha256"] not in paths:
            raise DataError(
                f"found that item {start['item']} showed {start.get('file')} (SHA-256 "
                f"{start['sha256'][:12]}...), expected it among the given media; add the very file"
            )
    sizes = [s.get("size") or (-1, -1) for s in starts]
    return {
        "number": np.array([s["item"] for s in starts], int),
        "onset_seconds": np.array([s["onset_seconds"] for s in starts], float),
        "trial": np.array([s.get("trial", -1) for s in starts], int),
        "width": np.array([s[0] for s in sizes], int),
        "height": np.array([s[1] for s in sizes], int),
        **{
            name: np.array([str(s.get(name, "")) for s in starts], object)
            for name in ("kind", "stimulus", "file", "sha256")
        },
        "path": np.array([paths.get(str(s.get("sha256")), "") for s in starts], object),
    }


def _take(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    return values[index] if len(values) else np.full(len(index), np.nan)
