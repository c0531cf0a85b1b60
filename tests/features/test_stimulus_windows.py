"""What was shown when, by trials: never a moment too early."""

import numpy as np
import pytest

from physioemo.errors import DataError
from physioemo.features.stimulus_tokens import STIMULUS_SCALARS
from physioemo.features.stimulus_windows import trial_stimulus_tokens
from physioemo.trials import make_trials
from tests.features.made_stimuli import FPS, frame_of, made_recording, made_stimulus, start_marker
from tests.features.shown_windows import FILM, LAYOUT, by_trials, rows_of


def test_by_trials_a_window_holds_the_files_last_two_seconds():
    tokens = by_trials([103.0, 105.503])
    # Row k ends at 0.025 + k / 100 s: at 3 s the newest is row 297.
    assert np.array_equal(rows_of(tokens), np.arange(298 - 200, 298))
    assert rows_of(tokens, 1)[-1] == 547
    assert frame_of(tokens.pictures)[0].tolist() == [31, 37, 43, 50, 56, 62, 68, 75]
    assert tokens.picture_seconds[0] == pytest.approx(np.arange(-1.75, 0.1, 0.25))
    assert tokens.seen.tolist() == [1, 1] and tokens.heard.tolist() == [1, 1]
    assert tokens.selected_seconds[0] == pytest.approx(frame_of(tokens.selected)[0] / FPS - 3)


def test_before_between_and_after_trials_everything_is_masked():
    tokens = by_trials([99.0, 100.0, 101.0, 111.5, 113.0, 500.0])
    assert tokens.seen == pytest.approx([0, 0, 0.5, 0.25, 0, 0], abs=0.01)
    assert tokens.heard == pytest.approx([0, 0, 0.49, 0.25, 0, 0], abs=0.01)
    assert np.isnan(tokens.sound[[0, 4, 5]]).all() and np.isnan(tokens.scalars[[0, 4, 5]]).all()
    # One second into the trial: the older half of the window is empty.
    assert np.isnan(rows_of(tokens, 2)[:100]).all() and rows_of(tokens, 2)[-1] == 97
    assert frame_of(tokens.pictures)[2].tolist() == [-1, -1, -1, 0, 6, 12, 18, 25]
    # A second and a half after it: what was last is where it was.
    assert rows_of(tokens, 3)[:50].tolist() == list(range(948, 998))
    assert np.isnan(rows_of(tokens, 3)[50:]).all()


def test_sound_that_is_shorter_than_the_picture_is_masked_not_stretched():
    tokens = by_trials([105.0], made_stimulus(sound_seconds=4.0))
    assert rows_of(tokens)[:100].tolist() == list(range(298, 398))
    assert np.isnan(rows_of(tokens)[100:]).all() and tokens.seen == 1
    late = by_trials([102.0], made_stimulus(sound_start=1.3))
    assert np.isnan(rows_of(late)[:130]).all() and rows_of(late)[-1] == 67


def test_frames_at_uneven_times_are_those_on_display():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        stamps = np.cumsum(rng.uniform(0.005, 0.4, 40)) - 0.005
        film = made_stimulus(stamps=stamps, sound_seconds=0)
        ends = 100 + rng.uniform(0, 10, 10)
        tokens = by_trials(ends, film)
        for k, end in enumerate(ends):
            wanted = end - 100 + np.arange(-1.75, 0.1, 0.25)
            begun = np.searchsorted(stamps, wanted, side="right") - 1
            expected = np.where(wanted < film.until_seconds, begun, -1)
            assert frame_of(tokens.pictures[k]).tolist() == expected.tolist(), (seed, k)


def test_a_trial_that_begins_in_the_middle_of_its_file_says_so():
    marker = start_marker(FILM, trial=1, start_seconds=4.0)
    tokens = by_trials([101.0], markers=[(100.0, marker)])
    assert rows_of(tokens)[-1] == 497 and np.isnan(rows_of(tokens)[:100]).all()
    # The first row that began after the beginning ends 25 ms later.
    assert np.nanmin(rows_of(tokens)) == 400
    assert frame_of(tokens.pictures)[0].tolist() == [-1, -1, -1, 100, 106, 112, 118, 125]


def test_each_stimulus_needs_its_file_or_none():
    table = make_trials([(1, 100.0, 10.0, "film"), (2, 120.0, 10.0, "a real person")])
    recording = made_recording(trials=table)
    stimuli = {"film": FILM, "a real person": None}
    tokens = trial_stimulus_tokens(recording, [103.0, 123.0], stimuli, LAYOUT)
    assert tokens.seen.tolist() == [1, 0] and np.isnan(tokens.scalars[1]).all()
    with pytest.raises(DataError, match="found no file for the stimulus 'other', expected one"):
        by_trials([103.0], trials=((1, 100.0, 10.0, "other"),))
    marker = {"event": "trial_start", "trial": 1, "stimulus": "film", "sha256": "ab" * 32}
    with pytest.raises(DataError, match=r"found film.mp4 .* 0000.* expected abababababab... as"):
        by_trials([103.0], markers=[(100.0, marker)])


def test_windows_are_what_the_fused_model_takes(rng):
    torch = pytest.importorskip("torch")
    from physioemo.models.fused import FusedModel

    encoders = {
        "audio": {"encoder": "audio-patches", "n_mels": 16},
        "video": {"encoder": "video-tubelets", "size": 16},
        "stimulus": {"encoder": "scalars", "n_scalars": len(STIMULUS_SCALARS)},
    }
    model = FusedModel(encoders=encoders, dimensions=["valence"]).eval()

    def tensors(value):
        if isinstance(value, dict):
            return {k: tensors(v) for k, v in value.items()}
        return torch.as_tensor(np.asarray(value))

    tokens = by_trials([50.0, 101.0, 105.0])
    for selected in (False, True):
        with torch.no_grad():
            out = model(tensors(tokens.inputs(selected=selected)))
        assert torch.isfinite(out.logits).all()
        assert out.abstain.tolist() == [True, False, False]


def test_without_windows_the_shapes_stay():
    tokens = by_trials([])
    assert tokens.sound.shape == (0, 200, 16) and tokens.pictures.shape == (0, 8, 16, 16, 3)
    assert tokens.scalars.shape == (0, 15) and len(tokens.end_seconds) == 0
