"""A decoder as an ONNX file: another runtime says what the decoder says."""

import json
import sys
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from physioemo.errors import CallError, CheckpointError, MissingExtraError, RecordingExistsError
from physioemo.experiments import decoder_onnx
from physioemo.experiments.decoder_onnx import LARGEST_DIFFERENCE, export_onnx
from physioemo.experiments.export_cli import export_decoder
from physioemo.experiments.tokens import FAMILY, recording_tokens
from physioemo.experiments.training import untrained_decoder
from tests.simulated import simulated_recording


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return simulated_recording(tmp_path_factory.mktemp("r") / "a.zarr", n_trials=2)


@pytest.fixture(scope="module")
def decoder(recording):
    """Return a decoder whose scaler, temperature and prior all matter."""
    plain = untrained_decoder(recording)
    n = len(plain.dimensions)
    return replace(
        plain,
        scaler=replace(plain.scaler, scale=plain.scaler.scale * 0.7),
        temperature=np.linspace(0.5, 3.0, n),
        prior=np.linspace(0.3, 0.6, n),
    )


@pytest.fixture(scope="module")
def program(decoder, tmp_path_factory):
    return export_onnx(decoder, tmp_path_factory.mktemp("é x") / "model.onnx")


@pytest.fixture(scope="module")
def session(program):
    import onnxruntime

    return onnxruntime.InferenceSession(program, providers=["CPUExecutionProvider"])


def test_a_recording_decoded_by_onnx_runtime_is_the_decoders(decoder, recording, session):
    made = recording_tokens(recording, decoder.recipe, decoder.ch_names)
    logits, probability, abstain = session.run(None, {"tokens": made[FAMILY].values})
    said = [list(p.probability.values()) for p in decoder.predict(recording)]
    assert logits.shape == (len(said), len(decoder.dimensions), 2)
    assert not abstain.any()
    np.testing.assert_allclose(probability, said, rtol=0, atol=LARGEST_DIFFERENCE)
    assert np.ptp(probability, axis=0).min() > 100 * LARGEST_DIFFERENCE  # it is not a constant


def test_with_too_few_electrodes_it_abstains_and_says_the_prior(decoder, session):
    n = len(decoder.ch_names)
    tokens = np.repeat(decoder.scaler.mean[None], 3, axis=0)
    tokens[0, : n // 2], tokens[1, : n // 2 + 1, 0], tokens[2] = np.nan, np.nan, np.nan
    _, probability, abstain = session.run(None, {"tokens": tokens})
    assert abstain.tolist() == [False, True, True]
    np.testing.assert_array_equal(probability[1:], [decoder.prior] * 2)
    assert (probability[0] != decoder.prior).all()


def test_what_a_missing_electrode_would_have_said_changes_nothing(decoder, session):
    tokens = np.repeat(decoder.scaler.mean[None], 2, axis=0)
    tokens[:, 3, 1] = np.nan
    tokens[1, 3, 0] = 1e9
    logits = session.run(["logits"], {"tokens": tokens})[0]
    np.testing.assert_array_equal(logits[0], logits[1])


def test_the_file_says_what_goes_in_and_whose_it_is(decoder, session, program):
    about = session.get_modelmeta().custom_metadata_map
    assert about["decoder_id"] == decoder.id
    assert json.loads(about["ch_names"]) == list(decoder.ch_names)
    assert json.loads(about["recipe"]) == json.loads(json.dumps(decoder.recipe.to_dict()))
    assert about["untrained"] == "true"
    shape = ["window", len(decoder.ch_names), len(decoder.recipe.bands)]
    assert [(i.name, i.type, i.shape) for i in session.get_inputs()] == [
        ("tokens", "tensor(double)", shape)
    ]
    assert b".py" not in program.read_bytes()  # no lines of code from this computer


def test_nothing_is_overwritten_unasked(decoder, program):
    before = program.stat().st_mtime_ns
    with pytest.raises(RecordingExistsError, match="or pass --overwrite"):
        export_onnx(decoder, program)
    assert program.stat().st_mtime_ns == before


def test_a_graph_that_says_something_else_is_not_written(decoder, program, tmp_path, monkeypatch):
    other = replace(decoder, temperature=decoder.temperature * 1.01)
    monkeypatch.setattr(decoder_onnx, "_exported", lambda _: program.read_bytes())
    with pytest.raises(CheckpointError, match="probability differs from the decoder's by"):
        export_onnx(other, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_the_command_exports_a_saved_decoder(decoder, program, tmp_path, monkeypatch):
    decoder.save(tmp_path / "decoder")
    monkeypatch.setattr(decoder_onnx, "_exported", lambda _: program.read_bytes())
    arguments = [str(tmp_path / "decoder"), str(tmp_path / "out.onnx")]
    done = CliRunner().invoke(export_decoder, arguments)
    assert done.exit_code == 0, done.output
    assert f"The decoder {decoder.id} is now" in done.output
    assert "32 electrodes, 4 bands) to valence, arousal, dominance" in done.output
    assert "UNTRAINED" in done.output
    assert (tmp_path / "out.onnx").read_bytes() == program.read_bytes()
    assert CliRunner().invoke(export_decoder, [*arguments, "--overwrite"]).exit_code == 0


def test_another_ending_and_a_missing_package_are_one_sentence(decoder, tmp_path, monkeypatch):
    with pytest.raises(CallError, match=r"'model.pt', expected one that ends in '.onnx'"):
        export_onnx(decoder, tmp_path / "model.pt")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'physioemo\[onnx\]'"):
        export_onnx(decoder, tmp_path / "model.onnx")
