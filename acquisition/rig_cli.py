"""The command ``rig``: check a rig, write one from the network, show one."""

import json
import math
from pathlib import Path
from typing import Any

import click

from physioemo.acquisition.lsl import configure_quietly
from physioemo.core_cli import in_shell

__all__ = ["rig"]

_LOG_COLUMNS = 130
_SECONDS = click.FloatRange(min=0.1)


@click.group()
def rig() -> None:
    """Say in one file which streams a study needs, and check them before each session."""


@rig.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--seconds", default=3.0, show_default=True, type=_SECONDS, help="How long to watch.")
@click.option(
    "--wait-seconds", default=0.0, show_default=True, help="How long to wait for missing streams."
)
@click.option(
    "--folder",
    default=".",
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where recordings will lie, for the free disk.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def check(file: Path, seconds: float, wait_seconds: float, folder: Path, as_json: bool) -> int:
    """Check every stream of the rig in FILE, and the disk.

    Exit code 1 means that something required is not as the rig says.
    """
    from physioemo.acquisition.rig_check import check_rig
    from physioemo.acquisition.rig_toml import read_rig

    configure_quietly()
    result = check_rig(read_rig(file), seconds=seconds, wait_seconds=wait_seconds, folder=folder)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2, ensure_ascii=False))
        return 0 if result.ok else 1
    _print_check(result)
    if result.ok:
        click.echo(f"The rig is ready.\nNext: physioemo record session.zarr --rig {in_shell(file)}")
    else:
        click.echo("The rig is NOT ready.")
    return 0 if result.ok else 1


@rig.command("from-network")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="What to call the rig; the file's name by default.")
@click.option(
    "--stream",
    "predicates",
    multiple=True,
    help="Only streams that fit an XPath predicate such as \"type='EEG'\"; repeat for more.",
)
@click.option(
    "--planned-minutes", type=click.FloatRange(min=0, min_open=True), help="Length of a session."
)
@click.option("--find-seconds", default=2.0, show_default=True, help="How long to look.")
@click.option("--overwrite", is_flag=True, help="Replace a file that is already there.")
def from_network(
    file: Path,
    name: str | None,
    predicates: tuple[str, ...],
    planned_minutes: float | None,
    find_seconds: float,
    overwrite: bool,
) -> None:
    """Write what is on the network now as a rig into FILE."""
    from physioemo.acquisition.rig_from_network import rig_from_network
    from physioemo.acquisition.rig_toml import write_rig

    configure_quietly()
    found, missing = rig_from_network(
        name or file.stem, predicates, planned_minutes=planned_minutes, find_seconds=find_seconds
    )
    header = "# A rig: the streams of a study. Strike out what it does not need; see docs/rig.md.\n"
    header += "".join(f"# TO STATE: {line}\n" for line in missing)
    write_rig(found, file, overwrite=overwrite, header=header)
    click.echo(f"Wrote {file}: {', '.join(s.key for s in found.streams)}.")
    for line in missing:
        click.echo(f"! {line}")
    click.echo(f"Next: physioemo rig check {in_shell(file)}")


@rig.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def show(file: Path, as_json: bool) -> None:
    """Print what the rig in FILE asks for."""
    from dataclasses import asdict

    from physioemo.acquisition.rig_toml import read_rig

    found = read_rig(file)
    if as_json:
        fields = {**asdict(found), "sha256": found.sha256}
        click.echo(json.dumps(fields, indent=2, ensure_ascii=False))
        return
    _print_rig(found)
    click.echo(f"Next: physioemo rig check {in_shell(file)}")


def _table(*columns: str) -> Any:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in columns:
        table.add_column(column)
    return table


def _print(table: Any) -> None:
    from rich.console import Console

    console = Console(highlight=False)
    # A log has no edge at which a table would have to be folded.
    console.width = console.width if console.is_terminal else max(console.width, _LOG_COLUMNS)
    console.print(table)


def _print_rig(rig: Any) -> None:
    from rich.markup import escape

    planned = f", {rig.planned_minutes:g} minutes" if rig.planned_minutes else ""
    disk = f", at least {rig.min_free_gib:g} GiB free" if rig.min_free_gib else ""
    click.echo(f"{rig.name}{planned}{disk}   SHA-256 {rig.sha256[:16]}")
    table = _table("stream", "found by", "Hz", "channels", "units", "if missing / late / lost")
    for s in rig.streams:
        rate = f"{s.sfreq:g} ± {s.sfreq_tolerance_percent:g} %" if s.sfreq else "irregular"
        table.add_row(
            escape(f"{s.key}{'' if s.required else ' (optional)'}"),
            escape(s.query_text),
            rate,
            str(s.n_channels or "any"),
            escape(", ".join(dict.fromkeys(s.units)) or "as it says"),
            f"{s.on_missing} / {s.on_late} / {s.on_lost}",
        )
    _print(table)


def _print_check(result: Any) -> None:
    from rich.markup import escape

    columns = ("stream", "found", "Hz", "ch", "age ms", "clock ms", "lost %")
    table = _table(*columns, "EEG uV", "50/60 Hz %", "result")
    for s in result.streams:
        bad = "red]BAD" if s.required else "yellow]bad, optional"
        table.add_row(
            escape(s.key),
            _found(s),
            _rate(s),
            str(s.n_channels or "-"),
            _number(1e3 * s.age_seconds, ".0f"),
            _clock(s),
            _number(100 * s.lost_share, ".1f"),
            _size(s),
            _mains(s),
            f"[{bad}[/]" if s.problems else "[green]ok[/]",
        )
    _print(table)
    gib = 2**30
    needed = result.needed_bytes / gib
    planned = f", {needed:.2f} GiB needed" if math.isfinite(needed) else ""
    click.echo(f"disk: {result.free_bytes / gib:.1f} GiB free{planned}")
    for problem in result.problems:
        click.echo(f"! {problem.text}")
    for s in result.streams:
        for problem in s.problems:
            click.echo(f"! {s.key}: {problem.text}")
        for note in s.notes:
            click.echo(f"Note: {s.key}: {note}.")


def _number(value: float, form: str) -> str:
    return format(value, form) if math.isfinite(value) else "-"


def _found(s: Any) -> str:
    return {0: "no", 1: "yes"}.get(len(s.source_ids), f"{len(s.source_ids)} fit")


def _rate(s: Any) -> str:
    if s.nominal_rate_hz == 0 and not math.isfinite(s.measured_rate_hz):
        return f"irregular, {s.n_samples} came"
    if not math.isfinite(s.measured_rate_hz):
        return "-"
    spread = 100 * s.rate_uncertainty
    # Packets move the stamps: over a short look the rate is known only so well.
    return f"{s.measured_rate_hz:.2f}" + (f"±{spread:.1f}%" if spread >= 0.1 else "")


def _clock(s: Any) -> str:
    if not math.isfinite(s.offset_seconds):
        return "-"
    return f"{1e3 * s.offset_seconds:.2f}±{500 * s.round_trip_seconds:.2f}"


def _size(s: Any) -> str:
    from physioemo.acquisition.rig_signal import round_uv

    sizes = sorted(c.peak_to_peak_uv for c in s.channels)
    return f"{round_uv(sizes[0])}-{round_uv(sizes[-1])}" if sizes else "-"


def _mains(s: Any) -> str:
    """Return the largest share of any channel at 50 and at 60 Hz."""
    if not s.channels:
        return "-"
    largest = [max(shares) for shares in zip(*(c.mains_share for c in s.channels), strict=True)]
    return "/".join(_number(100 * share, ".0f") for share in largest)
