"""Entropy tokens of one stream: live window by window, or of a whole recording."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from physioemo.clock import segment_bounds
from physioemo.description import StreamDescription
from physioemo.errors import StreamDescriptionError
from physioemo.features.artefact_gate import ArtefactGate, GateState, start_gate, step_gate
from physioemo.features.entropy import EntropyRecipe, EntropyState, start_entropy, step_entropy
from physioemo.features.entropy_gemm import entropy_by_gemm
from physioemo.recording import Recording
from physioemo.stream import describe_stream
from physioemo.tokens import Tokens, TokenSet
from physioemo.units import conversion_factor
from physioemo.window import Window

__all__ = ["FAMILY", "TokenState", "TokenStream", "recording_tokens"]

FAMILY = "eeg_entropy"
_RATE_MATCH = 1e-3


@dataclass(frozen=True)
class TokenState:
    """What the stream so far has left behind.

    Parameters
    ----------
    segment : int
        The segment of the leading stream; a new one starts from rest.
    entropy : EntropyState
        State of the filters.
    gate : GateState
        Electrodes that are masked for a while.
    """

    segment: int
    entropy: EntropyState
    gate: GateState


class TokenStream:
    """Turns windows of one stream into entropy tokens of named electrodes in microvolts.

    Parameters
    ----------
    description : StreamDescription
        The stream to read from.
    ch_names : sequence of str
        Electrodes in the order of the tokens; those that the stream lacks are masked.
    recipe : EntropyRecipe
        How tokens are made; its rate must be the stream's.
    gate : ArtefactGate, optional
        Which electrodes are masked, and when.

    Raises
    ------
    StreamDescriptionError
        If the rates differ, or fewer than half of the electrodes are there.
    UnitError
        If a channel's unit does not convert to microvolts.
    """

    def __init__(
        self,
        description: StreamDescription,
        ch_names: Sequence[str],
        recipe: EntropyRecipe,
        gate: ArtefactGate | None = None,
    ) -> None:
        if abs(description.sfreq / recipe.sfreq - 1) > _RATE_MATCH:
            raise StreamDescriptionError(
                f"stream {description.name!r}: found {description.sfreq:g} Hz, expected "
                f"{recipe.sfreq:g} Hz as in training; set the device to that rate, or train a "
                "decoder on recordings with this one"
            )
        self.recipe, self.gate = recipe, gate
        self.ch_names = tuple(ch_names)
        self.index, self.factor = _channel_map(description, self.ch_names)
        if 2 * int((self.index >= 0).sum()) < len(self.ch_names):
            missing = [n for n, i in zip(self.ch_names, self.index, strict=True) if i < 0]
            named = ", ".join([*missing[:8], *(["..."] if len(missing) > 8 else [])])
            raise StreamDescriptionError(
                f"stream {description.name!r}: found {len(self.ch_names) - len(missing)} of the "
                f"decoder's {len(self.ch_names)} electrodes, expected at least half; missing are "
                f"{named}; use the training's cap, or train a decoder on recordings with this one"
            )

    def start(self) -> TokenState:
        """Return the state before the first sample."""
        return self._at_rest(0)

    def _at_rest(self, segment: int) -> TokenState:
        n = len(self.ch_names)
        return TokenState(segment, start_entropy(n, self.recipe), start_gate(n))

    def step(
        self, signal: np.ndarray, time: np.ndarray, segment: int, state: TokenState
    ) -> tuple[TokenSet, TokenState]:
        """Take the next hop (channel, time); return the tokens of the windows it completes."""
        if segment != state.segment:
            state = self._at_rest(segment)
        hop = self._in_microvolts(signal)
        entropy, after = step_entropy(hop, state.entropy, self.recipe)
        masked, gate = self._step_gate(hop, state.gate)
        entropy[:, masked] = np.nan
        # A window that is no multiple of the hop ends before the hop that completes it.
        last = len(time) - 1 - (-self.recipe.window_samples) % self.recipe.hop_samples
        stop = np.full(len(entropy), time[last])
        return self._token_set(entropy, stop), TokenState(segment, after, gate)

    def _step_gate(self, hop: np.ndarray, state: GateState) -> tuple[np.ndarray, GateState]:
        if self.gate is None:
            return np.zeros(len(hop), bool), state
        return step_gate(
            hop,
            state,
            self.gate,
            sfreq=self.recipe.sfreq,
            window_samples=self.recipe.window_samples,
        )

    def _mask_artefacts(self, entropy: np.ndarray, rows: np.ndarray) -> None:
        """Mask the entropy (window, channel, band) of a whole segment (channel, time)."""
        if self.gate is None:
            return
        n_hop, state = self.recipe.hop_samples, start_gate(len(rows))
        for start in range(0, rows.shape[1], n_hop):
            masked, state = self._step_gate(rows[:, start : start + n_hop], state)
            # A window is complete with the hop that holds its last sample.
            i = (start + n_hop - self.recipe.window_samples) // n_hop
            if 0 <= i < len(entropy):
                entropy[i, masked] = np.nan

    def _in_microvolts(self, signal: np.ndarray) -> np.ndarray:
        """Return the electrodes' rows (channel, time); an absent electrode is all NaN."""
        picked = signal[np.maximum(self.index, 0)].astype(float) * self.factor[:, None]
        picked[self.index < 0] = np.nan
        return picked

    def _token_set(self, entropy: np.ndarray, stop: np.ndarray) -> TokenSet:
        coords = {"channel": self.ch_names, "band": self.recipe.band_names}
        family = Tokens(
            entropy,
            np.isfinite(entropy),
            ("channel", "band"),
            coords,
            "nats",
            self.recipe.fingerprint,
        )
        length = (self.recipe.window_samples - 1) / self.recipe.sfreq
        return TokenSet({FAMILY: family}, stop - length, stop)

    def fold(self, windows: Iterator[Window], key: str) -> TokenSet:
        """Return the tokens of a whole sequence of windows, step by step as live."""
        state, parts = self.start(), []
        for window in windows:
            part = window[key]
            tokens, state = self.step(part.signal, part.time, window.segment, state)
            parts.append((tokens[FAMILY].values, tokens.stop_seconds))
        return self._joined(parts)

    def batch(self, signal: np.ndarray, time: np.ndarray, *, dtype: Any = np.float64) -> TokenSet:
        """Return the tokens of a whole signal (time, channel) by the vectorised engine.

        Agrees with :meth:`fold` within 1e-9 (float64) or 1e-5 (float32), relative to
        ``max(1, |entropy|)``.
        """
        parts = []
        for start, stop in segment_bounds(time, self.recipe.sfreq):
            # Live, samples come in whole hops: what is left at the end completes no window.
            stop -= (stop - start) % self.recipe.hop_samples
            if stop - start < self.recipe.window_samples:
                continue
            rows = self._in_microvolts(signal[start:stop].T)
            entropy = entropy_by_gemm(rows, self.recipe, dtype=dtype)
            self._mask_artefacts(entropy, rows)
            ends = np.arange(len(entropy)) * self.recipe.hop_samples + self.recipe.window_samples
            parts.append((entropy, time[start:stop][ends - 1]))
        return self._joined(parts)

    def _joined(self, parts: list[tuple[np.ndarray, np.ndarray]]) -> TokenSet:
        shape = (0, len(self.ch_names), len(self.recipe.bands))
        entropy = np.concatenate([np.empty(shape), *(e for e, _ in parts)])
        return self._token_set(entropy, np.concatenate([np.empty(0), *(t for _, t in parts)]))


def _channel_map(
    description: StreamDescription, ch_names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return each electrode's channel (-1 if absent) and its factor to microvolts."""
    there = {name.casefold(): i for i, name in enumerate(description.ch_names)}
    index = np.array([there.get(name.casefold(), -1) for name in ch_names], int)
    units = [description.units[i] if i >= 0 else "uV" for i in index]
    return index, np.array([conversion_factor(u, "uV") for u in units])


def recording_tokens(
    recording: Recording, recipe: EntropyRecipe, ch_names: Sequence[str], *, stream: str = "eeg"
) -> TokenSet:
    """Return the entropy tokens of a recording, computed window by window as live."""
    key = recording.key(stream)
    tokens = TokenStream(describe_stream(recording[key]), ch_names, recipe)
    return tokens.fold(recording.windows(key, recipe.hop_samples), key)
