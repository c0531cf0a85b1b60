"""Train a decoder of several streams, and score it beside what it has to beat."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.fused_decoder import EEG, FusedDecoder, model_inputs
from physioemo.experiments.fused_modalities import (
    FUSION_NAMES,
    SIZES,
    FamilyScaler,
    encoder_of,
    noisy_inputs,
)
from physioemo.experiments.fused_sides import SideChoice
from physioemo.experiments.fused_stimulus import StimulusChoice
from physioemo.experiments.fused_training_data import (
    FusedTrialData,
    collect_fused_trials,
    without_eeg,
    without_sides,
)
from physioemo.experiments.splits import held_out_groups
from physioemo.experiments.training import (
    StudyConfig,
    TrainedDecoder,
    evaluate,
    fitted_temperature,
    require_two_classes,
    shared_recipe,
)
from physioemo.features.artefact_gate import ArtefactGate
from physioemo.features.stimulus_features import StimulusFeatures
from physioemo.models.training import TrainingConfig
from physioemo.recording import Recording

__all__ = ["FusedConfig", "default_side", "train_fused_decoder"]

_BODY_SECONDS, _EYE_SECONDS = (5.0, 1.0), (2.0, 0.5)
_EYES = ("gaze", "pupil")
_SLOW = {"hrv": 10.0}
_MAX_AGE_SECONDS = 3.0
_BASELINES = {"EEG alone": without_sides, "without EEG": without_eeg}


def default_side(family: str, **changes: float) -> SideChoice:
    """Return a family with windows that suit it: eyes are quick, the heart is slow.

    Parameters
    ----------
    family : str
        One of :data:`physioemo.experiments.fused_sides.SIDE_FAMILIES`.
    **changes
        Fields of :class:`physioemo.experiments.fused_sides.SideChoice` that win.
    """
    window, hop = _EYE_SECONDS if family in _EYES else _BODY_SECONDS
    own = {
        "window_seconds": window,
        "hop_seconds": hop,
        "max_age_seconds": _SLOW.get(family, _MAX_AGE_SECONDS),
    }
    return SideChoice(family, **{**own, **changes})


@dataclass(frozen=True)
class FusedConfig(StudyConfig):
    """Everything that decides a result besides the data.

    Parameters
    ----------
    dimensions, window_seconds, hop_seconds, bands, definition, midpoint, preset, n_folds, \
n_permutations, validation_share, training, seed
        See :class:`physioemo.experiments.training.StudyConfig`; the preset is that of encoders
        and fusion.
    sides : tuple of SideChoice
        Families beside the EEG.
    stimulus : StimulusChoice, optional
        What is read of what was shown.
    fusion : str
        One of :data:`physioemo.experiments.fused_modalities.FUSION_NAMES`.
    modality_dropout : float
        Probability with which a modality is hidden from a window in training; one always stays.
    eeg_first : bool
        Whether the EEG is learned alone before all are learned together.

    Raises
    ------
    CallError
        If a name is not known, or a family comes twice.
    """

    sides: tuple[SideChoice, ...] = ()
    stimulus: StimulusChoice | None = None
    fusion: str = "queries"
    modality_dropout: float = 0.3
    eeg_first: bool = True

    def __post_init__(self) -> None:
        for what, name, known in (
            ("fusion", self.fusion, FUSION_NAMES),
            ("preset", self.preset, SIZES),
        ):
            if name not in known:
                near = get_close_matches(str(name), known, n=1, cutoff=0)[0]
                raise CallError(
                    f"found the {what} {name!r}, expected one of {', '.join(known)}; did you mean "
                    f"{near!r}?"
                )
        names = [side.family for side in self.sides]
        if len(set(names)) < len(names):
            raise CallError(f"found the families {', '.join(names)}, expected each once")


def train_fused_decoder(
    recordings: Mapping[str, Recording],
    config: FusedConfig,
    *,
    stimuli: Sequence[StimulusFeatures] = (),
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> TrainedDecoder:
    """Train on all rated trials; score by trial-grouped cross-validation beside baselines.

    Beside the majority class and permuted labels stand the same model with the EEG alone, and
    with the other streams alone.

    Parameters
    ----------
    recordings : mapping of str to Recording
        By a name that stands in every result.
    config : FusedConfig
        With at least one family beside the EEG, or a stimulus.
    stimuli : sequence of StimulusFeatures
        The files that were shown, if the stimulus is read.
    on_progress : callable
        Told what is being done, and how many of how many steps are done.

    Raises
    ------
    DataError
        If there are no rated trials, only one class, or the recordings differ.
    NoStreamError
        If no recording has a family's stream.
    CallError
        If there is no family, or there are fewer groups of trials than folds.
    """
    if not recordings or not (config.sides or config.stimulus):
        what = "recordings" if not recordings else "families beside the EEG"
        raise CallError(f"found no {what}, expected at least one; name them")
    if config.stimulus and not stimuli:
        raise CallError("found no stimuli, expected the files that were shown; name them")
    recipe, ch_names = shared_recipe(recordings, config)
    step = _steps(config, on_progress)
    step("features of all streams")
    data = collect_fused_trials(
        recordings,
        recipe,
        ch_names,
        config.sides,
        dimensions=config.dimensions,
        midpoint=config.midpoint,
        stimulus=config.stimulus,
        stimuli=stimuli,
    )
    require_two_classes(data)
    evaluation = evaluate(data, config, on_progress=lambda what, *_: step(what), held_out=_held_out)
    evaluation["baselines"] = _baselines(data, config, step)
    decoder = fit_fused(data, np.arange(len(data.values)), config)
    evaluation["modalities"] = list(decoder.modalities)
    evaluation["stimuli"] = {features.name: features.sha256 for features in stimuli}
    step("final decoder")
    evaluation["simulated"] = any(r.simulated for r in recordings.values())
    keys = ("protocol", "seed", "config", "config_hash", "versions", "data_fingerprints")
    metadata = {k: evaluation[k] for k in (*keys, "modalities", "stimuli", "simulated")}
    return TrainedDecoder(replace(decoder, metadata=metadata), evaluation)


def _steps(
    config: FusedConfig, on_progress: Callable[[str, int, int], None]
) -> Callable[[str], None]:
    """Return a function that tells one more step of all: folds, baselines, the final model."""
    total = config.n_folds * (1 + config.n_permutations + len(_BASELINES)) + 2
    done = 0

    def step(what: str) -> None:
        nonlocal done
        done += 1
        on_progress(what, done, total)

    return step


def _baselines(
    data: FusedTrialData, config: FusedConfig, step: Callable[[str], None]
) -> dict[str, dict[str, float]]:
    """Return balanced accuracies of models of the same kind that were given less."""
    found = {}
    once = replace(config, n_permutations=0)
    for name, less in _BASELINES.items():
        scores = evaluate(
            less(data),
            once,
            on_progress=lambda *_, name=name: step(f"the baseline {name}"),
            held_out=_held_out,
        )
        found[name] = {d: s["balanced_accuracy"] for d, s in scores["dimensions"].items()}
    return found


def _held_out(
    data: FusedTrialData, train: np.ndarray, test: np.ndarray, config: FusedConfig
) -> np.ndarray:
    """Return the probability (window, dimension) of windows that were not trained on."""
    decoder = fit_fused(data, train, config)
    sides = {n: v[test] for n, v in data.side_values.items()}
    ages = {n: v[test] for n, v in data.ages.items()}
    shown = _rows(data.shown, test) if data.shown else None
    return decoder.probability(data.values[test], sides, ages, shown)[0]


def fit_fused(data: FusedTrialData, train: np.ndarray, config: FusedConfig) -> FusedDecoder:
    """Fit scalers, model and temperature on the windows `train`, and on no other.

    Parameters
    ----------
    data : FusedTrialData
        All windows.
    train : ndarray of int
        Which of them train; a share of their groups is held out for stopping and calibration.
    config : FusedConfig
        How.
    """
    from physioemo.models.fused_training import predict_fused, train_fused

    inner, held = held_out_groups(
        data.groups[train], share=config.validation_share, seed=config.seed
    )
    inner, held = train[inner], train[held]
    scalers = _scalers(data, inner)
    inputs = model_inputs(data.values, data.side_values, data.ages, data.sides, scalers)
    stimulus = config.stimulus if data.shown else None
    if stimulus is not None:
        inputs |= stimulus.scaled(data.shown, scalers)
    model = _model(data, config)
    training = replace(config.training, seed=config.seed)
    for shown, settings in _stages(data, inputs, training, config):
        with noisy_inputs(model, settings.token_noise):
            train_fused(
                model,
                _rows(shown, inner),
                data.labels[inner],
                validation_inputs=_rows(shown, held),
                validation_labels=data.labels[held],
                config=settings,
            )
    logits, _ = predict_fused(model, _rows(inputs, held))
    labels = data.labels[inner]
    return FusedDecoder(
        recipe=data.recipe,
        ch_names=data.ch_names,
        dimensions=data.dimensions,
        sides=data.sides,
        scalers=scalers,
        model=model,
        temperature=fitted_temperature(logits, data.labels[held]),
        prior=np.array([(c[c >= 0]).mean() if (c >= 0).any() else 0.5 for c in labels.T]),
        gate=ArtefactGate(),
        stimulus=stimulus,
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
    from physioemo.models.training import seeded

    encoders = {EEG: encoder_of("de", data.values.shape[1:], config.preset)}
    encoders |= {s.name: encoder_of(s.name, (s.n_values,), config.preset) for s in data.sides}
    if data.shown and config.stimulus:
        encoders |= config.stimulus.encoders(config.preset)
    with seeded(config.seed, torch.device("cpu")):
        return FusedModel(
            encoders=encoders,
            dimensions=data.dimensions,
            fusion=config.fusion,
            preset=config.preset,
            fusion_arguments={"modality_dropout": config.modality_dropout},
        )


def _rows(inputs: Mapping[str, Any], rows: np.ndarray) -> dict[str, Any]:
    return {
        name: {k: v[rows] for k, v in part.items()} if isinstance(part, dict) else part[rows]
        for name, part in inputs.items()
    }
