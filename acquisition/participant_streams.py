"""How the streams of a simulated participant describe themselves to Lab Streaming Layer."""

from physioemo.acquisition.participant_config import ParticipantConfig
from physioemo.acquisition.participant_scalp import electrode_directions
from physioemo.description import StreamDescription
from physioemo.prediction import DIMENSIONS
from physioemo.units import NO_UNIT

__all__ = ["describe_streams"]


def describe_streams(config: ParticipantConfig) -> dict[str, StreamDescription]:
    """Describe the six streams of a session; every name begins with ``Simulated``.

    Parameters
    ----------
    config : ParticipantConfig
        The participant.

    Returns
    -------
    dict of str to StreamDescription
        ``eeg``, ``physiology``, ``gaze``, ``truth`` (regular), ``markers`` (one JSON text per
        sample) and ``ratings`` (irregular).

    Raises
    ------
    CallError
        If the montage does not exist.
    """
    electrodes, _ = electrode_directions(config.montage)
    rows = {
        "eeg": ("EEG", config.sfreq, electrodes, ("uV",) * len(electrodes), ()),
        "physiology": (
            "Physiology",
            config.physiology_sfreq,
            ("ECG", "EDA", "RSP"),
            ("mV", "uS", "a.u."),
            ("ecg", "eda", "respiration"),
        ),
        "gaze": (
            "Gaze",
            config.gaze_sfreq,
            ("gaze_x", "gaze_y", "pupil_left", "pupil_right"),
            ("normalized", "normalized", "mm", "mm"),
            ("gaze", "gaze", "pupil", "pupil"),
        ),
        "truth": ("GroundTruth", config.truth_sfreq, DIMENSIONS, ("a.u. [-1, 1]",) * 3, ()),
        "markers": ("Markers", 0.0, ("marker",), (NO_UNIT,), ()),
        "ratings": ("Ratings", 0.0, ("trial", *DIMENSIONS), ("count", *("1-9",) * 3), ()),
    }
    return {
        key: StreamDescription(
            name=f"Simulated-{stype}",
            stype=stype,
            sfreq=sfreq,
            ch_names=ch_names,
            units=units,
            channel_format="string" if key == "markers" else "float32",
            ch_types=ch_types,
            source_id=f"simulated-{config.seed}-{config.session}-{key}",
        )
        for key, (stype, sfreq, ch_names, units, ch_types) in rows.items()
    }
