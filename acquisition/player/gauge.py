"""Where a continuous rating stands, drawn small at the edge of the picture."""

from dataclasses import dataclass
from typing import Any

from physioemo.acquisition.player.continuous import ContinuousRating
from physioemo.acquisition.player.drawing import contrast_colour
from physioemo.acquisition.player.sound import import_pygame

__all__ = ["Gauge", "draw_gauge"]

_SIZE, _MARGIN, _DOT = 0.22, 0.02, 0.011  # of the window's height
_LOWER_EDGE = 0.04  # left for the barcode
_ACCENT = (86, 180, 233)


@dataclass(frozen=True)
class Gauge:
    """What is drawn.

    Parameters
    ----------
    axes : tuple of str
        Of each dimension, see :class:`~physioemo.acquisition.player.continuous.ContinuousRating`.
    places : tuple of float or None
        0 to 1 on each axis; None before anybody has moved.
    """

    axes: tuple[str, ...]
    places: tuple[float, ...] | None = None

    @classmethod
    def of(cls, rating: ContinuousRating, places: tuple[float, ...] | None) -> "Gauge | None":
        """Return the gauge of a rating; None if the participant sees none."""
        return cls(rating.axes, places) if rating.gauge else None


def draw_gauge(surface: Any, gauge: Gauge, background: Any) -> None:
    """Draw an axis or a plane with a dot: left in the middle, a horizontal axis at the bottom."""
    pygame = import_pygame()
    height = surface.get_height()
    size, dot = round(height * _SIZE), max(4, round(height * _DOT))
    area = _area(surface, gauge.axes, size, 2 * dot)
    surface.fill(background, area.inflate(4 * dot, 4 * dot))  # over what the picture leaves there
    ink = _mixed(contrast_colour(background), background)
    thick = max(1, round(height * 0.003))
    x, y, end_x, end_y = area.left, area.top, area.right - 1, area.bottom - 1
    if len(gauge.axes) == 2:
        pygame.draw.rect(surface, ink, area, thick)
    if "horizontal" in gauge.axes:
        pygame.draw.line(surface, ink, (x, area.centery), (end_x, area.centery), thick)
    if "vertical" in gauge.axes:
        pygame.draw.line(surface, ink, (area.centerx, y), (area.centerx, end_y), thick)
    stands = dict(zip(gauge.axes, gauge.places or (), strict=False))
    at = (
        round(x + stands.get("horizontal", 0.5) * (end_x - x)),
        round(end_y - stands.get("vertical", 0.5) * (end_y - y)),
    )
    if gauge.places is None:
        pygame.draw.circle(surface, ink, at, dot, max(1, thick))
    else:
        pygame.draw.circle(surface, _ACCENT, at, dot)


def _area(surface: Any, axes: tuple[str, ...], size: int, thin: int) -> Any:
    pygame = import_pygame()
    width, height = surface.get_size()
    margin = max(2, round(height * _MARGIN)) + thin
    if axes == ("horizontal",):
        bottom = round(height * (1 - _LOWER_EDGE)) - margin
        return pygame.Rect((width - size) // 2, bottom - thin, size, thin)
    if axes == ("vertical",):
        return pygame.Rect(margin, (height - size) // 2, thin, size)
    return pygame.Rect(margin, (height - size) // 2, size, size)


def _mixed(ink: Any, background: Any) -> tuple[int, int, int]:
    """Return a colour half way: the gauge must not draw the eye."""
    red, green, blue = (round((a + b) / 2) for a, b in zip(ink, tuple(background)[:3], strict=True))
    return red, green, blue
