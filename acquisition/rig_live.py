"""The streams of a rig that a decoder reads."""

from collections.abc import Callable
from dataclasses import replace

from physioemo.acquisition.rig import Rig, RigStream
from physioemo.acquisition.rig_record import RigPlan, prepare_rig
from physioemo.errors import CallError, StreamError
from physioemo.modality import stream_modality

__all__ = ["prepare_others", "prepare_stream"]


def prepare_stream(
    rig: Rig,
    modality: str = "eeg",
    *,
    wait_seconds: float = 0.0,
    should_stop: Callable[[], bool] = lambda: False,
    on_notice: Callable[[str], None] = lambda text: None,
) -> RigPlan:
    """Find and check the one stream of a rig that has a modality.

    The other streams of the rig, and its disk, are no matter to who only reads.

    Parameters
    ----------
    rig : Rig
        What is asked for.
    modality : str
        Row of :data:`physioemo.modality.MODALITIES`.
    wait_seconds, should_stop, on_notice
        See :func:`physioemo.acquisition.rig_record.prepare_rig`.

    Raises
    ------
    CallError
        If the rig has no such stream, or several.
    StreamError
        If it is not as the rig says.
    """
    fitting = [s for s in rig.streams if _modality(s) == modality]
    if len(fitting) != 1:
        found = ", ".join(s.key for s in fitting) or "none"
        raise CallError(
            f"found {len(fitting)} streams of the modality {modality!r} in the rig {rig.name!r} "
            f"({found}), expected one; state modality = {modality!r} in one of its streams "
            f"({', '.join(s.key for s in rig.streams)}), or choose one with --stream"
        )
    alone = replace(
        rig,
        streams=(replace(fitting[0], required=True),),
        planned_minutes=None,
        min_free_gib=None,
    )
    return prepare_rig(
        alone, wait_seconds=wait_seconds, should_stop=should_stop, on_notice=on_notice
    )


def prepare_others(
    rig: Rig,
    modality: str = "eeg",
    *,
    wait_seconds: float = 0.0,
    should_stop: Callable[[], bool] = lambda: False,
    on_notice: Callable[[str], None] = lambda text: None,
) -> RigPlan | None:
    """Find and check the regular streams of a rig that do not have a modality.

    None is required: a decoder goes on without.

    Parameters
    ----------
    rig, modality, wait_seconds, should_stop, on_notice
        See :func:`prepare_stream`.

    Returns
    -------
    RigPlan or None
        Those that are there; None if the rig has no such stream, or none of them is there.
    """
    others = tuple(
        replace(
            stream,
            required=False,
            on_missing="wait" if stream.required else "warn",
            on_late="warn",
        )
        for stream in rig.streams
        if stream.sfreq > 0 and _modality(stream) != modality
    )
    if not others:
        return None
    beside = replace(rig, streams=others, planned_minutes=None, min_free_gib=None)
    try:
        return prepare_rig(
            beside, wait_seconds=wait_seconds, should_stop=should_stop, on_notice=on_notice
        )
    except StreamError as error:
        on_notice(str(error))
        return None


def _modality(stream: RigStream) -> str:
    if stream.modality:
        return stream.modality
    typed = stream_modality(stream.stype) if stream.stype else "other"
    return stream_modality(stream.key) if typed == "other" else typed
