"""Files whose every frame and sample is known come back as features at their own times."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter1d

from physioemo.errors import CallError, UnreadableFileError
from physioemo.features import stimulus_cache, stimulus_features
from physioemo.features.audio_descriptors import AUDIO_DESCRIPTORS
from physioemo.features.stimulus_cache import stimulus_features as cached
from physioemo.features.stimulus_features import (
    FRAME_COVARIATES,
    StimulusRecipe,
    decode_stimulus,
)
from physioemo.features.stimulus_lag import estimate_lag
from physioemo.features.video_tubelets import untubed
from physioemo.media import decode_sound, sha256_of
from tests.media_files import write_media

# README: frames, end of the picture, end of the sound
CLIPS = {
    "big_buck_bunny_0_30.webm": (720, 30.0, 30.02),
    "bigbuckbunny_720p_5s.mp4": (132, 5.31, 5.31),
    "no_face.mp4": (95, 3.94, 3.945),
}
ARRAYS = ("sound_seconds", "fbank", "descriptors", "frame_seconds", "pictures", "motion")


def noise_file(path, rng, *, n_frames=10, sound_seconds=1.0, sfreq=16000, layout="mono"):
    """Write noise at uneven steps; return pictures, their times, and the sound."""
    pictures = rng.integers(0, 255, (n_frames, 18, 32, 3), np.uint8)
    seconds = np.round(np.cumsum(rng.uniform(0.02, 0.2, n_frames)), 3)
    seconds -= seconds[0] if n_frames else 0
    n_channels = {"mono": 1, "stereo": 2, "5.1": 6}[layout]
    sound = 0.1 * rng.normal(size=(round(sound_seconds * sfreq), n_channels))
    write_media(path, pictures=pictures, seconds=seconds, sound=sound, sfreq=sfreq, layout=layout)
    return pictures, seconds, sound


def column(features, name):
    if name in FRAME_COVARIATES:
        return features.covariates[:, list(FRAME_COVARIATES).index(name)]
    return features.descriptors[:, list(AUDIO_DESCRIPTORS).index(name)]


@pytest.fixture(scope="module")
def clips(shared_data):
    return {name: decode_stimulus(shared_data("video-clips") / name) for name in CLIPS}


@pytest.mark.parametrize("name", CLIPS)
def test_a_real_clip_is_as_long_as_it_is(clips, name):
    features, (n_frames, until, sound_until) = clips[name], CLIPS[name]
    assert len(features.frame_seconds) == len(features.pictures) == n_frames
    assert (np.diff(features.frame_seconds) > 0).all()
    assert features.until_seconds == pytest.approx(until, abs=0.035)
    assert sound_until - 0.02 < features.sound_seconds[-1] <= sound_until + 0.001
    assert np.isfinite(features.fbank).all() and features.descriptors_mask[50:, 0].all()
    assert features.covariates_mask[1:].all() and np.isfinite(features.motion[1:]).all()


@pytest.mark.parametrize("name", CLIPS)
def test_the_filter_bank_of_a_file_is_torchaudios(shared_data, clips, name):
    torch = pytest.importorskip("torch")
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    from scipy.signal import resample_poly

    sound = decode_sound(shared_data("video-clips") / name)
    mono = resample_poly(sound.samples.mean(axis=1) / 32768, 16000, sound.sfreq)
    reference = kaldi.fbank(
        torch.tensor(mono)[None],
        htk_compat=True,
        use_energy=False,
        window_type="hanning",
        num_mel_bins=128,
        dither=0.0,
        frame_shift=10,
    ).numpy()
    mine = clips[name].fbank * 2 * 4.569 - 4.268
    assert mine.shape == reference.shape
    assert np.abs(mine - reference).max() < 1e-3


def test_the_cuts_of_a_real_clip_are_told(clips):
    cuts = column(clips["big_buck_bunny_0_30.webm"], "cut")
    assert np.flatnonzero(cuts == 1).tolist() == [283, 376, 551]


def test_frames_at_uneven_times_keep_them(tmp_path):
    seed = 0
    pictures, seconds, _ = noise_file(tmp_path / "a.mkv", np.random.default_rng(seed), n_frames=20)
    features = decode_stimulus(tmp_path / "a.mkv", StimulusRecipe(picture_px=18))
    assert np.abs(features.frame_seconds - seconds).max() < 1e-6, seed
    assert column(features, "brightness") == pytest.approx(
        pictures @ np.array([0.299, 0.587, 0.114]) @ np.ones(32) @ np.ones(18) / (576 * 255),
        abs=0.01,
    )


def test_sound_that_is_shorter_than_the_picture_stays_shorter(tmp_path, rng):
    noise_file(tmp_path / "a.mkv", rng, n_frames=40, sound_seconds=0.7)
    features = decode_stimulus(tmp_path / "a.mkv")
    assert features.until_seconds > 2
    assert 0.68 < features.sound_seconds[-1] <= 0.701
    ends = 0.025 + 0.01 * np.arange(len(features.sound_seconds))
    assert features.sound_seconds == pytest.approx(ends, abs=1e-3)


def test_late_sound_is_late(tmp_path, rng):
    click = np.zeros((16000, 1))
    click[8000] = 0.9
    write_media(tmp_path / "a.mkv", sound=click, lead=0)
    write_media(
        tmp_path / "b.mkv",
        pictures=np.zeros((40, 16, 16, 3), np.uint8),
        seconds=np.arange(40) / 20,
        sound=click,
        lead=0.31,
    )
    for name, at in (("a.mkv", 0.5), ("b.mkv", 0.81)):
        features = decode_stimulus(tmp_path / name)
        heard = features.sound_seconds[column(features, "rms") > -60]
        assert heard[0] - 0.01 <= at <= heard[0] + 0.001


def test_all_of_six_channels_are_in_the_filter_bank(tmp_path, rng):
    noise_file(tmp_path / "a.mkv", rng, n_frames=0, layout="5.1", sfreq=44100)
    features = decode_stimulus(tmp_path / "a.mkv")
    assert not features.has_video and features.pictures.shape == (0, 32, 32, 3)
    assert len(features.fbank) == 98 and features.stop_seconds == pytest.approx(1.0, abs=0.01)
    assert column(features, "rms").max() > -40


def test_a_picture_and_a_silent_video_are_stimuli_too(tmp_path, rng):
    write_media(tmp_path / "a.mkv", pictures=np.zeros((1, 16, 16, 3), np.uint8), seconds=[0])
    features = decode_stimulus(tmp_path / "a.mkv")
    assert features.frame_seconds.tolist() == [0] and features.fbank.shape == (0, 128)
    assert np.isnan(features.motion[0]) and len(features.audio_patches().values) == 0


def test_the_cover_of_a_song_is_no_picture(tmp_path, rng):
    av = pytest.importorskip("av")
    with av.open(str(tmp_path / "a.flac"), "w") as container:
        song = container.add_stream("flac", rate=16000, layout="mono")
        cover = container.add_stream("png", rate=1)
        cover.width = cover.height = 16
        cover.pix_fmt, cover.disposition = "rgb24", av.stream.Disposition.attached_pic
        picture = av.VideoFrame.from_ndarray(np.zeros((16, 16, 3), np.uint8), format="rgb24")
        container.mux([*cover.encode(picture), *cover.encode(None)])
        samples = (1000 * rng.normal(size=(1, 16000))).astype(np.int16)
        block = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        block.sample_rate, block.pts = 16000, 0
        container.mux([*song.encode(block), *song.encode(None)])
    features = decode_stimulus(tmp_path / "a.flac")
    assert not features.has_video and len(features.fbank) == 98


def test_picture_and_sound_do_not_drift_apart(tmp_path):
    """A flash and a click every second for 15 s: the click's row stays in its place."""
    n, sfreq = 15, 44100
    pictures = np.zeros((n * 25, 16, 16, 3), np.uint8)
    pictures[12::25] = 255
    sound = np.zeros((n * sfreq, 2))
    sound[round(0.48 * sfreq) :: sfreq] = 0.9
    seconds = np.arange(n * 25) / 25
    write_media(
        tmp_path / "a.mkv",
        pictures=pictures,
        seconds=seconds,
        sound=sound,
        sfreq=sfreq,
        layout="stereo",
    )
    features = decode_stimulus(tmp_path / "a.mkv")
    loud = column(features, "rms") > -60
    began = np.flatnonzero(loud[1:] & ~loud[:-1]) + 1
    flashed = features.frame_seconds[column(features, "brightness") > 0.5]
    apart = features.sound_seconds[began] - flashed
    assert len(apart) == n and np.ptp(apart) < 1e-3 and 0 <= apart[0] <= 0.011


def test_blocks_of_a_long_sound_join_without_a_seam(tmp_path, rng, monkeypatch):
    noise_file(tmp_path / "a.mkv", rng, n_frames=0, sound_seconds=7.3, sfreq=22050, layout="stereo")
    whole = decode_stimulus(tmp_path / "a.mkv")
    monkeypatch.setattr(stimulus_features, "_BLOCK_SECONDS", 3)
    parts = decode_stimulus(tmp_path / "a.mkv")
    assert np.array_equal(parts.sound_seconds, whole.sound_seconds)
    assert parts.fbank == pytest.approx(whole.fbank, abs=1e-6)
    assert parts.descriptors == pytest.approx(whole.descriptors, rel=1e-5, abs=1e-5, nan_ok=True)


def test_what_comes_later_in_a_file_changes_nothing_before(tmp_path):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 255, (20, 18, 32, 3), np.uint8)
    sound = 0.1 * rng.normal(size=(44100, 2))
    made = []
    for k in range(2):
        path = tmp_path / f"{k}.mkv"
        seconds = np.arange(20) / 20
        write_media(
            path, pictures=pictures, seconds=seconds, sound=sound, sfreq=44100, layout="stereo"
        )
        made.append(decode_stimulus(path))
        pictures[11:], sound[round(0.55 * 44100) :] = 255 - pictures[11:], 0.3
    one, two = made
    n, m = np.searchsorted(one.sound_seconds, 0.55), 11
    assert n > 50 and not np.array_equal(one.fbank[: n + 2], two.fbank[: n + 2])
    for name in ("fbank", "descriptors"):
        assert np.array_equal(getattr(one, name)[:n], getattr(two, name)[:n], equal_nan=True)
    for name in ("pictures", "motion", "covariates"):
        assert np.array_equal(getattr(one, name)[:m], getattr(two, name)[:m], equal_nan=True)


def test_patches_and_tubes_hold_what_was_there(clips):
    features = clips["no_face.mp4"]
    audio = features.audio_patches()
    assert audio.values.shape == (24, 8, 256) and audio.mask.all()
    assert np.array_equal(
        audio.values[3, 2].reshape(16, 16), features.fbank[48:64, 32:48]
    ) and audio.seconds[3] == pytest.approx(features.sound_seconds[63])
    video = features.video_tubelets(step_seconds=0.16)
    assert video.values.shape == (12, 2, 2, 2 * 16 * 16 * 3) and video.mask.all()
    shown = np.searchsorted(features.frame_seconds, video.seconds[5] + 1e-6, side="right") - 1
    back = untubed(video.values)[11]
    assert np.abs((back + 1) * 127.5 - features.pictures[shown]).max() < 1e-3
    with pytest.raises(CallError, match="found 128 mel bands, expected a multiple of the patch"):
        features.audio_patches(24)


def test_a_flash_in_a_file_is_selected_where_even_sampling_misses_it(tmp_path):
    """8 new files of 6 s; the flash lights the whole picture for two frames."""
    hits, n = 0, 90
    even = set(np.round((np.arange(6) + 0.5) * n / 6).astype(int).tolist())
    for seed in range(8):
        rng = np.random.default_rng(seed)
        flash = int(rng.choice([k for k in range(3, n - 3) if not {k, k + 1} & even]))
        base = gaussian_filter1d(rng.normal(0, 200, (24, 200, 3)), 3, axis=1) + 120
        pictures = np.stack([base[:, k : k + 40] for k in range(n)])
        pictures[flash : flash + 2] += 110
        pictures = np.clip(pictures, 0, 255).astype(np.uint8)
        write_media(tmp_path / "a.mkv", pictures=pictures, seconds=np.round(np.arange(n) / 15, 3))
        chosen = set(decode_stimulus(tmp_path / "a.mkv").selected_frames(6).tolist())
        assert len(chosen) == 6
        hits += bool({flash, flash + 1} & chosen)
    assert hits >= 7


def test_a_response_that_lags_behind_a_files_sound_is_found_there(tmp_path):
    """The level of noise wanders; the response follows it after 2.4 s, in noise as strong."""
    for seed in range(3):
        rng = np.random.default_rng(seed)
        wandering = gaussian_filter1d(rng.normal(size=92 * 25), 5)
        level = np.exp(0.7 * wandering / wandering.std())
        sound = 0.03 * np.repeat(level, 640) * rng.normal(size=92 * 16000)
        write_media(tmp_path / "a.mkv", sound=np.clip(sound, -1, 1)[:, None])
        features = decode_stimulus(tmp_path / "a.mkv")
        time = np.arange(100, 2300) / 25
        rms = np.interp(time, features.sound_seconds - 0.0125, column(features, "rms"))
        true = np.interp(time - 2.4, np.arange(len(level)) / 25 + 0.02, np.log(level))
        response = true + true.std() * rng.normal(size=len(time))
        found = estimate_lag(response, rms, 25.0, 8.0)
        assert found.seconds == pytest.approx(2.4, abs=1 / 25), seed
        assert found.p_value <= 0.01, seed


def test_what_is_no_stimulus_is_told(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"no film")
    with pytest.raises(UnreadableFileError, match="cannot be read"):
        cached(tmp_path / "a.mp4", tmp_path / "cache")
    with pytest.raises(CallError, match="found no file"):
        cached(tmp_path / "b.mp4", tmp_path / "cache")
    with pytest.raises(CallError, match="found 2 bands, 100 rows per second and pictures of 32"):
        StimulusRecipe(n_mels=2)
    with pytest.raises(CallError, match="found 30 rows per second, expected a divisor of 16000"):
        StimulusRecipe(rows_per_second=30)


@pytest.fixture
def counted(monkeypatch):
    """Return a list that grows with every file that is decoded."""
    calls = []

    def decode(path, recipe, **told):
        calls.append(path)
        return decode_stimulus(path, recipe, **told)

    monkeypatch.setattr(stimulus_cache, "decode_stimulus", decode)
    return calls


def same(one, two):
    pairs = ((getattr(one, n), getattr(two, n)) for n in (*ARRAYS, "covariates"))
    arrays = all(a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True) for a, b in pairs)
    facts = (one.sha256, one.recipe, one.until_seconds) == (
        two.sha256,
        two.recipe,
        two.until_seconds,
    )
    return arrays and facts


def test_a_file_is_decoded_once_whatever_it_is_called(tmp_path, rng, counted):
    noise_file(tmp_path / "a.mkv", rng)
    first = cached(tmp_path / "a.mkv", tmp_path / "cache" / "deep")
    (tmp_path / "a.mkv").rename(tmp_path / "b.mkv")
    again = cached(tmp_path / "b.mkv", tmp_path / "cache" / "deep")
    assert len(counted) == 1 and same(first, again) and again.name == "b.mkv"
    assert first.sha256 == sha256_of(tmp_path / "b.mkv")
    other = cached(tmp_path / "b.mkv", tmp_path / "cache" / "deep", StimulusRecipe(picture_px=16))
    assert len(counted) == 2 and other.pictures.shape[1] == 16
    assert len(list((tmp_path / "cache" / "deep").iterdir())) == 2


def test_a_mapped_file_is_the_same_and_stays_on_disk(tmp_path, rng, counted):
    noise_file(tmp_path / "a.mkv", rng)
    first = cached(tmp_path / "a.mkv", tmp_path / "cache", mapped=True)
    for mapped in (first, cached(tmp_path / "a.mkv", tmp_path / "cache", mapped=True)):
        assert same(mapped, cached(tmp_path / "a.mkv", tmp_path / "cache"))
        assert isinstance(mapped.fbank.base, np.memmap) and not mapped.fbank.flags.writeable
    assert len(counted) == 1
    picture = np.zeros((32, 32, 3), np.uint8)
    write_media(tmp_path / "b.mkv", pictures=[picture] * 5, seconds=np.arange(5) / 5)
    silent = cached(tmp_path / "b.mkv", tmp_path / "cache", mapped=True)
    assert same(silent, cached(tmp_path / "b.mkv", tmp_path / "cache")) and not len(silent.fbank)


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "foreign", "pickle"])
def test_a_damaged_cache_is_told_and_made_anew(tmp_path, rng, counted, damage):
    noise_file(tmp_path / "a.mkv", rng)
    first = cached(tmp_path / "a.mkv", tmp_path / "cache")
    (kept,) = (tmp_path / "cache").iterdir()
    good = kept.read_bytes()
    middle = len(good) // 2
    flipped = good[:middle] + bytes([good[middle] ^ 4]) + good[middle + 1 :]
    kept.write_bytes(
        {
            "cut": good[:-7],
            "flipped": flipped,
            "empty": b"",
            "foreign": b"\x02\0\0\0\0\0\0\0{}",
            "pickle": b"\x80\x04cos\nsystem\n",
        }[damage]
    )
    said = []
    assert same(first, cached(tmp_path / "a.mkv", tmp_path / "cache", say=said.append))
    assert len(counted) == 2 and len(said) == 1
    assert "is damaged, expected the features of a.mkv; they are computed again" in said[0]
    assert kept.read_bytes() == good
    with pytest.warns(UserWarning, match="is damaged"):
        kept.write_bytes(b"x")
        cached(tmp_path / "a.mkv", tmp_path / "cache")


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path, rng):
    noise_file(tmp_path / "a.mkv", rng)
    (tmp_path / "cache").write_text("a file, no folder")
    said = []
    features = cached(tmp_path / "a.mkv", tmp_path / "cache", say=said.append)
    assert len(features.fbank) and "are used but not kept" in said[0]
