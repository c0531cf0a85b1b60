"""Fit a decoder of several streams on some windows, and on no others."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from physioemo.experiments.fused_config import FusedConfig
from physioemo.experiments.fused_context import window_features
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.fused_emotion_fit import (
    calibrated_emotions,
    emotion_head,
    emotion_task,
)
from physioemo.experiments.fused_emotions import EmotionHead
from physioemo.experiments.fused_fit_more import (
    BATCH_OF_RATINGS,
    fit_context,
    rating_head,
    rating_task,
)
from physioemo.experiments.fused_heads import RatingHead
from physioemo.experiments.fused_inputs import EEG, WindowOutputs, model_inputs
from physioemo.experiments.fused_lead import led_in
from physioemo.experiments.fused_modalities import FamilyScaler, encoder_of, noisy_inputs
from physioemo.experiments.fused_training_data import FusedTrialData, take_rows
from physioemo.experiments.fused_trust import Calibration, fit_trust
from physioemo.experiments.splits import held_out_groups
from physioemo.experiments.training import fitted_temperature
from physioemo.experiments.trial_data import MISSING
from physioemo.features.artefact_gate import ArtefactGate
from physioemo.models.training import TrainingConfig

__all__ = ["Parts", "fit_fused", "parts_of", "said_of"]


class Parts(NamedTuple):
    """Which windows serve what; no trial and no stimulus is in two of them.

    Parameters
    ----------
    inner : ndarray of int
        Learned from.
    held : ndarray of int
        For stopping and the temperature.
    apart : ndarray of int
        For trust; none where none is wanted.
    """

    inner: np.ndarray
    held: np.ndarray
    apart: np.ndarray


def parts_of(groups: np.ndarray, train: np.ndarray, config: FusedConfig) -> Parts:
    """Return which of the windows `train` serve what.

    Parameters
    ----------
    groups : ndarray, shape (window,)
        Of all windows, from :func:`physioemo.experiments.splits.group_ids`.
    train : ndarray of int
        Windows that may be used.
    config : FusedConfig
        The shares.
    """
    apart = train[:0]
    if config.trust is not None:
        share = config.trust.calibration_share
        rest, held = held_out_groups(groups[train], share=share, seed=config.seed)
        train, apart = train[rest], train[held]
    inner, held = held_out_groups(groups[train], share=config.validation_share, seed=config.seed)
    return Parts(train[inner], train[held], apart)


def fit_fused(
    data: FusedTrialData, train: np.ndarray, config: FusedConfig, *, strict: bool = True
) -> FusedDecoder:
    """Fit scalers, model, temperature and trust on the windows `train`, and on no other.

    Parameters
    ----------
    data : FusedTrialData
        All windows.
    train : ndarray of int
        Which of them train; a share of their groups is held out for stopping and calibration.
    config : FusedConfig
        How.
    strict : bool
        Whether a risk or a coverage that was named and is not possible is an error; else the
        decoder's trust notes it.

    Raises
    ------
    DataError
        If what was named is not possible.
    """
    from physioemo.models.fused_training import fused_outputs

    parts = parts_of(data.groups, train, config)
    scalers = _scalers(data, parts.inner)
    stimulus = config.stimulus if data.shown else None

    def inputs_of(windows: FusedTrialData) -> dict[str, Any]:
        found = model_inputs(
            windows.values, windows.side_values, windows.ages, windows.sides, scalers
        )
        return found | ({} if stimulus is None else stimulus.scaled(windows.shown, scalers))

    def vectors_of(windows: FusedTrialData) -> np.ndarray:
        return window_features(fused_outputs(model, inputs_of(windows)))

    inputs, model = inputs_of(data), _model(data, config)
    head = rating_head(model, data, inputs, parts.inner, config)
    named = emotion_head(model, data, inputs, parts.inner, config)
    _train(model, head, named, data, inputs, parts, config)
    if named is not None and data.emotions is not None:
        found = fused_outputs(model, take_rows(inputs, parts.held))
        truth = np.where(found.abstain, MISSING, data.emotions[parts.held])
        named = calibrated_emotions(named, found.features, truth)
    context = fit_context(data, vectors_of, parts.inner, parts.held, config)
    labels = data.labels[parts.inner]
    decoder = FusedDecoder(
        recipe=data.recipe,
        ch_names=data.ch_names,
        dimensions=data.dimensions,
        sides=data.sides,
        scalers=scalers,
        model=model,
        temperature=np.ones(len(data.dimensions)),
        prior=np.array([(c[c >= 0]).mean() if (c >= 0).any() else 0.5 for c in labels.T]),
        gate=ArtefactGate(),
        stimulus=stimulus,
        head=head,
        context=context,
        emotions=named,
    )
    logits = _outputs(decoder, data, parts.held).logits
    temperature = fitted_temperature(logits, data.labels[parts.held])
    decoder = replace(decoder, temperature=temperature)
    return _trusted(decoder, data, parts, config, strict)


def said_of(decoder: FusedDecoder, data: FusedTrialData, rows: np.ndarray) -> Calibration:
    """Return what a decoder says of some windows, all at once, beside the truth.

    Parameters
    ----------
    decoder : FusedDecoder
        Its trust is not asked: what it would have said if it were never silent.
    data : FusedTrialData
        All windows.
    rows : ndarray of int
        Which.
    """
    said = _outputs(decoder, data, rows)
    found = Calibration(
        said.high, said.abstain, data.labels[rows], data.groups[rows], emotions=said.emotions
    )
    if decoder.head is None or data.ratings is None:
        return found
    ratings = decoder.head.scale.inwards(data.ratings[rows])
    return replace(found, mean=said.mean, sd=said.sd, ratings=ratings)


def _outputs(decoder: FusedDecoder, data: FusedTrialData, rows: np.ndarray) -> WindowOutputs:
    n_before = 0 if decoder.context is None else decoder.context.n_before
    led = led_in(data, rows, n_before)
    some = led.data
    said = decoder.outputs(
        some.values,
        some.side_values,
        some.ages,
        some.shown or None,
        sequences=led.sequences,
    )
    return said.take(led.asked)


def _trusted(
    decoder: FusedDecoder, data: FusedTrialData, parts: Parts, config: FusedConfig, strict: bool
) -> FusedDecoder:
    if config.trust is None:
        return decoder
    learned = data.groups[np.concatenate([parts.inner, parts.held])]
    found = said_of(decoder, data, parts.apart)
    trust = fit_trust(config.trust, found, training_groups=learned, strict=strict)
    return replace(decoder, trust=trust)


def _train(
    model: Any,
    head: RatingHead | None,
    named: EmotionHead | None,
    data: FusedTrialData,
    inputs: Mapping[str, Any],
    parts: Parts,
    config: FusedConfig,
) -> None:
    from physioemo.models.fused_training import train_fused

    training = replace(config.training, seed=config.seed)
    task = rating_task(head, data, parts.inner, parts.held, config)
    if task is not None:
        # How well a batch tells concordance depends on its size.
        training = replace(training, batch_size=max(training.batch_size, BATCH_OF_RATINGS))
    for shown, settings in _stages(data, inputs, training, config):
        with noisy_inputs(model, settings.token_noise):
            train_fused(
                model,
                take_rows(shown, parts.inner),
                data.labels[parts.inner],
                validation_inputs=take_rows(shown, parts.held),
                validation_labels=data.labels[parts.held],
                config=settings,
                task=task,
                named=emotion_task(named, data, parts.inner, parts.held, config),
            )


def _stages(
    data: FusedTrialData, inputs: Mapping[str, Any], training: TrainingConfig, config: FusedConfig
) -> list[tuple[Mapping[str, Any], TrainingConfig]]:
    """Return what the model is shown, one after the other: the EEG alone first, then all.

    Slow signals of the body tell trials apart: learned together from the start, they are known by
    heart before anything is learned of the EEG.
    """
    if not (config.eeg_first and len(inputs) > 1 and np.isfinite(data.values).any()):
        return [(inputs, training)]
    hidden = {name: _nothing(part) if name != EEG else part for name, part in inputs.items()}
    return [(hidden, replace(training, token_noise=0.0)), (inputs, training)]


def _nothing(part: Any) -> Any:
    if isinstance(part, dict):
        return {**part, "values": np.full_like(part["values"], np.nan)}
    return np.full_like(part, np.nan)


def _scalers(data: FusedTrialData, rows: np.ndarray) -> dict[str, FamilyScaler]:
    scalers = {EEG: FamilyScaler.fit(data.values[rows])}
    for side in data.sides:
        fresh = data.ages[side.name] <= side.choice.max_age_seconds
        numbers = np.where(fresh[:, None], data.side_values[side.name], np.nan)
        scalers[side.name] = FamilyScaler.fit(numbers[rows])
    if "stimulus" in data.shown:
        scalers["stimulus"] = FamilyScaler.fit(data.shown["stimulus"][rows])
    return scalers


def _model(data: FusedTrialData, config: FusedConfig) -> Any:
    import torch

    from physioemo.models.fused import FusedModel
    from physioemo.models.pretrained import use_pretrained
    from physioemo.models.training import seeded

    encoders = {EEG: encoder_of("de", data.values.shape[1:], config.preset)}
    encoders |= {s.name: encoder_of(s.name, (s.n_values,), config.preset) for s in data.sides}
    if data.shown and config.stimulus:
        encoders |= config.stimulus.encoders(config.preset)
    with seeded(config.seed, torch.device("cpu")):
        model = FusedModel(
            encoders=encoders,
            dimensions=data.dimensions,
            fusion=config.fusion,
            preset=config.preset,
            fusion_arguments={"modality_dropout": config.modality_dropout},
        )
    if config.pretrained is not None:
        use_pretrained(model, config.pretrained, names={EEG: "de"})
    return model
