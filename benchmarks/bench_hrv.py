"""Sliding heart-rate variability: ours beside NeuroKit2 per window, in one run. Ratios count."""

import statistics
import time

import neurokit2 as nk
import numpy as np

from physioemo.features.sliding_hrv import TIME_MEASURES, sliding_hrv

ROUNDS = 5
MINUTES = 60
WINDOW_SECONDS = 60.0
HOP_SECONDS = 1.0
RATE_HZ = 1000  # NeuroKit2 counts beats in samples: times are whole milliseconds for both


def beats_of_an_hour() -> np.ndarray:
    """Return beat times in seconds that breathe, wander and never stand still."""
    generator = np.random.default_rng(0)
    beats = [0.0]
    while beats[-1] < MINUTES * 60:
        at = beats[-1]
        rr = 0.8 + 0.05 * np.sin(2 * np.pi * 0.25 * at) + 0.04 * np.sin(2 * np.pi * 0.1 * at)
        beats.append(at + rr + 0.1 * np.sin(2 * np.pi * at / 1200) + 0.01 * generator.normal())
    return np.round(np.array(beats), 3)


def neurokit_per_window(beats: np.ndarray) -> np.ndarray:
    """Call ``nk.hrv_time`` once for each window: the common way."""
    names = [f"HRV_{m}" for m in TIME_MEASURES if m != "MeanHR"]
    samples = np.rint(beats * RATE_HZ).astype(int)
    rows = []
    start = 0.0
    while start + WINDOW_SECONDS <= beats[-1] + 1e-9:
        inside = samples[(beats >= start) & (beats < start + WINDOW_SECONDS)]
        found = nk.hrv_time(inside - inside[0], sampling_rate=RATE_HZ)
        # pNN20 and pNN50 are shares of one more difference than there are.
        row = found[names].to_numpy()[0]
        row[-2:] *= (len(inside) - 1) / (len(inside) - 2)
        rows.append(row)
        start += HOP_SECONDS
    return np.array(rows)


def numpy_per_window(beats: np.ndarray) -> np.ndarray:
    """Compute just these measures with NumPy, window by window: the least a loop can cost."""
    rows = []
    for start in np.arange(0.0, beats[-1] - WINDOW_SECONDS + 1e-9, HOP_SECONDS):
        first, last = np.searchsorted(beats, [start, start + WINDOW_SECONDS])
        rr = 1e3 * np.diff(beats[first:last])
        steps = np.diff(rr)
        sizes = np.abs(steps).round(6)
        rows.append(
            [
                rr.mean(),
                rr.std(ddof=1),
                np.sqrt(np.mean(steps**2)),
                steps.std(ddof=1),
                100 * np.mean(sizes > 20),
                100 * np.mean(sizes > 50),
                np.mean(6e4 / rr),
            ]
        )
    return np.array(rows)


def ours(beats: np.ndarray) -> np.ndarray:
    """Return the same measures, and MeanHR, by prefix sums."""
    return sliding_hrv(beats, window_seconds=WINDOW_SECONDS, hop_seconds=HOP_SECONDS)[1]


def main() -> None:
    """Print both times, their ratio and the largest difference of each measure."""
    beats = beats_of_an_hour()
    ours(beats)
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        values = ours(beats)
        times.append(time.perf_counter() - began)
    began = time.perf_counter()
    theirs = neurokit_per_window(beats)
    slow, fast = time.perf_counter() - began, statistics.median(times)
    began = time.perf_counter()
    loop = numpy_per_window(beats)
    plain = time.perf_counter() - began
    print(
        f"{len(beats)} beats in {MINUTES} min, {WINDOW_SECONDS:g} s every {HOP_SECONDS:g} s: "
        f"{len(values)} windows"
    )
    print(f"  nk.hrv_time per window (25 measures) {1e3 * slow:10.2f} ms         1.0 x")
    print(f"  NumPy per window (7 measures)        {1e3 * plain:10.2f} ms  {slow / plain:10.1f} x")
    print(f"  ours, prefix sums (7 measures)       {1e3 * fast:10.2f} ms  {slow / fast:10.1f} x")
    print("  measure    mean of ours   largest difference   NaN in ours")
    compared = [m for m in TIME_MEASURES if m != "MeanHR"]
    for name, other in zip(compared, theirs.T, strict=True):
        own = values[:, TIME_MEASURES.index(name)]
        worst = np.nanmax(np.abs(own - other))
        print(f"  {name:<8} {np.nanmean(own):14.6f} {worst:20.2e} {np.isnan(own).sum():13d}")
    print(f"  largest difference from the NumPy loop: {np.nanmax(np.abs(values - loop)):.2e}")


if __name__ == "__main__":
    main()
