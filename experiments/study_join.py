"""Several feature stores as one: on the electrodes that all have, with axes that agree."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from physioemo.errors import DataError
from physioemo.experiments.study_data import Groups, StudyData

__all__ = ["electrodes_of", "join_stores"]


def join_stores(opened: Sequence[StudyData]) -> StudyData:
    """Return the windows of several stores, on the channels that all of them have.

    Parameters
    ----------
    opened : sequence of StudyData
        What is in each.

    Raises
    ------
    DataError
        If their families have other axes, or their windows another length.
    """
    if len(opened) == 1:
        return opened[0]
    first = opened[0]
    there = [{c.casefold() for c in electrodes_of(d.coords)} for d in opened]
    shared = [c for c in electrodes_of(first.coords) if all(c.casefold() in d for d in there)]
    picked = [_on_channels(d, shared) for d in opened]
    for d in picked[1:]:
        for family, axes in picked[0].coords.items():
            if d.coords[family] != axes:
                raise DataError(
                    f"found other axes of {family!r} in {d.source['path']} than in "
                    f"{first.source['path']}, expected the same; make both with the same recipe"
                )
    groups = [d.groups for d in picked]
    lengths = [f"{d.groups.window_seconds:g} s in {d.source['path']}" for d in picked]
    if len({g.window_seconds for g in groups}) > 1:
        raise DataError(
            f"found windows of {' and '.join(lengths)}, expected one length; make the stores with "
            "the same --window-seconds"
        )
    arrays = {
        k: np.concatenate([getattr(g, k) for g in groups])
        for k in ("subject", "session", "trial", "stimulus", "onset_seconds", "dataset")
    }
    return replace(
        picked[0],
        families={f: np.concatenate([d.families[f] for d in picked]) for f in picked[0].families},
        groups=Groups(**arrays, window_seconds=groups[0].window_seconds),
    )


def electrodes_of(coords: Mapping[str, Mapping[str, tuple[str, ...]]]) -> tuple[str, ...]:
    """Return the electrodes: other streams have channels of their own.

    Parameters
    ----------
    coords : mapping of str to mapping of str to tuple of str
        Axes of each family.
    """
    named = [a for a in coords.values() if "channel" in a]
    return next((a["channel"] for a in sorted(named, key=lambda a: "band" not in a)), ())


def _on_channels(data: StudyData, names: list[str]) -> StudyData:
    """Return the data on some channels, named as in the list; families of pairs cannot be cut."""
    families, coords = dict(data.families), dict(data.coords)
    electrodes = electrodes_of(data.coords)
    for family, axes in data.coords.items():
        if axes.get("channel") != electrodes:
            continue
        there = {c.casefold(): i for i, c in enumerate(axes["channel"])}
        place = 1 + list(axes).index("channel")
        index = [there[n.casefold()] for n in names]
        families[family] = np.take(data.families[family], index, axis=place)
        coords[family] = {**axes, "channel": tuple(names)}
    return replace(data, families=families, coords=coords)
