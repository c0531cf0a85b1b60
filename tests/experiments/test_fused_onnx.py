"""A decoder of several streams as an ONNX file: another runtime says what the decoder says."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from physioemo.errors import CallError, CheckpointError
from physioemo.experiments import decoder_onnx
from physioemo.experiments.decoder_onnx import LARGEST_DIFFERENCE, export_onnx
from physioemo.experiments.export_cli import export_decoder
from physioemo.experiments.fused_context import WindowContext
from physioemo.experiments.fused_emotions import EmotionHead
from physioemo.experiments.fused_heads import RatingHead, RatingScale
from physioemo.experiments.fused_onnx import fused_inputs
from physioemo.experiments.fused_stimulus import StimulusChoice
from physioemo.experiments.fused_streams import SideHistory, recording_side
from physioemo.experiments.fused_trust import Trust
from physioemo.experiments.tokens import FAMILY, recording_tokens
from physioemo.models.abstention import AbstentionRule
from physioemo.models.temporal_context import ContextModel
from tests.experiments.fused_decoders import CHOICES, made, recording  # noqa: F401 (a fixture)

N_FEATURES = 3 * 32


@pytest.fixture(scope="module")
def plain(recording):  # noqa: F811
    """Return a decoder of the EEG, the skin and the stimulus, of which everything matters."""
    stimulus = StimulusChoice(("stimulus",))
    found = made(recording, CHOICES[:1], prior=0.4, stimulus=stimulus)
    return replace(found, temperature=np.array([0.5, 1.0, 2.0]))


@pytest.fixture(scope="module")
def decoder(plain):
    torch.manual_seed(1)
    scale = RatingScale(1, 9)
    names, prior = ("calm", "glad", "sad"), np.array([0.2, 0.3, 0.5])
    head = RatingHead.untrained("joint", scale, N_FEATURES, np.array([0.1, 0.0, -0.2]))
    emotions = replace(EmotionHead.untrained(names, N_FEATURES, prior), temperature=0.7)
    return replace(plain, id="", head=head, emotions=emotions)


@pytest.fixture(scope="module")
def program(decoder, tmp_path_factory):
    return export_onnx(decoder, tmp_path_factory.mktemp("onnx") / "model.onnx")


@pytest.fixture(scope="module")
def session(program):
    import onnxruntime

    return onnxruntime.InferenceSession(program, providers=["CPUExecutionProvider"])


def read(decoder, recording):  # noqa: F811
    """Return what another program would feed of a recording without its stimulus."""
    tokens = recording_tokens(recording, decoder.recipe, decoder.ch_names)
    n, side = len(tokens.stop_seconds), decoder.sides[0]
    history = SideHistory(recording_side(recording, side))
    newest = [history.newest(stop) for stop in tokens.stop_seconds.tolist()]
    nothing = np.full(side.n_values, np.nan)
    fed = {
        "eeg": tokens[FAMILY].values,
        "eda": np.array([nothing if t is None else t.values for t in newest]),
        "eda_age_seconds": np.array(
            [np.nan if t is None else stop - t.stop_seconds
             for t, stop in zip(newest, tokens.stop_seconds, strict=True)]
        ),
    }  # fmt: skip
    for name, (kind, shape) in fused_inputs(decoder).items():
        if name not in fed:
            fed[name] = np.full((n, *shape), np.nan, kind)
    return fed


def test_a_recording_with_gaps_is_decoded_as_the_decoder_does(decoder, recording, session):  # noqa: F811
    _, probability, abstain, rating, emotion = session.run(None, read(decoder, recording))
    said = decoder.predict(recording)
    assert len(said) == len(probability) > 50 and np.ptp(probability, axis=0).min() > 0.01
    for values, wanted in (
        (probability, [list(p.probability.values()) for p in said]),
        (rating, [list(p.value.values()) for p in said]),
        (emotion, [list(p.emotions.values()) for p in said]),
    ):
        np.testing.assert_allclose(values, wanted, rtol=0, atol=LARGEST_DIFFERENCE)
    assert abstain.tolist() == [p.abstain for p in said]


def test_what_is_too_old_or_absent_is_not_read(decoder, recording, session):  # noqa: F811
    fed = {k: v[:20] for k, v in read(decoder, recording).items()}
    absent = {**fed, "eda": np.full_like(fed["eda"], np.nan)}
    old = {**fed, "eda": fed["eda"] * 100 + 1, "eda_age_seconds": np.full(20, 1e3)}
    without, aged = (session.run(["logits"], each)[0] for each in (absent, old))
    np.testing.assert_allclose(without, aged, atol=1e-6)
    assert np.abs(without - session.run(["logits"], fed)[0]).max() > 1e-3
    nothing = {k: np.full_like(v, np.nan) for k, v in fed.items()}
    logits, probability, abstain, rating, emotion = session.run(None, nothing)
    assert abstain.all() and np.isfinite(logits).all()
    np.testing.assert_allclose(probability, np.full((20, 3), 0.4))
    np.testing.assert_allclose(emotion[0], decoder.emotions.prior)
    np.testing.assert_allclose(rating[0], decoder.head.scale.outwards(decoder.head.prior))


def test_the_file_says_what_goes_in(decoder, session, program):
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["modalities"]) == ["eeg", "eda", "stimulus"]
    assert json.loads(about["emotions"]) == ["calm", "glad", "sad"]
    assert json.loads(about["rating_scale"]) == [1, 9] and about["decoder_id"] == decoder.id
    shapes = {i.name: i.shape for i in session.get_inputs()}
    assert shapes == json.loads(about["inputs"])
    assert shapes["eeg"] == ["window", 32, 4] and shapes["eda_age_seconds"] == ["window"]
    assert b".py" not in program.read_bytes()


def test_a_graph_that_says_something_else_is_not_written(decoder, program, tmp_path, monkeypatch):
    monkeypatch.setattr(decoder_onnx, "_exported", lambda _: program.read_bytes())
    rule = AbstentionRule(0.99, 0.2, 0.9, 0.01, 30, 20, 0.1, 0.5)
    for changed, name in (
        (replace(decoder, temperature=decoder.temperature * 1.01), "probability"),
        (replace(decoder, emotions=replace(decoder.emotions, temperature=0.8)), "emotion"),
        (replace(decoder, trust=Trust(30, rule)), "probability"),
    ):
        with pytest.raises(CheckpointError, match=f"{name} differs from the decoder's by"):
            export_onnx(changed, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_exports_a_saved_decoder(decoder, program, tmp_path, monkeypatch):
    decoder.save(tmp_path / "decoder")
    monkeypatch.setattr(decoder_onnx, "_exported", lambda _: program.read_bytes())
    arguments = [str(tmp_path / "decoder"), str(tmp_path / "out.onnx")]
    done = CliRunner().invoke(export_decoder, arguments)
    assert done.exit_code == 0, done.output
    assert "4 bands) and eda, stimulus to valence, arousal, dom" in done.output
    assert (tmp_path / "out.onnx").read_bytes() == program.read_bytes()


def test_what_remembers_windows_is_refused(plain, tmp_path):
    network = ContextModel(in_dim=N_FEATURES, dimensions=plain.dimensions).eval()
    with pytest.raises(CallError, match="with a context or a pooling, which remembers windows"):
        export_onnx(replace(plain, context=WindowContext(network, 20)), tmp_path / "m.onnx")
    head = RatingHead.untrained("continuous", RatingScale(1, 9), N_FEATURES, np.zeros(3))
    with pytest.raises(CallError, match="heads = 'continuous', expected 'classes' or 'joint'"):
        export_onnx(replace(plain, head=head), tmp_path / "m.onnx")
