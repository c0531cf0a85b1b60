"""Encoders that were pre-trained, and whether they have seen what is scored.

Pre-training looks at no rating, but windows that it saw are no new windows: a score on them says
less than one on others. So data that served both are found by their fingerprints.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from physioemo.errors import CheckpointError
from physioemo.experiments.pretrain import RESULT

__all__ = ["pretrained_id", "require_same_axes", "seen_in_pretraining"]


def pretrained_id(folder: str | Path) -> str:
    """Return the id of the model in a folder of ``physioemo pretrain``.

    Raises
    ------
    CheckpointError
        If the folder holds none that is finished.
    """
    return str(_result(folder)["model_id"])


def seen_in_pretraining(folder: str | Path, sources: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the names of recordings, among those of some sources, that pre-training has seen.

    Parameters
    ----------
    folder : path
        What ``physioemo pretrain`` wrote.
    sources : iterable of mapping
        With ``fingerprints`` by name, and ``dataset`` where they are feature stores.

    Raises
    ------
    CheckpointError
        If the folder holds no pre-training that is finished.
    """
    before = _result(folder)["sources"]
    hashes = {h for s in before for f in s["fingerprints"].values() for h in _hashes(f)}
    named = {(s["dataset"], name) for s in before for name in s["fingerprints"]}
    return sorted(
        {
            str(name)
            for source in sources
            for name, own in source["fingerprints"].items()
            if hashes & _hashes(own) or (source.get("dataset"), name) in named
        }
    )


def require_same_axes(
    folder: str | Path, coords: Mapping[str, Mapping[str, Sequence[str]]]
) -> None:
    """Refuse encoders of other electrodes or bands, or of the same in another order.

    Parameters
    ----------
    folder : path
        What ``physioemo pretrain`` wrote.
    coords : mapping of str to mapping of str to sequence of str
        Axes of each family; one that was not pre-trained is not looked at.

    Raises
    ------
    CheckpointError
        If a family's axes differ.
    """
    before = _result(folder)["families"]
    for family, axes in coords.items():
        mine = {axis: list(map(str, names)) for axis, names in axes.items()}
        if family not in before or before[family] == mine:
            continue
        axis = next((a for a in mine if before[family].get(a) != mine[a]), "axes")
        raise CheckpointError(
            f"found encoders of {family} in {folder} for the {axis} "
            f"{', '.join(before[family].get(axis, before[family]))}, expected "
            f"{', '.join(mine.get(axis, mine))}; pre-train on what is alike"
        )


def _hashes(fingerprint: Any) -> set[str]:
    """Return the hashes of a recording, or of the files that it comes from."""
    return set(map(str, fingerprint.values())) if isinstance(fingerprint, dict) else {fingerprint}


def _result(folder: str | Path) -> dict[str, Any]:
    path = Path(folder) / RESULT
    try:
        found = json.loads(path.read_text("utf-8"))
        for source in found["sources"]:
            dict(source["fingerprints"])
        str(found["model_id"]), dict(found["families"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"found no finished pre-training at {path} ({type(error).__name__}: {error}), expected "
            "what 'physioemo pretrain' wrote; check the path, or let it end"
        ) from error
    return dict(found)
