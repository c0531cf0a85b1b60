"""Which channels of a stream are drawn, and where on the page."""

from dataclasses import dataclass

from physioemo.description import StreamDescription
from physioemo.errors import UnitError
from physioemo.units import conversion_factor

__all__ = ["Row", "filtered_rows", "trace_rows"]

_PANELS = {
    "eeg": "eeg",
    "eog": "eeg",
    "emg": "eeg",
    "ecg": "body",
    "pleth": "body",
    "eda": "body",
    "respiration": "body",
    "temperature": "body",
    "pupil": "body",
    "acceleration": "body",
    "gaze": "gaze",
}
_FILTERED = ("eeg", "eog", "emg", "ecg", "pleth")
_MOST_ROWS = 256


@dataclass(frozen=True)
class Row:
    """One trace on the page.

    Parameters
    ----------
    channel : int
        Number of the channel in its stream.
    label, unit, kind : str
        The channel's name, unit and modality.
    panel : str
        ``"eeg"``, ``"body"`` or ``"gaze"``.
    gain : float
        What brings the channel's own unit to `unit`: potentials are drawn in microvolts.
    """

    channel: int
    label: str
    unit: str
    kind: str
    panel: str
    gain: float = 1.0


def trace_rows(description: StreamDescription) -> tuple[Row, ...]:
    """Return the traces of a stream; none for text, ratings, predictions and the like.

    Parameters
    ----------
    description : StreamDescription
        Of the stream.
    """
    if description.is_text:
        return ()
    channels = zip(description.ch_names, description.units, description.ch_types, strict=True)
    rows = [
        Row(i, name, *_in_microvolts(unit, _PANELS[kind], kind))
        for i, (name, unit, kind) in enumerate(channels)
        if kind in _PANELS
    ]
    return tuple(rows[:_MOST_ROWS])


def _in_microvolts(unit: str, panel: str, kind: str) -> tuple[str, str, str, float]:
    """Return unit, kind, panel and gain of a row; what is no potential stays as it is."""
    if panel != "eeg":
        return unit, kind, panel, 1.0
    try:
        return "uV", kind, panel, conversion_factor(unit, "uV")
    except UnitError:
        return unit, kind, panel, 1.0


def filtered_rows(rows: tuple[Row, ...], sfreq: float) -> list[int]:
    """Return which of the rows are drawn without what is slower than 0.5 Hz."""
    return [i for i, row in enumerate(rows) if row.kind in _FILTERED and sfreq > 0]
