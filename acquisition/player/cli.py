"""The command ``play``."""

import json
from pathlib import Path
from typing import Any

import click

from physioemo.acquisition.lsl import configure_quietly
from physioemo.errors import CallError

__all__ = ["play"]


@click.command()
@click.argument("playlist", type=click.Path(path_type=Path), required=False)
@click.option("--headless", is_flag=True, help="Without screen and sound card (for tests).")
@click.option("--windowed", is_flag=True, help="In a window, whatever the playlist says.")
@click.option(
    "--answers",
    metavar="simulated:SEED|told|FILE.json",
    help="Answer by a program; streams are then marked as simulated.",
)
@click.option(
    "--wait",
    default=0.0,
    show_default=True,
    help="Wait at most this many seconds until a recorder listens to every stream.",
)
@click.option(
    "--controlled",
    is_flag=True,
    help="Show what standard input asks for (one JSON command per line), not the playlist.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def play(
    playlist: Path | None,
    headless: bool,
    windowed: bool,
    answers: str | None,
    wait: float,
    controlled: bool,
    as_json: bool,
) -> int:
    """Show a PLAYLIST of stimuli and ratings; publish every flip, marker and answer over LSL.

    Escape ends it. The playlist is TOML, see docs/player.md.
    """
    from physioemo.acquisition.player.answers import read_answers
    from physioemo.acquisition.player.playlist import Playlist, read_playlist
    from physioemo.acquisition.player.screen import prepare_sdl

    configure_quietly()
    prepare_sdl(headless=headless)
    if playlist is None and not controlled:
        raise CallError("found no playlist, expected PLAYLIST.toml; or pass --controlled")
    what = read_playlist(playlist) if playlist is not None else Playlist()
    options: dict[str, Any] = {
        "headless": headless,
        "windowed": windowed,
        "answers": read_answers(answers) if answers else None,
        "wait_seconds": wait,
    }
    if controlled:
        from physioemo.acquisition.player.controlled_child import run_controlled

        run_controlled(what, **options)
        return 0
    return _play(what, options, as_json)


def _play(playlist: Any, options: dict[str, Any], as_json: bool) -> int:
    from physioemo.acquisition.player.session import play_playlist

    def warn(text: str) -> None:
        click.secho(f"! {text}", fg="red", err=True)

    def tell(n: int, report: Any) -> None:
        if not as_json:
            click.echo(_line(n, report))

    if not as_json:
        n, what = len(playlist.items), playlist.title or "the playlist"
        click.echo(f"Playing {what}: {n} item{'' if n == 1 else 's'}. Escape ends it.")
        if options["answers"]:
            click.echo("Answers are SIMULATED: no person is asked.")
        if playlist.continuous is not None:
            click.echo(f"Rated all the while: {playlist.continuous.words()}.")
    report = play_playlist(playlist, on_item=tell, on_problem=warn, **options)
    if as_json:
        items = [item.to_dict() for item in report.items]
        click.echo(json.dumps({"reason": report.reason, "items": items}, indent=2))
    else:
        click.echo(f"Session {report.reason}.")
    return 0 if report.reason == "finished" else 1


def _line(n: int, report: Any) -> str:
    facts = report.to_dict()
    text = f"{report.number:>3}/{n}  {report.kind:<9}{report.name:<32}{report.reason}"
    if report.kind == "video":
        text += f"; {report.n_shown} frames shown, {report.n_dropped} dropped"
        if facts["max_lateness_ms"] is not None:
            text += (
                f", late by {facts['median_lateness_ms']:.1f} ms (median), "
                f"{facts['max_lateness_ms']:.1f} ms (most)"
            )
        if facts["sound_drift_ms"] is not None:
            text += f", {facts['sound_drift_ms']:+.2f} ms off the sound"
    elif report.values:
        text += "; " + ", ".join(f"{k} {v:g}" for k, v in report.values.items())
    return text
