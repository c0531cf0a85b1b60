"""Recordings from and to MNE: every format that MNE reads, and ``mne.io.Raw``."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.clock import find_gaps
from physioemo.description import StreamDescription
from physioemo.errors import CallError, UnitError, UnreadableFileError
from physioemo.modality import MODALITIES, channel_modality
from physioemo.recording import Recording
from physioemo.stream import describe_stream, make_stream
from physioemo.trials import derive_tables
from physioemo.units import conversion_factor

__all__ = ["from_raw", "read_mne", "to_raw"]

# MNE's channel type -> (our modality, the unit in which MNE holds it)
_TYPES = {
    "eeg": ("eeg", "V"),
    "eog": ("eog", "V"),
    "ecg": ("ecg", "V"),
    "emg": ("emg", "V"),
    "bio": ("physiology", "V"),
    "seeg": ("other", "V"),
    "ecog": ("other", "V"),
    "dbs": ("other", "V"),
    "mag": ("other", "T"),
    "grad": ("other", "T/m"),
    "ref_meg": ("other", "T"),
    "gsr": ("eda", "S"),
    "temperature": ("temperature", "degC"),
    "resp": ("respiration", "a.u."),
    "eyegaze": ("gaze", "px"),
    "pupil": ("pupil", "a.u."),
    "stim": ("stim", "a.u."),
    "misc": ("other", "a.u."),
}
_EYE_NAME = re.compile(r"^[vh]?eog\s*[-_]?\d*[lrud]?$", re.IGNORECASE)
_HEART_NAME = re.compile(r"^e[ck]g\s*[-_]?\d*$", re.IGNORECASE)


def read_mne(path: str | Path) -> Recording:
    """Read a file that MNE can read (EDF, BDF, FIF, BrainVision, EEGLAB and others).

    Raises
    ------
    UnreadableFileError
        If MNE cannot read it.
    """
    import mne

    path = Path(path)
    try:
        raw = mne.io.read_raw(path, preload=True, verbose="ERROR")
    except Exception as error:  # MNE's readers raise whatever the damage makes them raise
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise UnreadableFileError(
            f"found that {path} cannot be read ({reason[0]}), expected a recording folder, an "
            "XDF file, a device's export (EyeLink .asc, OpenSignals .h5 or .txt, the whole folder "
            "of a Neon or Empatica) or a file that MNE reads; check that the file is complete and "
            "its companion files lie beside it"
        ) from error
    return from_raw(raw, attrs={"source_file": path.name})


def from_raw(raw: Any, *, attrs: dict[str, Any] | None = None) -> Recording:
    """Return a recording of an ``mne.io.Raw``: one stream per kind of channel.

    Values stay as MNE holds them (volts for EEG). Channels that are typed EEG but named like
    eye or heart channels are retyped, and the recording's notes say so. Annotations become
    events. The time of the first sample is 0.

    Parameters
    ----------
    raw : mne.io.BaseRaw
        Preloaded or not.
    attrs : dict, optional
        Session attributes.
    """
    kinds, retyped = _channel_kinds(raw)
    streams = {kind: _raw_stream(raw, kind, kinds) for kind in dict.fromkeys(kinds)}
    notes = [
        f"channel {name!r} is typed EEG in the file and was taken as {k}" for name, k in retyped
    ]
    events = [
        (float(a["onset"]) - raw.first_time, float(a["duration"]), str(a["description"]), "")
        for a in raw.annotations
    ]
    date = raw.info["meas_date"]
    session = {
        **(attrs or {}),
        "clock": "seconds since the first sample of the file",
        **({"created_utc": date.isoformat()} if date else {}),
        "notes": notes,
    }
    tree = xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs=session), **streams, **derive_tables(streams, events)}
    )
    return Recording(tree)


def _channel_kinds(raw: Any) -> tuple[list[str], list[tuple[str, str]]]:
    """Return MNE's type of each channel, corrected by name, and what was corrected."""
    kinds, retyped = list(raw.get_channel_types()), []
    for i, name in enumerate(raw.ch_names):
        named = "eog" if _EYE_NAME.match(name) else "ecg" if _HEART_NAME.match(name) else None
        if named and kinds[i] == "eeg":
            kinds[i] = named
            retyped.append((name, named.upper()))
    return kinds, retyped


def _raw_stream(raw: Any, kind: str, kinds: list[str]) -> xr.Dataset:
    modality, unit = _TYPES.get(kind, ("other", "a.u."))
    picks = [i for i, k in enumerate(kinds) if k == kind]
    description = StreamDescription(
        name=kind,
        stype=modality,
        sfreq=float(raw.info["sfreq"]),
        ch_names=tuple(raw.ch_names[i] for i in picks),
        units=(unit,) * len(picks),
        channel_format="double64",
        modality=modality,
        source_id=f"file-{kind}",
    )
    return make_stream(raw.get_data(picks=picks).T, description)


def to_raw(recording: Recording, name: str) -> Any:
    """Return one regular stream as :class:`mne.io.RawArray` in MNE's units.

    Time stamps are lost: the array has the nominal rate, and every gap is marked by an
    annotation ``BAD_gap`` at the sample before it. Events become annotations.

    Parameters
    ----------
    recording : Recording
        The recording.
    name : str
        The stream, see :meth:`Recording.key`.

    Raises
    ------
    CallError
        If the stream is irregular or text.
    UnitError
        If a channel's unit does not convert to the one MNE expects for its type.
    """
    import mne

    stream = recording[name]
    description = describe_stream(stream)
    if description.is_text or description.sfreq <= 0:
        raise CallError(
            f"found the irregular stream {description.name!r}, expected one with a sampling rate; "
            "MNE holds regular signals only"
        )
    types = [MODALITIES[channel_modality(t, "other")].mne_type for t in description.ch_types]
    # MNE gives eye types coordinate frames of their own that a plain array cannot state.
    types = ["misc" if t in {"eyegaze", "pupil", "stim"} else t for t in types]
    factors = [_to_mne_unit(u, t) for u, t in zip(description.units, types, strict=True)]
    info = mne.create_info(list(description.ch_names), description.sfreq, types)
    data = stream["signal"].values.astype(float).T * np.array(factors)[:, None]
    raw = mne.io.RawArray(data, info, verbose="ERROR")
    created = recording.attrs.get("created_utc")
    if created:
        raw.set_meas_date(datetime.fromisoformat(created))
    raw.set_annotations(_annotations(recording, stream, raw))
    return raw


def _to_mne_unit(unit: str, mne_type: str) -> float:
    target = {"misc": None, "resp": None}.get(mne_type, _TYPES[mne_type][1])
    if target is None:
        return 1.0
    try:
        return conversion_factor(unit, target)
    except UnitError as error:
        raise UnitError(
            f"found a channel of type {mne_type!r} in {unit!r}, expected a unit that converts to "
            f"{target!r} as MNE wants; state the unit in which it really is"
        ) from error


def _annotations(recording: Recording, stream: xr.Dataset, raw: Any) -> Any:
    import mne

    time, sfreq = stream["time"].values, float(stream.attrs["sfreq"])
    events = recording.events
    onset = events["onset_seconds"].values
    order = np.maximum.accumulate(time)
    # By sample, not by time: after a gap the array's own time runs behind the session's.
    inside = (onset >= order[0] - 1 / sfreq) & (onset <= order[-1] + 1 / sfreq)
    index = np.searchsorted(order, onset[inside])
    index = np.minimum(index, len(order) - 1)
    at = (index + (onset[inside] - order[index]) * sfreq) / sfreq
    texts = [str(d) for d in events["description"].values[inside]]
    gaps = find_gaps(time, sfreq)
    return mne.Annotations(
        np.concatenate([np.maximum(at, 0.0), (gaps - 1) / sfreq]),
        np.concatenate([events["duration_seconds"].values[inside], np.full(len(gaps), 1 / sfreq)]),
        texts + ["BAD_gap"] * len(gaps),
        orig_time=raw.info["meas_date"],
    )
