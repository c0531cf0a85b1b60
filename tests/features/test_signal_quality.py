"""Signal quality: clean signals score high, each kind of fault is told, real ones too."""

import numpy as np
import pytest

from physioemo.errors import SignalError
from physioemo.features.signal_quality import LIMITS, MEASURES, quality_score, signal_quality

SFREQ, SECONDS = 256.0, 60
AT = {name: k for k, name in enumerate(MEASURES)}


@pytest.fixture
def clean(rng):
    """Return noise that falls like an EEG's spectrum, 12 uV rms, (channel, time)."""
    n = int(SECONDS * SFREQ)
    frequencies = np.fft.rfftfreq(n, 1 / SFREQ)
    size = np.where(frequencies > 0.5, np.maximum(frequencies, 0.5) ** -0.75, 0.0)
    phases = np.exp(2j * np.pi * rng.random((4, len(frequencies))))
    signal = np.fft.irfft(size * phases, n)
    return 12 * signal / signal.std(axis=1, keepdims=True)


def medians(signal, sfreq=SFREQ):
    values = np.nanmedian(signal_quality(signal, sfreq), axis=(0, 1))
    return dict(zip(MEASURES, values, strict=True))


def test_a_clean_signal_scores_near_one(clean):
    scores = signal_quality(clean, SFREQ)[..., AT["score"]]
    assert np.median(scores) == 1 and np.quantile(scores, 0.02) > 0.8


@pytest.mark.parametrize(("line", "other"), [(50, 60), (60, 50)])
def test_mains_hum_is_found_with_its_share(clean, line, other):
    hum = 20 * np.sin(2 * np.pi * (line + 0.1) * np.arange(clean.shape[1]) / SFREQ)
    found = medians(clean + hum)
    assert found[f"line_noise_{line}"] == pytest.approx(200 / (200 + 144 * 0.72), abs=0.05)
    assert found[f"line_noise_{other}"] < 0.02 and found["score"] < 0.5


def test_broad_noise_about_the_line_is_no_hum(clean, rng):
    from scipy.signal import butter, sosfilt

    sections = butter(4, (40, 70), "bandpass", fs=SFREQ, output="sos")
    found = medians(clean + sosfilt(sections, rng.normal(0, 60, clean.shape), axis=1))
    assert found["high_frequency"] > 0.8
    assert found["line_noise_50"] < 0.06 and found["line_noise_60"] < 0.06


def test_a_rate_too_low_for_60_hz_leaves_it_open(rng):
    values = signal_quality(rng.normal(0, 10, (1, 1200)), 120.0)
    assert np.isnan(values[..., AT["line_noise_60"]]).all()
    assert np.isfinite(values[..., AT["line_noise_50"]]).all()
    assert np.isfinite(values[..., AT["score"]]).all()


def test_muscles_are_told_by_their_high_frequencies(clean, rng):
    sharp = np.diff(rng.normal(0, 15, (4, clean.shape[1] + 1)), axis=1)
    found = medians(clean + sharp)
    assert found["high_frequency"] > 0.7 > 0.2 > medians(clean)["high_frequency"]
    assert found["score"] < 0.3


def test_a_step_of_200_microvolts_is_flagged_in_its_window_only(clean):
    clean[1, 10 * 256 + 100 :] += 200
    scores = signal_quality(clean, SFREQ)[..., AT["score"]]
    assert np.argwhere(scores < 0.5).tolist() == [[10, 1]]
    assert scores[10, 1] < 0.1


def test_a_railed_channel_is_flat_where_it_is_railed(clean):
    railed = np.clip(clean, -8, 8)
    assert medians(railed)["flat"] > 0.2 and medians(railed)["score"] < 0.2
    steps = np.round(clean / 0.49) * 0.49
    assert medians(steps)["flat"] == 0


def test_a_flat_channel_scores_zero(clean):
    clean[2, 256 * 5 : 256 * 7] = 4.2
    values = signal_quality(clean, SFREQ)[5:7, 2]
    assert (values[:, AT["flat"]] == 1).all() and (values[:, AT["score"]] == 0).all()
    assert (values[:, AT["peak_to_peak"]] == 0).all()
    assert np.isnan(values[:, AT["high_frequency"]]).all()


def test_missing_samples_are_counted_and_nothing_else_is_invented(clean):
    clean[0, 256:288] = np.nan
    clean[1, 256:512] = np.inf
    partly, wholly = signal_quality(clean, SFREQ)[1, :2]
    assert partly[AT["missing"]] == 0.125 and partly[AT["score"]] == pytest.approx(0.5)
    assert 20 < partly[AT["peak_to_peak"]] < 120 and np.isnan(partly[AT["line_noise_50"]])
    assert wholly[AT["missing"]] == 1 and wholly[AT["score"]] == 0
    assert np.isnan(wholly[AT["peak_to_peak"]])


def test_the_score_is_the_lowest_part_on_its_line():
    measures = np.array([0.0, 0.0, 150.0, np.nan, 0.3, 0.1])
    assert quality_score(measures) == pytest.approx(0.5)
    for name, limits in LIMITS.items():
        for value, score in ((limits.good, 1), (np.mean(limits), 0.5), (limits.bad, 0)):
            measures = np.array([0.0, 0.0, 50.0, 0.0, 0.0, 0.1])
            measures[AT[name]] = value
            assert quality_score(measures) == pytest.approx(score)


def test_what_cannot_be_told_is_refused(clean):
    with pytest.raises(SignalError, match="found windows of 0.5 s, expected at least 1 s to tell"):
        signal_quality(clean, SFREQ, window_seconds=0.5)
    with pytest.raises(SignalError, match="found EEG at 64 Hz, expected at least 80 Hz"):
        signal_quality(clean, 64.0)


def test_the_eeglab_recording_is_good_but_for_its_blinks(shared_data):
    mne = pytest.importorskip("mne")
    path = shared_data("eeglab-sample") / "eeglab_data.set"
    raw = mne.io.read_raw_eeglab(path, preload=True, verbose="error")
    bad = signal_quality(raw.get_data() * 1e6, 128.0)[..., AT["score"]] < 0.5
    share = dict(zip(raw.ch_names, bad.mean(axis=0), strict=True))
    assert max(share.values()) < 0.15
    assert share["FPz"] > 4 * share["Oz"] and share["FPz"] > 4 * share["P8"]


@pytest.mark.parametrize(("run", "line"), [("2017-02-04", "50"), ("2017-09-13", "60")])
def test_the_muse_recordings_show_the_mains_of_their_country(shared_data, run, line):
    from tests.realdata import table

    path = sorted(shared_data("muse-lsl-eeg").glob(f"visual/**/data_{run}*.csv"))[0]
    names, values = table(path)
    columns = [names.index(n) for n in ("TP9", "AF7", "AF8", "TP10", "Right AUX")]
    found = np.nanmedian(signal_quality(values[:, columns].T, 256.0), axis=0)
    other = {"50": "60", "60": "50"}[line]
    assert found[0, AT[f"line_noise_{line}"]] > 0.2 > found[0, AT[f"line_noise_{other}"]]
    assert found[4, AT["score"]] < 0.2  # the unconnected input
