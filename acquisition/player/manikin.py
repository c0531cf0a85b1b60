"""Figures of a self-assessment manikin, drawn anew.

As in Bradley & Lang (Journal of Behavior Therapy and Experimental Psychiatry 25, 1994) valence is
in the face, arousal in the body, dominance in the size.
"""

import math
from itertools import pairwise
from typing import Any

from physioemo.acquisition.player.sound import import_pygame

__all__ = ["draw_manikin"]

_SMOOTH = 4  # drawn this many times larger, then scaled down
_INK = (44, 51, 62)
_SKIN = (255, 255, 255)
_BODY = (222, 229, 238)
_BURST = (232, 119, 86)


def draw_manikin(dimension: str, level: float, size: int) -> Any:
    """Return a square pygame surface with one figure on a transparent ground.

    Parameters
    ----------
    dimension : {"valence", "arousal", "dominance"}
        What the figure shows.
    level : float
        From 0 (unhappy, calm, small) to 1 (happy, excited, large).
    size : int
        Side of the surface in pixels.
    """
    pygame = import_pygame()
    side = size * _SMOOTH
    canvas = pygame.Surface((side, side), pygame.SRCALPHA)
    canvas.fill((*_INK, 0))  # what is scaled down at an edge mixes with ink, not with black
    scale = 0.4 + 0.55 * level if dimension == "dominance" else 0.92
    figure = _Figure(pygame, canvas, side, scale)
    figure.body()
    if dimension == "arousal":
        figure.burst(level)
    figure.head()
    figure.eyes(0.35 + 0.65 * level if dimension == "arousal" else 0.7)
    figure.mouth(2 * level - 1 if dimension == "valence" else 0.0)
    if dimension == "valence":
        figure.brows(2 * level - 1)
    return pygame.transform.smoothscale(canvas, (size, size))


class _Figure:
    """Lines of one figure; lengths are fractions of the figure's height."""

    def __init__(self, pygame: Any, canvas: Any, side: int, scale: float) -> None:
        self.pygame, self.canvas = pygame, canvas
        self.unit = side * scale
        self.left, self.top = (side - self.unit) / 2, (side - self.unit) / 2
        self.line = max(3, round(side * 0.017))

    def at(self, x: float, y: float) -> tuple[float, float]:
        return self.left + x * self.unit, self.top + y * self.unit

    def outlined(self, points: list[tuple[float, float]], fill: Any, ink: Any = _INK) -> None:
        self.pygame.draw.polygon(self.canvas, fill, points)
        self.stroke([*points, points[0]], ink)

    def stroke(self, points: list[tuple[float, float]], ink: Any = _INK) -> None:
        """Draw a line with round ends and joints."""
        radius = self.line / 2
        for a, b in pairwise(points):
            steps = max(1, int(math.dist(a, b) / max(1.0, radius / 3)))
            for i in range(steps + 1):
                t = i / steps
                x, y = a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t
                self.pygame.draw.circle(self.canvas, ink, (x, y), radius)

    def body(self) -> None:
        """Draw shoulders and trunk with round corners."""
        corners = [(0.10, 0.995), (0.10, 0.72), (0.27, 0.575), (0.73, 0.575), (0.90, 0.72)]
        corners.append((0.90, 0.995))
        points = _rounded(corners, 0.11)
        self.outlined([self.at(x, y) for x, y in points], _BODY)

    def head(self) -> None:
        centre, radius = self.at(0.5, 0.31), 0.275 * self.unit
        self.pygame.draw.circle(self.canvas, _INK, centre, radius + self.line / 2)
        self.pygame.draw.circle(self.canvas, _SKIN, centre, radius - self.line / 2)

    def eyes(self, openness: float) -> None:
        """Draw the eyes; closed ones are lines."""
        for x in (0.405, 0.595):
            cx, cy = self.at(x, 0.275)
            radius = 0.036 * self.unit
            if openness < 0.5:
                arc = [(cx + radius * 1.5 * t, cy + radius * 0.8 * (1 - t * t)) for t in _span(9)]
                self.stroke(arc)
            else:
                height = radius * (0.6 + 0.9 * openness)
                rect = (cx - radius, cy - height, 2 * radius, 2 * height)
                self.pygame.draw.ellipse(self.canvas, _INK, rect)

    def mouth(self, smile: float) -> None:
        """Draw the mouth, from -1 (down) to 1 (up)."""
        width, depth = 0.125, 0.085 * smile
        middle = 0.425 - depth * 0.35
        arc = [(0.5 + width * t, middle + depth * (1 - t * t)) for t in _span(25)]
        self.stroke([self.at(x, y) for x, y in arc])

    def brows(self, smile: float) -> None:
        """Draw the eyebrows; sad ones rise towards the middle."""
        for sign in (-1, 1):
            centre, rise = 0.5 + sign * 0.1, 0.028 * max(0.0, smile)
            tilt = sign * 0.026 * max(0.0, -smile)  # down at the outer end
            arc = [(centre + 0.045 * t, 0.195 - rise * (1.4 - t * t) + tilt * t) for t in _span(9)]
            self.stroke([self.at(x, y) for x, y in arc])

    def burst(self, level: float) -> None:
        """Draw what stirs in the chest: a point when calm, an explosion when excited."""
        centre = self.at(0.5, 0.805)
        outer, n = (0.022 + 0.165 * level) * self.unit, 11
        if level < 0.15:
            self.pygame.draw.circle(self.canvas, _INK, centre, outer)
            return
        points = []
        for i in range(2 * n):
            radius = outer * (1 if i % 2 == 0 else 0.52)
            angle = math.pi * i / n - math.pi / 2
            points.append(
                (centre[0] + radius * math.cos(angle), centre[1] + radius * math.sin(angle))
            )
        self.outlined(points, _BURST)


def _span(n: int) -> list[float]:
    return [2 * i / (n - 1) - 1 for i in range(n)]


def _rounded(corners: list[tuple[float, float]], radius: float) -> list[tuple[float, float]]:
    """Replace each corner of a polygon by a curve."""
    points = []
    for i, (x, y) in enumerate(corners):
        ends = []
        for px, py in (corners[i - 1], corners[(i + 1) % len(corners)]):
            length = math.dist((x, y), (px, py))
            reach = min(radius, length / 2) / length
            ends.append((x + (px - x) * reach, y + (py - y) * reach))
        (ax, ay), (bx, by) = ends
        for step in range(9):
            t = step / 8
            points.append(
                (
                    (1 - t) ** 2 * ax + 2 * t * (1 - t) * x + t * t * bx,
                    (1 - t) ** 2 * ay + 2 * t * (1 - t) * y + t * t * by,
                )
            )
    return points
