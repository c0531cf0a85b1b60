"""The report's part on how it was made: seed, configuration, versions, fingerprints, origin."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from physioemo.experiments.report.parts import Block, Listing, Note, Table
from physioemo.experiments.report.scores import Evaluation
from physioemo.experiments.report.session import Session
from physioemo.fingerprint import package_versions

__all__ = ["provenance_blocks"]

_SHOWN_ELSEWHERE = {"notes", "n_committed", "recorder_events"}


def provenance_blocks(sessions: Sequence[Session], evaluation: Evaluation | None) -> list[Block]:
    """Return tables of what made the scores, the recordings and this report."""
    return [
        *(_decoder_blocks(evaluation) if evaluation else [Note("No decoder's scores were given.")]),
        _recording_table(sessions),
        *[_attribute_table(s) for s in sessions],
        _pairs("Versions that made this report.", package_versions()),
    ]


def _decoder_blocks(evaluation: Evaluation) -> list[Block]:
    facts = {
        "protocol": evaluation.get("protocol"),
        "seed": evaluation.get("seed"),
        "configuration hash": evaluation.get("config_hash"),
        **{f"fingerprint of {k}": v for k, v in _mapping(evaluation, "data_fingerprints").items()},
        **{f"version of {k}": v for k, v in _mapping(evaluation, "versions").items()},
    }
    config = json.dumps(evaluation.get("config") or {}, indent=2, ensure_ascii=False)
    return [_pairs("What made the scores.", facts), Listing("Configuration", config)]


def _mapping(evaluation: Evaluation, name: str) -> Mapping[str, Any]:
    return evaluation.get(name) or {}


def _recording_table(sessions: Sequence[Session]) -> Table:
    rows = tuple(
        (
            s.name,
            str(s.recording.attrs.get("created_utc", "not stated")),
            _hosts(s),
            "sealed" if s.recording.sealed else "journal, not yet sealed",
            s.recording.fingerprint(),
        )
        for s in sessions
    )
    columns = ("recording", "created (UTC)", "hosts of its streams", "state", "fingerprint")
    return Table("Recordings.", columns, rows)


def _hosts(session: Session) -> str:
    attrs = [session.recording.tree[k].attrs for k in session.recording.streams]
    hosts = dict.fromkeys(str(a.get("hostname", "")) for a in attrs)
    own = str(session.recording.attrs.get("hostname", ""))
    return ", ".join(dict.fromkeys(h for h in (own, *hosts) if h)) or "not stated"


def _attribute_table(session: Session) -> Table:
    attrs = {k: v for k, v in session.recording.attrs.items() if k not in _SHOWN_ELSEWHERE}
    return _pairs(f"Attributes of {session.name}.", attrs, folded=True)


def _pairs(caption: str, facts: Mapping[str, Any], *, folded: bool = False) -> Table:
    rows = tuple((str(k), _value_text(v)) for k, v in facts.items())
    return Table(caption, ("what", "value"), rows, folded=folded)


def _value_text(value: Any) -> str:
    if value is None:
        return "not stated"
    if isinstance(value, str | int | float):
        return str(value)
    return json.dumps(value, ensure_ascii=False, default=str)
