"""One self-contained HTML page on what was recorded, decoded and scored."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from physioemo.errors import CallError, CheckpointError, RecordingExistsError
from physioemo.experiments.decoder import UNTRAINED
from physioemo.experiments.report.body import body_blocks
from physioemo.experiments.report.figures import report_style
from physioemo.experiments.report.parts import Block, Note, Section, make_section
from physioemo.experiments.report.predictions import prediction_blocks
from physioemo.experiments.report.provenance import provenance_blocks
from physioemo.experiments.report.scalp import scalp_blocks
from physioemo.experiments.report.scores import Evaluation, read_evaluation, score_blocks
from physioemo.experiments.report.session import Session, open_sessions
from physioemo.experiments.report.streams import stream_blocks
from physioemo.experiments.report.tokens import token_blocks
from physioemo.experiments.report.verdict import describe_session, verdict
from physioemo.recording import Recording

__all__ = ["render_page", "write_page", "write_report"]

_CHAPTERS = (
    ("Streams", "streams", stream_blocks),
    ("EEG band power", "power", scalp_blocks),
    ("Entropy tokens over time", "tokens", token_blocks),
    ("Heart, skin and breath", "body", body_blocks),
    ("Prediction against truth", "predictions", prediction_blocks),
)


def write_report(
    out: Path,
    recordings: Sequence[Recording],
    *,
    decoder_folder: Path | None = None,
    overwrite: bool = False,
) -> Path:
    """Write a report on recordings, and on the decoder that was trained or ran on them.

    The page needs no other file, no network and no script. A part that cannot be made says
    why in a sentence.

    Parameters
    ----------
    out : Path
        The HTML file to write.
    recordings : sequence of Recording
        For example a training session and a live session, in this order.
    decoder_folder : Path, optional
        Holds ``evaluation.json``; without it there are no scores.
    overwrite : bool
        Replace a file that is already there.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    RecordingExistsError
        If something is at `out` and `overwrite` is false.
    CallError
        If there is no recording.
    """
    out = Path(out)
    if not recordings:
        raise CallError("found no recordings, expected at least one to report on; name one")
    if out.is_dir() or (out.exists() and not overwrite):
        raise RecordingExistsError(
            f"found something at {out}, expected nothing there; choose another name"
            + ("" if out.is_dir() else " or pass --overwrite")
        )
    with report_style():
        page = _render(open_sessions(recordings), decoder_folder)
    write_page(out, page)
    return out


def write_page(out: Path, page: str) -> None:
    """Write beside the target and rename: an old report stays whole until the new one is."""
    out.parent.mkdir(parents=True, exist_ok=True)
    part = out.with_name(f"{out.name}.part")
    part.write_text(page, encoding="utf-8", newline="\n")
    part.replace(out)


def _render(sessions: Sequence[Session], decoder_folder: Path | None) -> str:
    evaluation, missing = _evaluation(decoder_folder)
    banners = []
    if _is_simulated(sessions, evaluation):
        banners.append("SIMULATED PARTICIPANT - no person was recorded")
    if any(map(_has_untrained_predictions, sessions)):
        banners.append("UNTRAINED DECODER - its predictions mean nothing")
    return render_page(
        title=" and ".join(s.name for s in sessions),
        created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        banners=banners,
        described_title="What was recorded:",
        described=[describe_session(s) for s in sessions],
        notes=[f"{s.name}: {note}" for s in sessions for note in s.recording.notes],
        verdict=verdict(sessions, evaluation, missing),
        sections=list(_sections(sessions, evaluation, missing)),
    )


def render_page(**parts: Any) -> str:
    """Return the page of a title, banners, notes, a verdict and sections."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    # Names come from the network: whatever is in them is shown as text.
    environment = Environment(
        loader=PackageLoader("physioemo.experiments.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html").render(**parts)


def _evaluation(decoder_folder: Path | None) -> tuple[Evaluation | None, str]:
    """Return the scores, or why there are none."""
    try:
        return read_evaluation(decoder_folder), ""
    except CheckpointError as error:
        return None, str(error)


def _is_simulated(sessions: Sequence[Session], evaluation: Evaluation | None) -> bool:
    return any(s.recording.simulated for s in sessions) or bool((evaluation or {}).get("simulated"))


def _has_untrained_predictions(session: Session) -> bool:
    """Return whether predictions of a decoder with random weights were recorded."""
    described = (session.recording.description(k) for k in session.recording.streams)
    return any(d.modality == "prediction" and UNTRAINED in d.source_id for d in described)


def _sections(
    sessions: Sequence[Session], evaluation: Evaluation | None, missing: str
) -> Iterator[Section]:
    for number, session in enumerate(sessions, 1):
        yield Section(f"Recording “{session.name}”", anchor=f"r{number}", level=2)
        for title, name, make in _CHAPTERS:
            yield make_section(title, f"r{number}-{name}", partial(make, session))
    yield Section("The decoder", anchor="decoder", level=2)
    scores = partial(_scores, evaluation, missing)
    yield make_section("Scores beside their baselines", "scores", scores)
    made = partial(provenance_blocks, sessions, evaluation)
    yield make_section("How it was made", "provenance", made)


def _scores(evaluation: Evaluation | None, missing: str) -> list[Block]:
    if evaluation is None:
        return [Note(f"No scores: {missing.rstrip('.')}.", "missing")]
    return score_blocks(evaluation)
