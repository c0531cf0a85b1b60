"""A continuous rating: where the pointer stood, on the declared scale, at the stamped times."""

import ctypes
import ctypes.util
import math
import time

import numpy as np
import pygame
import pytest

from physioemo.acquisition.lsl import describe, find_streams, open_inlet, pull
from physioemo.acquisition.player import pointer, session
from physioemo.acquisition.player.answers import SimulatedAnswers, ToldAnswers
from physioemo.acquisition.player.continuous import CONTINUOUS, ContinuousRating
from physioemo.acquisition.player.item import make_item
from physioemo.acquisition.player.playlist import parse_playlist
from physioemo.acquisition.player.sampler import RatingSampler
from physioemo.errors import CallError, StreamError
from tests.acquisition.test_player import playing, x_screen  # noqa: F401 -- a fixture
from tests.acquisition.test_player_show import Log, grab

pytestmark = pytest.mark.lsl

HEAD = '[display]\nmode = "window"\nsize = [401, 201]\nsound = false\n'
PLANE = '[continuous]\ndimensions = ["valence", "arousal"]\n'
TRIAL = '[[item]]\nkind = "text"\ntext = "x"\nseconds = {}\ntrial = 1\n'
TRIAL_ITEM = make_item({"kind": "text", "text": "x", "seconds": 1, "trial": 1})
PLANE_RATING = ContinuousRating(("valence", "arousal"))


@pytest.fixture(autouse=True)
def no_screen(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setenv("SDL_AUDIODRIVER", "dummy")


def moved(x, y):
    return pygame.event.Event(pygame.MOUSEMOTION, pos=(x, y), rel=(1, 1), buttons=(0, 0, 0))


class Script:
    """Posts events so many seconds after the first flip, and notes when and what is then seen."""

    def __init__(self, *due):
        self.due, self.onset, self.done, self.seen = list(due), math.nan, [], []

    def on_start(self, number, stamp):
        if number == 2:
            self.onset = stamp

    def asked_to_stop(self):
        import pylsl

        now = pylsl.local_clock()
        if self.due and now - self.onset >= self.due[0][0]:
            pygame.event.post(self.due.pop(0)[1])
            self.done.append(now)
            self.seen.append(grab())


def show(stage, items):
    return [stage.player.show(n, stage.prepare(i, None)) for n, i in enumerate(items, 1)]


def shown(text, script, monkeypatch):
    """Show a playlist without streams; return what would have been published."""
    monkeypatch.setattr(session, "PlayerOutlets", Log)
    told = {"asked_to_stop": script.asked_to_stop, "on_start": script.on_start}
    playlist = parse_playlist(text)
    with session.open_stage(playlist, headless=True, **told) as stage:
        show(stage, playlist.items)
    return np.array(Log.made.rated)


BLANK = '[[item]]\nkind = "blank"\nseconds = 0.3\n'


def test_mouse_motion_is_published_on_the_scale_at_its_time():
    script = Script((0.4, moved(400, 0)), (1.2, moved(100, 150)), (2.0, moved(200, 100)))
    playlist = parse_playlist(HEAD + PLANE + "sfreq = 50\n" + BLANK + TRIAL.format(2.8) + BLANK)
    told = {"asked_to_stop": script.asked_to_stop, "on_start": script.on_start}
    with session.open_stage(playlist, headless=True, **told) as stage:
        (info,) = find_streams([f"name='{CONTINUOUS}'"], timeout_seconds=60)
        inlet, full = open_inlet(info)
        time.sleep(0.2)
        reports = show(stage, playlist.items)
        time.sleep(0.3)
        values, stamps = pull(inlet, timeout_seconds=1.0)
    start, stop = reports[1].onset_seconds, reports[1].stop_seconds
    first, second, third = script.done

    def between(begin, end):
        # The window takes its events every 4 ms; a busy machine needs more.
        chosen = values[(stamps > begin + 0.4) & (stamps < end - 0.01)]
        assert len(chosen) > 5
        return chosen

    assert np.isnan(values[stamps < first]).all() and (stamps < start).sum() > 5
    # Right and top are the ends of the scale; y counts downwards from the window's upper edge.
    assert (between(first, second) == [9.0, 9.0]).all()
    assert (between(second, third) == [3.0, 3.0]).all()
    assert (between(third, stop) == [5.0, 5.0]).all()
    assert np.isnan(between(stop, stamps[-1])).all()
    steps = np.diff(stamps)
    assert np.median(steps) == pytest.approx(0.02, abs=1e-3) and (steps > 0).all()
    described = describe(full)
    assert (described.ch_names, described.units) == (("valence", "arousal"), ("1-9", "1-9"))
    assert (described.modality, described.sfreq) == ("continuous_rating", 50.0)
    assert described.source_id.endswith("-Continuous") and "<simulated>" not in described.xml
    for words in ("<minimum>1<", "<maximum>9<", "<axis>horizontal<", "<device>mouse<"):
        assert words in described.xml


class XPointer:
    """Moves the pointer of an X server, as a hand on the mouse would."""

    def __init__(self, display):
        self.x = ctypes.CDLL(ctypes.util.find_library("X11"))
        self.x.XOpenDisplay.restype = ctypes.c_void_p
        self.display = ctypes.c_void_p(self.x.XOpenDisplay(display.encode()))
        self.x.XDefaultRootWindow.restype = ctypes.c_ulong
        self.root = ctypes.c_ulong(self.x.XDefaultRootWindow(self.display))

    def move(self, x, y):
        self.x.XWarpPointer(self.display, ctypes.c_ulong(0), self.root, 0, 0, 0, 0, x, y)
        self.x.XFlush(self.display)

    def close(self):
        self.x.XCloseDisplay(self.display)


def test_a_pointer_on_a_real_screen_is_followed_and_not_seen(tmp_path, x_screen):  # noqa: F811
    env, photograph = x_screen
    path, places = tmp_path / "a.toml", [(639, 0), (160, 270), (320, 90)]
    path.write_text(f'[display]\nmode = "fullscreen"\n{PLANE}gauge = false\n' + TRIAL.format(4.0))
    hand = XPointer(env["DISPLAY"])
    hand.move(30, 300)  # where the page before was left
    with playing(path, env=env) as child:
        infos = find_streams(["starts-with(name,'PhysioEmo-')"], timeout_seconds=60)
        inlets = {info.name(): open_inlet(info)[0] for info in infos}
        deadline, said = time.monotonic() + 60, ""
        while "trial_start" not in said and time.monotonic() < deadline:
            said += str(pull(inlets["PhysioEmo-Player"], timeout_seconds=0.1)[0])
        pictures = []
        for place in places:
            time.sleep(0.5)
            hand.move(*place)
            time.sleep(0.1)
            pictures.append(photograph().copy())
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors
        values, _ = pull(inlets[CONTINUOUS], timeout_seconds=1.0)
    hand.close()
    known = np.unique(values[np.isfinite(values[:, 0])], axis=0)
    expected = [(1 + 8 * x / 639, 9 - 8 * y / 359) for x, y in places]
    assert known == pytest.approx(np.array(sorted(expected)), abs=1e-3)
    assert np.isnan(values[0]).all() and np.isnan(values[-1]).all()
    assert all(np.array_equal(picture, pictures[0]) for picture in pictures)


def test_one_dimension_is_an_axis_and_the_gauge_shows_where_it_stands(monkeypatch):
    blue = (86, 180, 233)
    script = Script((0.3, moved(3, 50)), (0.6, moved(399, 200)), (0.9, moved(0, 0)))
    text = f'{HEAD}[continuous]\ndimensions = ["arousal"]\nminimum = -1\nmaximum = 1\n'
    stamps, values = shown(text + BLANK + TRIAL.format(1.2), script, monkeypatch).T
    high, low, top = (values[np.searchsorted(stamps, t + 0.15)] for t in script.done)
    assert (high, low, top) == (pytest.approx(0.5), -1.0, 1.0)
    # Before each motion: hollow in the middle, then a dot at the places before.
    dots = [np.argwhere((picture == blue).all(axis=2)) for picture in script.seen]
    assert not len(dots[0]) and len(dots[1]) > 10
    upper, lower = dots[1].mean(axis=0), dots[2].mean(axis=0)
    assert upper[0] < 100 < lower[0] and upper[1] == lower[1] < 40
    text = text.replace("[continuous]", "[continuous]\ngauge = false")
    script = Script((0.1, moved(3, 50)), (0.3, moved(3, 60)))
    shown(text + BLANK + TRIAL.format(0.4), script, monkeypatch)
    assert not any((picture == blue).all(axis=2).any() for picture in script.seen)


def test_nobody_who_moves_is_missing_and_every_stimulus_begins_anew():
    mouse = pointer.make_pointer(PLANE_RATING, None)
    pygame.display.init()
    pygame.display.set_mode((401, 201))
    mouse.start()
    for event in pygame.event.get():  # being put into the middle is no motion
        mouse.hear(event)
    assert mouse.read() is None
    mouse.hear(moved(201, 99))  # where a scaled window rounds to
    assert mouse.read() is None
    mouse.hear(moved(400, 200))
    mouse.hear(moved(200, 100))
    assert mouse.read() == (0.5, 0.5)
    mouse.start()
    assert mouse.read() is None
    pygame.display.quit()


def test_only_trials_are_rated_and_an_old_place_is_missing(monkeypatch):
    class Steady:
        def begin(self, item):
            pass

        def start(self):
            pass

        def read(self):
            return (0.25, 1.0)

    sampler = RatingSampler(PLANE_RATING, Steady(), lambda values, stamp: None)
    for fields in ({"kind": "blank", "seconds": 1}, {"kind": "text", "text": "x", "until": "key"}):
        assert not sampler.begin(make_item(fields))
    assert sampler.begin(TRIAL_ITEM) and np.isnan(sampler.sample()).all()
    sampler.show()
    assert sampler.sample().tolist() == [3.0, 9.0] and sampler.sample().dtype == np.float32
    now = time.perf_counter()
    monkeypatch.setattr(time, "perf_counter", lambda: now + 0.3)
    assert np.isnan(sampler.sample()).all()
    sampler.note()
    assert np.isfinite(sampler.sample()).all()
    sampler.hide()
    assert np.isnan(sampler.sample()).all()


def key(code, kind=pygame.KEYDOWN):
    return pygame.event.Event(kind, key=code, unicode="")


def test_arrow_keys_move_as_long_as_they_are_held(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(pointer.time, "perf_counter", lambda: now[0])
    keys = pointer.make_pointer(ContinuousRating(("valence", "arousal"), "keyboard"), None)
    keys.start()
    assert keys.read() is None

    def after(seconds):
        now[0] += seconds
        return keys.read()

    keys.hear(key(pygame.K_UP))
    assert after(1.0) == pytest.approx((0.5, 0.75))  # end to end in four seconds
    keys.hear(key(pygame.K_LEFT))
    assert after(0.4) == pytest.approx((0.4, 0.85))
    keys.hear(key(pygame.K_UP, pygame.KEYUP))
    assert after(9.0) == pytest.approx((0.0, 0.85))
    assert keys.uses(key(pygame.K_UP)) and not keys.uses(key(pygame.K_SPACE))


class Stick:
    """Stands in for a joystick."""

    def __init__(self, n_axes=2):
        self.axes = [0.0] * n_axes

    def get_numaxes(self):
        return len(self.axes)

    def get_axis(self, number):
        return self.axes[number]

    def get_name(self):
        return "Pad"

    def get_instance_id(self):
        return 7

    def quit(self):
        pass


def plugged(monkeypatch, stick):
    monkeypatch.setattr(pygame.joystick, "get_count", lambda: int(stick is not None))
    monkeypatch.setattr(pygame.joystick, "Joystick", lambda number: stick)


def test_a_joystick_stands_where_it_is_held_and_its_loss_is_told(monkeypatch):
    said, stick = [], Stick()
    plugged(monkeypatch, stick)
    rating = ContinuousRating(("valence", "arousal"), "joystick")
    held = pointer.make_pointer(rating, None, said.append)
    assert held.name == "joystick (Pad)"
    held.start()
    stick.axes = [0.01, -0.02]  # springs do not return exactly
    assert held.read() is None
    stick.axes = [1.0, -0.5]  # to the right; up is negative
    assert held.read() == (1.0, 0.75)
    stick.axes = [0.0, 0.0]
    assert held.read() == (0.5, 0.5)
    plugged(monkeypatch, None)
    held.hear(pygame.event.Event(pygame.JOYDEVICEREMOVED, instance_id=3))
    assert held.read() is not None
    held.hear(pygame.event.Event(pygame.JOYDEVICEREMOVED, instance_id=7))
    assert held.read() is None and "the joystick (Pad) is gone" in said[0]
    plugged(monkeypatch, stick)
    held.hear(pygame.event.Event(pygame.JOYDEVICEADDED, device_index=0))
    stick.axes = [0.0, 1.0]
    assert held.read() == (0.5, 0.0) and len(said) == 1


def test_a_joystick_that_is_not_there_is_named_before_anything_starts(monkeypatch):
    playlist = parse_playlist(HEAD + PLANE + 'device = "joystick"\n' + TRIAL.format(1))
    monkeypatch.setattr(session, "PlayerOutlets", Log)
    Log.made = None
    plugged(monkeypatch, None)
    with (
        pytest.raises(StreamError, match="found no joystick, expected one for .* valence and aro"),
        session.open_stage(playlist, headless=True),
    ):
        pass
    plugged(monkeypatch, Stick(1))
    with (
        pytest.raises(StreamError, match="'Pad' with 1 axis, expected two"),
        session.open_stage(playlist, headless=True),
    ):
        pass
    assert Log.made is None
    # A program that answers needs none.
    with session.open_stage(playlist, headless=True, answers=SimulatedAnswers(1)) as stage:
        assert stage.player.sampler.pointer.name == "simulated"


def test_a_simulated_pointer_comes_nearer_to_what_it_is_told(monkeypatch):
    now, told = [0.0], ToldAnswers()
    monkeypatch.setattr(pointer.time, "perf_counter", lambda: now[0])
    moving = pointer.make_pointer(PLANE_RATING, told)
    told.told = {"valence": 9.0, "arousal": 3.0}
    moving.begin(TRIAL_ITEM)
    now[0] = 20.0  # a large file takes its time: nobody reacts to what is not shown
    assert moving.read() is None
    moving.start()
    now[0] = 20.5
    assert moving.read() is None
    now[0] = 21.6  # a second after the reaction: 63 % of the way
    share = 1 - math.exp(-1)
    assert moving.read() == pytest.approx((0.5 + 0.5 * share, 0.5 - 0.25 * share))
    told.told = {"valence": 9.5, "arousal": 3.0}
    with pytest.raises(CallError, match=r"valence = 9.5 for the continuous rating of trial 1"):
        moving.begin(TRIAL_ITEM)
    told.told = {"valence": 9.0}
    moving.begin(TRIAL_ITEM)
    moving.start()
    now[0] += 5
    assert moving.read() is None
    drawn = [SimulatedAnswers(s).pointing(TRIAL_ITEM, PLANE_RATING) for s in range(50)]
    values = np.array([list(d.values()) for d in drawn])
    assert 1 <= values.min() < 2 and 8 < values.max() <= 9


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        ("", r"no 'dimensions' in \[continuous\] \(line 5 of a.toml\), expected one or two names"),
        ('dimensions = ["a", "b", "c"]', r"\(line 6 of a.toml\), expected one or two names"),
        ('dimensions = ["a"]\ndevise = "mouse"', r"'devise'.*\(line 7 of.*did you mean 'device'"),
        ('dimensions = ["a"]\ndevice = "mose"', r"line 7 of.*one of mouse, joystick, keyboard"),
        ('dimensions = ["a"]\nsfreq = 500', r"sfreq = 500 .*line 7.*a rate from 1 to 100 Hz"),
        ('dimensions = ["a"]\nmaximum = 0', r"from 1 to 0 .*line 7.*expected it to rise"),
        ('dimensions = ["a", "b"]\naxis = "vertical"', r"line 7 .*a is horizontal and b vertical"),
    ],
)
def test_wrong_fields_are_named_with_their_line(lines, match):
    with pytest.raises(CallError, match=match):
        parse_playlist(f"{HEAD}[continuous]\n{lines}\n{TRIAL.format(1)}", where="a.toml")


def test_a_playlist_without_a_trial_has_nothing_to_rate():
    with pytest.raises(
        CallError, match=r"\[continuous\] \(line 5 of a.toml\) and no stimulus with"
    ):
        parse_playlist(HEAD + PLANE + BLANK, where="a.toml")
    assert parse_playlist(HEAD + PLANE).continuous == PLANE_RATING  # led by another program
