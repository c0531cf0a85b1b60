"""The command ``study``: a declared study from its TOML file to a folder of results."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from physioemo.core_cli import in_shell
from physioemo.progress import progress

__all__ = ["compare", "print_results", "study"]


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--data", type=click.Path(path_type=Path), help="The data set, if it begins with one."
)
@click.option("--out", type=click.Path(path_type=Path), help="Folder of the results.")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and how long it takes.")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="Processes.")
@click.option("--scheduler", help="A running dask scheduler, such as tcp://host:8786.")
@click.option("--allow-leakage", is_flag=True, help="Allow a protocol that leaks; it is stamped.")
@click.option("--keep-models", is_flag=True, help="Keep every trained model in the folder.")
@click.option("--overwrite", is_flag=True, help="Replace the results of another study.")
def study(
    file: Path,
    data: Path | None,
    out: Path | None,
    dry_run: bool,
    jobs: int,
    scheduler: str | None,
    allow_leakage: bool,
    keep_models: bool,
    overwrite: bool,
) -> None:
    """Run the study that FILE declares, or one that comes with PhysioEmo, by its name.

    A study that was interrupted goes on where it stopped when the same command is given again.
    """
    from dataclasses import replace

    from physioemo.errors import CallError
    from physioemo.experiments.study_config import read_study
    from physioemo.experiments.study_models import MODELS
    from physioemo.experiments.study_prepare import prepare_store
    from physioemo.experiments.study_report import write_study_report
    from physioemo.experiments.study_run import is_finished, run_study
    from physioemo.experiments.study_stimuli import may_leak

    declared = read_study(file, data=data, out=out)
    if declared.leaky and not allow_leakage:
        raise CallError(
            f"found the protocol {declared.protocol!r}, which leaks, expected one that does "
            "not; to show what leakage does, pass --allow-leakage: every result is stamped"
        )
    if declared.leaky or may_leak(declared):
        options = {k: v for k, v in declared.protocol_options.items() if k != "allow_leakage"}
        options |= {"allow_leakage": True} if allow_leakage else {}
        declared = replace(declared, protocol_options=options)
    if keep_models:
        declared = replace(declared, keep_models=True)
    if out is None and not dry_run:
        raise CallError("found no --out, expected the folder of the results")
    if declared.preparation:
        with progress(f"features of {declared.preparation.dataset}", 1.0) as update:
            prepare_store(
                declared,
                jobs=jobs,
                scheduler=scheduler,
                cache=Path(click.get_app_dir("physioemo")) / "stimuli",
                on_progress=lambda done, total: update(done / max(total, 1.0)),
            )
    if dry_run or out is None:
        _print_plan(declared, jobs)
        return
    was_finished = is_finished(out) and not overwrite
    try:
        with progress(f"study {declared.name}", 1.0) as update:
            results = run_study(
                declared,
                out,
                jobs=jobs,
                scheduler=scheduler,
                overwrite=overwrite,
                on_progress=_resumed(update),
            )
    except KeyboardInterrupt:
        click.echo("What is done is kept; the same command goes on from here.", err=True)
        raise
    if was_finished and not declared.keep_models:
        click.echo("Finished before; --overwrite computes it anew.")
    print_results(results)
    page = write_study_report(results, out)
    if declared.keep_models:
        click.echo(f"The models are in {out / MODELS}.")
    click.echo(f"The report is {page}.\nNext: physioemo audit {in_shell(out)}")


def _resumed(update: Callable[..., None]) -> Callable[[int, int], None]:
    """Return what tells progress, without counting as speed what was done in an earlier run."""
    before: list[int] = []

    def told(done: int, total: int) -> None:
        before.append(done)
        update(done / total, before[0] / total)

    return told


def _print_plan(declared: Any, jobs: int) -> None:
    from physioemo.experiments.estimators import find_estimator
    from physioemo.experiments.report.parts import plural
    from physioemo.experiments.statistics import FEWEST_PERMUTATIONS
    from physioemo.experiments.study_fused_options import offline_models
    from physioemo.experiments.study_inputs import protocol_line
    from physioemo.experiments.study_plan import plan_study

    plan = plan_study(declared, on_model=lambda m: click.echo(f"Timing {m} ...", err=True))
    click.echo(f"{declared.name}: {protocol_line(declared)}")
    click.echo(
        f"{plural(plan.n_windows, 'window')} of {plural(plan.n_trials, 'trial')} of "
        f"{plural(plan.n_subjects, 'subject')}, {plural(plan.n_folds, 'fold')}, "
        f"{plural(len(declared.target.columns), 'dimension')}."
    )
    if plan.electrodes:
        click.echo(f"On the {plural(len(plan.electrodes), 'electrode')} that all stores have.")
    for label, why in offline_models(declared).items():
        click.echo(f"Offline only: {label}, {why}.")
    for label, n in plan.n_fits.items():
        each = plan.seconds[label]
        text = f"{each:.2f} s" if each < 10 else _duration_text(each)
        click.echo(f"  {label:<28} {n:>7} fits, about {text} each")
        if label in plan.n_more_fits:
            click.echo(f"  {'':<28} {plan.n_more_fits[label]:>7} more for maps or families")
    few = {k: n for k, n in plan.n_permutations.items() if 0 < n < FEWEST_PERMUTATIONS}
    if few:
        names = ", ".join(f"{k} ({n})" for k, n in few.items())
        click.echo(
            f"Permutations too few for a p of 0.05, which takes {FEWEST_PERMUTATIONS}: {names}."
        )
    networks = any(find_estimator(m.name).uses_torch for m in declared.models)
    why = ": networks stop early, and those of many folds are trained together" if networks else ""
    click.echo(
        f"About {_duration_text(plan.seconds_in(jobs))} in "
        f"{jobs} process{'es' if jobs > 1 else ''}, with all permuted labels"
        f"{', maps and families' if plan.n_more_fits else ''}, an upper estimate{why}."
    )


def _duration_text(seconds: float) -> str:
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours"


def print_results(results: dict[str, Any]) -> None:
    """Print each model beside its baselines."""
    from physioemo.experiments.study_trust_blocks import trust_line

    stamp = "  LEAKY" if results["leaky"] else ""
    stamp += "  SIMULATED or SYNTHETIC" if results["simulated"] else ""
    click.echo(f"{results['study']['name']}: {results['protocol']}{stamp}")
    for leak in results.get("leaks", ()):
        click.echo(f"LEAKY: {leak}.")
    click.echo(
        f"{results['n_trials']} trials of {results['n_subjects']} subjects; "
        f"{results['headline'].replace('_', ' ')} of trials, mean over subjects "
        "[95 % interval], of windows, and with permuted labels:"
    )
    for dimension, content in results["dimensions"].items():
        click.echo(f"{dimension}")
        for label, scores in content["models"].items():
            click.echo(f"  {label:<28} {_line(scores, results['headline'])}")
            if "trust" in scores:
                click.echo(f"  {'':<28} {trust_line(scores['trust'])}")
    for label, why in results.get("offline", {}).items():
        click.echo(f"Offline only: {label}, {why}.")


def _line(scores: dict[str, Any], name: str) -> str:
    trial, window = scores["trial"].get(name), scores["window"].get(name)
    if trial is None:
        return "not defined"
    text = f"{trial['mean']:.3f} ± {trial['sd']:.3f}"
    text += f" [{trial['low']:.3f}, {trial['high']:.3f}]   windows {window['mean']:.3f}"
    if trial["n_missing"]:
        text += f" ({trial['n']} subjects; of {trial['n_missing']} it is not defined)"
    test = scores["permutation_tests"].get("trial")
    if test is None:
        return text
    permuted = [p["trial"] for p in scores["permuted"]]
    return (
        f"{text}   permuted {sum(permuted) / len(permuted):.3f}, p {test['p']:.3g} of "
        f"{test['n']} permutations"
    )


@click.command()
@click.argument("folders", nargs=-1, required=True, type=click.Path(path_type=Path))
def compare(folders: tuple[Path, ...]) -> None:
    """Put the results of several studies side by side, leaky ones stamped."""
    from physioemo.experiments.study_run import read_results

    _print_side_by_side([read_results(folder) for folder in folders])


def _print_side_by_side(studies: list[dict[str, Any]]) -> None:
    """Print one row per dimension and model, and one column per study."""
    from rich.console import Console
    from rich.table import Table

    table = Table(pad_edge=False)
    table.add_column("score of trials / windows")
    for results in studies:
        stamps = [results["headline"].replace("_", " "), f"{results['n_subjects']} subjects"]
        stamps += ["LEAKY"] if results["leaky"] else []
        stamps += ["SIMULATED or SYNTHETIC"] if results["simulated"] else []
        table.add_column("\n".join([results["study"]["name"], *stamps]), overflow="fold")
    rows = {
        (dimension, label): None
        for results in studies
        for dimension, content in results["dimensions"].items()
        for label in content["models"]
    }
    for dimension, label in rows:
        table.add_row(
            f"{dimension}: {label}", *(_cell(results, dimension, label) for results in studies)
        )
    Console(highlight=False).print(table)


def _cell(results: dict[str, Any], dimension: str, label: str) -> str:
    scores = results["dimensions"].get(dimension, {}).get("models", {}).get(label)
    name = results["headline"]
    if scores is None or name not in scores["trial"]:
        return "-"
    trial, window = scores["trial"][name], scores["window"][name]
    text = f"{trial['mean']:.3f} ± {trial['sd']:.3f} / {window['mean']:.3f}"
    text += " offline only" if label in results.get("offline", {}) else ""
    permuted = [p["trial"] for p in scores["permuted"]]
    return text + (f" (permuted {sum(permuted) / len(permuted):.3f})" if permuted else "")
