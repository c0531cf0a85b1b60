"""Every error that PhysioEmo raises on purpose.

::

    PhysioEmoError
    ├── CallError (ValueError)                   the call was wrong; exit code 2
    ├── DataError (ValueError)                   the data are not what was expected
    │   ├── SignalError                          non-finite, too short, flat, wrong shape
    │   ├── UnitError                            a unit is missing, unknown or does not convert
    │   └── UnreadableFileError                  a file cannot be read as what it claims to be
    ├── StoreError (OSError)                     a recording on disk
    │   ├── RecordingExistsError (FileExistsError)
    │   ├── RecordingNotFoundError (FileNotFoundError)
    │   ├── DamagedRecordingError
    │   ├── NewerSchemaError
    │   └── DiskFullError
    ├── StreamError (RuntimeError)               Lab Streaming Layer
    │   ├── NoStreamError
    │   ├── AmbiguousStreamError
    │   └── StreamDescriptionError               names, units or rate missing or contradictory
    ├── CheckpointError (ValueError)             a decoder or weight file does not fit
    └── MissingExtraError (ImportError)          an optional package is not installed

A message is one sentence that says what was found, what was expected and what to do.
"""

__all__ = [
    "AmbiguousStreamError",
    "CallError",
    "CheckpointError",
    "DamagedRecordingError",
    "DataError",
    "DiskFullError",
    "MissingExtraError",
    "NewerSchemaError",
    "NoStreamError",
    "PhysioEmoError",
    "RecordingExistsError",
    "RecordingNotFoundError",
    "SignalError",
    "StoreError",
    "StreamDescriptionError",
    "StreamError",
    "UnitError",
    "UnreadableFileError",
]


class PhysioEmoError(Exception):
    """Base of all errors raised on purpose; ``exit_code`` is what the command line returns."""

    exit_code = 1

    def __str__(self) -> str:
        # OSError and ImportError print their own fields; ours is always the sentence.
        return str(self.args[0]) if self.args else ""


class CallError(PhysioEmoError, ValueError):
    """The call itself was wrong: an argument, an option, a combination of them."""

    exit_code = 2


class DataError(PhysioEmoError, ValueError):
    """The data are not what was expected."""


class SignalError(DataError):
    """A signal is non-finite, too short, flat or of the wrong shape."""


class UnitError(DataError):
    """A unit is missing, unknown or cannot be converted to the one that is needed."""


class UnreadableFileError(DataError):
    """A file cannot be read as what it claims to be."""


class StoreError(PhysioEmoError, OSError):
    """A recording on disk cannot be created, opened or sealed."""


class RecordingExistsError(StoreError, FileExistsError):
    """Something is already there, and nothing is overwritten unasked."""

    exit_code = 2


class RecordingNotFoundError(StoreError, FileNotFoundError):
    """There is no recording at this path."""

    exit_code = 2


class DamagedRecordingError(StoreError):
    """A recording contradicts itself; the message names the place."""


class NewerSchemaError(StoreError):
    """The store was written by a newer PhysioEmo than this one."""


class DiskFullError(StoreError):
    """The disk is full or unwritable; what was written before is kept."""


class StreamError(PhysioEmoError, RuntimeError):
    """A stream of the Lab Streaming Layer cannot be used."""


class NoStreamError(StreamError):
    """No stream on the network fits."""


class AmbiguousStreamError(StreamError):
    """Several streams fit where one was expected."""


class StreamDescriptionError(StreamError):
    """A stream's channel names, units or rate are missing or contradict its data."""


class CheckpointError(PhysioEmoError, ValueError):
    """A decoder folder or a weight file does not fit."""


class MissingExtraError(PhysioEmoError, ImportError):
    """An optional package is not installed; the message names the extra that brings it."""
