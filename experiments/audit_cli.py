"""The command ``audit``: whether a split gives good scores for nothing, and how good."""

import json
from pathlib import Path
from typing import Any

import click

__all__ = ["audit"]


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option(
    "--split",
    type=click.Path(path_type=Path),
    help="Somebody's split of this feature store: CSV (window, fold, part) or JSON.",
)
@click.option("--protocol", help="What the split claims to be; without a split, what to audit.")
@click.option(
    "--permutations",
    type=click.IntRange(min=2),
    default=200,
    show_default=True,
    help="Runs with permuted labels.",
)
@click.option("--seed", default=0, show_default=True, help="Of folds and permutations.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def audit(
    path: Path,
    split: Path | None,
    protocol: str | None,
    permutations: int,
    seed: int,
    as_json: bool,
) -> None:
    """Say whether a study, a split or a protocol leaks, and by how much it inflates scores.

    PATH is a feature store, a study's folder, or a split (JSON) that names its store. A feature
    store alone is audited under --protocol, trial-grouped-k-fold by default, beside what the same
    windows would score if they were shuffled.

    The exit code is 1 if it leaks.
    """
    from physioemo.experiments.audit_path import audit_path

    report, shuffled = audit_path(
        path, split, protocol=protocol, n_permutations=permutations, seed=seed
    )
    if as_json:
        content = report.to_dict()
        if shuffled is not None:
            content["if_windows_were_shuffled"] = shuffled.to_dict()
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        _show(report, shuffled)
    if report.leaky:
        raise click.exceptions.Exit(1)


def _show(report: Any, shuffled: Any) -> None:
    click.echo(report.verdict())
    declared = f", {report.protocol}" if report.protocol else ""
    click.echo(f"\n{report.n_windows} windows in {report.n_folds} folds{declared}.")
    click.echo(
        f"A nearest neighbour names the trial of {100 * report.named_trial:.1f} % of shuffled "
        f"windows ({100 * report.named_trial_chance:.1f} % by chance), and of "
        f"{100 * report.named_trial_here:.1f} % on these folds."
    )
    if report.targets:
        _show_targets(report.targets)
    for note in report.notes:
        click.echo(f"Note: {note}")
    if shuffled is not None and shuffled.targets:
        click.echo(
            f"Were the windows shuffled, permuted labels would score "
            f"{100 * max(t.permuted.accuracy for t in shuffled.targets):.1f} %: "
            f"{shuffled.inflation_points:.1f} points for nothing."
        )


def _show_targets(targets: Any) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False, title="Accuracy in %", title_justify="left")
    table.add_column("target")
    columns = ("trials", "nearest neighbour", "labels permuted", "expected", "majority", "clock")
    for column in columns:
        table.add_column(column, justify="right")
    for target in targets:
        run, clock = target.permuted, target.nearest_in_time
        shown = (target.nearest, run.accuracy, run.chance, target.majority)
        table.add_row(
            target.name,
            str(target.n_trials),
            *(f"{100 * value:.1f}" for value in shown),
            "" if clock is None else f"{100 * clock:.1f}",
        )
    Console(highlight=False).print(table)
    if any(target.nearest_in_time is not None for target in targets):
        click.echo("clock: the class of the training trial nearest in time, without any signal.")
