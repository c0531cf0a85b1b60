"""``physioemo session``: parse and print; the work is elsewhere."""

from pathlib import Path
from typing import Any

import click

from physioemo.acquisition.record_cli import in_shell

__all__ = ["session"]


@click.group()
def session() -> None:
    """Closed-loop sessions: declare, run, verify, report."""


@session.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--template", default="steer-arousal", show_default=True, help="Which to begin with.")
def new(path: Path, template: str) -> None:
    """Write a protocol to PATH, to be changed."""
    from physioemo.experiments.session.protocol import new_protocol

    new_protocol(path, template=template)
    shown = in_shell(path)
    click.echo(f"Wrote {path}.\nNext: physioemo session run {shown} --dry-run")


@session.command(short_help="Run a session of a protocol, or show what it would be.")
@click.argument("protocol", type=click.Path(path_type=Path))
@click.option(
    "--decoder",
    type=click.Path(path_type=Path),
    help="Folder of 'physioemo train'; with --simulate one is trained if not named.",
)
@click.option(
    "--rig", type=click.Path(path_type=Path), help="Streams that are recorded and decoded."
)
@click.option("--simulate", is_flag=True, help="A simulated participant instead of a rig.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the session.")
@click.option("--participant", default="", help="One of the protocol's; the first if not stated.")
@click.option(
    "--session", "session_name", default="", help="One of the protocol's; the first if not stated."
)
@click.option("--dry-run", is_flag=True, help="Print the timeline, and do nothing.")
@click.option("--resume", is_flag=True, help="Go on with a session that was cut off.")
@click.option("--page/--no-page", default=True, show_default=True, help="The operator's page.")
@click.option("--open/--no-open", "open_it", help="Open the page in the browser.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Of the page; 0 takes any free one.  [default: 8770]",
)
@click.option("--at-once", is_flag=True, help="Do not wait for Start on the page.")
@click.option("--headless", is_flag=True, help="No screen and no sound.")
@click.option("--windowed", is_flag=True, help="The player in a window, not on the full screen.")
@click.option("--seed", default=0, show_default=True, help="Who the simulated participant is.")
@click.option("--effect", default=1.0, show_default=True, help="How much affect shows in them.")
def run(
    protocol: Path,
    decoder: Path | None,
    rig: Path | None,
    simulate: bool,
    out: Path | None,
    participant: str,
    session_name: str,
    dry_run: bool,
    resume: bool,
    page: bool,
    open_it: bool,
    port: int | None,
    at_once: bool,
    headless: bool,
    windowed: bool,
    seed: int,
    effect: float,
) -> int:
    """Run a session of PROTOCOL (TOML): recorder, decoder, player and page.

    Exit code 1 means that the session did not come to its end, or that something was wrong with
    the recording.
    """
    from physioemo.experiments.session.protocol import read_protocol
    from physioemo.experiments.session.timeline import timeline

    if dry_run:
        declared = read_protocol(protocol)
        who = participant or declared.participants[0]
        click.echo(timeline(declared, who, session_name or declared.sessions[0]))
        click.echo(
            f"Next: physioemo session run {in_shell(protocol)} --rig RIG.toml --decoder DIR --out "
            "FOLDER, or, without a person, with --simulate --out FOLDER"
        )
        return 0
    lacking = _lacking(out, rig, decoder, simulate)
    if lacking or out is None:
        raise click.UsageError(
            f"found {lacking}, expected such as: physioemo session run {in_shell(protocol)} "
            "--simulate --out P01"
        )
    from physioemo.acquisition.lsl import configure_quietly
    from physioemo.experiments.session.run import SessionOptions, run_session

    configure_quietly()
    page_options = (*(("--port", str(port)) if port is not None else ()),)
    page_options += ("--open",) if open_it else ()
    if simulate:
        click.echo("The participant is SIMULATED: no person takes part.")
        decoder = decoder or _simulated_decoder(out, seed, effect)
    assert decoder is not None  # noqa: S101 -- a rig without one was refused
    outcome = run_session(
        protocol,
        decoder,
        out,
        SessionOptions(
            participant=participant,
            session=session_name,
            rig=rig,
            headless=headless,
            windowed=windowed,
            page=page,
            page_options=page_options,
            wait_for_start=page and not at_once,
            resume=resume,
            simulate_seed=seed,
            simulate_effect=effect,
            cache=Path(click.get_app_dir("physioemo")) / "stimuli",
        ),
        on_say=_say,
    )
    return _print_outcome(outcome)


def _lacking(out: Path | None, rig: Path | None, decoder: Path | None, simulate: bool) -> str:
    """Return what is missing among the options, or contradicts, in words."""
    if simulate and rig is not None:
        return "--rig with --simulate"
    found = [] if simulate or rig is not None else ["neither --rig RIG.toml nor --simulate"]
    found += ["--rig without --decoder DIR"] if rig is not None and decoder is None else []
    found += ["no --out FOLDER"] if out is None else []
    return " and ".join(found)


def _simulated_decoder(out: Path, seed: int, effect: float) -> Path:
    """Return the decoder that goes with a simulated session, and say what it is."""
    import json

    import torch

    from physioemo.experiments.cli import print_scores
    from physioemo.experiments.session.simulated_decoder import simulated_decoder
    from physioemo.experiments.training import EVALUATION_JSON
    from physioemo.progress import progress

    folder = out.with_name(f"{out.name}-decoder")
    if folder.exists():
        click.echo(f"No --decoder: it is {folder}.")
        return simulated_decoder(folder, seed=seed, effect=effect)
    click.echo(
        "No --decoder: one is trained on a SIMULATED recording of the same participant, to "
        f"{folder}."
    )
    torch.set_num_threads(1)  # of several threads each waits for the others
    with progress("training", 1.0) as update:
        simulated_decoder(
            folder, seed=seed, effect=effect, on_progress=lambda _, k, n: update(k / n)
        )
    print_scores(json.loads((folder / EVALUATION_JSON).read_text("utf-8")))
    return folder


def _say(text: str) -> None:
    if text.startswith("! "):
        click.secho(text, fg="red", err=True)
    else:
        click.echo(text)


def _print_outcome(outcome: Any) -> int:
    bad = {name: code for name, code in outcome.exit_codes.items() if code}
    click.echo(f"The session ended: {outcome.reason}.")
    for name, code in bad.items():
        log = outcome.folder / "logs" / f"{name}.txt"
        click.secho(f"! the {name} ended with code {code}; see {log}", fg="red", err=True)
    shown = in_shell(outcome.folder)
    click.echo(f"Next: physioemo session verify {shown}")
    return 0 if outcome.reason == "finished" and not bad else 1


@session.command(short_help="Compute every prediction and decision again.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--decoder", type=click.Path(path_type=Path), help="Where it lies now, if moved.")
@click.option(
    "--stimuli",
    multiple=True,
    type=click.Path(path_type=Path),
    help="File or folder where what was shown lies now, if moved; repeatable.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def verify(folder: Path, decoder: Path | None, stimuli: tuple[Path, ...], as_json: bool) -> int:
    """Compute every prediction and decision of a session again; exit code 1 if one differs."""
    import json

    from physioemo.experiments.session.verify import check_lines, verify_session

    cache = Path(click.get_app_dir("physioemo")) / "stimuli"
    check = verify_session(folder, decoder_folder=decoder, stimuli=stimuli, cache=cache)
    if as_json:
        click.echo(json.dumps(check.to_dict(), indent=2))
        return 0 if check.passed else 1
    for line in check_lines(check):
        _say(line)
    named = " but for the gaps named above" if check.all_gaps else ""
    click.echo(
        "Identical" + named + "." if check.passed else "The session does NOT come out again."
    )
    click.echo(f"Next: physioemo session report {in_shell(folder)}")
    return 0 if check.passed else 1


@session.command(short_help="Write the report of a session, an HTML file.")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--decoder", type=click.Path(path_type=Path), help="Where it lies now, if moved.")
@click.option("--unblind", is_flag=True, help="Show the arm of a blinded session.")
def report(folder: Path, decoder: Path | None, unblind: bool) -> None:
    """Write one self-contained HTML file about a session into its FOLDER."""
    from physioemo.experiments.session.folder import SessionFolder
    from physioemo.experiments.session.report import write_session_report

    protocol = SessionFolder.open(folder).protocol()
    cache = Path(click.get_app_dir("physioemo")) / "stimuli"
    out = write_session_report(
        folder, protocol, decoder_folder=decoder, cache=cache, unblind=unblind
    )
    click.echo(f"Wrote {out}.\nNext: open it in a browser.")
