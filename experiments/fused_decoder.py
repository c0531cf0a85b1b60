"""A decoder of several streams: the EEG leads, and what stands beside it may be missing.

There is one prediction for each entropy window of the EEG. At a window that ends at time t each
side family gives its newest token that ends at t or before, if it is not too old; else it is
missing, and so is the EEG with fewer than half of its electrodes. With nothing left the decoder
abstains and says the prior of its training. Live and offline are the same code: tokens and
:meth:`FusedDecoder.predict_one`, window by window.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.description import StreamDescription
from physioemo.errors import CallError, SignalError
from physioemo.experiments.fused_modalities import FamilyScaler
from physioemo.experiments.fused_sides import SideFamily
from physioemo.experiments.fused_stimulus import StimulusChoice, one_window, recording_stimulus
from physioemo.experiments.fused_streams import SideHistory, SideStream, SideToken, recording_side
from physioemo.experiments.tokens import FAMILY, TokenStream
from physioemo.features.artefact_gate import ArtefactGate
from physioemo.features.entropy import EntropyRecipe
from physioemo.features.stimulus_features import StimulusFeatures
from physioemo.features.stimulus_tokens import StimulusTokens
from physioemo.models.calibration import calibrated_probability
from physioemo.models.checkpoint import model_id
from physioemo.prediction import Prediction
from physioemo.recording import Recording

__all__ = ["EEG", "FusedDecoder", "model_inputs"]

EEG = "eeg"
"""Name of the leading modality."""

_USABLE_SHARE = 0.5


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

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", self.id or model_id(self.model))

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

        Parameters
        ----------
        eeg_tokens : ndarray, shape (channel, band)
            Entropies in nats, NaN where missing.
        sides : mapping of str to SideToken or None
            The newest token of each family; one that is None, not named or too old is missing.
        time_seconds : float
            End of the EEG window.
        stimulus : StimulusTokens, optional
            What was shown in the window that ends then, as
            :meth:`physioemo.features.stimulus_windows.LiveStimulus.tokens` says it; missing by
            default.

        Raises
        ------
        CallError
            If a family is not the decoder's, its token ends after the window, or the stimulus is
            of another window or not read.
        SignalError
            If a shape is not that of training.
        """
        values, ages = {}, {}
        for name, token in sides.items():
            if token is None:
                self._side(name)
                continue
            values[name], ages[name] = self._checked(name, token, time_seconds)
        shape = (len(self.ch_names), len(self.recipe.bands))
        if np.shape(eeg_tokens) != shape:
            raise SignalError(
                f"found entropies of shape {np.shape(eeg_tokens)}, expected {shape} (channel, "
                "band) as in training"
            )
        shown = None if stimulus is None else self._shown(stimulus, time_seconds)
        high, abstain = self.probability(np.asarray(eeg_tokens, float)[None], values, ages, shown)
        if abstain[0]:
            return self.abstention(time_seconds, self._why(eeg_tokens))
        return self._said(time_seconds, high[0])

    def _checked(
        self, name: str, token: SideToken, time_seconds: float
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return a token's numbers (1, number) and its age (1,)."""
        side = self._side(name)
        if token.stop_seconds > time_seconds:
            raise CallError(
                f"found a token of {name!r} that ends {token.stop_seconds - time_seconds:.3f} s "
                "after the EEG window, expected one that ends with it or before; ask "
                "SideStream.newest for the time of the window"
            )
        if token.values.shape != (side.n_values,):
            raise SignalError(
                f"found {token.values.shape} numbers of {name!r}, expected ({side.n_values},)"
            )
        return token.values[None], np.array([time_seconds - token.stop_seconds])

    def _shown(self, stimulus: StimulusTokens, time_seconds: float) -> dict[str, Any]:
        if self.stimulus is None:
            raise CallError(
                "found a stimulus for a decoder that reads none, expected one that was trained "
                "with it; leave the stimulus out"
            )
        return self.stimulus.chosen(one_window(stimulus, time_seconds))

    def _why(self, eeg_tokens: np.ndarray) -> str:
        usable = int(np.isfinite(eeg_tokens).all(axis=1).sum())
        missing = self.modalities[1:]
        rest = f", and nothing of {', '.join(missing)}" if missing else ""
        return f"only {usable} of {len(self.ch_names)} electrodes are usable{rest}"

    def probability(
        self,
        values: np.ndarray,
        side_values: Mapping[str, np.ndarray],
        ages: Mapping[str, np.ndarray],
        shown: Mapping[str, Any] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the probability of the high class and where the decoder abstains.

        Parameters
        ----------
        values : ndarray, shape (window, channel, band)
            Entropies in nats, NaN where missing.
        side_values, ages : mapping of str to ndarray
            For each side family its numbers (window, number) and how many seconds before the
            window's end they end (window,), NaN for none; a family that is not named is missing.
        shown : mapping, optional
            What :meth:`StimulusChoice.chosen` says of the stimulus; missing by default.

        Returns
        -------
        probability : ndarray, shape (window, dimension)
            Where it abstains, the prior.
        abstain : ndarray of bool, shape (window,)
        """
        from physioemo.models.fused_training import predict_fused

        if not len(values):
            return np.empty((0, len(self.dimensions))), np.empty(0, bool)
        inputs = model_inputs(values, side_values, ages, self.sides, self.scalers)
        if self.stimulus is not None:
            found = self.stimulus.nothing(len(values)) if shown is None else shown
            inputs |= self.stimulus.scaled(found, self.scalers)
        logits, abstain = predict_fused(self.model, inputs)
        high = calibrated_probability(logits, self.temperature)[..., 1]
        return np.where(abstain[:, None], self.prior, high), abstain

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
        windows = list(self._windows(recording, recording.key(stream)))
        ends = np.array([stop for _, stop in windows])
        shown = None
        if self.stimulus is not None and len(stimuli):
            shown = recording_stimulus(recording, ends, stimuli, self.stimulus)
        sides = {s.name: SideHistory(recording_side(recording, s)) for s in self.sides}
        said = []
        for row, stop in windows:
            newest = {name: history.newest(stop) for name, history in sides.items()}
            said.append(self.predict_one(row, newest, stop, shown))
        return said

    def _windows(self, recording: Recording, key: str) -> Iterator[tuple[np.ndarray, float]]:
        """Yield the EEG's tokens (channel, band) of each window, and when it ends."""
        tokens = self.tokens(recording.description(key))
        state = tokens.start()
        for window in recording.windows(key, self.recipe.hop_samples):
            part = window[key]
            made, state = tokens.step(part.signal, part.time, window.segment, state)
            yield from zip(made[FAMILY].values, made.stop_seconds.tolist(), strict=True)

    def abstention(self, time_seconds: float, reason: str) -> Prediction:
        """Return what is said when there is nothing to go by: the training prior."""
        return replace(self._said(time_seconds, self.prior), abstain=True, reason=reason)

    def _said(self, time_seconds: float, high: np.ndarray) -> Prediction:
        sure = np.maximum(high, 1 - high)
        return Prediction(
            time_seconds=time_seconds,
            probability=dict(zip(self.dimensions, map(float, high), strict=True)),
            confidence=dict(zip(self.dimensions, map(float, sure), strict=True)),
            abstain=False,
            reason="",
            model_id=self.id,
        )

    def save(self, folder: str | Path) -> Path:
        """Write a folder, as :func:`physioemo.experiments.fused_decoder_io.save_fused` does."""
        from physioemo.experiments.fused_decoder_io import save_fused

        return save_fused(self, folder)


def model_inputs(
    values: np.ndarray,
    side_values: Mapping[str, np.ndarray],
    ages: Mapping[str, np.ndarray],
    sides: tuple[SideFamily, ...],
    scalers: Mapping[str, FamilyScaler],
) -> dict[str, Any]:
    """Return what a fused model takes, with all that is missing, too old or too little at NaN.

    Parameters
    ----------
    values, side_values, ages
        As in :meth:`FusedDecoder.probability`.
    sides, scalers
        As in :class:`FusedDecoder`.
    """
    usable = np.isfinite(values).all(axis=2).mean(axis=1) >= _USABLE_SHARE
    inputs: dict[str, Any] = {EEG: scalers[EEG](np.where(usable[:, None, None], values, np.nan))}
    n = len(values)
    for side in sides:
        numbers = side_values.get(side.name, np.full((n, side.n_values), np.nan))
        age = ages.get(side.name, np.full(n, np.nan))
        fresh = age <= side.choice.max_age_seconds  # NaN is not
        seconds = np.where(fresh, -age, 0.0)[:, None]
        inputs[side.name] = {
            "values": scalers[side.name](np.where(fresh[:, None], numbers, np.nan)),
            "time_seconds": np.repeat(seconds, side.n_values, axis=1).astype(np.float32),
        }
    return inputs
