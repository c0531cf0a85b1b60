"""Faults on command: each with a known answer, and three over real LSL into a recording."""

from functools import partial

import numpy as np
import pytest

from physioemo.acquisition.faults import (
    FAULTS,
    Part,
    apply_faults,
    faulty_blocks,
    faulty_description,
    outages,
    parse_fault,
)
from physioemo.acquisition.outlet_header import stated_faults
from physioemo.acquisition.publish import Block
from physioemo.acquisition.replay import replay_blocks, replay_streams
from physioemo.errors import CallError
from physioemo.store import create_recording
from physioemo.trials import make_events
from tests.lsl import record_replay
from tests.streams import eeg_description, eeg_stream, marker_stream

SFREQ = 250.0


def part(n=2500):
    time = np.arange(n) / SFREQ
    return Part(np.arange(n, dtype=np.float32)[:, None], time, time, time)


def planted(text, n=2500, seed=3):
    return apply_faults(part(n), [parse_fault(text)], key="EEG", number=0, seed=seed)


def test_jitter_moves_stamps_by_its_standard_deviation_and_nothing_else():
    moved = planted("jitter=5")
    assert np.std(moved.stamps - moved.time) == pytest.approx(0.005, rel=0.05)
    assert np.array_equal(moved.signal, part().signal) and np.array_equal(moved.due, part().due)


def test_drift_and_reset_are_exact():
    assert planted("drift=100").stamps[-1] == pytest.approx(part().time[-1] * (1 + 1e-4))
    step = planted("clock-reset=4,-0.8")
    assert np.diff(step.stamps)[999] == pytest.approx(1 / SFREQ - 0.8)
    assert np.array_equal(step.stamps[:1000], step.time[:1000])


def test_loss_and_duplicates_have_their_share():
    lost, twice = planted("loss=0.1"), planted("duplicates=0.1")
    assert len(lost.time) == pytest.approx(2250, abs=60) and (np.diff(lost.time) > 0).all()
    assert len(twice.time) == pytest.approx(2750, abs=60)
    assert (np.diff(twice.stamps) == 0).sum() == len(twice.time) - 2500


def test_a_lost_stream_is_gone_exactly_then_and_off_the_network():
    left = planted("stream-loss=2,3")
    assert len(left.time) == 2500 - 750 and np.diff(left.time).max() == pytest.approx(3.004)
    gone = outages([parse_fault("stream-loss=2,3@EEG")], {"a": eeg_description()})
    assert gone == {"a": ((2.0, 5.0),)}


def test_bursts_of_nan_are_as_long_and_as_many_as_asked():
    missing = np.isnan(planted("nan=0.5,0.04", n=50_000).signal[:, 0])
    starts = np.flatnonzero(np.diff(missing.astype(int)) == 1)
    ends = np.flatnonzero(np.diff(missing.astype(int)) == -1)
    assert len(starts) == pytest.approx(100, abs=25)  # 200 s, a Poisson process
    assert np.median(ends - starts[: len(ends)]) == 10


def test_a_burst_goes_on_over_the_edge_between_two_blocks():
    fault = [parse_fault("nan=1,0.5")]
    whole = apply_faults(part(), fault, key="EEG", number=0, seed=0)
    halves = [
        apply_faults(part().take(cut), fault, key="EEG", number=i, seed=0)
        for i, cut in enumerate(np.split(np.arange(2500), [1111]))
    ]
    assert np.array_equal(whole.signal, np.concatenate([h.signal for h in halves]), equal_nan=True)


def test_text_has_no_nan():
    texts = Part(np.array([["a"]], object), *(np.zeros(1),) * 3)
    assert apply_faults(texts, [parse_fault("nan=9,9")], key="m", number=0, seed=0) is texts


def test_a_stall_delays_and_moves_no_stamp():
    held = planted("stall=2,3")
    assert np.array_equal(held.stamps, held.time)
    assert (held.due[500:1250] == 5.0).all() and held.due[499] < 2 and held.due[1250] == 5.0


def test_a_wrong_rate_changes_the_header_alone():
    fault = parse_fault("rate=2")
    assert faulty_description([fault], "EEG", eeg_description()).sfreq == 500
    assert np.array_equal(planted("rate=2").stamps, part().stamps)


@pytest.mark.parametrize("kind", sorted(FAULTS))
def test_the_same_seed_gives_the_same_fault_and_keeps_every_shape(kind):
    text = {"clock-reset": "1,2", "stream-loss": "1,2", "nan": "1,0.1", "stall": "1,2"}
    text = f"{kind}={text.get(kind, '0.5')}"
    one, two, other = planted(text), planted(text), planted(text, seed=4)
    for name in ("signal", "time", "stamps", "due"):
        assert np.array_equal(getattr(one, name), getattr(two, name), equal_nan=True)
        assert len(getattr(one, name)) == len(one.time)
    if kind in {"jitter", "loss", "duplicates", "nan"}:
        assert not (
            np.array_equal(one.stamps, other.stamps)
            and np.array_equal(one.signal, other.signal, equal_nan=True)
        )


def blocks_of(recording):
    streams = replay_streams(recording)
    return list(replay_blocks(streams)), {k: d for k, (d, _, _) in streams.items()}


def joined(blocks, key):
    parts = [b.parts[key] for b in blocks if key in b.parts]
    return np.concatenate([s for s, _ in parts]), np.concatenate([t for _, t in parts])


def test_a_replay_also_holds_events_that_belong_to_a_stream_of_numbers(tmp_path, rng):
    events = make_events([(1.0, 0.0, "blink", "EEG"), (2.0, 0.5, "artefact", "EEG")])
    source = {"EEG": eeg_stream(rng.standard_normal((1500, 2)))}
    streams = replay_streams(create_recording(tmp_path / "s", source, events=events))
    description, texts, times = streams["recording-markers"]
    assert description.is_text and times.tolist() == [1.0, 2.0]
    assert texts[0, 0] == "blink" and '"artefact"' in texts[1, 0]


def test_a_stall_over_several_blocks_ends_in_one_burst_and_loses_nothing(tmp_path, rng):
    source = create_recording(tmp_path / "s", {"EEG": eeg_stream(rng.standard_normal((1500, 2)))})
    blocks, described = blocks_of(source)
    faulty = list(faulty_blocks(blocks, [parse_fault("stall=1.5,3.2")], described))
    sent, stamps = joined(faulty, "EEG")
    assert np.array_equal(sent, source["EEG"]["signal"].values)
    assert stamps == pytest.approx(source["EEG"]["time"].values, abs=1e-9)
    assert [len(b.parts["EEG"][0]) for b in faulty[:5]] == [250, 125, 0, 0, 875]


def test_a_stall_beyond_the_end_is_sent_after_it(tmp_path, rng):
    source = create_recording(tmp_path / "s", {"EEG": eeg_stream(rng.standard_normal((500, 2)))})
    blocks, described = blocks_of(source)
    faulty = list(faulty_blocks(blocks, [parse_fault("stall=1,3")], described))
    assert len(faulty) == 5 and len(faulty[-1].parts["EEG"][0]) == 250


def test_faults_add_up_in_their_order_and_leave_other_streams_alone(tmp_path, rng):
    streams = {
        "EEG": eeg_stream(rng.standard_normal((1000, 2))),
        "Markers": marker_stream([(1, "a")]),
    }
    blocks, described = blocks_of(create_recording(tmp_path / "s", streams))
    faults = [parse_fault("drift=1000@EEG"), parse_fault("clock-reset=2,5@EEG")]
    faulty = list(faulty_blocks(blocks, faults, described))
    assert joined(faulty, "EEG")[1][-1] == pytest.approx(3.996 * 1.001 + 5)
    assert joined(faulty, "Markers")[1] == pytest.approx([1.0])


def test_stamps_that_run_backwards_and_irregular_ones_are_kept():
    stamps = np.array([0.0, 0.03, 0.01, 0.02, 0.9, 0.7])
    block = Block(0.0, 1.0, {"EEG": (np.arange(6.0)[:, None], stamps)})
    (kept,) = faulty_blocks([block], [parse_fault("rate=1")], {"EEG": eeg_description()})
    assert np.array_equal(kept.parts["EEG"][0][:, 0], np.arange(6))
    assert kept.parts["EEG"][1] == pytest.approx(stamps)
    assert (np.diff(kept.due["EEG"]) >= 0).all()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("los=0.1", r"found the fault 'los=0.1', expected one of jitter=MS.*did you mean 'loss'"),
        ("loss", "expected one of jitter=MS"),
        ("loss=2", "found SHARE = 2 in the fault 'loss=2', expected a number from 0 to 1"),
        ("loss=nan", "found SHARE = nan"),
        ("stall=1", "expected stall=AT,FOR in numbers"),
        ("jitter=fast", "expected jitter=MS in numbers"),
    ],
)
def test_a_wrong_fault_is_one_sentence(text, message):
    with pytest.raises(CallError, match=message):
        parse_fault(text)


def test_a_fault_for_no_stream_names_the_nearest(tmp_path, rng, typed):
    create_recording(tmp_path / "s.zarr", {"EEG": eeg_stream(rng.standard_normal((50, 2)))})
    done = typed("replay", tmp_path / "s.zarr", "--fault", "loss=0.1@EGG")
    assert done.returncode == 2 and "stream 'EGG', expected one of EEG" in done.stderr
    assert "did you mean 'EEG'" in done.stderr


@pytest.mark.lsl
def test_planted_gaps_losses_and_nan_are_what_the_recording_counts(tmp_path, rng):
    signal = rng.standard_normal((int(6 * SFREQ), 2))
    source = create_recording(tmp_path / "source", {"EEG": eeg_stream(signal)})
    faults = [parse_fault(t) for t in ("loss=0.05", "nan=1,0.02", "stall=1,1")]
    blocks, described = blocks_of(source)
    sent, _ = joined(list(faulty_blocks(blocks, faults, described, seed=7)), "EEG")
    summary = record_replay(source, tmp_path / "r", faults=faults, seed=7)
    quality, recorded = summary.quality["EEG"], summary.recording["EEG"]
    assert np.array_equal(recorded["signal"].values, sent, equal_nan=True)
    assert quality["n_missing_values"] == np.isnan(sent).sum() > 0
    assert quality["n_expected"] - quality["n_samples"] == pytest.approx(1500 - len(sent), abs=2)
    told = stated_faults(recorded.attrs["xml"])
    assert told[0].split(" (")[0] == "a share of 0.05 of the samples is lost"
    assert len(told) == 3 and all("seed 7" in t for t in told)


@pytest.mark.lsl
def test_a_stream_that_goes_and_comes_back_leaves_one_gap_of_that_length(tmp_path, rng):
    streams = {
        "EEG": eeg_stream(rng.standard_normal((2500, 2))),
        "Pulse": eeg_stream(rng.standard_normal((2500, 1)), name="Pulse", source_id="p"),
    }
    source = create_recording(tmp_path / "source", streams)
    summary = record_replay(
        source, tmp_path / "r", faults=[parse_fault("stream-loss=3,2@EEG")], idle_seconds=4
    )
    (gap,) = summary.quality["EEG"]["gaps"]
    # Finding the stream again costs what liblsl needs for it; nothing sent meanwhile is seen.
    assert 2.0 <= gap["duration_seconds"] < 7.0
    assert summary.quality["EEG"]["n_samples"] <= 2000
    assert not summary.quality["Pulse"]["gaps"] and summary.quality["Pulse"]["n_samples"] == 2500


@pytest.mark.lsl
def test_a_clock_reset_and_a_wrong_rate_are_told(tmp_path, rng):
    source = create_recording(
        tmp_path / "source", {"EEG": eeg_stream(rng.standard_normal((1000, 2)))}
    )
    faults = [parse_fault("clock-reset=2,0.8"), parse_fault("rate=1.5")]
    summary = record_replay(source, tmp_path / "r", faults=faults)
    recorded = summary.recording["EEG"]
    assert np.array_equal(recorded["signal"].values, source["EEG"]["signal"].values)
    assert np.diff(recorded["raw_time"].values).max() == pytest.approx(0.804, abs=1e-4)
    assert recorded.attrs["sfreq"] == 375
    assert any("expected the nominal 375 Hz" in p for p in summary.problems)


@pytest.mark.lsl
def test_replay_keeps_what_the_first_header_said(tmp_path, rng):
    xml = (
        "<info><desc><manufacturer>Acme</manufacturer><cap><name>Easy</name></cap><channels>"
        "<channel><label>old</label><eye>left</eye></channel></channels></desc></info>"
    )
    stream = eeg_stream(rng.standard_normal((500, 1)), xml=xml)
    source = create_recording(tmp_path / "source", {"EEG": stream})
    got = record_replay(source, tmp_path / "r").recording["EEG"].attrs["xml"]
    for text in ("<manufacturer>Acme<", "<name>Easy<", "<eye>left<", "<label>E0<"):
        assert text in got
    assert "<label>old<" not in got and got.count("<manufacturer>") == 1


@pytest.mark.lsl
def test_the_command_announces_every_fault(tmp_path, rng, physioemo):
    create_recording(tmp_path / "s.zarr", {"EEG": eeg_stream(rng.standard_normal((50, 2)))})
    run = partial(physioemo, check=0)
    shown = run("replay", tmp_path / "s.zarr", "--fault", "jitter=2", "--fault", "loss=0.5").stdout
    assert "FAULT EEG: stamps jitter by 2 ms (SD) (seed 0)" in shown
    assert "FAULT EEG: a share of 0.5 of the samples is lost (seed 0)" in shown
    shown = run("simulate", "--duration", "1", "--fault", "drift=50@eeg").stdout
    assert shown.count("FAULT") == 1 and "the clock runs +50 ppm fast" in shown
