"""The real recordings as streams; their READMEs give every rate and unit used here."""

import csv

import numpy as np

from physioemo.description import StreamDescription
from physioemo.stream import make_stream


def table(path):
    """Return the column names and numbers of a CSV file."""
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    return rows[0], np.array(rows[1:], float)


def regular(name, signal, sfreq, ch_names, units, stype="Physiology", types=(), time=None):
    description = StreamDescription(
        name,
        stype,
        sfreq,
        tuple(ch_names),
        tuple(units),
        channel_format="double64",
        ch_types=tuple(types),
        source_id=f"real-{name}",
    )
    return make_stream(np.asarray(signal, float), description, time=time)


def neurokit_event_related(folder):
    names, values = table(folder / "bio_eventrelated_100hz.csv")
    columns = [names.index(n) for n in ("ECG", "EDA", "RSP", "Photosensor")]
    units, types = ("mV", "uS", "a.u.", "V"), ("ecg", "eda", "respiration", "stim")
    names = ("ECG", "EDA", "RSP", "Photosensor")
    return {"bio": regular("bio", values[:, columns], 100.0, names, units, types=types)}


def eyes_open_closed(folder):
    import h5py

    with h5py.File(folder / "eeg_sample_closed_open_eyes.h5") as file:
        raw = next(iter(file.values()))["raw"]
        counts, line = raw["channel_1"][:, 0].astype(float), raw["channel_5"][:, 0].astype(float)
    microvolts = (counts / 2**16 - 0.5) * 3 / 41782 * 1e6
    return {
        "eeg": regular("eeg", microvolts[:, None], 1000.0, ("Oz",), ("uV",), "EEG"),
        "line": regular("line", line[:, None], 1000.0, ("level",), ("a.u.",), "stim"),
    }


def muse_run(folder, pattern="visual/SSVEP/**/*.csv"):
    path = sorted(folder.glob(pattern))[0]
    names, values = table(path)
    columns = [names.index(n) for n in ("TP9", "AF7", "AF8", "TP10")]
    marker_column = names.index("Marker0" if "Marker0" in names else "Marker")
    time = values[:, names.index("timestamps")]
    marked = np.flatnonzero(values[:, marker_column])
    texts = np.array([[str(int(m))] for m in values[marked, marker_column]], object)
    description = StreamDescription(
        "Markers", "Markers", 0.0, ("marker",), ("n/a",), "string", source_id="real-muse-markers"
    )
    channels = ("TP9", "AF7", "AF8", "TP10")
    return {
        "muse": regular("muse", values[:, columns], 256.0, channels, ("uV",) * 4, "EEG", time=time),
        "markers": make_stream(texts, description, time=time[marked]),
    }


def wfdb_record(folder, name="100"):
    import wfdb

    record = wfdb.rdrecord(str(folder / name))
    units = ["mV" if u == "mV" else "normalized" for u in record.units]
    kinds = {"PLETH": "pleth", "RESP": "respiration"}
    types = [kinds.get(n, "ecg") for n in record.sig_name]
    return {
        "wfdb": regular(
            "wfdb", record.p_signal, float(record.fs), record.sig_name, units, types=types
        )
    }
