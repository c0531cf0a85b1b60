"""Streams whose clocks are wrong, recorded over real LSL and compared with the truth."""

import json
import os
import sys
from dataclasses import replace

import numpy as np
import pytest

from physioemo.acquisition import selftest_sync
from physioemo.acquisition.selftest_errors import Life, PulsedStream, judge
from physioemo.acquisition.selftest_sync import default_streams, run_selftest
from physioemo.acquisition.skewed_clock import ClockSkew, true_seconds, why_no_skew
from physioemo.clock import correct_time
from physioemo.errors import CallError, StreamError
from physioemo.store import open_recording

needs_skew = pytest.mark.skipif(bool(why_no_skew()), reason=why_no_skew() or "clocks can be skewed")

SECONDS = 32.0
GAPS = ((6.0, 0.15), (9.0, 0.9), (13.0, 5.0))


def lives(*stretches):
    return tuple(Life(a, b, ClockSkew(offset, drift)) for a, b, offset, drift in stretches)


def streams():
    """One stream for each thing that goes wrong in a lab, all in one recording."""
    eeg = PulsedStream("EEG", "EEG", 1000.0, 8, lives((0, SECONDS, 1000.0, 100.0)))
    whole = lives((0, SECONDS, -3.5, -50.0))
    moved = lives((0, 14.0, 40.0, 80.0), (15.2, SECONDS, 39.2, -80.0))
    again = lives((0, 12.0, 7.0, 60.0), (14.0, SECONDS, 7.0, 60.0))
    marked = lives((0, 10.5, 250.0, 100.0), (11.7, SECONDS, 250.3, 20.0))
    return (
        eeg,
        PulsedStream("with gaps", "Gaze", 200.0, 3, whole, gaps=GAPS),
        PulsedStream("other computer", "PhysioSignals", 500.0, 3, moved),
        PulsedStream("restarted", "PhysioSignals", 250.0, 3, again),
        PulsedStream("sparse", "Markers", 0.0, 1, lives((0, SECONDS, -20.0, 100.0))),
        PulsedStream("markers again", "Markers", 0.0, 1, marked),
    )


@pytest.fixture(scope="module")
def selftest(tmp_path_factory):
    folder = tmp_path_factory.mktemp("selftest")
    result = run_selftest(folder, seconds=SECONDS, streams=streams())
    return result, open_recording(folder / "recording")


def pairs_with(result, name):
    return [p for p in result.pairs if name in (p.first, p.second)]


@needs_skew
@pytest.mark.lsl
@pytest.mark.slow
@pytest.mark.parametrize("name", [s.name for s in streams()])
def test_every_two_streams_agree_on_when_a_pulse_was(selftest, name):
    result, _ = selftest
    pairs = pairs_with(result, name)
    assert len(pairs) == 5 and all(p.n_pulses >= 15 for p in pairs)
    assert max(p.median_ms for p in pairs) <= 0.2
    assert max(p.max_ms for p in pairs) <= 1.0


@needs_skew
@pytest.mark.lsl
@pytest.mark.slow
def test_nothing_that_was_sent_is_lost(selftest):
    result, _ = selftest
    assert result.problems == ()
    sent = {s.name: (s.n_received, s.n_expected) for s in result.streams}
    assert sent["EEG"] == (32001, 32001) and sent["sparse"] == (33, 33)
    assert sent["with gaps"] == (5191, 5191)


@needs_skew
@pytest.mark.lsl
@pytest.mark.slow
def test_gaps_and_returns_stand_in_the_recording(selftest):
    _, recording = selftest
    gaps = recording.quality()["with gaps"]["gaps"]
    assert [g["duration_seconds"] for g in gaps] == pytest.approx(
        [duration + 0.005 for _, duration in GAPS], abs=2e-3
    )
    for name in ("other computer", "restarted", "markers again"):
        (first,) = recording[name].attrs["reconnected_samples"]
        assert recording[name].attrs["n_unsynced_samples"] == 0
        time = recording[name]["time"].values
        assert time[first] - time[first - 1] > 0.5
    returns = [e for e in recording.attrs["recorder_events"] if e["event"] == "reconnected"]
    assert len(returns) == 3


@needs_skew
@pytest.mark.lsl
@pytest.mark.slow
def test_the_clocks_were_really_wrong_and_raw_stamps_are_kept(selftest):
    _, recording = selftest
    stream = recording["EEG"]
    ahead = stream["raw_time"].values - stream["time"].values
    assert ahead[0] == pytest.approx(1000.0, abs=0.01)
    assert np.polyfit(stream["time"].values, ahead, 1)[0] == pytest.approx(100e-6, abs=2e-6)


@needs_skew
@pytest.mark.lsl
@pytest.mark.slow
def test_one_line_for_all_connections_is_caught_as_wrong(selftest):
    """Without the connections that the recorder noticed, the self-test must fail."""
    _, recording = selftest
    stream = recording["other computer"]
    offsets = stream["clock_offset"].values
    line = correct_time(stream["raw_time"].values, offsets[:, 0], offsets[:, 1])
    assert np.abs(line - stream["time"].values).max() > 0.1


@needs_skew
@pytest.mark.lsl
@pytest.mark.slow
@pytest.mark.parametrize("name", ["EEG", "with gaps", "sparse"])
def test_pyxdf_says_the_same_where_it_is_right(selftest, tmp_path, name):
    import pyxdf

    from physioemo.xdf_export import export_xdf

    _, recording = selftest
    export_xdf(recording, tmp_path / "r.xdf")
    loaded, _ = pyxdf.load_xdf(tmp_path / "r.xdf", dejitter_timestamps=False)
    (theirs,) = [s for s in loaded if s["info"]["name"][0] == name]
    ours = recording[name]["time"].values
    assert np.abs(theirs["time_stamps"] - ours).max() < 1e-4


@pytest.mark.parametrize("platform", [sys.platform, "win32"])
def test_the_true_clock_is_that_of_lsl(monkeypatch, platform):
    from pylsl import local_clock

    # On Windows time.monotonic() counts ticks of 16 ms and is another clock than LSL's.
    monkeypatch.setattr("physioemo.acquisition.skewed_clock.time.monotonic", lambda: 0.0)
    monkeypatch.setattr("physioemo.acquisition.skewed_clock.sys.platform", platform)
    assert abs(true_seconds() - local_clock()) < 1e-3


def test_too_short_a_test_is_refused(tmp_path):
    with pytest.raises(CallError, match="found 5 s, expected at least 15"):
        run_selftest(tmp_path, seconds=5.0)


def test_a_computer_that_cannot_skew_clocks_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(selftest_sync, "why_no_skew", lambda: "found no C compiler")
    with pytest.raises(StreamError, match="found no C compiler; .*--no-skew, which proves"):
        run_selftest(tmp_path, seconds=20.0)


def test_a_shifted_pulse_and_a_lost_sample_are_told():
    plan = (default_streams(20.0)[1], default_streams(20.0)[3])
    plan = (replace(plan[0], gaps=()), plan[1])
    recording = made_up(plan, shift_ms=1.5, drop=1234)
    result = judge(recording, plan, 100.0, skewed=False)
    lost, apart = result.problems
    assert lost == "Gaze: found 4000 of 4001 samples, expected all of them"
    assert "Gaze and Markers: found an error of 1.500 ms (median) and 1.500 ms" in apart
    assert json.loads(json.dumps(result.to_dict()))["ok"] is False


def made_up(plan, *, shift_ms, drop):
    """Return a recording of the plan as nobody should make it: in memory, with two errors."""
    import xarray as xr

    from physioemo.acquisition.selftest_producer import Plan, describe_plan, sample_values
    from physioemo.recording import Recording
    from physioemo.stream import make_stream

    parts = {}
    for stream, shift in zip(plan, (shift_ms, 0.0), strict=True):
        fields = (stream.name, stream.stype, stream.sfreq, stream.n_channels, "id")
        sent = Plan(*fields, 0.0, 0.0, 20.0, ClockSkew())
        index = np.arange(int(20 * (stream.sfreq or 1)) + 1)
        index = np.delete(index, drop) if stream.sfreq else index
        time = 100.0 + index / (stream.sfreq or 1) + 1e-3 * shift
        parts[stream.name] = make_stream(sample_values(sent, index), describe_plan(sent), time=time)
    return Recording(xr.DataTree.from_dict({"/": xr.Dataset(), **parts}), path=None, sealed=False)


@pytest.mark.lsl
@pytest.mark.slow
def test_the_command_prints_a_verdict(physioemo):
    options = ["--no-skew"] if why_no_skew() or os.name == "nt" else []
    done = physioemo("selftest-sync", "--seconds", 15, *options, check=0)
    assert "Everything is on one clock." in done.stdout and "BAD" not in done.stdout
