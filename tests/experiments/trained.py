"""Decoders that the command ``train`` made of a simulated recording."""

from click.testing import CliRunner

from physioemo.experiments.cli import train
from tests.simulated import simulated_recording


def trained_by_command(folder, settings, n_trials):
    """Return the recording, the decoder's folder and what the command said."""
    recording = simulated_recording(folder / "a.zarr", n_trials=n_trials)
    (folder / "t.toml").write_text(settings)
    options = ["--out", str(folder / "d"), "--config", str(folder / "t.toml")]
    done = CliRunner().invoke(train, [str(folder / "a.zarr"), *options])
    assert done.exit_code == 0, done.output
    return recording, folder / "d", done.output
