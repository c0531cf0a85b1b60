"""The recorder beside a bare pylsl loop, on the same live streams in the same run."""

import os
import secrets
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SECONDS = 20
CHANNELS, SFREQ = 64, 1000.0

PRODUCER = f"""
import time, numpy as np
from physioemo.acquisition.lsl import make_outlet, push
from physioemo.description import StreamDescription
import pylsl
names = tuple(f"E{{i}}" for i in range({CHANNELS}))
units = ("uV",) * {CHANNELS}
outlet = make_outlet(StreamDescription("EEG", "EEG", {SFREQ}, names, units, source_id="bench"))
outlet.wait_for_consumers(30)
time.sleep(3)
base, sent = pylsl.local_clock(), 0
while sent < {int(SECONDS * SFREQ)}:
    due = int((pylsl.local_clock() - base) * {SFREQ})
    index = np.arange(sent, due)
    signal = np.tile(np.sin(index / 9.0)[:, None], {CHANNELS}).astype(np.float32)
    push(outlet, signal, base + index / {SFREQ})
    sent = due
    time.sleep(0.02)
time.sleep(3)
"""

BARE = """
import time, pylsl
inlet = pylsl.StreamInlet(pylsl.resolve_byprop("source_id", "bench", 1, 10)[0], as_numpy=True)
n, last = 0, None
while last is None or time.monotonic() - last < 2:
    values, stamps = inlet.pull_chunk(timeout=0.0, max_samples=4096)
    if len(stamps):
        n, last = n + len(stamps), time.monotonic()
    time.sleep(0.01)
print(n)
"""


def cpu_seconds(process: subprocess.Popen[str]) -> tuple[float, str]:
    """Wait for a process; return its CPU time and what it printed."""
    before = os.times()
    out, _ = process.communicate(timeout=120)
    after = os.times()
    return after.children_user - before.children_user + (
        after.children_system - before.children_system
    ), out


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "lsl_api.cfg"
        config.write_text(
            f"[lab]\nSessionID = bench-{secrets.token_hex(4)}\n"
            "[multicast]\nResolveScope = machine\n[log]\nlevel = -3\n"
        )
        environment = {**os.environ, "LSLAPICFG": str(config)}
        recorder = [sys.executable, "-m", "physioemo", "record", str(Path(folder) / "r")]
        recorder += ["--stop-when-idle", "2", "--find-seconds", "10"]
        print(f"{CHANNELS} channels at {SFREQ:g} Hz for {SECONDS} s over LSL on this computer")
        for name, command in {
            "bare pylsl loop": [sys.executable, "-c", BARE],
            "physioemo record": recorder,
        }.items():
            producer = subprocess.Popen([sys.executable, "-c", PRODUCER], env=environment)
            time.sleep(1.5)
            consumer = subprocess.Popen(
                command,
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
            used, out = cpu_seconds(consumer)
            producer.wait(60)
            received = out.split()[0] if name.startswith("bare") else str(_n_samples(folder))
            print(
                f"  {name:<18} {received:>8} of {int(SECONDS * SFREQ)} samples   "
                f"{used:5.2f} s of CPU, start-up and sealing included"
            )


def _n_samples(folder: str) -> int:
    from physioemo.store import open_recording

    return int(open_recording(Path(folder) / "r")["eeg"].sizes["time"])


if __name__ == "__main__":
    main()
