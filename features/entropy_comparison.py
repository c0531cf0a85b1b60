"""How the definitions of entropy differ on the same signal: the numbers and plot of the docs.

``python -m physioemo.features.entropy_comparison docs/entropy.png`` draws the plot again.
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from physioemo.features.entropy import differential_entropy
from physioemo.features.entropy_recipe import DEFINITIONS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["draw_comparison", "example_signal", "white_noise_offsets"]

_SFREQ = 128.0


def white_noise_offsets(
    *, window_seconds: float = 1.0, n_windows: int = 20_000, seed: int = 0
) -> dict[str, np.ndarray]:
    """Return each definition's mean entropy minus the default's on white noise.

    Parameters
    ----------
    window_seconds : float
        Length of the windows, which do not overlap.
    n_windows : int
        How many to average over.
    seed : int
        Of the noise: variance 1, at 128 Hz.

    Returns
    -------
    dict of str to ndarray, shape (band,)
        In nats. ``stft-hann`` alone depends on the variance v: add ``0.5 * ln(v)``.
    """
    n = round(n_windows * window_seconds * _SFREQ)
    noise = np.random.default_rng(seed).standard_normal((1, n))
    means = {
        name: np.nanmean(
            differential_entropy(noise, _SFREQ, window_seconds=window_seconds, definition=name),
            axis=(0, 1),
        )
        for name in DEFINITIONS
    }
    return {name: mean - means["gaussian-filter"] for name, mean in means.items()}


def example_signal(seconds: float = 24.0, *, seed: int = 3) -> np.ndarray:
    """Return one channel (1, time) at 128 Hz in microvolts: 1/f noise and an alpha rhythm.

    The rhythm at 10 Hz has an amplitude of 2 microvolts, and of 12 from one third to two thirds
    of the time.
    """
    generator = np.random.default_rng(seed)
    n = round(seconds * _SFREQ)
    frequencies = np.fft.rfftfreq(n, 1 / _SFREQ)
    spectrum = np.fft.rfft(generator.standard_normal(n)) / np.sqrt(np.maximum(frequencies, 0.5))
    background = np.fft.irfft(spectrum, n)
    time = np.arange(n) / _SFREQ
    amplitude = np.where((time > seconds / 3) & (time <= 2 * seconds / 3), 12.0, 2.0)
    rhythm = amplitude * np.sin(2 * np.pi * 10 * time)
    return (8 * background / background.std() + rhythm)[None]


def draw_comparison(path: Path) -> None:
    """Draw the alpha entropy of :func:`example_signal` by every definition into a PNG file."""
    from matplotlib.figure import Figure

    signal = example_signal()
    courses = {
        name: differential_entropy(signal, _SFREQ, hop_seconds=0.125, definition=name)[:, 0, 1]
        for name in DEFINITIONS
    }
    figure = Figure(figsize=(8, 5.6), layout="constrained")
    _draw(figure, signal[0], courses)
    figure.savefig(path, dpi=110, metadata={"Software": None})


def _draw(figure: "Figure", signal: np.ndarray, courses: Mapping[str, np.ndarray]) -> None:
    """Draw the signal, the entropies, and SEED's own on an axis of its own."""
    axes = figure.subplots(3, 1, sharex=True, height_ratios=(1, 3, 1.6))
    axes[0].plot(np.arange(len(signal)) / _SFREQ, signal, color="#888888", lw=0.5)
    axes[0].set_ylabel("µV")
    for i, (name, course) in enumerate(courses.items()):
        stop = 1.0 + 0.125 * np.arange(len(course))
        r = np.corrcoef(course[8:], courses["gaussian-filter"][8:])[0, 1]
        label = name if name == "gaussian-filter" else f"{name}, r = {r:.2f}"
        own = axes[2] if name == "stft-hann" else axes[1]
        width = 2.4 if name == "gaussian-filter" else 1.2
        own.plot(stop, course, color=_COLOURS[i], lw=width, label=label)
    axes[1].set_ylabel("alpha entropy, nats")
    axes[2].set(ylabel="nats", xlabel="end of the 1 s window, seconds")
    for axis in axes[1:]:
        axis.legend(fontsize=8, frameon=False, loc="lower center", bbox_to_anchor=(0.54, 0))
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)


_COLOURS = ("#000000", "#0072B2", "#D55E00", "#CC79A7", "#009E73", "#E69F00")


if __name__ == "__main__":
    draw_comparison(Path(sys.argv[1]))
