"""Pickles of plain containers and NumPy arrays, read without running anything in them.

NumPy's own constructors are not called either: stand-ins collect what the pickle says of an
array, and the array is made only once its shape and type agree with the bytes that are there.
"""

import io
import math
import pickle
import pickletools
import re
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.errors import UnreadableFileError

__all__ = ["load_pickle", "loads_pickle"]

_DTYPE = re.compile(r"([<>|=]?)([biufc])(\d{1,2})")
_PLAIN = (type(None), bool, int, float, str, bytes)


class _Refused(Exception):  # noqa: N818 - never leaves this file
    """What was found; the caller adds the file and what to do."""


def load_pickle(path: str | Path) -> Any:
    """Return the plain containers and numeric arrays of a pickle file.

    Parameters
    ----------
    path : str or Path
        A pickle of protocol 0 to 5; Python 2 text is decoded as Latin-1.

    Raises
    ------
    UnreadableFileError
        If it is damaged, or holds anything but containers, numbers, text and numeric arrays.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UnreadableFileError(
            f"found that {path} cannot be opened ({error.strerror}), expected a pickle file; "
            "check the path"
        ) from error
    return loads_pickle(data, str(path))


def loads_pickle(data: bytes, source: str) -> Any:
    """Return the plain containers and numeric arrays of a pickle in memory.

    Parameters
    ----------
    data : bytes
        The pickle.
    source : str
        Where it came from, for the error message.

    Raises
    ------
    UnreadableFileError
        As for :func:`load_pickle`.
    """
    try:
        _scan(data)
        return _resolve(_Unpickler(io.BytesIO(data), encoding="latin1").load(), {})
    except _Refused as refused:
        raise UnreadableFileError(
            f"found {refused} in {source}, expected a pickle of plain containers and numeric "
            "arrays; nothing in it was run: get the file from the data set's own site"
        ) from None
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to mean
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UnreadableFileError(
            f"found that {source} cannot be read ({reason}), expected a whole pickle file; "
            "copy the file again"
        ) from error


def _scan(data: bytes) -> None:
    """Walk the opcodes without running them: lengths, memo indices and the end must fit."""
    count = end = 0
    for opcode, argument, position in pickletools.genops(io.BytesIO(data)):
        count, end = count + 1, (position or 0) + 1
        if "PUT" in opcode.name and isinstance(argument, int) and argument > count:
            raise _Refused(f"the memo index {argument} after {count} opcodes")
    if end != len(data):
        raise _Refused(f"{len(data) - end} bytes after the end of the pickle")


class _Sealed:
    """Base of the stand-ins: a pickle cannot set their attributes."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise _Refused(f"a state for {type(self).__name__.strip('_')}")


class _Dtype(_Sealed):
    """What a pickle says of an array's number type."""

    __slots__ = ("order", "text")

    def __init__(self, text: Any) -> None:
        self.text = text if isinstance(text, str) else repr(text)
        self.order = ""

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 5 or any(f is not None for f in state[2:5]):
            raise _Refused("an array of records")
        self.order = str(state[1])

    def dtype(self) -> np.dtype[Any]:
        """Return the NumPy type, for numbers only."""
        match = _DTYPE.fullmatch(self.text)
        if not match or self.order not in ("", "<", ">", "|", "="):
            raise _Refused(f"an array of type {self.text[:40]!r}")
        return np.dtype((self.order or match[1]).replace("|", "=") + match[2] + match[3])


class _Array(_Sealed):
    """What a pickle says of an array."""

    __slots__ = ("state",)

    def __init__(self, state: Any = None) -> None:
        self.state = state

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) != 5:
            raise _Refused("an array without shape, type and bytes")
        _, shape, dtype, fortran, raw = state
        self.state = (raw, dtype, shape, "F" if fortran else "C")

    def array(self) -> np.ndarray:
        """Return the array; its bytes must be exactly as many as shape and type say."""
        if self.state is None:
            raise _Refused("an array without shape, type and bytes")
        raw, dtype, shape, order = self.state
        raw = raw.encode("latin1") if isinstance(raw, str) else raw
        if not isinstance(raw, bytes | bytearray) or not isinstance(dtype, _Dtype):
            raise _Refused(f"an array of {type(raw).__name__} with {type(dtype).__name__}")
        if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
            raise _Refused(f"an array of shape {str(shape)[:80]}")
        number = dtype.dtype()
        wanted = math.prod(shape) * number.itemsize
        if wanted != len(raw):
            raise _Refused(f"{len(raw)} bytes for an array of {wanted} bytes")
        return np.frombuffer(raw, number).reshape(shape, order="F" if order == "F" else "C")


class _Constructor(_Sealed):
    """A name that a pickle may call; it only makes stand-ins."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __call__(self, *arguments: Any) -> _Sealed:
        if self.kind == "dtype" and arguments:
            return _Dtype(arguments[0])
        if self.kind == "_reconstruct":
            return _Array()
        if self.kind == "_frombuffer" and len(arguments) == 4:
            return _Array(arguments)
        raise _Refused(f"a call of numpy.{self.kind}")


_CONSTRUCTORS = {
    ("numpy", "dtype"): "dtype",
    ("numpy", "ndarray"): "ndarray",
    **{(f"numpy.{c}.multiarray", "_reconstruct"): "_reconstruct" for c in ("core", "_core")},
    **{(f"numpy.{c}.numeric", "_frombuffer"): "_frombuffer" for c in ("core", "_core")},
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        kind = _CONSTRUCTORS.get((module, name))
        if kind is None:
            raise _Refused(f"the name {f'{module}.{name}'[:120]!r}")
        return _Constructor(kind)

    def persistent_load(self, pid: Any) -> Any:
        raise _Refused(f"the outside reference {str(pid)[:40]!r}")


def _resolve(value: Any, done: dict[int, Any]) -> Any:
    """Return the value with arrays for stand-ins; shared parts stay shared."""
    if isinstance(value, _PLAIN):
        return value
    if id(value) in done:
        if done[id(value)] is done:
            raise _Refused("a container that contains itself")
        return done[id(value)]
    done[id(value)] = done
    if isinstance(value, _Array):
        result: Any = value.array()
    elif isinstance(value, dict) and all(isinstance(k, _PLAIN) for k in value):
        result = {k: _resolve(v, done) for k, v in value.items()}
    elif isinstance(value, list | tuple):
        result = type(value)(_resolve(v, done) for v in value)
    elif isinstance(value, set | frozenset) and all(isinstance(v, _PLAIN) for v in value):
        result = value
    else:
        raise _Refused(f"a {type(value).__name__.strip('_')}")
    done[id(value)] = result
    return result
