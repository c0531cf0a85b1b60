"""Commands about data sets: which can be read, and synthetic copies of their files."""

from pathlib import Path

import click

from physioemo.core_cli import in_shell

__all__ = ["datasets"]


@click.group()
def datasets() -> None:
    """Say which data sets can be read; write synthetic copies of their files."""


@datasets.command("list")
def list_rows() -> None:
    """Print each data set, its licence and how to obtain it."""
    from physioemo.datasets.catalogue import CATALOGUE

    for row in CATALOGUE.values():
        expected = "; ".join(f"{pattern} ({what})" for pattern, what in row.files.items())
        click.echo(f"{row.name}: {row.title}")
        click.echo(f"  licence: {row.licence}\n  obtain:  {row.obtain}\n  files:   {expected}")


@datasets.command(short_help="Write synthetic files in the format of a data set.")
@click.argument("name")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--subjects", default=2, show_default=True, type=click.IntRange(min=1), help="How many people."
)
@click.option("--seed", default=0, show_default=True, help="Same seed, same files.")
@click.option("--effect", default=1.0, show_default=True, help="Size of the planted effect.")
@click.option("--full-size", is_flag=True, help="As large as the published files.")
def fake(name: str, folder: Path, subjects: int, seed: int, effect: float, full_size: bool) -> None:
    """Write synthetic files in the format of the data set NAME into FOLDER.

    They hold noise with a planted effect of the ratings: nobody was recorded. A note beside them
    says so to every command that reads them. By default trials last only a few seconds.
    """
    from physioemo.datasets.catalogue import dataset
    from physioemo.datasets.synthetic_note import write_synthetic_note
    from physioemo.errors import RecordingExistsError

    row = dataset(name)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RecordingExistsError(
            f"found something at {folder}, expected nothing there; choose another folder"
        )
    inside = folder / row.folder
    size = {} if full_size else row.small
    files = row.write_fixture(inside, subjects=subjects, seed=seed, effect=effect, **size)
    write_synthetic_note(inside, {} if full_size else row.small_read)
    click.echo(f"Wrote {len(files)} SYNTHETIC files in the format of {row.title} into {inside}.")
    click.echo(f"Next: physioemo inspect {in_shell(folder)}")
