"""Two minutes of a full laboratory: nothing is lost, and memory does not grow."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

BENCH = Path(__file__).parents[2] / "benchmarks" / "bench_soak.py"


@pytest.mark.lsl
@pytest.mark.slow
def test_two_minutes_lose_nothing_and_need_no_more_memory():
    command = [sys.executable, str(BENCH), "--minutes", "2", "--sfreq", "1000", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads(done.stdout)
    print(f"{row['cpu_percent']:.1f} % of one core")
    assert row["received"] == row["expected"]
    assert row["expected"]["EEG"] == 120_000 and len(row["expected"]) == 5
    assert row["rss_most_mib"] - row["rss_least_mib"] < 20
