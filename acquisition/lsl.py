"""The Lab Streaming Layer in our words: find, describe, open, publish."""

import ctypes
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.acquisition.outlet_header import write_header
from physioemo.description import CHANNEL_FORMATS, StreamDescription
from physioemo.devices import adapt_description
from physioemo.errors import AmbiguousStreamError, NoStreamError, StreamError
from physioemo.overrides import Overrides, complete_description

__all__ = [
    "clock_offset",
    "configure_quietly",
    "describe",
    "find_streams",
    "make_outlet",
    "open_inlet",
    "pull",
    "push",
    "xpath_text",
]

BUFFER_SECONDS = 360
"""What an inlet or outlet keeps while the other side is late."""

_TWIN_SECONDS = 1.5


def configure_quietly() -> None:
    """Keep liblsl's own log off the screen, unless the lab has a configuration of its own."""
    import pylsl

    places = [Path("lsl_api.cfg"), Path.home() / "lsl_api" / "lsl_api.cfg"]
    places.append(Path("/etc/lsl_api/lsl_api.cfg"))
    if "LSLAPICFG" not in os.environ and not any(p.is_file() for p in places):
        pylsl.set_config_content("[log]\nlevel = -3\n")


def find_streams(predicates: Sequence[str] = (), *, timeout_seconds: float = 2.0) -> list[Any]:
    """Return the streams on the network that fit any predicate, sorted by name.

    Parameters
    ----------
    predicates : sequence of str
        XPath predicates such as ``"name='EEG'"``; none means every stream.
    timeout_seconds : float
        How long to look.

    Returns
    -------
    list of pylsl.StreamInfo

    Raises
    ------
    NoStreamError
        If no stream, or none for one of the predicates, is found.
    """
    import pylsl

    if not predicates:
        found = pylsl.resolve_streams(timeout_seconds)
    else:
        found = []
        for predicate in predicates:
            fitting = pylsl.resolve_bypred(predicate, 1, timeout_seconds)
            if not fitting:
                raise NoStreamError(_nothing_found(predicate, timeout_seconds))
            # The first answer returns at once; a twin elsewhere may need the next two waves.
            found += fitting + pylsl.resolve_bypred(predicate, 1024, _TWIN_SECONDS)
    by_uid = {info.uid(): info for info in found}
    if not by_uid:
        raise NoStreamError(
            f"found no LSL stream within {timeout_seconds:g} s, expected at least one; start the "
            "device's LSL app, or try 'physioemo simulate' in a second terminal"
        )
    return sorted(by_uid.values(), key=lambda info: (info.name(), info.source_id(), info.uid()))


def _nothing_found(predicate: str, timeout_seconds: float) -> str:
    import pylsl

    names = sorted({info.name() for info in pylsl.resolve_streams(1.0)})
    there = f"the streams {', '.join(names)}" if names else "no stream at all"
    hint = (
        "check its spelling with 'physioemo streams'"
        if names
        else "start the device's LSL app, or try 'physioemo simulate' in a second terminal"
    )
    return (
        f"found {there} within {timeout_seconds:g} s, expected one that fits {predicate!r}; {hint}"
    )


def xpath_text(text: str) -> str:
    """Return a text as a predicate holds it, whatever quotation marks are in it."""
    if "'" not in text:
        return f"'{text}'"
    if '"' not in text:
        return f'"{text}"'
    parts = ', "\'", '.join(f"'{part}'" for part in text.split("'"))
    return f"concat({parts})"


def refuse_twins(infos: Iterable[Any]) -> None:
    """Refuse streams that cannot be told apart.

    Raises
    ------
    AmbiguousStreamError
        If two streams share name and source_id.
    """
    infos = list(infos)
    counts = Counter((info.name(), info.source_id()) for info in infos)
    for (name, source_id), n in counts.items():
        if n > 1:
            hosts = [i.hostname() for i in infos if (i.name(), i.source_id()) == (name, source_id)]
            raise AmbiguousStreamError(
                f"found {n} streams with the name {name!r} and the source_id {source_id!r} (on "
                f"{', '.join(hosts)}), expected them to differ; close one of them, or choose one "
                "by its host: --stream \"hostname='...'\""
            )


def open_inlet(info: Any, *, timeout_seconds: float = 5.0, recover: bool = True) -> tuple[Any, Any]:
    """Return an inlet with its buffer running, and the stream's full description.

    Parameters
    ----------
    info : pylsl.StreamInfo
        As found on the network.
    timeout_seconds : float
        How long to wait for an answer.
    recover : bool
        Whether liblsl finds the stream again by itself when its program is back; else pulling
        raises ``pylsl.util.LostError`` when it goes.

    Raises
    ------
    StreamError
        If the stream does not answer in time.
    """
    import pylsl

    inlet = pylsl.StreamInlet(info, max_buflen=BUFFER_SECONDS, processing_flags=0, recover=recover)
    try:
        full = inlet.info(timeout_seconds)
        inlet.open_stream(timeout_seconds)
    except (TimeoutError, pylsl.util.TimeoutError, pylsl.util.LostError) as error:
        raise StreamError(
            f"found that the stream {info.name()!r} on {info.hostname()!r} does not answer within "
            f"{timeout_seconds:g} s, expected its description; check that its program still runs "
            "and that no firewall blocks it"
        ) from error
    return inlet, full


def raw_fields(info: Any) -> dict[str, Any]:
    """Return what a stream says about itself, unchecked; see ``complete_description``."""
    n = info.channel_count()
    labels, units, types = (
        [str(v or "").strip() for v in values or ()]
        for values in (
            info.get_channel_labels(),
            info.get_channel_units(),
            info.get_channel_types(),
        )
    )
    formats = list(CHANNEL_FORMATS)
    number = info.channel_format()
    return {
        "name": info.name(),
        "stype": info.type(),
        "sfreq": info.nominal_srate(),
        "n_channels": n,
        "ch_names": tuple(labels),
        "units": tuple(units),
        "ch_types": tuple(types) if len(types) == n else (),
        "channel_format": _format_name(number) if isinstance(number, int) else formats[0],
        "source_id": info.source_id(),
        "uid": info.uid(),
        "hostname": info.hostname(),
        "xml": info.as_xml(),
    }


def _format_name(number: int) -> str:
    import pylsl

    names = {
        pylsl.cf_float32: "float32",
        pylsl.cf_double64: "double64",
        pylsl.cf_string: "string",
        pylsl.cf_int32: "int32",
        pylsl.cf_int16: "int16",
        pylsl.cf_int8: "int8",
        pylsl.cf_int64: "int64",
    }
    return names.get(number, "undefined")


def describe(info: Any, overrides: Overrides | None = None) -> StreamDescription:
    """Return the checked description of a stream, read by the table of devices.

    Raises
    ------
    StreamDescriptionError
        If names, units or rate are missing and not stated by the user.
    """
    overrides = overrides or Overrides()
    fields, _ = adapt_description(raw_fields(info), overrides)
    return complete_description(fields, overrides)


def make_outlet(
    description: StreamDescription, *, simulated: bool = False, faults: Sequence[str] = ()
) -> Any:
    """Publish a stream with names, units and types in its LSL header.

    Parameters
    ----------
    description : StreamDescription
        What to publish; what its own header says besides is repeated.
    simulated : bool
        Mark the stream as a simulation in its header.
    faults : sequence of str
        What is wrong with it on purpose, one sentence each.
    """
    import pylsl

    info = pylsl.StreamInfo(
        description.name,
        description.stype,
        len(description.ch_names),
        description.sfreq,
        description.channel_format,
        description.source_id,
    )
    write_header(info, description, simulated=simulated, faults=faults)
    return pylsl.StreamOutlet(info, max_buffered=BUFFER_SECONDS)


def push(outlet: Any, signal: np.ndarray, stamps: np.ndarray) -> None:
    """Send samples (time, channel) with one stamp each."""
    if len(signal):
        is_text = signal.dtype.kind in "OUT"
        samples = [[str(v) for v in row] for row in signal] if is_text else signal
        outlet.push_chunk(samples, [float(s) for s in stamps])


def pull(inlet: Any, *, timeout_seconds: float) -> tuple[np.ndarray, np.ndarray]:
    """Return what has arrived: samples (time, channel) and raw stamps; text as bytes."""
    samples, stamps = inlet.pull_chunk(
        timeout_seconds, max_samples=65536, min_samples=1, as_numpy=True
    )
    return samples, np.asarray(stamps, float)


def clock_offset(inlet: Any, *, timeout_seconds: float = 2.0) -> np.ndarray | None:
    """Return remote time, offset and uncertainty in seconds, or None without an answer.

    Uses ``lsl_time_correction_ex``: pairing the offset with the remote time at which it holds
    cuts the bias of drifting clocks.
    """
    from pylsl.lib import lib

    remote, uncertainty, code = ctypes.c_double(), ctypes.c_double(), ctypes.c_int()
    function = lib.lsl_time_correction_ex
    function.restype = ctypes.c_double
    offset = function(
        inlet.obj,
        ctypes.byref(remote),
        ctypes.byref(uncertainty),
        ctypes.c_double(timeout_seconds),
        ctypes.byref(code),
    )
    triple = np.array([remote.value, offset, uncertainty.value])
    return triple if code.value == 0 and np.isfinite(triple).all() else None
