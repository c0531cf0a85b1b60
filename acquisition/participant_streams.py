"""How the streams of a simulated participant describe themselves to Lab Streaming Layer."""

from dataclasses import dataclass

from physioemo.acquisition.participant_config import ParticipantConfig
from physioemo.acquisition.participant_scalp import electrode_directions

__all__ = ["AFFECT", "StreamPlan", "describe_streams"]

AFFECT = ("valence", "arousal", "dominance")


@dataclass(frozen=True)
class StreamPlan:
    """The description of one stream.

    Attributes
    ----------
    name : str
        Name of the stream, and its key in :func:`describe_streams`.
    content_type : str
        LSL's content type, such as ``"EEG"``.
    modality : str
        PhysioEmo's word for what it is.
    sfreq : float
        Sampling rate in Hz; 0 for a stream that is irregular.
    ch_names, ch_types, units : tuple of str
        One entry per channel.
    channel_format : str
        LSL's name of the number format.
    """

    name: str
    content_type: str
    modality: str
    sfreq: float
    ch_names: tuple[str, ...]
    ch_types: tuple[str, ...]
    units: tuple[str, ...]
    channel_format: str = "float32"


def describe_streams(config: ParticipantConfig) -> dict[str, StreamPlan]:
    """Describe the six streams of a session.

    Parameters
    ----------
    config : ParticipantConfig
        The participant.

    Returns
    -------
    dict of str to StreamPlan
        ``eeg``, ``physiology``, ``gaze``, ``truth`` (regular), ``markers`` (one JSON text per
        sample) and ``ratings`` (irregular).

    Raises
    ------
    CallError
        If the montage does not exist.
    """
    plans = (_describe_eeg(config), *_describe_body(config), *_describe_session(config))
    return {plan.name: plan for plan in plans}


def _describe_eeg(config: ParticipantConfig) -> StreamPlan:
    """Describe the EEG."""
    ch_names, _ = electrode_directions(config.montage)
    n_channels = len(ch_names)
    return StreamPlan(
        "eeg", "EEG", "eeg", config.sfreq, ch_names, ("eeg",) * n_channels, ("uV",) * n_channels
    )


def _describe_body(config: ParticipantConfig) -> tuple[StreamPlan, StreamPlan]:
    """Describe physiology and gaze."""
    physiology = StreamPlan(
        "physiology",
        "Physiology",
        "physiology",
        config.physiology_sfreq,
        ("ECG", "EDA", "RSP"),
        ("ecg", "eda", "respiration"),
        ("mV", "uS", "a.u."),
    )
    gaze = StreamPlan(
        "gaze",
        "Gaze",
        "gaze",
        config.gaze_sfreq,
        ("gaze_x", "gaze_y", "pupil_left", "pupil_right"),
        ("gaze", "gaze", "pupil", "pupil"),
        ("normalized", "normalized", "mm", "mm"),
    )
    return physiology, gaze


def _describe_session(config: ParticipantConfig) -> tuple[StreamPlan, StreamPlan, StreamPlan]:
    """Describe the hidden truth, the markers and the ratings."""
    truth = StreamPlan(
        "truth",
        "GroundTruth",
        "ground_truth",
        config.truth_sfreq,
        AFFECT,
        AFFECT,
        ("a.u. [-1, 1]",) * 3,
    )
    markers = StreamPlan(
        "markers", "Markers", "markers", 0.0, ("marker",), ("marker",), ("json",), "string"
    )
    ratings = StreamPlan(
        "ratings",
        "Ratings",
        "ratings",
        0.0,
        ("trial", *AFFECT),
        ("trial", *AFFECT),
        ("count", "1-9", "1-9", "1-9"),
    )
    return truth, markers, ratings
