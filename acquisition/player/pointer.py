"""What the participant moves for a continuous rating: mouse, joystick, arrow keys, or a program.

Each is asked for a place, 0 to 1 on the axis of every dimension, and answers None as long as nobody
has moved it since the stimulus began. A mouse is put into the middle of the window at that time:
where it was left on the page before says nothing about the stimulus.
"""

import math
import time
from collections.abc import Callable
from typing import Any, Protocol

from physioemo.acquisition.player.answers import Answers
from physioemo.acquisition.player.continuous import ContinuousRating
from physioemo.acquisition.player.item import Item
from physioemo.acquisition.player.sound import import_pygame
from physioemo.errors import StreamError

__all__ = ["Pointer", "make_pointer", "require_device"]

_REST = 0.05  # of a joystick's way from the middle to an end: springs do not return exactly
_ROUNDING_PIXELS = 2  # of a scaled window
_SCALE_SECONDS = 4.0  # for which an arrow key is held from one end to the other
_REACTION_SECONDS, _APPROACH_SECONDS = 0.6, 1.0

Places = tuple[float, ...]


class Pointer(Protocol):
    """What the participant moves."""

    name: str

    def begin(self, item: Item) -> None:
        """Make ready for a stimulus."""

    def start(self) -> None:
        """Forget what was before: the stimulus is on screen from now on."""

    def hear(self, event: Any) -> None:
        """Take a pygame event."""

    def read(self) -> Places | None:
        """Return the place on each dimension's axis, 0 to 1; None if nobody has moved it."""

    def uses(self, event: Any) -> bool:
        """Tell whether a pygame event means this and nothing else."""


class MousePointer:
    """The mouse; the window is the scale, from edge to edge."""

    def __init__(self, rating: ContinuousRating) -> None:
        self.name, self._rating, self._pygame = "mouse", rating, import_pygame()
        self._place: tuple[float, float] | None = None
        self._middle, self._last = (0, 0), (1, 1)

    def begin(self, item: Item) -> None:
        """Rate nothing yet."""
        self.start()

    def start(self) -> None:
        """Put it into the middle of the window."""
        width, height = self._pygame.display.get_surface().get_size()
        self._middle, self._last = (width // 2, height // 2), (width - 1, height - 1)
        self._place = None
        self._pygame.mouse.set_pos(self._middle)

    def hear(self, event: Any) -> None:
        """Take a motion; being put into the middle is none."""
        if event.type != self._pygame.MOUSEMOTION:
            return
        away = max(abs(p - m) for p, m in zip(event.pos, self._middle, strict=True))
        if self._place is not None or away > _ROUNDING_PIXELS:
            x, y = (_within(p / last) for p, last in zip(event.pos, self._last, strict=True))
            self._place = (x, 1 - y)

    def read(self) -> Places | None:
        """Return where it is."""
        return None if self._place is None else self._rating.pick(*self._place)

    def uses(self, event: Any) -> bool:
        """Tell that no key means it."""
        return False


class KeyboardPointer:
    """The arrow keys; held, one goes from end to end in four seconds, from the middle."""

    def __init__(self, rating: ContinuousRating) -> None:
        pygame = import_pygame()
        self.name, self._rating, self._pygame = "keyboard", rating, pygame
        self._ways = {
            pygame.K_LEFT: (-1, 0),
            pygame.K_RIGHT: (1, 0),
            pygame.K_DOWN: (0, -1),
            pygame.K_UP: (0, 1),
        }
        self._held: set[int] = set()
        self._place, self._is_moved, self._read = (0.5, 0.5), False, math.nan

    def begin(self, item: Item) -> None:
        """Rate nothing yet."""
        self.start()

    def start(self) -> None:
        """Begin in the middle, with no key held."""
        self._held.clear()
        self._place, self._is_moved, self._read = (0.5, 0.5), False, time.perf_counter()

    def hear(self, event: Any) -> None:
        """Take a key."""
        if event.type == self._pygame.KEYDOWN and event.key in self._ways:
            self._go()  # what is held from now on was not held before
            self._held.add(event.key)
            self._is_moved = True
        elif event.type == self._pygame.KEYUP:
            self._go()
            self._held.discard(event.key)

    def read(self) -> Places | None:
        """Return how far the keys have brought it."""
        self._go()
        return self._rating.pick(*self._place) if self._is_moved else None

    def uses(self, event: Any) -> bool:
        """Tell whether a key is an arrow."""
        return event.type == self._pygame.KEYDOWN and event.key in self._ways

    def _go(self) -> None:
        now = time.perf_counter()
        way = (now - self._read) / _SCALE_SECONDS
        right, up = (sum(self._ways[key][k] for key in self._held) for k in (0, 1))
        self._place = (_within(self._place[0] + way * right), _within(self._place[1] + way * up))
        self._read = now


class JoystickPointer:
    """The first two axes of a joystick; the first one that is connected, again after a loss.

    Parameters
    ----------
    rating : ContinuousRating
        What is rated.
    on_problem : callable
        Told when it is gone.

    Raises
    ------
    StreamError
        If there is none, or it has not two axes.
    """

    def __init__(self, rating: ContinuousRating, on_problem: Callable[[str], None]) -> None:
        self._rating, self._pygame = rating, import_pygame()
        self._on_problem = on_problem
        self._stick: Any = _open_joystick(rating)
        self.name = f"joystick ({self._stick.get_name()})"
        self._is_moved = False

    def begin(self, item: Item) -> None:
        """Rate nothing yet."""
        self.start()

    def start(self) -> None:
        """Wait for a motion: a stick that nobody has touched rates nothing."""
        self._is_moved = False

    def hear(self, event: Any) -> None:
        """Take a loss or a return."""
        pygame = self._pygame
        is_mine = self._stick is not None and (
            getattr(event, "instance_id", None) == self._stick.get_instance_id()
        )
        if event.type == pygame.JOYDEVICEREMOVED and is_mine:
            self._stick, self._is_moved = None, False
            self._on_problem(
                f"found that the {self.name} is gone, expected it to stay; its ratings are missing "
                "until one is connected again"
            )
        elif event.type == pygame.JOYDEVICEADDED and self._stick is None:
            try:
                self._stick = _open_joystick(self._rating)
            except StreamError as error:
                self._on_problem(str(error))

    def read(self) -> Places | None:
        """Return where it stands."""
        if self._stick is None:
            return None
        right, down = (float(self._stick.get_axis(k)) for k in (0, 1))
        own = self._rating.pick(right, down)
        self._is_moved = self._is_moved or max(map(abs, own)) > _REST
        place = (_within((1 + right) / 2), _within((1 - down) / 2))
        return self._rating.pick(*place) if self._is_moved else None

    def uses(self, event: Any) -> bool:
        """Tell that no key means it."""
        return False


class SimulatedPointer:
    """A program that moves from the middle to what it is told of a stimulus."""

    def __init__(self, rating: ContinuousRating, answers: Answers) -> None:
        self.name, self._rating, self._answers = "simulated", rating, answers
        self._began = math.inf
        self._aims: Places | None = None

    def begin(self, item: Item) -> None:
        """Ask what a stimulus evokes."""
        told = self._answers.pointing(item, self._rating)
        low, span = self._rating.minimum, self._rating.maximum - self._rating.minimum
        aims = [(told[d] - low) / span for d in self._rating.dimensions if d in told]
        self._aims = tuple(aims) if len(aims) == len(self._rating.dimensions) else None
        self._began = math.inf

    def start(self) -> None:
        """React from now on."""
        self._began = time.perf_counter()

    def hear(self, event: Any) -> None:
        """Take no notice."""

    def read(self) -> Places | None:
        """Return how far it has come, exponentially after a reaction time."""
        passed = time.perf_counter() - self._began - _REACTION_SECONDS
        if self._aims is None or passed < 0:
            return None
        share = 1 - math.exp(-passed / _APPROACH_SECONDS)
        return tuple(0.5 + (aim - 0.5) * share for aim in self._aims)

    def uses(self, event: Any) -> bool:
        """Tell that no key means it."""
        return False


def make_pointer(
    rating: ContinuousRating,
    answers: Answers | None,
    on_problem: Callable[[str], None] = lambda text: None,
) -> Pointer:
    """Return what is moved: the device, or a program where one answers.

    Raises
    ------
    StreamError
        If the device is not there.
    """
    if answers is not None:
        return SimulatedPointer(rating, answers)
    if rating.device == "joystick":
        return JoystickPointer(rating, on_problem)
    return MousePointer(rating) if rating.device == "mouse" else KeyboardPointer(rating)


def require_device(rating: ContinuousRating) -> None:
    """Refuse to begin without the device; mouse and keyboard are taken to be there.

    Raises
    ------
    StreamError
        If there is no joystick, or it has not two axes.
    """
    if rating.device == "joystick":
        _open_joystick(rating).quit()
        import_pygame().joystick.quit()


def _open_joystick(rating: ContinuousRating) -> Any:
    pygame = import_pygame()
    pygame.joystick.init()
    what = " and ".join(rating.dimensions)
    if not pygame.joystick.get_count():
        raise StreamError(
            f"found no joystick, expected one for the continuous rating of {what}; connect it, or "
            'rate with the "mouse"'
        )
    stick = pygame.joystick.Joystick(0)
    if stick.get_numaxes() < 2:
        raise StreamError(
            f"found the joystick {stick.get_name()!r} with {stick.get_numaxes()} axis, expected "
            f"two for the continuous rating of {what}; connect another one"
        )
    return stick


def _within(place: float) -> float:
    return min(max(place, 0.0), 1.0)
