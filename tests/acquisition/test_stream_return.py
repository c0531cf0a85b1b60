"""A stream that comes back under another connection is found again, whatever liblsl makes of it."""

import secrets
import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from physioemo.acquisition import recorder_threads
from physioemo.acquisition.lsl import describe, find_streams, open_inlet, pull
from physioemo.acquisition.recorder import record
from physioemo.acquisition.recorder_threads import StreamTap
from physioemo.acquisition.status import ReturnNotices
from physioemo.acquisition.stream_return import ReturnWatch, find_return, find_same_return
from tests.lsl import producing
from tests.lsl import wait_until as _until
from tests.streams import eeg_description

pytestmark = pytest.mark.lsl


def _counting(index):
    return np.tile(index[:, None], 4).astype(np.float32)


def test_it_is_looked_for_rarely_and_ever_more_rarely():
    watch = ReturnWatch(eeg_description())
    looks = [age for age in np.arange(0, 60, 0.1) if watch.is_due(age)]
    assert looks[0] == pytest.approx(1.5, abs=0.11)
    assert np.diff(looks)[0] == pytest.approx(1.5, abs=0.11)
    assert np.diff(looks)[-1] == pytest.approx(10, abs=0.11)
    assert not watch.is_due(0.1)
    assert watch.is_due(1.6)  # silent again: soon again


def test_an_irregular_stream_may_be_silent_for_longer():
    watch = ReturnWatch(eeg_description(sfreq=0.0, stype="Events"))
    assert not watch.is_due(3.0)
    assert watch.is_due(5.1)


def test_the_same_connection_is_no_return_and_another_one_is_opened():
    description = eeg_description(source_id="return-test")
    with producing(description, _counting):
        _, full = open_inlet(find_streams(["source_id='return-test'"], timeout_seconds=30)[0])
        known = {full.uid()}
        assert find_return(description, known) is None
    with producing(description, _counting):
        inlet, header = _until(lambda: find_return(description, known))
        assert header.get_channel_labels() == list(description.ch_names)
        assert len(known) == 2
        assert len(pull(inlet, timeout_seconds=30.0)[1])
        inlet.close_stream()


def test_a_decoder_takes_the_stream_that_came_back_as_it_was_and_no_other():
    described = eeg_description(source_id="decoder-return")
    with producing(described, _counting):
        info = find_streams(["source_id='decoder-return'"], timeout_seconds=30)[0]
        inlet, full = open_inlet(info, recover=False)
        was, known = describe(full), {full.uid()}
        inlet.close_stream()
    with producing(replace(described, sfreq=500.0), _counting):
        _until(lambda: find_same_return(was, known) is not None or len(known) == 2)
        assert len(known) == 2  # seen, and left alone
    with producing(described, _counting):
        found = _until(lambda: find_same_return(was, known))
        assert len(known) == 3 and len(pull(found, timeout_seconds=30.0)[1])
        found.close_stream()


def test_without_a_source_id_nothing_is_taken_for_the_same():
    assert find_return(eeg_description(source_id=""), set()) is None


def test_a_program_that_comes_back_again_and_again_is_recorded_each_time(tmp_path):
    lives, summaries, told = 4, [], []
    # liblsl itself finds a stream again wherever it is: not that of another run of this test.
    description = eeg_description(source_id=secrets.token_hex(4))
    on_status = ReturnNotices(told.append, lambda statuses: summaries.append(statuses[0].n_samples))

    recorder = threading.Thread(
        target=lambda: summaries.append(
            record(
                tmp_path / "r", stop_when_idle_seconds=8.0, find_seconds=3.0, on_status=on_status
            )
        )
    )
    for life in range(lives):
        before = summaries[-1] if summaries else 0
        with producing(description, _counting):
            if not life:
                recorder.start()
            _until(lambda n=before: summaries and summaries[-1] > n + 250)
        time.sleep(0.5)
    recorder.join(180)
    recording = summaries[-1].recording
    assert len(recording["EEG"].attrs["reconnected_samples"]) == lives - 1
    restarts = np.diff(recording["EEG"]["signal"].values[:, 0]) < 0
    assert restarts.sum() == lives - 1
    assert any("went and came back 3 times" in p for p in summaries[-1].problems)
    assert told == ["EEG is recorded again"] * 3


def test_a_stream_that_fell_silent_before_the_others_is_told(tmp_path):
    done, statuses, stop = [], [], threading.Event()

    def run():
        told = {"on_status": statuses.extend, "should_stop": stop.is_set}
        done.append(record(tmp_path / "r", duration_seconds=120, **told))

    silent = eeg_description(name="Silent", source_id="silent")
    with producing(eeg_description(), _counting):
        with producing(silent, _counting):
            recorder = threading.Thread(target=run)
            recorder.start()
            _until(lambda: {s.name for s in statuses if s.n_samples} == {"EEG", "Silent"})
        time.sleep(4.0)
        stop.set()
        recorder.join()
    problems = " ".join(done[0].problems)
    assert "stream 'Silent': found no sample in the last" in problems
    assert "stream 'EEG': found no sample" not in problems


class Delivers:
    """Stands in for an inlet that has samples waiting."""

    def __init__(self, *stamps, was_reset=False):
        self.waiting = [np.array(s, float) for s in stamps]
        self.was_reset = was_reset

    def pull(self):
        stamps = self.waiting.pop(0) if self.waiting else np.zeros(0)
        return stamps[:, None].astype(np.float32), stamps

    def was_clock_reset(self):
        was, self.was_reset = self.was_reset, False
        return was

    def close_stream(self):
        pass


class Noted:
    """Stands in for the journal."""

    def __init__(self):
        self.stamps, self.events = [], []

    def append(self, kind, number, stamps):
        self.stamps += stamps.tolist()

    def append_json(self, kind, number, event):
        self.events.append(event["n_samples_before"])


def test_what_both_inlets_have_brought_is_recorded_once(monkeypatch):
    # While the network was asked, the old inlet came back by itself, and had its samples read much
    # later than the new one had begun to collect them too.
    old = Delivers([1, 2, 3])
    new = Delivers([12, 13], [14, 15, 16], [17])
    monkeypatch.setattr(recorder_threads, "pull", lambda inlet, timeout_seconds: inlet.pull())
    monkeypatch.setattr(recorder_threads, "find_return", lambda description, uids: (new, None))
    monkeypatch.setattr(recorder_threads, "encode_samples", lambda stamps, values, now: stamps)
    tap, journal = StreamTap(0, old, eeg_description(1, 1.0)), Noted()
    tap._watch.is_due = lambda age: True
    tap._pull(journal, timeout_seconds=0.0)
    old.waiting, old.was_reset = [np.array([10.0, 11.0]), np.array([12.0, 13.0, 14.0])], True
    tap._look_for_return(journal)
    while new.waiting:
        tap._pull(journal, timeout_seconds=0.0)
    assert journal.stamps == [1, 2, 3, 10, 11, 12, 13, 14, 15, 16, 17]
    assert journal.events == [3]


def test_a_new_inlet_that_brings_nothing_is_no_return(monkeypatch):
    monkeypatch.setattr(recorder_threads, "pull", lambda inlet, timeout_seconds: inlet.pull())
    monkeypatch.setattr(recorder_threads, "find_return", lambda description, uids: (new, None))
    monkeypatch.setattr(recorder_threads, "encode_samples", lambda stamps, values, now: stamps)
    new = Delivers()
    tap, journal = StreamTap(0, Delivers([1, 2]), eeg_description(1, 1.0)), Noted()
    tap._watch.is_due = lambda age: True
    tap._pull(journal, timeout_seconds=0.0)
    tap._look_for_return(journal)
    tap._pull(journal, timeout_seconds=0.0)
    assert not journal.events
    new.waiting = [np.array([7.0])]
    tap._pull(journal, timeout_seconds=0.0)
    assert journal.events == [2] and journal.stamps == [1, 2, 7]
