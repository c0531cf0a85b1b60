"""Band differential entropy: ours beside the common ways, in one run. Ratios count, not times."""

import statistics
import subprocess
import sys
import time

import numpy as np
from scipy.signal import butter, filtfilt, sosfiltfilt

from physioemo.features.entropy import (
    BANDS,
    EntropyRecipe,
    differential_entropy,
    start_entropy,
    step_entropy,
)

ROUNDS = 5


def filtfilt_per_window(signal: np.ndarray, sfreq: float, window: int) -> np.ndarray:
    """Design and run a filter for every window, channel and band, as many papers' code does."""
    rows = []
    for start in range(0, signal.shape[1] - window + 1, window):
        part = signal[:, start : start + window]
        row = []
        for low, high in BANDS.values():
            b, a = butter(4, (low, high), btype="bandpass", fs=sfreq)
            row.append([np.var(filtfilt(b, a, channel)) for channel in part])
        rows.append(0.5 * np.log(2 * np.pi * np.e * np.array(row).T))
    return np.array(rows)


def sosfiltfilt_per_trial(signal: np.ndarray, sfreq: float, window: int) -> np.ndarray:
    """Filter the trial once per band, then take variances (acausal)."""
    out = []
    for low, high in BANDS.values():
        sections = butter(4, (low, high), btype="bandpass", fs=sfreq, output="sos")
        filtered = sosfiltfilt(sections, signal, axis=1)
        n = filtered.shape[1] // window
        out.append(filtered[:, : n * window].reshape(len(signal), n, window).var(axis=2))
    return 0.5 * np.log(2 * np.pi * np.e * np.array(out).T)


def batch_table() -> None:
    """One DEAP-shaped trial: 32 channels, 63 s at 128 Hz, windows of 1 s."""
    generator = np.random.default_rng(0)
    signal = np.cumsum(generator.standard_normal((32, 8064)), axis=1)
    ways = {
        "filter per window (SciPy loop)": lambda: filtfilt_per_window(signal, 128.0, 128),
        "filter per trial (sosfiltfilt)": lambda: sosfiltfilt_per_trial(signal, 128.0, 128),
        "ours, stream fold, float64": lambda: differential_entropy(signal, 128.0),
        "ours, gemm, float64": lambda: differential_entropy(signal, 128.0, engine="gemm"),
        "ours, gemm, float32": lambda: differential_entropy(
            signal, 128.0, engine="gemm", dtype=np.float32
        ),
    }
    times: dict[str, list[float]] = {name: [] for name in ways}
    for way in ways.values():
        way()
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = time.perf_counter()
            way()
            times[name].append(time.perf_counter() - began)
    slowest = statistics.median(times["filter per window (SciPy loop)"])
    print("Entropy of 32 channels, 63 s at 128 Hz, 1 s windows, 4 bands")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:<34} {1e3 * median:9.2f} ms   {slowest / median:8.1f} x")


def paced_table() -> None:
    """64 channels at 1 kHz, a hop every 100 ms, as it runs live."""
    generator = np.random.default_rng(0)
    bands = {"delta": (1.0, 4.0), **BANDS}
    recipe = EntropyRecipe.in_seconds(1000.0, bands=bands, window_seconds=1.0, hop_seconds=0.1)
    ours: list[float] = []
    buffer_way: list[float] = []
    state = start_entropy(64, recipe)
    buffer = generator.standard_normal((64, 1000))
    sections = [butter(4, b, btype="bandpass", fs=1000.0, output="sos") for b in bands.values()]
    for _ in range(60):
        chunk = generator.standard_normal((64, 100))
        began = time.perf_counter()
        _, state = step_entropy(chunk, state, recipe)
        ours.append(time.perf_counter() - began)
        time.sleep(0.05)
        began = time.perf_counter()
        buffer = np.concatenate([buffer[:, 100:], chunk], axis=1)
        for section in sections:
            np.log(sosfiltfilt(section, buffer, axis=1).var(axis=1))
        buffer_way.append(time.perf_counter() - began)
        time.sleep(0.05)
    print("\nOne hop of 64 channels at 1 kHz, 5 bands, paced every 100 ms (median / 99 %)")
    rows = {"zero-phase filter of the whole buffer": buffer_way, "ours, stream": ours}
    reference = statistics.median(buffer_way)
    for name, values in rows.items():
        median, p99 = np.percentile(values[5:], [50, 99])
        ratio = reference / median
        print(f"  {name:<38} {1e3 * median:7.2f} / {1e3 * p99:6.2f} ms   {ratio:6.1f} x")


def start_up_table() -> None:
    """How long the command line takes to say its help, beside importing torch."""
    commands = {
        "python -c 'import torch'": [sys.executable, "-c", "import torch"],
        "physioemo --help": [sys.executable, "-m", "physioemo", "--help"],
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            began = time.perf_counter()
            subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
            times[name].append(time.perf_counter() - began)
    torch = statistics.median(times["python -c 'import torch'"])
    print("\nStart-up")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:<28} {1e3 * median:8.0f} ms   {median / torch:5.2f} of importing torch")


if __name__ == "__main__":
    batch_table()
    paced_table()
    start_up_table()
