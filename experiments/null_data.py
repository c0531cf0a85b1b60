"""Data in which nothing can be found: 1/f noise with slow drift, labels drawn by chance.

A protocol that scores above chance on these recordings scores something else than emotion. The
noise is shaped in the frequency domain, power 1/f above 0.5 Hz. The gain of each channel wanders
over the whole session like the impedance of an electrode (Ornstein and Uhlenbeck's process, 2
minutes), so windows near each other look alike. :mod:`physioemo.experiments.planted_data` plants
known effects into the same noise. Nobody was recorded, and every recording says so.
"""

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass

import numpy as np
import xarray as xr

from physioemo.datasets.assemble import GAP_SECONDS, assemble, stretches_to_stream
from physioemo.description import StreamDescription
from physioemo.errors import CallError
from physioemo.experiments.study_data import Groups, StudyData
from physioemo.features.preprocess import recording_features
from physioemo.features.preprocess_recipe import PreprocessRecipe
from physioemo.recording import Recording
from physioemo.trials import make_ratings

__all__ = [
    "DIMENSIONS",
    "NULL_CHANNELS",
    "NullPlan",
    "null_recordings",
    "pink_spectrum",
    "recorded",
    "session_onsets",
    "study_data",
    "trial_classes",
    "wandering_gain",
]

# fmt: off
NULL_CHANNELS = (
    "AF3", "F7", "F3", "FC5", "T7", "P7", "O1", "O2", "P8", "T8", "FC6", "F4", "F8", "AF4",
)
"""The montage of DREAMER's headset."""
# fmt: on

DIMENSIONS = ("valence", "arousal", "dominance")
SFREQ_HZ = 128.0
RMS_MICROVOLTS = 10.0
WANDER_SECONDS = 120.0
_CORNER_HZ = 0.5
_SPARE_SECONDS = 4.0  # a spectrum's signal is periodic: its end is thrown away
_LOW, _HIGH = (1.0, 4.5), (5.5, 9.0)


@dataclass(frozen=True)
class NullPlan:
    """The size of a made-up data set.

    Parameters
    ----------
    n_subjects, n_trials : int
        Subjects, and trials of each.
    seed : int
        The same seed gives the same bits, whatever the number of subjects.
    drift : float
        Standard deviation of the logarithm of a channel's gain; 0 is stationary noise, 0.1 mild,
        0.3 strong.
    trial_seconds, baseline_seconds : float
        Length of a trial and of the baseline before it.
    share_high : float
        Share of trials with a high rating.

    Raises
    ------
    CallError
        If a number cannot be meant.
    """

    n_subjects: int = 8
    n_trials: int = 40
    seed: int = 0
    drift: float = 0.1
    trial_seconds: float = 60.0
    baseline_seconds: float = 3.0
    share_high: float = 0.5

    def __post_init__(self) -> None:
        if self.n_subjects < 1 or self.n_trials < 2:
            raise CallError(
                f"found {self.n_subjects} subjects with {self.n_trials} trials, expected at least "
                "1 with 2"
            )
        if not (self.trial_seconds >= 1 and self.baseline_seconds >= 1 and self.drift >= 0):
            raise CallError(
                f"found trials of {self.trial_seconds:g} s, baselines of {self.baseline_seconds:g} "
                f"s and drift {self.drift:g}, expected at least 1 s each and drift not below 0"
            )
        if not 0 < round(self.share_high * self.n_trials) < self.n_trials:
            raise CallError(
                f"found a share of {self.share_high:g} high trials of {self.n_trials}, expected "
                "both classes; choose a share between 0 and 1"
            )


def null_recordings(
    n_subjects: int = 8,
    n_trials: int = 40,
    seed: int = 0,
    drift: float = 0.1,
    *,
    trial_seconds: float = 60.0,
    share_high: float = 0.5,
) -> Iterator[Recording]:
    """Yield recordings of noise, 14 channels at 128 Hz; ratings have nothing to do with it.

    Parameters
    ----------
    n_subjects, n_trials, seed, drift, trial_seconds, share_high
        As in :class:`NullPlan`.

    Raises
    ------
    CallError
        If a number cannot be meant.
    """
    plan = NullPlan(n_subjects, n_trials, seed, drift, trial_seconds, share_high=share_high)
    return (_null_recording(plan, subject) for subject in range(n_subjects))


def _null_recording(plan: NullPlan, subject: int) -> Recording:
    rng = np.random.default_rng([plan.seed, subject])
    high = trial_classes(rng, plan)
    gain = wandering_gain(rng, plan)
    stretches = []
    for part in gain:
        spectrum, n = pink_spectrum(rng, part.shape[1])
        stretches.append(np.fft.irfft(spectrum, n)[:, : part.shape[1]] * part)
    return recorded(plan, subject, stretches, high, rng, {"kind": "nothing", "effect": 0.0})


def trial_classes(rng: np.random.Generator, plan: NullPlan) -> np.ndarray:
    """Return which trials are rated high, drawn anew for each dimension, (trial, dimension)."""
    n_high = round(plan.share_high * plan.n_trials)
    row = np.arange(plan.n_trials) < n_high
    return np.stack([rng.permutation(row) for _ in DIMENSIONS], axis=1)


def session_onsets(plan: NullPlan) -> np.ndarray:
    """Return the first second of each stretch (baseline and trial), shape (trial,)."""
    step = plan.baseline_seconds + plan.trial_seconds + GAP_SECONDS
    return np.arange(plan.n_trials) * step


def wandering_gain(rng: np.random.Generator, plan: NullPlan) -> Iterator[np.ndarray]:
    """Yield the gain of every channel in each stretch, (channel, time)."""
    onsets = session_onsets(plan)
    stretch_seconds = plan.baseline_seconds + plan.trial_seconds
    ticks = np.arange(int(onsets[-1] + stretch_seconds) + 2)
    kept = np.exp(-1 / WANDER_SECONDS)
    noise = rng.normal(0, 1, (len(NULL_CHANNELS), len(ticks)))
    wander = np.empty_like(noise)
    wander[:, 0] = noise[:, 0]
    for k in range(1, len(ticks)):
        wander[:, k] = kept * wander[:, k - 1] + np.sqrt(1 - kept**2) * noise[:, k]
    n = round(stretch_seconds * SFREQ_HZ)
    for onset in onsets:
        time = onset + np.arange(n) / SFREQ_HZ
        yield np.exp(plan.drift * np.stack([np.interp(time, ticks, row) for row in wander]))


def pink_spectrum(rng: np.random.Generator, n_samples: int) -> tuple[np.ndarray, int]:
    """Return the spectrum (channel, frequency) of 1/f noise and the length of its signal.

    The signal has a root mean square of about 10 uV and is longer than `n_samples`, which are to
    be cut from it.
    """
    n = 2 * int(np.ceil((n_samples + _SPARE_SECONDS * SFREQ_HZ) / 2))
    frequency = np.fft.rfftfreq(n, 1 / SFREQ_HZ)
    amplitude = 1 / np.sqrt(np.maximum(frequency, _CORNER_HZ))
    amplitude[0] = amplitude[-1] = 0
    amplitude *= RMS_MICROVOLTS * n / np.sqrt(4 * np.sum(amplitude**2))
    pairs = rng.normal(0, 1, (2, len(NULL_CHANNELS), len(frequency)))
    return amplitude * (pairs[0] + 1j * pairs[1]), n


def recorded(
    plan: NullPlan,
    subject: int,
    stretches: list[np.ndarray],
    high: np.ndarray,
    rng: np.random.Generator,
    planted: dict[str, object],
) -> Recording:
    """Return a recording of stretches (channel, time), with ratings of the given classes."""
    onsets = session_onsets(plan)
    numbers = range(1, plan.n_trials + 1)
    clips = rng.permutation(plan.n_trials) + 1
    drawn = np.where(high, rng.uniform(*_HIGH, high.shape), rng.uniform(*_LOW, high.shape))
    description = StreamDescription(
        name="Simulated EEG",
        stype="EEG",
        sfreq=SFREQ_HZ,
        ch_names=NULL_CHANNELS,
        units=("uV",) * len(NULL_CHANNELS),
        channel_format="double64",
        source_id=f"simulated-{subject + 1:02d}",
    )
    eeg = stretches_to_stream([s.T for s in stretches], list(onsets), description)
    return assemble(
        {"eeg": eeg},
        trials=[
            (k, float(onset) + plan.baseline_seconds, plan.trial_seconds, f"simulated-clip-{c:02d}")
            for k, onset, c in zip(numbers, onsets, clips, strict=True)
        ],
        ratings=make_ratings(numbers, DIMENSIONS, drawn.round(2), scale=(1, 9)),
        baselines=[(float(onset), plan.baseline_seconds) for onset in onsets],
        attrs={
            "dataset": "simulated",
            "subject": f"{subject + 1:02d}",
            "session": "1",
            "simulated": True,
            "synthetic": True,
            "planted": planted,
            "plan": asdict(plan),
        },
    )


def study_data(
    recordings: Iterable[Recording], recipe: PreprocessRecipe | None = None
) -> StudyData:
    """Return the features of rated recordings in memory, as a feature store would hold them.

    Parameters
    ----------
    recordings : iterable of Recording
        One is held at a time. All have the same channels and dimensions.
    recipe : PreprocessRecipe, optional
        Entropy of seconds by default.

    Raises
    ------
    CallError
        If there are no recordings.
    """
    recipe = recipe or PreprocessRecipe(definition="window-filter")
    parts: list[xr.Dataset] = []
    simulated, names = False, []
    for k, recording in enumerate(recordings):
        names.append(str(recording.attrs.get("dataset", "recording")))
        simulated = simulated or recording.simulated
        parts.append(recording_features(recording, recipe, name=f"recording-{k + 1}"))
    if not parts:
        raise CallError("found no recordings, expected at least one")
    counts = [p.sizes["window"] for p in parts]
    families = [name.replace("-", "_") for name in recipe.features]
    first = parts[0]

    def column(name: str) -> np.ndarray:
        return np.concatenate([p[name].values for p in parts])

    rated = [str(d) for d in first["dimension"].values]
    return StudyData(
        families={f: column(f) for f in families},
        coords={f: _axes(first, f) for f in families},
        groups=Groups(
            **{k: column(k) for k in ("subject", "session", "trial", "stimulus", "onset_seconds")},
            window_seconds=recipe.window_seconds,
            dataset=np.repeat(np.array(names, object), counts),
        ),
        ratings={d: column("rating")[:, k] for k, d in enumerate(rated)},
        scale=(first["rating"].attrs["scale_minimum"], first["rating"].attrs["scale_maximum"]),
        labels=None,
        source={
            "dataset": names[0],
            "recipe": recipe.to_dict(),
            "recipe_hash": recipe.fingerprint,
            "simulated": simulated,
        },
    )


def _axes(part: xr.Dataset, family: str) -> dict[str, tuple[str, ...]]:
    dims = [str(d) for d in part[family].dims[1:]]
    return {d.removeprefix(f"{family}_"): tuple(str(v) for v in part[d].values) for d in dims}
