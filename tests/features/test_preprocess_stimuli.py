"""What was shown, in a feature store: in the right windows of the right trials, or missing."""

import json
import shutil

import numpy as np
import pytest
import xarray as xr

from physioemo.errors import CallError, DataError, UnreadableFileError
from physioemo.features import stimulus_family, stimulus_files
from physioemo.features.feature_store import open_features
from physioemo.features.preprocess import recording_features
from physioemo.features.preprocess_recipe import PreprocessRecipe
from physioemo.features.preprocess_run import preprocess, recording_sources
from physioemo.features.stimulus_family import STIMULUS_FAMILIES, StimulusCut
from physioemo.features.stimulus_features import decode_stimulus
from physioemo.features.stimulus_files import find_stimuli
from physioemo.store import create_recording
from physioemo.trials import make_trials
from tests.features.made_stimuli import made_recording, played, start_marker
from tests.features.planted_clips import planted_clip
from tests.streams import eeg_stream, trial_markers

CUT = StimulusCut(n_mels=32, picture_px=16, n_pictures=2)
FAMILIES = ("de", *STIMULUS_FAMILIES)
TRIALS = [(1, 1.0, 6.0, "dawn"), (2, 8.0, 4.0, "song"), (3, 13.0, 6.0, "dawn.mkv")]
SFREQ = 250.0


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Return a folder: dawn is bright from 3 to 5 s, song has a tone in its second 1."""
    folder = tmp_path_factory.mktemp("clips")
    planted_clip(folder / "dawn.mkv", bright=(3, 4), tone=(0,), seconds=7, sound_seconds=2.5)
    planted_clip(folder / "song.mkv", tone=(1,))
    (folder / "LICENSE.txt").write_text("not a film")
    return folder


def record(path, trials=TRIALS, seed=0):
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=(5000, 2)).astype(np.float32)
    eeg = eeg_stream(signal, SFREQ, ch_names=("F3", "F4"))
    streams = {"eeg": eeg, "markers": trial_markers(trials)}
    return create_recording(path, streams)


def recipe_for(files, features=FAMILIES, **changes):
    return PreprocessRecipe(
        features=features, stimuli=dict(files.sha256), stimulus_cut=CUT, **changes
    )


@pytest.fixture(scope="module")
def found(clips, tmp_path_factory):
    files = find_stimuli(clips)
    recording = record(tmp_path_factory.mktemp("r") / "r.zarr")
    return recording_features(recording, recipe_for(files), name="r", stimuli=files)


def feature(found, family, name):
    family = family.replace("-", "_")
    return found[family].sel({f"{family}_feature": name}).values


def test_a_planted_light_and_a_planted_tone_are_in_the_windows_that_covered_them(found):
    assert found["trial"].values.tolist() == [1] * 6 + [2] * 4 + [3] * 6
    dawn = np.array([0, 0, 0, 1, 1, 0])
    bright = feature(found, "video-descriptors", "brightness") > 0.5
    assert np.array_equal(bright, np.r_[dawn, np.zeros(4), dawn])
    pitch = feature(found, "audio-descriptors", "rms") > -20
    tone = np.array([1, 0, 0, 0, 0, 0])
    assert np.array_equal(pitch, np.r_[tone, [0, 1, 0, 0], tone])
    # The last picture is that on display just before the window ends, and so is of the window.
    shown = found["video"].values[:6, :, 0, 0, 0]
    assert np.array_equal(shown > 0, [[0, 0], [0, 0], [0, 0], [1, 1], [1, 1], [0, 0]])
    heard = np.nanmean(found["audio"].values[6:10], axis=(1, 2))  # song
    assert heard.argmax() == 1


def test_a_window_holds_the_files_own_rows_and_is_the_same_for_whoever_saw_it(found, clips):
    song = decode_stimulus(clips / "song.mkv", CUT.recipe)
    # In the window from 1 to 2 s row k ends at 0.025 + k / 100 s: the newest is row 197.
    assert np.array_equal(found["audio"].values[7], song.fbank[98:198])
    assert found["audio"].dtype == np.float32
    for family in ("audio", "video", "audio_descriptors", "video_descriptors"):
        one, other = found[family].values[:6], found[family].values[10:16]
        np.testing.assert_allclose(one, other, rtol=1e-6)


def test_sound_that_is_shorter_than_the_picture_is_masked_not_stretched(found):
    rows = found["audio_present"].values[:6].all(axis=2).sum(axis=1)
    # 2.5 s of sound; the first rows see 25 ms.
    assert rows.tolist() == [98, 100, 50, 0, 0, 0]
    assert np.isnan(feature(found, "audio-descriptors", "rms")[3:6]).all()
    assert found["video_present"].values[:6].all()


def test_axes_say_when_and_what(found):
    assert found["audio"].dims == ("window", "audio_row", "audio_mel")
    assert found["audio_row"].values[[0, -1]].tolist() == ["-0.99", "0"]
    assert found["video_picture"].values.tolist() == ["-0.5", "0"]
    assert found["video"].shape[1:] == (2, 16, 16, 3)
    assert found["audio_descriptors"].attrs["units"].startswith("dBFS, LUFS, Hz")


@pytest.mark.parametrize("name", STIMULUS_FAMILIES)
def test_every_family_has_the_axes_and_units_that_it_names(found, name):
    family, array = STIMULUS_FAMILIES[name], found[name.replace("-", "_")]
    coords = family.coords(CUT, 1.0)
    assert array.shape[1:] == tuple(map(len, coords.values()))
    assert len(family.units) in (1, array.shape[-1]) and all(family.units) and family.title


def test_real_clips_are_as_bright_as_their_frames_until_they_end(shared_data, tmp_path):
    import av

    clips = shared_data("video-clips")  # licences lie beside the films
    trials = [(1, 1.0, 5.0, "no_face"), (2, 8.0, 6.0, "bigbuckbunny_720p_5s.mp4")]
    files = find_stimuli(clips)
    recording = record(tmp_path / "r.zarr", trials)
    recipe = recipe_for(files, ("video-descriptors", "audio-descriptors"))
    found = recording_features(recording, recipe, name="r", stimuli=files)
    bright = feature(found, "video-descriptors", "brightness")
    with av.open(str(clips / "bigbuckbunny_720p_5s.mp4")) as film:
        frames = [(f.time, f.to_ndarray(format="gray").mean() / 255) for f in film.decode(video=0)]
    for second in range(5):
        wanted = np.mean([v for t, v in frames if second <= t < second + 1])
        assert bright[5 + second] == pytest.approx(wanted, abs=0.02)
    heard = np.isfinite(feature(found, "audio-descriptors", "rms"))
    # 3.94 s and 5.31 s long.
    assert np.isfinite(bright).tolist() == [True] * 4 + [False] + [True] * 6
    assert heard.tolist() == [True] * 4 + [False] + [True] * 6


def test_without_stimuli_a_recipe_keeps_the_hash_that_it_had():
    assert "stimuli" not in PreprocessRecipe().to_dict()
    assert PreprocessRecipe().fingerprint == PreprocessRecipe(stimulus_cut=CUT).fingerprint


def test_the_files_are_part_of_the_recipe_and_of_the_store(clips, tmp_path):
    mine = tmp_path / "clips"
    shutil.copytree(clips, mine)
    record(tmp_path / "r.zarr")
    stimulus_files._held.clear()
    files = find_stimuli(mine, cache=tmp_path / "decoded")
    recipe = recipe_for(files, ("audio-descriptors",))
    out = preprocess(
        recording_sources(tmp_path / "r.zarr"), tmp_path / "f.zarr", recipe, stimuli=files
    ).out
    with open_features(out) as store:
        about, kept = store.attrs["stimuli"], store.attrs["recipe"]
    seconds = about["dawn"].pop("duration_seconds")
    assert seconds == pytest.approx(7.0, abs=0.1)
    assert about["dawn"] == {"file": "dawn.mkv", "sha256": files.sha256["dawn"]}
    assert PreprocessRecipe.from_dict(json.loads(json.dumps(kept))) == recipe
    planted_clip(mine / "song.mkv", tone=(2,))
    assert recipe_for(find_stimuli(mine), ("audio-descriptors",)).fingerprint != recipe.fingerprint
    assert len(list((tmp_path / "decoded").iterdir())) == 2  # each file once


def test_an_interrupted_run_goes_on_and_comes_out_the_same(clips, tmp_path, monkeypatch):
    import physioemo.features.preprocess_run as run

    for k in range(2):
        record(tmp_path / "mine" / f"p{k}.zarr", seed=k)
    files = find_stimuli(clips, cache=tmp_path / "decoded")
    recipe, sources = recipe_for(files), recording_sources(tmp_path / "mine")
    whole = preprocess(sources, tmp_path / "a.zarr", recipe, stimuli=files).out

    def second_time_out(recording, recipe, *, name, stimuli):
        if name == "p1":
            raise KeyboardInterrupt
        return recording_features(recording, recipe, name=name, stimuli=stimuli)

    monkeypatch.setattr(run, "recording_features", second_time_out)
    with pytest.raises(KeyboardInterrupt):
        preprocess(sources, tmp_path / "b.zarr", recipe, stimuli=files)
    monkeypatch.undo()
    result = preprocess(sources, tmp_path / "b.zarr", recipe, stimuli=files)
    assert result.reused == ("p0",) and result.computed == ("p1",)
    with open_features(whole) as one, open_features(result.out) as two:
        xr.testing.assert_identical(one.load(), two.load())


def test_a_stimulus_without_a_file_is_refused_or_missing(clips, tmp_path):
    recording = record(tmp_path / "r.zarr", [*TRIALS[:1], (2, 8.0, 4.0, "sonng")])
    files = find_stimuli(clips)
    with pytest.raises(
        CallError, match=r"no file for the stimulus 'sonng' .*nearest: 'song'.*--allow-missing"
    ):
        recording_features(recording, recipe_for(files), name="r", stimuli=files)
    masked = find_stimuli(clips, allow_missing=True)
    found = recording_features(recording, recipe_for(masked), name="r", stimuli=masked)
    present = found["video_present"].values.all(axis=(1, 2, 3, 4))
    assert present.tolist() == [True] * 6 + [False] * 4
    none = record(tmp_path / "n.zarr", [(1, 1.0, 3.0, "x")])
    assert not recording_features(none, recipe_for(masked), name="r", stimuli=masked)[
        "audio_present"
    ].any()


@pytest.mark.parametrize("kind", ["toml", "csv"])
def test_a_table_says_which_file_a_stimulus_is(clips, tmp_path, kind):
    table = clips.parent / f"{tmp_path.name}.{kind}"
    rows = {"7": f"{clips.name}/dawn.mkv", "der Film, 2": f"{clips.name}/song.mkv"}
    lines = [f'"{k}" = "{v}"' for k, v in rows.items()]
    if kind == "csv":
        lines = ["stimulus,file", *(f'"{k}",{v}' for k, v in rows.items())]
    table.write_text("\n".join(lines), "utf-8")
    files = find_stimuli(table)
    assert files.named(["der Film, 2", "7"]) == {"der Film, 2": "der Film, 2", "7": "7"}
    assert files.about["7"]["file"] == "dawn.mkv"


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("t.csv", "film,path\na,b\n", "found the columns film, path in .*expected stimulus and"),
        ("t.csv", "stimulus,file\na,gone.mp4\n", r"found no file at .*gone.mp4 for the stimulus"),
        ("t.csv", "stimulus,file\na,t.csv\na,t.csv\n", "found the stimulus 'a' twice"),
        ("t.toml", "a = 3", "found a = 3 in .*expected the path of a file"),
        ("t.toml", "a =", "that is no TOML"),
        ("t.toml", "", "found no stimulus in"),
        ("t.txt", "", "found a file that is neither film nor table at"),
        ("gone", None, "found nothing at .*expected a folder of the files that were shown"),
        ("empty/x.txt", "", "found no video, sound or picture in"),
        ("two/a.mp4", "", "found .*a.mp3 and .*a.mp4 for the stimulus 'a'.*say in a table"),
    ],
)
def test_what_is_no_folder_or_table_of_stimuli_is_one_sentence(tmp_path, name, text, said):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    if text is not None:
        path.write_text(text)
    if name.startswith("two"):
        path.with_suffix(".mp3").touch()
    with pytest.raises(CallError, match=said):
        find_stimuli(path.parent if "/" in name else path)


def test_files_that_do_not_fit_the_recipe_or_changed_or_are_damaged_are_refused(clips, tmp_path):
    mine = tmp_path / "clips"
    shutil.copytree(clips, mine)
    recording, files = record(tmp_path / "r.zarr"), find_stimuli(mine)
    recipe = recipe_for(files, ("video-descriptors",))
    with pytest.raises(CallError, match="found no files for the feature 'video-descriptors'"):
        recording_features(recording, recipe, name="r")
    planted_clip(mine / "dawn.mkv", bright=(1,), seconds=2)
    with pytest.raises(DataError, match=r"dawn.mkv has changed since this run began"):
        recording_features(recording, recipe, name="r", stimuli=files)
    with pytest.raises(CallError, match="found other files"):
        recording_features(recording, recipe, name="r", stimuli=find_stimuli(mine))
    (mine / "dawn.mkv").write_bytes(b"no film")
    files = find_stimuli(mine)
    with pytest.raises(UnreadableFileError, match="dawn.mkv"):
        recording_features(recording, recipe_for(files), name="r", stimuli=files)
    with pytest.raises(CallError, match="found the feature 'audio' without stimuli"):
        PreprocessRecipe(features=("de", "audio"))
    with pytest.raises(CallError, match="found stimuli and the features de, expected one of audio"):
        PreprocessRecipe(stimuli={"a": "0"})


def test_flips_of_the_player_win_over_the_onsets_of_trials(tmp_path):
    """A film that began a second late is seen a second late, and unknown files are masked."""
    path = planted_clip(tmp_path / "film.mkv", bright=(2,), seconds=4)
    files = find_stimuli(tmp_path, allow_missing=True)
    film = decode_stimulus(path, CUT.recipe)
    flips, times = played(film, 101.0, lateness=0.0)
    other = {**start_marker(film, 2), "sha256": "0" * 64, "file": "gone.mp4"}
    markers = [(101.0, start_marker(film)), (110.0, other)]
    recording = made_recording(flips, times, markers, trials=make_trials([(1, 100.0, 6.0, "x")]))
    recipe = recipe_for(files, ("video-descriptors",))
    found = recording_features(recording, recipe, name="r", stimuli=files)
    bright = feature(found, "video-descriptors", "brightness")
    assert np.isnan(bright[0]) and (bright[[1, 2, 4]] < 0.2).all() and bright[3] > 0.8
    strict = find_stimuli(tmp_path)
    with pytest.raises(DataError, match="item 2 showed gone.mp4"):
        recording_features(recording, recipe, name="r", stimuli=strict)


def test_the_command_takes_a_folder_of_stimuli(typed, clips, tmp_path, monkeypatch):
    record(tmp_path / "r.zarr")
    out = tmp_path / "f.zarr"
    options = ["--out", out, "--features", "all", "--stimuli", clips]
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    done = typed("preprocess", "recording", tmp_path / "r.zarr", *options, check=0)
    assert "1 sources computed" in done.stdout
    with open_features(out) as store:
        assert {"de", "audio_descriptors", "video_descriptors"} <= set(store.data_vars)
        assert "audio" not in store and sorted(store.attrs["stimuli"]) == ["dawn", "song"]
    again = typed("preprocess", "recording", tmp_path / "r.zarr", *options, check=0)
    assert "0 sources computed, 1 taken over" in again.stdout
    record(tmp_path / "x.zarr", [(1, 1.0, 3.0, "x")])
    options = ["--out", tmp_path / "g.zarr", "--features", "audio", "--stimuli", clips]
    done = typed("preprocess", "recording", tmp_path / "x.zarr", *options, check=2)
    assert "found no file for the stimulus 'x'" in done.stderr


def test_how_many_windows_are_cut_at_once_changes_no_bit(found, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(stimulus_family, "_WINDOWS_AT_ONCE", 3)
    files = find_stimuli(clips)
    recipe = recipe_for(files, tuple(STIMULUS_FAMILIES))
    again = recording_features(record(tmp_path / "r.zarr"), recipe, name="r", stimuli=files)
    for name in STIMULUS_FAMILIES:
        one, other = (x[name.replace("-", "_")].values for x in (found, again))
        assert np.array_equal(one, other, equal_nan=True)
