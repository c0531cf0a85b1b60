"""Entropy of one whole DEAP-shaped subject: ours beside the common ways, in one run.

40 trials of 60 s, 32 channels at 128 Hz, TorchEEG's four bands, the same array for everybody.
All ways take turns, round by round, so that other work on the machine meets them alike; ratios
of the fastest rounds count, not times. Slow ways are timed on a stated sample of the windows and
scaled. TorchEEG itself runs with ``--peers DIR`` only (it is installed there from PyPI).

``python benchmarks/bench_preprocess.py [--quick] [--peers DIR] [--only NAMES]``
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import sysconfig
import tempfile
import time
import tracemalloc
import venv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy
from scipy.signal import butter, filtfilt

from physioemo.datasets.synthetic import planted_eeg
from physioemo.features.entropy import (
    EntropyRecipe,
    differential_entropy,
    start_entropy,
    step_entropy,
)
from physioemo.features.entropy_tiles import thread_count

SFREQ = 128
BANDS = {"theta": (4, 8), "alpha": (8, 14), "beta": (14, 31), "gamma": (31, 49)}
SHAPES = {"1 s windows": (1.0, 1.0), "4 s windows, hop 0.5 s": (4.0, 0.5)}
PEER = Path(__file__).with_name("peer_torcheeg.py")
PEER_PACKAGES = ["torcheeg==1.1.3", "spectrum", "xmltodict", "lmdb"]
GOALS = {  # (row, column): ratio to reach, in windows of 1 s and of 4 s
    ("stft-hann gemm f32", "BDE"): (3000, None),
    ("stft-hann gemm f32", "V1"): (10, None),
    ("stft-hann gemm f32", "LibEER"): (25, None),
    ("window-filter gemm f32", "BDE"): (1000, None),
    ("gaussian-filter gemm f64", "BDE"): (150, 500),
}


def subject(n_trials: int) -> np.ndarray:
    """Return (trial, channel, time) as in DEAP's preprocessed files, baseline cut off."""
    trials = []
    for number in range(n_trials):
        rng = np.random.default_rng([0, number])
        valence, arousal = rng.uniform(-1, 1, 2)
        trials.append(planted_eeg(rng, 32, 7680, SFREQ, valence=valence, arousal=arousal))
    return np.array(trials)


def libeer_style(signal: np.ndarray, window: int, hop: int) -> np.ndarray:
    """Restate LibEER's ``de_extraction``: filtfilt of order 3 over the trial, then variances."""
    n_windows = 1 + (signal.shape[1] - window) // hop
    out = np.empty((n_windows, len(signal), len(BANDS)))
    for band, (low, high) in enumerate(BANDS.values()):
        filtered = filtfilt(*butter(3, [2 * low / SFREQ, 2 * high / SFREQ], "bandpass"), signal)
        for i in range(n_windows):
            variance = np.var(filtered[:, i * hop : i * hop + window], axis=1, ddof=1)
            out[i, :, band] = 0.5 * np.log2(2 * np.pi * np.e * variance)
    return out


def scipy_loop(signal: np.ndarray, starts: np.ndarray, window: int) -> None:
    """Design and run a filter for every window, channel and band, as many papers' code does."""
    for start in starts:
        for channel in signal[:, start : start + window]:
            for low, high in BANDS.values():
                b, a = butter(4, (low, high), btype="bandpass", fs=SFREQ)
                np.log(filtfilt(b, a, channel).var())


class TorchEEG:
    """TorchEEG in a process of its own, answering with seconds."""

    def __init__(self, python: Path, array: Path, window: int, hop: int) -> None:
        bands = json.dumps({name: list(edges) for name, edges in BANDS.items()})
        command = [python, PEER, array, str(window), str(hop), bands]
        self.process = subprocess.Popen(
            [str(c) for c in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, request: str) -> np.ndarray:
        """Return the seconds that the request took, by the clock and of the processor."""
        assert self.process.stdin and self.process.stdout
        print(request, file=self.process.stdin, flush=True)
        return np.array(self.process.stdout.readline().split(), float)

    def close(self) -> None:
        """Let the process end."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def install_peers(folder: Path) -> Path:
    """Return the Python of an environment with TorchEEG and otherwise our own packages."""
    python = folder / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    if not (folder / "ready").exists():
        venv.create(folder, with_pip=True)
        inner = [python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])"]
        place = subprocess.run(inner, check=True, capture_output=True, text=True).stdout.strip()
        # The same NumPy and SciPy for both; TorchEEG's own pin (SciPy < 1.10.2) is set aside.
        Path(place, "ours.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
        install = ["-m", "pip", "install", "--quiet", "--no-deps", *PEER_PACKAGES]
        subprocess.run([str(python), *install], check=True)
        (folder / "ready").touch()
    return python


def our_ways(flat: np.ndarray, window: float, hop: float) -> dict[str, Callable[[], np.ndarray]]:
    """Return our engines by name; a subject's trials and channels are rows of one call."""

    def way(definition: str, engine: str, dtype: type) -> Callable[[], np.ndarray]:
        return lambda: differential_entropy(
            flat,
            SFREQ,
            bands=BANDS,
            window_seconds=window,
            hop_seconds=hop,
            definition=definition,
            engine=engine,
            dtype=dtype,
        )

    ways = {"gaussian-filter stream f64": way("gaussian-filter", "stream", np.float64)}
    for definition in ("gaussian-filter", "stft-hann", "window-filter", "multitaper"):
        for name, dtype in (("f64", np.float64), ("f32", np.float32)):
            ways[f"{definition} gemm {name}"] = way(definition, "gemm", dtype)
    return ways


def table(signal: np.ndarray, title: str, options: argparse.Namespace) -> None:
    """Measure and print all ways on windows of one shape."""
    seconds = SHAPES[title]
    window, hop = (round(s * SFREQ) for s in seconds)
    per_trial = 1 + (signal.shape[2] - window) // hop
    n_windows = len(signal) * per_trial
    samples = {"BDE": 16, "V1": 400, "SciPy": 8}
    trial_starts = np.arange(per_trial)[:: per_trial // samples["SciPy"]] * hop
    with tempfile.TemporaryDirectory() as folder:
        np.save(path := Path(folder, "signal.npy"), signal)
        peer = TorchEEG(options.python, path, window, hop) if options.python else None
        ways = our_ways(signal.reshape(-1, signal.shape[2]), *seconds)
        timed: dict[str, Callable[[], np.ndarray]] = {}
        if peer:
            for name in ("BDE", "V1"):
                timed[name] = lambda n=name: peer.ask(f"{n} {samples[n]}") * n_windows / samples[n]
        timed["LibEER"] = lambda: clock(lambda: [libeer_style(t, window, hop) for t in signal])
        scale = n_windows / len(trial_starts)
        timed["SciPy"] = lambda: scale * clock(lambda: scipy_loop(signal[0], trial_starts, window))
        timed |= {name: lambda w=way: clock(w) for name, way in ways.items()}
        wanted = options.only.split(",")
        timed = {k: way for k, way in timed.items() if any(part in k for part in wanted)}
        ways = {k: way for k, way in ways.items() if k in timed}
        results = take_turns(timed, options.rounds)
        theirs = peer_values(peer, samples["BDE"], folder, n_windows, len(signal)) if peer else None
        if peer:
            peer.close()
    said = notes(ways, theirs, signal)
    print_table(title, results, said, n_windows, samples, len(trial_starts), options.quick)


def clock(way: Callable[[], object]) -> np.ndarray:
    """Return the seconds of one call, by the clock and of all its threads' processor time."""
    began, worked = time.perf_counter(), time.process_time()
    way()
    return np.array([time.perf_counter() - began, time.process_time() - worked])


def take_turns(timed: dict[str, Callable[[], np.ndarray]], rounds: int) -> dict[str, np.ndarray]:
    """Return seconds (round, clock or processor) of every way; a first round does not count.

    A way that takes less than half a second is called up to five times in a row and its fastest
    call counts, the peers' as ours: alone it would be timed with the other ways' data in the cache.
    """
    results: dict[str, list[np.ndarray]] = {name: [] for name in timed}
    for number in range(rounds + 1):
        for name, way in timed.items():
            calls = [way()]
            while len(calls) < 5 and sum(c[0] for c in calls) < 0.5:
                calls.append(way())
            if number:
                results[name].append(min(calls, key=lambda c: float(c[0])))
    return {name: np.array(values) for name, values in results.items()}


def peer_values(
    peer: TorchEEG, n: int, folder: str, n_windows: int, n_trials: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return TorchEEG's own values (window, channel, band) in bits, and of which windows."""
    peer.ask(f"save BDE {n} {folder}/values.npy")
    chosen = np.linspace(0, n_windows - 1, n).astype(int)
    trial, within = np.divmod(chosen, n_windows // n_trials)
    return np.load(f"{folder}/values.npy"), trial, within


def notes(
    ways: dict[str, Callable[[], np.ndarray]],
    theirs: tuple[np.ndarray, np.ndarray, np.ndarray] | None,
    signal: np.ndarray,
) -> dict[str, str]:
    """Return for each of our ways its largest difference to the reference and its memory."""
    reference: dict[str, np.ndarray] = {}
    said = {}
    for name, way in ways.items():
        tracemalloc.start()
        values = way()
        peak = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
        definition = name.split()[0]
        first = reference.setdefault(definition, values)
        text = f"{np.abs(values - first).max():.0e} nats to the row above" * (first is not values)
        if definition == "window-filter" and theirs is not None:
            bits, trial, within = theirs
            ours = values.reshape(len(values), len(signal), -1, values.shape[2])[within, trial]
            text = f"{np.abs(ours / np.log(2) - bits).max():.0e} bit to TorchEEG"
        said[name] = f"{peak:5.0f} MB  {text}"
    return said


def print_table(
    title: str,
    results: dict[str, np.ndarray],
    said: dict[str, str],
    n_windows: int,
    samples: dict[str, int],
    n_scipy: int,
    quick: bool,
) -> None:
    """Print one row a way: fastest round, median, ratios of fastest rounds."""
    peers = {"BDE": "x BDE", "V1": "x V1", "LibEER": "x LibEER"}
    full = {"BDE": f"TorchEEG BandDifferentialEntropy ({samples['BDE']} windows)"}
    full["V1"] = f"TorchEEG BandDifferentialEntropyV1 ({samples['V1']} windows)"
    full["LibEER"] = "LibEER's definition, restated"
    full["SciPy"] = f"SciPy, butter + filtfilt per window ({n_scipy} windows)"
    best = {name: values.min(axis=0) for name, values in results.items()}
    print(
        f"\n{title}: {n_windows} windows, 32 channels, 4 bands; fastest / median; processor seconds"
    )
    print(f"{'':54}{'':30}" + "".join(f"{text:>10}" for text in peers.values()))
    for name, values in results.items():
        ratios = "".join(
            f"{best[p][0] / best[name][0]:10.4g}" if p in best else f"{'-':>10}" for p in peers
        )
        fastest, processor = best[name]
        times = f"{fastest:9.4f} / {np.median(values[:, 0]):<8.4f}; {processor:<8.4f}"
        print(f"{full.get(name, 'ours, ' + name):54}{times}{ratios}  {said.get(name, '')}")
    for (name, against), goals in ({} if quick else GOALS).items():
        goal = goals[list(SHAPES).index(title)]
        if goal and name in best and against in best:
            reached, per_core = best[against] / best[name]
            verdict = "met" if reached >= goal else "MISSED"
            print(f"  goal {name} >= {goal} x {against}: {reached:.4g} x, {verdict}")
            print(f"    ({per_core:.4g} x by processor time, that is on one core)")


def memory_mb() -> float:
    """Return this process's resident memory; where the system does not tell, its peak so far."""
    told = Path("/proc/self/statm")
    if told.exists():
        return int(told.read_text().split()[1]) * resource.getpagesize() / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def live(quick: bool) -> None:
    """Print the time of one hop of 64 channels at 1 kHz, paced, and memory over an hour."""
    rng = np.random.default_rng(0)
    bands = {"delta": (1, 4), **BANDS}
    recipe = EntropyRecipe.in_seconds(1000.0, bands=bands, window_seconds=1.0, hop_seconds=0.1)
    chunks = rng.standard_normal((32, 64, 100))
    state = start_entropy(64, recipe)
    for chunk in chunks:
        _, state = step_entropy(chunk, state, recipe)
    wall, cpu = [], []
    due = time.perf_counter()
    for hop in range(50 if quick else 300):
        due += 0.1
        time.sleep(max(0.0, due - time.perf_counter()))
        began, worked = time.perf_counter(), time.thread_time()
        _, state = step_entropy(chunks[hop % 32], state, recipe)
        wall.append(1e3 * (time.perf_counter() - began))
        cpu.append(1e3 * (time.thread_time() - worked))
    print("\nOne hop live: 64 channels at 1 kHz, 5 bands, window 1 s, hop 0.1 s, paced")
    for name, values in (("wall clock", wall), ("processor time", cpu)):
        p50, p99 = np.percentile(values, [50, 99])
        print(f"  {name:16} p50 {p50:.2f} ms, p99 {p99:.2f} ms, worst {max(values):.2f} ms")
    n_hops = 2000 if quick else 36000
    before, began = memory_mb(), time.perf_counter()
    for hop in range(n_hops):
        _, state = step_entropy(chunks[hop % 32], state, recipe)
    after, took = memory_mb(), time.perf_counter() - began
    print(
        f"  {n_hops} hops back to back: {1e3 * took / n_hops:.2f} ms each, "
        f"memory {before:.2f} -> {after:.2f} MB"
    )


def main() -> None:
    """Parse the call and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="4 trials, 2 rounds")
    parser.add_argument("--peers", type=Path, help="folder for an environment with TorchEEG")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--only", default="", help="parts of the names of ways, with commas")
    options = parser.parse_args()
    options.python = install_peers(options.peers.resolve()) if options.peers else None
    options.rounds = 2 if options.quick else options.rounds
    print(
        f"Python {platform.python_version()}, NumPy {np.__version__}, SciPy {scipy.__version__}, "
        f"{thread_count()} threads"
    )
    if not options.only:
        live(options.quick)
    signal = subject(4 if options.quick else 40)
    for title in SHAPES:
        table(signal, title, options)


if __name__ == "__main__":
    main()
