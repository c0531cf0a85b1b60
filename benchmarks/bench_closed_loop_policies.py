"""Does steering bring arousal into the target zone more than random and sham? Simulated.

``python benchmarks/bench_closed_loop_policies.py --sessions 100 --repeats 20 --null-repeats 200``.
Participants and decoder are programs; plan, policies and statistics are those of real sessions.
"""

import argparse
import time
from collections.abc import Sequence

import numpy as np

from physioemo.experiments.session.simulated_comparison import (
    SimulatedComparison,
    compare_policies,
)

EFFECTS = (1.0, 0.5, 0.25, 0.0)
ACCURACIES = (0.9, 0.75, 0.65, 0.5)
CONTROLS = ("random", "sham")


def tables(n_sessions: int) -> None:
    """Print the comparison at several effects and accuracies."""
    for effect in EFFECTS:
        print(compare_policies(effect=effect, n_sessions=n_sessions), end="\n\n")
    for accuracy in ACCURACIES:
        print(compare_policies(accuracy=accuracy, n_sessions=n_sessions), end="\n\n")


def repeated(title: str, made: Sequence[SimulatedComparison]) -> None:
    """Print how the p-values of comparisons with fresh seeds are spread."""
    for control in CONTROLS:
        p = np.array([found.p[control] for found in made])
        print(
            f"{title}, steer against {control}: {len(p)} fresh seeds, p <= 0.01 in "
            f"{(p <= 0.01).sum()}, p <= 0.05 in {(p <= 0.05).sum()}, largest {p.max():.4f}, "
            f"median {np.median(p):.4f}, smallest {p.min():.4f}"
        )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100)
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--null-repeats", type=int, default=200)
    arguments = parser.parse_args()
    tables(arguments.sessions)
    begin, n_trials = time.perf_counter(), 0
    for effect, repeats, n in (
        (1.0, arguments.repeats, arguments.sessions),
        (0.0, arguments.null_repeats, max(2, arguments.sessions // 5)),
    ):
        made = [
            compare_policies(effect=effect, n_sessions=n, seed=10_000 + k) for k in range(repeats)
        ]
        repeated(f"effect {effect:g}, {n} sessions per policy", made)
        n_trials += sum(found.n_trials for found in made)
    seconds = time.perf_counter() - begin
    print(f"{n_trials} trials in {seconds:.1f} s: {n_trials / seconds:.0f} trials per second")


if __name__ == "__main__":
    main()
