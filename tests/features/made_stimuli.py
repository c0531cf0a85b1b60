"""Stimuli whose every row and frame tells its own number, and streams of what was shown."""

import json

import numpy as np
import xarray as xr

from physioemo.description import StreamDescription
from physioemo.features.stimulus_features import StimulusFeatures, StimulusRecipe
from physioemo.recording import Recording
from physioemo.stream import make_stream
from physioemo.trials import derive_tables
from tests.streams import marker_stream

RECIPE = StimulusRecipe(n_mels=16, picture_px=16)
FPS = 25.0


def made_stimulus(
    name="film.mp4", *, frames=250, stamps=None, sound_seconds=10.0, sound_start=0.0, base=0
):
    """Row k of sound holds base + k in every band; frame k holds base + k in its pixels' value.

    Frame k moves by k / 1000 and changes by 1 / 100; every tenth is a cut.
    """
    stamps = np.arange(frames) / FPS if stamps is None else np.asarray(stamps, float)
    n_rows = int((sound_seconds - 0.025) * 100 + 1e-6) + 1 if sound_seconds else 0
    rows = base + np.arange(n_rows, dtype=np.float32)
    number = np.arange(len(stamps))
    pictures = np.zeros((len(stamps), 16, 16, 3), np.uint8)
    pictures[..., 0], pictures[..., 1] = (number % 250)[:, None, None], base
    zeros = np.zeros(len(stamps))
    looks = np.column_stack([number / 1000, zeros, zeros, zeros + 0.01, number % 10 == 0])
    return StimulusFeatures(
        name=name,
        sha256=f"{base:02x}" * 32,
        recipe=RECIPE,
        sound_seconds=sound_start + 0.025 + np.arange(n_rows) / 100,
        fbank=np.repeat(rows[:, None], 16, axis=1),
        descriptors=np.repeat(rows[:, None], 9, axis=1),
        frame_seconds=stamps,
        until_seconds=float(stamps[-1] + 1 / FPS) if len(stamps) else 0.0,
        pictures=pictures,
        motion=np.where(number > 0, number / 1000, np.nan).astype(np.float32),
        covariates=looks.astype(np.float32),
    )


def frame_of(pictures):
    """Return the numbers of frames (below 250), -1 for none."""
    values = np.round((pictures[..., 0, 0, 0] + 1) * 127.5)
    return np.where(np.isnan(values), -1, values).astype(int)


def start_marker(features, item=1, kind="video", **changes):
    return {
        "event": "item_start",
        "item": item,
        "kind": kind,
        "file": features.name,
        "sha256": features.sha256,
        **changes,
    }


def flip_rows(frames, pts, lateness=0.002, item=1):
    """Return samples (flip, 5) of the player's stream."""
    frames, pts = np.asarray(frames, float), np.asarray(pts, float)
    late = np.broadcast_to(np.asarray(lateness, float), frames.shape)
    dropped = np.maximum(np.diff(frames, prepend=frames[:1]) - 1, 0)
    return np.column_stack([frames, pts, late, dropped, np.full(len(frames), item)])


def played(features, onset, frames=None, item=1, lateness=0.002):
    """Return samples and times of flips of some frames of a file that begins at a time."""
    frames = np.arange(len(features.frame_seconds)) if frames is None else np.asarray(frames)
    pts = features.frame_seconds[frames]
    late = np.broadcast_to(np.asarray(lateness, float), pts.shape)
    return flip_rows(frames, pts, late, item), onset + pts + late


def made_recording(flips=None, times=None, markers=(), header="", trials=None):
    """Return a recording of flips (flip, 5) and of markers (seconds, dict)."""
    streams = {"markers": marker_stream(markers)}
    if flips is not None:
        names = ("frame", "pts", "lateness", "dropped", "item")
        units = ("count", "s", "s", "count", "count")
        about = StreamDescription(
            "PhysioEmo-Frames", "Frames", 0.0, names, units, "double64", xml=header
        )
        streams["frames"] = make_stream(np.asarray(flips, float), about, time=np.asarray(times))
    tables = derive_tables(streams)
    if trials is not None:
        tables["trials"] = trials
    return Recording(xr.DataTree.from_dict({"/": xr.Dataset(), **streams, **tables}))


def header_of(*files, sound_latency="unmeasured"):
    """Return the player's header with files of (name, sha256)."""
    rows = "".join(f"<file><name>{n}</name><sha256>{s}</sha256></file>" for n, s in files)
    latency = f"<sound_latency_seconds>{sound_latency}</sound_latency_seconds>"
    return f"<info><desc><player>{latency}<files>{rows}</files></player></desc></info>"


def texts(markers):
    return [json.dumps(m) for _, m in markers], [s for s, _ in markers]
