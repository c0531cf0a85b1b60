"""Pages that ask the participant: the self-assessment manikin and sliders.

A page knows what is answered, takes pygame's events, and draws itself; time and streams are not
its business. Numbers, arrows and Enter do what the mouse does.
"""

from typing import Any

from physioemo.acquisition.player.drawing import draw_text
from physioemo.acquisition.player.item import SAM_SCALE, Item
from physioemo.acquisition.player.manikin import draw_manikin
from physioemo.acquisition.player.sound import import_pygame

__all__ = ["ManikinPage", "SliderPage", "make_page"]

INK = (32, 36, 42)
MUTED = (108, 117, 130)
PANEL = (246, 248, 250)
CARD = (255, 255, 255)
EDGE = (205, 212, 221)
ACCENT = (35, 104, 178)
_SMOOTH = 4

_WORDS = {
    "valence": ("How unhappy or happy did you feel?", "unhappy", "happy"),
    "arousal": ("How calm or excited did you feel?", "calm", "excited"),
    "dominance": ("How controlled or in control did you feel?", "controlled", "in control"),
}


def make_page(item: Item) -> "ManikinPage | SliderPage":
    """Return the page of a rating item."""
    return ManikinPage(item) if item.kind == "sam" else SliderPage(item)


class ManikinPage:
    """Rows of nine points under five figures, one row per dimension.

    Parameters
    ----------
    item : Item
        Of the kind ``sam``.
    """

    def __init__(self, item: Item) -> None:
        self.dimensions = item.dimensions
        self.values: dict[str, float] = {}
        self.done = False
        self._row = 0
        self._points: list[tuple[Any, str, float]] = []
        self._button: Any = None
        self._figures: dict[tuple[str, int, int], Any] = {}

    @property
    def is_complete(self) -> bool:
        """Whether every row is answered."""
        return len(self.values) == len(self.dimensions)

    def handle(self, event: Any) -> bool:
        """Take a pygame event; tell whether the page looks different now."""
        pygame = import_pygame()
        if event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            return self._click(event.pos)
        if event.type != pygame.KEYDOWN:
            return False
        number = _digit(event)
        name = self.dimensions[self._row]
        if number is not None and SAM_SCALE[0] <= number <= SAM_SCALE[1]:
            self.values[name] = float(number)
            self._row = min(self._row + 1, len(self.dimensions) - 1)
        elif event.key in (pygame.K_LEFT, pygame.K_RIGHT):
            step = 1 if event.key == pygame.K_RIGHT else -1
            middle = sum(SAM_SCALE) / 2
            value = self.values[name] + step if name in self.values else middle
            self.values[name] = min(max(value, SAM_SCALE[0]), SAM_SCALE[1])
        elif event.key in (pygame.K_UP, pygame.K_DOWN, pygame.K_TAB):
            step = -1 if event.key == pygame.K_UP else 1
            self._row = (self._row + step) % len(self.dimensions)
        elif event.key in (pygame.K_RETURN, pygame.K_KP_ENTER, pygame.K_SPACE):
            self.done = self.is_complete
        else:
            return False
        return True

    def _click(self, position: tuple[int, int]) -> bool:
        if self._button is not None and self._button.collidepoint(position):
            self.done = self.is_complete
            return True
        for rect, name, value in self._points:
            if rect.collidepoint(position):
                self.values[name] = value
                self._row = self.dimensions.index(name)
                return True
        return False

    def draw(self, surface: Any) -> None:
        """Draw the rows and the button."""
        width, height = surface.get_size()
        surface.fill(PANEL)
        self._points = []
        margin = round(height * 0.035)
        button_height = round(height * 0.1)
        row_height = (height - 2 * margin - button_height) / max(2, len(self.dimensions))
        top = margin + (height - 2 * margin - button_height - row_height * len(self.dimensions)) / 2
        for i, name in enumerate(self.dimensions):
            self._draw_row(surface, name, top + i * row_height, row_height, i == self._row)
        y = height - margin - button_height * 0.42
        self._button = _button(surface, (width / 2, y), self.is_complete)

    def _draw_row(
        self, surface: Any, name: str, top: float, row_height: float, active: bool
    ) -> None:
        width, height = surface.get_size()
        card_width = min(width * 0.94, row_height * 4.6)
        left, gap = (width - card_width) / 2, row_height * 0.05
        card = (left, top + gap / 2, card_width, row_height - gap)
        _panel(surface, card, CARD, ACCENT if active else EDGE, height, 2 if active else 1)
        question = _WORDS[name][0]
        text_height = max(11, round(row_height * 0.095))
        draw_text(
            surface, question, (width / 2, top + row_height * 0.12), text_height, INK, bold=True
        )
        self._draw_points(surface, name, card_width * 0.78 / 9, top, row_height)

    def _draw_points(
        self, surface: Any, name: str, pitch: float, top: float, row_height: float
    ) -> None:
        """Draw nine points `pitch` apart, every second one under its figure."""
        pygame = import_pygame()
        first = surface.get_width() / 2 - 4 * pitch
        size = round(min(pitch * 1.7, row_height * 0.5))
        radius = max(5, round(min(pitch * 0.3, row_height * 0.09)))
        y, y_figure = top + row_height * 0.83, round(top + row_height * 0.215)
        for step in range(9):
            x, value = first + step * pitch, step + 1.0
            if step % 2 == 0:
                surface.blit(self._figure(name, step, size), (round(x - size / 2), y_figure))
            chosen = self.values.get(name) == value
            _dot(surface, (x, y), radius, chosen)
            ink = CARD if chosen else MUTED
            draw_text(surface, f"{step + 1}", (x, y), max(9, round(radius * 1.05)), ink)
            area = (x - pitch / 2, top + row_height * 0.2, pitch, row_height * 0.75)
            self._points.append((pygame.Rect(*map(round, area)), name, value))
        _, low, high = _WORDS[name]
        small, end = max(10, round(row_height * 0.075)), pitch * 0.62
        draw_text(surface, low, (first - end, y), small, MUTED, align="right")
        draw_text(surface, high, (first + 8 * pitch + end, y), small, MUTED, align="left")

    def _figure(self, name: str, step: int, size: int) -> Any:
        key = (name, step, size)
        if key not in self._figures:
            self._figures[key] = draw_manikin(name, step / 8, size)
        return self._figures[key]


class SliderPage:
    """One question with a line to set a value on.

    Parameters
    ----------
    item : Item
        Of the kind ``slider``.
    """

    def __init__(self, item: Item) -> None:
        self.item = item
        self.values: dict[str, float] = {}
        self.done = False
        self._line: tuple[float, float, float] = (0.0, 1.0, 0.0)
        self._button: Any = None
        self._dragging = False

    def handle(self, event: Any) -> bool:
        """Take a pygame event; tell whether the page looks different now."""
        pygame = import_pygame()
        if event.type == pygame.MOUSEBUTTONDOWN and event.button == 1:
            return self._press(event.pos)
        if event.type == pygame.MOUSEBUTTONUP:
            self._dragging = False
        elif event.type == pygame.MOUSEMOTION and self._dragging:
            self._set_at(event.pos[0])
            return True
        elif event.type == pygame.KEYDOWN:
            return self._key(event)
        return False

    def _press(self, position: tuple[int, int]) -> bool:
        if self._button is not None and self._button.collidepoint(position):
            self.done = bool(self.values)
            return True
        left, right, y = self._line
        reach = (right - left) * 0.06
        if abs(position[1] - y) <= reach and left - reach <= position[0] <= right + reach:
            self._dragging = True
            self._set_at(position[0])
            return True
        return False

    def _key(self, event: Any) -> bool:
        pygame = import_pygame()
        low, high = self.item.minimum, self.item.maximum
        number = _digit(event)
        if event.key in (pygame.K_LEFT, pygame.K_RIGHT):
            step = self.item.step or (high - low) / 100
            step = step if event.key == pygame.K_RIGHT else -step
            self._set(self._value((low + high) / 2) + (step if self.values else 0))
        elif event.key in (pygame.K_HOME, pygame.K_END):
            self._set(low if event.key == pygame.K_HOME else high)
        elif number is not None and low <= number <= high and high - low <= 9:
            self._set(float(number))
        elif event.key in (pygame.K_RETURN, pygame.K_KP_ENTER, pygame.K_SPACE):
            self.done = bool(self.values)
        else:
            return False
        return True

    def _value(self, otherwise: float) -> float:
        return self.values.get(self.item.dimension, otherwise)

    def _set_at(self, x: float) -> None:
        left, right, _ = self._line
        part = (x - left) / (right - left)
        self._set(self.item.minimum + part * (self.item.maximum - self.item.minimum))

    def _set(self, value: float) -> None:
        item = self.item
        value = min(max(value, item.minimum), item.maximum)
        if item.step:
            value = item.minimum + round((value - item.minimum) / item.step) * item.step
        self.values[item.dimension] = float(value)

    def draw(self, surface: Any) -> None:
        """Draw question, line, anchors, handle and button."""
        width, height = surface.get_size()
        surface.fill(PANEL)
        card_width, card_height = min(width * 0.88, height * 1.5), height * 0.46
        left, top = (width - card_width) / 2, height * 0.2
        _panel(surface, (left, top, card_width, card_height), CARD, EDGE, height, 1)
        draw_text(
            surface,
            self.item.label,
            (width / 2, top + card_height * 0.24),
            max(12, round(height * 0.042)),
            INK,
            bold=True,
        )
        self._line = (left + card_width * 0.12, left + card_width * 0.88, top + card_height * 0.58)
        self._draw_line(surface, height)
        self._draw_anchors(surface, height, top + card_height * 0.78)
        self._button = _button(surface, (width / 2, height * 0.8), bool(self.values))

    def _draw_line(self, surface: Any, height: int) -> None:
        first, last, y = self._line
        thick = max(4, round(height * 0.011))
        _bar(surface, first, last, y, thick, EDGE)
        item = self.item
        steps = round((item.maximum - item.minimum) / item.step) if item.step else 0
        part = (self._value(item.minimum) - item.minimum) / (item.maximum - item.minimum)
        x = first + part * (last - first)
        if self.values:
            _bar(surface, first, x, y, thick, ACCENT)
        if 0 < steps <= 20:
            for i in range(steps + 1):
                _dot(surface, (first + (last - first) * i / steps, y), thick * 0.95, False)
        if self.values:
            _dot(surface, (x, y), max(9, height * 0.024), True)
            shown = f"{self._value(0):.3g}"
            draw_text(surface, shown, (x, y - height * 0.055), round(height * 0.03), ACCENT)

    def _draw_anchors(self, surface: Any, height: int, y: float) -> None:
        first, last, _ = self._line
        anchors = self.item.anchors or (f"{self.item.minimum:g}", f"{self.item.maximum:g}")
        for i, text in enumerate(anchors):
            x = first + (last - first) * i / (len(anchors) - 1)
            draw_text(surface, text, (x, y), max(11, round(height * 0.028)), MUTED)


def _digit(event: Any) -> int | None:
    text = getattr(event, "unicode", "")
    return int(text) if len(text) == 1 and text in "0123456789" else None


def _smooth(
    surface: Any, rect: tuple[float, float, float, float], draw: Any, edge: Any = EDGE
) -> None:
    """Draw with smooth edges: larger than it is, then scaled down."""
    pygame = import_pygame()
    x, y = round(rect[0]), round(rect[1])
    width, height = max(1, round(rect[2])), max(1, round(rect[3]))
    canvas = pygame.Surface((width * _SMOOTH, height * _SMOOTH), pygame.SRCALPHA)
    canvas.fill((*edge, 0))  # what is scaled down at an edge mixes with its colour, not with black
    draw(canvas, canvas.get_rect())
    surface.blit(pygame.transform.smoothscale(canvas, (width, height)), (x, y))


def _panel(
    surface: Any,
    rect: tuple[float, float, float, float],
    fill: Any,
    edge: Any,
    height: int,
    line: int,
) -> None:
    pygame = import_pygame()
    radius = round(height * 0.015) * _SMOOTH
    width = max(1, round(line * height / 720)) * _SMOOTH

    def draw(canvas: Any, whole: Any) -> None:
        pygame.draw.rect(canvas, edge, whole, border_radius=radius)
        inner = whole.inflate(-2 * width, -2 * width)
        pygame.draw.rect(canvas, fill, inner, border_radius=max(0, radius - width))

    _smooth(surface, rect, draw, edge)


def _bar(surface: Any, first: float, last: float, y: float, thick: int, colour: Any) -> None:
    pygame = import_pygame()
    rect = (first - thick / 2, y - thick / 2, max(thick, last - first + thick), thick)
    _smooth(
        surface,
        rect,
        lambda c, r: pygame.draw.rect(c, colour, r, border_radius=r.height // 2),
        colour,
    )


def _dot(surface: Any, centre: tuple[float, float], radius: float, chosen: bool) -> None:
    pygame = import_pygame()
    side = 2 * round(radius) + 2

    def draw(canvas: Any, whole: Any) -> None:
        outer = whole.width / 2 - _SMOOTH
        pygame.draw.circle(canvas, ACCENT if chosen else EDGE, whole.center, outer)
        fill = ACCENT if chosen else CARD
        pygame.draw.circle(canvas, fill, whole.center, outer - 1.4 * _SMOOTH)

    rect = (centre[0] - side / 2, centre[1] - side / 2, side, side)
    _smooth(surface, rect, draw, ACCENT if chosen else EDGE)


def _button(surface: Any, centre: tuple[float, float], enabled: bool) -> Any:
    pygame = import_pygame()
    height = surface.get_height()
    rect = pygame.Rect(0, 0, round(height * 0.26), round(height * 0.07))
    rect.center = (round(centre[0]), round(centre[1]))
    fill, ink = (ACCENT, CARD) if enabled else (EDGE, MUTED)
    _panel(surface, tuple(rect), fill, fill, height, 1)
    draw_text(surface, "Continue", rect.center, max(11, round(height * 0.03)), ink, bold=True)
    return rect
