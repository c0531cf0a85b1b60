"""The command ``webcam``."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import click

from physioemo.errors import CallError
from physioemo.screen import Latest

__all__ = ["webcam"]


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="Video to write, .mkv.")
@click.option(
    "--device",
    default="0",
    show_default=True,
    help="Number, path or name of the camera; 'test-pattern' needs none.",
)
@click.option("--size", default="640x480", show_default=True, help="Width x height in pixels.")
@click.option("--rate", default=30.0, show_default=True, help="Pictures per second.")
@click.option("--name", default="PhysioEmo-Webcam", show_default=True, help="Of the LSL stream.")
@click.option("--duration", type=click.FloatRange(min=0, min_open=True), help="Seconds.")
@click.option(
    "--wait-seconds",
    default=0.0,
    show_default=True,
    help="Wait at most this long until a recorder listens.",
)
@click.option("--list", "list_only", is_flag=True, help="Say which cameras there are, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print the summary as JSON.")
def webcam(
    out: Path | None,
    device: str,
    size: str,
    rate: float,
    name: str,
    duration: float | None,
    wait_seconds: float,
    list_only: bool,
    as_json: bool,
) -> None:
    """Record a camera into a file, and publish over LSL when each picture was taken.

    Run it beside 'physioemo record': the recording then says which picture of the file belongs
    to which moment. Pictures themselves stay in the file.
    """
    from physioemo.acquisition.lsl import configure_quietly
    from physioemo.acquisition.webcam import record_webcam
    from physioemo.acquisition.webcam_source import TEST_PATTERN, camera_names

    if list_only:
        names = camera_names()
        for camera, description in names:
            click.echo(f"{camera}  {description}")
        if not names:
            click.echo(f"No camera found; --device {TEST_PATTERN} needs none.")
        return
    if out is None:
        raise CallError("found no --out, expected the video to write; add --out face.mkv")
    configure_quietly()
    if device == TEST_PATTERN:
        click.echo("The pictures are SIMULATED: a test pattern, no camera.", err=True)
    with Latest((lambda *_: None) if as_json else _print_once_a_second()) as on_frame:
        summary = record_webcam(
            out,
            device=device,
            size=_parse_size(size),
            rate_hz=rate,
            name=name,
            duration_seconds=duration,
            wait_seconds=wait_seconds,
            on_frame=on_frame,
        )
    if as_json:
        click.echo(json.dumps(summary.to_dict(), indent=2))
        return
    lost = f", {summary.n_dropped} dropped" if summary.n_dropped else ""
    click.echo(
        f"{summary.n_frames} pictures{lost}, {summary.measured_rate_hz:.2f} a second, in "
        f"{summary.path}.\nNext: physioemo inspect the recording that was made beside it"
    )


def _parse_size(text: str) -> tuple[int, int]:
    width, _, height = text.lower().partition("x")
    if not (width.isdigit() and height.isdigit()):
        raise CallError(f"found the size {text!r}, expected one such as 640x480")
    return int(width), int(height)


def _print_once_a_second() -> Callable[[int, int], None]:
    last = 0.0

    def show(n_frames: int, n_dropped: int) -> None:
        nonlocal last
        if time.monotonic() - last >= 1.0:
            last = time.monotonic()
            click.echo(f"{n_frames} pictures, {n_dropped} dropped")
            sys.stdout.flush()

    return show
