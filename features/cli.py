"""The command ``preprocess``: recordings and data sets into a feature store."""

from pathlib import Path
from typing import Any

import click

from physioemo.core_cli import in_shell, override_options
from physioemo.overrides import Overrides
from physioemo.progress import progress

__all__ = ["preprocess"]

_RECORDING = "recording"


@click.command()
@click.argument("dataset")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The feature store.")
@click.option(
    "--features",
    default="de",
    show_default=True,
    help="Families, comma separated, or 'all' that the first recording has a stream for, but raw.",
)
@click.option(
    "--definition", default="gaussian-filter", show_default=True, help="Which differential entropy."
)
@click.option("--window-seconds", default=1.0, show_default=True, help="Length of a window.")
@click.option("--hop-seconds", type=float, help="Step between windows.  [default: their length]")
@click.option("--bands", help="Such as theta=4-8,alpha=8-13, in Hz.  [default: theta to gamma]")
@click.option(
    "--reference", default="none", show_default=True, help="Of the EEG: none, average or a channel."
)
@click.option(
    "--highpass-hz", default=0.0, show_default=True, help="Causal high-pass of the EEG; 0 for none."
)
@click.option(
    "--lowpass-hz", default=0.0, show_default=True, help="Causal low-pass of the EEG; 0 for none."
)
@click.option(
    "--notch-hz", default=0.0, show_default=True, help="Line frequency to take out; 0 for none."
)
@click.option(
    "--baseline",
    default="none",
    show_default=True,
    help="What is done with a baseline: none or subtract.",
)
@click.option(
    "--smoothing",
    default="none",
    show_default=True,
    help="Within a trial: none, moving-average, lds, or lds-smoother (offline only).",
)
@click.option(
    "--smoothing-windows", default=5, show_default=True, help="How many a moving average spans."
)
@click.option(
    "--hrv-window-seconds",
    default=30.0,
    show_default=True,
    help="How far back heart-rate variability looks.",
)
@click.option(
    "--stimuli",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Files that were shown, folders or tables of them (TOML, CSV), for the features audio, "
    "audio-descriptors, video, video-descriptors; repeatable.",
)
@click.option("--allow-missing-stimuli", is_flag=True, help="Mask stimuli that have no file.")
@click.option(
    "--stimulus-mels", default=128, show_default=True, help="Mel bands of the feature audio."
)
@click.option(
    "--stimulus-pictures",
    default=4,
    show_default=True,
    help="Pictures in a window of the feature video.",
)
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(min=1), help="Processes.")
@click.option("--scheduler", help="A running dask scheduler, such as tcp://host:8786.")
@click.option("--exclude-damaged", is_flag=True, help="Leave out files that cannot be read.")
@click.option("--overwrite", is_flag=True, help="Replace a store of another recipe.")
@override_options
def preprocess(
    dataset: str,
    path: Path,
    out: Path,
    jobs: int,
    scheduler: str | None,
    exclude_damaged: bool,
    overwrite: bool,
    ch_names: tuple[str, ...],
    unit: tuple[str, ...],
    rates: tuple[str, ...],
    **options: Any,
) -> None:
    """Compute features of DATASET at PATH into one feature store.

    DATASET is a name of 'physioemo datasets list', or 'recording' for recordings of your own.
    A run that was interrupted goes on where it stopped when the same command is given again.
    """
    from physioemo.features.preprocess_run import preprocess as run

    overrides = Overrides.parse(ch_names, unit, rates)
    sources, synthetic = _sources(dataset, path, overrides)
    stimuli = _stimuli(options)
    recipe = _recipe(options, sources, stimuli)
    with progress("preprocessing", 1.0) as update:
        result = run(
            sources,
            out,
            recipe,
            dataset=dataset,
            jobs=jobs,
            scheduler=scheduler,
            overwrite=overwrite,
            exclude_damaged=exclude_damaged,
            attrs={"synthetic": synthetic},
            stimuli=stimuli,
            on_progress=lambda done, total: update(done / max(total, 1.0)),
        )
    for name, why in result.excluded.items():
        click.echo(f"Left out {name}: {why}")
    n_new, n_old = len(result.computed), len(result.reused)
    click.echo(
        f"{out}: {n_new} sources computed, {n_old} taken over (recipe {recipe.fingerprint})."
    )
    if recipe.offline_only:
        click.echo(f"Offline only, no live session can use it: {', '.join(recipe.offline_only)}.")
    click.echo(f"Next: physioemo inspect {in_shell(out)}")


def _sources(dataset: str, path: Path, overrides: Overrides) -> tuple[list[Any], bool]:
    """Return the sources, and whether the files were made up."""
    from physioemo.datasets.catalogue import CATALOGUE, recognise
    from physioemo.datasets.catalogue import dataset as named
    from physioemo.datasets.synthetic_note import read_synthetic_note
    from physioemo.errors import CallError, RecordingNotFoundError
    from physioemo.features.preprocess_run import recording_sources

    if not path.exists():
        raise RecordingNotFoundError(f"found nothing at {path}, expected data; check the path")
    if dataset == _RECORDING:
        return recording_sources(path, overrides), False
    if dataset not in CATALOGUE:
        raise CallError(
            f"found the data set {dataset!r}, expected one of {', '.join(CATALOGUE)}, or "
            "'recording' for your own"
        )
    row = named(dataset)
    folder = row.locate(path)
    if folder is None:
        there = recognise(path)  # says what it is if it is another data set, or none
        raise CallError(
            f"found the files of {there.name} in {path}, expected those of {dataset} "
            f"({' and '.join(row.files.values())}); name the data set or the folder that fits"
        )
    note = read_synthetic_note(row, folder)
    return row.sources(folder, **(note or {})), note is not None


def _stimuli(options: dict[str, Any]) -> Any:
    """Return the files that were shown, if they are given."""
    where, allow = options.pop("stimuli"), options.pop("allow_missing_stimuli")
    if not where:
        return None
    from physioemo.features.stimulus_files import find_stimuli

    cache = Path(click.get_app_dir("physioemo")) / "stimuli"
    return find_stimuli(where, cache=cache, allow_missing=allow)


def _recipe(options: dict[str, Any], sources: list[Any], stimuli: Any) -> Any:
    from physioemo.features.catalogue import FAMILIES
    from physioemo.features.conditioning import Conditioning
    from physioemo.features.entropy_recipe import BANDS
    from physioemo.features.preprocess_recipe import PreprocessRecipe
    from physioemo.features.stimulus_family import STIMULUS_FAMILIES, StimulusCut

    names = [n.strip() for n in options.pop("features").split(",") if n.strip()]
    if names == ["all"]:
        first = next(iter(sources[0].read()))
        kinds = {first.description(k).modality for k in first.streams}
        fitting = [f.name for f in FAMILIES.values() if kinds & set(f.modalities)]
        names = [n for n in fitting if n != "raw"]
        names += [n for n, f in STIMULUS_FAMILIES.items() if stimuli and not f.large]
    bands = options.pop("bands")
    edges = ("reference", "highpass_hz", "lowpass_hz", "notch_hz")
    conditioning = Conditioning(**{k: options.pop(k) for k in edges})
    hop = options.pop("hop_seconds")
    cut = StimulusCut(
        n_mels=options.pop("stimulus_mels"), n_pictures=options.pop("stimulus_pictures")
    )
    return PreprocessRecipe(
        features=tuple(names),
        bands=_parse_bands(bands) if bands else dict(BANDS),
        conditioning=conditioning,
        hop_seconds=options["window_seconds"] if hop is None else hop,
        stimuli=dict(stimuli.sha256) if stimuli else {},
        stimulus_cut=cut,
        **options,
    )


def _parse_bands(text: str) -> dict[str, tuple[float, float]]:
    from physioemo.errors import CallError

    bands: dict[str, tuple[float, float]] = {}
    for part in text.split(","):
        name, _, edges = part.partition("=")
        low, _, high = edges.partition("-")
        try:
            edge = (float(low), float(high))
        except ValueError:
            edge = (0.0, 0.0)
        if not name.strip() or not 0 < edge[0] < edge[1] or name.strip() in bands:
            raise CallError(
                f"found the band {part!r}, expected each once as NAME=LOW-HIGH in Hz, such as "
                "alpha=8-13"
            )
        bands[name.strip()] = edge
    return bands
