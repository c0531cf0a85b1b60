"""The decisions of a session as a JSON file, for the sham of another participant."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from physioemo.errors import CallError
from physioemo.experiments.session.decisions import Decision, DecisionInputs

__all__ = ["read_decisions", "replayed", "write_decisions"]

_FORMAT = "physioemo-decisions"
_KEYS = ("trial", "trial_seconds", "action", "stimulus", "value")
_REPLAYED = ("play", "feedback")


def replayed(decisions: Iterable[tuple[DecisionInputs, Decision]]) -> tuple[dict[str, Any], ...]:
    """Return what a sham replays of a session: its choices of stimuli and its feedback.

    Left out are planned trials that only went on, and what the distress rule did: another
    participant's distress ends nobody else's session.
    """
    return tuple(
        {
            "trial": inputs.trial,
            "trial_seconds": inputs.trial_seconds,
            "action": decision.action,
            "stimulus": decision.stimulus,
            "value": decision.value,
        }
        for inputs, decision in decisions
        if decision.action == "feedback" or (decision.action == "play" and not inputs.stimulus)
    )


def write_decisions(
    path: str | Path,
    decisions: Iterable[tuple[DecisionInputs, Decision]],
    *,
    participant: str,
    session: str,
) -> None:
    """Write what a sham replays of a session; see :func:`replayed`.

    Parameters
    ----------
    path : str or Path
        The file.
    decisions : iterable of (DecisionInputs, Decision)
        In order.
    participant, session : str
        Whose they are.
    """
    content = {"format": _FORMAT, "participant": participant, "session": session}
    table = {**content, "decisions": replayed(decisions)}
    Path(path).write_text(json.dumps(table, indent=1), "utf-8")


def read_decisions(
    path: str | Path, *, participant: str = "", session: str = ""
) -> tuple[dict[str, Any], ...]:
    """Return the decisions in a file that :func:`write_decisions` wrote.

    Parameters
    ----------
    path : str or Path
        The file.
    participant, session : str
        Who is to be yoked to them.

    Raises
    ------
    CallError
        If there is no such file, it holds something else, or it is the session's own.
    """
    try:
        content: Any = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise CallError(
            f"found that {path} cannot be read ({error}), expected the decisions of a session "
            "as JSON; record that session first"
        ) from None
    is_ours = isinstance(content, dict) and content.get("format") == _FORMAT
    rows = content.get("decisions") if is_ours else None
    if not isinstance(rows, list) or not all(map(_is_row, rows)):
        raise CallError(f"found no decisions of a session in {path}, expected them as JSON")
    if participant and (content.get("participant"), content.get("session")) == (
        participant,
        session,
    ):
        raise CallError(
            f"found participant {participant}'s own session {session} in {path}, expected the "
            "decisions of another one"
        )
    if not rows:
        raise CallError(f"found no decision in {path}, expected a session with some")
    return tuple({k: row[k] for k in _KEYS} for row in rows)


def _is_row(row: Any) -> bool:
    if not isinstance(row, dict) or not set(_KEYS) <= set(row):
        return False
    is_time = isinstance(row["trial_seconds"], int | float)
    good = row["action"] in _REPLAYED and type(row["trial"]) is int and is_time
    if row["action"] == "feedback":
        return good and isinstance(row["value"], int | float) and 0 <= row["value"] <= 1
    return good and isinstance(row["stimulus"], str)
