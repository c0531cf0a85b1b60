"""A decoder's folder, of whatever kind: ``decoder.json`` says which."""

import json
from pathlib import Path
from typing import Any

from physioemo.errors import CheckpointError
from physioemo.experiments.decoder import DECODER_JSON, Decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.fused_decoder_io import FUSED_KIND, load_fused

__all__ = ["load_decoder"]


def load_decoder(folder: str | Path) -> Decoder | FusedDecoder:
    """Read a decoder that ``physioemo train`` wrote.

    Parameters
    ----------
    folder : str or Path
        Of the EEG alone (folders without a kind, too) or of several streams.

    Raises
    ------
    CheckpointError
        If it is not a decoder, damaged, newer, or of a kind that is not known.
    """
    folder = Path(folder)
    content = _content(folder)
    kind = content.get("kind")
    if kind == FUSED_KIND:
        return load_fused(folder, content)
    if kind is not None:
        raise CheckpointError(
            f"found a decoder of the kind {kind!r} in {folder / DECODER_JSON}, expected "
            f"{FUSED_KIND!r} or none; update PhysioEmo to use it"
        )
    return Decoder.load(folder)


def _content(folder: Path) -> dict[str, Any]:
    """Return what is to be read; nothing where :meth:`Decoder.load` says what is wrong."""
    try:
        content = json.loads((folder / DECODER_JSON).read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
