"""The player: shows one prepared item after the other, and says when it did.

Where there is sound, its sample counter is the clock: a frame is shown when the sound has reached
its presentation stamp, and left out when the next one is due already. Sound is never cut. Without
sound the computer's clock leads.
"""

import math
import time
from collections.abc import Callable
from typing import Any

from physioemo.acquisition.player.answers import Answers
from physioemo.acquisition.player.drawing import contrast_colour, draw_fixation, draw_paragraph
from physioemo.acquisition.player.frame_source import FrameSource, ReadyFrame
from physioemo.acquisition.player.gauge import Gauge
from physioemo.acquisition.player.item import Item
from physioemo.acquisition.player.item_markers import (
    rating_markers,
    start_markers,
    stop_markers,
)
from physioemo.acquisition.player.item_report import ItemReport, sound_drift
from physioemo.acquisition.player.outlets import PlayerOutlets
from physioemo.acquisition.player.prepared import Prepared
from physioemo.acquisition.player.rating_page import make_page
from physioemo.acquisition.player.sampler import RatingSampler
from physioemo.acquisition.player.screen import Screen
from physioemo.acquisition.player.sound import (
    Clock,
    MonotonicClock,
    SoundClock,
    SoundDevice,
    import_pygame,
)

__all__ = ["Player"]

NOTHING = 0
"""The item number of the background that is shown between two items."""

_POLL_SECONDS = 0.004
_SPIN_SECONDS = 0.0008
_LATE_DECODING_SECONDS = 0.02
_GAUGE_SECONDS = 0.04


class Player:
    """Shows items in a window and publishes what it shows.

    Parameters
    ----------
    screen : Screen
        The window.
    outlets : PlayerOutlets
        The streams.
    sound : SoundDevice or None
        The sound card; None plays nothing.
    answers : Answers or None
        Who answers in the participant's place.
    sampler : RatingSampler or None
        What publishes a continuous rating; None without one.
    asked_to_stop : callable
        Asked all the time; a reason ends the item.
    on_start : callable
        Told the item's number and LSL's time at its first flip.
    on_flip : callable
        Told item, frame and LSL's time after each flip.
    """

    def __init__(
        self,
        screen: Screen,
        outlets: PlayerOutlets,
        sound: SoundDevice | None,
        *,
        answers: Answers | None = None,
        sampler: RatingSampler | None = None,
        asked_to_stop: Callable[[], str | None] = lambda: None,
        on_start: Callable[[int, float], None] = lambda number, stamp: None,
        on_flip: Callable[[int, int, float], None] = lambda item, frame, stamp: None,
    ) -> None:
        self.screen, self.outlets, self.sound = screen, outlets, sound
        self.answers, self.sampler, self.asked_to_stop = answers, sampler, asked_to_stop
        self.on_start, self.on_flip = on_start, on_flip
        self._pygame = import_pygame()
        self._events: list[Any] = []
        self._polled = -math.inf
        self._reason: str | None = None
        self._n_blank = 0
        self._clock: Clock | None = None
        self._show_again: Callable[[], None] | None = None
        self._is_rated = False
        self._gauge_drawn, self._gauge_is_late = -math.inf, False

    def set_feedback(self, value: float, *, is_volume: bool = False) -> None:
        """Show the participant a value while the item lasts.

        Parameters
        ----------
        value : float
            0 to 1.
        is_volume : bool
            As the volume of the item's sound, not as a bar at the edge of the picture.
        """
        if is_volume:
            if self.sound is not None:
                self.sound.music.set_volume(min(max(value, 0.0), 1.0))
            return
        self.screen.feedback = value
        if self._show_again is not None:
            self._show_again()

    def show(self, number: int, prepared: Prepared) -> ItemReport:
        """Show an item to its end and return how it went.

        Raises
        ------
        UnreadableFileError
            If its file turns out to be damaged; everything shown before is published.
        """
        item = prepared.item
        report = ItemReport(number, item.kind, item.name)
        self._reason, self._events = None, []
        self.screen.feedback = None
        self._is_rated = self.sampler is not None and self.sampler.begin(item)
        self._hear_devices()
        self._pygame.event.clear()
        try:
            self._set_gauge(None)
            if item.kind == "video":
                self._show_video(report, prepared)
            elif item.is_rating:
                self._ask(report, prepared)
            else:
                self._show_still(report, prepared)
        except BaseException as error:
            report.reason = "aborted" if isinstance(error, KeyboardInterrupt) else "failed"
            raise
        finally:
            if self._clock is not None:
                self._clock.stop()  # before the file of its sound is removed
                self._clock = None
            self._show_again = None
            if self.sampler is not None:
                self.sampler.hide()
            self._is_rated, self.screen.gauge = False, None
            prepared.close()
            self._end(report, item)
        return report

    def show_background(self) -> None:
        """Show the bare background, as item 0."""
        self.screen.clear()
        stamp = self.screen.flip(self._n_blank, NOTHING)
        self.outlets.send_flip(self._n_blank, 0.0, 0.0, 0, NOTHING, stamp)
        self._n_blank += 1

    def idle(self, seconds: float) -> None:
        """Let the window answer the system for a while."""
        self._pygame.event.pump()
        self._hear_devices()
        time.sleep(seconds)

    def _show_video(self, report: ItemReport, prepared: Prepared) -> None:
        source, item, rect = prepared.frames, prepared.item, prepared.rect
        assert source is not None and rect is not None  # noqa: S101 -- a video has them
        clock = self._make_clock(prepared)
        report.clock = clock.kind
        frame = self._next_frame(source)
        self.screen.clear()
        clock.start()
        times: list[tuple[float, float]] = []
        end, dropped = item.start_seconds, 0
        while frame is not None and self._wait_for(clock, frame.seconds - self._lead()):
            source.take()
            while (later := source.peek()) is not None and later.seconds <= clock.position():
                frame, dropped = later, dropped + 1
                source.take()
            self.screen.draw_rgb(frame.rgb, rect)
            stamp = self.screen.flip(frame.index, report.number)
            lateness = clock.position() - frame.seconds
            times.append((time.perf_counter(), lateness))
            self._flipped(report, prepared, (frame.index, frame.seconds, lateness, dropped), stamp)
            report.n_shown, report.n_dropped = report.n_shown + 1, report.n_dropped + dropped
            report.lateness.append(lateness)
            end, dropped = frame.until_seconds, 0
            frame = self._next_frame(source)
        end = max(end, prepared.sound_stop_seconds)
        self._wait_for(clock, min(end, item.stop_seconds or math.inf))
        if isinstance(clock, SoundClock):
            report.sound_drift_seconds = sound_drift(times, clock.readings)
        report.reason = self._reason or "finished"

    def _next_frame(self, source: FrameSource) -> ReadyFrame | None:
        """Return the next frame as soon as it is decoded; None at the end or on a stop."""
        while not self._stopped():
            frame = source.peek(_LATE_DECODING_SECONDS)
            if frame is not None or source.ended:
                return frame
        return None

    def _show_still(self, report: ItemReport, prepared: Prepared) -> None:
        item = prepared.item
        clock = self._make_clock(prepared)
        report.clock = clock.kind
        self._draw_still(prepared)
        clock.start()
        onset, n_flips = self._flip_once(report, prepared), 1

        def show_again() -> None:
            nonlocal n_flips
            self._draw_still(prepared)
            stamp = self.screen.flip(n_flips, report.number)
            self._flipped(report, prepared, (n_flips, stamp - onset, 0.0, 0), stamp)
            n_flips += 1

        self._show_again = show_again
        began = item.start_seconds
        if item.until == "key":
            self._wait_for_key(report)
        else:
            length = math.inf if item.stop_seconds is None else item.stop_seconds - began
            sounds = max(0.0, prepared.sound_stop_seconds - began)
            if item.kind == "sound" and prepared.file is not None:
                whole = (prepared.file.duration_seconds or 0.0) - began
                sounds = sounds or min(length, whole)
            seconds = item.seconds if item.seconds is not None else sounds
            self._wait_for(clock, began + seconds)
            report.reason = self._reason or "finished"

    def _draw_still(self, prepared: Prepared) -> None:
        item, screen = prepared.item, self.screen
        screen.clear()
        ink = contrast_colour(screen.background)
        if prepared.rgb is not None and prepared.rect is not None:
            screen.draw_rgb(prepared.rgb, prepared.rect)
        elif item.kind == "text":
            draw_paragraph(screen.surface, item.text, round(item.text_height * screen.size[1]), ink)
        elif item.kind == "fixation":
            draw_fixation(screen.surface, ink)

    def _wait_for_key(self, report: ItemReport) -> None:
        began = time.perf_counter()
        while not self._stopped():
            if any(self._is_key(e) for e in self._take_events()):
                break
            if self.answers and time.perf_counter() - began >= self.answers.delay_seconds:
                break
            time.sleep(_POLL_SECONDS)
        report.reason = self._reason or "key"

    def _ask(self, report: ItemReport, prepared: Prepared) -> None:
        item = prepared.item
        page = make_page(item)
        answer = self.answers.answer(item) if self.answers else None
        self._pygame.mouse.set_visible(self.answers is None)
        page.draw(self.screen.surface)
        began, n_flips = self._flip_once(report, prepared), 1
        while not page.done and not self._stopped():
            changed = sum(page.handle(e) for e in self._take_events()) > 0
            passed = _now() - began
            if answer is not None and self.answers and passed >= self.answers.delay_seconds:
                page.values, page.done, changed = answer, True, True
            if changed:
                page.draw(self.screen.surface)
                stamp = self.screen.flip(n_flips, report.number)
                details = (n_flips, stamp - began, 0.0, 0)
                self._flipped(report, prepared, details, stamp)
                n_flips += 1
            if not page.done and item.timeout_seconds and passed >= item.timeout_seconds:
                self._reason = "timeout"
            time.sleep(_POLL_SECONDS)
        self._pygame.mouse.set_visible(False)
        report.reason = "answered" if page.done else self._reason or "answered"
        if page.done:
            report.values = dict(page.values)
            self._publish_rating(report, item, began)

    def _publish_rating(self, report: ItemReport, item: Item, began: float) -> None:
        stamp, trial = _now(), item.trial or 0
        report.answer_seconds = round(stamp - began, 4)
        for marker in rating_markers(report, trial, item.rated):
            self.outlets.send_marker(marker, stamp)
        self.outlets.send_rating(trial, report.values, item.rated, stamp)

    def _flip_once(self, report: ItemReport, prepared: Prepared) -> float:
        stamp = self.screen.flip(0, report.number)
        self._flipped(report, prepared, (0, 0.0, 0.0, 0), stamp)
        return stamp

    def _flipped(
        self,
        report: ItemReport,
        prepared: Prepared,
        details: tuple[int, float, float, int],
        stamp: float,
    ) -> None:
        """Publish a flip; the first of an item is its onset."""
        frame, pts, lateness, dropped = details
        self.outlets.send_flip(frame, pts, lateness, dropped, report.number, stamp)
        if math.isnan(report.onset_seconds):
            report.onset_seconds = stamp
            if self._is_rated and self.sampler is not None:
                self.sampler.show()
            for marker in start_markers(report, prepared, self.screen):
                self.outlets.send_marker(marker, stamp)
            self.on_start(report.number, stamp)
        self.on_flip(report.number, frame, stamp)

    def _end(self, report: ItemReport, item: Item) -> None:
        report.stop_seconds = stamp = _now()
        if math.isnan(report.onset_seconds):
            return
        for marker in stop_markers(report, item):
            self.outlets.send_marker(marker, stamp)

    def _make_clock(self, prepared: Prepared) -> Clock:
        """Return the clock that leads an item; it is stopped when the item ends."""
        item = prepared.item
        self._clock = MonotonicClock(item.start_seconds)
        if prepared.sound is not None and self.sound is not None:
            self._clock = SoundClock(self.sound, prepared.sound, item.start_seconds, item.volume)
        return self._clock

    def _lead(self) -> float:
        """Return how much earlier a frame is drawn because the flip waits for the screen."""
        refresh = self.screen.settings.refresh_hz
        return 0.5 / refresh if self.screen.vsync and refresh else 0.0

    def _wait_for(self, clock: Clock, due: float) -> bool:
        """Wait until a clock has reached a position; False if the item is to end before."""
        while not self._stopped():
            left = due - clock.position()
            if left <= 0:
                return True
            if left > _SPIN_SECONDS:
                time.sleep(min(left - _SPIN_SECONDS, _POLL_SECONDS))
        return False

    def _stopped(self) -> bool:
        """Tell whether the item is to end, and take what keys and mouse have done."""
        now = time.perf_counter()
        if self._reason is None and now - self._polled >= _POLL_SECONDS:
            self._polled = now
            self._reason = self.asked_to_stop()
            for event in self._pygame.event.get():
                is_escape = event.type == self._pygame.KEYDOWN and (
                    event.key == self._pygame.K_ESCAPE
                )
                if is_escape or event.type == self._pygame.QUIT:
                    self._reason = self._reason or "aborted"
                if self.sampler is not None:
                    self.sampler.hear(event)
                self._events.append(event)
            self._follow_pointer(now)
        return self._reason is not None

    def _take_events(self) -> list[Any]:
        taken, self._events = self._events, []
        return taken

    def _is_key(self, event: Any) -> bool:
        """Tell whether an event is a key that is not the continuous rating's."""
        rates = self._is_rated and self.sampler is not None and self.sampler.pointer.uses(event)
        return event.type == self._pygame.KEYDOWN and not rates

    def _hear_devices(self) -> None:
        """Take what was plugged in or out while nothing was shown."""
        if self.sampler is not None:
            kinds = (self._pygame.JOYDEVICEADDED, self._pygame.JOYDEVICEREMOVED)
            for event in self._pygame.event.get(kinds):
                self.sampler.hear(event)

    def _follow_pointer(self, now: float) -> None:
        """Note where the pointer is; show it where nothing else draws."""
        if not self._is_rated or self.sampler is None:
            return
        changed = self._set_gauge(self.sampler.note())
        is_due = now - self._gauge_drawn >= _GAUGE_SECONDS
        if self._show_again is not None and is_due and (changed or self._gauge_is_late):
            self._gauge_drawn, self._gauge_is_late = now, False
            self._show_again()
        elif changed:
            self._gauge_is_late = True

    def _set_gauge(self, places: tuple[float, ...] | None) -> bool:
        """Set what the next flip draws; tell whether it is something else."""
        before, self.screen.gauge = self.screen.gauge, None
        if self._is_rated and self.sampler is not None:
            self.screen.gauge = Gauge.of(self.sampler.rating, places)
        return self.screen.gauge != before


def _now() -> float:
    import pylsl

    return float(pylsl.local_clock())
