"""Which channels of a stream belong to which eye, found by their types and names.

Names are read word by word: ``pupil_left``, ``leftEyeX``, ``gaze_x``, ``R_pupil_mm``,
``pupil_diameter_right_mm``. Without a left or right the channel is of ``both`` eyes. Positions in
space (``gaze_point_3d_x``, ``eye_center_x``) and of the pupil in the camera are passed over.
"""

import re
from dataclasses import dataclass

import numpy as np
import xarray as xr

from physioemo.description import StreamDescription
from physioemo.errors import CallError, SignalError, StreamDescriptionError
from physioemo.stream import describe_stream, make_stream

__all__ = [
    "Eye",
    "check_rate",
    "gaze_eyes",
    "pupil_eyes",
    "resample_eyes_offline",
    "shared_unit",
]

_SIDES = {"left": "left", "l": "left", "right": "right", "r": "right"}
_COORDINATES = {"x": "x", "xp": "x", "xpos": "x", "y": "y", "yp": "y", "ypos": "y"}
_PUPIL_WORDS = {"pupil", "diameter", "area"}
_LID_WORDS = {"eyelid", "aperture", "openness"}
_ELSEWHERE_WORDS = {"center", "centre", "normal", "origin", "axis", "validity", "confidence"}
_WORD = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")


@dataclass(frozen=True)
class Eye:
    """One eye's channels, as positions in the stream; None where there is none.

    Parameters
    ----------
    side : str
        ``"left"``, ``"right"`` or ``"both"``.
    x, y, pupil, aperture : int, optional
        Gaze, size of the pupil, and how far the lids are apart.
    gaze_valid, pupil_valid : int, optional
        Where the device says by 1 or 0 whether it saw them.
    """

    side: str
    x: int | None = None
    y: int | None = None
    pupil: int | None = None
    aperture: int | None = None
    gaze_valid: int | None = None
    pupil_valid: int | None = None

    def invalid(self, samples: np.ndarray, what: str) -> np.ndarray:
        """Return where the device says that it did not see, shape (time,).

        Parameters
        ----------
        samples : ndarray, shape (channel, time)
            Of the stream.
        what : {"gaze", "pupil"}
            Nothing is invalid if the device does not say.
        """
        flag = self.gaze_valid if what == "gaze" else self.pupil_valid
        if flag is None:
            return np.zeros(samples.shape[1], bool)
        return np.asarray(samples[flag] != 1)


def gaze_eyes(description: StreamDescription) -> tuple[Eye, ...]:
    """Return the eyes of a stream that have both gaze coordinates.

    Raises
    ------
    StreamDescriptionError
        If there are none, or two channels claim the same place.
    """
    eyes = tuple(e for e in _eyes(description) if e.x is not None and e.y is not None)
    if eyes:
        return eyes
    raise StreamDescriptionError(
        f"stream {description.name!r}: found no pair of gaze channels among "
        f"{', '.join(description.ch_names)}, expected names such as 'x' and 'y' or 'x_left' and "
        "'y_left'; state them with --ch-names"
    )


def pupil_eyes(description: StreamDescription) -> tuple[Eye, ...]:
    """Return the eyes of a stream that have a pupil.

    Raises
    ------
    StreamDescriptionError
        If there are none, or two channels claim the same place.
    """
    eyes = tuple(e for e in _eyes(description) if e.pupil is not None)
    if eyes:
        return eyes
    raise StreamDescriptionError(
        f"stream {description.name!r}: found no pupil among {', '.join(description.ch_names)}, "
        "expected a channel such as 'pupil_left'; state the names with --ch-names or leave this "
        "family out"
    )


def shared_unit(description: StreamDescription, channels: list[int]) -> str:
    """Return the unit that some channels share.

    Raises
    ------
    StreamDescriptionError
        If they have several.
    """
    units = sorted({description.units[c] for c in channels})
    if len(units) == 1:
        return units[0]
    raise StreamDescriptionError(
        f"stream {description.name!r}: found the units {', '.join(units)}, expected one for both "
        "coordinates and both eyes; state it with --unit"
    )


def check_rate(description: StreamDescription, least_hz: float, why: str) -> None:
    """Refuse a stream without a rate, or with one too low.

    Raises
    ------
    CallError
        If so.
    """
    if description.sfreq == 0:
        raise CallError(
            f"found the irregular stream {description.name!r}, expected one with a sampling rate; "
            "state its rate with --sfreq if it has one, or resample it with "
            "physioemo.features.eye_channels.resample_eyes_offline"
        )
    if description.sfreq < least_hz:
        raise CallError(
            f"found the stream {description.name!r} at {description.sfreq:g} Hz, expected at least "
            f"{least_hz:g} Hz: {why}; leave this family out"
        )


def resample_eyes_offline(
    stream: xr.Dataset, sfreq: float, *, max_gap_seconds: float = 0.05
) -> xr.Dataset:
    """Return an irregular eye stream on a regular grid from its first sample on.

    Linear between neighbouring samples; NaN where a neighbour is missing or the two are further
    apart than `max_gap_seconds`: nothing is made up across a blink. It looks one sample ahead, so
    it is for recordings, not for live streams.

    Parameters
    ----------
    stream : Dataset
        A stream of a recording.
    sfreq : float
        The rate in Hz; about the stream's own, since nothing is filtered.
    max_gap_seconds : float
        Widest step that is bridged.

    Raises
    ------
    SignalError
        If there are fewer than two samples or the stamps run backwards.
    """
    description = describe_stream(stream)
    time, signal = stream["time"].values, stream["signal"].values
    if len(time) < 2 or (np.diff(time) <= 0).any():
        raise SignalError(
            f"stream {description.name!r}: found {len(time)} samples whose stamps do not all "
            "increase, expected at least two that do; leave the stream out"
        )
    grid = time[0] + np.arange(int((time[-1] - time[0]) * sfreq + 1e-6) + 1) / sfreq
    after = np.clip(np.searchsorted(time, grid, side="right"), 1, len(time) - 1)
    step = time[after] - time[after - 1]
    share = np.clip((grid - time[after - 1]) / step, 0.0, 1.0)[:, None]
    # A weight of zero must not let a missing neighbour (0 * NaN) spoil a sample that is there.
    low, high = (signal[i].astype(float) for i in (after - 1, after))
    mixed = np.where(share == 0, low, np.where(share == 1, high, (1 - share) * low + share * high))
    alone = (share[:, 0] == 0) | (share[:, 0] == 1)
    mixed[(step > max_gap_seconds) & ~alone] = np.nan
    fields = {**description.to_dict(), "sfreq": float(sfreq), "channel_format": "double64"}
    return make_stream(mixed, StreamDescription.from_dict(fields), time=grid)


def _eyes(description: StreamDescription) -> tuple[Eye, ...]:
    found: dict[str, dict[str, int]] = {}
    for i, (name, kind) in enumerate(zip(description.ch_names, description.ch_types, strict=True)):
        words = {w.lower() for w in _WORD.findall(name)}
        side = next((_SIDES[w] for w in sorted(words) if w in _SIDES), "both")
        place = _place(name, words, kind) or _validity(words, kind, description.units[i])
        if place is None:
            continue
        if place in found.setdefault(side, {}):
            raise StreamDescriptionError(
                f"stream {description.name!r}: found the channels "
                f"{description.ch_names[found[side][place]]!r} and {name!r} for the same "
                f"{place} of the {side} eye, expected one; rename the other with --ch-names"
            )
        found[side][place] = i
    order = [s for s in ("left", "right", "both") if s in found]
    return tuple(Eye(side, **found[side]) for side in order)


def _validity(words: set[str], kind: str, unit: str) -> str | None:
    # A confidence from 0 to 1 is none: which value is too low is the user's choice.
    if kind != "validity" or unit != "bool" or "valid" not in words:
        return None
    return (
        "gaze_valid" if {"gaze", "point"} <= words else "pupil_valid" if "pupil" in words else None
    )


def _place(name: str, words: set[str], kind: str) -> str | None:
    if kind not in {"gaze", "pupil"} or words & _ELSEWHERE_WORDS or "3d" in name.lower():
        return None
    coordinate = next((_COORDINATES[w] for w in sorted(words) if w in _COORDINATES), None)
    if words & _LID_WORDS:
        return "aperture" if "angle" not in words else None
    if "pupil" in words or (kind == "pupil" and words & _PUPIL_WORDS):
        return "pupil" if coordinate is None else None  # where the pupil is, not how wide
    return coordinate if kind == "gaze" else None
