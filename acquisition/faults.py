"""Faults on command: what devices and networks do wrong, planted into streams that are published.

Every fault is a pure function of a stretch of one stream and a seed: the same recording and the
same seed give the same faults. Stamps and the moment at which a sample is sent are two things: a
clock that is reset moves the stamps and delays nothing, a stall delays and moves no stamp.
"""

import math
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from physioemo.acquisition.publish import Block
from physioemo.description import StreamDescription
from physioemo.errors import CallError
from physioemo.hints import nearest

__all__ = [
    "FAULTS",
    "Fault",
    "Part",
    "announce",
    "apply_faults",
    "check_faults",
    "faulty_blocks",
    "faulty_description",
    "outages",
    "parse_fault",
]


@dataclass(frozen=True)
class Part:
    """A stretch of one stream on its way.

    Parameters
    ----------
    signal : ndarray, shape (time, channel)
        Samples.
    time : ndarray, shape (time,)
        When they truly were, in seconds since the publication began.
    stamps : ndarray, shape (time,)
        What the device says of when they were, in seconds on the same axis.
    due : ndarray, shape (time,)
        When they are sent, on it as well.
    """

    signal: np.ndarray
    time: np.ndarray
    stamps: np.ndarray
    due: np.ndarray

    def take(self, index: np.ndarray) -> "Part":
        """Return some of the samples."""
        return Part(self.signal[index], self.time[index], self.stamps[index], self.due[index])


@dataclass(frozen=True)
class Fault:
    """One fault.

    Parameters
    ----------
    kind : str
        Key of :data:`FAULTS`.
    values : tuple of float
        Its numbers, as :data:`FAULTS` names them.
    stream : str
        Key or LSL name of the stream; all streams if empty.
    """

    kind: str
    values: tuple[float, ...]
    stream: str = ""

    @property
    def text(self) -> str:
        """What it does, in words."""
        return FAULTS[self.kind].text.format(*self.values)

    def concerns(self, key: str, name: str) -> bool:
        """Return whether it is meant for a stream."""
        return self.stream in ("", key, name)


Apply = Callable[[Part, tuple[float, ...], np.random.Generator], Part]


@dataclass(frozen=True)
class _Kind:
    fields: tuple[str, ...]
    text: str
    least: tuple[float, ...]
    most: tuple[float, ...]
    apply: Apply


def jitter(part: Part, values: tuple[float, ...], rng: np.random.Generator) -> Part:
    """Add normal noise of so many milliseconds to the stamps."""
    noise = rng.standard_normal(len(part.stamps)) * values[0] / 1000
    return replace(part, stamps=part.stamps + noise)


def drift(part: Part, values: tuple[float, ...], rng: np.random.Generator) -> Part:
    """Let the device's clock run faster by so many parts per million."""
    return replace(part, stamps=part.stamps + part.time * values[0] * 1e-6)


def clock_reset(part: Part, values: tuple[float, ...], rng: np.random.Generator) -> Part:
    """From a second on, let the device's clock be wrong by so many seconds."""
    at, by = values
    return replace(part, stamps=part.stamps + np.where(part.time >= at, by, 0.0))


def loss(part: Part, values: tuple[float, ...], rng: np.random.Generator) -> Part:
    """Lose each sample with a probability."""
    return part.take(np.flatnonzero(rng.random(len(part.time)) >= values[0]))


def duplicates(part: Part, values: tuple[float, ...], rng: np.random.Generator) -> Part:
    """Send each sample twice with a probability, with the same stamp."""
    twice = rng.random(len(part.time)) < values[0]
    return part.take(np.repeat(np.arange(len(part.time)), 1 + twice))


def stream_loss(part: Part, values: tuple[float, ...], rng: np.random.Generator) -> Part:
    """From a second on, for so long, be gone."""
    at, length = values
    return part.take(np.flatnonzero((part.time < at) | (part.time >= at + length)))


def nan_bursts(part: Part, values: tuple[float, ...], rng: np.random.Generator) -> Part:
    """Turn numbers into NaN in bursts: so many a second, each so long; text stays."""
    rate, length = values
    if part.signal.dtype.kind != "f" or not len(part.time):
        return part
    # Seeded second by second, so that a burst goes on over the edge between two blocks.
    seed = int(rng.integers(2**32))
    missing = np.zeros(len(part.time), bool)
    first = math.floor(float(part.time.min()) - length)
    for second in range(first, math.floor(float(part.time.max())) + 1):
        if second < 0:
            continue
        own = np.random.default_rng([seed, second])
        for start in second + own.random(own.poisson(rate)):
            missing |= (part.time >= start) & (part.time < start + length)
    signal = part.signal.copy()
    signal[missing] = np.nan
    return replace(part, signal=signal)


def wrong_rate(part: Part, values: tuple[float, ...], rng: np.random.Generator) -> Part:
    """Change no sample: the header is wrong, see :func:`faulty_description`."""
    return part


def stall(part: Part, values: tuple[float, ...], rng: np.random.Generator) -> Part:
    """From a second on, for so long, hold samples back; then send them all at once."""
    at, length = values
    held = (part.due >= at) & (part.due < at + length)
    return replace(part, due=np.where(held, at + length, part.due))


_ABOVE = (0.0, 0.0)
_ENDLESS = (math.inf, math.inf)
FAULTS: dict[str, _Kind] = {
    "jitter": _Kind(("MS",), "stamps jitter by {0:g} ms (SD)", (0.0,), _ENDLESS, jitter),
    "drift": _Kind(("PPM",), "the clock runs {0:+g} ppm fast", (-1e5,), (1e5,), drift),
    "clock-reset": _Kind(
        ("AT", "BY"),
        "at {0:g} s the clock is reset by {1:+g} s",
        (0.0, -1e9),
        _ENDLESS,
        clock_reset,
    ),
    "loss": _Kind(("SHARE",), "a share of {0:g} of the samples is lost", (0.0,), (1.0,), loss),
    "duplicates": _Kind(
        ("SHARE",), "a share of {0:g} of the samples comes twice", (0.0,), (1.0,), duplicates
    ),
    "stream-loss": _Kind(
        ("AT", "FOR"), "at {0:g} s the stream is gone for {1:g} s", _ABOVE, _ENDLESS, stream_loss
    ),
    "nan": _Kind(
        ("PER_SECOND", "SECONDS"),
        "{0:g} bursts of NaN a second, each {1:g} s long",
        _ABOVE,
        (100.0, 60.0),
        nan_bursts,
    ),
    "rate": _Kind(
        ("FACTOR",), "the header's rate is {0:g} times the true one", (1e-3,), (1e3,), wrong_rate
    ),
    "stall": _Kind(
        ("AT", "FOR"),
        "at {0:g} s samples are held back for {1:g} s, then sent at once",
        _ABOVE,
        _ENDLESS,
        stall,
    ),
}
"""Each kind of fault: its numbers, what it says of itself, and what it does."""


def parse_fault(text: str) -> Fault:
    """Return the fault that ``KIND=NUMBER[,NUMBER][@STREAM]`` states.

    Raises
    ------
    CallError
        If there is no such kind, or its numbers are missing, no numbers or out of range.
    """
    kind, equals, rest = text.partition("=")
    kind = kind.strip()
    if not equals or kind not in FAULTS:
        usage = ", ".join(f"{k}={','.join(row.fields)}" for k, row in FAULTS.items())
        raise CallError(f"found the fault {text!r}, expected one of {usage}{nearest(kind, FAULTS)}")
    row = FAULTS[kind]
    numbers, _, stream = rest.partition("@")
    usage = f"{kind}={','.join(row.fields)}"
    try:
        values = tuple(float(n) for n in numbers.split(","))
    except ValueError:
        values = ()
    if len(values) != len(row.fields):
        raise CallError(f"found the fault {text!r}, expected {usage} in numbers")
    for field, value, low, high in zip(row.fields, values, row.least, row.most, strict=False):
        if not (low <= value <= high and math.isfinite(value)):
            raise CallError(
                f"found {field} = {value:g} in the fault {text!r}, expected a number from {low:g} "
                f"to {high:g}"
            )
    return Fault(kind, values, stream.strip())


def check_faults(faults: Sequence[Fault], descriptions: Mapping[str, StreamDescription]) -> None:
    """Refuse a fault for a stream that is not published.

    Raises
    ------
    CallError
        If so.
    """
    known = dict.fromkeys(word for key, d in descriptions.items() for word in (key, d.name))
    for fault in faults:
        if fault.stream and fault.stream not in known:
            raise CallError(
                f"found the fault {fault.kind!r} for the stream {fault.stream!r}, expected one of "
                f"{', '.join(known)}{nearest(fault.stream, known)}"
            )


def announce(
    faults: Sequence[Fault], key: str, description: StreamDescription, seed: int
) -> list[str]:
    """Return one sentence for every fault of a stream."""
    own = [f for f in faults if f.concerns(key, description.name)]
    return [f"{fault.text} (seed {seed})" for fault in own]


def faulty_description(
    faults: Sequence[Fault], key: str, description: StreamDescription
) -> StreamDescription:
    """Return a description whose rate is as wrong as the faults say."""
    for fault in faults:
        if fault.kind == "rate" and fault.concerns(key, description.name):
            description = replace(description, sfreq=description.sfreq * fault.values[0])
    return description


def outages(
    faults: Sequence[Fault], descriptions: Mapping[str, StreamDescription]
) -> dict[str, tuple[tuple[float, float], ...]]:
    """Return from when to when each stream is off the network, in seconds since the beginning."""
    found: dict[str, tuple[tuple[float, float], ...]] = {}
    for key, description in descriptions.items():
        spans = tuple(
            (f.values[0], f.values[0] + f.values[1])
            for f in faults
            if f.kind == "stream-loss" and f.concerns(key, description.name)
        )
        if spans:
            found[key] = spans
    return found


def apply_faults(part: Part, faults: Sequence[Fault], *, key: str, number: int, seed: int) -> Part:
    """Return a stretch of one stream with all faults that are meant for it, in their order.

    Parameters
    ----------
    part : Part
        The stretch.
    faults : sequence of Fault
        What to plant.
    key : str
        The stream's key, which seeds it.
    number : int
        Which stretch of the stream it is.
    seed : int
        Same seed, same faults.
    """
    for i, fault in enumerate(faults):
        # Bursts of NaN cross stretches, so one seed has to hold for the whole stream.
        block = 0 if fault.kind == "nan" else number
        rng = np.random.default_rng([seed, i, zlib.crc32(key.encode()), block])
        part = FAULTS[fault.kind].apply(part, fault.values, rng)
    return part


def faulty_blocks(
    blocks: Iterable[Block],
    faults: Sequence[Fault],
    descriptions: Mapping[str, StreamDescription],
    *,
    seed: int = 0,
) -> Iterator[Block]:
    """Plant faults into blocks that are to be published.

    Parameters
    ----------
    blocks : iterable of Block
        In order of time.
    faults : sequence of Fault
        What to plant.
    descriptions : mapping of str to StreamDescription
        Of the streams, as they truly are.
    seed : int
        Same seed, same faults.
    """
    own = {k: [f for f in faults if f.concerns(k, d.name)] for k, d in descriptions.items()}
    waiting: dict[str, Part] = {}
    origin, edge, length = None, 0.0, 1.0
    for number, block in enumerate(blocks):
        origin = block.start_seconds if origin is None else origin
        edge, length = block.stop_seconds, block.stop_seconds - block.start_seconds
        for key, (signal, stamps) in block.parts.items():
            time = stamps - origin
            due = np.maximum.accumulate(time) if len(time) else time
            part = Part(signal, time, time, due)
            part = apply_faults(part, own[key], key=key, number=number, seed=seed)
            waiting[key] = _join(waiting.get(key), part)
        sent, waiting = _split(waiting, edge - origin)
        yield _block(block.start_seconds, edge, sent, origin)
    while origin is not None and any(len(p.due) for p in waiting.values()):
        edge += length
        sent, waiting = _split(waiting, edge - origin)
        yield _block(edge - length, edge, sent, origin)


def _join(first: Part | None, second: Part) -> Part:
    if first is None or not len(first.due):
        return second
    names = ("signal", "time", "stamps", "due")
    return Part(*(np.concatenate([getattr(first, n), getattr(second, n)]) for n in names))


def _split(parts: Mapping[str, Part], edge: float) -> tuple[dict[str, Part], dict[str, Part]]:
    """Return what is sent before an edge, and what waits; the order of samples stays."""
    sent, waiting = {}, {}
    for key, part in parts.items():
        order = np.maximum.accumulate(part.due) if len(part.due) else part.due
        now = order < edge
        sent[key] = part.take(np.flatnonzero(now))
        waiting[key] = part.take(np.flatnonzero(~now))
    return sent, waiting


def _block(start: float, stop: float, parts: Mapping[str, Part], origin: float) -> Block:
    return Block(
        start,
        stop,
        {k: (p.signal, p.stamps + origin) for k, p in parts.items()},
        {k: np.maximum.accumulate(p.due) + origin for k, p in parts.items() if len(p.due)},
    )
