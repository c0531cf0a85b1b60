"""How the programs of a session are led."""

from types import SimpleNamespace

from physioemo.experiments.session.booth import Booth


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
