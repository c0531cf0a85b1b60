"""The report of one session: one self-contained HTML file."""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.experiments.report.figures import encode_svg, new_canvas, report_style
from physioemo.experiments.report.page import render_page, write_page
from physioemo.experiments.report.parts import (
    Block,
    Figure,
    Note,
    Section,
    Table,
    make_section,
    number_text,
    plural,
)
from physioemo.experiments.report.predictions import prediction_blocks
from physioemo.experiments.report.streams import stream_blocks
from physioemo.experiments.report.verdict import describe_session
from physioemo.experiments.session.continuous_report import continuous_blocks
from physioemo.experiments.session.methods import methods_paragraph
from physioemo.experiments.session.protocol import Protocol
from physioemo.experiments.session.story import SessionStory, TrialStory, tell_story
from physioemo.experiments.session.verify import SessionCheck, verify_session

__all__ = ["write_session_report"]

_BLUE, _ORANGE, _GREEN = "#0072B2", "#D55E00", "#009E73"
_GOAL_P50_MS, _GOAL_P99_MS = 8.0, 20.0
_MOST_MS = 100.0


def write_session_report(
    path: str | Path,
    protocol: Protocol,
    *,
    decoder_folder: str | Path | None = None,
    cache: str | Path | None = None,
    unblind: bool = False,
) -> Path:
    """Write ``report.html`` into a session's folder; it needs no other file.

    Every prediction and decision is computed again for it.

    Parameters
    ----------
    path : str or Path
        Folder of ``physioemo session run``.
    protocol : Protocol
        What was declared.
    decoder_folder : str or Path, optional
        Where the decoder lies now, if it was moved.
    cache : str or Path, optional
        Folder of decoded stimuli.
    unblind : bool
        Show the arm of a blinded session.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    CallError
        If it is no session's folder.
    CheckpointError
        If the decoder is not there any more.
    """
    blinded = protocol.loop.blinded and not unblind
    story = tell_story(path, blinded=blinded)
    check = verify_session(path, decoder_folder=decoder_folder, cache=cache)
    facts = story.facts
    with report_style():
        page = render_page(
            title=f"{facts['protocol']}, participant {facts['participant']}, session "
            f"{facts['session']}",
            created=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
            banners=list(_banners(story)),
            notes=[n for s in story.sessions for n in s.recording.notes],
            verdict=list(_verdict(story, check)),
            described_title="What was recorded:",
            described=[describe_session(s) for s in story.sessions],
            sections=list(_sections(story, protocol, check)),
        )
    out = Path(path) / "report.html"
    write_page(out, page)
    return out


def _banners(story: SessionStory) -> Iterator[str]:
    if story.facts["simulated"]:
        yield "SIMULATED PARTICIPANT - no person took part"
    if story.facts["untrained"]:
        yield "UNTRAINED DECODER - its predictions mean nothing"


def _verdict(story: SessionStory, check: SessionCheck) -> Iterator[Note]:
    usable = len(story.usable)
    shown = sum(t.kind == "trial" and not t.left_out for t in story.trials.values())
    tone = "good" if story.reason == "finished" and usable == shown else "warning"
    yield Note(
        f"The session ended: {story.reason}. {usable} of {plural(shown, 'trial')} can be used.",
        tone,
    )
    if check.passed:
        rest = "; what cannot be computed is named below" if check.all_gaps else ""
        text = f"Computed again from the recording, every decision is identical{rest}."
        yield Note(text, "warning" if check.all_gaps else "good")
    else:
        yield Note("Computed again, decisions come out DIFFERENTLY; see below.", "warning")
    if len(story.latency_seconds):
        p50, p99 = 1e3 * np.percentile(story.latency_seconds, [50, 99])
        is_fast = p50 <= _GOAL_P50_MS and p99 <= _GOAL_P99_MS
        yield Note(
            f"From the newest sample to the prediction: median {p50:.1f} ms, 99 % within "
            f"{p99:.1f} ms (goals {_GOAL_P50_MS:g} and {_GOAL_P99_MS:g} ms).",
            "good" if is_fast else "plain",
        )


def _sections(story: SessionStory, protocol: Protocol, check: SessionCheck) -> Iterator[Section]:
    yield Section("The session", anchor="session", level=2)
    yield make_section("Trials and decisions", "trials", partial(_trial_blocks, story))
    if story.continuous or protocol.ratings.continuous is not None:
        is_simulated = bool(story.facts["simulated"])
        made = partial(continuous_blocks, story.continuous, simulated=is_simulated)
        yield make_section("Rated all the while", "continuous", made)
    yield make_section("Fitted to the participant", "person", partial(_person_blocks, story))
    yield make_section("How fast", "latency", partial(_latency_blocks, story))
    yield make_section("Computed again", "verify", partial(_check_blocks, check))
    yield make_section("What went wrong, and notes", "notes", partial(_note_blocks, story))
    methods = methods_paragraph(story, protocol, check)
    yield Section("For the methods section", (Note(methods),), "methods")
    for number, session in enumerate(story.sessions, 1):
        yield Section(f"Recording “{session.name}”", anchor=f"r{number}", level=2)
        made = partial(prediction_blocks, session)
        yield make_section("Predictions against ratings", f"r{number}-predictions", made)
        yield make_section("Streams", f"r{number}-streams", partial(stream_blocks, session))


def _trial_blocks(story: SessionStory) -> list[Block]:
    trials = list(story.trials.values())
    if not trials:
        return [Note("No trial was shown.", "missing")]
    dimensions = [d for d in ("valence", "arousal") if any(d in t.ratings for t in trials)]
    blocks: list[Block] = []
    if story.usable:
        blocks.append(_trial_figure(story.usable))
    asked = [f"rated {d}" for d in dimensions]
    columns = ("trial", "stimulus", "expected V, A", "predicted V, A", "windows", *asked, "why")
    rows = tuple(_trial_row(t, dimensions) for t in trials)
    caption = (
        "Every trial. Expected: what the protocol says that the stimulus evokes, −1 to 1. "
        "Predicted: mean probability of the high class over the trial's windows. Ratings from 1 "
        "to 9."
    )
    return [*blocks, Table(caption, columns, rows)]


def _trial_row(trial: TrialStory, dimensions: Sequence[str]) -> tuple[str, ...]:
    probability = trial.summary.get("probability", {})
    n_used = trial.summary.get("n_used", 0)
    pair = [number_text(trial.evokes.get(d), 1) for d in ("valence", "arousal")]
    said = [number_text(probability.get(d)) for d in ("valence", "arousal")]
    rated = [number_text(trial.ratings.get(d), 0) for d in dimensions]
    out = f"left out: {trial.left_out}" if trial.left_out else ""
    why = f"LOST: {trial.lost}" if trial.lost else out or trial.decided or trial.kind
    name = trial.stimulus or "not shown"
    return (str(trial.trial), name, ", ".join(pair), ", ".join(said), str(n_used), *rated, why)


def _trial_figure(trials: Sequence[TrialStory]) -> Figure:
    """Draw arousal and valence of every trial: expected, predicted, rated."""
    names = [d for d in ("valence", "arousal") if d in trials[0].evokes]
    canvas = new_canvas(1.9 * max(1, len(names)) + 0.4)
    panels = canvas.subplots(max(1, len(names)), 1, sharex=True, squeeze=False)[:, 0]
    number = [t.trial for t in trials]
    for axes, name in zip(panels, names, strict=False):
        said = [2 * t.summary["probability"].get(name, np.nan) - 1 for t in trials]
        rated = [(t.ratings.get(name, np.nan) - 5) / 4 for t in trials]
        axes.axhline(0, color="#999999", lw=0.6)
        axes.plot(number, [t.evokes.get(name, np.nan) for t in trials], "_", color="#333333",
                  ms=12, mew=2, label="expected of the stimulus")  # fmt: skip
        axes.plot(number, said, "o", color=_BLUE, ms=5, label="predicted")
        axes.plot(number, rated, "D", color=_ORANGE, ms=4, mfc="none", label="rated")
        axes.set(ylim=(-1.1, 1.1), ylabel=f"{name}, −1 to 1")
    panels[-1].set_xlabel("trial")
    panels[-1].xaxis.get_major_locator().set_params(integer=True)
    canvas.legend(*panels[0].get_legend_handles_labels(), ncols=3, loc="outside upper center")
    caption = "What every stimulus was expected to evoke, what was predicted, and what was rated."
    return Figure(encode_svg(canvas), caption, "expected, predicted and rated affect by trial")


def _person_blocks(story: SessionStory) -> list[Block]:
    refits = [_refit_table(content) for content in story.refits]
    if not story.calibrations:
        none = Note("The protocol asks for no calibration, or nothing was rated.", "missing")
        return [*refits, none]
    last = story.calibrations[-1]
    rows = tuple(
        (
            dimension,
            number_text(last["bias"][dimension]),
            number_text(last["scale"][dimension]),
            number_text(last["accuracy_before"].get(dimension)),
            number_text(last["accuracy_after"].get(dimension)),
        )
        for dimension in last["bias"]
    )
    columns = ("dimension", "bias (logit)", "scale", "share right before", "share right after")
    caption = (
        f"After {plural(last['n_rated'], 'rated trial')}. Each trial was predicted by what was "
        "known before its own rating: no rating reaches its own prediction."
    )
    used = [c["trial"] for c in story.calibrations if c["applied"]]
    note = f"In use from the trial after trial {used[0]} on." if used else "Never in use."
    return [*refits, Note(note), Table(caption, columns, rows)]


def _refit_table(content: dict[str, Any]) -> Table:
    rows = tuple(
        (
            dimension,
            str(content["n_trials"][dimension]),
            number_text(content["accuracy_before"][dimension]),
            number_text(share),
            "yes" if dimension in content["taken"] else "no",
        )
        for dimension, share in content["accuracy_after"].items()
    )
    columns = (
        "dimension",
        "trials",
        "share right before",
        "share right after",
        "used from then on",
    )
    caption = (
        f"The decoder's last layer fitted to the participant's trials (then model "
        f"{content['model_id']}); every trial predicted by a fit to the others."
    )
    return Table(caption, columns, rows)


def _latency_blocks(story: SessionStory) -> list[Block]:
    if not len(story.latency_seconds):
        return [Note("No prediction was made.", "missing")]
    latency, work = 1e3 * story.latency_seconds, 1e3 * story.computing_seconds
    canvas = new_canvas(2.4)
    axes = canvas.subplots()
    # Few windows that came late with their samples would press all others into one bar.
    top = min(max(25.0, float(np.percentile(latency, 99.5))), _MOST_MS)
    bins = np.linspace(0, top, 60).tolist()
    axes.hist(np.clip(latency, 0, top), bins, color=_BLUE, label="newest sample to prediction")
    axes.hist(np.clip(work, 0, top), bins, color=_GREEN, alpha=0.7, label="computing alone")
    for at, name in ((_GOAL_P50_MS, "goal, median"), (_GOAL_P99_MS, "goal, 99 %")):
        axes.axvline(at, color="#333333", lw=0.8, ls="--")
        axes.annotate(name, (at, 0.98), xycoords=("data", "axes fraction"), rotation=90, va="top",
                      ha="right", fontsize=7)  # fmt: skip
    axes.set(xlabel="ms", ylabel="predictions", xlim=(0, top))
    axes.legend()
    rows = tuple(
        (name, *(number_text(float(v), 1) for v in np.percentile(values, [50, 95, 99, 100])))
        for name, values in (("newest sample to prediction", latency), ("computing alone", work))
    )
    n, skipped = len(latency), story.n_skipped
    caption = f"Of {plural(n, 'prediction')}; {plural(skipped, 'window')} skipped for newer ones."
    late = int(np.sum(latency > top))
    caption += f" The last bar holds {late} beyond it." if late else ""
    figure = Figure(encode_svg(canvas), caption, "histogram of latencies")
    return [figure, Table("Milliseconds.", ("", "median", "95 %", "99 %", "longest"), rows)]


def _check_blocks(check: SessionCheck) -> list[Block]:
    rows = tuple(
        (name, *map(str, (c.n_predictions, c.n_identical, c.n_silent, c.n_before)))
        for name, c in check.predictions.items()
    )
    columns = ("recording", "predictions", "identical", "for silence", "before it began")
    blocks: list[Block] = [
        Table("Every prediction, computed again from the recorded samples.", columns, rows),
        Note(f"{check.n_identical} of {plural(check.n_decisions, 'decision')} identical."),
    ]
    wrong = [*check.differences, *(d for c in check.predictions.values() for d in c.differences)]
    lacking = check.all_gaps
    blocks += [Note(text, "warning") for text in wrong]
    return blocks + [Note(f"Cannot be computed: {text}.", "missing") for text in lacking]


def _note_blocks(story: SessionStory) -> list[Block]:
    blocks: list[Block] = []
    if story.problems:
        blocks.append(Table("What went wrong.", ("when", "what"), tuple(story.problems)))
    else:
        blocks.append(Note("Nothing went wrong.", "good"))
    if story.notes:
        blocks.append(Table("What the operator did and noted.", ("when", "what"),
                            tuple(story.notes)))  # fmt: skip
    return blocks
