"""The command ``import``, and what several commands share."""

import math
import re
from pathlib import Path
from typing import Any

import click

from physioemo.overrides import Overrides

__all__ = ["import_", "in_shell", "override_options", "print_quality"]


def in_shell(path: Path) -> str:
    """Return a path as it is typed: in quotes if it holds a space or a sign of the shell."""
    text = str(path)
    return text if re.fullmatch(r"[\w@%+=:,./\\-]+", text) else f'"{text}"'


def override_options(function: Any) -> Any:
    """Add the options that state what a stream does not say."""
    text = "STREAM=VALUE; '*' as STREAM means every stream that lacks it."
    options = (
        click.option("--ch-names", multiple=True, help=f"Channel names, comma separated. {text}"),
        click.option("--unit", multiple=True, help=f"Unit, or one per channel. {text}"),
        click.option("--sfreq", "rates", multiple=True, help=f"Sampling rate in Hz. {text}"),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@override_options
@click.option("--overwrite", is_flag=True, help="Replace a recording that is already there.")
def import_(
    file: Path,
    out: Path,
    ch_names: tuple[str, ...],
    unit: tuple[str, ...],
    rates: tuple[str, ...],
    overwrite: bool,
) -> None:
    """Turn the export of a device or another program into the recording OUT.

    XDF, EyeLink .asc, a Pupil Labs Neon folder, an Empatica E4 folder, OpenSignals .h5 or .txt,
    and any file that MNE reads.
    """
    from physioemo.files import read_recording
    from physioemo.store import create_recording

    source = read_recording(file, Overrides.parse(ch_names, unit, rates))
    recording = create_recording(
        out,
        {key: source[key] for key in source.streams},
        trials=source.trials,
        ratings=source.ratings,
        events=source.events,
        attrs=source.attrs,
        overwrite=overwrite,
    )
    click.echo(f"{file} is now the recording {out}.")
    print_quality(recording.quality())
    for note in recording.notes:
        click.echo(f"Note: {note}.")
    click.echo(f"Next: physioemo report {in_shell(out)} --out report.html")


def print_quality(quality: dict[str, Any]) -> None:
    """Print a line per stream on what came, and one on how well it is on the session's clock."""
    from rich.console import Console
    from rich.markup import escape

    came = _table("stream", "received", "expected", "nominal Hz", "measured Hz", "gaps", "missing")
    clock = _table("stream", "jitter ms", "clock drift ppm", "sync error ms")
    for key, q in quality.items():
        nominal, measured = q["nominal_rate_hz"], q["measured_rate_hz"]
        came.add_row(
            escape(key),
            str(q["n_samples"]),
            str(q["n_expected"]) if nominal else "-",
            f"{nominal:g}" if nominal else "irregular",
            f"{measured:.2f}" if math.isfinite(measured) and nominal else "-",
            str(len(q["gaps"])),
            str(q["n_missing_values"]),
        )
        clock.add_row(
            escape(key),
            _shown(1e3 * q["jitter_seconds"], 3),
            _shown(q["clock_drift_ppm"], 1),
            _shown(1e3 * q["sync_error_seconds"], 3),
        )
    console = Console(highlight=False)
    console.print(came)
    if any(math.isfinite(q["sync_error_seconds"]) for q in quality.values()):
        console.print(clock)


def _table(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for i, column in enumerate(columns):
        table.add_column(column, justify="right" if i else "left")
    return table


def _shown(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else "-"
