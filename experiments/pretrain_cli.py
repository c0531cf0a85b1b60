"""The command ``pretrain``: encoders learn from windows that nobody rated."""

from pathlib import Path
from typing import Any

import click

from physioemo.core_cli import in_shell
from physioemo.progress import progress

__all__ = ["pretrain"]


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="Folder of the model.")
@click.option("--config", type=click.Path(path_type=Path), help="A TOML file; options win over it.")
@click.option("--families", help="Features of a store, such as de,hrv; with --stimuli also audio.")
@click.option(
    "--stimuli",
    multiple=True,
    type=click.Path(path_type=Path),
    help="For recordings: files that were shown, folders or tables of them; repeatable.",
)
@click.option("--allow-missing-stimuli", is_flag=True, help="Mask stimuli that have no file.")
@click.option("--preset", help="Size of the encoders: tiny, study or published.  [default: tiny]")
@click.option("--epochs", type=click.IntRange(min=1), help="How many.  [default: 100]")
@click.option("--batch-size", type=click.IntRange(min=2), help="Windows.  [default: 256]")
@click.option(
    "--window-seconds", type=float, help="Of recordings: length of a window.  [default: 1.0]"
)
@click.option(
    "--hop-seconds", type=float, help="Of recordings: step between windows.  [default: 0.5]"
)
@click.option("--seed", type=click.IntRange(min=0), help="Of all chance.  [default: 0]")
@click.option("--device", default="cpu", show_default=True, help="As torch calls it.")
@click.option("--overwrite", is_flag=True, help="Replace another pre-training.")
def pretrain(
    paths: tuple[Path, ...],
    out: Path,
    config: Path | None,
    families: str | None,
    stimuli: tuple[Path, ...],
    allow_missing_stimuli: bool,
    preset: str | None,
    epochs: int | None,
    batch_size: int | None,
    window_seconds: float | None,
    hop_seconds: float | None,
    seed: int | None,
    device: str,
    overwrite: bool,
) -> None:
    """Pre-train encoders on feature stores or recordings at PATHS; no rating is looked at.

    What was interrupted goes on where it stopped when the same command is given again.
    """
    from dataclasses import replace

    from physioemo.experiments.pretrain import PretrainPlan
    from physioemo.experiments.pretrain import pretrain as run
    from physioemo.experiments.pretrain_config import DataChoice, read_data, read_plan

    plan, choice = read_plan(config) if config else (PretrainPlan(), DataChoice())
    given = _given(n_epochs=epochs, batch_size=batch_size, seed=seed)
    plan = replace(plan, training=replace(plan.training, **given), **_given(preset=preset))
    listed = tuple(f.strip() for f in families.split(",")) if families else None
    choice = replace(
        choice,
        **_given(
            paths=paths or None,
            families=listed,
            stimuli=stimuli or None,
            allow_missing_stimuli=allow_missing_stimuli or None,
            window_seconds=window_seconds,
            hop_seconds=hop_seconds,
        ),
    )
    data = read_data(choice, cache=Path(click.get_app_dir("physioemo")) / "stimuli")
    with progress("pre-training", float(plan.training.n_epochs)) as update:
        result = run(
            data,
            plan,
            out,
            overwrite=overwrite,
            device=device,
            on_epoch=lambda row: update(row["epoch"] + 1),
        )
    print_pretraining(result)
    click.echo(f"The model is in {out}; its encoders are trained, its fusion is not.")
    click.echo(
        f"Next: physioemo train RECORDINGS --model fused --pretrained {in_shell(out)} --out decoder"
    )


def print_pretraining(result: dict[str, Any]) -> None:
    """Print what was learned from, and what was measured on what was held out."""
    last, held = result["history"][-1], result["held_out"]
    stamp = "  SIMULATED or SYNTHETIC" if result["simulated"] else ""
    click.echo(
        f"{result['n_windows']} windows of {', '.join(result['families'])}, "
        f"{result['n_held_out']} held out by stimulus, trial or minute{stamp}"
    )
    if held["guess_loss"] is not None:
        click.echo(
            f"guessing what was hidden: squared error {last['guess_loss']:.3f}, held out "
            f"{held['guess_loss']:.3f} (1 is a guess of the mean)"
        )
    for pair, found in held["retrieval"].items():
        there, back = found["found"]
        low, high = found["chance_interval_95"]
        click.echo(
            f"{pair}: {there:.1%} of {found['n']} held-out windows found among all, back "
            f"{back:.1%} (by chance {low:.1%} to {high:.1%})"
        )
    if len(result["families"]) > 1 and result["n_without_stimulus"]:
        click.echo(
            f"{result['n_without_stimulus']} windows have no stimulus: they are kept apart by "
            "trial alone"
        )


def _given(**options: Any) -> dict[str, Any]:
    return {k: v for k, v in options.items() if v is not None}
