"""A whole playlist in one go: window, sound, streams, items, and an account of every frame."""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from physioemo.acquisition.player.answers import Answers
from physioemo.acquisition.player.item_report import ItemReport
from physioemo.acquisition.player.outlets import PlayerOutlets
from physioemo.acquisition.player.player import Player
from physioemo.acquisition.player.playlist import Playlist
from physioemo.acquisition.player.pointer import make_pointer, require_device
from physioemo.acquisition.player.prepared import Prepared, prepare
from physioemo.acquisition.player.sampler import RatingSampler
from physioemo.acquisition.player.screen import Screen
from physioemo.acquisition.player.sound import MonotonicClock, SoundClock, SoundDevice
from physioemo.errors import StreamError

__all__ = [
    "PlayReport",
    "Stage",
    "mark_session",
    "open_stage",
    "play_playlist",
    "wait_for_listeners",
]


@dataclass(frozen=True)
class PlayReport:
    """How a session went.

    Attributes
    ----------
    items : tuple of ItemReport
        In order, those that were shown.
    reason : str
        ``finished`` or ``aborted``.
    """

    items: tuple[ItemReport, ...]
    reason: str


@dataclass
class Stage:
    """Everything that is open while something is shown.

    Attributes
    ----------
    player : Player
        Shows items.
    screen : Screen
        The window.
    outlets : PlayerOutlets
        The streams.
    prepare : callable
        Makes an item with its file ready.
    """

    player: Player
    screen: Screen
    outlets: PlayerOutlets
    prepare: Callable[..., Prepared]


@contextmanager
def open_stage(
    playlist: Playlist,
    *,
    headless: bool = False,
    windowed: bool = False,
    answers: Answers | None = None,
    needs_sound: bool = True,
    on_problem: Callable[[str], None] = lambda text: None,
    **told: Any,
) -> Iterator[Stage]:
    """Open window, sound card and streams; close them at the end.

    Parameters
    ----------
    playlist : Playlist
        What is shown.
    headless : bool
        Without screen and sound card.
    windowed : bool
        A window even if the playlist says full screen.
    answers : Answers, optional
        Who answers in the participant's place.
    needs_sound : bool
        Whether anything is heard.
    on_problem : callable
        Told what goes wrong with the device of a continuous rating.
    **told
        Passed to :class:`physioemo.acquisition.player.player.Player`.

    Raises
    ------
    StreamError
        If there is no screen, no sound card or not the device of the continuous rating.
    """
    rating = playlist.continuous
    if rating is not None and answers is None:
        require_device(rating)
    settings = playlist.display
    if headless or windowed:
        settings = replace(settings, mode="window", monitor=0)
    playlist = replace(playlist, display=settings)
    sound, sampler = None, None
    with ExitStack() as last:
        folder = last.enter_context(tempfile.TemporaryDirectory(prefix="physioemo-play-"))
        screen = Screen(settings, headless=headless)
        last.callback(screen.close)
        if settings.sound and needs_sound:
            sound = SoundDevice()
            last.callback(sound.close)
        pointer = None if rating is None else make_pointer(rating, answers, on_problem)
        outlets = PlayerOutlets(
            playlist,
            screen.geometry(),
            _display_facts(screen, sound),
            simulated=answers is not None,
            device="" if pointer is None else pointer.name,
        )
        last.callback(outlets.close)
        if rating is not None and pointer is not None:
            sampler = RatingSampler(rating, pointer, outlets.send_continuous)
            sampler.start()
            last.callback(sampler.stop)
        last.callback(outlets.linger)
        player = Player(screen, outlets, sound, answers=answers, sampler=sampler, **told)

        def prepared(item: Any, file: Any) -> Prepared:
            return prepare(
                item,
                file,
                screen.size,
                Path(folder),
                background=screen.background,
                with_sound=sound is not None,
            )

        player.show_background()
        yield Stage(player, screen, outlets, prepared)


def play_playlist(
    playlist: Playlist,
    *,
    headless: bool = False,
    windowed: bool = False,
    answers: Answers | None = None,
    wait_seconds: float = 0.0,
    on_item: Callable[[int, ItemReport], None] = lambda number, report: None,
    **told: Any,
) -> PlayReport:
    """Show all items of a playlist.

    While one is shown, the next is made ready by a thread of its own.

    Parameters
    ----------
    playlist : Playlist
        What is shown.
    headless, windowed, answers
        See :func:`open_stage`.
    wait_seconds : float
        Wait at most this long until somebody listens to every stream; 0 does not wait.
    on_item : callable
        Told how many items there are, and how each one went.
    **told
        Passed to :class:`physioemo.acquisition.player.player.Player`.

    Raises
    ------
    StreamError
        If there is no screen, no sound card, no joystick where one is to be moved, or nobody to
        listen.
    UnreadableFileError
        If a file turns out to be damaged in the middle.
    """
    if answers is not None:
        for item in playlist.items:
            answers.answer(item)  # what a file does not answer is refused now
    needs_sound = any(file is not None and file.has_sound for file in playlist.files)
    with (
        open_stage(
            playlist,
            headless=headless,
            windowed=windowed,
            answers=answers,
            needs_sound=needs_sound,
            **told,
        ) as stage,
        ThreadPoolExecutor(1) as pool,
    ):
        wait_for_listeners(stage, wait_seconds)
        mark_session(stage, "session_start", title=playlist.title, items=len(playlist.items))
        reason = "failed"
        try:
            reports = _show_all(stage, playlist, pool, on_item)
            aborted = bool(reports) and reports[-1].reason == "aborted"
            reason = "aborted" if aborted else "finished"
        finally:
            stage.player.show_background()
            mark_session(stage, "session_stop", reason=reason)
    return PlayReport(tuple(reports), reason)


def _show_all(
    stage: Stage,
    playlist: Playlist,
    pool: ThreadPoolExecutor,
    on_item: Callable[[int, ItemReport], None],
) -> list[ItemReport]:
    """Show items to the last one, or to one that is aborted."""
    pairs = list(zip(playlist.items, playlist.files, strict=True))
    reports: list[ItemReport] = []
    ready: Future[Prepared] | None = pool.submit(stage.prepare, *pairs[0]) if pairs else None
    try:
        for number in range(1, len(pairs) + 1):
            prepared = ready.result() if ready is not None else None
            ready = pool.submit(stage.prepare, *pairs[number]) if number < len(pairs) else None
            if prepared is not None:
                reports.append(stage.player.show(number, prepared))
                on_item(len(pairs), reports[-1])
                if reports[-1].reason == "aborted":
                    break
    finally:
        if ready is not None and ready.exception() is None:
            ready.result().close()
    return reports


def wait_for_listeners(stage: Stage, seconds: float) -> None:
    """Wait until somebody listens to every stream; 0 seconds do not wait.

    Raises
    ------
    StreamError
        If nobody does in time.
    """
    if seconds > 0 and not stage.outlets.wait_for_listeners(seconds):
        raise StreamError(
            f"found nobody who listens to the player's streams within {seconds:g} s, expected a "
            "recorder; start 'physioemo record' in a second terminal"
        )


def mark_session(stage: Stage, event: str, **content: Any) -> None:
    """Publish a marker about the whole session."""
    import pylsl

    stage.outlets.send_marker({"event": event, **content}, float(pylsl.local_clock()))


def _display_facts(screen: Screen, sound: SoundDevice | None) -> dict[str, str]:
    driver = f"{screen.driver} (no screen)" if screen.driver == "dummy" else screen.driver
    led = SoundClock.kind if sound is not None else MonotonicClock.kind
    return {
        "video_driver": driver,
        "sound_driver": "none" if sound is None else sound.driver,
        "vsync": str(screen.vsync).lower(),
        "reported_refresh_hz": str(screen.reported_refresh_hz or "unknown"),
        "clock": f"{led} where there is sound, {MonotonicClock.kind} elsewhere",
    }
