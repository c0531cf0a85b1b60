"""The window: opened once, drawn on, flipped, and every flip stamped."""

import os
from dataclasses import dataclass
from typing import Any

import numpy as np

from physioemo.acquisition.player.drawing import draw_feedback
from physioemo.acquisition.player.gauge import Gauge, draw_gauge
from physioemo.acquisition.player.marks import draw_barcode, draw_patch
from physioemo.acquisition.player.playlist import DisplaySettings
from physioemo.acquisition.player.sound import import_pygame
from physioemo.errors import StreamError

__all__ = ["Screen", "fit_picture"]


@dataclass(frozen=True)
class Geometry:
    """Where the window is.

    Attributes
    ----------
    window : (int, int)
        Its size in pixels.
    position : (int, int)
        Of its upper left corner on the screen, in pixels.
    screen : (int, int)
        The desktop's size in pixels.
    """

    window: tuple[int, int]
    position: tuple[int, int]
    screen: tuple[int, int]


def fit_picture(picture: tuple[int, int], window: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return x, y, width, height of a picture that fills a window without being distorted."""
    scale = min(window[0] / picture[0], window[1] / picture[1])
    width, height = (max(1, round(side * scale)) for side in picture)
    return (window[0] - width) // 2, (window[1] - height) // 2, width, height


class Screen:
    """The participant's window.

    Parameters
    ----------
    settings : DisplaySettings
        What it is like.
    headless : bool
        Without a screen and without a sound card: SDL's dummy drivers.

    Raises
    ------
    StreamError
        If no window can be opened.
    """

    def __init__(self, settings: DisplaySettings, *, headless: bool = False) -> None:
        prepare_sdl(headless=headless)
        pygame = import_pygame()
        self.settings, self._pygame, self._white = settings, pygame, False
        try:
            pygame.display.init()
            pygame.font.init()
            self.surface = self._open()
        except pygame.error as error:
            raise StreamError(
                f"found that no window can be opened ({error}), expected a screen; use --headless "
                "on a computer without one"
            ) from None
        pygame.display.set_caption("PhysioEmo stimulus player")
        pygame.mouse.set_visible(False)
        self.driver = str(pygame.display.get_driver())
        self.background = pygame.Color(settings.background)
        self.feedback: float | None = None
        self.gauge: Gauge | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of the window in pixels."""
        width, height = self.surface.get_size()
        return width, height

    @property
    def vsync(self) -> bool:
        """Whether a flip waits for the screen."""
        return bool(self._pygame.display.is_vsync())

    @property
    def reported_refresh_hz(self) -> int:
        """The refresh rate that the system states; nobody has measured it."""
        return int(self._pygame.display.get_current_refresh_rate())

    def geometry(self) -> Geometry:
        """Return where the window is now."""
        desktop = self._pygame.display.get_desktop_sizes()[self.settings.monitor]
        is_full = self.settings.mode == "fullscreen"
        position = (0, 0) if is_full else tuple(self._pygame.display.get_window_position())
        screen = self.size if is_full or self.driver == "dummy" else tuple(desktop)
        if self.driver == "dummy":
            position = (0, 0)
        return Geometry(self.size, (int(position[0]), int(position[1])), (screen[0], screen[1]))

    def clear(self) -> None:
        """Fill the window with the background."""
        self.surface.fill(self.background)

    def draw_rgb(self, rgb: np.ndarray, rect: tuple[int, int, int, int]) -> None:
        """Draw a picture (height, width, 3) of the size that `rect` has."""
        picture = self._pygame.image.frombuffer(rgb, rect[2:], "RGB")
        self.surface.blit(picture, rect[:2])

    def flip(self, frame: int, item: int) -> float:
        """Show what was drawn, with its marks; return LSL's time just after.

        Parameters
        ----------
        frame, item : int
            What the barcode says.
        """
        import pylsl

        if self.feedback is not None:
            draw_feedback(self.surface, self.feedback, self.background)
        if self.gauge is not None:
            draw_gauge(self.surface, self.gauge, self.background)
        if self.settings.barcode:
            draw_barcode(self.surface, frame, item)
        if self.settings.photodiode != "off":
            self._white = not self._white
            draw_patch(self.surface, self.settings.photodiode, self._white)
        self._pygame.display.flip()
        return float(pylsl.local_clock())

    def close(self) -> None:
        """Close the window."""
        self._pygame.mouse.set_visible(True)
        self._pygame.display.quit()

    def _open(self) -> Any:
        pygame, settings = self._pygame, self.settings
        if settings.mode == "window":
            return pygame.display.set_mode(settings.size)
        sizes, number = pygame.display.get_desktop_sizes(), settings.monitor
        if number >= len(sizes):
            raise StreamError(
                f"found {len(sizes)} monitor{'s'[len(sizes) == 1 :]}, expected number {number} "
                "(from 0); connect it, or correct 'monitor' in the playlist's [display]"
            )
        size, full = sizes[number], pygame.FULLSCREEN
        try:
            # A flip that waits for the screen exists only with SDL's renderer.
            return pygame.display.set_mode(size, full | pygame.SCALED, display=number, vsync=1)
        except pygame.error:
            return pygame.display.set_mode(size, full, display=number)


def prepare_sdl(*, headless: bool) -> None:
    """Set what SDL reads when it begins."""
    os.environ["PYGAME_HIDE_SUPPORT_PROMPT"] = "1"
    # Without it Windows scales the window, and pixels are no longer the screen's.
    os.environ.setdefault("SDL_WINDOWS_DPI_AWARENESS", "permonitorv2")
    # A participant rates on, whichever window the experimenter has clicked on.
    os.environ.setdefault("SDL_JOYSTICK_ALLOW_BACKGROUND_EVENTS", "1")
    if headless:
        os.environ["SDL_VIDEODRIVER"] = os.environ["SDL_AUDIODRIVER"] = "dummy"
