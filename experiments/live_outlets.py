"""The two streams of a live decoder: what it says, and what that stands on."""

from collections.abc import Mapping, Sequence

import numpy as np

from physioemo.acquisition.lsl import make_outlet
from physioemo.description import StreamDescription
from physioemo.experiments.decoder import UNTRAINED, Decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.fused_live import FusedDecoded
from physioemo.features.stimulus_windows import Fed
from physioemo.prediction import Prediction

__all__ = [
    "PREDICTIONS",
    "QUALITY",
    "QUALITY_CHANNELS",
    "LiveOutlets",
    "prediction_description",
    "prediction_sample",
    "quality_description",
    "read_prediction",
    "side_channels",
    "stimulus_stands_on",
]

PREDICTIONS, QUALITY = "PhysioEmo-VAD", "PhysioEmo-Quality"
_SIDE_CHANNELS = ("first_stamp", "stamp", "age")
_STIMULUS_CHANNELS = ("stimulus_stop_stamp", *(f"stimulus_{name}_stamp" for name in Fed._fields))
_EMOTION = "emotion_"
_INTERVAL = ("value", "value_low", "value_high")

# channel -> unit
QUALITY_CHANNELS = {
    "first_stamp": "s",
    "newest_stamp": "s",
    "staleness": "s",
    "usable": "share",
    "skipped": "count",
    "latency": "s",
    "computing": "s",
}


def prediction_description(decoder: Decoder | FusedDecoder) -> StreamDescription:
    """Return the description of the stream of predictions of a decoder.

    Probabilities, confidences and ``abstain`` come first, whatever the decoder; one that predicts
    ratings adds ``valence_value`` and so on behind them, and one that promises intervals
    ``valence_value_low`` and ``valence_value_high``; last, one that names emotions has a channel
    ``emotion_happy`` of the probability of each.
    """
    names = [f"{d}_{what}" for d in decoder.dimensions for what in ("probability", "confidence")]
    ratings, named = _rating_channels(decoder), _emotion_channels(decoder)
    return StreamDescription(
        name=PREDICTIONS,
        stype="Prediction",
        sfreq=0.0,
        ch_names=(*names, "abstain", *ratings, *named),
        units=(
            *("probability",) * len(names),
            "0 or 1",
            *("rating",) * len(ratings),
            *("probability",) * len(named),
        ),
        channel_format="float32",
        source_id=f"physioemo-vad-{_mark(decoder)}",
    )


def _rating_channels(decoder: Decoder | FusedDecoder) -> list[str]:
    if isinstance(decoder, Decoder) or decoder.head is None:
        return []
    has_ends = decoder.trust is not None and decoder.trust.intervals is not None
    wanted = _INTERVAL if has_ends else _INTERVAL[:1]
    return [f"{d}_{what}" for d in decoder.dimensions for what in wanted]


def _emotion_channels(decoder: Decoder | FusedDecoder) -> list[str]:
    if isinstance(decoder, Decoder) or decoder.emotions is None:
        return []
    return [_EMOTION + name for name in decoder.emotions.names]


def quality_description(decoder: Decoder | FusedDecoder) -> StreamDescription:
    """Return the description of the stream of what predictions stand on.

    One sample for each prediction, with its stamp. ``first_stamp`` and ``newest_stamp`` are the
    EEG device's own stamps of the first and the newest sample that the prediction comes from;
    ``staleness`` is how old the newest one was; ``skipped`` counts windows that were left out
    because newer ones were complete; then 1 for each electrode that was used, 0 for each that was
    not. A decoder of several streams adds :func:`side_channels`, and counts as skipped the windows
    that did not wait until all streams had come.
    """
    sides = side_channels(decoder)
    return StreamDescription(
        name=QUALITY,
        stype="Quality",
        sfreq=0.0,
        ch_names=(*QUALITY_CHANNELS, *decoder.ch_names, *sides),
        units=(
            *QUALITY_CHANNELS.values(),
            *("0 or 1",) * len(decoder.ch_names),
            *("s",) * len(sides),
        ),
        channel_format="double64",
        source_id=f"physioemo-quality-{_mark(decoder)}",
    )


def side_channels(decoder: Decoder | FusedDecoder) -> tuple[str, ...]:
    """Return the channels that say which token of each side family a prediction stands on.

    ``eda_first_stamp`` and ``eda_stamp`` are that device's own stamps of the first sample that the
    features' state comes from and of the newest sample of the token; ``eda_age`` is how long before
    the window's end the token ends, as the model was told. All are NaN where the family was not
    there; a token older than the family allows was not used.

    A decoder that reads the stimulus says besides, all by the player's own stamps, where the window
    ended (``stimulus_stop_stamp``), and which of the player's flips and markers had come: the first
    since it listens, and the newest (``stimulus_first_flip_stamp`` and so on). All are NaN where no
    stimulus was used.
    """
    if isinstance(decoder, Decoder):
        return ()
    beside = tuple(f"{side.name}_{what}" for side in decoder.sides for what in _SIDE_CHANNELS)
    return beside if decoder.stimulus is None else (*beside, *_STIMULUS_CHANNELS)


def side_quality(decoder: FusedDecoder, decoded: FusedDecoded | None) -> dict[str, float]:
    """Return the values of :func:`side_channels`; all NaN for a prediction without a window."""
    values = dict.fromkeys(side_channels(decoder), np.nan)
    for side in decoder.sides:
        token = decoded.sides.get(side.name) if decoded else None
        if decoded and token:
            said = (token.first_stamp, token.newest_stamp, decoded.age_seconds(side.name))
            names = (f"{side.name}_{what}" for what in _SIDE_CHANNELS)
            values |= dict(zip(names, said, strict=True))
    if decoder.stimulus is not None and decoded and decoded.shown:
        stands_on = (decoded.shown.stop_stamp, *decoded.shown.fed)
        values |= dict(zip(_STIMULUS_CHANNELS, stands_on, strict=True))
    return values


def stimulus_stands_on(values: Mapping[str, float]) -> tuple[float, Fed] | None:
    """Return a window's end on the player's clock, and what of the player had come.

    Parameters
    ----------
    values : mapping of str to float
        One sample of the stream of quality by its channels.

    Returns
    -------
    (float, Fed) or None
        None where no stimulus was used.
    """
    stop, *fed = (values[name] for name in _STIMULUS_CHANNELS)
    return None if np.isnan(stop) else (stop, Fed(*fed))


def quality_sample(
    decoder: Decoder | FusedDecoder, values: Mapping[str, float], usable: np.ndarray
) -> list[float]:
    """Return one sample of the stream of quality.

    Parameters
    ----------
    decoder : Decoder or FusedDecoder
        Whose stream.
    values : mapping of str to float
        By the names of ``QUALITY_CHANNELS`` and :func:`side_channels`.
    usable : ndarray of bool, shape (electrode,)
    """
    row = [values[name] for name in QUALITY_CHANNELS]
    beside = [values[name] for name in side_channels(decoder)]
    return [float(value) for value in (*row, *usable, *beside)]


def _mark(decoder: Decoder | FusedDecoder) -> str:
    mark = f"{UNTRAINED}-" if decoder.metadata.get(UNTRAINED) else ""
    return f"{mark}{decoder.id}"


def prediction_sample(prediction: Prediction) -> np.ndarray:
    """Return one sample of the stream of predictions, shape (1, channel)."""
    pairs = [(prediction.probability[d], prediction.confidence[d]) for d in prediction.probability]
    ratings = [(v, *prediction.interval.get(d, ())) for d, v in prediction.value.items()]
    named = prediction.emotions.values()
    row = [*np.ravel(pairs), float(prediction.abstain), *np.ravel(ratings), *named]
    return np.array([row], np.float32)


def read_prediction(
    row: Sequence[float], ch_names: Sequence[str], stamp_seconds: float, model_id: str
) -> Prediction:
    """Return the prediction in a sample of the stream of predictions.

    Parameters
    ----------
    row : sequence of float, shape (channel,)
        The sample.
    ch_names : sequence of str
        Channels of the stream.
    stamp_seconds : float
        Its stamp, as the decoder gave it.
    model_id : str
        Whose stream it is.
    """
    values = {name: float(value) for name, value in zip(ch_names, row, strict=True)}
    dimensions = [n.removesuffix("_probability") for n in ch_names if n.endswith("_probability")]
    rated, bounded = (
        [d for d in dimensions if f"{d}_{what}" in values] for what in ("value", "value_low")
    )
    return Prediction(
        time_seconds=stamp_seconds,
        probability={d: values[f"{d}_probability"] for d in dimensions},
        confidence={d: values[f"{d}_confidence"] for d in dimensions},
        abstain=values["abstain"] != 0,
        reason="",
        model_id=model_id,
        value={d: values[f"{d}_value"] for d in rated},
        interval={d: (values[f"{d}_value_low"], values[f"{d}_value_high"]) for d in bounded},
        emotions={n.removeprefix(_EMOTION): values[n] for n in ch_names if n.startswith(_EMOTION)},
    )


class LiveOutlets:
    """Both streams of one decoder."""

    def __init__(self, decoder: Decoder | FusedDecoder) -> None:
        self._decoder = decoder
        self._predictions = make_outlet(prediction_description(decoder))
        self._quality = make_outlet(quality_description(decoder))

    def send(self, prediction: Prediction, quality: dict[str, float], usable: np.ndarray) -> float:
        """Publish a prediction, then what it stands on; return how old its newest sample was.

        Parameters
        ----------
        prediction : Prediction
            On this computer's LSL clock.
        quality : dict of str to float
            By the names of ``QUALITY_CHANNELS``, without ``latency`` and ``staleness``, and of
            :func:`side_channels`.
        usable : ndarray of bool, shape (electrode,)

        Returns
        -------
        float
            Seconds from the time stamp of the newest sample to the prediction on the wire.
        """
        import pylsl

        stamp = prediction.time_seconds
        self._predictions.push_sample(prediction_sample(prediction)[0].tolist(), stamp)
        latency = pylsl.local_clock() - stamp
        values = {"staleness": latency, "latency": latency, **quality}
        self._quality.push_sample(quality_sample(self._decoder, values, usable), stamp)
        return float(latency)
