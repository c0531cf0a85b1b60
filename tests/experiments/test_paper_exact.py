"""The published choices, each against a statement of its own."""

import json
from dataclasses import asdict
from itertools import pairwise

import numpy as np
import pytest

from physioemo.datasets.deap import read_deap
from physioemo.datasets.deap_fixture import write_deap_fixture
from physioemo.datasets.dreamer import read_dreamer
from physioemo.datasets.dreamer_fixture import write_dreamer_fixture
from physioemo.datasets.seed import SEED_SAMPLES, read_seed
from physioemo.datasets.seed_fixture import write_seed_fixture
from physioemo.errors import CallError, DataError, SignalError
from physioemo.experiments.null_data import null_recordings
from physioemo.experiments.paper_exact import (
    paper_balanced,
    paper_classes,
    paper_exact_data,
    paper_folds,
)
from physioemo.experiments.paper_recipe import (
    PAPER_DATASETS,
    PAPER_TRAINING,
    paper_baseline,
    paper_exact_recipe,
    paper_tokens,
    paper_windows,
)
from physioemo.experiments.smote import smote
from physioemo.experiments.study_config import read_study
from physioemo.models.catalogue import build_model
from physioemo.models.training import TrainingConfig

ROUNDING = 1e-6  # a filter of ten poles as polynomials keeps eight digits at 4 Hz
EDGES = [(4, 8), (8, 14), (14, 31), (31, 49)]


@pytest.fixture(scope="module")
def study():
    return paper_exact_data(null_recordings(2, 6, 0, 0.1, trial_seconds=12.0), like="deap")


def reference_tokens(window):
    """Return (channel, band): the published steps one sample after the other."""
    from scipy.signal import butter

    z = (window - window.mean()) / window.std()
    out = np.empty((len(z), len(EDGES)))
    for j, (low, high) in enumerate(EDGES):
        b, a = butter(5, [low / 64, high / 64], btype="band")
        for c, x in enumerate(z):
            y = np.zeros(len(x))
            for n in range(len(x)):
                m = min(n, len(b) - 1)
                y[n] = b[: m + 1] @ x[n - m : n + 1][::-1] - a[1 : m + 1] @ y[n - m : n][::-1]
            out[c, j] = 0.5 * np.log2(2 * np.pi * np.e * np.mean((y - y.mean()) ** 2))
    return out


def test_published_counts_of_windows_come_out():
    deap = len(paper_windows(np.zeros((1, 60 * 128))))
    assert deap * 40 * 32 == 79_360
    seed = sum(len(paper_windows(np.zeros((1, n)))) for n in SEED_SAMPLES)
    assert seed * 45 == 258_345


def test_windows_are_512_samples_every_117():
    windows = paper_windows(np.arange(2 * 800).reshape(2, 800))
    assert windows.shape == (3, 2, 512)
    assert windows[:, 0, 0].tolist() == [0, 117, 234]
    assert pytest.approx(0.77, abs=0.005) == (512 - 117) / 512


def test_tokens_are_those_of_a_filter_written_out(rng):
    window = 50 + rng.normal(0, [[1], [20]], (2, 300)).cumsum(axis=1)
    assert paper_tokens(window[None])[0] == pytest.approx(reference_tokens(window), abs=ROUNDING)


def test_the_window_is_scored_as_a_whole_not_channel_by_channel(rng):
    window = rng.normal(0, [[1.0], [8.0]], (2, 512))[None]
    louder = paper_tokens(window)[0]
    assert (louder[1] - louder[0]).mean() == pytest.approx(3, abs=0.3)  # log2(8)
    assert paper_tokens(5 * window + 4200) == pytest.approx(paper_tokens(window), abs=ROUNDING)


def test_the_filter_starts_from_rest_and_looks_back_only(rng):
    window = rng.normal(0, 1, (1, 1, 512))
    turned = window[:, :, ::-1]
    assert np.abs(paper_tokens(window) - paper_tokens(turned)).max() > 1e-6
    # An offset between channels survives the scoring of the whole, and is a step to the filter.
    quiet = np.concatenate([0.01 * window, 0.01 * window + 100], axis=1)
    step = np.where(np.arange(2)[:, None], 1.0, -1.0) * np.ones((2, 512))
    assert paper_tokens(quiet) == pytest.approx(paper_tokens(step[None]), abs=0.02)


def test_the_baseline_is_the_entropy_of_the_mean_waveform(rng):
    signal = rng.normal(0, 1, (3, 400))
    chunks = [signal[:, k * 128 : (k + 1) * 128] for k in range(3)]
    found, n_chunks = paper_baseline(signal, 3)
    assert n_chunks == 3
    assert found == pytest.approx(reference_tokens(sum(chunks) / 3), abs=ROUNDING)
    assert paper_baseline(signal[:, :300], 61)[1] == 2


def test_deap_windows_come_after_the_baseline_and_it_is_subtracted(tmp_path):
    write_deap_fixture(tmp_path, subjects=1, n_samples=1408)  # 3 s of baseline and 8 s of trial
    recording = read_deap(tmp_path, 1, n_samples=1408)
    data = paper_exact_data([recording])
    raw = recording["eeg"]["signal"].values[:1408].T
    first = data.take(np.flatnonzero(data.groups.trial == 1))
    onsets = first.groups.onset_seconds
    k = round((onsets[-1] - 3) * 128)
    assert k % 117 == 0
    window = raw[:, 384 + k : 384 + k + 512]
    mean = sum(raw[:, i * 128 : (i + 1) * 128] for i in range(3)) / 3
    wanted = reference_tokens(window) - reference_tokens(mean)
    assert first.families["de"][-1] == pytest.approx(wanted, abs=ROUNDING)
    assert data.source["baseline_chunks"] == [3]
    assert data.groups.window_seconds == 4.0


def test_a_tenth_of_the_windows_is_dropped_at_random(study):
    n_all = 2 * 6 * ((12 * 128 - 512) // 117 + 1)
    assert len(study) == n_all - round(0.1 * n_all)
    again = paper_exact_data(null_recordings(2, 6, 0, 0.1, trial_seconds=12.0), like="deap")
    assert (again.groups.onset_seconds == study.groups.onset_seconds).all()
    other = paper_exact_data(
        null_recordings(2, 6, 0, 0.1, trial_seconds=12.0), like="deap", seed=24
    )
    assert (other.groups.onset_seconds != study.groups.onset_seconds).any()


def test_high_is_5_in_deap_and_3_in_dreamer_and_no_rating_is_no_class(study):
    from dataclasses import replace

    rating = np.full(len(study), 4.99)
    rating[:3] = 5.0, np.nan, 1.0
    deap = replace(study, ratings={"valence": rating})
    assert paper_classes(deap, "valence")[:4].tolist() == [1, -1, 0, 0]
    source = {**study.source, "recipe": paper_exact_recipe("dreamer")}
    rating = np.where(np.arange(len(study)) % 2, 3.0, 2.0)
    dreamer = replace(study, ratings={"valence": rating}, source=source)
    assert paper_classes(dreamer, "valence")[:2].tolist() == [0, 1]


def test_dreamer_is_treated_by_its_own_numbers(tmp_path):
    write_dreamer_fixture(tmp_path, subjects=1, clip_seconds=5, baseline_seconds=4)
    data = paper_exact_data(read_dreamer(tmp_path))
    recipe = data.source["recipe"]
    assert (recipe["baseline_chunks"], recipe["threshold"]) == (61, 3.0)
    assert data.source["baseline_chunks"] == [4]  # what the short fixture has
    assert data.families["de"].shape[1:] == (14, 4)


def test_seed_has_no_baseline_three_classes_and_a_filter_for_the_wrong_rate(tmp_path):
    write_seed_fixture(tmp_path, subjects=1, sessions=1, n_samples=1001)
    recording = next(read_seed(tmp_path, n_samples=1001))
    data = paper_exact_data([recording])
    published = recording.trials["label"].values[data.groups.trial - 1] + 1
    assert paper_classes(data).tolist() == published.tolist()
    assert set(paper_classes(data)) == {0, 1, 2}
    assert data.groups.window_seconds == 512 / 200
    assert data.source["recipe"]["baseline_subtracted"] is False
    k = round((data.groups.onset_seconds[0] - recording.trials["onset_seconds"].values[0]) * 200)
    wanted = reference_tokens(recording["eeg"]["signal"].values[k : k + 512].T)
    assert data.families["de"][0] == pytest.approx(wanted, abs=ROUNDING)


def test_at_200_hz_a_rhythm_of_10_hz_falls_into_the_band_called_theta():
    rhythm = np.sin(2 * np.pi * 10 * np.arange(2048) / 200)[None, None]
    assert paper_tokens(rhythm)[0, 0].argmax() == 0


def test_folds_shuffle_the_windows_of_all_subjects(study):
    folds = list(paper_folds(len(study)))
    tested = np.concatenate([test for _, test in folds])
    assert len(folds) == 5
    assert sorted(tested) == list(range(len(study)))
    for train, test in folds:
        assert sorted([*train, *test]) == list(range(len(study)))
        trials = set(study.groups.trial_id[test])
        assert len(trials & set(study.groups.trial_id[train])) == len(trials)
        assert len(set(study.groups.subject[test])) == 2


def test_smote_is_made_of_training_windows_alone(study):
    classes = np.where(study.groups.trial == 1, 1, 0)
    train, test = next(paper_folds(len(study)))
    tokens, labels = paper_balanced(study, classes, train)
    assert (labels == 1).sum() == (labels == 0).sum()
    assert np.array_equal(tokens[: len(train)], study.families["de"][train])
    from dataclasses import replace

    spoiled = study.families["de"].copy()
    spoiled[test] = 1e6
    again, _ = paper_balanced(replace(study, families={"de": spoiled}), classes, train)
    assert np.array_equal(again, tokens)


def test_smote_draws_windows_on_lines_between_neighbours_of_one_class(rng):
    few = np.array([[0.0, 0.0], [1.0, 0.0], [50.0, 50.0], [51.0, 50.0]])
    many = rng.normal(-100, 1, (40, 2))
    features = np.concatenate([few, many])
    labels = np.array([1] * 4 + [0] * 40)
    made, of = smote(features, labels, seed=0, n_neighbours=1)
    new = made[44:]
    assert (of[44:] == 1).all() and len(new) == 36
    assert set(np.round(new[:, 1], 9)) == {0.0, 50.0}
    assert ((new[:, 0] % 50 >= 0) & (new[:, 0] % 50 <= 1)).all()
    assert len(set(new[:, 0])) == 36


def test_training_is_the_published_one():
    t = PAPER_TRAINING
    assert (t.optimizer, t.learning_rate, t.weight_decay) == ("AdamW", 1e-3, 1e-3)
    assert (t.schedule, t.final_learning_rate, t.n_epochs) == ("cosine", 1e-6, 300)
    names = ("n_epochs", "batch_size", "late_batch_size", "late_from_epoch")
    config = TrainingConfig(**{name: getattr(t, name) for name in names})
    assert [config.batch_size_at(e) for e in (0, 149, 150, 299)] == [256, 256, 64, 64]
    assert (t.label_smoothing, t.seed, t.dropout) == (0.12, 23, 0.1)


@pytest.mark.parametrize("name", PAPER_DATASETS)
def test_the_study_that_comes_with_the_program_trains_as_published(name, tmp_path):
    study = read_study(f"rbtransformer-paper-exact-{name}", data=tmp_path, out=tmp_path / "out")
    (network,) = [m for m in study.models if m.name == PAPER_TRAINING.model]
    published = {k: v for k, v in asdict(PAPER_TRAINING).items() if k in network.options}
    assert {**network.options, **published, "keep": "last"} == network.options
    assert {"n_epochs", "batch_size", "late_batch_size", "late_from_epoch"} <= set(published)
    assert study.seed == PAPER_TRAINING.seed and study.resample == "smote"


def test_the_published_model_can_be_made_of_it():
    model = build_model(PAPER_TRAINING.model, PAPER_TRAINING.preset, n_chans=14, n_outputs=2)
    assert sum(p.numel() for p in model.parameters()) == 662_530


def test_every_result_says_that_it_leaks_and_why(study):
    assert study.source["leaky"] is True
    assert "shares samples with training windows of its own trial" in study.source["why_leaky"]
    recipe = study.source["recipe"]
    assert json.loads(json.dumps(recipe)) == recipe
    assert [tuple(b[1:]) for b in recipe["bands"]] == EDGES
    assert all(a[2] == b[1] for a, b in pairwise(recipe["bands"]))


def test_the_baseline_can_be_left_out_and_the_recipe_says_so():
    recordings = list(null_recordings(1, 4, 0, 0.1, trial_seconds=8.0))
    plain = paper_exact_data(recordings, like="deap", baseline=False)
    whole = paper_exact_data(recordings, like="deap")
    assert plain.source["recipe"]["name"].endswith("without baseline")
    assert plain.source["recipe_hash"] != whole.source["recipe_hash"]
    apart = whole.families["de"] - plain.families["de"]
    for trial in range(1, 5):  # one number for all windows of a trial
        assert np.ptp(apart[plain.groups.trial == trial], axis=0).max() < 1e-9


def short(**changes):
    return list(null_recordings(1, 2, 0, 0.1, trial_seconds=changes.pop("seconds", 6.0)))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: paper_exact_data([]), CallError, "found no recordings, expected at least one"),
        (
            lambda: paper_exact_data(short()),
            CallError,
            "found the data set 'simulated', expected one of the paper's: deap, dreamer, seed",
        ),
        (
            lambda: paper_exact_data(short(), like="seed"),
            DataError,
            "found EEG at 128 Hz, expected 200 Hz as in seed",
        ),
        (
            lambda: paper_exact_data(short(seconds=3.0), like="deap"),
            DataError,
            "found a trial of 384 samples, expected at least 512",
        ),
        (
            lambda: paper_tokens(np.full((1, 2, 512), np.nan)),
            SignalError,
            "found missing samples, expected none",
        ),
        (
            lambda: paper_tokens(np.ones((1, 2, 512))),
            SignalError,
            "found a window that is flat in all channels",
        ),
        (
            lambda: paper_baseline(np.ones((2, 100)), 3),
            DataError,
            "found a baseline of 100 samples, expected at least 128",
        ),
        (lambda: list(paper_folds(3)), CallError, "found 3 windows, expected at least 5"),
        (
            lambda: smote(np.zeros((3, 2)), np.array([0, 0, 1]), seed=0),
            CallError,
            "found one window of class 1, expected at least two",
        ),
        (
            lambda: smote(np.full((3, 2), np.nan), np.array([0, 0, 1]), seed=0),
            CallError,
            "found missing values, expected none",
        ),
    ],
)
def test_what_cannot_be_done_is_said(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_an_unknown_dimension_is_said(study):
    with pytest.raises(CallError, match="found the dimension 'liking', expected one of valence"):
        paper_classes(study, "liking")
