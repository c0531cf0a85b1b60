"""A playlist is checked as a whole before anything starts, and errors name the line."""

import json

import numpy as np
import pytest

from physioemo.acquisition.player.answers import read_answers
from physioemo.acquisition.player.item import make_item
from physioemo.acquisition.player.outlets import rating_scales
from physioemo.acquisition.player.playlist import parse_playlist, read_playlist
from physioemo.errors import CallError, UnreadableFileError

HEAD = 'title = "Study"\n\n[display]\nmode = "window"\nsize = [640, 360]\n'
SAM = '\n[[item]]\nkind = "sam"\ntrial = 1\n'
TEXT = '\n[[item]]\nkind = "text"\ntext = "Hello"\nseconds = 1\ntrial = 1\n'


def wrong(text, match, error=CallError):
    with pytest.raises(error, match=match):
        parse_playlist(text, where="a.toml")


def test_a_good_playlist_is_read(shared_data, tmp_path):
    clip = shared_data("video-clips") / "bigbuckbunny_720p_5s.mp4"
    path = tmp_path / "täglich 1.toml"
    video = f'\n[[item]]\nkind = "video"\nfile = {json.dumps(str(clip))}\ntrial = 1\n'
    path.write_text(
        HEAD + "refresh_hz = 59.94\nlatency_seconds = 'unmeasured'\n" + video + SAM, "utf-8"
    )
    playlist = read_playlist(path)
    assert playlist.title == "Study" and playlist.display.size == (640, 360)
    assert playlist.display.refresh_hz == 59.94 and playlist.display.latency_seconds is None
    assert [i.kind for i in playlist.items] == ["video", "sam"]
    file, nothing = playlist.files
    assert nothing is None and file.size == (1280, 720) and str(file.rate) == "25"
    assert len(file.sha256) == 64 and file.has_sound


def test_files_are_looked_for_beside_the_playlist(shared_data, tmp_path):
    clip = (shared_data("video-clips") / "no_face.mp4").read_bytes()
    (tmp_path / "clip.mp4").write_bytes(clip)
    (tmp_path / "a.toml").write_text('[[item]]\nkind = "video"\nfile = "clip.mp4"\n')
    assert read_playlist(tmp_path / "a.toml").files[0].path == tmp_path / "clip.mp4"


def test_mistyped_fields_name_line_and_nearest():
    wrong(HEAD + "bar_code = true\n", r"'bar_code' in \[display\] \(line 6 of a.toml\).*'barcode'")
    wrong("titel = 'x'\n", r"'titel' in the top section \(line 1 of a.toml\).*did you mean 'title'")
    text = HEAD + TEXT + SAM + "tmeout_seconds = 3\n"
    wrong(text, r"item 2: .*'tmeout_seconds'.*'timeout_seconds'. \(line 16 of a.toml\)")
    wrong(HEAD + TEXT + SAM.replace("sam", "sma"), r"the kind 'sma'.*'sam'. \(line 14 of a.toml\)")
    wrong(
        SAM + "file = 'x.mp4'\n", "found the field 'file', expected one that a sam has; its fields"
    )


def test_wrong_values_say_what_is_expected():
    wrong(HEAD + "refresh_hz = 'fast'\n", 'refresh_hz = "fast".*what was measured, or "unmeasured"')
    wrong(HEAD.replace("[640, 360]", "[64, 36]"), r"size = \[64, 36\].*such as \[1280, 720\]")
    wrong('[[item]]\nkind = "fixation"\n', "item 1: found a fixation without 'seconds'.*line 1 of")
    wrong('[[item]]\nkind = "blank"\nseconds = -1\n', "seconds = -1.*above 0 .line 3")
    wrong(TEXT.replace("seconds = 1", 'seconds = 1\nuntil = "key"'), "both or neither")
    wrong("[display\n", "no valid TOML in a.toml")
    wrong("item = 3\n", r"'item' without sections in a.toml")


def test_settings_do_not_contradict_each_other(tmp_path):
    wrong(HEAD + "monitor = 1\n", r"a window on monitor 1 \(line 6 of a.toml\)")
    text = '\n[[item]]\nkind = "sound"\nfile = "a.wav"\n'
    wrong(HEAD + "sound = false\n" + text, r"item 1: found a sound \(line 8.*and sound = false")


def test_sliders_have_a_scale():
    slider = '[[item]]\nkind = "slider"\ntrial = 1\ndimension = "liking"\nlabel = "?"\n'
    wrong(TEXT + slider + "minimum = 5\nmaximum = 1\n", "a scale from 5 to 1, expected it to rise")
    wrong(TEXT + slider + "minimum = 0\nmaximum = 10\nstep = 3\n", "a step of 3 on a scale from 0")


def test_trials_are_numbered_through():
    wrong(TEXT + TEXT, r"item 2: found trial 1 again \(item 1 is it already\).*line 12")
    wrong(SAM, "item 1: found a rating of trial 1, which no item before it is")


def test_files_are_opened_before_anything_starts(shared_data, tmp_path):
    folder = shared_data("video-clips")
    video = '[[item]]\nkind = "{}"\nfile = "{}"\n{}\n'

    def text(name, kind="video", rest=""):
        return video.format(kind, (folder / name).as_posix(), rest)

    wrong(text("absent.webm"), r"item 1: found no file .*absent.webm.*\(line 3 of a.toml\)")
    wrong(text("README.md"), "item 1: .*README.md cannot be read", UnreadableFileError)
    wrong(text("no_face.mp4", rest="start_seconds = 9"), "expected one within its 3.95 s")
    wrong(text("no_face.mp4", rest="stop_seconds = 30"), "a stretch up to 30 s")
    with pytest.raises(CallError, match=r"found no file .*b.toml, expected a playlist.*'a.toml'"):
        (tmp_path / "a.toml").write_text("")
        read_playlist(tmp_path / "b.toml")


def test_ratings_of_one_scale_share_a_stream():
    slider = '[[item]]\nkind = "slider"\ntrial = 1\ndimension = "{}"\nlabel = "?"\nmaximum = {}\n'

    def scales(*parts):
        return rating_scales(parse_playlist(TEXT + "".join(parts)))

    liking, known = slider.format("liking", 9), slider.format("known", 5)
    assert scales() == {(1, 9): ("valence", "arousal", "dominance")}
    assert scales(SAM, known, liking) == {
        (1, 9): ("valence", "arousal", "dominance", "liking"),
        (1, 5): ("known",),
    }
    assert scales(known) == {(1, 5): ("known",)}


def test_answers_come_from_a_seed_or_a_file(tmp_path):
    sam = make_item({"kind": "sam", "trial": 2})
    drawn = [read_answers(f"simulated:{seed}").answer(sam) for seed in range(40)]
    assert drawn[3] == read_answers("simulated:3").answer(sam)
    values = np.array([list(d.values()) for d in drawn])
    assert values.min() == 1 and values.max() == 9 and (values == values.round()).all()
    path = tmp_path / "answers.json"
    path.write_text('{"2": {"valence": 7, "arousal": 3, "dominance": 12}}')
    with pytest.raises(CallError, match="dominance = 12 for trial 2 in .*answers.json.*1 to 9"):
        read_answers(str(path)).answer(sam)
    only = make_item({"kind": "sam", "trial": 2, "dimensions": ["arousal"]})
    assert read_answers(str(path)).answer(only) == {"arousal": 3.0}
    for text, match in (
        ("simulated:x", "simulated:3"),
        (str(tmp_path / "no.json"), "cannot be read"),
    ):
        with pytest.raises(CallError, match=match):
            read_answers(text)
