"""The command line: a table of commands, each loaded when it is called."""

import difflib
import os
import signal
import sys
from collections.abc import Iterable
from importlib import import_module
from typing import Any

import click

from physioemo import __version__
from physioemo.console_window import heed_closed_window
from physioemo.errors import PhysioEmoError

__all__ = ["COMMANDS", "cli", "main"]

# name -> (module, function, one line for --help); a module is imported when it is called.
COMMANDS: dict[str, tuple[str, str, str]] = {
    "audit": ("physioemo.experiments.audit_cli", "audit", "Whether a split leaks, and how much."),
    "compare": ("physioemo.experiments.study_cli", "compare", "Studies side by side."),
    "datasets": ("physioemo.datasets.cli", "datasets", "Which data sets can be read."),
    "demo": ("physioemo.experiments.cli", "demo", "The whole thread on a simulated participant."),
    "doctor": ("physioemo.acquisition.cli", "doctor", "Check this computer: versions, LSL, disk."),
    "export": ("physioemo.export_cli", "export", "Write a recording as XDF, FIF or BIDS."),
    "export-decoder": (
        "physioemo.experiments.export_cli",
        "export_decoder",
        "Write a decoder as ONNX for other programs.",
    ),
    "import": ("physioemo.core_cli", "import_", "Turn an XDF or MNE file into a recording."),
    "inspect": (
        "physioemo.features.inspect_cli",
        "inspect",
        "What is in a recording, data set or feature store.",
    ),
    "live": ("physioemo.experiments.cli", "live", "Decode an EEG stream and publish predictions."),
    "page": ("physioemo.experiments.page.cli", "page", "The operator's page in a browser."),
    "play": ("physioemo.acquisition.player.cli", "play", "Show stimuli; log every frame."),
    "preprocess": (
        "physioemo.features.cli",
        "preprocess",
        "Recordings and data sets into a feature store.",
    ),
    "pretrain": (
        "physioemo.experiments.pretrain_cli",
        "pretrain",
        "Learn encoders from recordings that nobody rated.",
    ),
    "record": ("physioemo.acquisition.cli", "record", "Record LSL streams."),
    "recover": ("physioemo.acquisition.cli", "recover", "Seal a recording that was cut off."),
    "replay": ("physioemo.acquisition.cli", "replay", "Play a recording as LSL streams."),
    "report": ("physioemo.experiments.cli", "report", "Write one self-contained HTML file."),
    "rig": ("physioemo.acquisition.rig_cli", "rig", "Check the streams that a study needs."),
    "selftest-sync": (
        "physioemo.acquisition.selftest_cli",
        "selftest_sync",
        "Prove that everything is on one clock.",
    ),
    "session": (
        "physioemo.experiments.session.cli",
        "session",
        "Closed-loop sessions: declare, run, verify, report.",
    ),
    "simulate": ("physioemo.acquisition.cli", "simulate", "Publish a simulated participant."),
    "streams": ("physioemo.acquisition.cli", "streams", "What is on the LSL network."),
    "study": ("physioemo.experiments.study_cli", "study", "Run a declared study."),
    "train": ("physioemo.experiments.cli", "train", "Train a decoder on rated recordings."),
    "view": ("physioemo.experiments.page.cli", "view", "A recording in the operator's page."),
    "webcam": ("physioemo.acquisition.webcam_cli", "webcam", "Record a camera beside the streams."),
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and summaries without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in COMMANDS:
            return None
        module, function, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(import_module(module), function)
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """Name the nearest command when one is mistyped."""
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], COMMANDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"found the command {args[0]!r}, expected one of --help{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands from the summaries alone."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, row[2]) for name, row in sorted(COMMANDS.items())])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="physioemo")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Emotion decoding from synchronised EEG, eye, heart and skin recordings.

    Start with 'physioemo demo'.
    """
    ctx.obj = {"debug": debug}


def _speak(stream: Any) -> None:
    """Set how text is written: no letter stops a session, and files and programs get UTF-8.

    Windows would give them its code page, in which JSON is none, unless one is asked for.
    """
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is None:
        return
    is_free = sys.platform == "win32" and "PYTHONIOENCODING" not in os.environ
    if is_free and not stream.isatty():
        reconfigure(encoding="utf-8")
    reconfigure(errors="replace")


def _interrupt(number: int, frame: Any) -> None:
    raise KeyboardInterrupt


def _sentence(error: Exception) -> str:
    if "computed checksum do not match" in str(error):
        return (
            "found stored data whose checksum does not fit, expected them as they were written; "
            "check the disk, and restore the recording from a copy"
        )
    return (
        f"an unforeseen error ({type(error).__name__}: {error}); run it again as "
        "'physioemo --debug ...' and report what it prints"
    )


def main(args: Iterable[str] | None = None) -> None:
    """Run the command line: exit code 0 done, 1 the work failed, 2 the call was wrong."""
    for stream in (sys.stdout, sys.stderr):
        _speak(stream)
    arguments = list(args) if args is not None else sys.argv[1:]
    # A polite end from a supervisor is treated as Ctrl-C: recordings are sealed. Shells start
    # background commands with Ctrl-C ignored; scripts still stop a recorder by that signal.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)
    # So is a window that is closed, unless 'nohup' says to go on, and Ctrl-Break on Windows.
    for name in ("SIGHUP", "SIGBREAK"):
        if hasattr(signal, name) and signal.getsignal(getattr(signal, name)) == signal.SIG_DFL:
            signal.signal(getattr(signal, name), _interrupt)
    heed_closed_window()
    try:
        code = cli.main(arguments, prog_name="physioemo", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except PhysioEmoError as error:
        if "--debug" in arguments:
            raise
        click.echo(f"physioemo: {error}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("physioemo: stopped", err=True)
        sys.exit(130)
    except Exception as error:  # the user sees a sentence, the developer --debug
        if "--debug" in arguments:
            raise
        click.echo(f"physioemo: {_sentence(error)}", err=True)
        sys.exit(1)
    sys.exit(code or 0)
