"""A decoder of several streams: the EEG leads, and what stands beside it may be missing.

There is one prediction for each entropy window of the EEG. At a window that ends at time t each
side family gives its newest token that ends at t or before, if it is not too old; else it is
missing, and so is the EEG with fewer than half of its electrodes. With nothing left the decoder
abstains and says the prior of its training. Live and offline are the same code: tokens and
:meth:`FusedDecoder.step`, window by window; only a context that sees later windows is offline
alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.description import StreamDescription
from physioemo.errors import CallError, SignalError
from physioemo.experiments.fused_context import (
    FusedState,
    RunningBag,
    WindowContext,
    window_features,
)
from physioemo.experiments.fused_emotions import EmotionHead
from physioemo.experiments.fused_heads import RatingHead
from physioemo.experiments.fused_inputs import EEG, WindowOutputs, checked_token, model_inputs
from physioemo.experiments.fused_modalities import FamilyScaler
from physioemo.experiments.fused_predict import predict_recording
from physioemo.experiments.fused_saying import say, say_nothing
from physioemo.experiments.fused_sides import SideFamily
from physioemo.experiments.fused_stimulus import StimulusChoice, one_window
from physioemo.experiments.fused_streams import SideStream, SideToken
from physioemo.experiments.fused_trust import Trust
from physioemo.experiments.tokens import TokenStream
from physioemo.features.artefact_gate import ArtefactGate
from physioemo.features.entropy import EntropyRecipe
from physioemo.features.stimulus_features import StimulusFeatures
from physioemo.features.stimulus_tokens import StimulusTokens
from physioemo.models.calibration import calibrated_probability
from physioemo.models.checkpoint import model_id
from physioemo.prediction import Prediction
from physioemo.recording import Recording

__all__ = ["EEG", "FusedDecoder", "model_inputs"]


@dataclass(frozen=True)
class FusedDecoder:
    """From EEG windows and tokens of other streams to predictions.

    Parameters
    ----------
    recipe : EntropyRecipe
        How the EEG's tokens are made.
    ch_names : tuple of str
        Electrodes, in the order of the tokens.
    dimensions : tuple of str
        What is predicted.
    sides : tuple of SideFamily
        Families beside the EEG, in the order of the model.
    scalers : mapping of str to FamilyScaler
        Of :data:`EEG` and of each side family, fitted on training windows.
    model : FusedModel
        Tokens to logits (window, dimension, class).
    temperature : ndarray, shape (dimension,)
        Calibration fitted on validation trials.
    prior : ndarray, shape (dimension,)
        Share of the high class in training; what an abstaining decoder says.
    metadata : dict
        How it was made.
    gate : ArtefactGate, optional
        Which electrodes are masked, and when; None masks none.
    stimulus : StimulusChoice, optional
        What of the stimulus is read.
    trust : Trust, optional
        When it is silent and what it promises; without it it answers whenever anything is there.
    head : RatingHead, optional
        What says ratings as numbers.
    context : WindowContext or RunningBag, optional
        What says the classes from this window and others.
    emotions : EmotionHead, optional
        What says named emotions, of the single window.
    """

    recipe: EntropyRecipe
    ch_names: tuple[str, ...]
    dimensions: tuple[str, ...]
    sides: tuple[SideFamily, ...]
    scalers: Mapping[str, FamilyScaler]
    model: Any
    temperature: np.ndarray
    prior: np.ndarray
    metadata: dict[str, Any] = field(default_factory=dict)
    id: str = ""
    gate: ArtefactGate | None = None
    stimulus: StimulusChoice | None = None
    trust: Trust | None = None
    head: RatingHead | None = None
    context: WindowContext | RunningBag | None = None
    emotions: EmotionHead | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", self.id or model_id(self.network))

    @property
    def network(self) -> Any:
        """All that was learned, as one module."""
        from torch import nn

        parts = [p.network for p in (self.head, self.context, self.emotions) if p is not None]
        return nn.ModuleList([self.model, *parts]) if parts else self.model

    @property
    def offline_only(self) -> bool:
        """Whether it sees later windows, so that no live session may use it."""
        return self.context is not None and self.context.offline_only

    @property
    def modalities(self) -> tuple[str, ...]:
        """The EEG, the side families and what is read of the stimulus."""
        shown = self.stimulus.modalities if self.stimulus else ()
        return (EEG, *(side.name for side in self.sides), *shown)

    def tokens(self, description: StreamDescription) -> TokenStream:
        """Return what turns windows of an EEG stream into this decoder's tokens."""
        return TokenStream(description, self.ch_names, self.recipe, self.gate)

    def side_tokens(self, name: str, description: StreamDescription) -> SideStream:
        """Return what turns samples of another stream into tokens of a side family.

        Parameters
        ----------
        name : str
            Of the family, as in :attr:`modalities`.
        description : StreamDescription
            The stream; :func:`physioemo.experiments.fused_sides.find_side` finds it by its kind.

        Raises
        ------
        CallError
            If the decoder has no such family.
        StreamDescriptionError
            If its features would not be those of training.
        """
        return SideStream(self._side(name), description)

    def _side(self, name: str) -> SideFamily:
        for side in self.sides:
            if side.name == name:
                return side
        raise CallError(
            f"found the side family {name!r}, expected one of "
            f"{', '.join(s.name for s in self.sides) or 'none'}; use the decoder's own"
        )

    def predict_one(
        self,
        eeg_tokens: np.ndarray,
        sides: Mapping[str, SideToken | None],
        time_seconds: float,
        stimulus: StimulusTokens | None = None,
    ) -> Prediction:
        """Return the prediction of one EEG window, computed alone; nothing is remembered.

        With a context, that of a window before which nothing was known.

        Parameters
        ----------
        eeg_tokens, sides, time_seconds, stimulus
            As in :meth:`step`.
        """
        return self.step(eeg_tokens, sides, time_seconds, self.start(), stimulus=stimulus)[0]

    def start(self, segment: int = 0) -> FusedState:
        """Return the state before the first window of a stretch without gaps.

        Raises
        ------
        CallError
            If it sees later windows.
        """
        return FusedState(segment, None if self.context is None else self.context.start())

    def step(
        self,
        eeg_tokens: np.ndarray,
        sides: Mapping[str, SideToken | None],
        time_seconds: float,
        state: FusedState,
        *,
        segment: int = 0,
        stimulus: StimulusTokens | None = None,
    ) -> tuple[Prediction, FusedState]:
        """Return the prediction of one EEG window, and the state after it.

        Parameters
        ----------
        eeg_tokens : ndarray, shape (channel, band)
            Entropies in nats, NaN where missing.
        sides : mapping of str to SideToken or None
            The newest token of each family; one that is None, not named or too old is missing.
        time_seconds : float
            End of the EEG window.
        state : FusedState
            After the window before, or :meth:`start`; it is left as it is.
        segment : int
            The stretch without gaps in which the window lies; a new one begins from nothing.
        stimulus : StimulusTokens, optional
            What was shown in the window that ends then, as
            :meth:`physioemo.features.stimulus_windows.LiveStimulus.tokens` says it; missing by
            default.

        Raises
        ------
        CallError
            If a family is not the decoder's, its token ends after the window, the stimulus is of
            another window or not read, or the decoder sees later windows.
        SignalError
            If a shape is not that of training.
        """
        if segment != state.segment:
            state = self.start(segment)
        found = self.read_one(eeg_tokens, sides, time_seconds, stimulus)
        logits, abstain, kept = found.logits, found.abstain, state.context
        if self.context is not None:
            logits, abstain, kept = self.context.step(window_features(found)[0], kept)
        said = self.outputs_of(found, logits, abstain)
        return self._said(said, time_seconds, eeg_tokens), FusedState(segment, kept)

    def read_one(
        self,
        eeg_tokens: np.ndarray,
        sides: Mapping[str, SideToken | None],
        time_seconds: float,
        stimulus: StimulusTokens | None,
    ) -> Any:
        """Return logits, abstention and features of one window; arguments as in :meth:`step`."""
        values, ages = {}, {}
        for name, token in sides.items():
            if token is None:
                self._side(name)
                continue
            values[name], ages[name] = checked_token(self._side(name), token, time_seconds)
        shape = (len(self.ch_names), len(self.recipe.bands))
        if np.shape(eeg_tokens) != shape:
            raise SignalError(
                f"found entropies of shape {np.shape(eeg_tokens)}, expected {shape} (channel, "
                "band) as in training"
            )
        shown = None if stimulus is None else self._shown(stimulus, time_seconds)
        return self._read(np.asarray(eeg_tokens, float)[None], values, ages, shown)

    def _shown(self, stimulus: StimulusTokens, time_seconds: float) -> dict[str, Any]:
        if self.stimulus is None:
            raise CallError(
                "found a stimulus for a decoder that reads none, expected one that was trained "
                "with it; leave the stimulus out"
            )
        return self.stimulus.chosen(one_window(stimulus, time_seconds))

    def why_nothing(self, eeg_tokens: np.ndarray) -> str:
        """Return why nothing can be said of a window, in plain words."""
        usable = int(np.isfinite(eeg_tokens).all(axis=1).sum())
        missing = self.modalities[1:]
        rest = f", and nothing of {', '.join(missing)}" if missing else ""
        return f"only {usable} of {len(self.ch_names)} electrodes are usable{rest}"

    def outputs(
        self,
        values: np.ndarray,
        side_values: Mapping[str, np.ndarray],
        ages: Mapping[str, np.ndarray],
        shown: Mapping[str, Any] | None = None,
        *,
        sequences: np.ndarray | None = None,
    ) -> WindowOutputs:
        """Return what is said of many windows at once, if the decoder is never silent.

        Parameters
        ----------
        values : ndarray, shape (window, channel, band)
            Entropies in nats, NaN where missing.
        side_values, ages : mapping of str to ndarray
            For each side family its numbers (window, number) and how many seconds before the
            window's end they end (window,), NaN for none; a family that is not named is missing.
        shown : mapping, optional
            What :meth:`StimulusChoice.chosen` says of the stimulus; missing by default.
        sequences : ndarray of int, shape (window,), optional
            For a context: windows of one number follow one another, in order of time; by default
            each stands alone.
        """
        if not len(values):
            n_names = None if self.emotions is None else len(self.emotions.names)
            return WindowOutputs.of_nothing(len(self.dimensions), self.head is not None, n_names)
        found = self._read(values, side_values, ages, shown)
        logits, abstain = found.logits, found.abstain
        if self.context is not None:
            alone = np.arange(len(values)) if sequences is None else sequences
            logits, abstain = self.context.batch(window_features(found), alone)
        return self.outputs_of(found, logits, abstain)

    def _read(
        self,
        values: np.ndarray,
        side_values: Mapping[str, np.ndarray],
        ages: Mapping[str, np.ndarray],
        shown: Mapping[str, Any] | None,
    ) -> Any:
        """Return logits, abstention and features of the fused model."""
        from physioemo.models.fused_training import fused_outputs

        inputs = model_inputs(values, side_values, ages, self.sides, self.scalers)
        if self.stimulus is not None:
            found = self.stimulus.nothing(len(values)) if shown is None else shown
            inputs |= self.stimulus.scaled(found, self.scalers)
        return fused_outputs(self.model, inputs)

    def outputs_of(self, found: Any, logits: np.ndarray, abstain: np.ndarray) -> WindowOutputs:
        """Return calibrated probabilities and, with a head, ratings.

        Parameters
        ----------
        found : FusedOutputs
            What the fused model says.
        logits, abstain : ndarray
            Its own, or what a context says in their place.
        """
        mean = sd = None
        if self.head is not None:
            mean, sd = self.head.say(found.features)
            if self.head.kind == "continuous":
                logits = self.head.logits(mean, sd)
        high = calibrated_probability(logits, self.temperature)[..., 1]
        high = np.where(abstain[:, None], self.prior, high)
        nothing, head = abstain | found.abstain, self.emotions
        named = None if head is None else head.say(found.features, nothing)
        return WindowOutputs(logits, high, abstain, mean, sd, named)

    def predict(
        self,
        recording: Recording,
        *,
        stream: str = EEG,
        stimuli: Sequence[StimulusFeatures] = (),
    ) -> list[Prediction]:
        """Return the predictions of a recording, window by window exactly as live.

        A family whose stream the recording lacks is missing throughout, and so is the stimulus
        without its files.

        Parameters
        ----------
        recording : Recording
            The recording.
        stream : str
            Its EEG.
        stimuli : sequence of StimulusFeatures
            The files that were shown, decoded by ``stimulus.recipe``.

        Raises
        ------
        StreamDescriptionError, AmbiguousStreamError
            If a stream is not that of training, or two carry one family.
        DataError
            If a file that was shown is not among the stimuli.
        """
        return predict_recording(self, recording, stream, stimuli)

    def _said(
        self, found: WindowOutputs, time_seconds: float, eeg_tokens: np.ndarray
    ) -> Prediction:
        if found.abstain[0]:
            return self.abstention(time_seconds, self.why_nothing(eeg_tokens))
        return say(self, found, 0, time_seconds)

    def abstention(self, time_seconds: float, reason: str) -> Prediction:
        """Return what is said when there is nothing to go by: the prior, and all is possible."""
        return say_nothing(self, time_seconds, reason)

    def save(self, folder: str | Path) -> Path:
        """Write a folder, as :func:`physioemo.experiments.fused_decoder_io.save_fused` does."""
        from physioemo.experiments.fused_decoder_io import save_fused

        return save_fused(self, folder)
