"""From files to a feature store: all of DEAP, with time, memory and files written.

Writes full-size synthetic files (two subjects, copied under 32 names), then runs the command
``physioemo preprocess`` on them as a user would, with one process and with two. Goals: less than
two minutes, less than 2 GB in any process, and per worker less than two recordings and 300 MB.

    python benchmarks/bench_end_to_end.py [--subjects 32] [--folder DIR] [--jobs 1 2]
"""

import argparse
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

import psutil

from physioemo.datasets.deap import read_deap
from physioemo.datasets.deap_fixture import write_deap_fixture


def recording_bytes(folder: Path) -> int:
    """Return the size of one recording in memory."""
    recording = read_deap(folder, 1)
    return sum(recording[key].nbytes for key in recording.streams)


def make_files(folder: Path, n_subjects: int) -> None:
    """Write full-size files of `n_subjects` subjects."""
    write_deap_fixture(folder, subjects=min(2, n_subjects))
    for k in range(3, n_subjects + 1):
        shutil.copy(folder / f"s{2 - k % 2:02d}.dat", folder / f"s{k:02d}.dat")


def run(command: list[str]) -> tuple[float, float]:
    """Return seconds and the largest resident memory (bytes) of any of the processes."""
    largest = 0.0
    began = time.perf_counter()
    process = psutil.Popen(command)

    def watch() -> None:
        nonlocal largest
        while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
            for one in (process, *process.children(recursive=True)):
                try:
                    largest = max(largest, one.memory_info().rss)
                except psutil.Error:
                    continue
            time.sleep(0.02)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    if process.wait():
        raise SystemExit(f"{' '.join(command)} failed")
    watcher.join()
    return time.perf_counter() - began, largest


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--subjects", type=int, default=32)
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--features", default="de")
    arguments = parser.parse_args()
    folder = arguments.folder or Path(tempfile.mkdtemp(prefix="physioemo-bench-"))
    data = folder / "data_preprocessed_python"
    if not data.exists():
        print(f"writing {arguments.subjects} full-size SYNTHETIC files into {data}", flush=True)
        make_files(data, arguments.subjects)
    print(f"{'run':<28}{'seconds':>9}{'peak MB':>9}{'files':>7}{'MB written':>12}")
    for jobs in arguments.jobs:
        out = folder / f"features-{jobs}.zarr"
        shutil.rmtree(out, ignore_errors=True)
        command = [sys.executable, "-m", "physioemo", "preprocess", "deap", str(data)]
        command += ["--out", str(out), "--features", arguments.features, "--jobs", str(jobs)]
        seconds, largest = run([*command])
        files = [p for p in out.rglob("*") if p.is_file()]
        size = sum(p.stat().st_size for p in files)
        name = f"{arguments.subjects} subjects, {jobs} process" + ("es" if jobs > 1 else "")
        print(f"{name:<28}{seconds:9.1f}{largest / 1e6:9.0f}{len(files):7d}{size / 1e6:12.1f}")
    limit = 2 * recording_bytes(data) / 1e6 + 300
    print(f"goals: 120 s, 2000 MB; two recordings and 300 MB are {limit:.0f} MB")
    if arguments.folder is None:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
