"""What a stimulus file looks and sounds like, frame by frame and every 10 ms, in the file's time.

A file is decoded once. A row of sound belongs to the time at which all that it sees has been
played, a frame to its presentation stamp; so whoever has seen a file up to some time has every row
and every frame up to that time and no other. Sound is Kaldi's filter bank of the mean of the two
channels that are played, at 16 kHz, scaled as in HiCMAE (Sun et al., Information Fusion 108,
2024), beside descriptors; pictures are squeezed to squares, beside movement and covariates.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import inf
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from physioemo.errors import CallError
from physioemo.features.audio_descriptors import AUDIO_DESCRIPTORS, audio_descriptors
from physioemo.features.audio_fbank import hicmae_normalised, kaldi_fbank, resampled
from physioemo.features.video_covariates import (
    colourfulness,
    cut_flags,
    histogram_change,
    luma,
)
from physioemo.features.video_motion import motion_frames, motion_magnitude
from physioemo.features.video_tubelets import frames_on_display, tubelets
from physioemo.fingerprint import config_fingerprint
from physioemo.media import (
    Sound,
    decode_sound,
    iterate_frames,
    probe_media,
    sha256_of,
)

__all__ = [
    "FRAME_COVARIATES",
    "StimulusFeatures",
    "StimulusRecipe",
    "Timed",
    "decode_stimulus",
    "scaled_pictures",
]

FRAME_COVARIATES = {
    "brightness": "ratio",
    "contrast": "ratio",
    "colourfulness": "ratio",
    "change": "ratio",
    "cut": "0 or 1",
}
"""What is told of each frame beside its movement, in this order, and the units."""

_FORMAT = 1  # grows when the same recipe would give other numbers
_SOUND_HZ = 16000
_SOUND_FRAME_SECONDS = 0.025
_FULL_SCALE = 32768
_BLOCK_SECONDS = 60  # of sound at once: an hour of it would fill the memory
_WARM_UP_SECONDS = 2  # the loudness filters have forgotten what was before
_HALF_TAPS = 10  # of the polyphase filter of `resampled`, in samples of the lower rate
_LONG_SIDE_PX, _LEAST_SIDE_PX = 64, 12  # of the picture that movement and colours are taken from


@dataclass(frozen=True)
class StimulusRecipe:
    """How a stimulus file becomes features.

    Parameters
    ----------
    n_mels : int
        Bands of the filter bank.
    rows_per_second : int
        Rows of sound in a second.
    picture_px : int
        Width and height of the pictures that are kept.

    Raises
    ------
    CallError
        If one of them is impossible.
    """

    n_mels: int = 128
    rows_per_second: int = 100
    picture_px: int = 32

    def __post_init__(self) -> None:
        if self.n_mels < 4 or self.picture_px < 8 or self.rows_per_second < 1:
            raise CallError(
                f"found {self.n_mels} bands, {self.rows_per_second} rows per second and pictures "
                f"of {self.picture_px} pixels, expected at least 4, 1 and 8"
            )
        if _SOUND_HZ % self.rows_per_second:
            raise CallError(
                f"found {self.rows_per_second} rows per second, expected a divisor of "
                f"{_SOUND_HZ}, so that rows begin with a sample; use 100"
            )

    @property
    def hop_seconds(self) -> float:
        """The step between two rows of sound."""
        return 1 / self.rows_per_second

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a bit of the result."""
        return config_fingerprint({"format": _FORMAT, **asdict(self)})


class Timed(NamedTuple):
    r"""Pieces of a stimulus with their times.

    Attributes
    ----------
    values : ndarray, shape (time, \\*dims, value)
        Zero where masked.
    seconds : ndarray, shape (time,)
        When all of a piece has been shown, in the file's time.
    mask : ndarray of bool, shape (time, \\*dims)
        True where there is something.
    """

    values: np.ndarray
    seconds: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class StimulusFeatures:
    """All features of one file, in seconds since the file's beginning.

    Attributes
    ----------
    name, sha256 : str
        The file's name when it was decoded, and its bytes.
    recipe : StimulusRecipe
        How it was decoded.
    sound_seconds : ndarray, shape (row,)
        When all that a row of sound sees has been played; no rows without sound. Rows end where
        the sound ends, however long the video is.
    fbank : ndarray of float32, shape (row, mel)
        Scaled log-mel energies.
    descriptors : ndarray of float32, shape (row, descriptor)
        In the order of :data:`physioemo.features.audio_descriptors.AUDIO_DESCRIPTORS`, NaN where
        there is none.
    frame_seconds : ndarray, shape (frame,)
        Presentation stamp of each frame; none without video.
    until_seconds : float
        When the last frame ends; 0 without video.
    pictures : ndarray of uint8, shape (frame, picture_px, picture_px, 3)
        The upright frames, squeezed.
    motion : ndarray of float32, shape (frame,)
        Mean length of the optical flow from the frame before, in widths of the picture; NaN for
        the first.
    covariates : ndarray of float32, shape (frame, covariate)
        In the order of :data:`FRAME_COVARIATES`; change and cut of the first are NaN.
    """

    name: str
    sha256: str
    recipe: StimulusRecipe
    sound_seconds: NDArray[np.float64]
    fbank: NDArray[np.float32]
    descriptors: NDArray[np.float32]
    frame_seconds: NDArray[np.float64]
    until_seconds: float
    pictures: NDArray[np.uint8]
    motion: NDArray[np.float32]
    covariates: NDArray[np.float32]

    @property
    def has_video(self) -> bool:
        """Whether there is a picture."""
        return len(self.frame_seconds) > 0

    @property
    def stop_seconds(self) -> float:
        """When both picture and sound have ended."""
        sound = float(self.sound_seconds[-1]) if len(self.sound_seconds) else 0.0
        return max(self.until_seconds, sound)

    @property
    def descriptors_mask(self) -> NDArray[np.bool_]:
        """Where a descriptor is there, shape (row, descriptor)."""
        return np.isfinite(self.descriptors)

    @property
    def covariates_mask(self) -> NDArray[np.bool_]:
        """Where a covariate is there, shape (frame, covariate)."""
        return np.isfinite(self.covariates)

    def audio_patches(self, patch: int = 16) -> Timed:
        """Return the filter bank in patches, values (step, band, patch * patch).

        Raises
        ------
        CallError
            If the bands are no whole number of patches.
        """
        n_bands, rest = divmod(self.recipe.n_mels, patch)
        if rest:
            raise CallError(
                f"found {self.recipe.n_mels} mel bands, expected a multiple of the patch of {patch}"
            )
        n = len(self.fbank) // patch
        cut = self.fbank[: n * patch].reshape(n, patch, n_bands, patch).transpose(0, 2, 1, 3)
        ends = self.sound_seconds[patch - 1 : n * patch : patch]
        return Timed(cut.reshape(n, n_bands, patch * patch), ends, np.ones((n, n_bands), bool))

    def video_tubelets(self, step_seconds: float = 0.16, edge_px: int = 16) -> Timed:
        """Return tubes of two frames, values (tube, row, column, 2 * edge * edge * 3).

        Parameters
        ----------
        step_seconds : float
            Between the times at which the frame on display is taken.
        edge_px : int
            Width and height of a tube.
        """
        first = float(self.frame_seconds[0]) if self.has_video else 0.0
        n = 2 * int((self.until_seconds - first) / (2 * step_seconds))
        wanted = first + np.arange(n) * step_seconds
        rows = frames_on_display(self.frame_seconds, self.until_seconds, wanted)
        pictures = scaled_pictures(self.pictures, rows)
        there = np.isfinite(pictures[:, 0, 0, 0]).reshape(-1, 2).min(axis=1)
        tubes = tubelets(np.nan_to_num(pictures), height_px=edge_px, width_px=edge_px)
        tubes[~there] = 0.0
        mask = np.broadcast_to(there[:, None, None], tubes.shape[:3]).copy()
        return Timed(tubes, wanted[1::2], mask)

    def selected_frames(
        self, n_frames: int = 6, start_seconds: float = 0.0, stop_seconds: float = inf
    ) -> NDArray[np.int_]:
        """Return the numbers of the frames of a stretch at which movement begins to peak.

        See :func:`physioemo.features.video_motion.motion_frames`.
        """
        first, stop = np.searchsorted(self.frame_seconds, [start_seconds, stop_seconds])
        part = slice(int(first), int(stop))
        return first + motion_frames(self.motion[part], self.frame_seconds[part], n_frames)


def scaled_pictures(pictures: np.ndarray, rows: np.ndarray) -> NDArray[np.float32]:
    """Return pictures by number, from -1 (black) to 1 (white).

    Parameters
    ----------
    pictures : ndarray of uint8, shape (frame, height, width, 3)
        All of a file.
    rows : ndarray of int, shape (n,)
        Numbers of the wanted ones; -1 gives NaN.

    Returns
    -------
    ndarray of float32, shape (n, height, width, 3)
    """
    out = np.full((len(rows), *pictures.shape[1:]), np.nan, np.float32)
    out[rows >= 0] = pictures[rows[rows >= 0]].astype(np.float32) / np.float32(127.5) - 1
    return out


def decode_stimulus(
    path: str | Path, recipe: StimulusRecipe | None = None, *, sha256: str | None = None
) -> StimulusFeatures:
    """Decode a file and return its features.

    Parameters
    ----------
    path : str or Path
        Video, sound or picture, of any kind that FFmpeg reads.
    recipe : StimulusRecipe, optional
        How.
    sha256 : str, optional
        Of the file's bytes, if it is known already.

    Raises
    ------
    CallError
        If there is no such file.
    UnreadableFileError
        If it is damaged, or holds neither video nor sound.
    """
    recipe = recipe or StimulusRecipe()
    seconds, fbank, descriptors = _sound_rows(decode_sound(path, n_channels=2), recipe)
    frames = _frame_rows(path, probe_media(path).size, recipe)
    return StimulusFeatures(
        Path(path).name, sha256 or sha256_of(path), recipe, seconds, fbank, descriptors, *frames
    )


def _sound_rows(
    sound: Sound | None, recipe: StimulusRecipe
) -> tuple[NDArray[np.float64], NDArray[np.float32], NDArray[np.float32]]:
    """Return times, filter bank and descriptors of all rows."""
    parts = [] if sound is None else list(_sound_blocks(sound, recipe))
    widths = (recipe.n_mels, len(AUDIO_DESCRIPTORS))
    fbank, descriptors = (
        np.concatenate([np.empty((0, n)), *(p[i] for p in parts)]).astype(np.float32)
        for i, n in enumerate(widths)
    )
    if sound is None:
        return np.empty(0), fbank, descriptors
    ahead = 0.0 if sound.sfreq == _SOUND_HZ else _HALF_TAPS / min(sound.sfreq, _SOUND_HZ)
    first = sound.start_seconds + _SOUND_FRAME_SECONDS + ahead
    return first + np.arange(len(fbank)) / recipe.rows_per_second, fbank, descriptors


def _sound_blocks(sound: Sound, recipe: StimulusRecipe) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield filter bank and descriptors of the rows that begin in each minute of sound."""
    per_second, hop = recipe.rows_per_second, recipe.hop_seconds
    for first in range(0, -(-len(sound.samples) // sound.sfreq), _BLOCK_SECONDS):
        begin = max(0, first - _WARM_UP_SECONDS)
        stop = (first + _BLOCK_SECONDS + 1) * sound.sfreq
        played = sound.samples[begin * sound.sfreq : stop] / _FULL_SCALE
        mono = resampled(played.mean(axis=1), sound.sfreq, _SOUND_HZ)
        fbank = kaldi_fbank(mono, _SOUND_HZ, n_mels=recipe.n_mels, hop_seconds=hop)
        ends = _SOUND_FRAME_SECONDS + np.arange(len(fbank)) * hop
        described = audio_descriptors(mono, _SOUND_HZ, ends, played=played, played_hz=sound.sfreq)
        kept = slice((first - begin) * per_second, (first - begin + _BLOCK_SECONDS) * per_second)
        yield hicmae_normalised(fbank[kept]), described[kept]


def _frame_rows(
    path: str | Path, size: tuple[int, int] | None, recipe: StimulusRecipe
) -> tuple[NDArray[np.float64], float, NDArray[np.uint8], NDArray[np.float32], NDArray[np.float32]]:
    """Return times, end, pictures, movement and covariates of all frames."""
    square = (recipe.picture_px, recipe.picture_px)
    seconds, pictures, motion, rows, until = [], [], [], [], 0.0
    before: np.ndarray | None = None
    small_px = (0, 0) if size is None else _small_size(*size)
    for frame in () if size is None else iterate_frames(path):
        small = frame.to_rgb(small_px)
        grey = luma(small)
        moved, changed = np.nan, np.nan
        if before is not None:
            moved = motion_magnitude(luma(before), grey)
            changed = histogram_change(small, before)
        seconds.append(frame.seconds)
        pictures.append(frame.to_rgb(square))
        motion.append(moved)
        rows.append([grey.mean(), grey.std(), colourfulness(small), changed])
        before, until = small, frame.until_seconds
    table = np.array(rows, float).reshape(-1, 4)
    cut = np.where(np.isnan(table[:, 3]), np.nan, cut_flags(table[:, 3]))
    covariates = np.column_stack([table, cut]).astype(np.float32)
    stacked = np.stack(pictures) if pictures else np.empty((0, *square, 3), np.uint8)
    return np.array(seconds), until, stacked, np.array(motion, np.float32), covariates


def _small_size(width: int, height: int) -> tuple[int, int]:
    """Return a size of the same shape whose longer side is short."""
    scale = _LONG_SIDE_PX / max(width, height)
    short, tall = (max(_LEAST_SIDE_PX, round(scale * side)) for side in (width, height))
    return short, tall
