"""What stands beside the EEG in a fused decoder: families of features of other streams."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from physioemo.description import StreamDescription
from physioemo.errors import AmbiguousStreamError, CallError, NoStreamError
from physioemo.experiments.fused_modalities import modality_name
from physioemo.features.catalogue import FAMILIES
from physioemo.features.family import Extractor, Family, FamilyOptions, WindowGrid
from physioemo.hints import nearest

__all__ = [
    "SIDE_FAMILIES",
    "SideChoice",
    "SideFamily",
    "bind_side",
    "find_side",
    "require_side",
]

SIDE_FAMILIES = tuple(n for n, f in FAMILIES.items() if "eeg" not in f.modalities and not f.offline)
"""Families that can stand beside the EEG: of another stream, and causal."""


@dataclass(frozen=True)
class SideChoice:
    """Which family, and how its windows lie.

    Parameters
    ----------
    family : str
        One of :data:`SIDE_FAMILIES`.
    window_seconds, hop_seconds : float
        Length of a window and the step between two.
    max_age_seconds : float
        A token whose newest sample is older than this counts as missing.
    hrv_window_seconds : float
        How far back heart-rate variability looks.

    Raises
    ------
    CallError
        If there is no such family beside the EEG, or a length is not positive.
    """

    family: str
    window_seconds: float = 5.0
    hop_seconds: float = 1.0
    max_age_seconds: float = 3.0
    hrv_window_seconds: float = 30.0

    def __post_init__(self) -> None:
        if self.family not in SIDE_FAMILIES:
            raise CallError(
                f"found the family {self.family!r} beside the EEG, expected one of "
                f"{', '.join(SIDE_FAMILIES)}{nearest(str(self.family), SIDE_FAMILIES)}"
            )
        lengths = (self.window_seconds, self.hop_seconds, self.max_age_seconds)
        if not all(np.isfinite(s) and s > 0 for s in lengths):
            raise CallError(
                f"found windows of {lengths[0]} s every {lengths[1]} s, at most {lengths[2]} s "
                f"old, for {self.family!r}, expected three numbers above 0"
            )

    @property
    def name(self) -> str:
        """Name of the modality in the model."""
        return modality_name(self.family)

    def prepare(self, description: StreamDescription) -> tuple[Extractor, WindowGrid]:
        """Return the extractor for a stream and its grid; raises what is wrong with the stream."""
        grid = WindowGrid.in_seconds(description.sfreq, self.window_seconds, self.hop_seconds)
        options = FamilyOptions(hrv_window_seconds=self.hrv_window_seconds)
        return FAMILIES[self.family].prepare(description, grid, options), grid


@dataclass(frozen=True)
class SideFamily:
    """A family as it was in training.

    Parameters
    ----------
    choice : SideChoice
        Family, window and limit of age.
    sfreq : float
        Rate of the stream in Hz.
    ch_names : tuple of str
        Its channels that the features are of.
    coords : mapping of str to tuple of str
        Axes of the features and what stands along each.
    units : tuple of str
        Of the features.
    fingerprint : str
        Hash of everything that changes a bit of the features.
    """

    choice: SideChoice
    sfreq: float
    ch_names: tuple[str, ...]
    coords: Mapping[str, tuple[str, ...]]
    units: tuple[str, ...]
    fingerprint: str

    @property
    def name(self) -> str:
        """Name of the modality in the model."""
        return self.choice.name

    @property
    def n_values(self) -> int:
        """How many numbers a token has."""
        return int(np.prod([len(names) for names in self.coords.values()]))

    def __str__(self) -> str:
        units = ", ".join(dict.fromkeys(self.units))
        return f"{self.sfreq:g} Hz from {', '.join(self.ch_names)} in {units}"

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return {
            **vars(self.choice),
            "sfreq": self.sfreq,
            "ch_names": list(self.ch_names),
            # A list keeps the order of the axes.
            "coords": [[axis, list(names)] for axis, names in self.coords.items()],
            "units": list(self.units),
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "SideFamily":
        """Return the family that :meth:`to_dict` wrote."""
        return cls(
            SideChoice(**{k: fields[k] for k in SideChoice.__dataclass_fields__}),
            float(fields["sfreq"]),
            tuple(fields["ch_names"]),
            {axis: tuple(names) for axis, names in fields["coords"]},
            tuple(fields["units"]),
            str(fields["fingerprint"]),
        )


def bind_side(choice: SideChoice, description: StreamDescription) -> SideFamily:
    """Return a family as a stream of training gives it.

    Raises
    ------
    SignalError, StreamDescriptionError, CallError
        If the stream cannot give it.
    """
    extractor, _ = choice.prepare(description)
    kinds = FAMILIES[choice.family].modalities
    names = zip(description.ch_names, description.ch_types, strict=True)
    return SideFamily(
        choice,
        float(description.sfreq),
        tuple(n for n, kind in names if kind in kinds),
        dict(extractor.coords),
        tuple(extractor.units),
        extractor.fingerprint,
    )


def find_side(streams: Mapping[str, StreamDescription], choice: SideChoice) -> str | None:
    """Return the name of the one stream that carries a family's signal; None if there is none.

    Raises
    ------
    AmbiguousStreamError
        If several do.
    """
    family: Family = FAMILIES[choice.family]
    for modality in family.modalities:
        carrying = [name for name, d in streams.items() if modality in d.ch_types]
        if len(carrying) > 1:
            raise AmbiguousStreamError(
                f"found {len(carrying)} streams with {modality} ({', '.join(carrying)}) for "
                f"{choice.family!r}, expected one; leave the others out of the recording or rig"
            )
        if carrying:
            return carrying[0]
    return None


def require_side(streams: Mapping[str, StreamDescription], choice: SideChoice, where: str) -> str:
    """Return the name of the stream of a family.

    Raises
    ------
    NoStreamError
        If there is none.
    """
    found = find_side(streams, choice)
    if found is None:
        kinds = " or ".join(FAMILIES[choice.family].modalities)
        raise NoStreamError(
            f"found the streams {', '.join(streams)} in {where}, expected one with {kinds} for the "
            f"family {choice.family!r}; leave it out of the families"
        )
    return found
