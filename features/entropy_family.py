"""Band differential entropy as a family of features: the row ``de``."""

from typing import Any

import numpy as np

from physioemo.description import StreamDescription
from physioemo.features.entropy import EntropyRecipe, EntropyState, start_entropy, step_entropy
from physioemo.features.entropy_definitions import entropy_of_whole_signal
from physioemo.features.entropy_gemm import entropy_by_gemm
from physioemo.features.entropy_recipe import OFFLINE, WINDOW_LOCAL
from physioemo.features.family import Extractor, Family, FamilyOptions, WindowGrid

__all__ = ["ENTROPY", "FILTER_MEMORY_SECONDS", "entropy_recipe"]

FILTER_MEMORY_SECONDS = 10.0
"""After this long, a band-pass filter from 1 Hz up has forgotten where it started (1e-9)."""


def entropy_recipe(
    description: StreamDescription, grid: WindowGrid, options: FamilyOptions
) -> EntropyRecipe:
    """Return the recipe of a stream's entropy."""
    return EntropyRecipe(
        sfreq=description.sfreq,
        window_samples=grid.window_samples,
        hop_samples=grid.hop_samples,
        bands=tuple((name, *edges) for name, edges in options.bands.items()),
        definition=options.entropy_definition,
    )


def _prepare(description: StreamDescription, grid: WindowGrid, options: FamilyOptions) -> Extractor:
    recipe = entropy_recipe(description, grid, options)

    def step(chunk: np.ndarray, state: EntropyState) -> tuple[np.ndarray, Any]:
        return step_entropy(chunk, state, recipe)

    def batch(signal: np.ndarray) -> np.ndarray:
        if not grid.n_windows(signal.shape[1]):
            return np.empty((0, len(description.ch_names), len(recipe.bands)))
        if recipe.definition in OFFLINE:
            return entropy_of_whole_signal(signal, recipe)
        return entropy_by_gemm(signal, recipe, dtype=np.float64)

    return Extractor(
        coords={"channel": description.ch_names, "band": recipe.band_names},
        units=("nats",),
        start=lambda: start_entropy(len(description.ch_names), recipe),
        step=step,
        batch=batch,
        fingerprint=recipe.fingerprint,
        warm_up_seconds=0.0 if recipe.definition in WINDOW_LOCAL else FILTER_MEMORY_SECONDS,
    )


ENTROPY = Family("de", "differential entropy of each band", ("eeg",), _prepare)
