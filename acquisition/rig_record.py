"""Record exactly a rig's streams: refuse without them, say at once when one is lost."""

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from physioemo.acquisition.recorder import RecordingSummary, record
from physioemo.acquisition.recorder_threads import StreamStatus
from physioemo.acquisition.rig import Rig, RigStream
from physioemo.acquisition.rig_check import check_rig
from physioemo.acquisition.rig_judge import Problem, StreamCheck
from physioemo.acquisition.rig_late import RigLate
from physioemo.acquisition.rig_network import rig_overrides
from physioemo.errors import StreamError
from physioemo.overrides import Overrides
from physioemo.store import refuse_existing

__all__ = ["RigPlan", "RigWatch", "prepare_rig", "record_rig"]

PREFLIGHT_SECONDS = 1.0
"""How long the streams are watched before a recording begins."""

_BLOCKING = ("missing", "ambiguous", "description", "late", "disk")
_POLICY = {"missing": "on_missing", "late": "on_late"}


@dataclass(frozen=True)
class RigPlan:
    """What a recorder or decoder needs to take a rig's streams.

    Parameters
    ----------
    rig : Rig
        The contract.
    streams : tuple of RigStream
        Those that are there, in the recorder's order.
    checks : tuple of StreamCheck
        How each of them is.
    overrides : Overrides
        What the rig states that the streams do not say.
    problems : tuple of str
        What was passed over: optional streams, or everything that was allowed to be incomplete.
    warnings : tuple of str
        What is not as the rig says and keeps nothing from being recorded: a flat channel.
    """

    rig: Rig
    streams: tuple[RigStream, ...]
    checks: tuple[StreamCheck, ...]
    overrides: Overrides
    problems: tuple[str, ...]
    warnings: tuple[str, ...] = ()

    @property
    def predicates(self) -> tuple[str, ...]:
        """One XPath predicate that fits these streams and no other."""
        # One, because each costs a look at the network; the session's id is put before it.
        return (f"({' or '.join(f'uid={c.uid!r}' for c in self.checks)})",)

    def attrs(self) -> dict[str, Any]:
        """Return what a recording keeps of its rig and of what was found."""
        found = {
            c.key: {"name": c.name, "source_id": c.source_ids[0], "hostname": c.hostnames[0]}
            for c in self.checks
        }
        return {
            **self.rig.attrs(),
            "rig_streams": found,
            "rig_problems": [*self.problems, *self.warnings],
        }


def prepare_rig(
    rig: Rig,
    *,
    wait_seconds: float = 0.0,
    allow_incomplete: bool = False,
    folder: str | Path = ".",
    should_stop: Callable[[], bool] = lambda: False,
    on_notice: Callable[[str], None] = lambda text: None,
) -> RigPlan:
    """Find and check a rig's streams, waiting for those that the rig waits for.

    Parameters
    ----------
    rig : Rig
        What is asked for.
    wait_seconds : float
        How long to wait.
    allow_incomplete : bool
        Go on with what is there, whatever is missing.
    folder : str or Path
        Where the recording will lie.
    should_stop : callable
        Asked while waiting.
    on_notice : callable
        Told, once, what is waited for.

    Raises
    ------
    StreamError
        If a required stream is not as the rig says, or nothing at all is there.
    """
    end, said = time.monotonic() + wait_seconds, False
    while True:
        check = check_rig(rig, seconds=PREFLIGHT_SECONDS, folder=folder, should_stop=should_stop)
        found = _blocking(rig, check.streams)
        waiting = [text for policy, text, _ in found if policy == "wait"]
        hopeless = any(policy == "refuse" for policy, _, _ in found) or bool(check.problems)
        if not waiting or hopeless or should_stop() or time.monotonic() >= end:
            break
        if not said:
            on_notice(f"waiting up to {wait_seconds:g} s: {'; '.join(waiting)}")
            said = True
    refused = [text for policy, text, required in found if policy == "refuse" or required]
    refused += [p.text for p in check.problems]
    there = [c for c in check.streams if c.recordable and not _is_ambiguous(c)]
    if (refused and not allow_incomplete) or not there:
        reasons = refused or [text for _, text, _ in found]
        raise StreamError(
            f"found that the rig {rig.name!r} is not complete: {'; '.join(reasons)} (run "
            "'physioemo rig check' to see all of it, or record what is there with "
            "--allow-incomplete)"
        )
    there.sort(key=lambda c: (c.name, c.source_ids[0], c.uid))
    by_key = {s.key: s for s in rig.streams}
    passed = (*(text for _, text, _ in found), *(p.text for p in check.problems))
    others = [(c, p) for c in there for p in c.problems if p.kind not in _BLOCKING]
    return RigPlan(
        rig,
        tuple(by_key[c.key] for c in there),
        tuple(there),
        rig_overrides({c.key: c.fields for c in there}, rig),
        passed,
        tuple(f"{c.key}: {p.text}" for c, p in others),
    )


def _is_ambiguous(check: StreamCheck) -> bool:
    return any(p.kind == "ambiguous" for p in check.problems)


def _blocking(rig: Rig, checks: Sequence[StreamCheck]) -> list[tuple[str, str, bool]]:
    """Return policy, sentence and whether it is required, for all that keeps a stream out."""
    found = []
    for stream, check in zip(rig.streams, checks, strict=True):
        for problem in check.problems:
            if problem.kind in _BLOCKING:
                policy = _policy(stream, problem)
                required = stream.required and policy != "warn"
                found.append((policy, f"{stream.key}: {problem.text}", required))
    return found


def _policy(stream: RigStream, problem: Problem) -> str:
    name = _POLICY.get(problem.kind)
    if name is None:
        return "refuse" if stream.required else "warn"
    return str(getattr(stream, name))


class RigWatch:
    """Watches a rig's streams while they are recorded.

    Parameters
    ----------
    streams : sequence of RigStream
        In the order of the recorder's statuses.
    on_notice : callable
        Told at once when a stream is lost or comes back.
    uids : sequence of str
        Of the streams, where others are recorded as well; the statuses are these streams' alone
        if not given.
    """

    def __init__(
        self,
        streams: Sequence[RigStream],
        on_notice: Callable[[str], None],
        uids: Sequence[str] = (),
    ) -> None:
        self.streams, self.uids = tuple(streams), tuple(uids)
        self._late: tuple[tuple[RigStream, str], ...] = ()
        self.on_notice = on_notice
        self.problems: list[str] = []
        self.lost: set[str] = set()
        self._told: dict[str, str] = {}
        self._stop = threading.Event()
        self._began = 0.0

    def __call__(self, statuses: Sequence[StreamStatus]) -> None:
        """Look at the statuses of all streams.

        Raises
        ------
        StreamError
            If a stream that was there a moment ago is not among them.
        """
        by_uid = {status.uid: status for status in statuses}
        late = [(stream, by_uid[uid]) for stream, uid in self._late if uid in by_uid]
        if self.uids:
            statuses = [by_uid[uid] for uid in self.uids if uid in by_uid]
        if len(statuses) != len(self.streams):
            names = ", ".join(s.name for s in statuses)
            raise StreamError(
                f"found only {names} when the recording began, expected all "
                f"{len(self.streams)} streams that the rig's check had found; start it again"
            )
        self._began = self._began or time.monotonic()
        for stream, status in (*zip(self.streams, statuses, strict=True), *late):
            self._look(stream, status)

    def joined(self, stream: RigStream, uid: str) -> None:
        """Watch a stream that has come late, too."""
        self._late = (*self._late, (stream, uid))
        self.on_notice(f"stream {stream.key!r} has come; it is recorded from here on")

    def _look(self, stream: RigStream, status: StreamStatus) -> None:
        if status.warning != self._told.get(stream.key, ""):
            self._told[stream.key] = status.warning
            if status.warning:
                self.on_notice(f"stream {stream.key!r} ({status.name}): {status.warning}")
        limit, age = stream.fresh_within_seconds, status.age_seconds
        if status.state == "waiting":
            age = min(age, time.monotonic() - self._began)
        gone = status.state == "lost" or (limit is not None and age > limit)
        what = "required stream" if stream.required else "stream"
        if gone and stream.key not in self.lost:
            self.lost.add(stream.key)
            why = status.failure or f"nothing for {age:.1f} s"
            follow = "the recording stops" if stream.on_lost == "stop" else "the others go on"
            text = f"{what} {stream.key!r} ({status.name}) is lost: {why}; {follow}"
            self.problems.append(text)
            self.on_notice(text)
            if stream.on_lost == "stop":
                self._stop.set()
        elif not gone and stream.key in self.lost:
            self.lost.discard(stream.key)
            self.on_notice(f"{what} {stream.key!r} ({status.name}) is back")

    def should_stop(self) -> bool:
        """Return whether a stream was lost whose rig says that the recording stops then."""
        return self._stop.is_set()


def record_rig(
    rig: Rig,
    out: str | Path,
    *,
    wait_seconds: float = 0.0,
    allow_incomplete: bool = False,
    also: Sequence[str] = (),
    overwrite: bool = False,
    should_stop: Callable[[], bool] = lambda: False,
    on_status: Callable[[tuple[StreamStatus, ...]], None] = lambda statuses: None,
    on_notice: Callable[[str], None] = lambda text: None,
    attrs: dict[str, Any] | None = None,
    **options: Any,
) -> RecordingSummary:
    """Record exactly the streams of a rig, and what is asked for besides.

    Parameters
    ----------
    rig : Rig
        The contract; its text and hash are kept in the recording.
    out : str or Path
        Folder to create.
    wait_seconds, allow_incomplete
        See :func:`prepare_rig`.
    also : sequence of str
        XPath predicates of streams that the rig does not name.
    overwrite, should_stop, on_status, attrs, **options
        See :func:`physioemo.acquisition.recorder.record`.
    on_notice : callable
        Told at once what the operator should know.

    Raises
    ------
    StreamError
        If a required stream is not as the rig says.
    """
    out = Path(out)
    refuse_existing(out, overwrite=overwrite)
    plan = prepare_rig(
        rig,
        wait_seconds=wait_seconds,
        allow_incomplete=allow_incomplete,
        folder=out.parent,
        should_stop=should_stop,
        on_notice=on_notice,
    )
    for text in (*plan.problems, *plan.warnings):
        on_notice(text)
    watch = RigWatch(plan.streams, on_notice, [c.uid for c in plan.checks])

    def look(statuses: tuple[StreamStatus, ...]) -> None:
        watch(statuses)
        on_status(statuses)

    here = {s.key for s in plan.streams}
    summary = record(
        out,
        look_for_late=RigLate(rig, here, watch.joined, on_notice),
        predicates=(*plan.predicates, *also),
        overrides=plan.overrides,
        overwrite=overwrite,
        should_stop=lambda: should_stop() or watch.should_stop(),
        on_status=look,
        attrs={**(attrs or {}), **plan.attrs()},
        **options,
    )
    return replace(summary, problems=(*plan.problems, *watch.problems, *summary.problems))
