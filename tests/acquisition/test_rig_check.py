"""A rig against real streams: checked, recorded, lost."""

import json
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from physioemo.acquisition.lsl import make_outlet
from physioemo.acquisition.recorder_threads import StreamStatus
from physioemo.acquisition.rig import Rig, RigStream
from physioemo.acquisition.rig_check import check_rig
from physioemo.acquisition.rig_from_network import rig_from_network
from physioemo.acquisition.rig_live import prepare_stream
from physioemo.acquisition.rig_measure import measure_rate
from physioemo.acquisition.rig_network import rig_overrides
from physioemo.acquisition.rig_record import RigWatch, prepare_rig, record_rig
from physioemo.acquisition.rig_signal import check_channels
from physioemo.acquisition.rig_toml import parse_rig, to_toml, write_rig
from physioemo.errors import CallError, StreamError
from physioemo.store import open_recording
from tests.lsl import producing, running, wait_until
from tests.streams import eeg_description

lsl = pytest.mark.lsl
NAMES = ("E0", "E1", "E2", "E3")


def brain(index, n_channels=4):
    signal = 20 * np.sin(index[:, None] / 7.0 + np.arange(n_channels))
    return signal.astype(np.float32)


def eeg(**changes):
    fields = {"key": "eeg", "name": "EEG", "sfreq": 250.0, "channels": NAMES, "units": ("uV",)}
    return RigStream(**{**fields, **changes})


def rig_of(*streams, **changes):
    rig = Rig(name="booth", streams=streams, **changes)
    return replace(rig, text=to_toml(rig))


def kinds(check):
    return [p.kind for p in check.problems]


@lsl
def test_a_good_stream_is_measured_and_nothing_is_wrong(tmp_path):
    with producing(eeg_description(), brain):
        result = check_rig(rig_of(eeg(), planned_minutes=60), seconds=1.5, folder=tmp_path / "x")
    (check,) = result.streams
    assert result.ok and check.problems == () and check.source_ids == ("test-eeg",)
    assert check.measured_rate_hz == pytest.approx(250, rel=1e-6)
    assert abs(check.offset_seconds) < 1e-2 and 0 < check.round_trip_seconds < 0.5
    assert -0.05 < check.age_seconds < 2 and check.lost_share < 1e-6
    assert [round(c.peak_to_peak_uv) for c in check.channels] == pytest.approx([40] * 4, abs=3)
    # 250 samples of 4 floats and a stamp each second, for an hour, twice.
    assert result.needed_bytes == pytest.approx(2 * 3600 * 250 * (16 + 8), rel=0.2)
    assert result.free_bytes > 0


@lsl
def test_a_missing_stream_is_named_with_the_nearest_that_is_there():
    wanted = rig_of(eeg(name="EGG"), eeg(key="gaze", name="Tobii", required=False))
    with producing(eeg_description(), brain):
        result = check_rig(wanted, seconds=0.8)
    first, second = result.streams
    assert not result.ok and kinds(first) == kinds(second) == ["missing"]
    assert "found no stream that fits name='EGG' on the network (EEG)" in first.problems[0].text
    assert "did you mean name = 'EEG'?" in first.problems[0].text
    assert "start its program" in second.problems[0].text


@lsl
def test_an_optional_stream_may_be_missing():
    with producing(eeg_description(), brain):
        result = check_rig(rig_of(eeg(), eeg(key="b", name="B", required=False)), seconds=0.8)
    assert result.ok and kinds(result.streams[1]) == ["missing"]


@lsl
def test_two_streams_that_fit_are_told_apart_by_their_source():
    twin = eeg_description(source_id="other-amp")
    with producing(eeg_description(), brain), producing(twin, brain):
        wanted = rig_of(eeg(), eeg(key="mine", source_id="other-amp"))
        result = check_rig(wanted, seconds=0.8)
    both, one = result.streams
    assert both.source_ids == ("other-amp", "test-eeg") and kinds(both) == ["ambiguous"]
    assert "found 2 streams that fit name='EEG'" in both.problems[0].text
    assert "source_id 'test-eeg' on" in both.problems[0].text
    assert one.problems == ()


@lsl
def test_a_wrong_rate_flat_channel_and_wrong_names_are_all_said_at_once():
    def flat(index):
        signal = brain(index)
        signal[:, 2] = 7.0
        return signal

    renamed = eeg_description(name="named", source_id="n", ch_names=("E0", "E1", "X", "E3"))
    slow = eeg_description(name="slow", source_id="s")
    volts = eeg_description(name="volts", source_id="v", units=("V",) * 4)
    wanted = rig_of(
        eeg(), *(eeg(key=k, name=k) for k in ("named", "slow", "volts")), min_free_gib=1e9
    )
    with (
        producing(eeg_description(), flat),
        producing(renamed, brain),
        producing(slow, brain, sfreq=200.0),
        producing(volts, lambda i: brain(i) * np.float32(1e-6)),
    ):
        result = check_rig(wanted, seconds=1.5)
    still, named, slowed, scaled = result.streams
    assert kinds(still) == ["signal"]
    assert still.problems[0].text.startswith("E2 is flat (0 uV peak to peak, 100% of samples")
    assert named.problems[0].text == "found 'X' as channel 3, expected 'E2'"
    assert kinds(slowed) == ["rate"] and "found 200.00 Hz by its stamps" in slowed.problems[0].text
    # Volts are known for what they are, and the channels are judged in microvolts all the same.
    assert [p.text for p in scaled.problems] == ["found the unit 'V', expected 'uV'"]
    assert scaled.channels[0].peak_to_peak_uv == pytest.approx(40, abs=3)
    assert result.problems[0].kind == "disk" and "the rig's minimum" in result.problems[0].text


@lsl
def test_a_silent_stream_and_one_with_old_stamps_are_late():
    import pylsl

    silent = make_outlet(eeg_description(name="silent", source_id="q"))

    def push_old(stop):
        outlet = make_outlet(eeg_description(name="old", source_id="o"))
        while not stop.wait(0.1):
            outlet.push_sample([1.0, 2.0, 3.0, 4.0], pylsl.local_clock() - 60)

    with running(push_old):
        result = check_rig(rig_of(eeg(name="silent"), eeg(key="old", name="old")), seconds=1.0)
    first, second = result.streams
    assert "found no data in" in first.problems[0].text
    late = [p.text for p in second.problems if p.kind == "late"]
    assert len(late) == 1 and late[0].startswith("found its newest sample 6")
    del silent


@lsl
def test_what_a_bare_stream_lacks_is_stated_by_the_rig_and_recorded(tmp_path):
    import pylsl

    info = pylsl.StreamInfo("bare", "Amp", 2, 100, "float32", "bare-1")
    outlet = pylsl.StreamOutlet(info)

    def push(stop):
        while not stop.wait(0.01):
            outlet.push_sample([1.0, 2.0])

    bare = {"key": "amp", "name": "bare", "sfreq": 100.0, "sfreq_tolerance_percent": 50.0}
    with running(push):
        lacking = check_rig(rig_of(RigStream(**bare)), seconds=0.7).streams[0]
        rig = rig_of(RigStream(**bare, channels=("Fp1", "Fp2"), units=("uV",)))
        summary = record_rig(rig, tmp_path / "r", duration_seconds=0.5)
    assert not lacking.recordable and "found no channel names" in lacking.problems[0].text
    description = summary.recording.description("bare")
    assert (description.ch_names, description.units) == (("Fp1", "Fp2"), ("uV", "uV"))


def test_one_name_with_two_statements_is_refused():
    rig = rig_of(eeg(source_id="a"), eeg(key="b", source_id="b", units=("mV",)))
    fields = {"name": "EEG", "ch_names": NAMES, "units": (), "sfreq": 250.0}
    with pytest.raises(CallError, match="two streams named 'EEG' .* different units"):
        rig_overrides({"eeg": fields, "b": fields}, rig)


@lsl
def test_a_rig_from_the_network_passes_its_own_check(tmp_path, typed):
    file = tmp_path / "mit Ümläut" / "mein rig.toml"
    file.parent.mkdir()
    gaze = eeg_description(name="Gaze", stype="Gaze", source_id="g", units=("px",) * 4)
    with producing(eeg_description(), brain), producing(gaze, brain):
        rig, missing = rig_from_network("mein rig", find_seconds=1.0)
        write_rig(rig, file)
        done = typed("rig", "check", file, "--seconds", 1, "--json", check=0)
        refused = typed("rig", "from-network", file, check=2)
    assert missing == [] and [s.key for s in rig.streams] == ["eeg", "gaze"]
    found = json.loads(done.stdout)
    assert found["ok"] and [s["problems"] for s in found["streams"]] == [[], []]
    assert "pass --overwrite" in refused.stderr


@lsl
def test_check_prints_a_table_and_exits_with_one(tmp_path, typed):
    write_rig(rig_of(eeg(), eeg(key="gaze", name="Tobii")), tmp_path / "r.toml")
    with producing(eeg_description(), brain):
        done = typed("rig", "check", tmp_path / "r.toml", "--seconds", 1, check=1)
    lines = [line.split() for line in done.stdout.splitlines()]
    assert lines[1][:4] == ["eeg", "yes", "250.00", "4"] and lines[1][-1] == "ok"
    assert lines[2][:2] == ["gaze", "no"] and lines[2][-1] == "BAD"
    assert "! gaze: found no stream that fits name='Tobii'" in done.stdout
    assert "NOT ready" in done.stdout


@lsl
def test_a_rig_is_recorded_and_nothing_else_is(tmp_path, typed):
    file, out = tmp_path / "rig.toml", tmp_path / "r"
    write_rig(rig_of(eeg()), file)
    other = eeg_description(name="another room", source_id="far")
    with producing(eeg_description(), brain), producing(other, brain):
        typed("record", out, "--rig", file, "--duration", 1, check=0)
    recording = open_recording(out)
    assert recording.streams == ("EEG",)
    assert parse_rig(recording.attrs["rig"]) == rig_of(eeg())
    assert recording.attrs["rig_sha256"] == parse_rig(file.read_text("utf-8")).sha256
    assert recording.attrs["rig_streams"]["eeg"]["source_id"] == "test-eeg"


@lsl
def test_nothing_is_recorded_without_a_required_stream_unless_told(tmp_path, typed):
    file, out = tmp_path / "rig.toml", tmp_path / "r"
    write_rig(rig_of(eeg(), eeg(key="gaze", name="Tobii", on_missing="refuse")), file)
    options = ("--rig", file, "--duration", 0.5)
    with producing(eeg_description(), brain):
        refused = typed("record", out, *options, check=1)
        assert not out.exists()
        told = typed("record", out, *options, "--allow-incomplete", check=1)
    assert "the rig 'booth' is not complete: gaze: found no stream" in refused.stderr
    assert "--allow-incomplete" in refused.stderr and len(refused.stderr.splitlines()) == 1
    assert "! gaze: found no stream that fits name='Tobii'" in told.stderr
    assert open_recording(out).streams == ("EEG",)


@lsl
def test_a_required_stream_is_waited_for():
    said = []
    plan = {}

    def prepare():
        plan["is"] = prepare_rig(rig_of(eeg()), wait_seconds=90, on_notice=said.append)

    thread = threading.Thread(target=prepare)
    thread.start()
    wait_until(lambda: said)
    with producing(eeg_description(), brain):
        thread.join()
    assert len(said) == 1 and said[0].startswith("waiting up to 90 s: eeg: found no stream")
    assert [c.name for c in plan["is"].checks] == ["EEG"] and plan["is"].problems == ()


@lsl
def test_a_lost_stream_is_told_at_once_and_may_stop_the_recording(tmp_path):
    said = []
    other = eeg_description(name="steady", source_id="steady")
    rig = rig_of(eeg(freshness_seconds=1.5, on_lost="stop"), eeg(key="steady", name="steady"))
    recorded = threading.Event()

    def lose():
        with producing(eeg_description(), brain):
            recorded.wait(90)

    def look(statuses):
        if all(status.n_samples > 250 for status in statuses):
            recorded.set()

    with producing(other, brain):
        thread = threading.Thread(target=lose)
        thread.start()
        told = {"on_notice": said.append, "on_status": look}
        summary = record_rig(rig, tmp_path / "r", wait_seconds=90, duration_seconds=90, **told)
        thread.join()
    lost = [text for text in said if "is lost" in text]
    assert lost == [p for p in summary.problems if "is lost" in p]
    (eeg_lost,) = [text for text in lost if "'eeg'" in text]
    assert eeg_lost.startswith("required stream 'eeg' (EEG) is lost: nothing for")
    assert eeg_lost.endswith("the recording stops") and summary.recording.sealed


def status(age, state="live"):
    return StreamStatus("EEG", state, 10, 250.0, 250.0, age, 0, 0, 0.0)


@lsl
def test_a_stream_that_comes_late_is_recorded_and_watched_from_then_on(tmp_path):
    said, done = [], []
    late = eeg_description(name="Tobii", source_id="late-gaze", sfreq=120.0)
    gaze = eeg(key="gaze", name="Tobii", sfreq=120.0, required=False, freshness_seconds=1.0)
    wrong = replace(late, ch_names=("a", "b", "c", "d"))
    with producing(eeg_description(), brain):
        recorder = threading.Thread(
            target=lambda: done.append(
                record_rig(rig_of(eeg(), gaze), tmp_path / "r", duration_seconds=14,
                           on_notice=said.append)
            )
        )  # fmt: skip
        recorder.start()
        wait_until(lambda: any("found no stream that fits name='Tobii'" in t for t in said))
        with producing(wrong, brain):
            wait_until(lambda: any("'gaze' (Tobii) has come, but found 'a'" in t for t in said))
        with producing(late, brain):
            wait_until(lambda: "stream 'gaze' has come; it is recorded from here on" in said)
            time.sleep(1.5)
        recorder.join()
    eeg_time, gaze_time = (done[0].recording[k]["time"].values for k in ("EEG", "Tobii"))
    assert len(gaze_time) > 120 and gaze_time[0] - eeg_time[0] > 2.0
    assert np.diff(gaze_time).max() < 0.05 and any("'gaze' (Tobii) is lost" in t for t in said)


def test_a_stream_is_lost_once_and_comes_back_once():
    said = []
    watch = RigWatch([eeg(freshness_seconds=1.0)], said.append)
    for age in (0.1, 1.2, 1.5, 0.1, 0.2):
        watch([status(age)])
    assert [text.split(":")[0] for text in said] == [
        "required stream 'eeg' (EEG) is lost",
        "required stream 'eeg' (EEG) is back",
    ]
    assert len(watch.problems) == 1 and not watch.should_stop()
    with pytest.raises(StreamError, match="when the recording began"):
        watch([])


def test_a_stream_has_time_for_its_first_sample():
    said = []
    watch = RigWatch([eeg(freshness_seconds=0.2)], said.append)
    # Opening many inlets takes longer than the first of them may be silent.
    watch([status(1.7, "waiting")])
    assert said == []
    time.sleep(0.25)
    watch([status(2.0, "waiting")])
    assert len(said) == 1


def test_contradicting_options_are_a_wrong_call(tmp_path, typed):
    file = tmp_path / "r.toml"
    write_rig(rig_of(eeg()), file)
    for more in (("--stream", "name='x'"), ("--unit", "EEG=uV")):
        assert "found --rig" in typed("record", "x", "--rig", file, *more, check=2).stderr


def test_rate_and_loss_have_known_answers():
    stamps = 1e6 + np.arange(1000) / 250.0
    rate = measure_rate(stamps, 250.0)
    assert rate.hz == pytest.approx(250.0) and rate.n_gaps == 0
    assert rate.lost_share == pytest.approx(0, abs=1e-9) and rate.uncertainty < 1e-6
    holed = np.delete(stamps, slice(400, 500))
    rate = measure_rate(holed, 250.0)
    assert rate.n_gaps == 1 and rate.lost_share == pytest.approx(0.1, abs=0.002)
    assert rate.hz == pytest.approx(250.0)
    # Packets of 25 samples that arrive 40 ms early or late blur the rate, and it says by how much.
    jitter = np.repeat(np.tile([-0.02, 0.02], 20), 25)
    rate = measure_rate(stamps + jitter, 250.0)
    assert abs(rate.hz / 250 - 1) < rate.uncertainty < 0.05
    assert np.isnan(measure_rate(stamps[:5], 250.0).hz)


def test_channels_have_known_verdicts(rng):
    t = np.arange(1000) / 250.0
    good = rng.normal(0, 15, 1000)
    clipped = np.clip(100 * np.sin(7 * t), -50, 50)
    signal = {
        "good": good,
        "drifting": good + 5000 * t,
        "flat": np.full(1000, 3.0),
        "tiny": 0.003 * good,
        "stuck": np.full(1000, 187_500.0),
        "clipped": clipped,
        "noisy": 100 * good,
        "absent": np.where(t > 3, np.nan, good),
        "mains": good + 60 * np.sin(2 * np.pi * 50 * t),
    }
    found = check_channels(np.stack(list(signal.values()), 1), 250.0, tuple(signal))
    assert {c.name: c.verdict for c in found} == {
        **dict.fromkeys(("good", "drifting", "mains"), ""),
        **dict.fromkeys(("flat", "tiny"), "flat"),
        **dict.fromkeys(("stuck", "clipped"), "railed"),
        "noisy": "noisy",
        "absent": "missing",
    }
    shares = {c.name: c.mains_share for c in found}
    # 60 uV of sine is 1800 uV^2 beside 225 uV^2 of noise, of which 99/125 lies in the band.
    assert shares["mains"][0] == pytest.approx(1800 / (1800 + 225 * 99 / 125), abs=0.03)
    assert shares["mains"][1] < 0.05 and shares["good"][0] < 0.1


@lsl
def test_a_decoder_reads_the_stream_of_a_rig_alone():
    gaze = RigStream(key="gaze", name="Gaze", stype="Gaze", sfreq=120.0, channels=("x", "y"))
    rig = rig_of(eeg(), gaze, min_free_gib=1e9)
    with producing(eeg_description(), brain):
        plan = prepare_stream(rig)
    assert [s.key for s in plan.streams] == ["eeg"] and "uid=" in plan.predicates[0]
    with pytest.raises(CallError, match=r"found 0 streams of the modality 'eeg' in the rig"):
        prepare_stream(rig_of(gaze))
    with pytest.raises(StreamError, match="the rig 'booth' is not complete"):
        prepare_stream(rig)
