"""Predictions of a decoder of several streams computed again from their recording, bit for bit.

``PhysioEmo-Quality`` says of each prediction, beside the EEG's stamps, which token of each side
family it stands on, by that device's own stamps, and how old the model was told it was. So no
offset between clocks is needed. Whether the ages are right is asked of the recording's clocks.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from physioemo.errors import CallError, PhysioEmoError
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.fused_eeg import EegRows, EegWindow
from physioemo.experiments.fused_sides import SideFamily
from physioemo.experiments.fused_streams import CutSide, SideToken
from physioemo.experiments.live_outlets import QUALITY, prediction_sample, side_channels
from physioemo.recording import Recording

__all__ = ["RecomputedFused"]

AGE_SECONDS = 0.01
"""By so much an age may differ from that of the recording's clocks: live, an offset is one
measurement; in a recording, a line through all."""

_CHUNK = 5000


class _Told(NamedTuple):
    """What a prediction says of one family; all NaN where it was not there."""

    first_stamp: float
    newest_stamp: float
    age_seconds: float


class _LackError(Exception):
    """What cannot be computed because the recording lacks it."""


class RecomputedFused:
    """Predictions computed from where the decoder began, in their order.

    Parameters
    ----------
    recording : Recording
        With the streams that were decoded, and what the decoder published.
    key : str
        Of the EEG.
    decoder : FusedDecoder
        The one that predicted.

    Raises
    ------
    CallError
        If the recording does not say which tokens were used.
    """

    def __init__(self, recording: Recording, key: str, decoder: FusedDecoder) -> None:
        self.decoder, self.description = decoder, recording.description(key)
        self.stamps = recording[key]["raw_time"].values
        self.lack = ""
        self.differences: list[str] = []
        """A sentence for each age that the recording's clocks do not agree with."""
        self._signal, self._times = recording[key]["signal"], recording[key]["time"].values
        self._places = _Places(self.stamps)
        self._told = _told(recording, decoder)
        said = list(self._told.values())
        self._sides = {
            side.name: _RecordedSide(recording, decoder, side, [told[side.name] for told in said])
            for side in decoder.sides
        }
        self._first = np.nan
        self._samples: dict[float, np.ndarray | str] = {}
        self._source: Iterator[None] = iter(())

    def sample(self, first: float, newest: float) -> np.ndarray | None:
        """Return what the decoder says at a stamp, or None if something is missing."""
        if first != self._first:
            self._first, self._samples = first, {}
            self._source = self._run(first, newest)
        while newest not in self._samples and next(self._source, self) is not self:
            pass
        found = self._samples.get(newest)
        if isinstance(found, str):
            self.lack = found
            return None
        return found

    def _run(self, first: float, newest: float) -> Iterator[None]:
        begin = self._places.of(first)
        if begin is None:
            self.lack = f"the decoder began at {first:.3f} s, which is not recorded"
            return
        rows, state, lost = EegRows(self.decoder, self.description), self.decoder.start(), ""
        for start in range(begin, len(self.stamps), _CHUNK):
            part = slice(start, start + _CHUNK)
            for window in rows.push(self._signal[part].values, self.stamps[part]):
                if window.first_stamp != first:
                    break
                try:
                    if lost and self.decoder.context is not None:
                        raise _LackError(lost)
                    sides = self._beside(window)
                    # Of times the model knows ages alone: a window that ends at 0 keeps their bits.
                    said, state = self.decoder.step(window.values, sides, 0.0, state)
                    self._samples[window.newest_stamp] = prediction_sample(said)[0]
                except _LackError as error:
                    lost = str(error)
                    self._samples[window.newest_stamp] = lost
            yield
            if rows.n_segments > 1:
                break
        self.lack = f"there is a gap between {first:.3f} s and {newest:.3f} s"

    def _beside(self, window: EegWindow) -> dict[str, SideToken | None]:
        """Return the tokens that a prediction says it stands on."""
        told = self._told.get((window.first_stamp, window.newest_stamp))
        if told is None:
            raise _LackError(f"what was used at {window.newest_stamp:.3f} s is not recorded")
        return {name: self._token(name, one, window) for name, one in told.items()}

    def _token(self, name: str, told: _Told, window: EegWindow) -> SideToken | None:
        at = self._places.of(window.newest_stamp)
        if at is None or np.isnan(told.newest_stamp):
            return None
        side = self._sides[name]
        expected = float(self._times[at]) - side.time_at(told.newest_stamp)
        if not abs(told.age_seconds - expected) <= AGE_SECONDS:
            self.differences.append(
                f"the age of {name} at {window.newest_stamp:.3f} s: {told.age_seconds:.3f} s is "
                f"not {expected:.3f} s, as the recording's clocks have it"
            )
        if told.age_seconds > side.side.choice.max_age_seconds:
            return None
        return side.token(told)


class _Places:
    """Where stamps lie among those of a stream, which a device may have set back."""

    def __init__(self, stamps: np.ndarray) -> None:
        self._order = np.argsort(stamps, kind="stable")
        self._sorted = stamps[self._order]

    def of(self, stamp: float) -> int | None:
        """Return the index of the first sample with a stamp; None if there is none."""
        at = int(np.searchsorted(self._sorted, stamp))
        found = at < len(self._sorted) and self._sorted[at] == stamp
        return int(self._order[at]) if found else None


def _told(
    recording: Recording, decoder: FusedDecoder
) -> dict[tuple[float, float], dict[str, _Told]]:
    """Return what each prediction says of the families, by the EEG's stamps.

    Raises
    ------
    CallError
        If it says nothing of them.
    """
    quality = recording[QUALITY]
    names = [str(name) for name in quality["channel"].values]
    lacking = [name for name in side_channels(decoder) if name not in names]
    if lacking:
        raise CallError(
            f"found no {lacking[0]} in {QUALITY}, expected which tokens the predictions stand on; "
            "record with this version of PhysioEmo"
        )
    rows = quality["signal"].values.tolist()
    at = {name: i for i, name in enumerate(names)}
    return {
        (row[at["first_stamp"]], row[at["newest_stamp"]]): {
            side.name: _Told(
                *(row[at[f"{side.name}_{what}"]] for what in ("first_stamp", "stamp", "age"))
            )
            for side in decoder.sides
        }
        for row in rows
    }


class _RecordedSide:
    """Tokens of one family of a recording, found by their stamps."""

    def __init__(
        self, recording: Recording, decoder: FusedDecoder, side: SideFamily, told: list[_Told]
    ) -> None:
        self.side, self._decoder = side, decoder
        stamps = np.array([t.newest_stamp for t in told if not np.isnan(t.newest_stamp)])
        key = _side_key(recording, decoder, side, stamps)
        self._description = recording.description(key) if key else None
        self._stamps = recording[key]["raw_time"].values if key else np.empty(0)
        self._times = recording[key]["time"].values if key else np.empty(0)
        self._signal = recording[key]["signal"] if key else None
        self._places = _Places(self._stamps)
        self._first = np.nan
        self._tokens: dict[float, SideToken] = {}
        self._source: Iterator[None] = iter(())
        self._why = ""

    def time_at(self, stamp: float) -> float:
        """Return the recording's time of the sample with a stamp."""
        at = self._places.of(stamp)
        if at is None:
            raise _LackError(f"{self.side.name} at {stamp:.3f} s is not recorded")
        return float(self._times[at])

    def token(self, told: _Told) -> SideToken:
        """Return a token, as old as it was told to be for a window that ends at 0."""
        if told.first_stamp != self._first:
            self._first, self._tokens = told.first_stamp, {}
            self._source = self._run(told.first_stamp)
        wanted = told.newest_stamp
        while wanted not in self._tokens and next(self._source, self) is not self:
            pass
        if wanted not in self._tokens:
            raise _LackError(self._why)
        found = self._tokens[wanted]
        return SideToken(found.values, found.present, -told.age_seconds, wanted)

    def _run(self, first: float) -> Iterator[None]:
        begin = self._places.of(first)
        if begin is None or self._signal is None or self._description is None:
            self._why = f"{self.side.name} began at {first:.3f} s, which is not recorded"
            return
        stream = CutSide(self._decoder.side_tokens(self.side.name, self._description))
        for start in range(begin, len(self._stamps), _CHUNK):
            part = slice(start, start + _CHUNK)
            made = stream.push(self._signal[part].values, self._stamps[part])
            self._tokens |= {t.newest_stamp: t for t in made if t.first_stamp == first}
            yield
            if made and made[-1].first_stamp != first:
                break
        self._why = f"the recording of {self.side.name} has a gap after {first:.3f} s"


def _side_key(
    recording: Recording, decoder: FusedDecoder, side: SideFamily, stamps: np.ndarray
) -> str:
    """Return the stream that has the most of the stamps; empty if none fits."""
    shares: dict[str, float] = {}
    for key in recording.streams:
        try:
            decoder.side_tokens(side.name, recording.description(key))
        except PhysioEmoError:
            continue
        shares[key] = float(np.isin(stamps, recording[key]["raw_time"].values).sum())
    return max(shares, key=lambda key: shares[key]) if shares else ""
