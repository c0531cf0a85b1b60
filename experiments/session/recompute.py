"""Every prediction of a live session computed again from its recording, bit for bit.

``PhysioEmo-Quality`` says of each prediction from which sample of the EEG the decoder's state came
and which was the newest, by the device's own stamps. The recording holds the same samples with the
same stamps, so the same decoder must say the same. What a decoder of several streams stands on
besides is in :mod:`physioemo.experiments.session.recompute_fused`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.live_decoding import LiveDecoding
from physioemo.experiments.live_outlets import PREDICTIONS, QUALITY, prediction_sample
from physioemo.experiments.session.recompute_fused import RecomputedFused
from physioemo.features.stimulus_features import StimulusFeatures
from physioemo.recording import Recording

__all__ = ["PredictionCheck", "check_predictions"]

_CHUNK = 5000


@dataclass(frozen=True)
class PredictionCheck:
    """How a recording's predictions compare with those computed again.

    Parameters
    ----------
    n_predictions : int
        In the recording.
    n_identical : int
        Those that came out the same in every bit.
    n_silent : int
        Abstentions because the EEG was silent, which is so in the recording too.
    n_before : int
        Those of a decoder that had begun before the recording, until it began anew, and those at
        the recording's edges that it holds by half.
    differences : tuple of str
        A sentence for each that differs, at most ten, and one that counts the rest.
    gaps : tuple of str
        What cannot be computed because the recording lacks it, a sentence each.
    """

    n_predictions: int
    n_identical: int
    n_silent: int
    n_before: int
    differences: tuple[str, ...]
    gaps: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing differs; a gap is named, not a difference."""
        return not self.differences


def check_predictions(
    recording: Recording,
    decoder: Decoder | FusedDecoder,
    *,
    stream: str | None = None,
    stimuli: Sequence[StimulusFeatures] = (),
) -> PredictionCheck:
    """Compute a recording's predictions again.

    Parameters
    ----------
    recording : Recording
        With the EEG, ``PhysioEmo-VAD`` and ``PhysioEmo-Quality``.
    decoder : Decoder or FusedDecoder
        The one that predicted.
    stream : str, optional
        Name of the EEG stream that was decoded; by default the one that has the samples.
    stimuli : sequence of StimulusFeatures
        The files that were shown, for a decoder that reads them; without one of them what was
        predicted while it was shown is a gap.

    Raises
    ------
    CallError
        If a stream is not there, or another decoder predicted.
    """
    import torch

    torch.set_num_threads(1)
    _refuse_other_decoder(recording, decoder)
    said = recording[PREDICTIONS]
    quality = recording[QUALITY]
    names = [str(name) for name in quality["channel"].values]
    at = {name: quality["signal"].values[:, names.index(name)] for name in names[:3]}
    rows, lost = _paired(said["raw_time"].values, quality["raw_time"].values)
    gaps = [f"{lost} predictions have no quality beside them, or the reverse"] if lost else []
    if not len(rows):
        return PredictionCheck(said.sizes["time"], 0, 0, 0, (), tuple(gaps))
    first, newest = at["first_stamp"][rows[:, 1]], at["newest_stamp"][rows[:, 1]]
    sent = said["signal"].values[rows[:, 0]].astype(np.float32)
    key = _eeg_key(recording, decoder, newest, stream)
    computed = (
        _Recomputed(recording, key, decoder)
        if isinstance(decoder, Decoder)
        else RecomputedFused(recording, key, decoder, stimuli)
    )
    prior = prediction_sample(decoder.abstention(0.0, "silent"))[0]
    n_identical = n_silent = 0
    n_before = said.sizes["time"] - int(np.ptp(rows[:, 0])) - 1
    differences: list[str] = []
    for i in range(len(rows)):
        if first[i] < computed.stamps[0]:
            n_before += 1
            continue
        expected = prior if np.isnan(first[i]) else computed.sample(float(first[i]), newest[i])
        if np.isnan(first[i]) and not _is_silent_after(computed.stamps, newest[i]):
            gaps.append(
                f"the decoder heard nothing after {newest[i]:.3f} s, where the recording has "
                "samples: they came late, or it was cut off"
            )
        elif expected is None:
            gaps.append(f"the recording lacks samples before {newest[i]:.3f} s: {computed.lack}")
        elif not np.array_equal(expected, sent[i]):
            differences.append(f"the prediction at {newest[i]:.3f} s: {sent[i]} is not {expected}")
        else:
            n_identical += 1
            n_silent += int(np.isnan(first[i]))
    return PredictionCheck(
        said.sizes["time"],
        n_identical,
        n_silent,
        n_before,
        _shortened([*differences, *computed.differences]),
        _shortened(gaps),
    )


def _is_silent_after(stamps: np.ndarray, stamp: float) -> bool:
    """Return whether the stream has a hole, or ends, just after a stamp."""
    after = int(np.searchsorted(stamps, stamp, side="right"))
    return after == len(stamps) or bool(stamps[after] - stamp > 0.5)


def _refuse_other_decoder(recording: Recording, decoder: Decoder | FusedDecoder) -> None:
    for name in (PREDICTIONS, QUALITY):
        source_id = recording.description(recording.key(name)).source_id
        if not source_id.endswith(decoder.id):
            raise CallError(
                f"found that {name} comes from {source_id!r}, expected the decoder {decoder.id!r}; "
                "give the folder of the decoder that was used"
            )


def _paired(said: np.ndarray, quality: np.ndarray) -> tuple[np.ndarray, int]:
    """Return rows (prediction, quality) with equal stamps in order, and how many have no other.

    At its edges a recording may hold one of a pair; between them each has its other.
    """
    pairs, i, j = [], 0, 0
    while i < len(said) and j < len(quality):
        if said[i] == quality[j]:
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif len(said) - i > len(quality) - j:
            i += 1
        else:
            j += 1
    rows = np.array(pairs, int).reshape(-1, 2)
    between = (rows[-1] - rows[0] + 1).sum() if len(rows) else len(said) + len(quality)
    return rows, int(between) - 2 * len(rows)


def _eeg_key(
    recording: Recording, decoder: Decoder | FusedDecoder, stamps: np.ndarray, stream: str | None
) -> str:
    if stream is not None:
        return recording.key(stream)
    shares = {
        key: float(np.isin(stamps, recording[key]["raw_time"].values).mean())
        for key in recording.streams
        if _fits(recording, key, decoder)
    }
    if not shares:
        raise CallError(
            f"found no stream that fits the decoder among {', '.join(recording.streams)}, expected "
            "the EEG that was decoded"
        )
    return max(shares, key=lambda key: shares[key])


def _fits(recording: Recording, key: str, decoder: Decoder | FusedDecoder) -> bool:
    from physioemo.errors import PhysioEmoError

    try:
        decoder.tokens(recording.description(key))
    except PhysioEmoError:
        return False
    return True


class _Recomputed:
    """Predictions of one stream, computed from where the decoder began."""

    def __init__(self, recording: Recording, key: str, decoder: Decoder) -> None:
        self.decoder, self.description = decoder, recording.description(key)
        self.stamps = recording[key]["raw_time"].values
        self.signal = recording[key]["signal"]
        self.lack = ""
        self.differences = ()
        self._first = np.nan
        self._samples: dict[float, np.ndarray] = {}
        self._source: Iterator[None] = iter(())

    def sample(self, first: float, newest: float) -> np.ndarray | None:
        """Return what the decoder says at a stamp, or None if samples are missing."""
        if first != self._first:
            self._first, self._samples = first, {}
            self._source = self._run(first, newest)
        while newest not in self._samples and next(self._source, self) is not self:
            pass
        return self._samples.get(newest)

    def _run(self, first: float, newest: float) -> Iterator[None]:
        found = np.flatnonzero(self.stamps == first)
        if not len(found):
            self.lack = f"the decoder began at {first:.3f} s, which is not recorded"
            return
        decoding = LiveDecoding(self.decoder, self.description)
        for start in range(int(found[0]), len(self.stamps), _CHUNK):
            stop = min(start + _CHUNK, len(self.stamps))
            made = decoding.push(self.signal[start:stop].values, self.stamps[start:stop])
            for decoded in made:
                if decoded.first_stamp == first:
                    row = prediction_sample(decoded.prediction)[0]
                    self._samples[decoded.prediction.time_seconds] = row
            yield
            if decoding.n_segments > 1:
                break
        self.lack = f"there is a gap between {first:.3f} s and {newest:.3f} s"


def _shortened(sentences: list[str]) -> tuple[str, ...]:
    """Return each once with how often it was said, ten at most."""
    counted = Counter(sentences)
    found = [text if n == 1 else f"{text} ({n} predictions)" for text, n in counted.items()]
    return tuple(found) if len(found) <= 10 else (*found[:10], f"and {len(found) - 10} more")
