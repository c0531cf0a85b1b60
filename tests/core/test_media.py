"""Frames and sound of real files lie where the files say."""

import struct
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


def write_video(path, n_frames=6, *, rate=10, first_pts=0, size=(32, 16), picture=None):
    """Write a small video whose frame i is grey i; the stamps begin at `first_pts` frames."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=rate)
        stream.width, stream.height = size
        stream.pix_fmt, stream.bit_rate = "yuv420p", 4_000_000
        for i in range(n_frames):
            rgb = np.full((size[1], size[0], 3), 40 * i, np.uint8) if picture is None else picture
            frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
            frame.pts = first_pts + i
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


@pytest.mark.parametrize("name", ["a.ts", "a.mkv"])
def test_time_begins_where_the_first_stream_does(tmp_path, name):
    write_video(tmp_path / name, rate=15, first_pts=11)
    frames = list(iterate_frames(tmp_path / name))
    assert frames[0].pts > 0 and [f.index for f in frames] == list(range(6))
    times = [f.seconds for f in frames]
    assert times == pytest.approx(np.arange(6) / 15, abs=1.1e-3) and times[0] == 0


def test_a_picture_that_was_filmed_upright_is_shown_upright(tmp_path):
    path = tmp_path / "phone.mp4"
    picture = np.zeros((16, 32, 3), np.uint8)
    picture[:, :8] = 255
    write_video(path, picture=picture)
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 4 + 40  # version 0: the matrix lies behind 40 bytes
    one = 1 << 16
    turned = struct.pack(">9i", 0, one, 0, -one, 0, 0, 0, 0, 1 << 30)  # a quarter turn clockwise
    content[matrix : matrix + 36] = turned
    path.write_bytes(content)
    assert probe_media(path).size == (16, 32)
    rgb = next(iterate_frames(path)).to_rgb()
    # What was on the left is at the top after a quarter turn clockwise.
    assert rgb.shape == (32, 16, 3) and rgb[:6].mean() > 200 > 50 > rgb[12:].mean()
    assert next(iterate_frames(path)).to_rgb((8, 20)).shape == (20, 8, 3)


def write_sound(path, blocks, rate=8000):
    """Write blocks of sound (first sample, samples), each with its own stamp."""
    av = pytest.importorskip("av")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=rate, layout="mono")
        for pts, samples in blocks:
            block = av.AudioFrame.from_ndarray(np.array(samples, np.int16)[None], layout="mono")
            block.sample_rate, block.pts = rate, pts
            container.mux(stream.encode(block))
        container.mux(stream.encode(None))


def test_the_length_of_a_lost_packet_is_kept(tmp_path):
    path, ones = tmp_path / "a.mka", np.full(800, 500)
    write_sound(path, [(0, ones), (800, ones), (1600 + 170, ones)])
    sound = decode_sound(path, n_channels=1)
    assert len(sound.samples) == pytest.approx(2570, abs=8)
    silent = np.flatnonzero(sound.samples[:, 0] == 0)
    assert len(silent) == pytest.approx(170, abs=8) and silent[0] == pytest.approx(1600, abs=1)


def test_sound_that_overlaps_itself_is_an_error(tmp_path):
    write_sound(tmp_path / "a.mka", [(0, np.ones(800)), (400, np.ones(800))])
    with pytest.raises(UnreadableFileError, match="a.mka steps back by 0.050 s at 0.050 s"):
        decode_sound(tmp_path / "a.mka")


def test_a_stretch_of_sound_may_be_resampled(tmp_path):
    t = np.arange(8000) / 8000
    write_sound(tmp_path / "a.mka", [(0, 10000 * np.sin(2 * np.pi * 100 * t))])
    part = decode_sound(
        tmp_path / "a.mka", start_seconds=0.25, stop_seconds=0.5, sfreq=48000, n_channels=1
    )
    assert (part.sfreq, part.start_seconds, len(part.samples)) == (48000, 0.25, 12000)
    expected = 10000 * np.sin(2 * np.pi * 100 * (0.25 + np.arange(12000) / 48000))
    assert np.abs(part.samples[:, 0] - expected).max() < 100
    with pytest.raises(CallError, match="n_channels=6, expected 1 or 2"):
        decode_sound(tmp_path / "a.mka", n_channels=6)


def test_a_file_that_was_cut_off_is_read_or_refused_never_invented(shared_data, tmp_path):
    content = (shared_data("video-clips") / "big_buck_bunny_0_30.webm").read_bytes()
    (tmp_path / "cut.webm").write_bytes(content[: len(content) // 3])
    try:
        frames = [f.index for f in iterate_frames(tmp_path / "cut.webm")]
    except UnreadableFileError as error:
        assert "cut.webm" in str(error)
    else:
        assert frames == list(range(len(frames))) and 100 < len(frames) < 500


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
