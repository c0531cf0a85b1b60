"""Continuous ratings in a session's report and methods paragraph."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from physioemo.acquisition.player.continuous import ContinuousRating
from physioemo.acquisition.player.outlets import _describe_rating
from physioemo.description import StreamDescription
from physioemo.experiments.report.session import open_sessions
from physioemo.experiments.session.continuous import simulated_pointing
from physioemo.experiments.session.continuous_report import continuous_blocks
from physioemo.experiments.session.continuous_traces import read_traces
from physioemo.experiments.session.declaration import Ratings
from physioemo.experiments.session.methods import _continuous
from physioemo.store import create_recording
from physioemo.stream import make_stream
from physioemo.trials import make_trials

PLANE = ContinuousRating(("valence", "arousal"), minimum=-1.0)
TIME = 100 + np.arange(400) / 20


def traces(tmp_path, values, description=None):
    """Return what is read of 20 s with two trials of 4 s, at 2 s and at 10 s."""
    described = description or _describe_rating(PLANE, "joystick (Pad)")
    streams = {"rated": make_stream(values.astype(np.float32), described, time=TIME)}
    trials = make_trials([(1, 102.0, 4.0, "calm"), (2, 110.0, 4.0, "thrill")])
    recording = create_recording(tmp_path / "r", streams, trials=trials)
    return list(read_traces(open_sessions([recording])[0]))


@pytest.fixture
def rated():
    """Rated from 1 s into each trial: valence 3, then -1; arousal 5."""
    values = np.full((400, 2), np.nan)
    for start, valence in ((103.0, 3.0), (111.0, -1.0)):
        values[(start - 1e-6 <= TIME) & (start + 3 + 1e-6 >= TIME)] = (valence, 5.0)
    return values


def test_a_trace_has_the_scale_that_its_header_states(tmp_path, rated):
    (trace,) = traces(tmp_path, rated)
    assert (trace.device, trace.scales) == ("joystick (Pad)", ((-1, 9), (-1, 9)))
    assert trace.rated_share == pytest.approx(61 / 81)
    foreign = StreamDescription("Stick", "ContinuousRating", 20.0, ("up", "x"), ("a.u.",) * 2)
    (other,) = traces(tmp_path / "other", rated, foreign)
    # Where no scale is stated, what occurs is shown; a value that never changes still has an axis.
    assert (other.name, other.device, other.scales) == ("Stick", "", ((-1, 3), (5, 6)))


def test_the_report_tabulates_what_was_rated_in_each_trial(tmp_path, rated):
    figure, table = continuous_blocks(traces(tmp_path, rated), simulated=False)
    assert "given with the joystick (Pad)" in figure.caption
    assert table.rows == (
        ("1", "calm", "75", "1.0", "3.00", "–", "–", "5.00", "–", "–"),
        ("2", "thrill", "75", "1.0", "−1.00", "–", "–", "5.00", "–", "–"),
    )


def test_the_report_says_that_nobody_moved_or_nothing_was_recorded(tmp_path):
    nothing = traces(tmp_path, np.full((400, 2), np.nan))
    note, still = continuous_blocks(nothing, simulated=True)
    assert "SIMULATED" in note.text and still.tone == "warning"
    assert still.text == (
        "PhysioEmo-Continuous: nobody moved the pointer while a stimulus was shown."
    )
    assert "was not recorded" in continuous_blocks([], simulated=False)[0].text


def test_the_methods_paragraph_names_what_was_rated_with_what(tmp_path, rated):
    def told(ratings, simulated=False):
        story = SimpleNamespace(
            continuous=traces(tmp_path / str(simulated), rated), facts={"simulated": simulated}
        )
        return _continuous(story, SimpleNamespace(ratings=ratings))

    (said,) = told(Ratings(continuous=PLANE))
    assert said == (
        "While each stimulus was shown, valence and arousal were rated continuously with the "
        "mouse (scale -1 to 9, 20 Hz; 75 % of the trials' time)."
    )
    assert re.search("by the simulation", told(Ratings(continuous=PLANE), simulated=True)[0])


def test_the_simulated_participant_aims_at_what_is_evoked():
    stimulus = SimpleNamespace(valence=-0.5, arousal=1.0)
    rating = ContinuousRating(("arousal", "liking"), minimum=0.0, maximum=10.0)
    assert simulated_pointing(rating, stimulus) == {"arousal": 10.0, "liking": 5.0}
