"""Predictions of a decoder of several streams computed again from their recording, bit for bit.

``PhysioEmo-Quality`` says of each prediction, beside the EEG's stamps, which token of each side
family it stands on, by that device's own stamps, and how old the model was told it was. So no
offset between clocks is needed. Whether the ages are right is asked of the recording's clocks.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from physioemo.errors import CallError, DataError, PhysioEmoError
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.fused_eeg import EegRows, EegWindow
from physioemo.experiments.fused_sides import SideFamily
from physioemo.experiments.fused_streams import CutSide, SideToken
from physioemo.experiments.live_outlets import (
    QUALITY,
    prediction_sample,
    side_channels,
    stimulus_stands_on,
)
from physioemo.experiments.session.recompute_places import LackError, Places
from physioemo.experiments.session.recompute_player import RecordedPlayer
from physioemo.features.stimulus_features import StimulusFeatures
from physioemo.features.stimulus_tokens import StimulusTokens
from physioemo.features.stimulus_windows import Fed
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


class _Stands(NamedTuple):
    """What a prediction says it stands on, beside the EEG."""

    sides: dict[str, _Told]
    shown: tuple[float, Fed] | None


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
    stimuli : sequence of StimulusFeatures
        The files that were shown, for a decoder that reads them.

    Raises
    ------
    CallError
        If the recording does not say which tokens were used.
    """

    def __init__(
        self,
        recording: Recording,
        key: str,
        decoder: FusedDecoder,
        stimuli: Sequence[StimulusFeatures] = (),
    ) -> None:
        self.decoder, self.description = decoder, recording.description(key)
        self.stamps = recording[key]["raw_time"].values
        self.lack = ""
        self.differences: list[str] = []
        """A sentence for each age that the recording's clocks do not agree with."""
        self._signal, self._times = recording[key]["signal"], recording[key]["time"].values
        self._places = Places(self.stamps)
        self._told = _told(recording, decoder)
        said = list(self._told.values())
        self._sides = {
            side.name: _RecordedSide(
                recording, decoder, side, [told.sides[side.name] for told in said]
            )
            for side in decoder.sides
        }
        self._player = None
        if decoder.stimulus is not None:
            self._player = RecordedPlayer(recording, decoder.stimulus.layout, stimuli)
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
                        raise LackError(lost)
                    sides, shown = self._beside(window)
                    # Of times the model knows ages alone: a window that ends at 0 keeps their bits.
                    said, state = self.decoder.step(
                        window.values, sides, 0.0, state, stimulus=shown
                    )
                    self._samples[window.newest_stamp] = prediction_sample(said)[0]
                except LackError as error:
                    lost = str(error)
                    self._samples[window.newest_stamp] = lost
            yield
            if rows.n_segments > 1:
                break
        self.lack = f"there is a gap between {first:.3f} s and {newest:.3f} s"

    def _beside(
        self, window: EegWindow
    ) -> tuple[dict[str, SideToken | None], StimulusTokens | None]:
        """Return the tokens that a prediction says it stands on, and what was shown."""
        told = self._told.get((window.first_stamp, window.newest_stamp))
        if told is None:
            raise LackError(f"what was used at {window.newest_stamp:.3f} s is not recorded")
        sides = {name: self._token(name, one, window) for name, one in told.sides.items()}
        return sides, self._shown(told.shown, window)

    def _shown(self, told: tuple[float, Fed] | None, window: EegWindow) -> StimulusTokens | None:
        """Return what a prediction says had been shown; its time is that of the window, 0."""
        at = self._places.of(window.newest_stamp)
        if told is None or self._player is None or at is None:
            return None
        stop, fed = told
        try:
            tokens = self._player.tokens(stop, fed)
        except DataError as error:  # live it could be computed
            self.differences.append(f"what was shown at {window.newest_stamp:.3f} s: {error}")
            raise LackError(str(error)) from None
        off = self._player.time_at(stop) - float(self._times[at])
        if not abs(off) <= AGE_SECONDS:
            self.differences.append(
                f"the end of the window at {window.newest_stamp:.3f} s: the player's clock is "
                f"{off:+.3f} s from there, as the recording's clocks have it"
            )
        return replace(tokens, end_seconds=np.zeros(1))

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


def _told(recording: Recording, decoder: FusedDecoder) -> dict[tuple[float, float], _Stands]:
    """Return what each prediction says it stands on, by the EEG's stamps.

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
    rows = [dict(zip(names, row, strict=True)) for row in quality["signal"].values.tolist()]
    return {(row["first_stamp"], row["newest_stamp"]): _stands(decoder, row) for row in rows}


def _stands(decoder: FusedDecoder, row: Mapping[str, float]) -> _Stands:
    told = {
        side.name: _Told(*(row[f"{side.name}_{what}"] for what in ("first_stamp", "stamp", "age")))
        for side in decoder.sides
    }
    return _Stands(told, None if decoder.stimulus is None else stimulus_stands_on(row))


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
        self._places = Places(self._stamps)
        self._first = np.nan
        self._tokens: dict[float, SideToken] = {}
        self._source: Iterator[None] = iter(())
        self._why = ""

    def time_at(self, stamp: float) -> float:
        """Return the recording's time of the sample with a stamp."""
        at = self._places.of(stamp)
        if at is None:
            raise LackError(f"{self.side.name} at {stamp:.3f} s is not recorded")
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
            raise LackError(self._why)
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
