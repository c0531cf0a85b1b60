"""Flat, railed and noisy EEG channels, and mains noise, in a few seconds of signal.

The rules are in microvolts and are shown beside their verdict; they are a check before a session,
no measure of quality. They hold for raw EEG: a channel's line is taken off first, because an
amplifier without a high-pass drifts by millivolts.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["ChannelCheck", "check_channels", "mains_share", "round_uv"]

FLAT_UV = 0.5
"""A channel whose peak-to-peak is below this carries no brain."""

NOISY_UV = 1000.0
"""A channel whose peak-to-peak is above this carries mostly something else; blinks are 0.1-0.3."""

FLAT_SHARE = 0.5
"""A channel that repeats its last value this often has stood still."""

RAIL_SHARE = 0.05
"""A channel that sits on its own highest or lowest value this often is clipped."""

RAIL_UV = 10_000.0
"""A channel that stands still this far from zero is at the end of the amplifier's range."""

MAINS_HZ = (50.0, 60.0)
_MAINS_WIDTH_HZ = 1.0
_BAND_HZ = (1.0, 100.0)


@dataclass(frozen=True)
class ChannelCheck:
    """One channel over the time that it was watched.

    Parameters
    ----------
    name : str
        The channel.
    peak_to_peak_uv : float
        After its line was taken off.
    flat_share, rail_share, missing_share : float
        Samples equal to the one before; on the highest or lowest value; NaN or infinite.
    mains_share : tuple of float
        Share of the power at 1-100 Hz that lies within 1 Hz of 50 and of 60 Hz; NaN where the
        rate or the time does not allow to say.
    verdict : str
        Empty, ``"flat"``, ``"railed"``, ``"noisy"`` or ``"missing"``.
    """

    name: str
    peak_to_peak_uv: float
    flat_share: float
    rail_share: float
    missing_share: float
    mains_share: tuple[float, float]
    verdict: str = ""

    @property
    def sentence(self) -> str:
        """The verdict with its numbers."""
        size = f"{round_uv(self.peak_to_peak_uv)} uV peak to peak"
        return {
            "flat": f"{self.name} is flat ({size}, {self.flat_share:.0%} of samples repeat; "
            f"expected over {FLAT_UV:g} uV)",
            "railed": f"{self.name} is railed ({self.rail_share:.0%} of samples on one value, "
            f"{size}; expected under {RAIL_SHARE:.0%})",
            "noisy": f"{self.name} is noisy ({size}, expected under {NOISY_UV:g} uV)",
            "missing": f"{self.name} is missing ({self.missing_share:.0%} NaN or infinite)",
        }.get(self.verdict, "")


def round_uv(microvolts: float) -> str:
    """Return three digits for people."""
    return f"{microvolts:.3g}" if microvolts < NOISY_UV else f"{microvolts:.0f}"


def check_channels(
    signal_uv: np.ndarray, sfreq: float, ch_names: tuple[str, ...]
) -> tuple[ChannelCheck, ...]:
    """Return the check of every channel.

    Parameters
    ----------
    signal_uv : ndarray, shape (time, channel)
        At least two samples in microvolts.
    sfreq : float
        Rate in Hz.
    ch_names : tuple of str
        One name per channel.
    """
    return tuple(
        _check(name, np.asarray(x, float), sfreq)
        for name, x in zip(ch_names, np.asarray(signal_uv).T, strict=True)
    )


def _check(name: str, x: np.ndarray, sfreq: float) -> ChannelCheck:
    finite = np.isfinite(x)
    missing = 1.0 - float(finite.mean())
    x = x[finite]
    if len(x) < 2:
        return ChannelCheck(name, 0.0, 0.0, 0.0, missing, (np.nan, np.nan), "missing")
    level = _without_line(x)
    size = float(np.ptp(level))
    flat_share = float((np.diff(x) == 0).mean())
    rail_share = _rail_share(x)
    verdict = ""
    if missing:
        verdict = "missing"
    elif size < FLAT_UV or flat_share > FLAT_SHARE:
        stuck = abs(float(np.median(x))) > RAIL_UV or (size >= FLAT_UV and rail_share > RAIL_SHARE)
        verdict = "railed" if stuck else "flat"
    elif rail_share > RAIL_SHARE:
        verdict = "railed"
    elif size > NOISY_UV:
        verdict = "noisy"
    return ChannelCheck(name, size, flat_share, rail_share, missing, mains_share(x, sfreq), verdict)


def _without_line(x: np.ndarray) -> np.ndarray:
    t = np.linspace(-1.0, 1.0, len(x))
    centred = x - x.mean()
    return np.asarray(centred - t * (t @ centred) / (t @ t))


def _rail_share(x: np.ndarray) -> float:
    """Return the share of samples that sit, beside an equal one, on the highest or lowest value."""
    repeats = np.append(np.diff(x) == 0, False)
    repeats |= np.roll(repeats, 1)
    return float(max((repeats & (x == x.max())).mean(), (repeats & (x == x.min())).mean()))


def mains_share(x: np.ndarray, sfreq: float) -> tuple[float, float]:
    """Return the shares of the power at 1-100 Hz that lie at 50 and at 60 Hz.

    Parameters
    ----------
    x : ndarray, shape (time,)
        One channel.
    sfreq : float
        Rate in Hz.

    Returns
    -------
    tuple of float
        NaN where the rate is too low, or below a second of signal.
    """
    if len(x) < sfreq:
        return (np.nan, np.nan)
    power = np.abs(np.fft.rfft(_without_line(x) * np.hanning(len(x)))) ** 2
    hz = np.fft.rfftfreq(len(x), 1 / sfreq)
    total = power[(hz >= _BAND_HZ[0]) & (hz <= _BAND_HZ[1])].sum()
    shares = [
        float(power[np.abs(hz - mains) <= _MAINS_WIDTH_HZ].sum() / total)
        if total > 0 and mains + _MAINS_WIDTH_HZ < sfreq / 2
        else np.nan
        for mains in MAINS_HZ
    ]
    return (shares[0], shares[1])
