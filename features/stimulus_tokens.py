"""What a person saw and heard in each window, on the session's clock, as the models take it.

A window that ends at t holds rows of sound and frames that had been shown when t came, and no
others. Sound lies on the grid of the file's rows, newest last; where no stimulus ran, where the
sound had ended or not begun, and before a jump, it is masked (NaN), never stretched. A frame that
stands longer than its file says is a pause: after a quarter of a second nothing is shown.
"""

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from physioemo.errors import CallError
from physioemo.features.audio_descriptors import AUDIO_DESCRIPTORS
from physioemo.features.stimulus_features import StimulusFeatures, scaled_pictures
from physioemo.features.stimulus_shown import Shown, ShownRows
from physioemo.features.video_motion import motion_frames

__all__ = ["LATEST_SECONDS", "STIMULUS_SCALARS", "StimulusLayout", "StimulusTokens", "cut_tokens"]

Floats = NDArray[np.float64]
Ints = NDArray[np.int_]

STIMULUS_SCALARS = {
    **AUDIO_DESCRIPTORS,
    "brightness": "ratio",
    "contrast": "ratio",
    "colourfulness": "ratio",
    "change": "1/s",
    "cuts": "1/s",
    "flow": "widths/s",
}
"""Numbers of a window in their order, and their units: means over the rows of sound, means over the
time that pictures were seen, and how much changed and moved in a second."""

LATEST_SECONDS = 0.12
"""How old the newest flip may be while the sound is taken to be playing."""

_PAUSE_SECONDS = 0.25  # beyond what the file says of a frame
_LOOK_SECONDS = (0.025, 0.4, 0.025, 0.025, 0.025, 0.035, 0.025, 0.04, 0.04)
_FBANK_LOOK_SECONDS = 0.025
_SLACK = 1e-6


@dataclass(frozen=True)
class StimulusLayout:
    """How much of a stimulus a window holds.

    Parameters
    ----------
    window_seconds : float
        Length of the window.
    n_pictures : int
        Frames on display at even steps, the last at the window's end; even, for tubes of two.
    n_selected : int
        Frames at which movement begins to peak.

    Raises
    ------
    CallError
        If one of them is impossible.
    """

    window_seconds: float = 4.0
    n_pictures: int = 16
    n_selected: int = 6

    def __post_init__(self) -> None:
        if not self.window_seconds > 0 or self.n_pictures < 2 or self.n_selected < 1:
            raise CallError(
                f"found windows of {self.window_seconds:g} s with {self.n_pictures} pictures and "
                f"{self.n_selected} selected ones, expected more than 0, at least 2 and 1"
            )
        if self.n_pictures % 2:
            raise CallError(
                f"found {self.n_pictures} pictures per window, expected an even number: a tube "
                "takes two"
            )


@dataclass(frozen=True)
class StimulusTokens:
    """The stimulus of some windows; NaN is masked.

    Attributes
    ----------
    end_seconds : ndarray, shape (window,)
        Session time at which each window ends.
    sound : ndarray of float32, shape (window, row, mel)
        Scaled log-mel energies, newest row last, as an audio patch transformer takes them.
    sound_age_seconds : ndarray, shape (window,)
        How long before the window's end the newest row's place lies, 0 to 0.12.
    pictures : ndarray of float32, shape (window, picture, height, width, 3)
        The frames on display at even steps, -1 to 1, as a transformer of tubelets takes them.
    picture_seconds : ndarray of float32, shape (window, picture)
        When each was on display, relative to the window's end.
    selected : ndarray of float32, shape (window, selected, height, width, 3)
        Frames at which movement begins to peak, in the order of time; if fewer were shown, the
        first are NaN.
    selected_seconds : ndarray of float32, shape (window, selected)
        When each came on the screen, relative to the window's end.
    scalars : ndarray of float32, shape (window, scalar)
        In the order of :data:`STIMULUS_SCALARS`.
    seen, heard : ndarray of float32, shape (window,)
        Share of the window with a picture, and with sound, of a stimulus.
    """

    end_seconds: Floats
    sound: NDArray[np.float32]
    sound_age_seconds: NDArray[np.float32]
    pictures: NDArray[np.float32]
    picture_seconds: NDArray[np.float32]
    selected: NDArray[np.float32]
    selected_seconds: NDArray[np.float32]
    scalars: NDArray[np.float32]
    seen: NDArray[np.float32]
    heard: NDArray[np.float32]

    def inputs(self, *, selected: bool = False) -> dict[str, Any]:
        """Return what encoders of ``audio``, ``video`` and ``stimulus`` take.

        Parameters
        ----------
        selected : bool
            Whether the video is that of the selected frames.

        Returns
        -------
        dict
            ``audio`` (window, row, mel) for ``audio-patches``; ``video`` with ``values`` (window,
            frame, height, width, 3) and ``time_seconds`` (window, frame) for ``video-tubelets``;
            ``stimulus`` (window, scalar) for ``scalars``.
        """
        values, seconds = self.pictures, self.picture_seconds
        if selected:
            values, seconds = self.selected, self.selected_seconds
        return {
            "audio": self.sound,
            "video": {"values": values, "time_seconds": seconds},
            "stimulus": self.scalars,
        }


def cut_tokens(shown: Shown, end_seconds: np.ndarray, layout: StimulusLayout) -> StimulusTokens:
    """Return the stimulus of the windows that end at some times.

    Parameters
    ----------
    shown : Shown
        What was shown when.
    end_seconds : ndarray, shape (window,)
        Session times.
    layout : StimulusLayout
        How much of it.
    """
    ends = np.asarray(end_seconds, float).reshape(-1)
    at = ends.tolist() or [0.0]  # without windows the shapes are still those of one
    cut = [{**_sound(shown, t, layout), **_pictures(shown, t, layout)} for t in at]
    columns = {k: np.array([c[k] for c in cut], np.float32)[: len(ends)] for k in cut[0]}
    described, seen = columns.pop("described"), columns.pop("looks")
    return StimulusTokens(
        end_seconds=ends, scalars=np.concatenate([described, seen], axis=1), **columns
    )


def _recipe(shown: Shown) -> tuple[int, int, int]:
    """Return bands, rows per second and pixels of the pictures."""
    if not shown.stimuli:
        raise CallError("found no stimuli, expected at least one; give the files that were shown")
    recipe = shown.stimuli[0].recipe
    return recipe.n_mels, recipe.rows_per_second, recipe.picture_px


def _runs(rows: ShownRows) -> list[tuple[int, int]]:
    """Return the first and the last row of each run of one file that has any."""
    new = np.ones(len(rows.seconds), bool)
    new[1:] = (np.diff(rows.begin_seconds) != 0) | (np.diff(rows.file) != 0)
    bounds = [*np.flatnonzero(new).tolist(), len(new)]
    return [(a, b - 1) for a, b in pairwise(bounds) if a < b and rows.file[a] >= 0]


def _sound(shown: Shown, end_seconds: float, layout: StimulusLayout) -> dict[str, Any]:
    """Return the rows of sound of a window, and the means of the descriptors."""
    n_mels, per_second, _ = _recipe(shown)
    n_slots = round(layout.window_seconds * per_second)
    now = end_seconds - shown.latencies[1]
    rows = shown.rows(now - layout.window_seconds - LATEST_SECONDS, now, end_seconds)
    runs, anchor = _runs(rows), now
    if runs and runs[-1][1] == len(rows.seconds) - 1 and not rows.runs_on[-1]:
        newest = float(rows.clock_seconds[-1])
        anchor = newest if 0 <= now - newest <= LATEST_SECONDS else now
    sound = np.full((n_slots, n_mels), np.nan, np.float32)
    table = np.full((n_slots, len(_LOOK_SECONDS)), np.nan, np.float32)
    for first, last in runs:
        features = shown.stimuli[rows.file[first]]
        slots, taken = _rows_of_run(rows, last, features, anchor, now, n_slots, per_second)
        ends = features.sound_seconds[taken] - rows.begin_file_seconds[last] + _SLACK
        heard = ends >= _FBANK_LOOK_SECONDS
        sound[slots[heard]] = features.fbank[taken[heard]]
        whole = ends[:, None] >= np.array(_LOOK_SECONDS)
        table[slots] = np.where(whole, features.descriptors[taken], np.nan)
    there = np.isfinite(sound[:, 0])
    return {
        "sound": sound,
        "sound_age_seconds": now - anchor if there.any() else np.nan,
        "heard": there.mean(),
        "described": _means(table.astype(float), np.ones(n_slots)),
    }


def _rows_of_run(
    rows: ShownRows,
    last: int,
    features: StimulusFeatures,
    anchor: float,
    now: float,
    n_slots: int,
    per_second: int,
) -> tuple[Ints, Ints]:
    """Return the places in the window that a run's sound fills, and the rows that fill them."""
    clock, in_file = float(rows.clock_seconds[last]), float(rows.file_seconds[last])
    stop = clock
    if rows.runs_on[last]:
        after = rows.seconds[last + 1] if last + 1 < len(rows.seconds) else np.inf
        stop = min(now, float(after))
    times = anchor - np.arange(n_slots - 1, -1, -1) / per_second
    n = len(features.sound_seconds)
    if not n:
        return np.empty(0, int), np.empty(0, int)
    # All that the newest row sees has been played when the run was last known to go on.
    newest = np.floor((in_file + (stop - clock) - features.sound_seconds[0]) * per_second + _SLACK)
    taken = (newest - np.round((stop - times) * per_second)).astype(int)
    inside = (times <= stop + _SLACK) & (times >= rows.begin_seconds[last] - _SLACK)
    slots = np.flatnonzero(inside & (taken >= 0) & (taken < n))
    return slots, taken[slots]


def _pictures(shown: Shown, end_seconds: float, layout: StimulusLayout) -> dict[str, Any]:
    """Return the pictures of a window, and what they look like."""
    now, n = end_seconds - shown.latencies[0], layout.n_pictures
    begin = now - layout.window_seconds
    rows = shown.rows(begin, now, end_seconds)
    until = _until(rows, shown.stimuli)
    wanted = now - np.arange(n - 1, -1, -1) * (layout.window_seconds / n)
    at = np.searchsorted(rows.seconds, wanted, side="right") - 1
    known = at >= 0
    known[known] = until[at[known]] > wanted[known]
    # What was on display at the window's beginning came before; it is seen from there on.
    came = np.maximum(rows.seconds, begin)
    seen = np.flatnonzero((until > came) & (came <= now))
    moved = _changes(rows, seen, shown.stimuli, begin)
    chosen = np.empty(0, int)
    if len(seen):
        chosen = seen[motion_frames(moved[:, 2], came[seen], layout.n_selected)]
    picked = np.full(layout.n_selected, -1)
    picked[layout.n_selected - len(chosen) :] = chosen
    shared = np.minimum(until[seen], now) - came[seen]
    there = float(shared.sum())
    return {
        "pictures": _stacked(rows, np.where(known, at, -1), shown),
        "picture_seconds": np.where(known, wanted - now, np.nan),
        "selected": _stacked(rows, picked, shown),
        "selected_seconds": np.where(picked >= 0, _at(came, picked) - now, np.nan),
        "seen": there / layout.window_seconds,
        "looks": _looks(rows, seen, shared, moved, shown.stimuli),
    }


def _until(rows: ShownRows, stimuli: tuple[StimulusFeatures, ...]) -> Floats:
    """Return until when the frame of each row is seen; -inf where there is none."""
    until = np.full(len(rows.seconds), -np.inf)
    for i in np.flatnonzero((rows.file >= 0) & (rows.frame >= 0)).tolist():
        features, after = stimuli[rows.file[i]], rows.frame[i] + 1
        stamps = features.frame_seconds
        own = features.until_seconds if rows.runs_on[i] else features.stop_seconds
        stop = stamps[after] if after < len(stamps) else own
        pause = 0.0 if rows.runs_on[i] else _PAUSE_SECONDS
        is_still = len(stamps) == 1
        until[i] = np.inf if is_still else rows.clock_seconds[i] + stop - rows.file_seconds[i]
        until[i] += pause
    return np.minimum(until, np.append(rows.seconds[1:], np.inf))


def _changes(
    rows: ShownRows, seen: Ints, stimuli: tuple[StimulusFeatures, ...], begin: float
) -> Floats:
    """Return change, cuts and movement (row, 3) since the frame that was shown before.

    Frames that were dropped between the two count.
    """
    out = np.zeros((len(seen), 3))
    for k, i in enumerate(seen.tolist()):
        before, frame = int(rows.before[i]), int(rows.frame[i])
        if 0 <= before < frame and rows.seconds[i] > begin:
            features, part = stimuli[rows.file[i]], slice(before + 1, frame + 1)
            out[k, :2] = features.covariates[part, 3:].astype(float).sum(axis=0)
            out[k, 2] = features.motion[part].astype(float).sum()
    return out


def _looks(
    rows: ShownRows,
    seen: Ints,
    shared: Floats,
    moved: Floats,
    stimuli: tuple[StimulusFeatures, ...],
) -> Floats:
    """Return means of the looks, and changes per second, of the pictures of a window."""
    if not shared.sum() > 0:
        return np.full(6, np.nan)
    looks = [stimuli[rows.file[i]].covariates[rows.frame[i], :3] for i in seen]
    means = _means(np.array(looks, float), shared)
    return np.concatenate([means, moved.sum(axis=0) / shared.sum()])


def _means(values: Floats, weights: Floats) -> Floats:
    """Return the weighted means of columns, NaN where nothing is known."""
    known = np.isfinite(values)
    weight = (known * weights[:, None]).sum(axis=0)
    total = (np.where(known, values, 0.0) * weights[:, None]).sum(axis=0)
    return np.divide(total, weight, out=np.full(len(total), np.nan), where=weight > 0)


def _at(values: Floats, index: Ints) -> Floats:
    return values[index] if len(values) else np.full(len(index), np.nan)


def _stacked(rows: ShownRows, index: Ints, shown: Shown) -> NDArray[np.float32]:
    """Return the pictures of some rows; -1 is none."""
    edge = _recipe(shown)[2]
    out = np.full((len(index), edge, edge, 3), np.nan, np.float32)
    for k in np.flatnonzero(index >= 0).tolist():
        row = int(index[k])
        out[k] = scaled_pictures(shown.stimuli[rows.file[row]].pictures, rows.frame[row, None])[0]
    return out
