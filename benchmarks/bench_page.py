"""The operator's page with 64 channels: frames per second, and what browser and server cost.

A simulated participant (EEG of 64 channels, ECG, skin, breath, eyes, markers) is published by one
process, the page is served by a second, and a headless Chromium draws it in software.
"""

import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

SECONDS = 30
SETTLE_SECONDS = 12
SIZES = ((1920, 1080), (1366, 768))
LEAST_FPS, MOST_BROWSER_PERCENT, MOST_SERVER_PERCENT = 18.0, 20.0, 5.0


def start(words: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    """Start one command of PhysioEmo."""
    return subprocess.Popen(
        [sys.executable, "-m", "physioemo", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def cpu_seconds(processes: list[psutil.Process]) -> float:
    """Return the processor time that processes have used."""
    total = 0.0
    for process in processes:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def measure(url: str, server: psutil.Process, size: tuple[int, int]) -> tuple[float, ...]:
    """Return frames per second, browser and server in percent of one core, and lost columns."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        page.goto(url)
        time.sleep(SETTLE_SECONDS)
        children = psutil.Process().children(recursive=True)
        of_browser = [p for p in children if "chrom" in p.name()]
        state = "[page.frames, Math.max(...[...page.traces.streams.values()].map(r => r.head))]"
        frames, head = page.evaluate(state)
        used = cpu_seconds(of_browser), cpu_seconds([server])
        began = time.monotonic()
        time.sleep(SECONDS)
        seconds = time.monotonic() - began
        more = cpu_seconds(of_browser), cpu_seconds([server])
        frames_after, head_after = page.evaluate(state)
        browser.close()
    browser_percent, server_percent = (
        100 * (after - before) / seconds for before, after in zip(used, more, strict=True)
    )
    columns = (head_after - head) / seconds
    return (frames_after - frames) / seconds, browser_percent, server_percent, columns


def main() -> int:
    """Print the table; return 1 if a budget is not kept."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "lsl_api.cfg"
        config.write_text(
            f"[lab]\nSessionID = bench-{secrets.token_hex(4)}\n"
            "[multicast]\nResolveScope = link\n[log]\nlevel = -3\n"
        )
        environment = {**os.environ, "LSLAPICFG": str(config)}
        sfreq = sys.argv[1] if len(sys.argv) > 1 else "1000"
        words = ["simulate", "--montage", "biosemi64", "--sfreq", sfreq]
        participant = start(words, environment)
        page = start(["page", "--port", "0"], environment)
        try:
            assert page.stdout is not None
            found = re.search(r"http://\S+", page.stdout.readline())
            assert found, "the page did not start"
            server = psutil.Process(page.pid)
            time.sleep(8)
            print(f"64 channels at {sfreq} Hz and five other streams, {SECONDS} s each")
            print(
                f"{'window':<12}{'frames/s':>10}{'browser %':>11}{'server %':>10}{'columns/s':>11}"
            )
            kept = True
            for size in SIZES:
                fps, browser, cost, columns = measure(found.group(), server, size)
                name = f"{size[0]}x{size[1]}"
                print(f"{name:<12}{fps:>10.1f}{browser:>11.1f}{cost:>10.1f}{columns:>11.1f}")
                kept &= fps >= LEAST_FPS
                kept &= browser < MOST_BROWSER_PERCENT and cost < MOST_SERVER_PERCENT
            print(f"load of this computer: {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
            print("every budget is kept" if kept else "A BUDGET IS NOT KEPT")
            return 0 if kept else 1
        finally:
            for process in (page, participant):
                process.kill()
                process.wait()


if __name__ == "__main__":
    sys.exit(main())
