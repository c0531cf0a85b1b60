"""A decoder of the EEG made of some trials' windows, or of none with random weights."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from physioemo.errors import DataError
from physioemo.experiments.decoder import UNTRAINED, Decoder, fit_scaler
from physioemo.experiments.splits import held_out_groups
from physioemo.experiments.tokens import FAMILY, recording_tokens
from physioemo.experiments.training_config import StudyConfig
from physioemo.experiments.trial_data import TrialData
from physioemo.features.artefact_gate import ArtefactGate
from physioemo.features.entropy import EntropyRecipe
from physioemo.models.calibration import fit_temperature
from physioemo.models.catalogue import build_model
from physioemo.models.training import predict_logits, train_model
from physioemo.recording import Recording

__all__ = ["fit_decoder", "fitted_temperature", "shared_recipe", "untrained_decoder"]


def shared_recipe(
    recordings: Mapping[str, Recording], config: StudyConfig
) -> tuple[EntropyRecipe, tuple[str, ...]]:
    """Return the token recipe and the electrodes that all recordings share.

    Raises
    ------
    DataError
        If the EEG's rates differ or no electrode is in all of them.
    """
    described = {name: r.description("eeg") for name, r in recordings.items()}
    rates = {d.sfreq for d in described.values()}
    if len(rates) > 1:
        found = ", ".join(f"{name} {d.sfreq:g} Hz" for name, d in sorted(described.items()))
        raise DataError(
            f"found EEG rates that differ ({found}), expected one rate; train on recordings of "
            "the same rate"
        )
    first = described[sorted(described)[0]]
    shared = tuple(
        n
        for n, kind in zip(first.ch_names, first.ch_types, strict=True)
        if kind == "eeg" and all(n in d.ch_names for d in described.values())
    )
    if not shared:
        raise DataError(
            "found no EEG electrode that all recordings share, expected the same channel names; "
            "train on recordings of the same montage"
        )
    recipe = EntropyRecipe.in_seconds(
        first.sfreq,
        bands={name: (low, high) for name, low, high in config.bands},
        window_seconds=config.window_seconds,
        hop_seconds=config.hop_seconds,
        definition=config.definition,
    )
    return recipe, shared


def fit_decoder(data: TrialData, train: np.ndarray, config: StudyConfig) -> Decoder:
    """Fit scaler, model and temperature on the windows `train`, and on no other.

    Parameters
    ----------
    data : TrialData
        Labelled windows.
    train : ndarray of int
        Which of them are there to learn from; some are held out for stopping and calibration.
    config : StudyConfig
        How to train.
    """
    inner, held = held_out_groups(
        data.groups[train], share=config.validation_share, seed=config.seed
    )
    inner, held = train[inner], train[held]
    scaler = fit_scaler(data.values[inner])
    scaled, electrodes = scaler(data.values), np.asarray(data.present.all(axis=2))
    model = build_model(
        "intercortical",
        config.preset,
        seed=config.seed,
        n_chans=data.values.shape[1],
        n_bands=data.values.shape[2],
        dimensions=data.dimensions,
    )
    train_model(
        model,
        scaled[inner],
        data.labels[inner],
        electrode_mask=electrodes[inner],
        validation_tokens=scaled[held],
        validation_labels=data.labels[held],
        validation_electrode_mask=electrodes[held],
        config=replace(config.training, seed=config.seed),
    )
    logits = predict_logits(model, scaled[held], electrodes[held])
    labels = data.labels[inner]
    return Decoder(
        recipe=data.recipe,
        ch_names=data.ch_names,
        dimensions=data.dimensions,
        scaler=scaler,
        model=model,
        temperature=fitted_temperature(logits, data.labels[held]),
        prior=np.array([(c[c >= 0]).mean() if (c >= 0).any() else 0.5 for c in labels.T]),
        gate=ArtefactGate(),
    )


def fitted_temperature(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Fit each dimension's temperature; one without validation ratings stays as it is."""
    rated = (labels >= 0).any(axis=0)
    temperature = np.ones(labels.shape[1])
    if rated.any():
        temperature[rated] = fit_temperature(logits[:, rated], labels[:, rated])
    return temperature


def untrained_decoder(recording: Recording, config: StudyConfig | None = None) -> Decoder:
    """Return a decoder with random weights, to try the live path where nothing can be trained.

    It carries ``untrained`` in its metadata and is called so wherever it shows; only its
    scaler has seen the recording.
    """
    config = config or StudyConfig()
    recipe, ch_names = shared_recipe({"recording": recording}, config)
    values = recording_tokens(recording, recipe, ch_names)[FAMILY].values
    n = len(config.dimensions)
    return Decoder(
        recipe=recipe,
        ch_names=ch_names,
        dimensions=config.dimensions,
        scaler=fit_scaler(values),
        model=build_model(
            "intercortical",
            config.preset,
            seed=config.seed,
            n_chans=len(ch_names),
            n_bands=len(recipe.bands),
            dimensions=config.dimensions,
        ),
        temperature=np.ones(n),
        prior=np.full(n, 0.5),
        metadata={UNTRAINED: True, "seed": config.seed, "config": config.to_dict()},
        gate=ArtefactGate(),
    )
