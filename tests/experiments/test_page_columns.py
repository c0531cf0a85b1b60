import numpy as np
import pytest

from physioemo.experiments.page.columns import (
    Block,
    Columns,
    DisplayFilter,
    column_rate,
    decode_blocks,
    encode_blocks,
)


def taken(columns, values, seconds, chunk):
    blocks = []
    for at in range(0, len(seconds), chunk):
        columns.push(values[at : at + chunk], seconds[at : at + chunk])
        block = columns.take()
        if block is not None:
            blocks.append(block)
    return blocks


def test_a_column_is_the_least_and_the_greatest_of_its_samples():
    seconds = np.arange(1000) / 1000 + 1e-9
    values = np.random.default_rng(0).standard_normal((1000, 3)).astype(np.float32)
    columns = Columns(3, 1000.0)
    columns.push(values, seconds)
    block = columns.take()
    assert block.number == 0
    assert block.extremes.shape == (99, 3, 2)  # the last column is not complete yet
    expected = values.reshape(100, 10, 3)[:99]
    assert np.array_equal(block.extremes[..., 0], expected.min(axis=1))
    assert np.array_equal(block.extremes[..., 1], expected.max(axis=1))


@pytest.mark.parametrize("chunk", [1, 7, 33, 400])
def test_columns_are_the_same_however_the_samples_arrive(chunk):
    generator = np.random.default_rng(1)
    seconds = np.sort(generator.uniform(0, 4, 800)) + 50.0
    values = generator.standard_normal((800, 2)).astype(np.float32)
    whole = taken(Columns(2, 200.0), values, seconds, 800)[0]
    parts = taken(Columns(2, 200.0), values, seconds, chunk)
    assert parts[0].number == whole.number
    assert np.array_equal(np.concatenate([p.extremes for p in parts]), whole.extremes)


def test_a_gap_is_left_empty_and_jitter_is_not():
    seconds = np.concatenate([np.arange(200) / 200, 1.03 + np.arange(200) / 200, [3.5]]) + 1e-9
    columns = Columns(1, 200.0)
    columns.push(np.ones((len(seconds), 1)), seconds)
    empty = np.isnan(columns.take().extremes[:, 0, 0])
    assert np.flatnonzero(empty).tolist() == list(range(203, 350))


def test_missing_samples_do_not_hide_their_neighbours():
    columns = Columns(1, 100.0)
    columns.push(np.array([[np.nan], [2.0], [np.nan], [np.nan], [1.0]]), np.arange(5) / 100 + 1e-9)
    extremes = columns.take().extremes[:, 0]
    assert extremes[0].tolist() == [2.0, 2.0]
    assert np.isnan(extremes[1]).all()


def test_a_clock_that_jumps_back_restarts_the_sweep():
    columns = Columns(1, 100.0)
    columns.push(np.ones((100, 1)), 500 + np.arange(100) / 100)
    columns.take()
    columns.push(np.ones((100, 1)), 20 + np.arange(100) / 100 + 1e-9)
    block = columns.take()
    assert (block.number, block.restarts) == (20 * 50, True)


def test_the_last_window_is_kept_for_a_page_that_is_opened_late():
    columns = Columns(1, 100.0, window_seconds=2.0)
    for second in range(5):
        columns.push(np.full((100, 1), second), second + np.arange(100) / 100 + 1e-9)
        columns.take()
    block = columns.kept()
    assert (block.number, len(block.extremes), block.restarts) == (149, 100, True)
    assert block.extremes[-1, 0, 0] == 4.0


def test_slow_streams_have_two_samples_in_each_column():
    assert [column_rate(sfreq) for sfreq in (2048, 120, 4, 0)] == [100.0, 60.0, 2.0, 30.0]


def test_the_display_filter_takes_away_offsets_and_keeps_the_signal():
    seconds = np.arange(4000) / 500
    sine = np.sin(2 * np.pi * 10 * seconds)
    signal = np.stack([sine + 30_000, sine], axis=1)
    filters = DisplayFilter(500.0, 2)
    shown = np.concatenate([filters(signal[i : i + 37]) for i in range(0, 4000, 37)])
    assert np.abs(shown[:, 0] - shown[:, 1]).max() < 1e-6
    assert np.ptp(shown[2000:, 0]) / 2 == pytest.approx(1 / np.hypot(1, 0.05), rel=0.01)


def test_the_display_filter_survives_missing_samples():
    signal = np.full((300, 1), 7.0)
    signal[100:150] = np.nan
    filters = DisplayFilter(100.0, 1)
    shown = np.concatenate([filters(part) for part in np.split(signal, 6)])[:, 0]
    assert np.isnan(shown[100:150]).all()
    assert np.abs(np.delete(shown, slice(100, 150))).max() == 0


def test_a_message_says_what_was_encoded():
    block = Block(12_345_678_901, np.arange(12, dtype=np.float32).reshape(2, 3, 2), True)
    now, [(stream, back)] = decode_blocks(encode_blocks([(7, block)], 1234.5))
    assert (now, stream, back.number, back.restarts) == (1234.5, 7, block.number, True)
    assert np.array_equal(back.extremes, block.extremes)
