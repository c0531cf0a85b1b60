"""BioSemi's 24-bit recordings (BDF): the header, checked against the file, and its samples.

The format is EDF's (Kemp et al., Electroencephalography and Clinical Neurophysiology 82, 1992)
with three bytes a sample: https://www.biosemi.com/faq/file_format.htm. A file is refused if its
header contradicts itself or the file's size; nothing is allocated before that. Samples are mapped
from the file and decoded one channel at a time.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from physioemo.errors import UnreadableFileError

__all__ = ["BdfChannel", "BdfFile", "open_bdf"]

_MAGIC = b"\xffBIOSEMI"
_FIXED_BYTES = 256  # the fixed header, and the header of each channel
_SAMPLE_BYTES = 3
_DIGITAL_RANGE = (-(2**23), 2**23 - 1)
# name and width of the fields of a channel's header; each is stored for all channels in turn
_FIELDS = (
    ("label", 16),
    ("transducer", 80),
    ("unit", 8),
    ("physical minimum", 8),
    ("physical maximum", 8),
    ("digital minimum", 8),
    ("digital maximum", 8),
    ("prefilter", 80),
    ("samples per record", 8),
    ("reserved", 32),
)


@dataclass(frozen=True)
class BdfChannel:
    """One channel of a file.

    Parameters
    ----------
    name : str
        The label. Labels that come more than once get running numbers, as MNE gives them: two
        empty ones become ``-0`` and ``-1``.
    unit : str
        Physical dimension as written, for example ``uV``.
    physical, digital : (float, float)
        Lowest and highest value in that unit, and the numbers stored for them.
    samples_per_record : int
        How many of its samples one data record holds.
    first_byte : int
        Where they begin in the record.
    """

    name: str
    unit: str
    physical: tuple[float, float]
    digital: tuple[int, int]
    samples_per_record: int
    first_byte: int

    @property
    def gain(self) -> float:
        """Physical units per stored unit."""
        (low, high), (first, last) = self.physical, self.digital
        return (high - low) / (last - first)


@dataclass(frozen=True)
class BdfFile:
    """An open file.

    Parameters
    ----------
    path : Path
        The file.
    channels : tuple of BdfChannel
        In the order of the file.
    record_seconds : float
        Duration of one data record.
    records : ndarray of uint8, shape (record, byte)
        The data, mapped from the file.
    """

    path: Path
    channels: tuple[BdfChannel, ...]
    record_seconds: float
    records: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """Channel names."""
        return tuple(c.name for c in self.channels)

    def channel(self, name: str) -> BdfChannel:
        """Return the channel of a name.

        Raises
        ------
        UnreadableFileError
            If there is none.
        """
        found = [c for c in self.channels if c.name == name]
        if not found:
            raise UnreadableFileError(
                f"found the channels {', '.join(map(repr, self.names))} in {self.path}, expected "
                f"one called {name!r}; is it the right file, and whole?"
            )
        return found[0]

    def sfreq(self, name: str) -> float:
        """Return a channel's rate in Hz."""
        return self.channel(name).samples_per_record / self.record_seconds

    def digital(self, name: str) -> np.ndarray:
        """Return a channel's stored numbers as int32, shape (time,)."""
        channel = self.channel(name)
        stop = channel.first_byte + channel.samples_per_record * _SAMPLE_BYTES
        stored = self.records[:, channel.first_byte : stop].reshape(-1, _SAMPLE_BYTES)
        padded = np.zeros((len(stored), 4), np.uint8)
        padded[:, 1:] = stored  # the sign is in the highest byte: shifting down keeps it
        return padded.view("<i4")[:, 0] >> 8

    def physical(self, names: Sequence[str]) -> np.ndarray:
        """Return channels of one rate in their units as float32, shape (time, channel).

        A stored number has 24 bits, and so has the significand of a float32.
        """
        n_samples = len(self.records) * self.channel(names[0]).samples_per_record
        signal = np.empty((n_samples, len(names)), np.float32)
        for column, name in enumerate(names):
            channel = self.channel(name)
            offset = channel.physical[0] - channel.gain * channel.digital[0]
            signal[:, column] = self.digital(name) * channel.gain + offset
        return signal


def open_bdf(path: str | Path) -> BdfFile:
    """Read a header, check it against the file, and map the samples.

    Parameters
    ----------
    path : str or Path
        A ``.bdf`` file that is there.

    Raises
    ------
    UnreadableFileError
        If it is no BDF file, is cut off, or its header contradicts itself.
    """
    path = Path(path)
    size = path.stat().st_size
    with path.open("rb") as file:
        fixed = file.read(_FIXED_BYTES)
        if len(fixed) < _FIXED_BYTES or not fixed.startswith(_MAGIC) or fixed[192:197] != b"24BIT":
            raise UnreadableFileError(
                f"found {fixed[:8]!r} and {fixed[192:197]!r} in the header of {path}, expected "
                f"{_MAGIC!r} and b'24BIT' of a BDF file; the file is damaged or of another format"
            )
        n_channels = int(_number(fixed[252:256], "number of channels", path, low=1, whole=True))
        header_bytes = _number(fixed[184:192], "length of the header", path)
        expected = _FIXED_BYTES * (n_channels + 1)
        if header_bytes != expected or size < expected:
            raise UnreadableFileError(
                f"found {size} bytes and a header of {header_bytes:g} in {path}, expected "
                f"{expected} for {n_channels} channels; the file is damaged: copy it again"
            )
        channels = _channels(file.read(expected - _FIXED_BYTES), n_channels, path)
    seconds = _number(fixed[244:252], "duration of a record", path)
    if not seconds > 0:
        raise UnreadableFileError(
            f"found records of {seconds:g} s in {path}, expected a duration; the file is damaged"
        )
    record_bytes = _SAMPLE_BYTES * sum(c.samples_per_record for c in channels)
    n_records = _n_records(fixed[236:244], size - expected, record_bytes, path)
    shape = (n_records, record_bytes)
    return BdfFile(path, channels, seconds, np.memmap(path, np.uint8, "r", expected, shape))


def _n_records(field: bytes, data_bytes: int, record_bytes: int, path: Path) -> int:
    stated = int(_number(field, "number of records", path, low=-1, whole=True))
    held = data_bytes / record_bytes
    # The recorder writes -1 at the start and the number at the end.
    if held < 1 or stated not in (held, -1) or held != int(held):
        raise UnreadableFileError(
            f"found {held:.6g} data records in {path}, expected the {stated} of its header; the "
            "file is cut off or damaged: copy it again"
        )
    return int(held)


def _number(
    field: bytes, what: str, path: Path, *, low: float = -1e9, whole: bool = False
) -> float:
    text = field.decode("latin-1").strip()
    plain = text.isascii() and all(c in "+-.0123456789eE" for c in text)
    try:
        number = float(text) if plain else float("nan")
    except ValueError:
        number = float("nan")
    if not low <= number <= 1e9 or (whole and number != int(number)):
        raise UnreadableFileError(
            f"found the {what} {text!r} in the header of {path}, expected a "
            f"{'whole ' if whole else ''}number; the file is damaged: copy it again"
        )
    return number


def _channels(header: bytes, n_channels: int, path: Path) -> tuple[BdfChannel, ...]:
    columns, start = {}, 0
    for name, width in _FIELDS:
        stop = start + width * n_channels
        columns[name] = [header[i : i + width] for i in range(start, stop, width)]
        start = stop
    numbers = {
        name: [_number(f, name, path, whole=whole, low=low) for f in columns[name]]
        for name, whole, low in (
            ("physical minimum", False, -1e9),
            ("physical maximum", False, -1e9),
            ("digital minimum", True, -1e9),
            ("digital maximum", True, -1e9),
            ("samples per record", True, 1),
        )
    }
    names = _unique([f.decode("latin-1").strip() for f in columns["label"]])
    units = [f.decode("latin-1").strip() for f in columns["unit"]]
    channels, first_byte = [], 0
    for name, unit, *values in zip(names, units, *numbers.values(), strict=True):
        low, high, first, last, n_samples = values
        if low == high or (first, last) != _DIGITAL_RANGE:
            raise UnreadableFileError(
                f"found the ranges {low:g} to {high:g} {unit} and {int(first)} to {int(last)} of "
                f"channel {name!r} in {path}, expected two different values and the 24 bits "
                f"{_DIGITAL_RANGE}; the file is damaged: copy it again"
            )
        channels.append(
            BdfChannel(name, unit, (low, high), _DIGITAL_RANGE, int(n_samples), first_byte)
        )
        first_byte += int(n_samples) * _SAMPLE_BYTES
    return tuple(channels)


def _unique(labels: list[str]) -> list[str]:
    """Give running numbers to labels that come more than once."""
    counts, seen = Counter(labels), Counter[str]()
    names = []
    for label in labels:
        names.append(f"{label}-{seen[label]}" if counts[label] > 1 else label)
        seen[label] += 1
    return names
