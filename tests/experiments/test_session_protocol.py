"""Session protocols: planned to the second before they start, refused with the line."""

import json
import re
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.acquisition.player.continuous import ContinuousRating
from physioemo.acquisition.player.playlist import parse_playlist
from physioemo.errors import CallError
from physioemo.experiments.session.continuous import continuous_streams
from physioemo.experiments.session.declaration import (
    RATED,
    Ratings,
    quadrant_of,
    rating_items,
)
from physioemo.experiments.session.draws import Draws
from physioemo.experiments.session.folder import SessionFolder
from physioemo.experiments.session.orders import shuffled_order, williams_design
from physioemo.experiments.session.plan import PlannedStep
from physioemo.experiments.session.policies import PolicyState
from physioemo.experiments.session.protocol import TEMPLATES, new_protocol, read_protocol
from physioemo.experiments.session.protocol_toml import parse_protocol
from physioemo.experiments.session.timeline import clock, timeline
from physioemo.experiments.session.toml_lines import TomlLines

TEXT = """\
title = "Test"
participants = 6
sessions = ["a", "b"]
seed = 3

[baseline]
eyes_open_seconds = 20

[practice]
n_trials = 1

[ratings]
dimensions = ["valence", "arousal"]

[[arm]]
policy = "steer"
target_arousal = 0.5

[[arm]]
name = "control"
policy = "random"

[distress]
n_consecutive = 4

[[block]]
name = "first"
order = "shuffled"
max_same_quadrant = 1
break_seconds = 10

[[block]]
name = "second"
order = "adaptive"
n_trials = 5
pause_seconds = 1
"""
POINTS = {"thrill": (0.5, 0.8), "alarm": (-0.5, 0.6), "calm": (0.5, -0.6), "gloom": (-0.5, -0.4)}
for _name, (_v, _a) in POINTS.items():
    TEXT += f"""
[[stimulus]]
id = "{_name}"
kind = "text"
text = "{_name}"
seconds = 5
valence = {_v}
arousal = {_a}
"""


def changed(old, new, text=TEXT):
    assert old in text
    return parse_protocol(text.replace(old, new, 1), where="test.toml")


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


@pytest.mark.parametrize("n", range(2, 13))
def test_williams_designs_balance_places_and_neighbours(n):
    rows = williams_design(n)
    times = len(rows) // n
    assert len(rows) == (n if n % 2 == 0 else 2 * n)
    for place in range(n):
        assert Counter(row[place] for row in rows) == dict.fromkeys(range(n), times)
    neighbours = Counter(pair for row in rows for pair in pairwise(row))
    assert neighbours == {(a, b): times for a in range(n) for b in range(n) if a != b}


def test_counterbalanced_blocks_are_balanced_over_participants():
    balanced = changed('order = "shuffled"\nmax_same_quadrant = 1', 'order = "counterbalanced"')
    rows = [
        [s.stimulus for s in balanced.plan(p, "a") if s.block == "first" and s.trial]
        for p in balanced.participants[:4]
    ]
    assert [sorted(column) for column in zip(*rows, strict=True)] == [sorted(POINTS)] * 4


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    n_trials=st.integers(1, 40),
    limit=st.integers(1, 3),
    seed=st.integers(0, 999),
)
def test_shuffled_orders_keep_their_limits(sizes, n_trials, limit, seed):
    groups = {f"{g}-{i}": str(g) for g, n in enumerate(sizes) for i in range(n)}
    try:
        order = shuffled_order(groups, n_trials, Draws(seed, "x"), max_in_row=limit)
    except CallError:
        biggest = max(sizes)  # too many of one quadrant for the others to part
        assert biggest > limit * (sum(sizes) - biggest)
        return
    counts = Counter(order)
    assert len(order) == n_trials
    assert max(counts.values()) - min(counts.get(s, 0) for s in groups) <= 1
    assert all(a != b for a, b in pairwise(order))
    quadrants = "".join(groups[s] for s in order)
    assert not re.search(rf"(.)\1{{{limit}}}", quadrants)


def test_shuffled_orders_are_even_where_nothing_limits_them():
    groups = dict.fromkeys("abc", "q")
    orders = Counter(
        "".join(shuffled_order(groups, 3, Draws(seed, "x"), may_repeat=True))
        for seed in range(3000)
    )
    chi2 = sum((orders[o] - 500) ** 2 / 500 for o in orders)
    assert len(orders) == 6
    assert chi2 < 20.5  # p = 0.001 with 5 degrees of freedom


def test_quadrants():
    assert quadrant_of(0.5, -0.5) == "HVLA"
    assert quadrant_of(-0.1, 0.1) == "neutral"
    assert changed("arousal = 0.8", 'arousal = 0.1\nquadrant = "neutral"').stimuli[0].quadrant == (
        "neutral"
    )


WRONG = [
    ("seed = 3", "sed = 3", "unknown field 'sed' in the top section (line 4 ", "mean 'seed'"),
    ("seed = 3", "seed = -1", "found seed = -1 in the top section (line 4 ", "whole number from 0"),
    ("participants = 6", "participants = 0", "participants = 0", "(line 2 of test.toml)"),
    ("participants = 6\n", "", "no 'participants'", "expected their number"),
    ('["a", "b"]', '["a", "a"]', "sessions = ['a', 'a']", "(line 3 "),
    ("[baseline]", "[basline]", "unknown field 'basline'", "(line 6 of test.toml)"),
    ("eyes_open_seconds = 20", "eyes_open = 20", "'eyes_open'", "mean 'eyes_open_seconds'"),
    ('["valence", "arousal"]', '["valence", "arousl"]', "(line 13 ", "did you mean 'arousal'"),
    ('policy = "steer"', 'policy = "stear"', "(line 16 ", "did you mean 'steer'"),
    ('policy = "steer"\n', "", "found no 'policy' in arm 1 (line 15 ", "expected one of steer"),
    ("target_arousal", "target_arosal", "'target_arosal' in arm 1 (line 17 ", "'target_arousal'"),
    ("target_arousal = 0.5", "target_arousal = 5", "arm 1 (line 17 ", "number from -1 to 1"),
    ("target_arousal = 0.5\n", "", "found no target in arm 1 (line 15 ", "target_valence or"),
    ('name = "control"', 'name = "steer"', "the arm 'steer' again in arm 2 (line 20 ", "once"),
    ("n_consecutive = 4", "n_consecutive = 0", "[distress] (line 24 ", "from 1 to 1000"),
    ('order = "shuffled"', 'order = "shufled"', "(line 28 ", "did you mean 'shuffled'"),
    ('name = "second"', 'name = "first"', "'first' again in block 2 (line 33 ", "each once"),
    ('name = "second"', 'pool = "mian"', "pool 'mian' in block 2 (line 33 ", "mean 'main'"),
    ('name = "second"', 'stimuli = ["clam"]', "'clam' in block 2 (line 33 ", "mean 'calm'"),
    ('name = "second"', 'stimuli = ["calm"]', "one stimulus for the adaptive block 2", "two"),
    ("n_trials = 5\n", "", "no 'n_trials' in the adaptive block 2 (line 32 ", "a number"),
    ('order = "adaptive"', 'order = "counterbalanced"', "n_trials = 5 of 4", "(line 35 "),
    ("pause_seconds = 1", "feedback = true", "'steer' for block 2 (line 36 ", "hold-in-zone"),
    ('kind = "text"', 'kind = "txt"', "'txt' in stimulus 1 (line 40 ", "mean 'text'"),
    ('kind = "text"', 'kind = "fixation"', "'fixation' in stimulus 1 (line 40 ", "video, image"),
    ('text = "thrill"', 'txt = "thrill"', "'txt' in stimulus 1 (line 41 ", "mean 'text'"),
    ("seconds = 5\n", "", "no 'seconds' in stimulus 1 (line 38 ", "how long it is shown"),
    ("seconds = 5", "seconds = 0", "seconds = 0", "above 0 (line 42 "),
    ("valence = 0.5", "valence = 1.5", "stimulus 1 (line 43 ", "a number from -1 to 1"),
    ("arousal = 0.8", 'arousal = 0.8\nquadrant = "LVHA"', "(line 45 ", "expected 'HVHA'"),
    ("arousal = 0.8\n", "", "found no 'arousal' in stimulus 1 (line 38 ", "number from -1"),
    ('id = "alarm"', 'id = "thrill"', "'thrill' again in stimulus 2 (line 47 ", "once"),
    ("[[block]]", "[block]", "no valid TOML in test.toml", "correct that line"),
    ("seed = 3", "seed = 3 4", "no valid TOML in test.toml", "line 4"),
    ("seed = 3", "block = 3", "no valid TOML in test.toml", "correct that line"),
    ("[distress]", "[calibration]\nafter_trials = 9\n[distress]", "of 9 rated trials", "(line 24 "),
    ("n_consecutive = 4", "rated_arousal_at_least = 10", "(line 24 ", "from 1 to 9"),
    ("[practice]", '[practice]\npool = "min"', "'min' in [practice] (line 10 ", "mean 'main'"),
]


@pytest.mark.parametrize(("old", "new", "found", "expected"), WRONG)
def test_every_wrong_field_is_named_with_its_line_and_what_was_expected(old, new, found, expected):
    with pytest.raises(CallError) as error:
        changed(old, new)
    assert found in str(error.value)
    assert expected in str(error.value)
    assert "test.toml" in str(error.value)


def test_no_wild_value_anywhere_is_more_than_a_sentence():
    wild = ["true", "-1", "0", "1e9", "nan", "inf", '""', '"x"', "[]", "[1]", '["x", "x"]', "{a=1}"]
    wild += ["1979-05-27", "[[]]"]
    lines, refused = TEXT.splitlines(), 0
    for number, line in enumerate(lines):
        for value in wild if "=" in line else ["[x]", "[[x]]", "x = 1"] if "[" in line else []:
            changed_line = f"{line.split('=')[0]}= {value}" if "=" in line else value
            text = "\n".join([*lines[:number], changed_line, *lines[number + 1 :]])
            try:
                parse_protocol(text, where="test.toml")
            except CallError as error:
                refused += 1
                assert "test.toml" in str(error), text
    assert refused > 300


def test_an_order_that_cannot_be_is_known_before_the_first_session():
    text = TEXT.replace("max_same_quadrant = 1", 'max_same_quadrant = 1\nstimuli = ["calm", "c2"]')
    extra = TEXT[TEXT.index('[[stimulus]]\nid = "calm"') : TEXT.index('[[stimulus]]\nid = "gloom"')]
    with pytest.raises(CallError, match=r"block 1: found no order of 2 stimuli.*\(line 29 "):
        parse_protocol(text + extra.replace('id = "calm"', 'id = "c2"'), where="test.toml")


def test_policies_that_nobody_asks_and_blocks_without_a_policy_are_refused():
    with pytest.raises(CallError, match=r"'steer' \(line 16 .*no block that asks it"):
        changed('order = "adaptive"', 'order = "fixed"')
    start, end = TEXT.index("[[arm]]"), TEXT.index("[distress]")
    with pytest.raises(CallError, match=r"no \[\[arm\]\] for block 2.*expected one of steer"):
        parse_protocol(TEXT[:start] + TEXT[end:])


def test_rules_about_ratings_need_those_ratings():
    with pytest.raises(CallError, match="expected arousal among the ratings"):
        text = TEXT.replace("n_consecutive = 4", "rated_arousal_at_least = 9")
        changed('["valence", "arousal"]', '["valence"]', text)
    with pytest.raises(CallError, match=r"evidence from ratings \(line 18 .*expected arousal"):
        text = TEXT.replace("target_arousal = 0.5", 'target_arousal = 0.5\nevidence = "both"')
        changed('["valence", "arousal"]', '["valence"]', text)


def test_files_are_opened_before_anything_starts(tmp_path):
    text = TEXT.replace('kind = "text"\ntext = "thrill"', 'kind = "image"\nfile = "no.png"', 1)
    path = tmp_path / "p.toml"
    path.write_text(text)
    with pytest.raises(CallError, match=r"stimulus 1: found no file .*no\.png.*\(line 41 of .*p\."):
        read_protocol(path)
    with pytest.raises(CallError, match=r"found no file .*q\.toml.*did you mean 'p\.toml'"):
        read_protocol(tmp_path / "q.toml")


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


def test_lines_are_found_past_texts_of_several_lines_and_comments():
    text = (
        'a = """\n[x]\nb = 1\n"""\n# b = 2\nb = 3\n[[ "x" ]] # c\nb = 4\n[x.y]\nb = 5\n[[x]]\nb=6\n'
    )
    lines = TomlLines(text, "f")
    assert lines.place("", "b") == " (line 6 of f)"
    assert lines.place("x", "b") == " (line 8 of f)"
    assert lines.place("x.y", "b") == " (line 10 of f)"
    assert lines.place("x", "b", 2) == " (line 12 of f)"
    assert lines.place("x", "none", 2) == " (line 11 of f)"
    assert lines.place("z") == " (in f)"


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
        assert parse_playlist(path.read_text("utf-8")).continuous == rating


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ('continuous = ["valance"]', r"\(line 14 of.*familiarity; did you mean 'valence'"),
        (
            'continuous = ["valence", "arousal", "dominance"]',
            r"found 3 dimensions .*line 14.*or two",
        ),
        ('continuous = "arousal"\ncontinuous_device = "joystik"', r"line 15.*mean 'joystick'"),
        ('continuous = "arousal"\ncontinuous_axes = "vertical"', r"line 15.*'continuous_axis'"),
        ('continuous = "arousal"\ncontinuous_sfreq = 0.5', r"line 15.*a number from 1 to 100"),
        ('continuous = "arousal"\ncontinuous_maximum = 1', r"from 1 to 1 .*line 15.*to rise"),
        ('continuous_device = "mouse"', r"'continuous_device' without 'continuous' .*line 14"),
        (
            'continuous = ["valence", "arousal"]\ncontinuous_axis = "vertical"',
            r"line 15.*valence is horizontal and arousal vertical",
        ),
        ('continuous_stream = "PhysioEmo-Continuous"', r"line 14.*another program's stream"),
    ],
)
def test_a_wrong_continuous_rating_is_named_with_its_line(lines, match):
    asked = 'dimensions = ["valence", "arousal"]\n'
    with pytest.raises(CallError, match=match):
        changed(asked, f"{asked}{lines}\n")
