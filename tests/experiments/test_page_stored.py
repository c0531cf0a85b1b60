"""A stored recording in the operator's page, pixel by pixel, in a real browser."""

import numpy as np
import pytest

from physioemo.experiments.page.columns import decode_blocks
from physioemo.experiments.page.stored_page import StoredPage
from tests.experiments import served_pages
from tests.experiments.served_pages import seek, serving, settle, until

# Fixtures of the tests here.
browser = served_pages.browser
sine_recording = served_pages.sine_recording
tab = served_pages.tab

pytestmark = pytest.mark.lsl


def column_means(tab, row, n_rows):
    """Return for each column of the EEG canvas the mean height of what is lit in a row's band."""
    return np.array(
        tab.evaluate(
            """([row, n]) => {
              const canvas = document.getElementById('eeg'), h = canvas.height / n;
              const top = Math.floor(row * h), tall = Math.floor(h);
              const data = canvas.getContext('2d').getImageData(0, top, canvas.width, tall).data;
              const means = [];
              for (let x = 0; x < canvas.width; x++) {
                let sum = 0, count = 0;
                for (let y = 0; y < tall; y++) {
                  const at = 4 * (y * canvas.width + x);
                  if (data[at] > 120) { sum += y + 0.5; count++; }
                }
                means.push(count ? sum / count : NaN);
              }
              return means;
            }""",
            [row, n_rows],
        ),
        float,
    )


def test_a_known_sine_gives_the_expected_pixels(tab, sine_recording):
    with serving(StoredPage(sine_recording, "sine")) as url:
        tab.goto(url)
        until(tab, "page.position !== null && page.frames > 0")
        seek(tab, 29.99)
        # Row 3 of 4 is the sine of 4 Hz, drawn at 100 uV per row.
        height, width = tab.evaluate("[eeg.height / 4, eeg.width]")
        found = column_means(tab, 2, 4)
        shown = np.isfinite(found)
        assert shown.mean() > 0.95
        seconds = 20 + (np.arange(width) + 0.5) / width * 10
        # The display filter of 0.5 Hz is one pole: gain and phase are known.
        response = 1 / (1 - 0.5j / 4.0)
        value = 40 * np.imag(response * np.exp(2j * np.pi * 4 * seconds))
        expected = height / 2 - value / 100 * height
        error = found[shown] - expected[shown]
        assert np.abs(error).mean() < 3.0  # pixels; the sine spans 0.8 of the row
        assert np.corrcoef(found[shown], expected[shown])[0, 1] > 0.99
        tab.keyboard.press("-")  # 150 uV per row
        settle(tab)
        smaller = column_means(tab, 2, 4)
        ratio = np.nanstd(smaller) / np.nanstd(found)
        assert ratio == pytest.approx(100 / 150, rel=0.08)
        assert tab.errors == []


def test_a_stored_recording_is_played_and_scrolled(tab, sine_recording):
    with serving(StoredPage(sine_recording, "sine")) as url:
        tab.goto(url)
        until(tab, "page.position !== null")
        seek(tab, 15.0)
        until(tab, "document.getElementById('phase').textContent === 'TRIAL 1'")
        assert "lake" in tab.text_content("#what")
        seek(tab, 25.0)
        until(tab, "document.getElementById('phase').textContent === 'TRIAL 2'")
        assert tab.locator("#log li").count() == 3
        tab.keyboard.press("Space")
        until(tab, "page.position.seconds > 26.5 && page.position.playing")
        tab.keyboard.press("Space")
        until(tab, "!page.position.playing")
        tab.keyboard.press("ArrowLeft")
        until(tab, "page.position.seconds < 20")
        at_slider = "Number(document.getElementById('slider').value) - page.position.seconds"
        until(tab, f"Math.abs({at_slider}) < 0.1")
        # Before the first sample nothing is shown, whatever was shown elsewhere.
        tab.keyboard.press("Home")
        until(tab, "[...page.traces.streams.values()].every(ring => ring.head < 0)")
        until(tab, f"Math.abs({at_slider}) < 0.1")
        assert tab.text_content("#streams tr >> nth=0").startswith("● stored")
        assert tab.is_hidden("#controls") and tab.is_visible("#player")
        assert tab.errors == []


def test_every_stretch_of_a_recording_is_drawn_the_same_played_or_scrolled(sine_recording):
    scrolled = StoredPage(sine_recording, "sine")
    scrolled.act({"do": "seek", "seconds": 20.0})
    played = StoredPage(sine_recording, "sine")
    for at in np.linspace(10, 20, 201)[1:]:
        played._advance(float(at))
        played.hub.traces(0.0)
    (_, one), (_, other) = (
        decode_blocks(source.greeting()[1])[1][0] for source in (scrolled, played)
    )
    assert one.number + len(one.extremes) == other.number + len(other.extremes)
    n = min(len(one.extremes), len(other.extremes))
    assert n > 990
    # The display filter began at another sample: what is left of that is below 0.1 uV.
    assert np.nanmax(np.abs(one.extremes[-n:] - other.extremes[-n:])) < 0.1


def test_the_page_finds_its_server_again(tab, sine_recording):
    with serving(StoredPage(sine_recording, "sine")) as url:
        tab.goto(url)
        until(tab, "page.connected && page.frames > 0")
    until(tab, "document.getElementById('phase').textContent === 'NO CONNECTION'")
    assert tab.text_content("#alarm") == "The page has lost its server."
    port = int(url.split(":")[2].partition("/")[0])
    with serving(StoredPage(sine_recording, "sine"), port):
        until(tab, "page.connected")
        seek(tab, 15.0)
        until(tab, "document.getElementById('phase').textContent === 'TRIAL 1'")
        assert tab.is_hidden("#alarm")
