"""What the person saw and heard, beside the EEG in a fused decoder.

A window that ends at time t holds what had been shown by t: by the player's flips where a recording
or a live session has them, else by the onsets of the trials.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError, SignalError
from physioemo.experiments.fused_modalities import FamilyScaler
from physioemo.features.stimulus_features import StimulusFeatures, StimulusRecipe
from physioemo.features.stimulus_tokens import STIMULUS_SCALARS, StimulusLayout, StimulusTokens
from physioemo.features.stimulus_windows import (
    FRAMES_STREAM,
    shown_stimulus_tokens,
    trial_stimulus_tokens,
)
from physioemo.hints import nearest
from physioemo.recording import Recording

__all__ = [
    "STIMULUS_MODALITIES",
    "StimulusChoice",
    "one_window",
    "recording_stimulus",
    "stimulus_files",
]

STIMULUS_MODALITIES = ("stimulus", "audio", "video")
"""Numbers that describe it, the filter bank of the sound, and the pictures."""

_SAME_SECONDS = 1e-6


@dataclass(frozen=True)
class StimulusChoice:
    """What of a stimulus a decoder reads, and how much of it.

    Parameters
    ----------
    modalities : tuple of str
        Some of :data:`STIMULUS_MODALITIES`.
    window_seconds : float
        How far back a window looks.
    n_pictures : int
        Pictures in it; even.
    recipe : StimulusRecipe
        How files are decoded.

    Raises
    ------
    CallError
        If a modality is not known, or comes twice, or a size is impossible.
    """

    modalities: tuple[str, ...] = ("stimulus",)
    window_seconds: float = 4.0
    n_pictures: int = 16
    recipe: StimulusRecipe = StimulusRecipe()  # noqa: RUF009  (frozen)

    def __post_init__(self) -> None:
        for name in self.modalities:
            if name not in STIMULUS_MODALITIES:
                raise CallError(
                    f"found {name!r} of the stimulus, expected some of "
                    f"{', '.join(STIMULUS_MODALITIES)}{nearest(str(name), STIMULUS_MODALITIES)}"
                )
        if not self.modalities or len(set(self.modalities)) < len(self.modalities):
            raise CallError(
                f"found {list(self.modalities)} of the stimulus, expected one or more of "
                f"{', '.join(STIMULUS_MODALITIES)}, each once"
            )
        self.layout  # noqa: B018  (it refuses impossible sizes)

    @property
    def layout(self) -> StimulusLayout:
        """What a window holds."""
        return StimulusLayout(self.window_seconds, self.n_pictures)

    @property
    def n_rows(self) -> int:
        """Rows of sound in a window."""
        return round(self.window_seconds * self.recipe.rows_per_second)

    def encoders(self, size: str) -> dict[str, dict[str, Any]]:
        """Return what a fused model has to know of each modality."""
        recipe = self.recipe
        every: dict[str, dict[str, Any]] = {
            "stimulus": {"encoder": "scalars", "n_scalars": len(STIMULUS_SCALARS)},
            "audio": {
                "encoder": "audio-patches",
                "n_mels": recipe.n_mels,
                "hop_seconds": recipe.hop_seconds,
            },
            "video": {"encoder": "video-tubelets", "size": recipe.picture_px},
        }
        return {name: {"preset": size, **every[name]} for name in self.modalities}

    def nothing(self, n_windows: int) -> dict[str, Any]:
        """Return the inputs of windows in which no stimulus was shown."""
        px = self.recipe.picture_px
        every: dict[str, Any] = {
            "stimulus": np.full((n_windows, len(STIMULUS_SCALARS)), np.nan, np.float32),
            "audio": np.full((n_windows, self.n_rows, self.recipe.n_mels), np.nan, np.float32),
            "video": {
                "values": np.full((n_windows, self.n_pictures, px, px, 3), np.nan, np.float32),
                "time_seconds": np.full((n_windows, self.n_pictures), np.nan, np.float32),
            },
        }
        return {name: every[name] for name in self.modalities}

    def chosen(self, tokens: StimulusTokens) -> dict[str, Any]:
        """Return of the stimulus of some windows what the model reads.

        Raises
        ------
        SignalError
            If it was decoded or cut otherwise than in training.
        """
        inputs = tokens.inputs()
        wanted = self.nothing(len(tokens.end_seconds))
        for name in self.modalities:
            found, expected = _shape(inputs[name]), _shape(wanted[name])
            if found != expected:
                raise SignalError(
                    f"found {name} of the stimulus of shape {found}, expected {expected}; decode "
                    "and cut it with the decoder's own stimulus.recipe and stimulus.layout"
                )
        return {name: inputs[name] for name in self.modalities}

    def scaled(
        self, chosen: Mapping[str, Any], scalers: Mapping[str, FamilyScaler]
    ) -> dict[str, Any]:
        """Return the inputs of the model; sound and pictures have a fixed scale."""
        return {
            name: scalers[name](part) if name in scalers else part for name, part in chosen.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {**vars(self), "modalities": list(self.modalities), "recipe": vars(self.recipe)}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "StimulusChoice":
        """Return the choice that :meth:`to_dict` wrote."""
        recipe = StimulusRecipe(**content["recipe"])
        return cls(**{**content, "modalities": tuple(content["modalities"]), "recipe": recipe})


def _shape(part: Any) -> tuple[int, ...]:
    return np.shape(part["values"] if isinstance(part, dict) else part)


def one_window(tokens: StimulusTokens, time_seconds: float) -> StimulusTokens:
    """Return the stimulus of the window that ends at a time.

    Raises
    ------
    CallError
        If there is none.
    """
    at = np.flatnonzero(np.abs(tokens.end_seconds - time_seconds) <= _SAME_SECONDS)
    if not len(at):
        raise CallError(
            f"found the stimulus of windows that end at {tokens.end_seconds[:3].tolist()} s, "
            f"expected one that ends at {time_seconds:.3f} s; ask for the end of the EEG window"
        )
    rows = slice(int(at[0]), int(at[0]) + 1)
    return replace(tokens, **{f.name: getattr(tokens, f.name)[rows] for f in fields(tokens)})


def recording_stimulus(
    recording: Recording,
    end_seconds: np.ndarray,
    stimuli: Sequence[StimulusFeatures],
    choice: StimulusChoice,
) -> StimulusTokens:
    """Return the stimulus of a recording's windows.

    Parameters
    ----------
    recording : Recording
        With the player's flips, or with trials that name files (``clip`` or ``clip.mp4``); a
        trial that names none of them shows nothing.
    end_seconds : ndarray, shape (window,)
        Ends of the windows.
    stimuli : sequence of StimulusFeatures
        The files.
    choice : StimulusChoice
        How much of them.

    Raises
    ------
    DataError
        If a file that was shown is not among them, or has other bytes.
    """
    if FRAMES_STREAM in [recording[key].attrs["name"] for key in recording.streams]:
        return shown_stimulus_tokens(recording, end_seconds, stimuli, choice.layout)
    by_name = {f.name: f for f in stimuli} | {Path(f.name).stem: f for f in stimuli}
    names = [str(s) for s in recording.trials["stimulus"].values]
    found = {name: by_name.get(name) for name in names}
    if not any(found.values()):
        raise DataError(
            f"found the stimuli {', '.join(sorted(set(names))[:3]) or 'none'} in the trials, "
            f"expected names of the files {', '.join(f.name for f in stimuli[:3])}; name the files "
            "that were shown"
        )
    return trial_stimulus_tokens(recording, end_seconds, found, choice.layout)


def stimulus_files(paths: Iterable[str | Path]) -> list[Path]:
    """Return the files that are named, and those in folders that are.

    Raises
    ------
    CallError
        If one is not there, or a folder is empty.
    """
    found: list[Path] = []
    for path in map(Path, paths):
        files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            raise CallError(
                f"found no stimulus at {path}, expected a video, sound or picture, or a folder of "
                "them; check the path"
            )
        found += files
    return found
