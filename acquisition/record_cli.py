"""What ``record`` does with a rig, and by remote control."""

import contextlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from physioemo.core_cli import in_shell
from physioemo.errors import CallError, StoreError
from physioemo.overrides import Overrides

__all__ = [
    "in_shell",
    "refuse_contradictions",
    "refuse_unsealed",
    "rig_options",
    "run_remote_control",
    "start_recording",
]

_WAIT_SECONDS = 10.0


def rig_options(function: Any) -> Any:
    """Add the options of ``record`` that concern a rig or the remote control."""
    options = (
        click.option(
            "--rig",
            "rig_file",
            type=click.Path(path_type=Path),
            help="Record exactly the streams of this rig (TOML, see 'physioemo rig').",
        ),
        click.option(
            "--wait-seconds",
            type=click.FloatRange(min=0),
            help=f"Wait this long for the rig's streams ({_WAIT_SECONDS:g}; 0 by remote control).",
        ),
        click.option(
            "--allow-incomplete",
            is_flag=True,
            help="Record what is there of the rig, even without its required streams.",
        ),
        click.option("--also", multiple=True, help="XPath predicate of a stream beside the rig's."),
        click.option(
            "--remote-control",
            is_flag=True,
            help="Let LabRecorder's remote-control verbs start and stop recordings in OUT.",
        ),
        click.option("--host", default="127.0.0.1", show_default=True, help="Remote control."),
        click.option("--port", default=22345, show_default=True, help="Remote control."),
        click.option(
            "--token",
            envvar="PHYSIOEMO_REMOTE_TOKEN",
            help="What a remote client has to send first; needed beyond this computer.",
        ),
    )
    for option in reversed(options):
        function = option(function)
    return function


def refuse_contradictions(
    rig_file: Path | None,
    allow_incomplete: bool,
    predicates: Sequence[str],
    overrides: Overrides,
    remote_control: bool,
    overwrite: bool,
    also: Sequence[str] = (),
) -> None:
    """Refuse options that say different things.

    Raises
    ------
    CallError
        If two options contradict each other.
    """
    if rig_file and predicates:
        raise CallError("found --rig and --stream, expected one; the rig says which streams")
    if rig_file and overrides != Overrides():
        raise CallError(
            "found --rig with --ch-names, --unit or --sfreq, expected them in the rig; state "
            "channels, units or sfreq there"
        )
    if also and not rig_file:
        raise CallError("found --also without --rig, expected a rig beside it, or --stream")
    if allow_incomplete and not rig_file:
        raise CallError("found --allow-incomplete without --rig, expected a rig that it is about")
    if remote_control and overwrite:
        raise CallError(
            "found --remote-control with --overwrite, expected one; a remote client may not "
            "replace recordings"
        )


def refuse_unsealed(out: Path) -> None:
    """Say how a recording goes on that a second Ctrl-C kept from being sealed.

    Raises
    ------
    StoreError
        If there is one.
    """
    from physioemo.store import JOURNAL

    if (out / JOURNAL).exists():
        raise StoreError(
            f"found that the recording {out} was stopped twice before it was sealed, expected "
            "once; what was written is kept, up to the last quarter of a second: run 'physioemo "
            f"recover {in_shell(out)}'"
        )


def notice(text: str) -> None:
    """Tell the operator at once."""
    with contextlib.suppress(OSError):  # a screen that is gone ends no recording
        click.secho(f"! {text}", fg="red", err=True)


def start_recording(
    out: Path,
    *,
    rig_file: Path | None,
    wait_seconds: float | None,
    allow_incomplete: bool,
    predicates: Sequence[str],
    overrides: Overrides,
    find_seconds: float,
    also: Sequence[str] = (),
    **options: Any,
) -> Any:
    """Record a rig, or what the predicates choose; return the summary.

    Parameters
    ----------
    out : Path
        Folder to create.
    rig_file : Path, optional
        The rig.
    wait_seconds, allow_incomplete
        See :func:`physioemo.acquisition.rig_record.prepare_rig`.
    predicates, overrides, find_seconds, **options
        See :func:`physioemo.acquisition.recorder.record`.
    also : sequence of str
        Predicates of streams beside the rig's.
    """
    from physioemo.acquisition.recorder import record

    if rig_file is None:
        return record(
            out,
            predicates=predicates,
            overrides=overrides,
            find_seconds=find_seconds,
            **options,
        )
    from physioemo.acquisition.rig_record import record_rig
    from physioemo.acquisition.rig_toml import read_rig

    return record_rig(
        read_rig(rig_file),
        out,
        wait_seconds=_WAIT_SECONDS if wait_seconds is None else wait_seconds,
        allow_incomplete=allow_incomplete,
        also=also,
        find_seconds=find_seconds,
        on_notice=notice,
        **options,
    )


def run_remote_control(
    folder: Path,
    *,
    host: str,
    port: int,
    token: str | None,
    wait_seconds: float | None,
    rig_file: Path | None,
    **options: Any,
) -> int:
    """Serve LabRecorder's verbs until Ctrl-C; return the exit code.

    Parameters
    ----------
    folder : Path
        Where all recordings lie.
    host, port, token
        See :func:`physioemo.acquisition.remote_control.serving`.
    wait_seconds, rig_file, **options
        See :func:`start_recording`.
    """
    from physioemo.acquisition.remote_control import serve_until_interrupted
    from physioemo.acquisition.remote_recorder import RemoteRecorder
    from physioemo.acquisition.rig_toml import read_rig
    from physioemo.acquisition.status import status_display

    rig = read_rig(rig_file) if rig_file else None

    def record(out: Path, *, should_stop: Callable[[], bool], on_status: Any) -> Any:
        with status_display(out) as show:
            return start_recording(
                out,
                rig_file=rig_file,
                wait_seconds=wait_seconds or 0.0,
                should_stop=should_stop,
                on_status=lambda statuses: (on_status(statuses), show(statuses)),
                **options,
            )

    recorder = RemoteRecorder(folder, record, partial(_look, rig), on_notice=_tell)
    serve_until_interrupted(
        recorder, host=host, port=port, token=token, on_ready=partial(_ready, folder)
    )
    click.echo("Remote control ended; every recording is sealed.")
    return 1 if recorder.n_failed else 0


def _tell(text: str) -> None:
    notice(text.removeprefix("ERROR ")) if text.startswith("ERROR") else click.echo(text, err=True)


def _ready(folder: Path, host: str, port: int) -> None:
    click.echo(f"Remote control on {host} port {port}; recordings go to {folder}. Ctrl-C ends it.")


def _look(rig: Any) -> str:
    """Return in words what is on the network, and what a rig misses."""
    import pylsl

    from physioemo.acquisition.rig_network import LOOK_SECONDS, find_rig

    if rig is None:
        infos = pylsl.resolve_streams(LOOK_SECONDS)
        names = ", ".join(f"{i.name()} ({i.hostname()})" for i in infos)
        return f"{len(infos)} stream{'' if len(infos) == 1 else 's'}: {names or 'none'}"
    matches = find_rig(rig)
    bad = [f"{m.stream.key}: {m.problem}" for m in matches if m.problem]
    good = ", ".join(m.stream.key for m in matches if not m.problem) or "none"
    return f"rig {rig.name!r}: found {good}{'; ' if bad else ''}{'; '.join(bad)}"
