"""Frames and sound of real files lie where the files say."""

import sys

import numpy as np
import pytest

from physioemo.errors import CallError, MissingExtraError, UnreadableFileError
from physioemo.media import decode_sound, iterate_frames, probe_media

# README: frames, step of the stamps, end of the file, sound length and rate
CLIPS = {
    "big_buck_bunny_0_30.webm": (720, 1 / 24, 30.0, 30.02, 44100),
    "bigbuckbunny_720p_5s.mp4": (132, 1 / 25, 5.31, 5.31, 48000),
    "no_face.mp4": (95, 1 / 24, 3.94, 3.945, 44100),
}


@pytest.mark.parametrize("name", CLIPS)
def test_every_frame_is_at_its_own_time(shared_data, name):
    n_frames, step, end, _, _ = CLIPS[name]
    frames = list(iterate_frames(shared_data("video-clips") / name))
    assert [f.index for f in frames] == list(range(n_frames))
    times = np.array([f.seconds for f in frames])
    assert times == pytest.approx([float(f.pts * f.time_base) for f in frames], abs=1e-12)
    # Matroska rounds stamps to milliseconds; they never accumulate an error.
    assert np.abs(times - times[0] - step * np.arange(n_frames)).max() < 1.1e-3
    assert frames[-1].until_seconds == pytest.approx(end, abs=0.035)
    assert probe_media(shared_data("video-clips") / name).duration_seconds == pytest.approx(
        end, abs=0.01
    )


@pytest.mark.parametrize("name", CLIPS)
def test_sound_is_as_long_as_it_is(shared_data, name):
    sound = decode_sound(shared_data("video-clips") / name)
    *_, seconds, rate = CLIPS[name]
    assert sound.sfreq == rate and sound.samples.shape[1] == 2
    assert sound.stop_seconds == pytest.approx(seconds, abs=0.006)
    assert np.abs(sound.samples).max() > 100


def test_a_stretch_keeps_the_frames_numbers_and_the_sounds_samples(shared_data):
    path = shared_data("video-clips") / "bigbuckbunny_720p_5s.mp4"
    frames = list(iterate_frames(path, start_seconds=1.0, stop_seconds=2.0))
    assert [f.index for f in frames] == list(range(25, 50))
    whole, part = decode_sound(path), decode_sound(path, start_seconds=1.0, stop_seconds=2.0)
    assert np.array_equal(part.samples, whole.samples[48000:96000])


def test_all_six_channels_are_heard(tmp_path):
    av = pytest.importorskip("av")
    heard = []
    for channel in range(6):
        path = tmp_path / f"{channel}.mka"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("pcm_s16le", rate=48000, layout="5.1")
            tone = np.zeros((4800, 6), np.int16)
            tone[:, channel] = 8000
            frame = av.AudioFrame.from_ndarray(tone.reshape(1, -1), format="s16", layout="5.1")
            frame.sample_rate = 48000
            container.mux([*stream.encode(frame), *stream.encode(None)])
        heard.append(np.abs(decode_sound(path).samples.astype(int)).mean(axis=0))
    left, right, centre, _, back_left, back_right = heard
    assert left[0] > 1000 > left[1] and right[1] > 1000 > right[0]
    assert centre[0] == pytest.approx(centre[1]) and centre[0] > 1000
    assert back_left[0] > 500 > back_left[1] and back_right[1] > 500 > back_right[0]


def test_late_sound_stays_late_and_a_hole_stays_a_hole(tmp_path):
    av = pytest.importorskip("av")
    path = tmp_path / "late.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        video = container.add_stream("ffv1", rate=10)
        video.width = video.height = 16
        video.pix_fmt = "yuv420p"
        for i in range(20):
            picture = av.VideoFrame.from_ndarray(np.zeros((24, 16), np.uint8), format="yuv420p")
            picture.pts = i
            container.mux(video.encode(picture))
        for pts in (4000, 12000):
            block = av.AudioFrame.from_ndarray(np.full((1, 4000), 900, np.int16), layout="mono")
            block.sample_rate, block.pts = 8000, pts
            container.mux(stream.encode(block))
        container.mux([*video.encode(None), *stream.encode(None)])
    sound = decode_sound(path, n_channels=1)
    assert sound.start_seconds == pytest.approx(0.5, abs=2e-3)
    assert sound.stop_seconds == pytest.approx(2.0, abs=2e-3)
    loud = sound.samples[:, 0] > 0
    assert loud[:3990].all() and not loud[4010:7990].any() and loud[8010:].all()


def test_errors_name_the_file(tmp_path):
    with pytest.raises(CallError, match="found no file .*absent.mp4, expected a video"):
        probe_media(tmp_path / "absent.mp4")
    (tmp_path / "text.mp4").write_text("no video")
    with pytest.raises(UnreadableFileError, match="text.mp4 cannot be read"):
        probe_media(tmp_path / "text.mp4")


def test_without_the_extra_it_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'physioemo\[video\]'"):
        probe_media(tmp_path / "a.mp4")
