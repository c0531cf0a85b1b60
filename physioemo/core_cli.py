"""The command ``import``, and what several commands share."""

import math
from pathlib import Path
from typing import Any

import click

from physioemo.overrides import Overrides

__all__ = ["import_", "override_options", "print_quality"]


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
    click.echo(f"Next: physioemo report {out} --out report.html")


def print_quality(quality: dict[str, Any]) -> None:
    """Print one line per stream."""
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("stream", "samples", "seconds", "nominal Hz", "measured Hz", "gaps", "missing"):
        table.add_column(column, justify="left" if column == "stream" else "right")
    for key, q in quality.items():
        nominal, measured = q["nominal_rate_hz"], q["measured_rate_hz"]
        table.add_row(
            escape(key),
            str(q["n_samples"]),
            f"{q['duration_seconds']:.1f}",
            f"{nominal:g}" if nominal else "irregular",
            f"{measured:.2f}" if math.isfinite(measured) and nominal else "-",
            str(len(q["gaps"])),
            str(q["n_missing_values"]),
        )
    Console(highlight=False).print(table)
