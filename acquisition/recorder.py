"""The recorder: any number of LSL streams into one journal, sealed when it stops."""

import itertools
import socket
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.acquisition.clock_watch import ClockWatch
from physioemo.acquisition.journal_threads import JournalThreads
from physioemo.acquisition.latecomers import Latecomer, LateWatch
from physioemo.acquisition.lsl import describe, find_streams, open_inlet, refuse_twins
from physioemo.acquisition.recorder_threads import SILENT_SECONDS, StreamStatus, StreamTap
from physioemo.acquisition.streams import rate_problem
from physioemo.core_cli import in_shell
from physioemo.errors import PhysioEmoError, StoreError
from physioemo.fingerprint import package_versions
from physioemo.journal import FrameKind, Journal
from physioemo.overrides import Overrides
from physioemo.recording import Recording
from physioemo.store import JOURNAL, SCHEMA_VERSION, prepare_folder, refuse_existing, seal

__all__ = ["RecordingSummary", "record"]

_STATUS_SECONDS = 0.25
_UNSYNCED_SECONDS = 10.0  # the first measurement takes less than one


@dataclass(frozen=True)
class RecordingSummary:
    """What a finished recording holds.

    Parameters
    ----------
    recording : Recording
        The sealed recording.
    statuses : tuple of StreamStatus
        The last status of each stream.
    quality : dict
        :meth:`Recording.quality`, which reads every sample, so it is done once.
    problems : tuple of str
        One sentence each; empty if all is well.
    """

    recording: Recording
    statuses: tuple[StreamStatus, ...]
    quality: dict[str, dict[str, Any]]
    problems: tuple[str, ...]


def record(
    out: str | Path,
    *,
    predicates: Sequence[str] = (),
    duration_seconds: float | None = None,
    stop_when_idle_seconds: float | None = None,
    overrides: Overrides | None = None,
    overwrite: bool = False,
    find_seconds: float = 2.0,
    should_stop: Callable[[], bool] = lambda: False,
    on_status: Callable[[tuple[StreamStatus, ...]], None] = lambda statuses: None,
    attrs: dict[str, Any] | None = None,
    look_for_late: Callable[[], Sequence[Latecomer]] | None = None,
) -> RecordingSummary:
    """Record LSL streams until told to stop, then seal the recording.

    Everything goes to the journal first: raw samples, raw stamps and clock offsets, written
    every 0.25 s and forced to disk every second. What is on disk survives whatever happens to
    this process.

    Parameters
    ----------
    out : str or Path
        Folder to create.
    predicates : sequence of str
        XPath predicates such as ``"name='EEG'"``; none means every stream on the network.
    duration_seconds : float, optional
        Stop after this long; by default when `should_stop` says so or on Ctrl-C.
    stop_when_idle_seconds : float, optional
        Stop when data came and then no stream delivered any for this long.
    overrides : Overrides, optional
        Names, units and rates for streams that do not say theirs.
    overwrite : bool
        Replace a recording that is already there.
    find_seconds : float
        How long to look for streams.
    should_stop, on_status : callable
        Asked, and told the status of all streams, four times a second.
    attrs : dict, optional
        Session attributes (JSON-able), such as ``subject``.
    look_for_late : callable, optional
        Asked every two seconds for streams that have come meanwhile and are to be recorded too.

    Raises
    ------
    StreamError
        If streams are missing, cannot be told apart or do not describe themselves.
    RecordingExistsError
        If something is at `out`.
    DiskFullError
        If the disk fills; the journal holds everything up to then.
    """
    folder = Path(out)
    # Before the network is searched, and again once the streams are known to be good.
    refuse_existing(folder, overwrite=overwrite)
    infos = find_streams(predicates, timeout_seconds=find_seconds)
    make_tap = _TapMaker()
    taps = _open_taps(infos, overrides or Overrides(), make_tap)
    prepare_folder(folder, overwrite=overwrite)
    journal = Journal(folder / JOURNAL)
    journal.append_json(FrameKind.SESSION, 0, _session(predicates, attrs or {}))
    for tap in taps:
        journal.append_json(FrameKind.STREAM, tap.number, tap.description.to_dict())
    journal.flush()  # whatever happens from here on, it can be opened
    workers: list[Any] = []
    late = LateWatch(look_for_late or (lambda: ()), make_tap, taps, workers)
    watches = [ClockWatch(taps), *([late] if look_for_late else ())]
    ends = (duration_seconds, stop_when_idle_seconds, should_stop)
    _run(journal, taps, watches, workers, ends, on_status)
    # Sealing takes its time, in which every stream grows silent.
    statuses = tuple(tap.status() for tap in taps)
    recording = _seal_or_say_how(folder)
    quality = recording.quality()
    idle = stop_when_idle_seconds is not None
    problems = find_problems(recording, quality, statuses, ended_idle=idle)
    return RecordingSummary(recording, statuses, quality, (*late.problems, *problems))


def _seal_or_say_how(folder: Path) -> Recording:
    try:
        return recover(folder)
    except KeyboardInterrupt:
        raise StoreError(
            f"found that sealing {folder} was interrupted, expected it to end; the journal is "
            f"whole and nothing is lost: run 'physioemo recover {in_shell(folder)}'"
        ) from None


class _TapMaker:
    """Makes taps and numbers the streams of the journal."""

    def __init__(self) -> None:
        self._numbers = itertools.count()

    def __call__(self, inlet: Any, header: Any, overrides: Overrides) -> StreamTap:
        redescribe = partial(describe, overrides=overrides)
        description = redescribe(header)
        number, next_number = next(self._numbers), self._numbers.__next__
        return StreamTap(number, inlet, description, redescribe=redescribe, next_number=next_number)


def _open_taps(infos: Sequence[Any], overrides: Overrides, make_tap: _TapMaker) -> list[StreamTap]:
    refuse_twins(infos)
    return [make_tap(*open_inlet(info), overrides) for info in infos]


def _session(predicates: Sequence[str], attrs: dict[str, Any]) -> dict[str, Any]:
    import pylsl

    return {
        **attrs,
        "schema_version": SCHEMA_VERSION,
        "created_utc": datetime.now(UTC).isoformat(),
        "local_clock_seconds": pylsl.local_clock(),
        "clock": "LSL local clock of the recording computer",
        "hostname": socket.gethostname(),
        "predicates": list(predicates),
        "versions": package_versions(),
    }


_Ends = tuple[float | None, float | None, Callable[[], bool]]
"""Duration and idle time in seconds, and who is asked whether to stop."""


def _run(
    journal: Journal,
    taps: list[StreamTap],
    watches: Sequence[Any],
    workers: list[Any],
    ends: _Ends,
    on_status: Callable[[tuple[StreamStatus, ...]], None],
) -> None:
    """Run the threads until it is time to stop; the journal is complete and closed after."""
    stop = threading.Event()
    # The watches first: at the end they are waited for before those that they may have begun.
    workers += [watch.start(journal, stop) for watch in watches]
    workers += [tap.start(journal, stop) for tap in taps]
    writing = JournalThreads(journal)
    writing.start()
    reason = "stopped"
    try:
        reason = _watch(writing, taps, ends, on_status)
    except KeyboardInterrupt:
        pass
    except StoreError as error:
        reason = str(error)
        raise
    finally:
        for tap in taps:
            tap.end()
        stop.set()
        _close(journal, writing, workers, reason)


def _close(journal: Journal, writing: JournalThreads, workers: list[Any], reason: str) -> None:
    """Wait for the threads, but write what there is even if somebody cannot wait."""
    try:
        for worker in workers:
            worker.join()
    except KeyboardInterrupt:
        reason = "it was stopped twice before its streams had been read to their end"
        raise
    finally:
        writing.end()
        reason = str(writing.failure or reason)
        end = {"reason": reason, "utc": datetime.now(UTC).isoformat()}
        journal.append_json(FrameKind.END, 0, end)
        journal.close()
        writing.check()  # the disk may have been full at the very last moment


def _watch(
    writing: JournalThreads,
    taps: list[StreamTap],
    ends: _Ends,
    on_status: Callable[[tuple[StreamStatus, ...]], None],
) -> str:
    began = time.monotonic()
    duration_seconds, idle_seconds, should_stop = ends
    while True:
        writing.check()
        statuses = tuple(tap.status() for tap in taps)
        on_status(statuses)
        elapsed = time.monotonic() - began
        if should_stop() or _is_over(statuses, elapsed, duration_seconds, idle_seconds):
            return "stopped"
        time.sleep(_STATUS_SECONDS)


def _is_over(
    statuses: tuple[StreamStatus, ...],
    elapsed: float,
    duration_seconds: float | None,
    idle_seconds: float | None,
) -> bool:
    if duration_seconds is not None and elapsed >= duration_seconds:
        return True
    if all(s.state == "lost" for s in statuses):
        return True
    ages = [s.age_seconds for s in statuses if s.n_samples]
    return idle_seconds is not None and bool(ages) and min(ages) >= idle_seconds


def find_problems(
    recording: Recording,
    quality_of: dict[str, dict[str, Any]],
    statuses: Sequence[StreamStatus] = (),
    *,
    ended_idle: bool = False,
) -> list[str]:
    """Return one sentence for everything in a recording that its user should know at once.

    Parameters
    ----------
    recording : Recording
        Sealed.
    quality_of : dict
        :meth:`Recording.quality`.
    statuses : sequence of StreamStatus
        As they were at the end.
    ended_idle : bool
        The recording was to end when everything is silent: then only a stream that was silent
        before the others is one too many.
    """
    problems = list(recording.notes)
    regular = [s.age_seconds for s in statuses if s.nominal_rate_hz > 0 and s.n_samples]
    youngest = min(regular, default=0.0) if ended_idle else 0.0
    for key, quality in quality_of.items():
        description = recording.description(key)
        what = f"stream {description.name!r}"
        # Two streams may have one name.
        named = [s for s in statuses if s.uid == description.uid and s.name == description.name]
        problems += [
            f"{what}: {s.failure} before the end; everything up to then is kept"
            for s in named
            if s.failure
        ]
        problems += [f"{what}: found that {s.warning}" for s in named if s.warning]
        problems += _silence_problems(what, named, youngest)
        problems += _return_problems(what, recording[key].attrs)
        problems += _clock_problems(what, recording[key])
        if not quality["n_samples"]:
            if description.sfreq > 0:
                problems.append(f"{what}: found no data, expected {description.sfreq:g} Hz")
            continue
        if quality["n_missing_values"] and not description.missing_allowed:
            problems.append(
                f"{what}: found {quality['n_missing_values']} NaN or infinite values, expected "
                "numbers; they are kept as they came and masked in every feature, check the "
                "electrodes and the device's app"
            )
        if quality["n_lost"]:
            problems.append(
                f"{what}: found that its own counter skips {quality['n_lost']} samples, expected "
                "none; the device or its program lost them before they were sent, check its radio "
                "link and its buffer"
            )
        if quality["gaps"]:
            n, total = len(quality["gaps"]), sum(g["duration_seconds"] for g in quality["gaps"])
            problems.append(
                f"{what}: found {n} gap{'s' if n > 1 else ''} of {total:.2f} s in all, expected "
                "none; windows never span them"
            )
        if description.sfreq > 0:
            problems += rate_problem(
                description.name, description.sfreq, recording[key]["time"].values
            )
    return problems


def _silence_problems(
    what: str, statuses: Sequence[StreamStatus], youngest_seconds: float
) -> list[str]:
    """Say that a regular stream had been silent when others still delivered."""
    return [
        f"{what}: found no sample in the last {s.age_seconds:.1f} s of the recording, expected "
        f"{s.nominal_rate_hz:g} Hz to its end; check its device and program"
        for s in statuses
        if s.state == "silent"
        and s.nominal_rate_hz > 0
        and s.age_seconds - youngest_seconds > SILENT_SECONDS
    ]


def _return_problems(what: str, attrs: dict[Any, Any]) -> list[str]:
    n, unsynced = len(attrs.get("reconnected_samples", ())), attrs.get("n_unsynced_samples", 0)
    unstamped = attrs.get("n_unstamped_samples", 0)
    problems = []
    if unstamped:
        problems.append(
            f"{what}: found {unstamped} samples whose time stamp is no number, expected seconds; "
            "their time is that of their arrival, mend the program that sends them"
        )
    if n:
        problems.append(
            f"{what}: found that its program went and came back {n} time{'s' if n > 1 else ''}, "
            "expected one that stays; each part is corrected by its own clock"
        )
    if unsynced:
        problems.append(
            f"{what}: found {unsynced} samples of a program that went before its clock was "
            "measured, expected a second of it; their time is unsynced and may be wrong"
        )
    return problems


def _clock_problems(what: str, stream: Any) -> list[str]:
    """Say that the clock of a stream was never measured, though there was time for it."""
    time_ = stream["time"].values
    if stream.sizes["clock_measurement"] or not len(time_) or np.ptp(time_) < _UNSYNCED_SECONDS:
        return []
    return [
        f"{what}: found no measurement of its clock in {np.ptp(time_):.0f} s, expected one every "
        "few seconds; it is unsynced: its time is that of its own computer. Let UDP ports 16572 "
        "to 16604 through the firewalls of both computers"
    ]


def recover(path: str | Path) -> Recording:
    """Seal a recording that was cut off; on a sealed one it does nothing."""
    try:
        return seal(path)
    except PhysioEmoError:
        raise
    except OSError as error:
        raise StoreError(
            f"found that {path} cannot be sealed ({error}), expected free, writable space; the "
            "journal is kept, free some space and run 'physioemo recover' again"
        ) from error
