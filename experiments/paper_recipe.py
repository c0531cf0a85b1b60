"""RBTransformer (arXiv 2511.13954) as its code does it: every published choice, leaks and all.

For one purpose: to show which part of the published 99 % is the split. Nothing here is a default.
Where paper and code differ, the code decides, because the published numbers are the code's.

Published choices
    Windows of 512 samples every 117 from the onset of the trial. Each window is z-scored as a
    whole, one mean and one standard deviation over all electrodes and samples. Then 4-8, 8-14,
    14-31 and 31-49 Hz by a Butterworth filter of order 5 as polynomials (``ba``), forward only,
    from rest, designed for 128 Hz even where the data have 200 Hz (SEED), where the same filter
    really passes 6-12, 12-22, 22-48 and 48-77 Hz. Then the entropy ``1/2 log2(2 pi e variance)``.
    The baseline is cut into seconds of 128 samples, 3 of DEAP and 61 of DREAMER, whose *waveforms*
    are averaged; their mean is treated like a window, and its entropy is subtracted from that of
    every window of the trial. SEED has none. High is 5 and above (DEAP) or 3 and above (DREAMER).
    A tenth of the windows is dropped at random; the windows of all subjects together are shuffled
    into five folds; SMOTE makes the classes of a training fold equally large.

What is our own
    The draws of chance (the code's generators are not reproduced). A trial without a rating is
    left out of that target, where the code gives it a class at random. A shorter baseline, as in
    test files, is averaged over the whole seconds that it has, and ``source`` says how many.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError, SignalError

__all__ = [
    "PAPER_BANDS",
    "PAPER_DATASETS",
    "PAPER_TRAINING",
    "WHY_LEAKY",
    "PaperDataset",
    "PaperTraining",
    "paper_baseline",
    "paper_dataset",
    "paper_exact_recipe",
    "paper_tokens",
    "paper_windows",
]

WINDOW_SAMPLES, STRIDE_SAMPLES, CHUNK_SAMPLES = 512, 117, 128
FILTER_HZ, FILTER_ORDER = 128.0, 5
DROPPED_SHARE, N_FOLDS, SEED = 0.1, 5, 23
PAPER_BANDS: Mapping[str, tuple[float, float]] = MappingProxyType(
    {"theta": (4.0, 8.0), "alpha": (8.0, 14.0), "beta": (14.0, 31.0), "gamma": (31.0, 49.0)}
)
"""Edges in Hz, of the code; the paper has 8-13, 13-30 and 30-45."""

WHY_LEAKY = (
    "windows overlap by 77 % and are shuffled into folds without regard to trial or subject: "
    "nearly every test window shares samples with training windows of its own trial, so that "
    "recognising the trial is enough"
)


@dataclass(frozen=True)
class PaperDataset:
    """What the published code does with one data set.

    Parameters
    ----------
    sfreq : float
        Rate of its EEG in Hz.
    baseline_chunks : int
        Seconds of baseline whose waveforms are averaged; 0 subtracts nothing.
    threshold : float or None
        The lowest rating that is high; None where there are labels.
    """

    sfreq: float
    baseline_chunks: int
    threshold: float | None


PAPER_DATASETS: Mapping[str, PaperDataset] = MappingProxyType(
    {
        "deap": PaperDataset(128.0, 3, 5.0),
        "dreamer": PaperDataset(128.0, 61, 3.0),
        "seed": PaperDataset(200.0, 0, None),
    }
)
"""The three data sets of the paper."""


@dataclass(frozen=True)
class PaperTraining:
    """How the published model is trained; the last epoch counts, there is no validation set."""

    model: str = "intercortical"
    preset: str = "published"
    dropout: float = 0.1
    optimizer: str = "AdamW"
    learning_rate: float = 1e-3
    weight_decay: float = 1e-3
    schedule: str = "cosine"
    final_learning_rate: float = 1e-6
    n_epochs: int = 300
    batch_size: int = 256
    late_batch_size: int = 64
    late_from_epoch: int = 150
    label_smoothing: float = 0.12
    seed: int = SEED


PAPER_TRAINING = PaperTraining()
"""The published numbers."""


def paper_exact_recipe(like: str, *, baseline: bool = True) -> dict[str, Any]:
    """Return every choice as a JSON-able dictionary.

    Parameters
    ----------
    like : str
        One of :data:`PAPER_DATASETS`.
    baseline : bool
        False leaves the subtraction of the baseline out, and says so.

    Raises
    ------
    CallError
        If the paper has no such data set.
    """
    published = paper_dataset(like)
    left_out = published.baseline_chunks > 0 and not baseline
    return {
        "name": "rbtransformer-paper-exact" + (" without baseline" if left_out else ""),
        "like": like,
        "window_samples": WINDOW_SAMPLES,
        "stride_samples": STRIDE_SAMPLES,
        "z_score": "whole window",
        "bands": [[name, *edges] for name, edges in PAPER_BANDS.items()],
        "filter": f"Butterworth order {FILTER_ORDER}, ba, causal, from rest, {FILTER_HZ:g} Hz",
        "entropy": "1/2 log2(2 pi e variance)",
        "dropped_share": DROPPED_SHARE,
        "n_folds": N_FOLDS,
        "resampler": "SMOTE, training windows",
        **asdict(published),
        "baseline_subtracted": published.baseline_chunks > 0 and baseline,
        "training": asdict(PAPER_TRAINING),
    }


def paper_dataset(like: str) -> PaperDataset:
    """Return what the published code does with a data set.

    Raises
    ------
    CallError
        If the paper has no such data set.
    """
    if like not in PAPER_DATASETS:
        raise CallError(
            f"found the data set {like!r}, expected one of the paper's: "
            f"{', '.join(PAPER_DATASETS)}; say with 'like' which of them it is to be treated as"
        )
    return PAPER_DATASETS[like]


def paper_windows(signal: np.ndarray) -> np.ndarray:
    """Return the windows (window, channel, 512) of one trial (channel, time), every 117 samples."""
    if signal.shape[1] < WINDOW_SAMPLES:
        raise DataError(
            f"found a trial of {signal.shape[1]} samples, expected at least {WINDOW_SAMPLES}; "
            "leave it out"
        )
    view = np.lib.stride_tricks.sliding_window_view(signal, WINDOW_SAMPLES, axis=1)
    return view[:, ::STRIDE_SAMPLES].swapaxes(0, 1)


def paper_tokens(windows: np.ndarray) -> np.ndarray:
    """Return the band entropies of windows, each z-scored as a whole.

    Parameters
    ----------
    windows : ndarray, shape (window, channel, time)
        Raw samples; any length.

    Returns
    -------
    ndarray, shape (window, channel, band)
        In bits.

    Raises
    ------
    SignalError
        If samples are missing, or a window is flat in all channels.
    """
    from scipy.signal import butter, lfilter

    windows = np.asarray(windows, float)
    if not np.isfinite(windows).all():
        raise SignalError(
            "found missing samples, expected none: the published code cannot treat them; leave "
            "the trial out"
        )
    spread = windows.std(axis=(1, 2), keepdims=True)
    if (spread == 0).any():
        raise SignalError(
            "found a window that is flat in all channels, expected a signal; leave the trial out"
        )
    scored = (windows - windows.mean(axis=(1, 2), keepdims=True)) / spread
    tokens = []
    for low, high in PAPER_BANDS.values():
        b, a = butter(FILTER_ORDER, (low, high), btype="bandpass", fs=FILTER_HZ, output="ba")
        tokens.append(_entropy_bits(lfilter(b, a, scored, axis=-1)))
    return np.stack(tokens, axis=-1)


def _entropy_bits(signal: np.ndarray) -> np.ndarray:
    variance = signal.var(axis=-1)
    if (variance <= 0).any():
        raise SignalError(
            "found a channel that is zero throughout a window, expected a signal in every channel; "
            "leave it out"
        )
    return 0.5 * np.log2(2 * np.pi * np.e * variance)


def paper_baseline(signal: np.ndarray, n_chunks: int) -> tuple[np.ndarray, int]:
    """Return the entropy (channel, band) of a baseline's mean waveform, and of how many seconds.

    Parameters
    ----------
    signal : ndarray, shape (channel, time)
        The baseline.
    n_chunks : int
        How many chunks of 128 samples are averaged, if there are as many.

    Raises
    ------
    DataError
        If there is not one.
    """
    n_chunks = min(n_chunks, signal.shape[1] // CHUNK_SAMPLES)
    if not n_chunks:
        raise DataError(
            f"found a baseline of {signal.shape[1]} samples, expected at least {CHUNK_SAMPLES}; "
            "leave the trial out"
        )
    chunks = signal[:, : n_chunks * CHUNK_SAMPLES].reshape(len(signal), n_chunks, CHUNK_SAMPLES)
    return paper_tokens(chunks.mean(axis=1)[None])[0], n_chunks
