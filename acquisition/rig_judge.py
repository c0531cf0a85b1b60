"""What a watched stream is, compared with what its rig states."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from physioemo.acquisition.rig import Rig, RigStream
from physioemo.acquisition.rig_measure import Rate, Watched, measure_rate
from physioemo.acquisition.rig_network import description_problems, rig_overrides
from physioemo.acquisition.rig_signal import MAINS_HZ, ChannelCheck, check_channels
from physioemo.errors import PhysioEmoError, UnitError
from physioemo.hints import nearest
from physioemo.modality import stream_modality
from physioemo.overrides import complete_description
from physioemo.units import conversion_factor

__all__ = ["Problem", "StreamCheck", "judge"]

_MAINS_SHARE = 0.5


class Problem(NamedTuple):
    """One thing that is not as the rig says.

    Parameters
    ----------
    kind : str
        ``"missing"``, ``"ambiguous"``, ``"description"``, ``"late"``, ``"rate"``, ``"loss"``,
        ``"clock"``, ``"signal"``, ``"montage"`` or ``"disk"``.
    text : str
        One sentence.
    """

    kind: str
    text: str


@dataclass(frozen=True, kw_only=True)
class StreamCheck:
    """How one stream of a rig is.

    Parameters
    ----------
    key, query : str
        The rig's name for it and what it was looked for by.
    required : bool
        Whether the rig needs it.
    source_ids, hostnames : tuple of str
        Of everything that fits.
    name, uid : str
        Of the one that fits; empty otherwise.
    n_channels, n_samples : int
        Channels, and samples while it was watched.
    nominal_rate_hz, measured_rate_hz, rate_uncertainty, lost_share : float
        See :class:`physioemo.acquisition.rig_measure.Rate`.
    n_gaps : int
        Gaps while it was watched.
    age_seconds : float
        Age of the newest sample on this computer's clock.
    offset_seconds, round_trip_seconds : float
        The sender's clock; half the round trip bounds the offset's error.
    bytes_per_second : float
        What a recorder writes for it.
    units : tuple of str
        As recorded, with what the rig states.
    channels : tuple of ChannelCheck
        Of EEG; empty otherwise.
    recordable : bool
        Whether the recorder can take it as it is.
    problems : tuple of Problem
        What is not as the rig says.
    notes : tuple of str
        What is worth knowing.
    """

    key: str
    query: str
    required: bool
    source_ids: tuple[str, ...] = ()
    hostnames: tuple[str, ...] = ()
    name: str = ""
    uid: str = ""
    n_channels: int = 0
    n_samples: int = 0
    nominal_rate_hz: float = math.nan
    measured_rate_hz: float = math.nan
    rate_uncertainty: float = math.nan
    lost_share: float = math.nan
    n_gaps: int = 0
    age_seconds: float = math.nan
    offset_seconds: float = math.nan
    round_trip_seconds: float = math.nan
    bytes_per_second: float = 0.0
    units: tuple[str, ...] = ()
    channels: tuple[ChannelCheck, ...] = ()
    recordable: bool = False
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    fields: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)


def judge(
    stream: RigStream, rig: Rig, facts: dict[str, Any], fields: dict[str, Any], watched: Watched
) -> StreamCheck:
    """Return the check of one stream that was found and watched.

    Parameters
    ----------
    stream : RigStream
        What is asked for.
    rig : Rig
        The rig that asks.
    facts : dict
        What is known from looking alone: fields of :class:`StreamCheck`.
    fields : dict
        :func:`physioemo.acquisition.lsl.raw_fields` of the stream.
    watched : Watched
        What came from it.
    """
    problems = [Problem("description", text) for text in description_problems(stream, fields)]
    units: tuple[str, ...] = ()
    ch_names: tuple[str, ...] = ()
    recordable = True
    try:
        described = complete_description(dict(fields), rig_overrides({stream.key: fields}, rig))
        units, ch_names = described.units, described.ch_names
    except PhysioEmoError as error:
        recordable = False
        problems.append(Problem("description", _without_name(str(error), fields["name"])))
    rate = measure_rate(watched.stamps, stream.sfreq) if stream.sfreq else _no_rate()
    problems += _age_problems(stream, watched)
    problems += _rate_problems(stream, rate)
    problems += _clock_problems(stream, watched)
    channels = _eeg_channels(stream, fields, watched, units, ch_names)
    problems += [Problem("signal", c.sentence) for c in channels if c.verdict]
    problems += _montage_problems(stream)
    notes = [*_mains_notes(channels), *_montage_notes(stream, ch_names)]
    notes += _other_notes(stream, fields, units)
    return StreamCheck(
        **facts,
        name=fields["name"],
        uid=fields["uid"],
        n_channels=fields["n_channels"],
        n_samples=len(watched.stamps),
        nominal_rate_hz=fields["sfreq"],
        measured_rate_hz=rate.hz,
        rate_uncertainty=rate.uncertainty,
        lost_share=rate.lost_share,
        n_gaps=rate.n_gaps,
        age_seconds=watched.age_seconds,
        offset_seconds=watched.offset_seconds,
        round_trip_seconds=watched.round_trip_seconds,
        bytes_per_second=watched.bytes_per_second,
        units=units,
        channels=channels,
        recordable=recordable,
        problems=tuple(problems),
        notes=tuple(notes),
        fields=fields,
    )


def _no_rate() -> Rate:
    return Rate(math.nan, math.nan, 0, math.nan)


def _without_name(message: str, name: str) -> str:
    return message.removeprefix(f"stream {name!r}: ")


def _age_problems(stream: RigStream, watched: Watched) -> list[Problem]:
    limit = stream.fresh_within_seconds
    if watched.lost:
        return [Problem("late", "found that it went while it was watched, expected it to stay")]
    if limit is None:
        return []
    if not len(watched.stamps):
        text = f"found no data in {watched.seconds:.1f} s, expected samples; start the device"
        return [Problem("late", text)]
    age = watched.age_seconds
    if abs(age) > limit:
        where = f"{age:.2f} s old" if age > 0 else f"{-age:.2f} s in the future"
        text = (
            f"found its newest sample {where}, expected at most {limit:g} s; check that the device "
            "runs and stamps with LSL's clock"
        )
        return [Problem("late", text)]
    return []


def _rate_problems(stream: RigStream, rate: Rate) -> list[Problem]:
    if not math.isfinite(rate.hz):
        return []
    tolerance = max(stream.sfreq_tolerance_percent / 100, rate.uncertainty)
    if abs(rate.hz / stream.sfreq - 1) > tolerance:
        text = (
            f"found {rate.hz:.2f} Hz by its stamps, expected {stream.sfreq:g} Hz "
            f"± {100 * tolerance:.2g} %; set the device's rate, or the rig's sfreq"
        )
        return [Problem("rate", text)]
    if rate.n_gaps or rate.lost_share > tolerance:
        gaps = f"{rate.n_gaps} gap{'' if rate.n_gaps == 1 else 's'}"
        text = (
            f"found {rate.lost_share:.1%} of its samples lost and {gaps}, expected all; check the "
            "device's cable or radio and the network"
        )
        return [Problem("loss", text)]
    return []


def _clock_problems(stream: RigStream, watched: Watched) -> list[Problem]:
    if watched.lost:
        return []
    if not math.isfinite(watched.offset_seconds):
        text = "found no answer to its clock probes, expected one; let UDP through the firewall"
        return [Problem("clock", text)]
    round_trip, limit = 1e3 * watched.round_trip_seconds, stream.max_round_trip_ms
    if limit is not None and round_trip > limit:
        text = (
            f"found a clock round trip of {round_trip:.3g} ms, expected at most {limit:g} ms; use "
            "a cable, or a less busy network"
        )
        return [Problem("clock", text)]
    return []


def _eeg_channels(
    stream: RigStream,
    fields: dict[str, Any],
    watched: Watched,
    units: Sequence[str],
    ch_names: tuple[str, ...],
) -> tuple[ChannelCheck, ...]:
    enough = len(watched.stamps) > 1 and watched.values.dtype.kind in "fiu"
    if not _is_eeg(stream, fields) or not enough or len(ch_names) != watched.values.shape[1]:
        return ()
    factors = _factors(units)
    return check_channels(watched.values * factors, stream.sfreq, ch_names) if factors.size else ()


def _is_eeg(stream: RigStream, fields: dict[str, Any]) -> bool:
    return (stream.modality or stream_modality(fields["stype"])) == "eeg"


def _factors(units: Sequence[str]) -> np.ndarray:
    """Return what makes microvolts of each channel; nothing if one is no voltage."""
    try:
        return np.array([conversion_factor(u, "uV") for u in units])
    except UnitError:
        return np.zeros(0)


def _mains_notes(channels: Sequence[ChannelCheck]) -> list[str]:
    notes = []
    for position, hz in enumerate(MAINS_HZ):
        loud = [c for c in channels if c.mains_share[position] > _MAINS_SHARE]
        if loud:
            worst = max(loud, key=lambda c: c.mains_share[position])
            notes.append(
                f"{len(loud)} of {len(channels)} channels have over {_MAINS_SHARE:.0%} of their "
                f"power at {hz:g} Hz ({worst.name}: {worst.mains_share[position]:.0%}); check "
                "ground, impedances and chargers"
            )
    return notes


def _montage_problems(stream: RigStream) -> list[Problem]:
    if not stream.montage:
        return []
    import mne  # takes a second

    known = mne.channels.get_builtin_montages()
    if stream.montage in known:
        return []
    hint = nearest(stream.montage, known)
    text = f"found the montage {stream.montage!r}, expected one of MNE's{hint}"
    return [Problem("montage", text)]


def _montage_notes(stream: RigStream, ch_names: Sequence[str]) -> list[str]:
    if not stream.montage or _montage_problems(stream):
        return []
    import mne

    places = {c.casefold() for c in mne.channels.make_standard_montage(stream.montage).ch_names}
    without = [c for c in ch_names if c.casefold() not in places]
    return [f"{', '.join(without)}: no place in the montage {stream.montage}"] if without else []


def _other_notes(stream: RigStream, fields: dict[str, Any], units: Sequence[str]) -> list[str]:
    notes = []
    stype = fields["stype"]
    if stream.modality and stream_modality(stype) == "other":
        notes.append(f"its type {stype!r} is no known modality; checked as {stream.modality}")
    if _is_eeg(stream, fields) and units and not _factors(units).size:
        notes.append(f"its unit {units[0]!r} is no voltage: flat and noisy channels not checked")
    if not fields["source_id"]:
        notes.append("it has no source_id: it cannot be found again after an interruption")
    return notes
