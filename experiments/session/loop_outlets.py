"""What the conductor publishes besides events: the feedback, and predictions as fitted."""

import socket
from collections.abc import Sequence
from dataclasses import replace

from physioemo.acquisition.lsl import make_outlet
from physioemo.description import StreamDescription
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.live_outlets import prediction_description, prediction_sample
from physioemo.experiments.session.hearing import Heard

__all__ = ["FEEDBACK", "PERSONAL", "LoopOutlets"]

FEEDBACK, PERSONAL = "PhysioEmo-Feedback", "PhysioEmo-Personal"


class LoopOutlets:
    """Streams for whoever shows something to the participant, such as Unity or PsychoPy.

    Parameters
    ----------
    decoder : Decoder or FusedDecoder
        Whose predictions.
    token : str
        Part of the source_id that tells two sessions on one computer apart.
    feeds_back : bool
        Whether the policy sets a feedback: ``PhysioEmo-Feedback``, 0 to 1.
    fits : bool
        Whether predictions are fitted to the participant: ``PhysioEmo-Personal``, channels and
        stamps as those of ``PhysioEmo-VAD``.
    simulated : bool
        Whether a program stands for a person.
    """

    def __init__(
        self,
        decoder: Decoder | FusedDecoder,
        token: str,
        *,
        feeds_back: bool,
        fits: bool,
        simulated: bool,
    ) -> None:
        place = f"{socket.gethostname()}-{token}"
        feedback = StreamDescription(
            name=FEEDBACK,
            stype="Feedback",
            sfreq=0.0,
            ch_names=("feedback",),
            units=("0-1",),
            channel_format="float32",
            source_id=f"physioemo-feedback-{place}",
        )
        fitted = replace(
            prediction_description(decoder),
            name=PERSONAL,
            source_id=f"physioemo-personal-{place}-{decoder.id}",
        )
        self._feedback = make_outlet(feedback, simulated=simulated) if feeds_back else None
        self._fitted = make_outlet(fitted, simulated=simulated) if fits else None

    def send_feedback(self, value: float) -> None:
        """Publish the feedback, stamped now."""
        if self._feedback is not None:
            self._feedback.push_sample([value])

    def send_fitted(self, heard: Sequence[Heard]) -> None:
        """Publish predictions as fitted to the participant, with their own stamps."""
        if self._fitted is None:
            return
        for one in heard:
            row = prediction_sample(one.prediction)[0].tolist()
            self._fitted.push_sample(row, one.prediction.time_seconds)
