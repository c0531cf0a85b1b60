"""What is known of a session before it begins: written down, told, and asked for again."""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from physioemo.errors import CallError
from physioemo.experiments.decoder import UNTRAINED, Decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.session.folder import SessionFolder
from physioemo.experiments.session.protocol import Protocol
from physioemo.fingerprint import package_versions

if TYPE_CHECKING:
    from physioemo.experiments.session.run import SessionOptions

__all__ = ["refuse_another", "session_facts", "told_facts"]


def session_facts(
    protocol: Protocol,
    decoder: Decoder | FusedDecoder,
    decoder_folder: Path,
    options: "SessionOptions",
) -> dict[str, Any]:
    """Return what is written of a session before it begins.

    Parameters
    ----------
    protocol, decoder
        What is run, and what listens.
    decoder_folder : Path
        Where the decoder lies.
    options : SessionOptions
        With a participant and a session.
    """
    arm = protocol.arm(options.participant, options.session)
    return {
        "protocol": protocol.title,
        "protocol_fingerprint": protocol.fingerprint,
        "stimuli_folder": str(protocol.folder.resolve()),
        "participant": options.participant,
        "session": options.session,
        "arm": arm.name if arm else "",
        "blinded": protocol.loop.blinded,
        "decoder": str(decoder_folder.resolve()),
        "model_id": decoder.id,
        "untrained": bool(decoder.metadata.get(UNTRAINED)),
        "simulated": options.rig is None,
        "rig": options.rig.read_text("utf-8") if options.rig else "",
        "seed": protocol.seed,
        "versions": package_versions(),
        "began": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def told_facts(facts: Mapping[str, Any], protocol: Protocol) -> dict[str, Any]:
    """Return what the stream of events says at the beginning: all but what is long."""
    told = {k: v for k, v in facts.items() if k not in ("rig", "versions", "stimuli")}
    calibration = protocol.calibration
    return {
        **told,
        "calibration": None
        if calibration is None
        else {"after_trials": calibration.after_trials, "method": calibration.method},
    }


def refuse_another(folder: SessionFolder, facts: Mapping[str, Any]) -> None:
    """Refuse to go on with another session than the one in the folder.

    Raises
    ------
    CallError
        If protocol, decoder, participant or session are others.
    """
    before = folder.facts
    for name in ("protocol_fingerprint", "model_id", "participant", "session", "simulated"):
        if before[name] != facts[name]:
            raise CallError(
                f"found {name} {facts[name]!r}, expected {before[name]!r} as in {folder.path}; go "
                "on with what it was begun with, or start a new folder"
            )
    if any(line["what"] == "ended" and line["reason"] == "finished" for line in folder.progress()):
        raise CallError(f"found that the session in {folder.path} is finished, expected to go on")
