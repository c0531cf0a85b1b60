"""Time stamps without their jitter: lines over the sample's number, never across a gap.

A device samples evenly, but its stamps tell when a packet came. Where nothing was lost, the moment
of a sample is a line over its number. Readers that lay one line through everything move a whole
file by half of its largest gap (sccn/xdf#31), so a line here ends at every gap, reset and return,
and holds only if the stamps of every second agree with it: a sample that was lost in between moves
all later ones. Where no line holds, the stamps stay as they are.

Nothing is changed on disk, and nothing is done unasked; ``raw_time`` stays.
"""

from itertools import pairwise

import numpy as np

from physioemo.clock import find_gaps
from physioemo.recording import Recording
from physioemo.stream import may_drop_samples

__all__ = ["dejitter", "dejitter_recording"]

_BLOCK_SECONDS, _BLOCK_SAMPLES = 1.0, 32
_FEWEST_BLOCKS = 4
_STEP_SCATTERS = 5.0
_BLOCK_SCATTERS = 6.0
_SAMPLE_SHARE = 0.25  # of a sample's duration; one lost sample moves the ends by more
_ROUNDS = 5


def dejitter(time: np.ndarray, sfreq: float, *, breaks: tuple[int, ...] = ()) -> np.ndarray:
    """Return stamps on lines over the sample's number.

    Parameters
    ----------
    time : ndarray, shape (time,)
        Corrected stamps in seconds; they stay as they are.
    sfreq : float
        Nominal rate in Hz; an irregular stream (0) keeps its stamps.
    breaks : tuple of int
        First samples of later connections and clocks.
    """
    found = np.array(time, float)
    if sfreq <= 0 or len(found) < 2:
        return found
    edges = sorted({0, len(found), *breaks, *find_gaps(found, sfreq).tolist()})
    for start, stop in pairwise(edges):
        part = found[start:stop]
        losses = [0, *_lasting_steps(part, sfreq), len(part)]
        for first, last in pairwise(losses):
            _straighten(part[first:last], sfreq)
    return found


def dejitter_recording(recording: Recording) -> Recording:
    """Return a recording whose regular streams stand on lines.

    Irregular streams, text, and streams that say that they may drop samples keep their stamps.

    Parameters
    ----------
    recording : Recording
        Any; it stays as it is.
    """
    tree = recording.tree.copy()
    for key in recording.streams:
        dataset = tree[key].to_dataset()
        if may_drop_samples(dataset):
            continue
        breaks = tuple(int(i) for i in dataset.attrs.get("reconnected_samples", ()))
        time = dejitter(dataset["time"].values, float(dataset.attrs["sfreq"]), breaks=breaks)
        even = dataset.assign_coords(time=("time", time, dataset["time"].attrs))
        even.attrs["dejittered"] = True
        tree[key].dataset = even
    return Recording(tree, path=recording.path, sealed=recording.sealed)


def _lasting_steps(time: np.ndarray, sfreq: float) -> list[int]:
    """Return the first samples after steps that move all later stamps: something was lost there.

    A packet that came late moves its own stamps alone.
    """
    odd = np.diff(time) - 1 / sfreq
    if not len(odd):
        return []
    most = max(0.5 / sfreq, _STEP_SCATTERS * float(np.std(odd)))
    apart, width = time - _line(time), _block_samples(sfreq)
    return [
        i
        for i in (np.flatnonzero(np.abs(odd) > most) + 1).tolist()
        if abs(np.median(apart[i : i + width]) - np.median(apart[max(0, i - width) : i]))
        > abs(odd[i - 1]) / 2
    ]


def _block_samples(sfreq: float) -> int:
    return max(round(_BLOCK_SECONDS * sfreq), _BLOCK_SAMPLES)


def _straighten(time: np.ndarray, sfreq: float) -> None:
    """Put a stretch onto a line where one holds, or its parts onto lines of their own."""
    block = _block_samples(sfreq)
    n_blocks = len(time) // block
    if n_blocks < _FEWEST_BLOCKS:
        return
    line = _line(time)
    middle = np.median((time - line)[: n_blocks * block].reshape(n_blocks, block), axis=1)
    scatter = 1.4826 * float(np.median(np.abs(np.diff(middle)))) / np.sqrt(2)
    most = max(_SAMPLE_SHARE / sfreq, _BLOCK_SCATTERS * scatter)
    if np.abs(middle).max() <= most:
        time[:] = line
        return
    # At the step if there is one; what wanders is halved.
    steps = np.abs(np.diff(middle))
    cut = block * (1 + int(np.argmax(steps)) if steps.max() > most else n_blocks // 2)
    _straighten(time[:cut], sfreq)
    _straighten(time[cut:], sfreq)


def _line(time: np.ndarray) -> np.ndarray:
    """Return a line over the sample's number that single late packets do not bend (Huber)."""
    x = np.arange(len(time)) - (len(time) - 1) / 2
    weight = np.ones(len(time))
    fitted = time
    for _ in range(_ROUNDS):
        total = weight.sum()
        centre, mean = (weight @ x) / total, (weight @ time) / total
        slope = (weight @ ((x - centre) * (time - mean))) / (weight @ (x - centre) ** 2)
        fitted = mean + slope * (x - centre)
        apart = np.abs(time - fitted)
        reach = 1.345 * max(1.4826 * float(np.median(apart)), 1e-9)
        weight = reach / np.maximum(apart, reach)
    return fitted
