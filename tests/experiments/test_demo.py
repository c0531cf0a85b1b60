"""The whole thread by its commands, shorter than `make demo`."""

import json

import pytest

from physioemo.errors import RecordingExistsError
from physioemo.experiments.demo import run_demo, run_replay_demo
from physioemo.store import open_recording

pytestmark = [pytest.mark.lsl, pytest.mark.slow]


def test_the_demo_walks_the_whole_thread(tmp_path, capsys, console_errors):
    page = run_demo(tmp_path / "demo", n_trials=12, n_live_trials=2, permutations=1)
    said = capsys.readouterr().out
    assert "The participant is SIMULATED: no person is recorded" in said
    assert "Balanced accuracy on 12 held-out trials" in said and "permuted labels" in said
    text = page.read_text("utf-8")
    assert "SIMULATED PARTICIPANT" in text and "UNTRAINED" not in text
    assert console_errors(page) == []
    live = open_recording(tmp_path / "demo" / "live.zarr")
    assert live["prediction"].sizes["time"] > 30 and live.simulated
    training = open_recording(tmp_path / "demo" / "training.zarr")
    assert training.trials.sizes["trial"] == training.ratings.sizes["trial"] == 12
    assert not any(q["gaps"] for q in training.quality().values())
    evaluation = json.loads((tmp_path / "demo" / "decoder" / "evaluation.json").read_text("utf-8"))
    assert evaluation["simulated"] is True
    with pytest.raises(RecordingExistsError, match="pass --overwrite"):
        run_demo(tmp_path / "demo")


def test_the_demo_on_real_eeg_without_ratings_runs_untrained(
    tmp_path, shared_data, capsys, console_errors
):
    file = shared_data("eeglab-sample") / "eeglab_data.set"
    page = run_replay_demo(tmp_path / "demo", [file], live_seconds=12, recording_seconds=12)
    said = capsys.readouterr().out
    assert "no ratings: no training" in said and "SIMULATED" not in said
    text = page.read_text("utf-8")
    assert "UNTRAINED DECODER" in text and "SIMULATED PARTICIPANT" not in text
    assert console_errors(page) == []


def test_the_demo_on_real_signals_without_eeg_stops_at_the_report(tmp_path, shared_data, physioemo):
    from physioemo.store import create_recording
    from tests.realdata import neurokit_event_related

    whole = neurokit_event_related(shared_data("neurokit-bio"))["bio"]
    create_recording(tmp_path / "bio.zarr", {"bio": whole.isel(time=slice(2400))})
    out = tmp_path / "demo"
    done = physioemo("demo", "--replay", tmp_path / "bio.zarr", "--out", out, check=0, timeout=240)
    assert "no EEG in it" in done.stdout
    assert "Heart rate from bio: ECG" in (out / "report.html").read_text("utf-8")
