"""Does any model score above chance where nothing can be found? Simulated noise, random ratings.

``python benchmarks/bench_null.py --seeds 20``: 8 subjects x 40 trials of 1/f noise with slow drift
(:mod:`physioemo.experiments.null_data`), each trial rated high or low by a coin; trials that are
said rightly over all seeds, beside the binomial band around chance. Hours for all models and
protocols; ``--models``, ``--protocols`` and ``--trial-seconds`` choose.
"""

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.stats import binom

from physioemo.experiments.estimators import ESTIMATORS
from physioemo.experiments.null_data import null_recordings, study_data
from physioemo.experiments.study_config import ModelChoice, Study
from physioemo.experiments.study_run import run_study
from physioemo.experiments.study_store import write_study_data
from physioemo.experiments.targets import Target
from physioemo.features.preprocess_recipe import PreprocessRecipe

PROTOCOLS = {
    "trial-grouped-k-fold": {"n_folds": 5},
    "leave-one-subject-out": {},
    "chronological": {"n_blocks": 2},
    "leave-n-subjects-out": {},
    "leave-stimulus-out": {},
    "leave-one-trial-out": {},
}
"""Every honest protocol for one session, and its options here."""

FAMILIES = ("de", "connectivity", "raw")


def models(names: list[str], n_epochs: int) -> list[ModelChoice]:
    """Return the chosen classifiers, networks in their small size."""
    usable = {n: r for n, r in ESTIMATORS.items() if not (r.continuous or r.needs_weights)}
    unknown = sorted(set(names) - set(usable))
    if unknown:
        raise SystemExit(f"found the models {unknown}, expected some of {sorted(usable)}")
    return [
        ModelChoice(n, preset="small", options={"n_epochs": n_epochs} if r.uses_torch else {})
        for n, r in usable.items()
        if n in names or (not names and n != "ordinal-logistic")
    ]


def store(folder: Path, seed: int, args: argparse.Namespace) -> Path:
    """Write the features of a made-up data set whose ratings are coins."""
    recordings = null_recordings(
        args.subjects, args.trials, seed=seed, trial_seconds=args.trial_seconds
    )
    data = study_data(recordings, PreprocessRecipe(definition="window-filter", features=FAMILIES))
    rng = np.random.default_rng([seed, 1])
    _, inverse = np.unique(data.groups.trial_id.astype(str), return_inverse=True)
    # Where classes are balanced exactly, a trial left out makes its own class the rarer one.
    coin = rng.integers(0, 2, inverse.max() + 1)[inverse]
    return write_study_data(
        replace(data, ratings={"valence": np.where(coin, 7.0, 3.0)}), folder / "null.zarr"
    )


def main() -> None:
    """Print a row per protocol and model as they are finished."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--subjects", type=int, default=8)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--trial-seconds", type=float, default=4.0)
    parser.add_argument("--epochs", type=int, default=8, help="of the networks")
    parser.add_argument("--models", nargs="*", default=[], help="all that need no weights")
    parser.add_argument("--protocols", nargs="*", default=["trial-grouped-k-fold"])
    args = parser.parse_args()
    chosen = models(args.models, args.epochs)
    total = {(p, m.name): np.zeros(2, int) for p in args.protocols for m in chosen}
    began = time.monotonic()
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        with tempfile.TemporaryDirectory() as made:
            path = store(Path(made), seed, args)
            for protocol in args.protocols:
                declared = Study(
                    name="null",
                    stores=(path,),
                    target=Target("binary", ("valence",), threshold="midpoint"),
                    models=tuple(chosen),
                    protocol=protocol,
                    protocol_options=PROTOCOLS[protocol],
                    n_permutations=0,
                    seed=seed,
                )
                found = run_study(declared, Path(made) / protocol)["dimensions"]["valence"]
                for model in chosen:
                    subjects = found["models"][model.label]["subjects"].values()
                    confusion = np.sum([s["trial"]["confusion"] for s in subjects], axis=0)
                    total[protocol, model.name] += np.trace(confusion), confusion.sum()
        told(total, seed - args.first_seed + 1, time.monotonic() - began)


def told(total: dict[tuple[str, str], np.ndarray], n_seeds: int, seconds: float) -> None:
    """Print what there is so far."""
    print(f"\n{n_seeds} seeds, {seconds:.0f} s\n")
    print("| protocol | model | right | of | share | 95 % band | |\n|---|---|---|---|---|---|---|")
    for (protocol, model), (right, n) in total.items():
        low, high = binom.ppf([0.025, 0.975], n, 0.5) / n
        inside = "inside" if low <= right / n <= high else "OUTSIDE"
        print(
            f"| {protocol} | {model} | {right} | {n} | {right / n:.4f} | {low:.4f}-{high:.4f} "
            f"| {inside} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
