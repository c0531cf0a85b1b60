"""Session protocols: planned to the second before they start."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from physioemo.acquisition.player.continuous import ContinuousRating
from physioemo.acquisition.player.playlist import parse_playlist
from physioemo.errors import CallError
from physioemo.experiments.session.continuous import continuous_streams
from physioemo.experiments.session.declaration import RATED, Ratings, quadrant_of, rating_items
from physioemo.experiments.session.folder import SessionFolder
from physioemo.experiments.session.plan import PlannedStep
from physioemo.experiments.session.policies import PolicyState
from physioemo.experiments.session.protocol import TEMPLATES, new_protocol, read_protocol
from physioemo.experiments.session.protocol_toml import parse_protocol
from physioemo.experiments.session.timeline import clock, timeline
from tests.experiments.made_protocols import POINTS, TEXT, changed


@pytest.fixture(scope="module")
def protocol():
    return parse_protocol(TEXT, where="test.toml")


def test_a_plan_is_the_same_whenever_it_is_asked_for(protocol):
    again = parse_protocol(TEXT)
    for participant in protocol.participants:
        assert again.plan(participant, "a") == protocol.plan(participant, "a")
    assert again.fingerprint == protocol.fingerprint
    assert changed("seed = 3", "seed = 4").fingerprint != protocol.fingerprint
    orders = {tuple(s.stimulus for s in protocol.plan(p, "a")) for p in protocol.participants}
    assert len(orders) > 1


def test_steps_follow_the_declaration(protocol):
    steps = protocol.plan("02", "b")
    kinds = [s.kind for s in steps]
    assert kinds == ["baseline", "practice", *["trial"] * 4, "break", *["trial"] * 5]
    assert [s.index for s in steps] == list(range(1, 13))
    assert [s.trial for s in steps if s.trial] == list(range(1, 11))
    first, chosen = steps[2], steps[-1]
    assert first.item == {**protocol.item(first.stimulus, 2)}
    assert (first.item["trial"], first.item["stimulus"]) == (2, first.stimulus)
    assert (chosen.item, chosen.stimulus, set(chosen.candidates)) == (None, "", set(POINTS))
    assert chosen.ratings[0]["trial"] == 10


def test_durations_add_up(protocol):
    steps = protocol.plan("01", "a")
    assert steps[0].duration_seconds == 20 + 8
    assert steps[2].duration_seconds == 2 + 5 + 2 * 4
    assert steps[-1].duration_seconds == 2 + 5 + 2 * 4 + 1
    total = 28 + 5 * 15 + 10 + 5 * 16
    assert sum(s.duration_seconds for s in steps) == total
    shown = timeline(protocol, "01", "a")
    assert f"about {clock(total)} in all: 9 trials (5 chosen by the policy)" in shown
    assert len(shown.splitlines()) == 2 + len(steps) + 2 + 2
    assert clock(3725) == "1:02:05"


def test_every_planned_item_is_one_that_the_player_takes(protocol):
    rated = replace(protocol, ratings=Ratings(RATED, timeout_seconds=9.0))
    lines = []
    for step in rated.plan("01", "a"):
        item = step.item or rated.item("calm", step.trial)
        for each in (*step.before, item, *step.after, *step.ratings):
            fields = "\n".join(f"{k} = {json.dumps(v)}" for k, v in each.items())
            lines.append(f"[[item]]\n{fields}\n")
    played = parse_playlist("\n".join(lines))
    asked = [d for item in played.items for d in item.rated]
    assert set(asked) == set(RATED)


def test_sliders_have_no_steps_and_manikins_only_for_their_three():
    with_manikin = rating_items(Ratings(RATED), 7)
    assert [i["kind"] for i in with_manikin] == ["sam", "slider", "slider"]
    assert {i["step"] for i in with_manikin[1:]} == {1.0}
    sliders = rating_items(Ratings(("arousal", "liking"), "slider", 5.0), 7)
    assert [(i["kind"], i["step"], i["timeout_seconds"]) for i in sliders] == [
        ("slider", 0.0, 5.0)
    ] * 2


def test_steps_come_back_from_json(protocol):
    for step in protocol.plan("03", "a"):
        told = json.loads(json.dumps(step.to_dict()))
        assert PlannedStep.from_dict(told) == step


def test_arms_are_balanced_over_participants_and_do_not_change_with_the_session(protocol):
    arms = [protocol.arm(p, "a").name for p in protocol.participants]
    assert [set(arms[i : i + 2]) for i in (0, 2, 4)] == [{"steer", "control"}] * 3
    assert arms == [protocol.arm(p, "b").name for p in protocol.participants]


def test_arms_that_vary_by_session_are_crossed_over():
    crossed = changed("[distress]", '[loop]\nvary = "session"\n\n[distress]')
    pairs = [tuple(crossed.arm(p, s).name for s in "ab") for p in crossed.participants]
    assert Counter(pairs) == {("steer", "control"): 3, ("control", "steer"): 3}


def test_a_blinded_timeline_hides_the_arm():
    hidden = changed("[distress]", "[loop]\nblinded = true\n\n[distress]")
    assert "arm: hidden" in timeline(hidden, "01", "a")
    assert "steer" not in timeline(hidden, "01", "a")


def test_the_policy_of_a_session_starts_with_its_own_seed(protocol):
    states = [protocol.start_policy(p, "a") for p in protocol.participants]
    assert len({s.seed for s in states}) == len(states)
    assert states[0] == protocol.start_policy("01", "a")
    assert states[0].distress["n_consecutive"] == 4
    told = json.loads(json.dumps(states[0].to_dict()))
    assert PolicyState.from_dict(told).to_dict() == states[0].to_dict()


def test_a_sham_needs_the_recorded_decisions_of_another_session(tmp_path):
    text = TEXT.replace('policy = "random"', 'policy = "sham"\ndecisions = "{participant}.json"')
    sham = parse_protocol(text, folder=tmp_path)
    participant = next(p for p in sham.participants if sham.arm(p, "a").policy == "sham")
    with pytest.raises(CallError, match=rf"{participant}\.json.*record that session first"):
        sham.start_policy(participant, "a")
    row = {"trial": 7, "trial_seconds": 0.0, "action": "play", "stimulus": "calm", "value": None}
    content = {"format": "physioemo-decisions", "participant": "99", "session": "a"}
    path = tmp_path / f"{participant}.json"
    path.write_text(json.dumps({**content, "decisions": [row]}))
    assert sham.start_policy(participant, "a").yoked == (row,)


def test_quadrants():
    assert quadrant_of(0.5, -0.5) == "HVLA"
    assert quadrant_of(-0.1, 0.1) == "neutral"
    assert changed("arousal = 0.8", 'arousal = 0.1\nquadrant = "neutral"').stimuli[0].quadrant == (
        "neutral"
    )


def test_unknown_people_and_sessions_are_refused(protocol):
    with pytest.raises(CallError, match=r"the participant '2'.*01, 02.*did you mean '02'"):
        protocol.plan("2", "a")
    with pytest.raises(CallError, match="the session 'c', expected one of the protocol's: a, b"):
        protocol.arm("01", "c")
    with pytest.raises(CallError, match="the stimulus 'clam'.*did you mean 'calm'"):
        protocol.item("clam", 1)


def test_our_own_protocol_runs_as_it_is_and_a_copy_is_the_same(tmp_path):
    ours = read_protocol("steer-arousal")
    new_protocol(tmp_path / "mine.toml")
    assert read_protocol(tmp_path / "mine.toml").fingerprint == ours.fingerprint
    assert {a.policy for a in ours.arms} == {"steer", "random"}
    seconds = sum(s.duration_seconds for s in ours.plan("01", "1"))
    assert 600 < seconds < 1800
    with pytest.raises(CallError, match=r"mine\.toml exists"):
        new_protocol(tmp_path / "mine.toml")
    with pytest.raises(CallError, match="the template 'video'.*did you mean 'videos'"):
        new_protocol(tmp_path / "other.toml", template="video")


def test_the_template_for_videos_lacks_nothing_but_its_files(tmp_path):
    new_protocol(tmp_path / "v.toml", template="videos")
    assert sorted(TEMPLATES) == ["steer-arousal", "videos"]
    text = (tmp_path / "v.toml").read_text()
    text = re.sub(r'kind = "video"\nfile = .*\n(start_seconds.*\n)?stop_', 'kind = "X"\n', text)
    text = text.replace('kind = "X"\nseconds', 'kind = "text"\ntext = "clip"\nseconds')
    found = parse_protocol(text)
    assert found.loop.blinded
    assert len(found.plan("01", "first")) == 2 + 4 + 1 + 8


def test_the_protocol_in_the_documentation_is_valid():
    page = (Path(__file__).parents[2] / "docs" / "session.md").read_text("utf-8")
    shown = parse_protocol(page.split("```toml\n")[1].split("```")[0])
    assert len(shown.plan("01", "1")) == 2 + 2 + 2 + 1 + 24 + 1


def test_a_continuous_rating_is_declared_and_told():
    asked = 'dimensions = ["valence", "arousal"]\ncontinuous = ["valence", "arousal"]\n'
    one = asked.replace('["valence", "arousal"]\n', "'arousal'\n")
    plane = changed('dimensions = ["valence", "arousal"]\n', asked)
    assert plane.ratings.continuous == ContinuousRating(("valence", "arousal"))
    assert plane.ratings.continuous.axes == ("horizontal", "vertical")
    text = timeline(plane, "01", "a")
    assert "rated while each trial runs: valence and arousal with the mouse, 1 to 9, 20 Hz" in text
    assert plane.fingerprint != parse_protocol(TEXT).fingerprint
    assert "continuous" not in parse_protocol(TEXT).to_dict()["ratings"]
    more = 'continuous_axis = "horizontal"\ncontinuous_minimum = -1\ncontinuous_maximum = 1\n'
    more += 'continuous_device = "joystick"\ncontinuous_sfreq = 30\ncontinuous_gauge = false\n'
    rating = changed('dimensions = ["valence", "arousal"]\n', one + more).ratings.continuous
    assert rating == ContinuousRating(("arousal",), "joystick", "horizontal", -1, 1, 30, False)
    foreign = changed('dimensions = ["valence", "arousal"]\n', 'continuous_stream = "Stick"\n')
    assert foreign.ratings.continuous is None
    assert continuous_streams(foreign.ratings) == ("name='Stick'",)
    assert "the stream 'Stick' of a continuous rating has to be" in timeline(foreign, "01", "a")
    (ours,) = continuous_streams(plane.ratings)
    assert ours.startswith("name='PhysioEmo-Continuous' and hostname=")


def test_a_players_playlist_says_what_the_protocol_declares(tmp_path):
    for rating in (
        ContinuousRating(("valence", "arousal"), "joystick", minimum=-1, maximum=1),
        ContinuousRating(("arousal",), "mouse", "horizontal", sfreq=25, gauge=False),
    ):
        items = ({"kind": "text", "text": "-", "seconds": 1.0, "trial": 1},)
        path = SessionFolder(tmp_path).write_player(items, rating)
        playlist = parse_playlist(path.read_text("utf-8"))
        assert playlist.continuous == rating and playlist.display.sound
    # Texts and pictures alone need no sound device.
    silent = SessionFolder(tmp_path).write_player(items, rating, sounds=False)
    assert not parse_playlist(silent.read_text("utf-8")).display.sound
