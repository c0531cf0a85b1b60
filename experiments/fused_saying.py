"""From what a fused decoder computed of a window to what it says."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from physioemo.experiments.fused_inputs import WindowOutputs
from physioemo.experiments.fused_trust import CLASSES
from physioemo.prediction import Prediction

if TYPE_CHECKING:
    from physioemo.experiments.fused_decoder import FusedDecoder

__all__ = ["say", "say_nothing"]


def say(decoder: "FusedDecoder", found: WindowOutputs, i: int, time_seconds: float) -> Prediction:
    """Return the prediction of window `i`, silent where the decoder is not sure enough.

    Parameters
    ----------
    decoder : FusedDecoder
        Who says it.
    found : WindowOutputs
        Of one or more windows.
    i : int
        Which; something was there to go by.
    time_seconds : float
        End of the window.
    """
    said = _plain(decoder, time_seconds, found.high[i])
    trust, head = decoder.trust, decoder.head
    if trust is not None:
        reason = trust.why_silent(said)
        if reason:
            return say_nothing(decoder, time_seconds, reason)
        if trust.sets is not None:
            said = replace(said, classes=trust.classes(said))
    if decoder.emotions is not None and found.emotions is not None:
        said = replace(said, emotions=_named(decoder.emotions.names, found.emotions[i]))
    if head is None or found.mean is None or found.sd is None:
        return said
    said = replace(said, value=_named(decoder.dimensions, head.scale.outwards(found.mean[i])))
    if trust is not None and trust.intervals is not None:
        ends = trust.intervals.intervals(found.mean[i : i + 1], found.sd[i : i + 1])[0]
        pairs = [(float(low), float(high)) for low, high in head.scale.outwards(ends)]
        said = replace(said, interval=dict(zip(decoder.dimensions, pairs, strict=True)))
    return said


def say_nothing(decoder: "FusedDecoder", time_seconds: float, reason: str) -> Prediction:
    """Return the prior of training, and that all is possible.

    Parameters
    ----------
    decoder : FusedDecoder
        Who says it.
    time_seconds : float
        End of the window.
    reason : str
        Why, in plain words.
    """
    names, trust, head = decoder.dimensions, decoder.trust, decoder.head
    said = replace(_plain(decoder, time_seconds, decoder.prior), abstain=True, reason=reason)
    if trust is not None and trust.sets is not None:
        said = replace(said, classes=dict.fromkeys(names, CLASSES))
    if decoder.emotions is not None:
        said = replace(said, emotions=_named(decoder.emotions.names, decoder.emotions.prior))
    if head is None:
        return said
    said = replace(said, value=_named(names, head.scale.outwards(head.prior)))
    if trust is not None and trust.intervals is not None:
        ends = (head.scale.lowest, head.scale.highest)
        said = replace(said, interval=dict.fromkeys(names, ends))
    return said


def _plain(decoder: "FusedDecoder", time_seconds: float, high: np.ndarray) -> Prediction:
    return Prediction(
        time_seconds=time_seconds,
        probability=_named(decoder.dimensions, high),
        confidence=_named(decoder.dimensions, np.maximum(high, 1 - high)),
        abstain=False,
        reason="",
        model_id=decoder.id,
    )


def _named(names: Sequence[str], numbers: np.ndarray) -> dict[str, float]:
    return dict(zip(names, map(float, numbers), strict=True))
