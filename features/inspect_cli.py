"""The command ``inspect``: what is in a recording, a data set or a feature store."""

import json
import math
from pathlib import Path
from typing import Any

import click

from physioemo.core_cli import in_shell, override_options, print_quality
from physioemo.overrides import Overrides
from physioemo.progress import progress

__all__ = ["inspect"]

_BAR = 30


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@override_options
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(
    path: Path,
    ch_names: tuple[str, ...],
    unit: tuple[str, ...],
    rates: tuple[str, ...],
    as_json: bool,
) -> None:
    """Say what is in a recording, data set or feature store, and what is wrong with it.

    The exit code is 1 if files of a data set are damaged.
    """
    if _is_feature_store(path):
        content = _store_content(path)
        show = _print_store
    elif (row := _data_set(path)) is not None:
        content = _data_set_content(row, path)
        show = _print_data_set
    else:
        _inspect_recording(path, Overrides.parse(ch_names, unit, rates), as_json=as_json)
        return
    if as_json:
        click.echo(json.dumps(content, indent=2, ensure_ascii=False))
    else:
        show(content, path)
    if content.get("damaged"):
        raise click.exceptions.Exit(1)


def _is_feature_store(path: Path) -> bool:
    root = path / "zarr.json"
    if not root.is_file():
        return False
    try:
        attributes = json.loads(root.read_text(encoding="utf-8")).get("attributes", {})
    except (ValueError, AttributeError):
        return False
    return "feature_store_version" in attributes


def _data_set(path: Path) -> Any:
    """Return the data set that lies at a path; None if it is something else."""
    from physioemo.datasets.catalogue import CATALOGUE, recognise

    if not path.exists() or (path / "zarr.json").is_file() or (path / "journal").is_dir():
        return None
    fits = [row for row in CATALOGUE.values() if row.locate(path)]
    # A file of another name beside those of a data set is looked at by itself.
    inside = not path.is_file() or any(row.is_one_of(path) for row in fits)
    return recognise(path) if fits and inside else None


def _data_set_content(row: Any, path: Path) -> dict[str, Any]:
    from physioemo.datasets.inspection import inspect_dataset

    with progress("reading", 1.0) as update:
        return inspect_dataset(
            row, row.locate(path), on_progress=lambda done, total: update(done / total)
        )


def _print_data_set(content: dict[str, Any], path: Path) -> None:
    stamp = "  SYNTHETIC: nobody was recorded" if content["synthetic"] else ""
    click.echo(f"{content['folder']}: {content['title']}{stamp}")
    subjects = {r["subject"] for r in content["recordings"]}
    click.echo(
        f"{len(content['recordings'])} recordings of {len(subjects)} subjects, "
        f"{content['n_trials']} trials."
    )
    _print_streams(content["streams"])
    for dimension, numbers in content["ratings"].items():
        _print_histogram(dimension, numbers)
    if content["labels"]:
        click.echo("Labels: " + ", ".join(f"{k} {n}" for k, n in content["labels"].items()))
    notes = sorted({n for r in content["recordings"] for n in r["notes"]})
    for note in notes:
        click.echo(f"Note: {note}.")
    for missing in content["missing"]:
        click.echo(f"Missing: {missing}.")
    for source, why in content["damaged"].items():
        click.echo(f"Damaged: {source}: {why}")
    if content["recordings"] and not content["has_signals"]:
        click.echo(
            "Published features, not signals: in Python, "
            f"physioemo.datasets.catalogue.dataset({content['dataset']!r}).read(FOLDER)."
        )
    elif content["recordings"]:
        leave = " --exclude-damaged" if content["damaged"] else ""
        click.echo(
            f"Next: physioemo preprocess {content['dataset']} {in_shell(path)} --out "
            f"features.zarr{leave}"
        )


def _print_streams(streams: dict[str, dict[str, Any]]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("stream", "channels", "Hz", "unit", "samples", "missing values"):
        table.add_column(column, justify="left" if column in ("stream", "unit") else "right")
    for key, row in streams.items():
        samples, missing = str(row["n_samples"]), str(row["n_missing_values"])
        table.add_row(
            key, str(row["n_channels"]), f"{row['sfreq']:g}", row["unit"], samples, missing
        )
    Console(highlight=False).print(table)


def _print_histogram(dimension: str, numbers: dict[str, Any]) -> None:
    counts = numbers["counts"]
    most = max(max(counts.values()), 1)
    low, high = numbers["scale"]
    click.echo(
        f"{dimension}, rated {low:g} to {high:g}, mean {numbers['mean']}: "
        f"{numbers['n_at_midpoint']} exactly in the middle, {numbers['n_missing']} missing"
    )
    for step, count in counts.items():
        click.echo(f"  {step:>3} {'#' * round(_BAR * count / most):<{_BAR}} {count}")


def _store_content(path: Path) -> dict[str, Any]:
    from physioemo.features.feature_store import open_features
    from physioemo.features.inspect_stimuli import stimuli_content

    with open_features(path) as store:
        known = store.attrs
        names = [str(n) for n in store.data_vars if f"{n}_present" in store.data_vars]
        families = {
            n: {
                "dims": list(map(str, store[n].dims[1:])),
                "shape": list(store[n].shape),
                "units": store[n].attrs["units"],
                "present": round(float(store[f"{n}_present"].mean()), 6),
            }
            for n in names
        }
        simulated = bool(store["recording_simulated"].any()) or bool(known.get("synthetic"))
        return {
            "dataset": known["dataset"],
            "simulated": simulated,
            "n_windows": store.sizes["window"],
            "n_recordings": store.sizes["recording"],
            "subjects": sorted(set(store["recording_subject"].values)),
            "families": families,
            "dimensions": [str(d) for d in store["dimension"].values] if "rating" in store else [],
            "labels": sorted({str(v) for v in store["label_name"].values})
            if "label_name" in store
            else [],
            "recipe": known["recipe"],
            "recipe_hash": known["recipe_hash"],
            "offline_only": list(known["offline_only"]),
            "excluded": known["excluded"],
            "stimuli": stimuli_content(store),
            "versions": known["versions"],
        }


def _print_store(content: dict[str, Any], path: Path) -> None:
    from physioemo.features.inspect_stimuli import print_stimuli

    stamp = "  SIMULATED or SYNTHETIC" if content["simulated"] else ""
    click.echo(f"{path}: features of {content['dataset']}{stamp}")
    recipe = content["recipe"]
    click.echo(
        f"{content['n_windows']} windows of {recipe['window_seconds']:g} s every "
        f"{recipe['hop_seconds']:g} s, {content['n_recordings']} recordings of "
        f"{len(content['subjects'])} subjects."
    )
    for name, row in content["families"].items():
        axes = " x ".join(f"{n} {d}" for d, n in zip(row["dims"], row["shape"][1:], strict=True))
        click.echo(f"  {name}: {axes}, {100 * row['present']:.2f} % present, {row['units']}")
    rated = content["dimensions"] or content["labels"]
    click.echo(f"Ratings or labels: {', '.join(rated) or 'none'}.")
    click.echo(
        f"Baseline {recipe['baseline']}, smoothing {recipe['smoothing']}, "
        f"reference {recipe['conditioning']['reference']}; recipe {content['recipe_hash']}."
    )
    print_stimuli(content["stimuli"])
    if content["offline_only"]:
        click.echo(f"Offline only: {', '.join(content['offline_only'])}.")
    for source, why in content["excluded"].items():
        click.echo(f"Left out: {source}: {why}")
    click.echo(f"Next: in Python, physioemo.features.feature_store.open_features({str(path)!r})")


def _inspect_recording(path: Path, overrides: Overrides, *, as_json: bool) -> None:
    from physioemo.files import read_recording

    recording = read_recording(path, overrides)
    quality = recording.quality()
    if as_json:
        click.echo(json.dumps(_content(recording, quality), indent=2, ensure_ascii=False))
        return
    state = "sealed" if recording.sealed else "in its journal, not yet sealed"
    click.echo(f"{path} ({state})" + ("  SIMULATED PARTICIPANT" if recording.simulated else ""))
    for note in recording.notes:
        click.echo(f"Note: {note}.")
    print_quality(quality)
    rated = recording.ratings.sizes["trial"]
    click.echo(
        f"{recording.trials.sizes['trial']} trials, {rated} rated; "
        f"{recording.events.sizes['event']} events."
    )
    if not recording.sealed:
        click.echo(f"Next: physioemo recover {in_shell(path)}")
    elif rated:
        click.echo(f"Next: physioemo train {in_shell(path)} --out decoder")
    else:
        click.echo(f"Next: physioemo report {in_shell(path)} --out report.html")


def _content(recording: Any, quality: dict[str, Any]) -> dict[str, Any]:
    streams = {}
    for key, numbers in quality.items():
        known = recording.description(key).to_dict()
        known.pop("xml")
        streams[key] = {**known, **{k: _json_number(v) for k, v in numbers.items()}}
    return {
        "sealed": recording.sealed,
        "simulated": recording.simulated,
        "notes": list(recording.notes),
        "n_trials": recording.trials.sizes["trial"],
        "n_rated": recording.ratings.sizes["trial"],
        "n_events": recording.events.sizes["event"],
        "streams": streams,
    }


def _json_number(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value
