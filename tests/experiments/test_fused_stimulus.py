"""What was seen and heard beside the EEG: only together known, live as offline."""

import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr

from physioemo.errors import CallError, CheckpointError, DataError, SignalError
from physioemo.experiments.decoder_folder import load_decoder
from physioemo.experiments.fused_stimulus import StimulusChoice, one_window, stimulus_files
from physioemo.experiments.fused_training import FusedConfig, fit_fused, train_fused_decoder
from physioemo.experiments.fused_training_data import FusedTrialData, without_sides
from physioemo.experiments.tokens import FAMILY
from physioemo.experiments.train_config import train_config, train_stimuli
from physioemo.features.entropy import EntropyRecipe
from physioemo.features.stimulus_tokens import STIMULUS_SCALARS
from physioemo.features.stimulus_windows import LiveStimulus
from physioemo.models.training import TrainingConfig
from physioemo.recording import Recording
from physioemo.ring import Ring
from tests.features.made_stimuli import RECIPE, made_recording, made_stimulus, played, start_marker
from tests.media_files import write_media
from tests.simulated import simulated_recording

CHOICE = StimulusChoice(("stimulus", "audio", "video"), 2.0, 4, RECIPE)
QUICK = FusedConfig(
    stimulus=CHOICE,
    n_permutations=0,
    n_folds=2,
    training=TrainingConfig(n_epochs=1, batch_size=64),
)


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return simulated_recording(tmp_path_factory.mktemp("r") / "a.zarr", n_trials=6)


@pytest.fixture(scope="module")
def stimuli(recording):
    names = sorted(set(recording.trials["stimulus"].values.tolist()))
    return [made_stimulus(f"{name}.mp4", base=k) for k, name in enumerate(names)]


@pytest.fixture(scope="module")
def trained(recording, stimuli):
    return train_fused_decoder({"a": recording}, QUICK, stimuli=stimuli)


def xor_data(seed, n_trials=80, n_windows=4):
    """Return windows whose class is a bit of the brain XOR a bit of the picture."""
    rng = np.random.default_rng(seed)
    trial = np.repeat(np.arange(n_trials), n_windows)
    bits = rng.permutation(np.arange(n_trials) % 4)[trial]
    brain, picture = bits % 2, bits // 2
    n = len(trial)
    values = rng.normal(size=(n, 4, 3))
    values[:, :2] += 2.0 * (2 * brain - 1)[:, None, None]
    numbers = rng.normal(0, 0.5, (n, len(STIMULUS_SCALARS))).astype(np.float32)
    numbers[:, 0] += 2.0 * (2 * picture - 1)
    return FusedTrialData(
        values=values,
        present=np.ones(values.shape, bool),
        labels=(brain ^ picture)[:, None],
        recording=np.full(n, "a", object),
        trial=trial,
        stimulus=np.array([str(t) for t in trial], object),
        dimensions=("valence",),
        fingerprints={},
        recipe=EntropyRecipe(250.0, 250, 125, (("a", 4, 8), ("b", 8, 14), ("c", 14, 30))),
        ch_names=("F3", "F4", "P3", "P4"),
        sides=(),
        side_values={},
        ages={},
        shown={"stimulus": numbers},
    )


def test_a_bit_of_the_brain_and_a_bit_of_the_picture_are_only_known_together():
    training = TrainingConfig(n_epochs=30, batch_size=16, learning_rate=3e-3, patience=30)
    config = FusedConfig(
        dimensions=("valence",),
        stimulus=StimulusChoice(),
        training=training,
        modality_dropout=0.1,
        eeg_first=False,
    )
    data, tests = xor_data(0), xor_data(1)
    decoder = fit_fused(data, np.arange(len(data.values)), config)

    def accuracy(made, values, shown):
        high = made.outputs(values, {}, {}, shown).high
        return float(((high[:, 0] > 0.5) == tests.labels[:, 0]).mean())

    assert accuracy(decoder, tests.values, tests.shown) > 0.95
    assert abs(accuracy(decoder, tests.values, None) - 0.5) < 0.15
    assert abs(accuracy(decoder, np.full_like(tests.values, np.nan), tests.shown) - 0.5) < 0.15
    alone = fit_fused(without_sides(data), np.arange(len(data.values)), config)
    assert alone.stimulus is None and abs(accuracy(alone, tests.values, None) - 0.5) < 0.15


def test_the_decoder_reads_the_files_of_the_trials(recording, stimuli, trained, tmp_path):
    decoder = trained.decoder
    assert decoder.modalities == ("eeg", "stimulus", "audio", "video")
    assert trained.evaluation["modalities"] == list(decoder.modalities)
    assert decoder.metadata["stimuli"] == {f.name: f.sha256 for f in stimuli}
    json.dumps(trained.evaluation, allow_nan=False)
    said = decoder.predict(recording, stimuli=stimuli)
    blind = decoder.predict(recording)
    assert [p.time_seconds for p in said] == [p.time_seconds for p in blind]
    differ = np.array([a.probability != b.probability for a, b in zip(said, blind, strict=True)])
    time = np.array([p.time_seconds for p in said])
    onset = recording.trials["onset_seconds"].values
    # In a trial something is shown; two seconds after its end nothing of it is left.
    assert differ[(time > onset[1] + 0.1) & (time < onset[1] + 8.0)].all()
    assert not differ[time < onset[0]].any()
    loaded = load_decoder(decoder.save(tmp_path / "d"))
    assert loaded.stimulus == CHOICE and loaded.predict(recording, stimuli=stimuli) == said


def flips_of(recording, stimuli):
    """Return flips, their times and the player's markers for the trials of a recording."""
    by_name = {f.name.removesuffix(".mp4"): f for f in stimuli}
    rows, times, markers = [], [], []
    table = recording.trials
    pairs = zip(table["stimulus"].values, table["onset_seconds"].values, strict=True)
    for item, (name, onset) in enumerate(pairs, 1):
        film = by_name[str(name)]
        markers.append((onset - 0.01, start_marker(film, item=item)))
        flips, when = played(film, onset, np.arange(180), item=item)
        rows.append(flips)
        times.append(when)
    return np.concatenate(rows), np.concatenate(times), markers


def test_live_equals_offline_by_the_players_flips(recording, stimuli, trained):
    decoder = trained.decoder
    flips, times, markers = flips_of(recording, stimuli)
    player = made_recording(flips, times, markers)
    whole = Recording(
        xr.DataTree.from_dict(
            {
                "eeg": recording["eeg"].load(),
                "frames": player["frames"],
                "markers": player["markers"],
                "events": player.events,
                "trials": recording.trials,
            }
        )
    )
    offline = decoder.predict(whole, stimuli=stimuli)
    live = LiveStimulus(stimuli, decoder.stimulus.layout)
    description = recording.description("eeg")
    ring, tokens = (
        Ring("eeg", description, decoder.recipe.hop_samples),
        decoder.tokens(description),
    )
    state, said, fed, told = tokens.start(), [], 0, 0
    signal, time = recording["eeg"]["signal"].values, recording["eeg"]["time"].values
    for start in range(0, len(time), 77):
        for window in ring.push(signal[start : start + 77], time[start : start + 77]):
            part = window["eeg"]
            made, state = tokens.step(part.signal, part.time, window.segment, state)
            for row, stop in zip(made[FAMILY].values, made.stop_seconds.tolist(), strict=True):
                until = int(np.searchsorted(times, stop, side="right"))
                live.feed_flips(flips[fed:until], times[fed:until])
                while told < len(markers) and markers[told][0] <= stop:
                    live.feed_markers([json.dumps(markers[told][1])], [markers[told][0]])
                    told += 1
                fed = until
                said.append(decoder.predict_one(row, {}, stop, live.tokens(stop)))
    assert said == offline and said != decoder.predict(recording)


def test_what_does_not_belong_to_the_window_or_the_decoder_is_refused(trained, stimuli):
    decoder = trained.decoder
    row = np.zeros((32, len(decoder.recipe.bands)))
    live = LiveStimulus(stimuli, decoder.stimulus.layout)
    other = live.tokens(np.array([3.0, 4.0]))
    with pytest.raises(CallError, match=r"windows that end at \[3.0, 4.0\] s, expected one that"):
        decoder.predict_one(row, {}, 5.0, other)
    assert one_window(other, 4.0).end_seconds.tolist() == [4.0]
    longer = LiveStimulus(stimuli, replace(decoder.stimulus.layout, window_seconds=3.0))
    with pytest.raises(SignalError, match=r"found audio of the stimulus of shape \(1, 300, 16\), "):
        decoder.predict_one(row, {}, 5.0, longer.tokens(5.0))
    plain = replace(decoder, stimulus=None)
    with pytest.raises(CallError, match="a stimulus for a decoder that reads none"):
        plain.predict_one(row, {}, 5.0, live.tokens(5.0))


def test_a_damaged_stimulus_is_one_sentence(trained, tmp_path):
    folder = trained.decoder.save(tmp_path / "d")
    path = folder / "decoder.json"
    content = json.loads(path.read_text())
    for change in (None, {**content["stimulus"], "modalities": ["smell"]}, {"x": 1}):
        path.write_text(json.dumps({**content, "stimulus": change}))
        with pytest.raises(CheckpointError, match="found a damaged decoder|parts of different"):
            load_decoder(folder)


def test_files_that_are_not_those_of_the_trials_are_refused(recording):
    with pytest.raises(DataError, match=r"found the stimuli clip-.* names of the files film.mp4"):
        train_fused_decoder({"a": recording}, QUICK, stimuli=[made_stimulus("film.mp4")])
    with pytest.raises(CallError, match="found no stimuli, expected the files that were shown"):
        train_fused_decoder({"a": recording}, QUICK)


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"stimulus": {"modalities": ["audio"]}}, "without stimuli|for the model 'eeg'"),
        ({"stimulus": {"modality": ["audio"]}}, "did you mean 'modalities'"),
        ({"stimulus": {"modalities": ["odour"]}}, "found 'odour' of the stimulus, expected some"),
        ({"stimulus": {"modalities": []}}, "expected one or more of stimulus, audio, video"),
        ({"stimulus": {"n_pictures": 3}}, "found 3 pictures per window, expected an even number"),
        ({"stimulus": {"n_pictures": "x"}}, "found n_pictures = 'x', expected a whole number"),
    ],
)
def test_a_wrong_setting_is_one_sentence(settings, text):
    if "without" not in text:
        settings = {**settings, "stimuli": ["clips"]}
    with pytest.raises(CallError, match=text):
        train_config(settings)


def test_settings_name_files_and_folders(tmp_path):
    (tmp_path / "clips").mkdir()
    settings = {"stimuli": [str(tmp_path / "clips")], "stimulus": {"modalities": ["stimulus"]}}
    config = train_config(settings)
    assert config.stimulus == StimulusChoice() and config.sides == ()
    with pytest.raises(CallError, match="found no stimulus at .*clips, expected a video, sound"):
        train_stimuli(settings, config)
    picture = np.zeros((32, 32, 3), np.uint8)
    write_media(tmp_path / "clips" / "a.mkv", pictures=[picture] * 5, seconds=np.arange(5) / 5)
    assert stimulus_files(settings["stimuli"]) == [tmp_path / "clips" / "a.mkv"]
    (found,) = train_stimuli(settings, config)
    assert found.name == "a.mkv" and found.recipe == config.stimulus.recipe
    assert train_stimuli({}, train_config({})) == []
