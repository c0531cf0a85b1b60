"""How the programs of a session are led."""

import time
from types import SimpleNamespace

import pytest

from physioemo.errors import StreamError
from physioemo.experiments.session.booth import Booth
from physioemo.experiments.session.follower import Follower


class Told:
    """A program that runs, gives its notices once and keeps what it was told."""

    def __init__(self, *notices):
        self.alive, self.words, self._notices = True, [], list(notices)

    def notices(self):
        return [self._notices.pop() for _ in range(len(self._notices))]

    def tell(self, word):
        self.words.append(word)


def test_the_decoder_begins_anew_with_what_is_recorded_again():
    problems = []
    booth = Booth(SimpleNamespace(), SimpleNamespace(), problems.append)
    booth.followers = {
        "recorder": Told("My EEG is recorded again", "the disk has 2 minutes"),
        "decoder": Told("My EEG came back"),
    }
    assert booth.tend() and booth.tend()
    assert booth.followers["decoder"].words == ["restart My EEG"]
    assert "recorder: My EEG is recorded again" in problems and len(problems) == 3


@pytest.mark.lsl
def test_a_decoder_that_does_not_start_says_why_at_once(tmp_path):
    decoder = Follower("decoder", ("live", "--decoder", str(tmp_path)), tmp_path / "decoder.txt")
    decoder.start()
    booth = Booth(SimpleNamespace(), SimpleNamespace(), print, {"decoder": decoder})
    began = time.monotonic()
    with pytest.raises(StreamError, match="the decoder did not start: found no decoder.json in "):
        booth.await_decoder("none-such", 60.0)
    assert time.monotonic() - began < 50 and decoder.stop() == 1
