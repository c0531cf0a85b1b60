"""Which files a feature store has seen and heard, and in which trials they were shown."""

from typing import Any

import click
import numpy as np
import xarray as xr

from physioemo.features.stimulus_files import known_name

__all__ = ["print_stimuli", "stimuli_content"]


def stimuli_content(store: xr.Dataset) -> dict[str, Any]:
    """Return the files of the stimuli, and what was shown without one.

    Parameters
    ----------
    store : Dataset
        An open feature store.

    Returns
    -------
    dict
        ``files`` holds for each stimulus its ``file``, ``sha256``, ``duration_seconds`` (None if
        the file's headers do not say it, or the store is older than this entry) and the ``trials``
        in which it was shown, by recording; ``without_file`` holds such trials of each stimulus
        that has none.
    """
    about = {name: dict(row) for name, row in store.attrs.get("stimuli", {}).items()}
    named = {name: row["file"] for name, row in about.items()}
    files = {
        name: {
            "file": row["file"],
            "sha256": row["sha256"],
            "duration_seconds": row.get("duration_seconds"),
            "trials": {},
        }
        for name, row in about.items()
    }
    without: dict[str, dict[str, list[Any]]] = {}
    for stimulus, trials in (_shown(store) if about else {}).items():
        name = known_name(stimulus, named)
        place = without.setdefault(stimulus, {}) if name is None else files[name]["trials"]
        for recording, found in trials.items():
            # A stimulus may be named with its file's ending in some trials, without in others.
            place[recording] = sorted({*place.get(recording, []), *found})
    return {"files": files, "without_file": without}


def _shown(store: xr.Dataset) -> dict[str, dict[str, list[Any]]]:
    """Return in which trials of which recordings each stimulus was shown."""
    shown: dict[str, dict[str, list[Any]]] = {}
    stimulus, trial = store["stimulus"].values.astype(str), store["trial"].values
    stops = np.cumsum(store["recording_windows"].values)
    starts = np.concatenate([[0], stops[:-1]])
    for name, start, stop in zip(_recordings(store), starts, stops, strict=True):
        for pair in dict.fromkeys(
            zip(stimulus[start:stop], trial[start:stop].tolist(), strict=True)
        ):
            shown.setdefault(str(pair[0]), {}).setdefault(name, []).append(pair[1])
    return shown


def _recordings(store: xr.Dataset) -> list[str]:
    """Return a name of its own for each recording, in the order of their windows."""
    return [
        name if name == source["name"] else f"{source['name']}/{name}"
        for source in store.attrs["sources"]
        for name in source["recordings"]
    ]


def print_stimuli(content: dict[str, Any]) -> None:
    """Print a line for each file.

    Parameters
    ----------
    content : dict
        Of :func:`stimuli_content`.
    """
    if content["files"]:
        click.echo("Stimuli:")
    for name, row in content["files"].items():
        seconds = row["duration_seconds"]
        length = "length not known" if seconds is None else f"{seconds:.2f} s"
        click.echo(
            f"  {name}: {row['file']}, {length}, SHA-256 {row['sha256'][:12]}..., "
            f"{_trials(row['trials'])}"
        )
    for name, trials in content["without_file"].items():
        click.echo(f"  {name or 'a stimulus without a name'}: no file, {_trials(trials)}")


def _trials(shown: dict[str, list[Any]]) -> str:
    n = sum(map(len, shown.values()))
    if n == 0:
        return "shown in no trial"
    if len(shown) == 1:
        (trials,) = shown.values()
        return f"trial{'s' * (n > 1)} {', '.join(map(str, trials))}"
    return f"{n} trials of {len(shown)} recordings"
