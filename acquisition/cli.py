"""Commands of acquisition: streams, record, recover, replay, simulate, doctor."""

import json
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from physioemo.acquisition.lsl import configure_quietly
from physioemo.acquisition.record_cli import (
    in_shell,
    notice,
    refuse_contradictions,
    refuse_unsealed,
    rig_options,
    run_remote_control,
    start_recording,
)
from physioemo.core_cli import override_options, print_quality
from physioemo.errors import CallError
from physioemo.led import Leader, led_option
from physioemo.overrides import Overrides
from physioemo.progress import progress

__all__ = ["doctor", "record", "recover", "replay", "simulate", "streams"]

_WIDE_COLUMNS = 110

stream_option = click.option(
    "--stream",
    "predicates",
    multiple=True,
    help="Choose by an XPath predicate such as \"name='EEG'\"; repeat for more streams.",
)


@click.command()
@stream_option
@click.option("--seconds", default=2.0, show_default=True, help="How long to measure rates.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def streams(predicates: tuple[str, ...], seconds: float, as_json: bool) -> None:
    """Say what is on the LSL network: names, rates, units, problems."""
    from physioemo.acquisition.streams import list_streams

    configure_quietly()
    reports = list_streams(predicates, measure_seconds=seconds)
    if as_json:
        click.echo(json.dumps([r.to_dict() for r in reports], indent=2, ensure_ascii=False))
        return
    _print_streams(reports)
    for report in reports:
        for problem in report.problems:
            click.echo(f"! {report.name}: {problem}")
        for note in report.notes:
            click.echo(f"  {report.name}: {note}")
    click.echo("Next: physioemo record session.zarr")


def _print_streams(reports: list[Any]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console, table = Console(highlight=False), Table(box=None, pad_edge=False)
    is_wide = console.width >= _WIDE_COLUMNS
    for column in ("name", "type", "ch", "Hz", "measured", "units", "problems"):
        table.add_column(column, no_wrap=column != "units", overflow="fold")
    for column in ("source_id", "host") if is_wide else ():
        table.add_column(column, overflow="fold")
    for r in reports:
        measured = r.measured_rate_hz
        more = (escape(r.source_id or "-"), escape(r.hostname)) if is_wide else ()
        table.add_row(
            escape(r.name),
            escape(r.stype),
            str(r.n_channels),
            f"{r.nominal_rate_hz:g}" if r.nominal_rate_hz else "irregular",
            f"{measured:.2f}" if math.isfinite(measured) else "-",
            escape(", ".join(dict.fromkeys(r.units)) or "-"),
            str(len(r.problems)) if r.problems else "none",
            *more,
        )
    console.print(table)
    if not is_wide:
        click.echo("Each stream's source_id and host: on a wider screen, or with --json.")


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@stream_option
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Seconds.")
@click.option(
    "--stop-when-idle",
    type=click.FloatRange(min=0, min_open=True),
    help="Stop when no stream has delivered anything for this many seconds.",
)
@click.option("--find-seconds", default=2.0, show_default=True, help="How long to look.")
@click.option("--overwrite", is_flag=True, help="Replace a recording that is already there.")
@override_options
@rig_options
@led_option
def record(
    out: Path,
    predicates: tuple[str, ...],
    duration: float | None,
    stop_when_idle: float | None,
    find_seconds: float,
    overwrite: bool,
    ch_names: tuple[str, ...],
    unit: tuple[str, ...],
    rates: tuple[str, ...],
    rig_file: Path | None,
    wait_seconds: float | None,
    allow_incomplete: bool,
    also: tuple[str, ...],
    remote_control: bool,
    host: str,
    port: int,
    token: str | None,
    led: bool,
) -> int:
    """Record LSL streams into the folder OUT until Ctrl-C.

    With --remote-control, OUT is the folder in which remote clients start and stop recordings.
    Exit code 1 means that the recording is complete but something was wrong with a stream.
    """
    from physioemo.acquisition.status import ReturnNotices, status_display

    configure_quietly()
    overrides = Overrides.parse(ch_names, unit, rates)
    refuse_contradictions(
        rig_file, allow_incomplete, predicates, overrides, remote_control, overwrite, also
    )
    options: dict[str, Any] = {
        "rig_file": rig_file,
        "wait_seconds": wait_seconds,
        "allow_incomplete": allow_incomplete,
        "also": also,
        "predicates": predicates,
        "overrides": overrides,
        "find_seconds": find_seconds,
        "duration_seconds": duration,
        "stop_when_idle_seconds": stop_when_idle,
    }
    if remote_control:
        return run_remote_control(out, host=host, port=port, token=token, **options)
    with status_display(out) as show:
        options["on_status"] = show
        if led:
            options["should_stop"] = Leader().is_gone
            options["on_status"] = ReturnNotices(notice, show)
        try:
            summary = start_recording(out, overwrite=overwrite, **options)
        except KeyboardInterrupt:
            refuse_unsealed(out)
            raise
    click.echo(f"Recorded {out}: sealed and checked against the journal.")
    print_quality(summary.quality)
    for problem in summary.problems:
        click.echo(f"! {problem}", err=True)
    rated = bool(summary.recording.ratings.sizes["trial"])
    shown = in_shell(out)
    follow = f"train {shown} --out decoder" if rated else f"report {shown} --out report.html"
    click.echo(f"Next: physioemo {follow}")
    return 1 if summary.problems else 0


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
def recover(path: Path) -> None:
    """Seal a recording that was cut off; nothing changes if it is sealed already."""
    from physioemo.acquisition.recorder import recover as recover_recording

    recording = recover_recording(path)
    for note in recording.notes:
        click.echo(f"Note: {note}.")
    print_quality(recording.quality())
    click.echo(f"{path} is sealed.\nNext: physioemo inspect {in_shell(path)}")


def publish_options(function: Any) -> Any:
    """Add the options of commands that publish streams."""
    function = click.option(
        "--wait",
        default=0.0,
        show_default=True,
        help="Wait at most this many seconds until somebody listens to every stream.",
    )(function)
    function = click.option(
        "--fault-seed", default=0, show_default=True, help="Same seed, same faults."
    )(function)
    function = click.option(
        "--fault",
        "fault_texts",
        multiple=True,
        metavar="KIND=VALUE[@STREAM]",
        help="Plant a fault, for all streams or one; repeatable. jitter=MS, drift=PPM, "
        "clock-reset=AT,BY, loss=SHARE, duplicates=SHARE, stream-loss=AT,FOR, "
        "nan=PER_SECOND,SECONDS, rate=FACTOR, stall=AT,FOR.",
    )(function)
    return click.option(
        "--speed",
        default=1.0,
        show_default=True,
        type=click.FloatRange(min=0, min_open=True),
        help="Times real time; stamps keep the signals' own rates.",
    )(function)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Seconds of FILE.")
@publish_options
@override_options
def replay(
    file: Path,
    duration: float | None,
    speed: float,
    wait: float,
    ch_names: tuple[str, ...],
    unit: tuple[str, ...],
    rates: tuple[str, ...],
    fault_texts: tuple[str, ...],
    fault_seed: int,
) -> None:
    """Play a recording, XDF file or file that MNE reads as LSL streams."""
    from physioemo.acquisition.replay import replay as replay_recording
    from physioemo.files import read_recording

    configure_quietly()
    faults = _faults(fault_texts)
    recording = read_recording(file, Overrides.parse(ch_names, unit, rates))
    times = [
        recording[k]["time"].values[[0, -1]] for k in recording.streams if len(recording[k].time)
    ]
    total = max(t[1] for t in times) - min(t[0] for t in times) if times else 0.0
    described = {k: recording.description(k) for k in recording.streams}
    _announce(faults, described, fault_seed)
    click.echo(f"Replaying {file}: {', '.join(recording.streams)} ({total:.0f} s). Ctrl-C stops.")
    with progress("replay", min(total, duration or total)) as update:
        n = _until_stopped(
            lambda: replay_recording(
                recording,
                speed=speed,
                duration_seconds=duration,
                wait_seconds=wait,
                faults=faults,
                seed=fault_seed,
                on_progress=update,
            )
        )
    click.echo("Stopped." if n is None else f"Done: {n} samples published.")


def _faults(texts: tuple[str, ...]) -> list[Any]:
    if not texts:
        return []
    from physioemo.acquisition.faults import parse_fault

    return [parse_fault(text) for text in texts]


def _announce(faults: list[Any], descriptions: dict[str, Any], seed: int) -> None:
    if not faults:
        return
    from physioemo.acquisition.faults import announce, check_faults

    check_faults(faults, descriptions)
    for key, description in descriptions.items():
        for text in announce(faults, key, description, seed):
            click.echo(f"FAULT {description.name}: {text}")


def _until_stopped(work: Callable[[], int]) -> int | None:
    """Run until done; None if it was stopped by Ctrl-C."""
    try:
        return work()
    except KeyboardInterrupt:
        # A second Ctrl-C would break into the end of the outlets.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return None


@click.command()
@click.option(
    "--duration", type=click.FloatRange(min=0, min_open=True), help="Seconds; no end by default."
)
@click.option("--seed", default=0, show_default=True, help="Who the participant is.")
@click.option(
    "--session", default=1, show_default=True, help="Which of the participant's sessions."
)
@click.option(
    "--effect", default=1.0, show_default=True, help="Size of affect's influence; 0 = none."
)
@click.option("--montage", default="biosemi32", show_default=True, help="Standard montage of MNE.")
@click.option("--sfreq", default=250.0, show_default=True, help="EEG sampling rate in Hz.")
@click.option("--trial-seconds", default=8.0, show_default=True, help="Length of a clip.")
@click.option("--rest-seconds", default=2.0, show_default=True, help="Pause between clips.")
@click.option(
    "--react",
    metavar="SOURCE_ID",
    help="React to the session with this stream of events, not to clips of its own.",
)
@publish_options
@led_option
def simulate(
    duration: float | None,
    seed: int,
    session: int,
    effect: float,
    montage: str,
    sfreq: float,
    trial_seconds: float,
    rest_seconds: float,
    react: str | None,
    speed: float,
    wait: float,
    fault_texts: tuple[str, ...],
    fault_seed: int,
    led: bool,
) -> None:
    """Publish a simulated participant: EEG, ECG, EDA, respiration, gaze, markers, ratings.

    Its hidden valence, arousal and dominance drive the signals and are published as a stream of
    their own.
    """
    from physioemo.acquisition.participant import describe_streams
    from physioemo.acquisition.participant_config import ParticipantConfig
    from physioemo.acquisition.reacting import publish_reacting
    from physioemo.acquisition.simulate import publish_participant

    configure_quietly()
    config = ParticipantConfig(seed, effect=effect, montage=montage, sfreq=sfreq, session=session)
    faults = _faults(fault_texts)
    _announce(faults, describe_streams(config), fault_seed)
    click.echo("Publishing a SIMULATED participant (no person is recorded). Ctrl-C stops.")
    should_stop = Leader().is_gone if led else _never
    if react:
        if duration or faults or speed != 1:
            raise CallError(
                "found --react with --duration, --speed or --fault, expected it alone; it lives in "
                "the session's own time, until it is stopped"
            )
        n = _until_stopped(lambda: publish_reacting(config, react, should_stop=should_stop))
        click.echo("Stopped." if n is None else f"Done: {n} samples published.")
        return
    with progress("simulated participant", duration) as update:
        n = _until_stopped(
            lambda: publish_participant(
                config,
                duration_seconds=duration,
                trial_seconds=trial_seconds,
                rest_seconds=rest_seconds,
                speed=speed,
                wait_seconds=wait,
                faults=faults,
                fault_seed=fault_seed,
                should_stop=should_stop,
                on_progress=update,
            )
        )
    click.echo("Stopped." if n is None else f"Done: {n} samples published.")


def _never() -> bool:
    return False


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def doctor(as_json: bool) -> int:
    """Check this computer: versions, LSL on the loopback interface, free disk."""
    from physioemo.acquisition.doctor import check_computer

    configure_quietly()
    checks = check_computer()
    if as_json:
        click.echo(json.dumps([c._asdict() for c in checks], indent=2))
    else:
        for check in checks:
            click.echo(f"{'ok ' if check.ok else 'BAD'}  {check.what}: {check.found}")
        if all(c.ok for c in checks):
            click.echo("Next: physioemo demo")
    return 0 if all(c.ok for c in checks) else 1
