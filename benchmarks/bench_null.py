"""Does any model score above chance where nothing can be found? Simulated noise, random ratings.

``python benchmarks/bench_null.py --seeds 20``: 8 subjects x 40 trials of 1/f noise with slow drift
(:mod:`physioemo.experiments.null_data`), each trial rated high or low by a coin; trials that are
said rightly over all seeds, beside the binomial band around chance and Student's t interval over
seeds: what is said of the trials of one seed hangs together, that of two seeds does not. Hours for
all models and protocols; ``--models``, ``--protocols`` and ``--trial-seconds`` choose. ``--rows
FILE`` keeps what is finished, a line for each seed, protocol and model: a run that was stopped goes
on from there, several may write to one file, and ``--seeds 0`` prints its table.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom, t

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
    "leave-stimulus-out": {"n_folds": 5},
    "leave-one-trial-out": {},
}
"""Every honest protocol for one session, and its options here."""

CONDITIONS = ("subjects", "trials", "trial_seconds", "epochs")
"""Rows of one file were made alike in these."""

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
    parser.add_argument("--rows", type=Path, help="keep what is finished in this file")
    args = parser.parse_args()
    chosen = models(args.models, args.epochs)
    began = time.monotonic()
    rows = kept(args)
    for seed in range(args.first_seed, args.first_seed + args.seeds):
        with tempfile.TemporaryDirectory() as made:
            path = None
            for protocol in args.protocols:
                done = {r["model"] for r in rows if (r["seed"], r["protocol"]) == (seed, protocol)}
                left = [m for m in chosen if m.name not in done]
                if not left:
                    continue
                path = path or store(Path(made), seed, args)
                for row in found(path, protocol, left, seed):
                    rows.append({**row, **{k: getattr(args, k) for k in CONDITIONS}})
                    if args.rows:
                        with args.rows.open("a") as file:
                            file.write(json.dumps(rows[-1]) + "\n")
        told(rows, time.monotonic() - began)
    if args.seeds == 0:
        told(rows, 0.0)


def kept(args: argparse.Namespace) -> list[dict[str, Any]]:
    """Return the rows that an earlier run, or one beside this, left in the file."""
    if args.rows is None or not args.rows.exists():
        return []
    rows: list[dict[str, Any]] = [json.loads(line) for line in args.rows.read_text().splitlines()]
    for row in rows:
        for key in CONDITIONS:
            if row[key] != getattr(args, key):
                raise SystemExit(
                    f"found rows made with {key} = {row[key]:g} (in {args.rows}), expected "
                    f"{getattr(args, key):g}; name another file"
                )
    return rows


def found(
    path: Path, protocol: str, chosen: list[ModelChoice], seed: int
) -> Iterator[dict[str, Any]]:
    """Run the protocol and yield how many trials each model said rightly."""
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
    result = run_study(declared, path.parent / protocol)["dimensions"]["valence"]
    for model in chosen:
        subjects = result["models"][model.label]["subjects"].values()
        confusion = np.sum([s["trial"]["confusion"] for s in subjects], axis=0)
        counts = {"right": int(np.trace(confusion)), "of": int(confusion.sum())}
        yield {"seed": seed, "protocol": protocol, "model": model.name, **counts}


def told(rows: list[dict[str, Any]], seconds: float) -> None:
    """Print what there is so far."""
    print(f"\n{seconds:.0f} s\n")
    print("| protocol | model | seeds | right | of | share | 95 % band | | 95 % over seeds |")
    print("|---|---|---|---|---|---|---|---|---|")
    for protocol, model in sorted({(r["protocol"], r["model"]) for r in rows}):
        own = [r for r in rows if (r["protocol"], r["model"]) == (protocol, model)]
        right, n = sum(r["right"] for r in own), sum(r["of"] for r in own)
        low, high = binom.ppf([0.025, 0.975], n, 0.5) / n
        inside = "inside" if low <= right / n <= high else "OUTSIDE"
        shares = np.array([r["right"] / r["of"] for r in own])
        far = t.ppf(0.975, len(own) - 1) * shares.std(ddof=1) / len(own) ** 0.5 if own[1:] else 0.5
        print(
            f"| {protocol} | {model} | {len({r['seed'] for r in own})} | {right} | {n} "
            f"| {right / n:.4f} | {low:.4f}-{high:.4f} | {inside} "
            f"| {shares.mean() - far:.4f}-{shares.mean() + far:.4f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
