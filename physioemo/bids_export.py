"""Recordings as a BIDS data set: EEG through mne-bids, physiology, eyes, events, ratings.

Brain Imaging Data Structure 1.11 (https://bids-specification.readthedocs.io), EEG-BIDS: Pernet et
al. (2019), Scientific Data 6:103, doi:10.1038/s41597-019-0104-8.
"""

import json
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from physioemo.bids_folder import (
    describe_dataset,
    recording_files,
    source_folder,
    unchanged_on_failure,
    write_json,
)
from physioemo.bids_streams import stream_tables
from physioemo.bids_tables import (
    FileClock,
    Table,
    ascii_label,
    behaviour_table,
    events_table,
    write_table,
)
from physioemo.clock import find_gaps, measured_rate
from physioemo.errors import CallError, MissingExtraError
from physioemo.recording import Recording
from physioemo.xdf_chunks import parse_xml

__all__ = ["export_bids"]

_SCREEN = dict.fromkeys(("ScreenDistance", "ScreenResolution", "ScreenSize"), "n/a")
_LABEL = re.compile(r"[A-Za-z0-9]+")


def export_bids(
    recording: Recording,
    root: str | Path,
    *,
    subject: str,
    task: str,
    session: str | None = None,
    run: str | None = None,
    line_hz: float | None = None,
    gaze_system: str | None = None,
    screen: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> Path:
    """Add a recording to a BIDS data set, which is created where there is none.

    EEG becomes BrainVision (float32 at 0.1 µV per step, of which fractions are kept); a gap is a
    ``BAD_gap`` event, and onsets are in the file's own time. Every other stream of numbers becomes
    a ``_physio`` table, with rows of ``n/a`` over its gaps and a column ``timestamp`` on the
    session's clock; gaze is eye tracking. Streams without a rate, for which BIDS has no place, are
    tables below ``sourcedata``.
    Events, trials, stimuli and ratings stand in ``events.tsv``, ratings also in ``beh.tsv``.
    What the recording does not say (reference, line frequency, filters) is ``n/a``.

    Parameters
    ----------
    recording : Recording
        What to write.
    root : str or Path
        Folder of the data set.
    subject, task, session, run : str
        Labels of letters and digits.
    line_hz : float, optional
        Frequency of the mains, 50 or 60 Hz.
    gaze_system : str, optional
        What gaze coordinates refer to: ``"gaze-on-screen"``, ``"gaze-in-world"`` or
        ``"eye-in-head"``; needed where there is gaze, but for imports of EyeLink and Neon.
    screen : mapping, optional
        BIDS's ``ScreenDistance`` and ``ScreenSize`` in metres, ``ScreenResolution`` in pixels and
        ``ScreenOrigin`` such as ``["top", "left"]``, which BIDS wants for gaze on a screen.
    overwrite : bool
        Replace this recording in the data set.

    Returns
    -------
    Path
        The folder of the participant or session.

    Raises
    ------
    CallError
        If a label is not of letters and digits, or gaze has no coordinate system.
    MissingExtraError
        If mne-bids is not installed.
    RecordingExistsError
        If this recording is in the data set and `overwrite` is false; or `root` is a file.
    UnitError
        If an EEG channel has a unit that is no voltage.
    StoreError
        If the files cannot be written; nothing of the recording is left then.
    """
    labels = {"sub": subject, "ses": session, "task": task, "run": run}
    entities = {k: _checked(k, v) for k, v in labels.items() if v is not None}
    _mne_bids()
    root = Path(root)
    folder = root.joinpath(*(f"{k}-{entities[k]}" for k in ("sub", "ses") if k in entities))
    is_new = not (root / "dataset_description.json").is_file()
    with unchanged_on_failure(root, folder, entities, overwrite=overwrite):
        _write_eegs(recording, root, entities, line_hz)
        systems = _write_tables(recording, root, folder, entities, gaze_system)
        remarks = []
        if "gaze-on-screen" in systems:
            remarks = _write_screen(
                folder, entities, {**_known_screen(recording), **(screen or {})}
            )
        describe_dataset(recording, root, entities, is_new=is_new, remarks=remarks)
    return folder


def _eeg_keys(recording: Recording) -> list[str]:
    return [k for k in recording.streams if _is_eeg(recording[k])]


def _write_eegs(
    recording: Recording, root: Path, entities: dict[str, str], line_hz: float | None
) -> None:
    every = _eeg_keys(recording)
    for key in every:
        _write_eeg(recording, key, root, entities, every, line_hz)


def _write_tables(
    recording: Recording,
    root: Path,
    folder: Path,
    entities: dict[str, str],
    gaze_system: str | None,
) -> set[str]:
    """Write everything but EEG and its events; return the coordinate systems of gaze."""
    eeg, name = _eeg_keys(recording), "_".join(f"{k}-{v}" for k, v in entities.items())
    zero = float(recording[eeg[0]]["time"].values[0]) if eeg else _start(recording)
    stem = folder / ("eeg" if eeg else "beh") / name
    if not eeg:
        write_table(events_table(recording, FileClock(np.array([zero]), 0.0), zero), stem)
    tables = stream_tables(recording, zero, skip=eeg, gaze_system=gaze_system)
    for table in tables:
        has_place = table.suffix.startswith("recording-")
        write_table(table, stem if has_place else source_folder(root, folder) / name)
    ratings = behaviour_table(recording)
    if ratings is not None:
        write_table(ratings, folder / "beh" / name)
    return {str(t.sidecar.get("SampleCoordinateSystem", "")) for t in tables}


def _write_screen(folder: Path, entities: dict[str, str], facts: dict[str, Any]) -> list[str]:
    """Write what is known of the screen beside the events; return what is not."""
    for path in recording_files(folder, entities):
        if path.name.endswith("_events.json"):
            _amend(path, {"StimulusPresentation": {**_SCREEN, **facts}})
    missing = [name for name in (*_SCREEN, "ScreenOrigin") if name not in facts]
    return [f"BIDS wants {', '.join(missing)} for gaze on a screen; not stated"] if missing else []


def _known_screen(recording: Recording) -> dict[str, Any]:
    """Return what an EyeLink says of the screen: the corners of the display in pixels."""
    corners = [float(c) for c in str(recording.attrs.get("display_coords", "")).split()]
    if len(corners) != 4:
        return {}
    left, top, right, bottom = corners
    return {
        "ScreenResolution": [round(right - left) + 1, round(bottom - top) + 1],
        "ScreenOrigin": ["top", "left"],
    }


def _checked(entity: str, label: Any) -> str:
    if not _LABEL.fullmatch(str(label)):
        raise CallError(
            f"found the label {label!r} for {entity!r}, expected letters and digits as BIDS wants; "
            "leave out spaces, dashes and underscores"
        )
    return str(label)


def _mne_bids() -> Any:
    try:
        import mne_bids
        import pybv  # noqa: F401 (mne-bids writes BrainVision with it)
    except ImportError as error:
        raise MissingExtraError(
            f"found no {error.name}, expected it for BIDS; install it with "
            "pip install 'physioemo[bids]'"
        ) from error
    return mne_bids


def _is_eeg(stream: xr.Dataset) -> bool:
    regular = float(stream.attrs["sfreq"]) > 0 and stream.sizes["time"] > 0
    return bool(stream.attrs["modality"] == "eeg" and regular)


def _start(recording: Recording) -> float:
    starts = [
        float(recording[k]["time"].values.min())
        for k in recording.streams
        if recording[k].sizes["time"]
    ]
    return min(starts, default=0.0)


def _write_eeg(
    recording: Recording,
    key: str,
    root: Path,
    entities: dict[str, str],
    every: list[str],
    line_hz: float | None,
) -> None:
    """Write one EEG stream with its events and sidecars."""
    mne_bids = _mne_bids()
    stream, raw = recording[key], recording.to_mne(key)
    raw.info["line_freq"] = line_hz
    raw.set_annotations(None)  # the events are written below, with all that is known of them
    acquisition = None
    if len(every) > 1:
        acquisition = f"{ascii_label(key)}{every.index(key) + 1}"
    path = mne_bids.BIDSPath(
        subject=entities["sub"],
        session=entities.get("ses"),
        task=entities["task"],
        acquisition=acquisition,
        run=entities.get("run"),
        datatype="eeg",
        suffix="eeg",
        root=root,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it converts to BrainVision, that there is no event
        mne_bids.write_raw_bids(
            raw,
            path,
            format="BrainVision",
            allow_preload=True,
            overwrite=True,
            readme=False,
            verbose="ERROR",
        )
    time, sfreq = stream["time"].values, float(stream.attrs["sfreq"])
    clock, gaps = FileClock(np.maximum.accumulate(time), sfreq), find_gaps(time, sfreq)
    stem = path.fpath.with_name(path.fpath.name.removesuffix("_eeg.vhdr"))
    zero = float(recording[every[0]]["time"].values[0])
    write_table(events_table(recording, clock, zero, gaps), stem)
    _amend(stem.with_name(f"{stem.name}_eeg.json"), _eeg_facts(stream, gaps))
    _state_no_filters(stem.with_name(f"{stem.name}_channels.tsv"))
    _write_electrodes(stream, stem)


def _eeg_facts(stream: xr.Dataset, gaps: np.ndarray) -> dict[str, Any]:
    rate = measured_rate(stream["time"].values, float(stream.attrs["sfreq"]))
    header = parse_xml(str(stream.attrs["xml"])) if stream.attrs["xml"] else None
    paths = ("desc/acquisition/manufacturer", "desc/manufacturer")
    makers = [header.findtext(path) for path in paths] if header is not None else []
    return {
        "Manufacturer": next(filter(None, makers), "n/a"),
        "RecordingType": "discontinuous" if len(gaps) else "continuous",
        "RecordingStream": str(stream.attrs["name"]),
        "EffectiveSamplingFrequency": rate if np.isfinite(rate) else "n/a",
    }


def _write_electrodes(stream: xr.Dataset, stem: Path) -> None:
    """Write the electrodes' places, where the device states all three coordinates of them."""
    header = str(stream.attrs["xml"])
    if not header:
        return
    places = {
        channel.findtext("label"): [channel.findtext(f"location/{axis}") for axis in "XYZ"]
        for channel in parse_xml(header).findall("desc/channels/channel")
    }
    names = [str(c) for c in stream["channel"].values]
    if not any(all(places.get(n) or [None]) for n in names):
        return
    columns: dict[str, Any] = {"name": names}
    for i, axis in enumerate("xyz"):
        columns[axis] = [_place(places.get(n), i) for n in names]
    space = stem.with_name(_without_task(stem.name))
    write_table(Table("electrodes", columns, {}), space)
    space.with_name(f"{space.name}_electrodes.json").unlink()
    system = {
        "EEGCoordinateSystem": "Other",
        "EEGCoordinateUnits": "mm",
        "EEGCoordinateSystemDescription": "As in the stream's LSL header: X to the right, Y to "
        "the front, Z up, from the centre of the head",
    }
    write_json(space.with_name(f"{space.name}_coordsystem.json"), system)


def _place(place: list[Any] | None, axis: int) -> Any:
    try:
        return float((place or [])[axis])
    except (IndexError, TypeError, ValueError):
        return "n/a"


def _without_task(name: str) -> str:
    return "_".join(p for p in name.split("_") if not p.startswith(("task-", "run-")))


def _amend(path: Path, facts: dict[str, Any]) -> None:
    write_json(path, {**json.loads(path.read_text("utf-8")), **facts})


def _state_no_filters(path: Path) -> None:
    """Take back the filters that were put into the table of channels: they are not known."""
    header, *rows = [line.split("\t") for line in path.read_text("utf-8-sig").splitlines()]
    unknown = [header.index(c) for c in ("low_cutoff", "high_cutoff")]
    for row in rows:
        for i in unknown:
            row[i] = "n/a"
    path.write_text("".join("\t".join(row) + "\n" for row in [header, *rows]), "utf-8")
