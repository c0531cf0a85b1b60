"""Studies that read the stimulus: what only brain and film know together, and what leaks."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from physioemo.cli import cli
from physioemo.datasets.catalogue import dataset
from physioemo.errors import CallError, DataError
from physioemo.experiments.audit_path import audit_path
from physioemo.experiments.audit_probes import feature_matrix
from physioemo.experiments.estimator_store import load_estimator, save_estimator
from physioemo.experiments.estimators import build_estimator
from physioemo.experiments.fused_modalities import axis_seconds, encoder_of, model_input
from physioemo.experiments.study_config import ModelChoice, Preparation, Study, read_study
from physioemo.experiments.study_data import Groups, StudyData, open_study_data
from physioemo.experiments.study_features import features_for, with_layout
from physioemo.experiments.study_inputs import load_inputs
from physioemo.experiments.study_prepare import recipe_of, stimuli_of
from physioemo.experiments.study_report import write_study_report
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from physioemo.experiments.targets import Target
from physioemo.features.stimulus_family import STIMULUS_FAMILIES
from tests.features.planted_clips import planted_clip

ROWS, MELS = 32, 16
QUICK = {"size": "tiny", "n_epochs": 20, "patience": 20, "batch_size": 16, "modality_dropout": 0.1}
AXES = {
    "de": {"channel": ("F3", "F4", "P3", "P4"), "band": ("theta", "alpha", "beta")},
    "audio": {
        "row": tuple(f"{(k - ROWS + 1) / 100:g}" for k in range(ROWS)),
        "mel": tuple(map(str, range(MELS))),
    },
    "video_descriptors": {"feature": ("brightness", "flow")},
}


def windows(brain_bits, film_bits, labels, n_windows=2, seed=0):
    """Return windows of subjects (subject, film) who all saw the same films.

    A brain says its bit in two electrodes; a film its bit in the sound, the same for everybody.
    """
    rng = np.random.default_rng(seed)
    n_subjects, n_films = labels.shape
    person, film, k = (
        x.ravel()
        for x in np.meshgrid(range(n_subjects), range(n_films), range(n_windows), indexing="ij")
    )
    brain = rng.normal(size=(len(film), 4, 3))
    brain[:, :2] += 2.0 * (2 * brain_bits[person, film] - 1)[:, None, None]
    heard = rng.normal(0, 0.5, (n_films, n_windows, ROWS, MELS))
    heard[..., :8] += 0.7 * (2 * film_bits - 1)[:, None, None, None]
    looks = rng.normal(size=(n_films, n_windows, 2))
    return StudyData(
        families={
            "de": brain,
            "audio": heard[film, k].astype(np.float32),
            "video_descriptors": looks[film, k],
        },
        coords=AXES,
        groups=Groups(
            subject=np.array([f"{p:02d}" for p in person], object),
            session=np.full(len(film), "1", object),
            trial=film + 1,
            stimulus=np.array([f"film {s}" for s in film], object),
            onset_seconds=10.0 * film + k,
            window_seconds=1.0,
        ),
        ratings={"valence": np.where(labels[person, film], 7.0, 3.0)},
        scale=(1.0, 9.0),
        labels=None,
        source={"simulated": True, "fingerprints": {"made up": str(seed)}},
    )


@pytest.fixture(scope="module")
def xor_store(tmp_path_factory):
    rng = np.random.default_rng(1)
    brain = np.array([rng.permutation(np.arange(80) % 2) for _ in range(2)])
    film = rng.permutation(np.arange(80) // 2 % 2)
    return write_study_data(
        windows(brain, film, brain ^ film), tmp_path_factory.mktemp("x") / "xor.zarr"
    )


@pytest.fixture(scope="module")
def film_store(tmp_path_factory):
    """Return windows whose label belongs to the film and to nothing else."""
    rng = np.random.default_rng(2)
    label = rng.permutation(np.arange(24) % 2)
    data = windows(rng.integers(0, 2, (4, 24)), np.zeros(24, int), np.tile(label, (4, 1)), seed=2)
    return write_study_data(data, tmp_path_factory.mktemp("f") / "film.zarr")


def fused(*families, name="fused-transformer", label="", **options):
    own = {**QUICK, "families": list(families), **options}
    return ModelChoice(name, label=label or name, preset="small", options=own)


def study(store, *models, **changes):
    fields = {
        "name": "stimuli",
        "stores": (store,),
        "target": Target("binary", ("valence",), threshold="midpoint"),
        "models": models,
        "protocol_options": {"n_folds": 2, "within_subject": False},
        "n_permutations": 0,
    }
    return Study(**{**fields, **changes})


def score(results, label):
    scores = results["dimensions"]["valence"]["models"][label]
    return scores["trial"]["balanced_accuracy"]["mean"]


def test_a_bit_of_the_brain_and_a_bit_of_the_sound_are_only_known_together(xor_store, tmp_path):
    declared = study(
        xor_store,
        fused("de", "audio"),
        fused("de", "audio", name="concat-mlp"),
        fused("de", label="brain", n_epochs=5),
        fused("audio", label="sound", n_epochs=5),
    )
    results = run_study(declared, tmp_path / "out")
    assert not results["leaky"] and results["leaks"] == []
    assert max(score(results, "fused-transformer"), score(results, "concat-mlp")) > 0.85
    assert score(results, "fused-transformer") > 0.75
    for alone in ("brain", "sound"):
        assert abs(score(results, alone) - 0.5) < 0.13  # 160 trials: four standard errors 0.16


def test_with_a_shared_film_the_label_is_learned_by_heart_and_stamped(film_store, tmp_path):
    films = ModelChoice("logistic")
    own = {"families": ("audio", "video-descriptors"), "models": (films,)}
    leaky = {"protocol": "leave-one-subject-out", "protocol_options": {}}
    text = (
        r"in 4 of 4 folds the same stimuli train and are tested \(film 0, film 1, film 10, \.\.\.\)"
        r", and logistic reads audio and video-descriptors of them.*'leave-stimulus-out'.*--allow"
    )
    with pytest.raises(CallError, match=text):
        load_inputs(study(film_store, **own, **leaky))
    leaky["protocol_options"] = {"allow_leakage": True}
    stamped = run_study(study(film_store, **own, **leaky), tmp_path / "leaky")
    assert stamped["leaky"] and "learned by heart" in stamped["leaks"][0]
    assert score(stamped, "logistic") > 0.9
    page = write_study_report(stamped, tmp_path / "leaky").read_text("utf-8")
    assert "LEAKY" in page and "the same stimuli train and are tested" in page
    assert json.loads((tmp_path / "leaky" / "splits.json").read_text())["leaky"] is True
    report, _ = audit_path(tmp_path / "leaky", n_permutations=20)
    assert report.declared_leaky
    assert feature_matrix(open_study_data(film_store)).shape[1] == 12  # de, nothing of the film
    honest = run_study(
        study(film_store, **own, protocol="leave-stimulus-out", protocol_options={}),
        tmp_path / "honest",
    )
    assert not honest["leaky"] and score(honest, "logistic") < 0.75


def test_what_reads_no_stimulus_may_be_tested_on_films_that_others_saw(film_store):
    leave = {"protocol": "leave-one-subject-out", "protocol_options": {}}
    assert load_inputs(study(film_store, ModelChoice("logistic"), **leave)).leaks == ()
    # The majority class is handed the families of the study and looks at none.
    only = {"families": ("audio",), "models": (ModelChoice("majority"),)}
    assert load_inputs(study(film_store, **only, **leave)).leaks == ()
    with pytest.raises(CallError, match="found the option 'allow_leakage' for leave-one-subject"):
        leave["protocol_options"] = {"allow_leakage": True}
        load_inputs(study(film_store, ModelChoice("logistic"), **leave))


def test_within_a_subject_who_saw_each_film_once_nothing_leaks(film_store):
    own = {"families": ("audio",), "protocol_options": {"n_folds": 4, "within_subject": True}}
    assert load_inputs(study(film_store, ModelChoice("logistic"), **own)).leaks == ()


def renamed(path, store, names, sha256):
    """Write windows with stimuli of other names, whose files have some bytes."""
    data = open_study_data(store)
    stimulus = np.array([names(s) for s in data.groups.stimulus], object)
    groups = Groups(**{**vars(data.groups), "stimulus": stimulus})
    source = {**data.source, "recipe": {"stimuli": sha256}}
    return write_study_data(StudyData(**{**vars(data), "groups": groups, "source": source}), path)


def test_films_of_one_content_are_one_film_whatever_they_are_called(film_store, tmp_path):
    """Every second film is the one before it under another name."""
    once = {"families": ("audio",), "protocol": "leave-stimulus-out", "protocol_options": {}}
    hashes = {f"film {k}": f"{k // 2}" for k in range(24)}
    path = renamed(tmp_path / "same.zarr", film_store, str, hashes)
    with pytest.raises(CallError, match="in 24 of 24 folds the same stimuli"):
        load_inputs(study(path, ModelChoice("logistic"), **once))
    hashes = {f"film {k}": f"{k}" for k in range(24)}
    path = renamed(tmp_path / "apart.zarr", film_store, lambda s: f"{s}.mp4", hashes)
    assert load_inputs(study(path, ModelChoice("logistic"), **once)).leaks == ()


def test_a_film_without_a_name_may_be_anybodys(film_store, tmp_path):
    path = renamed(tmp_path / "n.zarr", film_store, lambda s: "", {})
    own = {"families": ("audio",), "protocol_options": {"n_folds": 4, "within_subject": True}}
    with pytest.raises(CallError, match=r"are tested \(one without a name\)"):
        load_inputs(study(path, ModelChoice("logistic"), **own))


def test_each_family_has_the_encoder_of_its_shape():
    seconds = axis_seconds("audio", AXES["audio"])
    made = encoder_of("audio", (ROWS, MELS), "tiny", seconds)
    assert made == {
        "encoder": "audio-patches",
        "preset": "tiny",
        "n_mels": MELS,
        "hop_seconds": pytest.approx(0.01),
    }
    shown = axis_seconds("video", {"picture": ("-0.5", "0"), "y": ("1",) * 16})
    made = encoder_of("video", (2, 16, 16, 3), "study", shown)
    assert made == {"encoder": "video-tubelets", "preset": "study", "size": 16}
    values = np.zeros((3, 2, 16, 16, 3))
    values[1, 0, 5, 5, 0] = np.nan
    part = model_input("video", values.reshape(3, -1), (2, 16, 16, 3), shown)
    assert part["values"].shape == values.shape
    assert np.array_equal(part["time_seconds"][[0, 1]], [[-0.5, 0], [np.nan, 0]], equal_nan=True)
    assert encoder_of("video-descriptors", (6,), "tiny")["encoder"] == "scalars"
    with pytest.raises(
        DataError, match=r"'audio' with the axes channel, expected one called 'row'"
    ):
        axis_seconds("audio", {"channel": ("a",)})


def test_the_study_file_chooses_encoders_and_fusion_by_name(xor_store, tmp_path):
    text = f"""
    [data]
    stores = ["{xor_store}"]
    families = ["de", "audio", "video-descriptors"]
    [target]
    kind = "binary"
    dimensions = ["valence"]
    threshold = "midpoint"
    [protocol]
    name = "leave-stimulus-out"
    [[models]]
    name = "concat-mlp"
    preset = "small"
    [models.options]
    fusion = "gated"
    [models.options.encoders.audio]
    depth = 1
    embed_dim = 16
    """
    (tmp_path / "s.toml").write_text(text)
    declared = read_study(tmp_path / "s.toml")
    inputs, choice = load_inputs(declared), declared.models[1]
    options = {**with_layout(choice, declared, inputs).options, "n_epochs": 1}
    estimator = build_estimator(choice.name, choice.preset, **options)
    rows = np.r_[0:40]
    x = features_for(choice, declared, inputs)[rows]
    estimator.fit(x, inputs.targets[rows, 0])
    model = estimator.model_
    assert type(model.fusion).__name__ == "GatedFusion"
    kinds = {name: type(part).__name__ for name, part in model.encoders.items()}
    assert kinds == {
        "de": "ElectrodeTokens",
        "audio": "AudioPatches",
        "video_descriptors": "ScalarTokens",
    }
    assert model.encoders["audio"].embed_dim == 16
    assert np.isfinite(estimator.predict_proba_from(x, ["audio"])).all()
    save_estimator(tmp_path / "kept", estimator, name="concat-mlp")
    again, _ = load_estimator(tmp_path / "kept")
    assert np.array_equal(again.predict_proba(x), estimator.predict_proba(x))
    options["encoders"] = {"gaze": {}}
    with pytest.raises(CallError, match="found an encoder for 'gaze', expected some of de, audio"):
        build_estimator(choice.name, choice.preset, **options).fit(x, inputs.targets[rows, 0])


def test_from_films_to_a_stamped_study_by_the_command(tmp_path, monkeypatch):
    """Eighteen trials of a person show two films under eighteen names: the bytes tell."""
    row = dataset("dreamer")
    row.write_fixture(tmp_path / row.folder, subjects=1, **row.small)
    for k in range(2):
        planted_clip(tmp_path / f"{k}.mkv", bright=(k,), tone=(1 - k,), seconds=5)
    table = "".join(f'"dreamer-clip-{k + 1:02d}" = "{k % 2}.mkv"\n' for k in range(18))
    (tmp_path / "films.toml").write_text(table)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))
    families = json.dumps(["de", *STIMULUS_FAMILIES])
    (tmp_path / "s.toml").write_text(f"""
    [data]
    dataset = "dreamer"
    families = {families}
    [data.recipe]
    features = {families}
    stimuli = ["films.toml"]
    stimulus_mels = 16
    stimulus_pictures = 2
    [target]
    kind = "binary"
    dimensions = ["valence"]
    threshold = "midpoint"
    [protocol]
    n_folds = 2
    allow_leakage = true
    [[models]]
    name = "fused-transformer"
    preset = "small"
    options = {{ n_epochs = 1 }}
    [evaluation]
    n_permutations = 0
    """)
    call = ["study", str(tmp_path / "s.toml"), "--out", str(tmp_path / "out"), "--data",
            str(tmp_path)]  # fmt: skip
    # The file alone does not allow it.
    refused = CliRunner().invoke(cli, call)
    said = (
        "in 2 of 2 folds the same stimuli train and are tested (dreamer-clip-01, dreamer-clip-02)"
    )
    assert isinstance(refused.exception, CallError) and said in str(refused.exception)
    done = CliRunner().invoke(cli, [*call, "--allow-leakage"])
    assert done.exit_code == 0 and "LEAKY: in 2 of 2 folds" in done.output
    results = json.loads((tmp_path / "out" / "results.json").read_text("utf-8"))
    assert results["leaky"] and np.isfinite(score(results, "fused-transformer"))


def test_stimuli_of_a_data_set_lie_beside_it(tmp_path):
    planted_clip(tmp_path / "a.mkv", seconds=1)
    fields = {"features": ["audio"], "stimuli": ["a.mkv"], "stimulus_mels": 16}
    how = Preparation("deap", tmp_path, recipe=fields)
    recipe = recipe_of(how, stimuli_of(how))
    assert list(recipe.stimuli) == ["a"] and recipe.stimulus_cut.n_mels == 16
    with pytest.raises(
        CallError, match=r"found stimuli = 'a.mkv' in \[data.recipe\], expected a li"
    ):
        stimuli_of(replace(how, recipe={**fields, "stimuli": "a.mkv"}))
    with pytest.raises(CallError, match="found the feature 'audio' without stimuli"):
        recipe_of(replace(how, recipe={"features": ["audio"]}))
