"""What is wrong in a protocol is refused with its line, and what was expected."""

import pytest

from physioemo.errors import CallError
from physioemo.experiments.session.protocol import read_protocol
from physioemo.experiments.session.protocol_toml import parse_protocol
from tests.experiments.made_protocols import TEXT, changed

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
    ("seed = 3", "seed = 3 # x\nvary = False", "'vary = False', expected true or", "small letters"),
    ("valence = 0.5", "valence = 0,5", "'valence = 0,5', expected a point", "such as 0.5"),
    ("seconds = 5", "seconds = 5 s", "'seconds = 5 s', expected a number", "without its unit"),
    ('id = "thrill"', "id = thrill", "'id = thrill', expected a text in", "quotes"),
    ('["a", "b"]', '["a" "b"]', "expected a comma between", "correct that line"),
    ("seed = 3", "seed =", "'seed =', expected a value behind =", "line 4"),
    ("[[arm]]\nname", "[arm]\nname", "'[arm]', expected a section once, or", "[[item]]"),
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
