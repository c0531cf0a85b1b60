"""The table of modalities: what kind of signal a stream or channel carries."""

from dataclasses import dataclass

__all__ = ["MODALITIES", "Modality", "channel_modality", "stream_modality"]


@dataclass(frozen=True)
class Modality:
    """One kind of signal.

    Parameters
    ----------
    name : str
        Our name, used as ``modality`` of a stream and ``channel_type`` of a channel.
    spellings : tuple of str
        LSL content types and channel types that mean it (compared without case).
    mne_type : str
        The channel type in MNE.
    irregular : bool
        Whether a stream of this kind may have no nominal rate.
    missing_allowed : bool
        Whether NaN is the device's normal word for "nothing seen" (a blink, no rating).
    """

    name: str
    spellings: tuple[str, ...]
    mne_type: str = "misc"
    irregular: bool = False
    missing_allowed: bool = False


MODALITIES: dict[str, Modality] = {
    row.name: row
    for row in (
        Modality("eeg", ("eeg",), "eeg"),
        Modality("ecg", ("ecg", "ekg"), "ecg"),
        Modality("eog", ("eog", "veog", "heog"), "eog"),
        Modality("emg", ("emg",), "emg"),
        Modality("eda", ("eda", "gsr", "electrodermal"), "gsr"),
        Modality("respiration", ("respiration", "resp", "rsp", "breathing"), "resp"),
        Modality("pleth", ("pleth", "ppg", "bvp", "plethysmograph"), "bio"),
        Modality("temperature", ("temperature", "temp", "skt"), "temperature"),
        Modality("acceleration", ("acceleration", "acc", "accelerometer"), "misc"),
        Modality("gaze", ("gaze", "eyetracking", "eyegaze"), "eyegaze", True, True),
        Modality("pupil", ("pupil",), "pupil", True, True),
        Modality("physiology", ("physiology", "physio", "biosignals", "bio"), "bio"),
        Modality("markers", ("markers", "marker", "stringmarker", "events"), "stim", True, True),
        Modality("ratings", ("ratings", "rating"), "misc", True, True),
        Modality(
            "continuous_rating", ("continuousrating", "continuous_rating"), "misc", True, True
        ),
        Modality("prediction", ("prediction", "vad"), "misc", True, True),
        Modality("ground_truth", ("groundtruth", "ground_truth"), "misc", False, True),
        Modality("stim", ("stim", "trigger", "status"), "stim"),
        Modality("device_time", ("device_time",), "misc", True, True),
        Modality("validity", ("validity",), "misc", True, True),
        Modality("rotation", ("rotation", "gyroscope", "gyro"), "misc"),
        Modality("auxiliary", ("auxiliary", "aux"), "misc", True, True),
        Modality("other", (), "misc", True, True),
    )
}
_BY_SPELLING = {s: m.name for m in MODALITIES.values() for s in (*m.spellings, m.name)}


def stream_modality(stype: str) -> str:
    """Return the modality of an LSL content type; ``"other"`` if it is not in the table."""
    return _BY_SPELLING.get(stype.strip().casefold(), "other")


def channel_modality(channel_type: str | None, modality: str) -> str:
    """Return the modality of one channel, from its own type or else its stream's."""
    named = _BY_SPELLING.get((channel_type or "").strip().casefold(), "other")
    return modality if named == "other" else named
