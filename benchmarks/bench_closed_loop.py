"""The live decoder beside everything else of a session: how late, how much work, what is lost.

64 channels at 1000 Hz over LSL on this computer; recorder, decoder (4 predictions a second), player
(a film of its own making) and operator's page each in a process of its own; with Chromium, somebody
looks at the page. With ``--peers DIR`` (a virtual environment of the same Python with ``pip install
mne-lsl``) a loop over MNE-LSL's ``StreamLSL`` with entropies of the window and the same model
listens to the same stream at the same time.

The compute part alone, on one pinned thread: ``--compute``.
"""

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from bench_soak import Watch, _Run, _wait_for, _wait_line

SFREQ, N_CHANNELS, HOP_SECONDS, WINDOW_SECONDS = 1000.0, 64, 0.25, 1.0

PRODUCER = """
import sys, time
import numpy as np, pylsl
from physioemo.acquisition.lsl import make_outlet, push
from physioemo.description import StreamDescription

names = sys.argv[2].split(",")
outlet = make_outlet(StreamDescription("Bench-EEG", "EEG", 1000.0, tuple(names),
    ("uV",) * len(names), source_id="bench-eeg", channel_format="float32"))
rng = np.random.default_rng(0)
noise = np.cumsum(rng.standard_normal((60_000, len(names))), axis=0)
noise = (10 * (noise - noise.mean(0)) / noise.std(0) + 5 * rng.standard_normal(noise.shape))
noise = noise.astype("float32")
print("ready", flush=True)
sys.stdin.readline()
base, sent, n = pylsl.local_clock(), 0, round(float(sys.argv[1]) * 1000)
while sent < n:
    due = min(int((pylsl.local_clock() - base) * 1000), n)
    if due > sent:
        index = np.arange(sent, due)
        push(outlet, noise[index % len(noise)], base + (index + 1) / 1000)
        sent = due
    time.sleep(0.005)
print("done", flush=True)
time.sleep(60)
"""

PEER = """
import sys, time
import numpy as np, pylsl, torch
from mne_lsl.stream import StreamLSL
from physioemo.experiments.decoder import Decoder
from physioemo.features.entropy import differential_entropy

torch.set_num_threads(1)
decoder = Decoder.load(sys.argv[2])
stream = StreamLSL(1.0, name="Bench-EEG", source_id="bench-eeg").connect(timeout=15)
bands = {n: (a, b) for n, a, b in decoder.recipe.bands}
outlet = pylsl.StreamOutlet(pylsl.StreamInfo("Peer-VAD", "Prediction", 3, 0, "float32", "peer"))
late, made = [], []
def predict(data):
    values = differential_entropy(data, 1000.0, bands=bands, window_seconds=1.0, hop_seconds=1.0,
                                  definition="stft-hann")
    return decoder.probability(values, np.isfinite(values))[0]
predict(np.random.default_rng(0).standard_normal((64, 1000)))
print("ready", flush=True)
while stream.n_new_samples < 250:
    time.sleep(0.01)
end = time.monotonic() + float(sys.argv[1])
while time.monotonic() < end:
    if stream.n_new_samples < 250:
        time.sleep(0.001)
        continue
    data, stamps = stream.get_data()
    began = time.perf_counter()
    outlet.push_sample(predict(data).tolist(), stamps[-1])
    made.append(time.perf_counter() - began)
    late.append(pylsl.local_clock() - stamps[-1])
print(*(f"{1e3 * v:.6f}" for values in (late, made) for v in np.percentile(values, [50, 99])),
      len(late))
"""


def electrodes() -> tuple[str, ...]:
    """Return the names of 64 electrodes."""
    from physioemo.acquisition.participant_scalp import electrode_directions

    return tuple(electrode_directions("biosemi64")[0])


def write_decoder(folder: Path, preset: str) -> Path:
    """Write a decoder with random weights: time does not depend on what they say."""
    from physioemo.experiments.decoder import UNTRAINED, Decoder, Scaler
    from physioemo.features.artefact_gate import ArtefactGate
    from physioemo.features.entropy import EntropyRecipe
    from physioemo.models.catalogue import build_model

    names, dimensions = electrodes(), ("valence", "arousal", "dominance")
    recipe = EntropyRecipe.in_seconds(SFREQ, window_seconds=WINDOW_SECONDS, hop_seconds=HOP_SECONDS)
    shape = (len(names), len(recipe.bands))
    model = build_model(
        "intercortical", preset, seed=0, n_chans=shape[0], n_bands=shape[1], dimensions=dimensions
    )
    return Decoder(
        recipe=recipe,
        ch_names=names,
        dimensions=dimensions,
        scaler=Scaler(np.zeros(shape), np.ones(shape)),
        model=model,
        temperature=np.ones(3),
        prior=np.full(3, 0.5),
        metadata={UNTRAINED: True},
        gate=ArtefactGate(),
    ).save(folder)


def write_film(folder: Path, seconds: float) -> Path:
    """Write a film of 25 frames a second and a playlist that shows it often enough."""
    import av

    film = folder / "film.mp4"
    rng = np.random.default_rng(0)
    with av.open(str(film), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 640, 360, "yuv420p"
        for i in range(25 * 30):
            rgb = np.roll(rng.integers(0, 255, (36, 64, 3), np.uint8), i, 1).repeat(10, 0)
            frame = av.VideoFrame.from_ndarray(rgb.repeat(10, 1), format="rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    items = [
        f'[[item]]\nkind = "video"\nfile = "film.mp4"\ntrial = {i + 1}\n'
        for i in range(int(seconds // 30) + 2)
    ]
    (folder / "show.toml").write_text("".join(items), "utf-8")
    return folder / "show.toml"


def looking_at(page: subprocess.Popen[str], seconds: float, run: _Run) -> None:
    """Open the page in Chromium, if both are there."""
    assert page.stdout is not None
    address = next(w for line in page.stdout for w in line.split() if w.startswith("http"))
    if shutil.which("chromium"):
        run.start(
            ["chromium", "--headless=new", "--no-sandbox", f"--timeout={1e3 * seconds:.0f}",
             "--window-size=1600,900", f"--user-data-dir={run.folder / 'chromium'}", address]
        )  # fmt: skip


def run_loop(
    seconds: float, peers: Path | None, preset: str, with_page: bool
) -> list[dict[str, Any]]:
    """Run once; return a row for each decoder, and what the others used."""
    with tempfile.TemporaryDirectory(prefix="physioemo-loop-") as name:
        folder = Path(name)
        decoder, show = write_decoder(folder / "decoder", preset), write_film(folder, seconds)
        run = _Run(folder)
        try:
            return _measured(run, decoder, show, seconds, peers, with_page)
        finally:
            run.kill()


def _measured(
    run: _Run, decoder: Path, show: Path, seconds: float, peers: Path | None, with_page: bool
) -> list[dict[str, Any]]:
    physioemo = [sys.executable, "-u", "-m", "physioemo"]
    producer = run.start([sys.executable, "-c", PRODUCER, str(seconds), ",".join(electrodes())])
    _wait_line(producer)
    options = ["--decoder", str(decoder), "--find-seconds", "20", "--stop-when-idle", "3"]
    live = run.start([*physioemo, "live", *options, "--stream", "name='Bench-EEG'", "--json"])
    processes = {"physioemo live": live}
    peer = None
    if peers is not None and list(peers.rglob("mne_lsl/__init__.py")):
        packages = ":".join(p for p in sys.path if "site-packages" in p)
        run.environment = {**run.environment, "PYTHONPATH": f"{packages}:{Path.cwd()}"}
        peer = run.start(
            [str(peers / "bin" / "python"), "-c", PEER, f"{seconds - 1}", str(decoder)]
        )
        _wait_line(peer)
        processes["MNE-LSL StreamLSL loop"] = peer
    processes["physioemo play"] = run.start([*physioemo, "play", str(show), "--headless", "--json"])
    if with_page:
        page = run.start([*physioemo, "page", "--port", "0"])
        processes["physioemo page"] = page
        looking_at(page, seconds + 20, run)
    time.sleep(12.0)
    out = run.folder / "recording"
    streams = ["--stream", "name='Bench-EEG'", "--stream", "starts-with(name,'PhysioEmo-')"]
    length = ["--duration", f"{seconds + 6:g}"]
    recorder = run.start([*physioemo, "record", str(out), *streams, *length])
    processes["physioemo record"] = recorder
    _wait_for(lambda: list((out / "journal").glob("*.journal")), "physioemo record")
    watches = {k: Watch(p.pid) for k, p in processes.items()}
    assert producer.stdin is not None
    producer.stdin.write("go\n")
    producer.stdin.flush()
    time.sleep(seconds - 1)
    used = {k: w.stop() for k, w in watches.items()}
    summary = json.loads(live.communicate(timeout=60)[0])
    recorder.communicate(timeout=600)
    from physioemo.store import open_recording

    n = int(open_recording(out)["Bench-EEG"].sizes["time"])
    rows = [
        {
            "name": "physioemo live",
            "n": summary["n_predictions"] - summary["n_abstained"],
            "p50_ms": 1e3 * summary["latency_p50_seconds"],
            "p99_ms": 1e3 * summary["latency_p99_seconds"],
            "compute_p50_ms": 1e3 * summary["compute_p50_seconds"],
            "compute_p99_ms": 1e3 * summary["compute_p99_seconds"],
            **used["physioemo live"],
        }
    ]
    if peer is not None:
        words = peer.communicate(timeout=60)[0].split()
        names = ("p50_ms", "p99_ms", "compute_p50_ms", "compute_p99_ms")
        said = dict(zip(names, map(float, words[:4]), strict=True))
        name = "MNE-LSL StreamLSL loop"
        rows.append({"name": name, "n": int(words[4]), **said, **used[name]})
    others = [k for k in used if k not in {r["name"] for r in rows}]
    rows += [{"name": k, **used[k]} for k in others]
    rows[-1 if others else 0]["recorded"] = [n, round(seconds * SFREQ)]
    return rows


def compute_alone(preset: str) -> tuple[float, float]:
    """Return the median and the 99th percentile of one hop to its prediction, in ms."""
    import torch

    from physioemo.description import StreamDescription
    from physioemo.experiments.decoder import Decoder
    from physioemo.experiments.live_decoding import LiveDecoding

    torch.set_num_threads(1)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as folder:
        decoder = Decoder.load(write_decoder(Path(folder) / "decoder", preset))
    names = electrodes()
    described = StreamDescription("Bench-EEG", "EEG", SFREQ, names, ("uV",) * len(names))
    decoding = LiveDecoding(decoder, described)
    decoding.warm_up()
    noise = 10 * np.random.default_rng(0).standard_normal((250, len(names)))
    took = []
    for i in range(240):
        stamps = (i * 250 + np.arange(250)) / SFREQ
        began = time.perf_counter()
        made = decoding.push(noise, stamps)
        if made:
            took.append(1e3 * (time.perf_counter() - began))
        # Paced: what is computed back to back finds its data in the caches.
        time.sleep(HOP_SECONDS / 2)
    return float(np.percentile(took, 50)), float(np.percentile(took, 99))


def print_rows(rows: list[dict[str, Any]], seconds: float) -> None:
    """Print the table."""
    print(
        f"64 channels at 1000 Hz, {1 / HOP_SECONDS:g} predictions a second, {seconds:g} s; "
        f"{os.cpu_count()} cores\n"
    )
    print("| | predictions | newest sample to wire, ms: p50 | p99 | computing, ms: p50 | p99 "
          "| of one core | memory, MiB, start -> most |")  # fmt: skip
    print("|---|---|---|---|---|---|---|---|")
    for row in rows:
        times = [row.get(k) for k in ("p50_ms", "p99_ms", "compute_p50_ms", "compute_p99_ms")]
        shown = " | ".join("" if t is None else f"{t:.1f}" for t in times)
        memory = f"{row['rss_start_mib']:.0f} -> {row['rss_most_mib']:.0f}"
        print(
            f"| {row['name']} | {row.get('n', '')} | {shown} | {row['cpu_percent']:.1f} % | "
            f"{memory} |"
        )
    for row in rows:
        if "recorded" in row:
            print("\nRecorded {} of {} samples of the EEG.".format(*row["recorded"]))


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--preset", default="tiny", help="of the inter-cortical transformer")
    parser.add_argument("--peers", type=Path, help="virtual environment with mne-lsl")
    parser.add_argument("--no-page", action="store_true")
    parser.add_argument("--compute", action="store_true", help="only the computing, pinned")
    given = parser.parse_args()
    if given.compute:
        p50, p99 = compute_alone(given.preset)
        print(f"hop to prediction, one pinned thread, paced: p50 {p50:.2f} ms, p99 {p99:.2f} ms")
        return
    seconds = 60 * given.minutes
    rows = run_loop(seconds, given.peers, given.preset, not given.no_page)
    with contextlib.suppress(BrokenPipeError):
        print_rows(rows, seconds)
    recorded = next(r["recorded"] for r in rows if "recorded" in r)
    sys.exit(recorded[0] != recorded[1])


if __name__ == "__main__":
    main()
