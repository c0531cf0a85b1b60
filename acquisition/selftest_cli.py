"""The command ``selftest-sync``: prove that everything is on one clock."""

import json
import tempfile
from pathlib import Path

import click

from physioemo.acquisition.selftest_errors import SelfTest
from physioemo.acquisition.selftest_sync import SHORTEST_SECONDS
from physioemo.errors import CallError
from physioemo.latency import store_latency

__all__ = ["selftest_sync"]


@click.command("selftest-sync")
@click.option(
    "--seconds",
    default=60.0,
    show_default=True,
    help=f"How long to record, at least {SHORTEST_SECONDS:g}.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option("--no-skew", is_flag=True, help="Leave the producers' clocks as they are.")
@click.option("--calibrate", metavar="STREAM", help="Store a device's latency; record nothing.")
@click.option("--latency-ms", type=float, help="Of --calibrate: stamp minus true moment.")
def selftest_sync(
    seconds: float,
    as_json: bool,
    no_skew: bool,
    calibrate: str | None,
    latency_ms: float | None,
) -> int:
    """Prove that streams from wrong clocks are recorded on one time axis.

    Four producers whose clocks are seconds apart and drift by up to 200 ppm send pulses at the
    same true moments over LSL; one has a gap, one is killed and comes back with another clock.
    They are recorded as ever, and the recording is compared with the truth. Exit code 1 means
    that pulses are further apart than 0.2 ms (median) or 1 ms (worst), or that samples are lost.

    What no clock can tell is how late a device stamps. Measure it with a photodiode or a TTL pulse
    and store it with --calibrate; physioemo.latency.apply_latency takes it off a recording.
    """
    if (calibrate is None) != (latency_ms is None):
        raise CallError("found one of --calibrate and --latency-ms, expected both or neither")
    if calibrate is not None and latency_ms is not None:
        file = store_latency(calibrate, latency_ms / 1e3)
        click.echo(f"Stored in {file}: {calibrate!r} stamps {latency_ms:g} ms late.")
        return 0
    from physioemo.acquisition.selftest_sync import run_selftest

    if not as_json:
        click.echo(f"Recording four producers for {seconds:g} s ...", err=True)
    with tempfile.TemporaryDirectory(prefix="physioemo-selftest-") as folder:
        result = run_selftest(Path(folder), seconds=seconds, skewed=not no_skew)
    if as_json:
        click.echo(json.dumps(result.to_dict(), indent=2))
    else:
        _print(result)
    return 1 if result.problems else 0


def _print(result: SelfTest) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False)
    table = Table(box=None, pad_edge=False)
    for column in ("stream", "received", "sent", "pulses", "median ms", "worst ms"):
        table.add_column(column)
    for s in result.streams:
        numbers = (str(s.n_received), str(s.n_expected), str(s.n_pulses))
        table.add_row(s.name, *numbers, f"{s.median_ms:.3f}", f"{s.max_ms:.3f}")
    console.print(table)
    table = Table(box=None, pad_edge=False)
    for column in ("between", "and", "pulses", "median ms", "worst ms", ""):
        table.add_column(column)
    for p in result.pairs:
        numbers = (str(p.n_pulses), f"{p.median_ms:.3f}", f"{p.max_ms:.3f}")
        table.add_row(p.first, p.second, *numbers, "ok" if p.ok else "BAD")
    console.print(table)
    for problem in result.problems:
        click.echo(f"! {problem}")
    if not result.skewed:
        click.echo("Note: the clocks agreed, so their correction was not tested.")
    if not result.problems:
        click.echo("Everything is on one clock.\nNext: physioemo streams")
