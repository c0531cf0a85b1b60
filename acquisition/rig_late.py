"""The streams of a rig that were not there when its recording began."""

from collections.abc import Callable
from functools import partial
from typing import Any

from physioemo.acquisition.latecomers import Latecomer
from physioemo.acquisition.lsl import open_inlet, raw_fields
from physioemo.acquisition.rig import Rig, RigStream
from physioemo.acquisition.rig_network import (
    LOOK_SECONDS,
    adapted_fields,
    description_problems,
    match_rig,
    rig_overrides,
)

__all__ = ["RigLate"]


class RigLate:
    """Looks for what a rig misses; one that comes must be as the rig says.

    Parameters
    ----------
    rig : Rig
        The contract.
    keys : set of str
        Streams that are recorded already.
    on_joined : callable
        Told the stream and its uid when it is being recorded.
    on_notice : callable
        Told at once what the operator should know.
    """

    def __init__(
        self,
        rig: Rig,
        keys: set[str],
        on_joined: Callable[[RigStream, str], None],
        on_notice: Callable[[str], None],
    ) -> None:
        self.rig, self.keys = rig, set(keys)
        self.on_joined, self.on_notice = on_joined, on_notice
        self._told: set[str] = set()

    def __call__(self) -> list[Latecomer]:
        """Return the streams that have come since the last look."""
        import pylsl

        if len(self.keys) == len(self.rig.streams):
            return []
        came = []
        for match in match_rig(self.rig, pylsl.resolve_streams(LOOK_SECONDS)):
            if match.stream.key not in self.keys and match.infos and not match.problem:
                late = self._open(match.stream, match.infos[0])
                came += [late] if late else []
        return came

    def _open(self, stream: RigStream, info: Any) -> Latecomer | None:
        inlet, header = open_inlet(info)
        fields = raw_fields(header)
        problems = description_problems(stream, adapted_fields(fields, stream, self.rig))
        if problems:
            inlet.close_stream()
            self._tell(f"stream {stream.key!r} ({info.name()}) has come, but {problems[0]}")
            return None
        self.keys.add(stream.key)
        overrides = rig_overrides({stream.key: fields}, self.rig)
        return Latecomer(inlet, header, overrides, partial(self.on_joined, stream, header.uid()))

    def _tell(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self.on_notice(text)
