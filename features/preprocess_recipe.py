"""Everything that decides a bit of a feature store, and the hash that stands for it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from physioemo.errors import CallError
from physioemo.features.catalogue import FAMILIES
from physioemo.features.conditioning import Conditioning
from physioemo.features.entropy_recipe import BANDS, DEFINITIONS, OFFLINE
from physioemo.features.family import Family, FamilyOptions
from physioemo.features.smoothing import OFFLINE_SMOOTHINGS, SMOOTHINGS
from physioemo.features.stimulus_family import STIMULUS_FAMILIES, StimulusCut, StimulusFamily
from physioemo.fingerprint import config_fingerprint
from physioemo.hints import unknown_name

__all__ = ["BASELINES", "SMOOTHED", "PreprocessRecipe"]

BASELINES = ("none", "subtract")
SMOOTHED = ("de", "psd", "relative-psd", "asymmetry")
"""Families that smoothing applies to."""

_FORMAT = 1  # grows when the same recipe would give other numbers


@dataclass(frozen=True)
class PreprocessRecipe:
    """How recordings become features.

    Parameters
    ----------
    features : tuple of str
        Names of families (:data:`physioemo.features.catalogue.FAMILIES` and
        :data:`physioemo.features.stimulus_family.STIMULUS_FAMILIES`).
    window_seconds, hop_seconds : float
        Length of a window and the step between two; the first begins with the trial.
    bands : mapping of str to (float, float)
        Edges in Hz.
    definition : str
        Definition of the entropy.
    conditioning : Conditioning
        Reference and filters of the EEG.
    baseline : {"none", "subtract"}
        Whether the mean entropy of the windows of a trial's baseline is subtracted from ``de``.
    smoothing : str
        One of :data:`physioemo.features.smoothing.SMOOTHINGS`, for :data:`SMOOTHED`.
    smoothing_windows : int
        Length of the moving average.
    hrv_window_seconds : float
        How far back heart-rate variability looks.
    stimuli : mapping of str to str
        SHA-256 of the file of each stimulus, where families read the stimulus.
    stimulus_cut : StimulusCut
        How these files are decoded, and how much of them a window holds.

    Raises
    ------
    CallError
        If something is not known or contradictory.
    """

    features: tuple[str, ...] = ("de",)
    window_seconds: float = 1.0
    hop_seconds: float = 1.0
    bands: Mapping[str, tuple[float, float]] = field(default_factory=lambda: dict(BANDS))
    definition: str = "gaussian-filter"
    conditioning: Conditioning = field(default_factory=Conditioning)
    baseline: str = "none"
    smoothing: str = "none"
    smoothing_windows: int = 5
    hrv_window_seconds: float = 30.0
    stimuli: Mapping[str, str] = field(default_factory=dict)
    stimulus_cut: StimulusCut = field(default_factory=StimulusCut)

    def __post_init__(self) -> None:
        if not self.features:
            raise CallError("found no features, expected at least one family such as 'de'")
        for name in self.features:
            _known("feature", name, [*FAMILIES, *STIMULUS_FAMILIES])
        _known("entropy definition", self.definition, DEFINITIONS)
        _known("baseline handling", self.baseline, BASELINES)
        _known("smoothing", self.smoothing, SMOOTHINGS)
        if len(set(self.features)) < len(self.features):
            raise CallError(f"found {', '.join(self.features)}, expected each feature once")
        if self.baseline == "subtract" and "de" not in self.features:
            raise CallError(
                "found baseline 'subtract' without the feature 'de', expected both: it is the "
                "baseline's entropy that is subtracted"
            )
        if not (self.window_seconds > 0 and self.hop_seconds > 0):
            raise CallError(
                f"found windows of {self.window_seconds:g} s every {self.hop_seconds:g} s, "
                "expected both above 0"
            )
        self._check_stimuli()

    def _check_stimuli(self) -> None:
        shown = [f.name for f in self.stimulus_families]
        if shown and not self.stimuli:
            raise CallError(
                f"found the feature {shown[0]!r} without stimuli, expected the files that were "
                "shown; give their folder with --stimuli"
            )
        if self.stimuli and not shown:
            raise CallError(
                f"found stimuli and the features {', '.join(self.features)}, expected one of "
                f"{', '.join(STIMULUS_FAMILIES)} among them; add it to --features, or leave "
                "--stimuli out"
            )

    @property
    def families(self) -> tuple[Family, ...]:
        """The families that read a stream, in their order."""
        return tuple(FAMILIES[name] for name in self.features if name in FAMILIES)

    @property
    def stimulus_families(self) -> tuple[StimulusFamily, ...]:
        """The families that read the stimulus, in their order."""
        return tuple(STIMULUS_FAMILIES[n] for n in self.features if n in STIMULUS_FAMILIES)

    @property
    def options(self) -> FamilyOptions:
        """What the families are told."""
        return FamilyOptions(dict(self.bands), self.definition, self.hrv_window_seconds)

    @property
    def offline_only(self) -> list[str]:
        """What in this recipe looks into the future, so that no live session can load it."""
        found = [f.name for f in self.families if f.offline]
        if self.definition in OFFLINE and "de" in self.features:
            found.append(self.definition)
        if self.smoothing in OFFLINE_SMOOTHINGS:
            found.append(self.smoothing)
        return found

    @property
    def fingerprint(self) -> str:
        """Hash of everything that changes a bit of the result."""
        return config_fingerprint({"format": _FORMAT, **self.to_dict()})

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        fields = asdict(self)
        fields["features"] = list(self.features)
        # A list keeps the order of the bands, which is an axis of the result.
        fields["bands"] = [[name, *map(float, edges)] for name, edges in self.bands.items()]
        # A recipe without stimuli has the hash that it had before there were any.
        if not self.stimuli:
            del fields["stimuli"], fields["stimulus_cut"]
        return fields

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> "PreprocessRecipe":
        """Return the recipe that :meth:`to_dict` wrote."""
        own = dict(fields)
        own["features"] = tuple(own["features"])
        own["bands"] = {str(n): (float(a), float(b)) for n, a, b in own["bands"]}
        own["conditioning"] = Conditioning(**own["conditioning"])
        if "stimulus_cut" in own:
            own["stimulus_cut"] = StimulusCut(**own["stimulus_cut"])
        return cls(**own)


def _known(what: str, name: str, table: Mapping[str, Any] | Sequence[str]) -> None:
    if name not in table:
        raise unknown_name(f"the {what}", name, table)
