import json

import numpy as np
import pytest

from physioemo.experiments.page.health import StreamHealth
from physioemo.experiments.page.hub import quality_lines
from physioemo.experiments.page.story import Story, read_marker, tell
from physioemo.experiments.session.messages import OPERATOR, SESSION
from tests.streams import eeg_description


def told(*rows, stream=SESSION, blinded=False):
    story = Story()
    for seconds, content in rows:
        text = json.dumps(content)
        story = tell(story, read_marker(stream, text, seconds, blinded=blinded))
    return story


START = {
    "event": "session_start",
    "protocol": "steer",
    "participant": "07",
    "session": "2",
    "n_trials": 12,
    "arm": "sham",
}
DECISION = {
    "event": "decision",
    "trial": 3,
    "policy": "yoked",
    "inputs": {"valence": 0.4},
    "action": {"action": "play", "stimulus": "clip-9", "reason": "as in session 4"},
}


def phase(name, trial=None, seconds=60.0, **others):
    return {"event": "phase", "phase": name, "trial": trial, "of": 12, "seconds": seconds, **others}


def test_a_session_is_told_by_its_conductor():
    story = told(
        (10.0, START),
        (11.0, phase("baseline")),
        (71.0, phase("trial", 1, block="one", stimulus="clip-3")),
        (131.0, phase("rating", 1)),
    )
    assert (story.phase, story.trial, story.n_trials) == ("rating", 1, 12)
    assert (story.protocol, story.participant, story.arm) == ("steer", "07", "sham")
    assert [(s.phase, s.label, s.start_seconds, s.stop_seconds) for s in story.segments] == [
        ("baseline", "", 11.0, 71.0),
        ("trial", "1", 71.0, 131.0),
        ("rating", "", 131.0, None),
    ]


def test_a_pause_says_what_it_interrupted_and_a_stop_says_why():
    rows = [(0.0, START), (1.0, phase("trial", 4)), (5.0, phase("paused"))]
    paused = told(*rows)
    assert (paused.phase, paused.paused_from, paused.trial) == ("paused", "trial", 4)
    stopped = told(*rows, (9.0, {"event": "session_stop", "reason": "aborted by the operator"}))
    assert (stopped.phase, stopped.reason) == ("stopped", "aborted by the operator")
    assert stopped.segments[-1].stop_seconds == 9.0


def test_what_the_operator_asked_for_is_told_until_the_next_phase():
    rows = [(0.0, START), (1.0, phase("trial", 4)), (5.0, {"event": "obeyed", "what": "pause"})]
    assert told(*rows).asked == "pause"
    assert told(*rows, (9.0, phase("paused"))).asked == ""


def test_after_a_pause_the_next_step_says_what_it_is():
    story = told((0.0, START), (1.0, phase("paused")), (5.0, phase("resumed")))
    assert (story.phase, story.paused_from, story.segments[-1].stop_seconds) == ("started", "", 5.0)


def test_trial_markers_tell_a_session_without_a_conductor():
    rows = [
        (2.0, {"event": "trial_start", "trial": 1, "stimulus": "a"}),
        (10.0, {"event": "trial_stop", "trial": 1}),
    ]
    story = told(*rows, stream="PhysioEmo-Player")
    assert (story.phase, story.trial, story.conducted) == ("between", 1, False)
    assert [(s.label, s.stop_seconds) for s in story.segments] == [("1", 10.0)]


def test_trial_markers_do_not_contradict_a_conductor():
    story = told((0.0, START), (1.0, phase("baseline")))
    text = json.dumps({"event": "trial_start", "trial": 9})
    assert tell(story, read_marker("PhysioEmo-Player", text, 2.0)) == story
    assert tell(story, read_marker(OPERATOR, '{"event": "pause"}', 2.0)) == story


def test_what_would_tell_the_arm_is_gone_from_a_blinded_page():
    open_, hidden = (told((0.0, START), (1.0, DECISION), blinded=b) for b in (False, True))
    assert (open_.arm, open_.decision["policy"]) == ("sham", "yoked")
    assert hidden.arm == ""
    assert hidden.decision == {
        "event": "decision",
        "trial": 3,
        "action": {"action": "play", "stimulus": "clip-9"},
    }
    event = read_marker(SESSION, json.dumps(DECISION), 1.0, blinded=True)
    assert not [word for word in ("yoked", "valence", "session 4") if word in event.text]


@pytest.mark.parametrize(
    ("text", "name", "said"),
    [
        (b"S 12", "marker", "S 12"),
        ("[1, 2]", "marker", "[1, 2]"),
        (b"\xff\xfe", "marker", "\ufffd\ufffd"),
        ('{"event": "problem", "text": "no eye tracker"}', "problem", "problem · no eye tracker"),
        ('{"event": "problem", "text": "a: b is back"}', "returned", "a: b is back"),
        ('{"event": "phase", "phase": "trial", "trial": 3}', "phase", "trial · trial 3"),
        (
            '{"event": "fit", "used": false, "by": 0.12345}',
            "fit",
            "fit · not used · by 0.123",
        ),
        ('{"event": "fit", "model_id": "0ab1", "seconds": 0}', "fit", "fit"),
        ('{"event": "trial_stop", "trial": 3}', "trial_stop", "trial stop · trial 3"),
    ],
)
def test_every_marker_has_a_sentence(text, name, said):
    event = read_marker("Any", text, 0.0)
    assert (event.name, event.text) == (name, said)


def test_problems_are_kept_for_the_alarm():
    story = told((0.0, START), (3.0, {"event": "problem", "text": "the decoder died"}))
    assert (story.problem, story.problem_seconds) == ("the decoder died", 3.0)


def test_what_is_back_is_no_alarm_any_more():
    def said(*texts):
        rows = enumerate({"event": "problem", "text": text} for text in texts)
        return told((0.0, START), *rows).problem

    silent = "decoder: Amp: the stream has been silent for 1.0 s"
    assert said(silent) == silent == said(silent, "decoder: Other came back")
    assert said(silent, "decoder: Amp is back") == said("decoder: Amp is back") == ""
    assert said("required stream 'eeg' (Amp) is lost: nothing for 2 s", "(Amp) is back") == ""
    assert said("the decoder died", "recorder: PhysioEmo-VAD is recorded again") != ""


def test_a_decoder_that_has_learnt_nothing_is_told_even_where_the_arm_is_not():
    assert told((0.0, {**START, "untrained": True}), blinded=True).untrained
    assert not told((0.0, START)).untrained


def test_lost_samples_and_gaps_are_counted_by_their_stamps():
    health = StreamHealth(eeg_description(sfreq=100.0))
    stamps = np.arange(300) / 100
    kept = np.delete(stamps, slice(100, 150))
    for part in np.array_split(kept, 10):
        health.count(part, float(part[-1]))
    row = health.row(3.0)
    assert (row.gaps, row.loss) == (1, pytest.approx(50 / 300))
    assert row.state == "slow"  # half a second of the last three is missing


@pytest.mark.parametrize(
    ("sfreq", "age", "state"),
    [(100.0, 1.4, "live"), (100.0, 1.6, "stalled"), (0.0, 60.0, "quiet"), (1.0, 2.5, "live")],
)
def test_a_stream_is_stalled_when_samples_are_late(sfreq, age, state):
    changes = {"stype": "Markers"} if sfreq == 0 else {}
    health = StreamHealth(eeg_description(sfreq=sfreq, **changes))
    health.count(np.arange(10) / (sfreq or 1), 10.0)
    assert health.state(10.0 + age) == state


def test_a_stream_that_never_came_is_waiting_and_one_that_failed_is_lost():
    health = StreamHealth(eeg_description())
    assert health.row(0.0).state == "waiting"
    health.failure = "its program has gone"
    assert (health.row(0.0).state, health.row(0.0).note) == ("lost", "its program has gone")


def test_quality_of_the_decoder_is_shown_without_a_line_per_electrode():
    description = eeg_description(
        stype="Quality",
        sfreq=0.0,
        ch_names=("newest_stamp", "usable", "Fp1", "Fp2", "Cz"),
        units=("s", "share", "0 or 1", "0 or 1", "0 or 1"),
    )
    lines = quality_lines(description, [1e5, 0.7, 1.0, 0.0, 1.0])
    assert [(line["name"], line["value"], line["unit"]) for line in lines] == [
        ("electrodes", 2, "of 3"),
    ]
