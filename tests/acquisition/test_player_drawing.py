"""What the player draws: marks that are read back, whole pictures, pages that are answered."""

import numpy as np
import pygame
import pytest
from hypothesis import given
from hypothesis import strategies as st

from physioemo.acquisition.player.item import make_item
from physioemo.acquisition.player.marks import (
    FrameMark,
    barcode_cells,
    draw_barcode,
    draw_patch,
    read_barcode,
)
from physioemo.acquisition.player.rating_page import make_page
from physioemo.acquisition.player.screen import fit_picture


@pytest.fixture
def surface(monkeypatch):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    pygame.display.init()
    pygame.font.init()
    yield pygame.Surface((1280, 720))
    pygame.display.quit()


def key(code):
    return pygame.event.Event(pygame.KEYDOWN, key=code, unicode="")


def click(position):
    return pygame.event.Event(pygame.MOUSEBUTTONDOWN, pos=position, button=1)


def test_a_person_answers_by_mouse(surface):
    page = make_page(make_item({"kind": "sam", "trial": 1, "dimensions": ["valence"]}))
    page.draw(surface)
    button = page._button.center
    page.handle(click(button))
    assert not page.done
    for rect, name, value in page._points:
        page.handle(click(rect.center))
        assert page.values == {name: value}
    page.handle(click(button))
    assert page.done and page.values == {"valence": 9.0}


def test_a_slider_is_dragged_in_its_steps(surface):
    fields = {"kind": "slider", "trial": 1, "dimension": "d", "label": "?", "minimum": 0}
    page = make_page(make_item({**fields, "maximum": 10, "step": 2}))
    page.draw(surface)
    left, right, y = page._line
    page.handle(click((left + 0.52 * (right - left), y)))
    assert page.values == {"d": 6.0}
    page.handle(pygame.event.Event(pygame.MOUSEMOTION, pos=(right + 300, y)))
    assert page.values == {"d": 10.0}
    page.handle(pygame.event.Event(pygame.MOUSEBUTTONUP, pos=(right, y), button=1))
    assert not page.handle(pygame.event.Event(pygame.MOUSEMOTION, pos=(left, y)))
    page.handle(key(pygame.K_LEFT))
    page.handle(key(pygame.K_RETURN))
    assert page.done and page.values == {"d": 8.0}


@given(
    st.integers(0, 2**24 - 1),
    st.integers(0, 2**12 - 1),
    st.tuples(st.integers(192, 1999), st.integers(20, 400)),
)
def test_a_barcode_reads_back(frame, item, size):
    canvas = pygame.Surface(size)
    canvas.fill((90, 120, 200))
    draw_barcode(canvas, frame, item)
    picture = pygame.surfarray.array3d(canvas).transpose(1, 0, 2)
    assert read_barcode(picture) == FrameMark(frame, item)


def test_a_damaged_barcode_is_none(rng):
    canvas = pygame.Surface((960, 540))
    draw_barcode(canvas, 1234, 7)
    picture = pygame.surfarray.array3d(canvas).transpose(1, 0, 2).copy()
    for cell in range(48):
        wrong = picture.copy()
        columns = slice(240 + 10 * cell, 250 + 10 * cell)
        wrong[530:, columns] = 255 - wrong[530:, columns]
        assert read_barcode(wrong) is None
    assert read_barcode(np.zeros((540, 960, 3), np.uint8)) is None
    noise = rng.integers(0, 256, (200, 60, 240, 3), np.uint8)
    assert all(read_barcode(picture) is None for picture in noise)
    assert barcode_cells(2**24 + 5, 2**12 + 3).tolist() == barcode_cells(5, 3).tolist()


@pytest.mark.parametrize("corner", ["top-left", "top-right", "bottom-left", "bottom-right"])
def test_the_patch_fills_its_corner_only(corner):
    canvas = pygame.Surface((800, 600))
    draw_patch(canvas, corner, True)
    picture = pygame.surfarray.array3d(canvas).transpose(1, 0, 2).mean(axis=2)
    y, x = (0 if "top" in corner else 599), (0 if "left" in corner else 799)
    assert picture[y, x] == 255 and (picture > 0).sum() == 48**2


def test_pictures_keep_their_proportions():
    assert fit_picture((1280, 720), (640, 480)) == (0, 60, 640, 360)
    assert fit_picture((100, 200), (800, 600)) == (250, 0, 300, 600)
