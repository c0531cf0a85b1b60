"""A protocol with a block of each kind, and the same with one line changed."""

from physioemo.experiments.session.protocol_toml import parse_protocol

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
    """Return the protocol with one text in it replaced."""
    assert old in text, old
    return parse_protocol(text.replace(old, new, 1), where="test.toml")
