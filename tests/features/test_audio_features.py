"""Sound: equal to the reference implementations, known answers for tones."""

from contextlib import suppress

import numpy as np
import pytest

from physioemo.errors import CallError, SignalError
from physioemo.features.audio_descriptors import AUDIO_DESCRIPTORS, audio_descriptors
from physioemo.features.audio_fbank import (
    hicmae_normalised,
    kaldi_fbank,
    mel_centres_hz,
    resampled,
    wav2small_logmel,
)
from physioemo.features.audio_loudness import momentary_loudness
from physioemo.features.audio_pitch import yin_pitch
from physioemo.media import decode_sound

CLIPS = ("big_buck_bunny_0_30.webm", "bigbuckbunny_720p_5s.mp4", "no_face.mp4")


def torch_fbank(signal, sfreq, dtype, **options):
    torch = pytest.importorskip("torch")
    kaldi = pytest.importorskip("torchaudio.compliance.kaldi")
    return kaldi.fbank(
        torch.tensor(signal, dtype=getattr(torch, dtype))[None],
        sample_frequency=sfreq,
        htk_compat=True,
        use_energy=False,
        dither=0.0,
        **options,
    ).numpy()


def tone(hz, sfreq, seconds=1.0, amplitude=1.0):
    return amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * sfreq)) / sfreq)


@pytest.mark.parametrize("name", CLIPS)
def test_the_filter_bank_of_real_sound_is_torchaudios(shared_data, name):
    sound = decode_sound(shared_data("video-clips") / name, n_channels=1)
    mono = resampled(sound.samples[:, 0] / 32768, sound.sfreq, 16000).astype(np.float32)
    mine = kaldi_fbank(mono, 16000)
    options = {"window_type": "hanning", "num_mel_bins": 128, "frame_shift": 10}
    for dtype in ("float64", "float32"):
        reference = torch_fbank(mono, 16000, dtype, **options)
        assert mine.shape == reference.shape
        assert np.abs(mine - reference).max() < 1e-3


@pytest.mark.parametrize("sfreq", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("window", ["hanning", "povey"])
def test_the_filter_bank_of_noise_is_torchaudios_at_any_rate(rng, sfreq, window):
    signal = rng.normal(0, 0.1, sfreq)
    reference = torch_fbank(signal, sfreq, "float64", window_type=window, num_mel_bins=40)
    mine = kaldi_fbank(signal, sfreq, n_mels=40, window=window)
    assert np.abs(mine - reference).max() < 1e-3


def test_silence_and_too_little_sound_are_finite_and_empty():
    assert np.allclose(kaldi_fbank(np.zeros(16000), 16000), np.log(np.finfo(np.float32).eps))
    assert kaldi_fbank(np.zeros(300), 16000).shape == (0, 128)
    assert hicmae_normalised(np.array([-4.268 + 9.138])) == pytest.approx([1.0])


def test_what_cannot_be_sound_is_told():
    with pytest.raises(SignalError, match="found sound of shape \\(2, 500\\)"):
        kaldi_fbank(np.zeros((2, 500)), 16000)
    with pytest.raises(CallError, match="found 128 mel bands from 20 to 9000 Hz at 16000 Hz"):
        kaldi_fbank(np.zeros(500), 16000, high_hz=9000.0)
    with pytest.raises(CallError, match="the window 'flat'"):
        kaldi_fbank(np.zeros(500), 16000, window="flat")


def test_a_tone_is_in_its_mel_band():
    centres = mel_centres_hz(64, 16000)
    strongest = kaldi_fbank(tone(centres[40], 16000), 16000, n_mels=64).mean(axis=0).argmax()
    assert strongest == 40


def test_the_front_end_of_wav2small_is_torchaudios_slaney_spectrum(rng):
    torch = pytest.importorskip("torch")
    transforms = pytest.importorskip("torchaudio.transforms")
    signal = 3 + 0.2 * rng.normal(size=16000)
    standard = torch.tensor((signal - signal.mean()) / np.sqrt(signal.var() + 1e-7))
    spectrum = transforms.MelSpectrogram(
        16000, n_fft=64, hop_length=32, n_mels=26, norm="slaney", mel_scale="slaney"
    ).double()(standard)
    reference = 10 * torch.log10(torch.clamp(spectrum, min=1e-10)).T.numpy()
    mine = wav2small_logmel(signal, 16000)
    assert mine.shape == reference.shape == (501, 26)
    assert np.abs(mine - reference).max() < 1e-3
    assert wav2small_logmel(resampled(signal, 16000, 44100), 44100).shape == (501, 26)


@pytest.mark.parametrize("sfreq", [44100, 48000, 96000])
def test_a_full_scale_tone_has_the_standards_loudness(sfreq):
    ends = np.array([0.2, 0.5, 0.9, 1.2])
    sound = tone(997, sfreq)
    one = momentary_loudness(sound[:, None], sfreq, ends)
    assert np.isnan(one[[0, 3]]).all()
    assert one[1:3] == pytest.approx(-3.01, abs=0.01)
    both = momentary_loudness(np.stack([sound, sound], axis=1), sfreq, ends)
    assert both[1:3] == pytest.approx(0.0, abs=0.01)
    low = momentary_loudness(tone(25, sfreq)[:, None], sfreq, ends)
    assert low[2] < -10  # below the high-pass


def ebur128(sound):
    """Return the momentary loudness every 100 ms by FFmpeg's filter, another's own code."""
    av = pytest.importorskip("av")
    graph = av.filter.Graph()
    rate = str(sound.sfreq)
    source = graph.add(
        "abuffer",
        sample_rate=rate,
        sample_fmt="s16",
        channel_layout="stereo",
        time_base=f"1/{rate}",
    )
    graph.link_nodes(source, graph.add("ebur128", "metadata=1"), graph.add("abuffersink"))
    graph.configure()
    block = av.AudioFrame.from_ndarray(sound.samples.reshape(1, -1), format="s16", layout="stereo")
    block.sample_rate, block.pts = sound.sfreq, 0
    graph.push(block)
    graph.push(None)
    found = []
    with suppress(av.error.EOFError):
        while True:
            found.append(graph.pull().metadata)
    # The last stretch may be shorter; it has none.
    return np.array([float(m["lavfi.r128.M"]) for m in found if m])


@pytest.mark.parametrize("name", CLIPS)
def test_the_loudness_of_real_sound_is_ffmpegs(shared_data, name):
    sound = decode_sound(shared_data("video-clips") / name)
    reference = ebur128(sound)
    ends = 0.1 * np.arange(1, len(reference) + 1)
    mine = momentary_loudness(sound.samples / 32768, sound.sfreq, ends)
    loud = np.isfinite(mine) & (reference > -70)
    assert loud.sum() > 0.8 * len(reference)
    assert np.abs(mine - reference)[loud].max() < 0.02


def test_six_channels_have_no_loudness_here():
    with pytest.raises(SignalError, match="with 1 or 2 channels; mix it down"):
        momentary_loudness(np.zeros((100, 6)), 48000, np.array([0.4]))


@pytest.mark.parametrize("hz", [65.0, 110.0, 233.1, 440.0, 880.0])
@pytest.mark.parametrize("sfreq", [16000, 44100])
def test_the_pitch_of_a_harmonic_tone_is_found(rng, hz, sfreq):
    sound = sum(tone(hz * k, sfreq, 0.5, 0.3 / k) for k in (1, 2, 3))
    pitch = yin_pitch(sound + 0.002 * rng.normal(size=len(sound)), sfreq)
    assert pitch.voiced.all()
    assert pitch.hz == pytest.approx(hz, rel=0.005)


def test_noise_and_silence_have_no_pitch(rng):
    assert yin_pitch(0.1 * rng.normal(size=16000), 16000).voiced.mean() < 0.02
    assert not yin_pitch(np.zeros(16000), 16000).voiced.any()
    with pytest.raises(CallError, match="expected two periods of the lowest"):
        yin_pitch(np.zeros(16000), 16000, frame_seconds=0.02)


def described(sound, sfreq=16000):
    ends = np.arange(1, 101) / 100
    values = audio_descriptors(sound, sfreq, ends, played=sound[:, None], played_hz=sfreq)
    return dict(zip(AUDIO_DESCRIPTORS, values.T, strict=True))


def test_the_descriptors_of_a_tone_are_known():
    found = described(tone(440, 16000, amplitude=0.5))
    assert found["rms"][10:] == pytest.approx(10 * np.log10(0.125), abs=0.05)
    assert found["centroid"][10:] == pytest.approx(440, abs=5)
    assert found["zero_crossings"][10:] == pytest.approx(880, abs=45)
    assert found["pitch"][10:] == pytest.approx(440, abs=1)
    assert (found["flatness"][10:] < 0.01).all() and (found["flux"][10:] < 0.05).all()
    assert np.isnan(found["rms"][:2]).all() and np.isnan(found["pitch"][:3]).all()


def test_the_descriptors_of_white_noise_are_known(rng):
    found = described(0.1 * rng.normal(size=16000))
    assert found["centroid"][10:].mean() == pytest.approx(4000, rel=0.03)
    assert found["rolloff"][10:].mean() == pytest.approx(0.85 * 8000, rel=0.03)
    assert found["flatness"][10:].mean() == pytest.approx(0.56, abs=0.04)  # exp(-gamma)


def test_silence_has_a_level_but_no_spectrum():
    found = described(np.zeros(16000))
    assert (found["rms"][3:] == -120).all() and np.isnan(found["centroid"]).all()


def test_a_click_where_the_window_is_zero_has_no_spectrum():
    click = np.zeros(16000)
    click[8000 - 400] = 0.9
    found = described(click)
    assert found["rms"][49] > -40 and np.isnan(found["centroid"][49])
    assert np.isfinite(found["centroid"][48])


def test_descriptors_see_nothing_after_their_frame(rng):
    sound = 0.1 * rng.normal(size=16000)
    changed = sound.copy()
    changed[8000:] = 0.5
    one, two = described(sound), described(changed)
    assert all(np.array_equal(one[k][:50], two[k][:50], equal_nan=True) for k in one)
