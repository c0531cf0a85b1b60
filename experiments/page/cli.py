"""The commands ``page`` and ``view``."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from physioemo.core_cli import override_options
from physioemo.led import Leader, led_option
from physioemo.overrides import Overrides

__all__ = ["page", "view"]

_DEFAULT_PORT = 8770


def _server_options(function: Any) -> Any:
    options = (
        click.option(
            "--host",
            default="127.0.0.1",
            show_default=True,
            help="Address to listen on; any other lets other computers reach the page.",
        ),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=_DEFAULT_PORT,
            show_default=True,
            help="0 takes any free port.",
        ),
        click.option(
            "--token",
            envvar="PHYSIOEMO_PAGE_TOKEN",
            help="What the address ends with; random if not stated.",
        ),
        click.option("--open/--no-open", "open_it", help="Open the address in the browser."),
    )
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@click.option(
    "--rig",
    "rig_file",
    type=click.Path(path_type=Path),
    help="Show the streams of this rig (TOML), and which are missing; by default all streams.",
)
@click.option("--blinded", is_flag=True, help="Hide the arm, the policy and decisions' inputs.")
@click.option("--watch", is_flag=True, help="Only watch: no controls, no operator's stream.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=Path(),
    show_default=True,
    help="Where recordings are written; the page shows what is free on its disk.",
)
@_server_options
@override_options
@led_option
def page(
    rig_file: Path | None,
    blinded: bool,
    watch: bool,
    folder: Path,
    host: str,
    port: int,
    token: str | None,
    open_it: bool,
    ch_names: tuple[str, ...],
    unit: tuple[str, ...],
    rates: tuple[str, ...],
    led: bool,
) -> None:
    """Open the operator's page: live streams, a session's state, notes and controls.

    A process of its own that reads the streams itself: whatever happens to it, the recording goes
    on. Ctrl-C ends it.
    """
    from physioemo.acquisition.lsl import configure_quietly
    from physioemo.acquisition.record_cli import refuse_contradictions
    from physioemo.acquisition.rig_toml import read_rig
    from physioemo.experiments.page.live_page import LivePage

    configure_quietly()
    overrides = Overrides.parse(ch_names, unit, rates)
    refuse_contradictions(rig_file, False, (), overrides, False, False)
    source = LivePage(
        rig=read_rig(rig_file) if rig_file else None,
        overrides=overrides,
        blinded=blinded,
        watch_only=watch,
        folder=folder,
    )
    try:
        # Whoever waits for the operator's stream finds the address printed already.
        gone = Leader().gone if led else None
        _serve(source, host, port, token, open_it, on_ready=source.start, should_stop=gone)
    finally:
        source.close()


@click.command()
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--blinded", is_flag=True, help="Hide the arm, the policy and decisions' inputs.")
@_server_options
@override_options
def view(
    store: Path,
    blinded: bool,
    host: str,
    port: int,
    token: str | None,
    open_it: bool,
    ch_names: tuple[str, ...],
    unit: tuple[str, ...],
    rates: tuple[str, ...],
) -> None:
    """Look at a recording in the operator's page: STORE is played, or scrolled by a slider.

    STORE is whatever 'physioemo inspect' reads. Ctrl-C ends it.
    """
    from physioemo.experiments.page.stored_page import StoredPage
    from physioemo.files import read_recording

    overrides = Overrides.parse(ch_names, unit, rates)
    with read_recording(store, overrides) as recording:
        _serve(StoredPage(recording, store.name, blinded=blinded), host, port, token, open_it)


def _serve(
    source: Any,
    host: str,
    port: int,
    token: str | None,
    open_it: bool,
    on_ready: Callable[[], None] = lambda: None,
    should_stop: threading.Event | None = None,
) -> None:
    """Serve a page until Ctrl-C, which is its ordinary end."""
    import contextlib

    from physioemo.experiments.page.access import new_token
    from physioemo.experiments.page.server import bind, serve

    listening = bind(host, port)

    def ready(url: str) -> None:
        click.echo(f"The page is at {url}\nCtrl-C ends it.")
        if host not in ("127.0.0.1", "localhost", "::1"):
            click.echo(f"! It listens on {host}: other computers can reach it.", err=True)
        on_ready()
        if open_it:
            import webbrowser

            webbrowser.open(url)

    with contextlib.suppress(KeyboardInterrupt):
        serve(
            source,
            listening,
            host=host,
            token=token or new_token(),
            should_stop=should_stop,
            on_ready=ready,
        )
