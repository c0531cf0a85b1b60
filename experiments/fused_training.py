"""Train a decoder of several streams, and score it beside what it has to beat."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.fused_config import FusedConfig, default_side
from physioemo.experiments.fused_emotion_fit import require_several_emotions
from physioemo.experiments.fused_fit import fit_fused, parts_of
from physioemo.experiments.fused_scores import HeldOut
from physioemo.experiments.fused_training_data import (
    FusedTrialData,
    collect_fused_trials,
    without_eeg,
    without_sides,
)
from physioemo.experiments.fused_trust import require_enough_groups
from physioemo.experiments.pretrained_encoders import (
    pretrained_id,
    require_same_axes,
    seen_in_pretraining,
)
from physioemo.experiments.training import (
    TrainedDecoder,
    evaluate,
    require_two_classes,
    shared_recipe,
)
from physioemo.features.stimulus_features import StimulusFeatures
from physioemo.recording import Recording

__all__ = ["FusedConfig", "default_side", "fit_fused", "train_fused_decoder"]

_BASELINES = {"EEG alone": without_sides, "without EEG": without_eeg}


def train_fused_decoder(
    recordings: Mapping[str, Recording],
    config: FusedConfig,
    *,
    stimuli: Sequence[StimulusFeatures] = (),
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> TrainedDecoder:
    """Train on all rated trials; score by trial-grouped cross-validation beside baselines.

    Beside the majority class and permuted labels stand the same model with the EEG alone, and
    with the other streams alone. What a decoder promises is measured on the same held-out trials.

    Parameters
    ----------
    recordings : mapping of str to Recording
        By a name that stands in every result.
    config : FusedConfig
        With at least one family beside the EEG or a stimulus; or with more than the decoder of
        the EEG alone has, such as trust.
    stimuli : sequence of StimulusFeatures
        The files that were shown, if the stimulus is read.
    on_progress : callable
        Told what is being done, and how many of how many steps are done.

    Raises
    ------
    DataError
        If there are no rated trials, only one class, the recordings differ, or there are too few
        trials for what is to be promised.
    NoStreamError
        If no recording has a family's stream.
    CallError
        If there is no family, or there are fewer groups of trials than folds.
    """
    if not recordings or not (config.has_more_than_eeg or config.has_more_than_classes):
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
        rest=config.context is not None or config.pooling is not None,
        emotions=config.emotions,
        emotion_of=dict(config.emotion_of),
    )
    require_two_classes(data)
    if config.emotions:
        require_several_emotions(data, config.emotions)
    _require_promises(data, config)
    begun = _begun(data, config)
    held_out = HeldOut(data)
    evaluation = evaluate(data, config, on_progress=lambda what, *_: step(what), held_out=held_out)
    evaluation["baselines"] = _baselines(data, config, step)
    decoder = fit_fused(data, np.arange(len(data.values)), config)
    evaluation |= held_out.scores(config, decoder)
    evaluation["offline_only"] = decoder.offline_only
    evaluation["modalities"] = list(decoder.modalities)
    evaluation["pretrained"] = begun
    evaluation["stimuli"] = {features.name: features.sha256 for features in stimuli}
    step("final decoder")
    evaluation["simulated"] = any(r.simulated for r in recordings.values())
    keys = ("protocol", "seed", "config", "config_hash", "versions", "data_fingerprints")
    metadata = {
        k: evaluation[k]
        for k in (
            *keys,
            "modalities",
            "stimuli",
            "simulated",
            "notes",
            "offline_only",
            "pretrained",
        )
    }
    return TrainedDecoder(replace(decoder, metadata=metadata), evaluation)


def _begun(data: FusedTrialData, config: FusedConfig) -> str | None:
    """Return the id of the pre-trained model that it begins with.

    Raises
    ------
    CallError
        If that has seen recordings that are to be scored.
    CheckpointError
        If it is of other electrodes or bands.
    """
    if config.pretrained is None:
        return None
    seen = seen_in_pretraining(config.pretrained, [{"fingerprints": data.fingerprints}])
    if seen:
        raise CallError(
            f"found that {', '.join(seen)} served the pre-training in {config.pretrained} too, "
            "expected other recordings: the scores would be of windows that it knows; pre-train "
            "on others"
        )
    axes = {"de": {"channel": data.ch_names, "band": data.recipe.band_names}}
    require_same_axes(config.pretrained, axes)
    return pretrained_id(config.pretrained)


def _require_promises(data: FusedTrialData, config: FusedConfig) -> None:
    """Refuse before the long work what so few trials can never keep."""
    if config.trust is not None:
        groups = data.groups
        apart = parts_of(groups, np.arange(len(groups)), config).apart
        require_enough_groups(config.trust, len(set(groups)), len(set(groups[apart])))


def _steps(
    config: FusedConfig, on_progress: Callable[[str, int, int], None]
) -> Callable[[str], None]:
    """Return a function that tells one more step of all: folds, baselines, the final model."""
    n_baselines = len(_BASELINES) if config.has_more_than_eeg else 0
    total = config.n_folds * (1 + config.n_permutations + n_baselines) + 2
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
    found: dict[str, dict[str, float]] = {}
    if not config.has_more_than_eeg:
        return found
    once = replace(config, n_permutations=0)
    for name, less in _BASELINES.items():
        scores = evaluate(
            less(data),
            once,
            on_progress=lambda *_, name=name: step(f"the baseline {name}"),
            held_out=HeldOut(data),
        )
        found[name] = {d: s["balanced_accuracy"] for d, s in scores["dimensions"].items()}
    return found
