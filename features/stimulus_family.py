"""Families of features of what was shown: the stretch of the stimulus that a window covered.

Beside the families that read a stream stand those that read the stimulus. A window that begins at
its onset and lasts w seconds holds the sound and the pictures of those w seconds: by the player's
flips where they were recorded, else by the trial's onset. What was not shown, or has no sound, is
NaN; sound that is shorter than the picture is masked, not stretched.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import numpy as np

from physioemo.features.audio_descriptors import AUDIO_DESCRIPTORS
from physioemo.features.stimulus_features import StimulusRecipe
from physioemo.features.stimulus_files import StimulusFiles
from physioemo.features.stimulus_tokens import STIMULUS_SCALARS, StimulusLayout, StimulusTokens
from physioemo.features.stimulus_windows import (
    FRAMES_STREAM,
    shown_files,
    shown_stimulus_tokens,
    trial_stimulus_tokens,
)
from physioemo.fingerprint import config_fingerprint
from physioemo.recording import Recording

__all__ = ["STIMULUS_FAMILIES", "StimulusCut", "StimulusFamily", "stimulus_values"]

# A window that ends with its trial has not seen what comes after it.
_BEFORE_SECONDS = 1e-9
_WINDOWS_AT_ONCE = 500  # with their pictures they take some 100 MB


@dataclass(frozen=True)
class StimulusCut:
    """How stimuli are decoded, and how much of them stands in a window.

    Parameters
    ----------
    n_mels, rows_per_second, picture_px : int
        As in :class:`physioemo.features.stimulus_features.StimulusRecipe`.
    n_pictures : int
        Pictures in a window, at even steps, the last at its end; even.

    Raises
    ------
    CallError
        If one of them is impossible.
    """

    n_mels: int = 128
    rows_per_second: int = 100
    picture_px: int = 32
    n_pictures: int = 4

    def __post_init__(self) -> None:
        # They refuse what is impossible.
        self.recipe, self.layout(1.0)

    @property
    def recipe(self) -> StimulusRecipe:
        """How a file is decoded."""
        return StimulusRecipe(self.n_mels, self.rows_per_second, self.picture_px)

    def layout(self, window_seconds: float) -> StimulusLayout:
        """Return what a window holds; selected pictures are in no family."""
        return StimulusLayout(window_seconds, self.n_pictures, n_selected=1)

    def fingerprint(self, window_seconds: float) -> str:
        """Return the hash of everything but the files that changes a bit of the result."""
        return config_fingerprint(
            {"recipe": self.recipe.fingerprint, "layout": asdict(self.layout(window_seconds))}
        )

    def row_seconds(self, window_seconds: float) -> tuple[str, ...]:
        """Return when each row of sound has been played, relative to the window's end."""
        n = round(window_seconds * self.rows_per_second)
        return _steps(n, 1 / self.rows_per_second)

    def picture_seconds(self, window_seconds: float) -> tuple[str, ...]:
        """Return when each picture was on display, relative to the window's end."""
        return _steps(self.n_pictures, window_seconds / self.n_pictures)


def _steps(n: int, step_seconds: float) -> tuple[str, ...]:
    return tuple(f"{(k - n + 1) * step_seconds:.6g}" for k in range(n))


@dataclass(frozen=True)
class StimulusFamily:
    r"""One row of the table of families that read the stimulus.

    Parameters
    ----------
    name, title : str
        As on the command line, and in words.
    coords : callable
        ``coords(cut, window_seconds)``: the axes after ``window`` and what stands along each.
    units : tuple of str
        One unit for all, or one per entry of the last axis.
    take : callable
        ``take(tokens)`` of the windows: values (window, \*dims), NaN where nothing was shown.
    large : bool
        Whether a window holds thousands of values, so that it is only made when it is named.
    """

    name: str
    title: str
    coords: Callable[[StimulusCut, float], Mapping[str, tuple[str, ...]]]
    units: tuple[str, ...]
    take: Callable[[StimulusTokens], np.ndarray]
    large: bool = False


_N_SOUND = len(AUDIO_DESCRIPTORS)
_NAMES, _UNITS = tuple(STIMULUS_SCALARS), tuple(STIMULUS_SCALARS.values())
_COLOURS = ("red", "green", "blue")


def _of_sound(cut: StimulusCut, window_seconds: float) -> dict[str, tuple[str, ...]]:
    return {
        "row": cut.row_seconds(window_seconds),
        "mel": tuple(str(k + 1) for k in range(cut.n_mels)),
    }


def _of_pictures(cut: StimulusCut, window_seconds: float) -> dict[str, tuple[str, ...]]:
    pixels = tuple(str(k + 1) for k in range(cut.picture_px))
    shown = cut.picture_seconds(window_seconds)
    return {"picture": shown, "y": pixels, "x": pixels, "colour": _COLOURS}


_ROWS = (
    StimulusFamily(
        "audio",
        "filter bank of the sound (HiCMAE's scale)",
        _of_sound,
        ("scaled log energy",),
        lambda tokens: tokens.sound,
        large=True,
    ),
    StimulusFamily(
        "audio-descriptors",
        "loudness, pitch and timbre of the sound",
        lambda cut, window_seconds: {"feature": _NAMES[:_N_SOUND]},
        _UNITS[:_N_SOUND],
        lambda tokens: tokens.scalars[:, :_N_SOUND],
    ),
    StimulusFamily(
        "video",
        "small pictures of the film (-1 to 1)",
        _of_pictures,
        ("ratio",),
        lambda tokens: tokens.pictures,
        large=True,
    ),
    StimulusFamily(
        "video-descriptors",
        "brightness, colours, cuts and movement of the film",
        lambda cut, window_seconds: {"feature": _NAMES[_N_SOUND:]},
        _UNITS[_N_SOUND:],
        lambda tokens: tokens.scalars[:, _N_SOUND:],
    ),
)
STIMULUS_FAMILIES: Mapping[str, StimulusFamily] = {row.name: row for row in _ROWS}
"""Every family that reads the stimulus, by its name."""


def stimulus_values(
    recording: Recording,
    end_seconds: np.ndarray,
    families: tuple[StimulusFamily, ...],
    files: StimulusFiles,
    cut: StimulusCut,
    window_seconds: float,
) -> dict[str, np.ndarray]:
    r"""Return what was shown in some windows of a recording.

    Parameters
    ----------
    recording : Recording
        With the player's flips, or with trials that name their stimuli.
    end_seconds : ndarray, shape (window,)
        Session times at which windows end.
    families : tuple of StimulusFamily
        What of it.
    files : StimulusFiles
        The files.
    cut : StimulusCut
        How they are decoded and cut.
    window_seconds : float
        Length of a window.

    Returns
    -------
    dict of str to ndarray of float32, shape (window, \*dims)
        By the name of the family, NaN where nothing was shown.

    Raises
    ------
    CallError
        If a stimulus has no file, and that is not allowed.
    DataError
        If a file has other bytes than what was shown, or cannot be decoded.
    """
    ends = np.asarray(end_seconds, float) - _BEFORE_SECONDS
    shapes = {f.name: tuple(map(len, f.coords(cut, window_seconds).values())) for f in families}
    found = {n: np.full((len(ends), *s), np.nan, np.float32) for n, s in shapes.items()}
    for first in range(0, len(ends), _WINDOWS_AT_ONCE):
        part = slice(first, first + _WINDOWS_AT_ONCE)
        tokens = _tokens(recording, ends[part], files, cut, window_seconds)
        if tokens is None:
            break
        for family in families:
            found[family.name][part] = family.take(tokens)
    return found


def _tokens(
    recording: Recording,
    ends: np.ndarray,
    files: StimulusFiles,
    cut: StimulusCut,
    window_seconds: float,
) -> StimulusTokens | None:
    """Return the stimulus of windows; None if none of the files was shown."""
    layout = cut.layout(window_seconds)
    key = _flips_of(recording)
    if key is not None:
        by_bytes = {sha: name for name, sha in files.sha256.items()}
        shown = shown_files(recording)
        known = [by_bytes[sha] for sha in shown if sha in by_bytes]
        features = files.features(known, cut.recipe)
        if not features and (files.allow_missing or not shown):
            return None
        return shown_stimulus_tokens(
            recording,
            ends,
            features.values(),
            layout,
            frames=key,
            allow_missing=files.allow_missing,
        )
    names = files.named(str(s) for s in recording.trials["stimulus"].values)
    features = files.features({n for n in names.values() if n is not None}, cut.recipe)
    if not features:
        return None
    return trial_stimulus_tokens(
        recording,
        ends,
        {stimulus: None if n is None else features[n] for stimulus, n in names.items()},
        layout,
    )


def _flips_of(recording: Recording) -> str | None:
    """Return the stream that the stimulus player published its flips on, if it was recorded."""
    for key in recording.streams:
        if recording[key].attrs["name"] == FRAMES_STREAM:
            return str(key)
    return None
