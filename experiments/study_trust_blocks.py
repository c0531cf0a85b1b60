"""What a report shows of promises: what was promised, and what came true."""

from collections.abc import Iterator, Mapping
from typing import Any

from physioemo.experiments.report.parts import NOTHING, Block, Note, Table, number_text, plural

__all__ = ["trust_blocks", "trust_line"]

_FOR = {"window": "a window of new {}", "group": "all windows of new {}"}
_SIZES = {
    "ordinal": " A set holds neighbouring classes, without gaps; its size is their number.",
    "continuous": " The size of an interval is its width, on a scale from −1 to 1.",
}
_UNITS = {"trial": "trials", "person": "people", "stimulus": "films"}
_LIST = (("coverage", "coverage"), ("whole_trials", "whole trials"), ("size", "size"),
         ("risk", "wrong"), ("trial_risk", "wrong trials"), ("answered", "answered"))  # fmt: skip


def trust_blocks(
    models: Mapping[str, Any], unit: str, stamp: str, *, kind: str = "binary"
) -> Iterator[Block]:
    """Yield what a report shows of one dimension.

    Parameters
    ----------
    models : mapping of str to mapping
        Of each model its scores, with ``trust``.
    unit : str
        What the promises are for.
    stamp : str
        What stands over the tables.
    kind : str
        Of the target: what a set or an interval is.
    """
    found = {label: scores["trust"] for label, scores in models.items() if "trust" in scores}
    promised = next(iter(found.values()))["promised"]
    columns = (
        "model", "coverage promised", "came true", "lowest subject", "whole trials covered",
        "size of set or interval", "wrong answers promised", "came true", "highest subject",
        "wrong trials", "answered",
    )  # fmt: skip
    means = tuple(_row(label, trust) for label, trust in found.items())
    n = max(len((t["coverage"] or t.get("risk") or {"subjects": {}})["subjects"])
            for t in found.values())  # fmt: skip
    yield Table(
        f"What was promised, and what came true on tested windows (mean over "
        f"{plural(n, 'subject')})",
        *_without_empty(columns, means),
        stamp=stamp,
    )
    units = _UNITS[unit]
    yield Note(
        f"A coverage is promised for {_FOR[promised['cover']].format(units)}, over the draw of the "
        "calibration groups: single subjects may have less. The share of wrong answers is that of "
        "answered windows. The calibration groups were neither trained on nor tested."
        + _SIZES.get(kind, "")
    )
    lacking = {label: _lacking(t) for label, t in found.items()}
    for label, text in lacking.items():
        if text:
            yield Note(f"{label}: {text}", "warning")
    rows = tuple(
        (label, subject, *(_of(trust, key, subject) for key, _ in _LIST))
        for label, trust in found.items()
        for subject in (trust["coverage"] or trust.get("risk") or {"subjects": {}})["subjects"]
    )
    titles = ("model", "subject", *(title for _, title in _LIST))
    yield Table("Every subject", *_without_empty(titles, rows), folded=True, stamp=stamp)


def _without_empty(
    columns: tuple[str, ...], rows: tuple[tuple[str, ...], ...]
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Return a table without columns of which nothing is there."""
    kept = [k for k in range(len(columns)) if any(row[k] != NOTHING for row in rows)]
    return tuple(columns[k] for k in kept), tuple(tuple(row[k] for k in kept) for row in rows)


def trust_line(trust: Mapping[str, Any]) -> str:
    """Return what the command line says of a model."""
    parts = []
    for key, what in (("coverage", "coverage"), ("risk", "wrong answers")):
        wanted, came = trust["promised"][key], trust.get(key)
        if wanted is not None:
            told = NOTHING if came is None else f"{came['mean']:.3f}"
            parts.append(
                f"{what} {told} ({'at most ' if key == 'risk' else ''}{wanted:g} promised)"
            )
    if trust.get("answered"):
        parts.append(f"answered {trust['answered']['mean']:.3f}")
    return ", ".join(parts)


def _row(label: str, trust: Mapping[str, Any]) -> tuple[str, ...]:
    promised = trust["promised"]
    return (
        label,
        number_text(promised["coverage"], 3),
        _mean(trust, "coverage"),
        _extreme(trust, "coverage", min),
        _mean(trust, "whole_trials"),
        _mean(trust, "size"),
        number_text(promised["risk"], 3),
        _mean(trust, "risk"),
        _extreme(trust, "risk", max),
        _mean(trust, "trial_risk"),
        _mean(trust, "answered"),
    )


def _mean(trust: Mapping[str, Any], key: str) -> str:
    found = trust.get(key)
    return NOTHING if not found else number_text(found["mean"], 3)


def _extreme(trust: Mapping[str, Any], key: str, which: Any) -> str:
    found = trust.get(key)
    return NOTHING if not found else number_text(which(found["subjects"].values()), 3)


def _of(trust: Mapping[str, Any], key: str, subject: str) -> str:
    found = trust.get(key)
    return NOTHING if not found else number_text(found["subjects"].get(subject), 3)


def _lacking(trust: Mapping[str, Any]) -> str:
    """Return in how many folds something could not be promised; empty if none."""
    said = [
        f"{what} could be promised in {trust[key]} of {plural(trust['n_folds'], 'fold')}"
        for what, key, wanted in (
            ("a coverage", "n_with_coverage", trust["promised"]["coverage"]),
            ("a share of wrong answers", "n_with_risk", trust["promised"]["risk"]),
        )
        if wanted is not None and trust[key] < trust["n_folds"]
    ]
    why = f": {trust['not_possible'][0]}" if trust["not_possible"] else ""
    return "; ".join(said) + why + "." if said else ""
