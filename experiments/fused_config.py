"""Everything that decides how a decoder of several streams is trained."""

from dataclasses import dataclass

from physioemo.errors import CallError
from physioemo.experiments.fused_emotions import require_names
from physioemo.experiments.fused_heads import HEADS
from physioemo.experiments.fused_modalities import FUSION_NAMES, SIZES
from physioemo.experiments.fused_sides import SideChoice
from physioemo.experiments.fused_stimulus import StimulusChoice
from physioemo.experiments.fused_trust import TrustChoice
from physioemo.experiments.training import StudyConfig
from physioemo.hints import unknown_name
from physioemo.models.multiple_instance import POOLINGS
from physioemo.models.temporal_context import CONTEXTS

__all__ = ["FusedConfig", "default_side"]

_BODY_SECONDS, _EYE_SECONDS = (5.0, 1.0), (2.0, 0.5)
_EYES = ("gaze", "pupil")
_SLOW = {"hrv": 10.0}
_MAX_AGE_SECONDS = 3.0


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
    trust : TrustChoice, optional
        When the decoder is to be silent, and what it is to promise; by default it always answers
        and promises nothing.
    heads : str
        What is said, one of :data:`physioemo.experiments.fused_heads.HEADS`: the classes (low,
        high), ratings as numbers with classes, or ratings from which the classes follow.
    rating_weight : float
        How much ratings count beside classes in training.
    context : str, optional
        Row of :data:`physioemo.models.temporal_context.CONTEXTS` that says the classes from
        several windows; by default each window stands alone.
    pooling : str, optional
        One of :data:`physioemo.models.multiple_instance.POOLINGS`, for ratings of whole trials:
        the classes are said of the newest windows together, as many as a usual trial has.
    pretrained : str, optional
        Folder of ``physioemo pretrain`` whose encoders it begins with, of the same families.
    emotions : tuple of str
        Named emotions that are said as well, learned from the trials whose emotion is known; none
        by default.
    emotion_of : tuple of (str, str)
        The emotion of stimuli whose recordings do not say it (column ``label_name`` of trials).
    emotion_weight : float
        How much named emotions count beside the rest in training.

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
    trust: TrustChoice | None = None
    heads: str = "classes"
    rating_weight: float = 1.0
    context: str | None = None
    pooling: str | None = None
    pretrained: str | None = None
    emotions: tuple[str, ...] = ()
    emotion_of: tuple[tuple[str, str], ...] = ()
    emotion_weight: float = 1.0

    @property
    def has_more_than_eeg(self) -> bool:
        """Whether anything is read beside the EEG."""
        return bool(self.sides) or self.stimulus is not None

    @property
    def has_more_than_classes(self) -> bool:
        """Whether there is more than the classes of single windows, or another beginning."""
        more = (self.trust, self.context, self.pooling, self.pretrained)
        named = self.heads != "classes" or bool(self.emotions)
        return named or any(part is not None for part in more)

    def __post_init__(self) -> None:
        for what, name, known in (
            ("fusion", self.fusion, FUSION_NAMES),
            ("preset", self.preset, SIZES),
            ("heads", self.heads, HEADS),
            ("context", self.context, (None, *CONTEXTS)),
            ("pooling", self.pooling, (None, *POOLINGS)),
        ):
            if name not in known:
                names = [k for k in known if k is not None]
                raise unknown_name(f"the {what}", name, names)
        self._refuse_contradictions()
        names = [side.family for side in self.sides]
        if len(set(names)) < len(names):
            raise CallError(f"found the families {', '.join(names)}, expected each once")

    def _refuse_contradictions(self) -> None:
        before = [k for k in ("context", "pooling") if getattr(self, k) is not None]
        if len(before) > 1:
            raise CallError(
                "found a context and a pooling, expected one of them: both say the classes from "
                "several windows; leave one out"
            )
        if before and self.heads == "continuous":
            raise CallError(
                f"found heads = 'continuous' with a {before[0]}, which says classes, expected "
                f"'joint' or 'classes' with it; use one of these or leave the {before[0]} out"
            )
        for name in ("rating_weight", "emotion_weight"):
            if not getattr(self, name) > 0:
                raise CallError(f"found {name} = {getattr(self, name)}, expected above 0")
        require_names(self.emotions, self.emotion_of)
