"""The files that a session may show, for a decoder that reads them: decoded first, found again.

A file is known by the SHA-256 of its bytes, wherever it lies. What was decoded stays on disk and is
mapped, so that a pool of many films takes no more memory than what is shown.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from physioemo.errors import CallError
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.fused_stimulus import stimulus_files
from physioemo.experiments.session.protocol import Protocol
from physioemo.features.stimulus_cache import stimulus_features
from physioemo.features.stimulus_features import StimulusFeatures
from physioemo.features.stimulus_windows import shown_files
from physioemo.media import sha256_of
from physioemo.recording import Recording

__all__ = ["read_stimuli", "reading_seconds", "shown_stimuli"]

_BYTES_PER_SECOND = 50e6


def read_stimuli(
    protocol: Protocol,
    decoder: Decoder | FusedDecoder,
    cache: Path | None,
    on_say: Callable[[str], None],
) -> dict[str, str]:
    """Decode the files of a protocol, each once for all sessions; return their paths by SHA-256.

    Parameters
    ----------
    protocol : Protocol
        Its stimuli have been opened.
    decoder : Decoder or FusedDecoder
        The one of the session; nothing is done for one that reads no stimulus.
    cache : Path or None
        Where the decoded files are kept; without one the decoder's process decodes them.
    on_say : callable
        Told how far it is.

    Raises
    ------
    CallError
        If the decoder reads what is shown, and nothing of the protocol can be read.
    UnreadableFileError
        If a file is damaged.
    """
    if isinstance(decoder, Decoder) or decoder.stimulus is None:
        return {}
    shown = {s.sha256: str(Path(s.item["file"]).resolve()) for s in protocol.stimuli if s.sha256}
    if not shown:
        raise CallError(
            "found a decoder that reads what is shown, and texts alone in the protocol, expected "
            "a video, sound or picture; use a decoder of the participant's signals alone"
        )
    for number, path in enumerate(shown.values(), 1) if cache is not None else ():
        on_say(f"reading what is shown: {number}/{len(shown)} {Path(path).name}")
        stimulus_features(path, cache, decoder.stimulus.recipe, say=on_say, mapped=True)
    return shown


def reading_seconds(stimuli: Mapping[str, str]) -> float:
    """Return how long a decoder may take at its start to read files once, for their SHA-256."""
    return sum(Path(path).stat().st_size for path in stimuli.values()) / _BYTES_PER_SECOND


def shown_stimuli(
    recording: Recording,
    decoder: Decoder | FusedDecoder,
    facts: Mapping[str, Any],
    stimuli: Sequence[str | Path],
    cache: str | Path | None,
) -> list[StimulusFeatures]:
    """Return those files that a recording says were shown, as far as they are there unchanged.

    Parameters
    ----------
    recording : Recording
        Of a session.
    decoder : Decoder or FusedDecoder
        The one that predicted.
    facts : mapping
        Of the session: where the files lay.
    stimuli : sequence of str or Path
        Files and folders where else they are looked for.
    cache : str, Path or None
        Folder of decoded files.

    Raises
    ------
    CallError
        If there is nothing at a path of `stimuli`.
    """
    if isinstance(decoder, Decoder) or decoder.stimulus is None:
        return []
    known: Mapping[str, str] = facts.get("stimuli", {})
    # Where nothing was shown yet, one file says what nothing looks like.
    wanted = [sha256 for sha256 in shown_files(recording) if sha256 in known] or list(known)[:1]
    others = {sha256_of(path): path for path in stimulus_files(stimuli)}
    found = []
    for sha256 in wanted:
        path = others.get(sha256, Path(known[sha256]))
        if path.is_file() and sha256_of(path) == sha256:
            found.append(stimulus_features(path, cache, decoder.stimulus.recipe, mapped=True))
    return found
