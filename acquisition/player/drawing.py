"""What the player draws itself: text, the fixation cross, panels; everything smooth-edged."""

from functools import lru_cache
from typing import Any

from physioemo.acquisition.player.sound import import_pygame

__all__ = [
    "contrast_colour",
    "draw_feedback",
    "draw_fixation",
    "draw_paragraph",
    "draw_text",
    "font_of",
]

# The first that the computer has; pygame's own otherwise.
_FONTS = "inter,segoeui,helveticaneue,dejavusans,notosans,liberationsans,arial"
_LINE_SPACING = 1.45
_CROSS_HEIGHT = 0.06
_BAR_WIDTH, _BAR_HEIGHT, _BAR_MARGIN = 0.025, 0.6, 0.02
_BAR_EMPTY, _BAR_FULL = (70, 76, 84), (86, 180, 233)


@lru_cache(maxsize=64)
def font_of(height: int, *, bold: bool = False) -> Any:
    """Return a font whose lines are about `height` pixels high."""
    pygame = import_pygame()
    path = pygame.font.match_font(_FONTS, bold=bold) or pygame.font.match_font(_FONTS)
    return pygame.font.Font(path, max(8, height))


def contrast_colour(background: Any) -> tuple[int, int, int]:
    """Return near-white or near-black, whichever is read better on a colour."""
    luminance = 0.299 * background[0] + 0.587 * background[1] + 0.114 * background[2]
    return (32, 36, 42) if luminance > 140 else (240, 242, 245)


def draw_text(
    surface: Any,
    text: str,
    centre: tuple[float, float],
    height: int,
    colour: tuple[int, int, int],
    *,
    bold: bool = False,
    align: str = "centre",
) -> Any:
    """Draw one line; `centre` is its middle, or its left or right end by `align`.

    Returns
    -------
    pygame.Rect
        Where it is.
    """
    picture = font_of(height, bold=bold).render(text, True, colour)
    rect = picture.get_rect()
    name = {"centre": "center", "left": "midleft", "right": "midright"}[align]
    setattr(rect, name, (round(centre[0]), round(centre[1])))
    surface.blit(picture, rect)
    return rect


def draw_paragraph(surface: Any, text: str, height: int, colour: tuple[int, int, int]) -> None:
    """Draw a text in the middle of a surface, with line breaks where it would be too wide."""
    width, full = surface.get_size()
    lines = wrap_text(text, font_of(height), round(width * 0.8))
    step = height * _LINE_SPACING
    y = full / 2 - step * (len(lines) - 1) / 2
    for line in lines:
        if line:
            draw_text(surface, line, (width / 2, y), height, colour)
        y += step


def wrap_text(text: str, font: Any, width: int) -> list[str]:
    """Break a text into lines that are at most `width` pixels wide where words allow it."""
    lines = []
    for paragraph in text.strip().split("\n"):
        line = ""
        for word in paragraph.split():
            longer = f"{line} {word}".strip()
            if line and font.size(longer)[0] > width:
                lines.append(line)
                line = word
            else:
                line = longer
        lines.append(line)
    return lines


def draw_fixation(surface: Any, colour: tuple[int, int, int]) -> None:
    """Draw a cross in the middle of a surface."""
    width, height = surface.get_size()
    arm = max(6, round(height * _CROSS_HEIGHT / 2))
    thick = max(2, round(height * 0.005)) | 1
    x, y = width // 2, height // 2
    surface.fill(colour, (x - arm, y - thick // 2, 2 * arm + 1, thick))
    surface.fill(colour, (x - thick // 2, y - arm, thick, 2 * arm + 1))


def draw_feedback(surface: Any, value: float, background: Any) -> None:
    """Draw a bar at the right edge of a surface, empty at 0 and full at 1."""
    width, height = surface.get_size()
    wide, tall, margin = (
        max(8, round(width * _BAR_WIDTH)),
        round(height * _BAR_HEIGHT),
        max(2, round(height * _BAR_MARGIN)),
    )
    left, top = width - wide - 2 * margin, (height - tall) // 2
    surface.fill(background, (left - margin, top - margin, wide + 2 * margin, tall + 2 * margin))
    surface.fill(_BAR_EMPTY, (left, top, wide, tall))
    filled = round(tall * min(max(value, 0.0), 1.0))
    surface.fill(_BAR_FULL, (left, top + tall - filled, wide, filled))
