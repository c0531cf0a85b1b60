"""Train a decoder on rated recordings and score it on trials it has not seen."""

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError, RecordingExistsError
from physioemo.experiments.decoder import DECODER_JSON, UNTRAINED, Decoder, fit_scaler
from physioemo.experiments.scores import balanced_accuracy, score_trials, trial_means
from physioemo.experiments.splits import held_out_groups, trial_grouped_k_fold
from physioemo.experiments.tokens import FAMILY, recording_tokens
from physioemo.experiments.trial_data import TrialData, collect_trials, with_permuted_trials
from physioemo.features.artefact_gate import ArtefactGate
from physioemo.features.entropy import BANDS, EntropyRecipe
from physioemo.fingerprint import config_fingerprint, package_versions
from physioemo.models.calibration import fit_temperature
from physioemo.models.catalogue import build_model
from physioemo.models.training import TrainingConfig, predict_logits, train_model
from physioemo.prediction import DIMENSIONS
from physioemo.recording import Recording

__all__ = [
    "StudyConfig",
    "TrainedDecoder",
    "evaluate",
    "fitted_temperature",
    "refuse_existing_decoder",
    "require_two_classes",
    "shared_recipe",
    "train_decoder",
    "untrained_decoder",
]

EVALUATION_JSON = "evaluation.json"

HeldOut = Callable[[Any, np.ndarray, np.ndarray, Any], np.ndarray]


@dataclass(frozen=True)
class StudyConfig:
    """Everything that decides a result besides the data.

    Parameters
    ----------
    dimensions : tuple of str
        What to predict.
    window_seconds, hop_seconds : float
        Length of a window and the step between two.
    bands : tuple of (str, float, float)
        Name and edges in Hz.
    definition : str
        Which differential entropy; one that streams.
    midpoint : {"drop", "low", "high"}
        What a rating exactly in the middle of the scale is.
    preset : str
        Size of the transformer.
    n_folds, n_permutations : int
        Folds of the cross-validation; how often it is repeated with permuted labels.
    validation_share : float
        Share of the training groups held out for early stopping and calibration.
    training : TrainingConfig
        The optimiser's settings.
    seed : int
        Decides folds, permutations and initial weights.
    """

    dimensions: tuple[str, ...] = DIMENSIONS
    window_seconds: float = 1.0
    hop_seconds: float = 0.5
    bands: tuple[tuple[str, float, float], ...] = tuple((k, *v) for k, v in BANDS.items())
    definition: str = "gaussian-filter"
    midpoint: str = "drop"
    preset: str = "tiny"
    n_folds: int = 5
    n_permutations: int = 10
    validation_share: float = 0.2
    training: TrainingConfig = field(
        default_factory=lambda: TrainingConfig(
            n_epochs=40, batch_size=32, learning_rate=3e-3, patience=10, token_noise=0.7
        )
    )
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        return asdict(self)


@dataclass(frozen=True)
class TrainedDecoder:
    """A decoder trained on all trials, and how the same procedure did on held-out trials."""

    decoder: Any
    evaluation: dict[str, Any]

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write decoder and evaluation into a new folder.

        Raises
        ------
        RecordingExistsError
            If something is there and `overwrite` is false, or it is not a decoder.
        """
        folder = Path(folder)
        refuse_existing_decoder(folder, overwrite=overwrite)
        self.decoder.save(folder)
        text = json.dumps(self.evaluation, indent=2, ensure_ascii=False)
        (folder / EVALUATION_JSON).write_text(text, "utf-8")
        return folder


def refuse_existing_decoder(folder: Path, *, overwrite: bool) -> None:
    """Refuse a folder that may not be used for a new decoder; touch nothing.

    Raises
    ------
    RecordingExistsError
        If something is there and `overwrite` is false, or it is not a decoder.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return
    is_decoder = (folder / DECODER_JSON).is_file()
    if not overwrite or not is_decoder:
        what = "a decoder" if is_decoder else "something that is not a decoder"
        raise RecordingExistsError(
            f"found {what} at {folder}, expected nothing there; choose another name"
            + (" or pass --overwrite" if is_decoder else "")
        )


def train_decoder(
    recordings: Mapping[str, Recording],
    config: StudyConfig | None = None,
    *,
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> TrainedDecoder:
    """Train on all rated trials; score by trial-grouped cross-validation beside baselines.

    Parameters
    ----------
    recordings : mapping of str to Recording
        By a name that stands in every result. All must share the EEG rate.
    config : StudyConfig, optional
        The defaults suit a session of some thirty trials.
    on_progress : callable
        Told what is being done, and how many of how many steps are done.

    Raises
    ------
    DataError
        If there are no rated trials, only one class, or the recordings' rates differ.
    CallError
        If there are fewer groups of trials than folds.
    """
    config = config or StudyConfig()
    if not recordings:
        raise CallError("found no recordings, expected at least one with rated trials")
    recipe, ch_names = shared_recipe(recordings, config)
    data = collect_trials(
        recordings, recipe, ch_names, dimensions=config.dimensions, midpoint=config.midpoint
    )
    require_two_classes(data)
    evaluation = evaluate(data, config, on_progress=on_progress)
    on_progress("final decoder", 0, 1)
    decoder = _fit(data, np.arange(len(data.values)), config)
    on_progress("final decoder", 1, 1)
    evaluation["simulated"] = any(r.simulated for r in recordings.values())
    keys = ("protocol", "seed", "config", "config_hash", "versions", "data_fingerprints")
    metadata = {k: evaluation[k] for k in (*keys, "simulated")}
    return TrainedDecoder(replace(decoder, metadata=metadata), evaluation)


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


def require_two_classes(data: TrialData) -> None:
    """Refuse a dimension in which there is nothing to tell apart.

    Raises
    ------
    DataError
        If all its ratings are low, or high, or missing.
    """
    for d, name in enumerate(data.dimensions):
        classes = set(data.labels[:, d].tolist()) - {-1}
        if len(classes) < 2:
            which = {0: "low", 1: "high"}
            found = f"only {which[classes.pop()]} ratings" if classes else "no usable ratings"
            raise DataError(
                f"found {found} of {name}, expected trials of both classes; record more trials or "
                f"leave {name} out"
            )


def evaluate(
    data: TrialData,
    config: StudyConfig,
    *,
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
    held_out: HeldOut | None = None,
) -> dict[str, Any]:
    """Cross-validate over groups of trials, with majority and permuted-label baselines.

    Parameters
    ----------
    data : TrialData
        Labelled windows.
    config : StudyConfig
        Folds, permutations, and how to train.
    on_progress : callable
        Told what is being done, and how many of how many steps are done.
    held_out : callable, optional
        ``held_out(data, train, test, config)``: what a model of the windows `train` says of the
        windows `test`, (window, dimension); the decoder of the EEG by default.

    Returns
    -------
    dict
        JSON-able: protocol, seed, configuration and its hash, versions, data fingerprints and,
        per dimension, what :func:`physioemo.experiments.scores.score_trials` says and each
        held-out trial's probability.
    """
    total = config.n_folds * (1 + config.n_permutations)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        on_progress("cross-validation and its permuted-label baseline", done, total)

    said = held_out or _held_out
    probability = _cross_validated(data, config, step, said)
    generator = np.random.default_rng([config.seed, 1])
    permuted = np.array(
        [
            _permuted_scores(data, config, generator, step, said)
            for _ in range(config.n_permutations)
        ]
    ).reshape(-1, len(data.dimensions))
    return {
        "format": 1,
        "protocol": f"trial-grouped {config.n_folds}-fold (grouped by trial and stimulus)",
        "leaky": False,
        "seed": config.seed,
        "config": config.to_dict(),
        "config_hash": config_fingerprint(config.to_dict()),
        "versions": package_versions(),
        "data_fingerprints": dict(data.fingerprints),
        "n_trials": len(set(data.trial_ids.tolist())),
        "n_groups": len(set(data.groups.tolist())),
        "n_windows": len(data.values),
        "dimensions": _dimension_scores(data, probability, permuted),
    }


def _dimension_scores(
    data: TrialData, probability: np.ndarray, permuted: np.ndarray
) -> dict[str, Any]:
    names, means, labels = trial_means(probability, data.labels, data.trial_ids)
    scores = {}
    for d, dimension in enumerate(data.dimensions):
        rated = data.labels[:, d] >= 0
        windows = (probability[rated, d] > 0.5).astype(int)
        scores[dimension] = {
            **score_trials(labels[:, d], means[:, d], permuted[:, d]),
            "window_balanced_accuracy": balanced_accuracy(data.labels[rated, d], windows),
            "trials": [
                {"recording": r, "trial": int(t), "label": int(y), "probability": float(p)}
                for (r, _, t), y, p in zip(
                    (n.rpartition(" trial ") for n in names), labels[:, d], means[:, d], strict=True
                )
            ],
        }
    return scores


def _permuted_scores(
    data: TrialData,
    config: StudyConfig,
    generator: np.random.Generator,
    step: Callable[[], None],
    held_out: HeldOut,
) -> list[float]:
    """Repeat the whole procedure after the labels were permuted over the trials."""
    permuted = with_permuted_trials(data, generator)
    probability = _cross_validated(permuted, config, step, held_out)
    _, means, labels = trial_means(probability, permuted.labels, permuted.trial_ids)
    return [
        balanced_accuracy(labels[labels[:, d] >= 0, d], means[labels[:, d] >= 0, d] > 0.5)
        for d in range(len(data.dimensions))
    ]


def _cross_validated(
    data: TrialData, config: StudyConfig, step: Callable[[], None], held_out: HeldOut
) -> np.ndarray:
    """Return the held-out probability of every window, (window, dimension)."""
    probability = np.full(data.labels.shape, np.nan)
    folds = trial_grouped_k_fold(data.groups, n_folds=config.n_folds, seed=config.seed)
    for train, test in folds:
        probability[test] = held_out(data, train, test, config)
        step()
    return probability


def _held_out(
    data: TrialData, train: np.ndarray, test: np.ndarray, config: StudyConfig
) -> np.ndarray:
    decoder = _fit(data, train, config)
    return decoder.probability(data.values[test], data.present[test])


def _fit(data: TrialData, train: np.ndarray, config: StudyConfig) -> Decoder:
    """Fit scaler, model and temperature on the windows `train`, and on no other."""
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
