"""The page of a study: its scores beside chance, subject by subject, and how it was made."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.experiments.report.figures import report_style
from physioemo.experiments.report.page import render_page, write_page
from physioemo.experiments.report.parts import (
    NOTHING,
    Block,
    Figure,
    Listing,
    Note,
    Section,
    Table,
    number_text,
    plural,
    shorten,
)
from physioemo.experiments.report.scores import p_text
from physioemo.experiments.statistics import FEWEST_PERMUTATIONS, least_p
from physioemo.experiments.study_confusion import classes_of, confusion_blocks
from physioemo.experiments.study_figures import (
    calibration_figure,
    confusion_figure,
    learning_figure,
    subject_figure,
)
from physioemo.experiments.study_map_blocks import map_blocks
from physioemo.experiments.study_modalities import modality_blocks
from physioemo.experiments.study_order_blocks import order_blocks
from physioemo.experiments.study_trust_blocks import trust_blocks

__all__ = ["write_study_report"]

_FEW_SUBJECTS = 15


def write_study_report(results: dict[str, Any], folder: str | Path) -> Path:
    """Write ``report.html`` into a study's folder; it needs no other file.

    Parameters
    ----------
    results : dict
        From :func:`physioemo.experiments.study_run.run_study`.
    folder : str or Path
        Where ``predictions.zarr`` lies.

    Returns
    -------
    Path
        The page.
    """
    folder = Path(folder)
    with report_style():
        page = render_page(
            title=results["study"]["name"],
            created="",
            banners=list(_banners(results)),
            notes=[],
            verdict=list(_verdict(results)),
            described_title="What was asked:",
            described=list(_described(results)),
            sections=list(_sections(results, folder)),
        )
    out = folder / "report.html"
    write_page(out, page)
    return out


def _banners(results: dict[str, Any]) -> Iterator[str]:
    if results["leaky"]:
        why = "; ".join(results.get("leaks", ())) or "windows of one trial train and test"
        yield f"LEAKY - {why}; these scores are no evidence"
    if results["simulated"]:
        yield "SIMULATED OR SYNTHETIC DATA - no person was recorded"


def _stamp(results: dict[str, Any]) -> str:
    words = ["LEAKY"] * results["leaky"] + ["SIMULATED"] * results["simulated"]
    return " · ".join(words)


def _permuted(scores: dict[str, Any]) -> list[float]:
    return [p["trial"] for p in scores["permuted"] if number_text(p["trial"]) != NOTHING]


def _verdict(results: dict[str, Any]) -> Iterator[Note]:
    name = results["headline"]
    for dimension, content in results["dimensions"].items():
        models = {k: v for k, v in content["models"].items() if name in v["trial"]}
        if not models:
            yield Note(f"{dimension}: {name.replace('_', ' ')} is not defined.", "missing")
            continue
        best = max(models, key=lambda k: models[k]["trial"][name]["mean"])
        score = models[best]["trial"][name]
        test = models[best]["permutation_tests"].get("trial")
        text = (
            f"{dimension}: {_shown(results, best)} reaches a {name.replace('_', ' ')} of "
            f"{number_text(score['mean'], 3)} over {plural(score['n'], 'subject')}"
        )
        if test:
            permuted = _permuted(models[best])
            mean = float(np.mean(permuted)) if permuted else None
            text += (
                f", beside {number_text(mean, 3)} with permuted labels "
                f"(p {p_text(test['p'])}, {plural(test['n'], 'permutation')}; with so many it is "
                f"at least {p_text(least_p(test['n']))})"
            )
        if len(models) > 2:
            text += f". It is the best of {len(models)} models on these same data: expect less"
        tone = "warning" if results["leaky"] else "plain"
        yield Note(text + (". The split leaks." if results["leaky"] else "."), tone)


def _described(results: dict[str, Any]) -> Iterator[str]:
    study = results["study"]
    if study["description"]:
        yield study["description"]
    yield f"Protocol: {results['protocol']}; {plural(results['n_folds'], 'fold')}."
    yield f"Target: {_target_text(study['target'])}."
    for model in study["models"]:
        if model.get("options"):
            yield f"Options of {shorten(model['label'])}: {_options_text(model['options'])}."
    datasets = ", ".join(str(s.get("dataset", "?")) for s in results["sources"])
    yield (
        f"Data: {datasets}; {plural(results['n_windows'], 'window')} of "
        f"{plural(results['n_trials'], 'trial')} of {plural(results['n_subjects'], 'subject')}."
    )


def _target_text(target: dict[str, Any]) -> str:
    rest = {k: v for k, v in target.items() if k not in ("kind", "dimensions")}
    text = target["kind"]
    if "dimensions" in target:
        text += f" of {', '.join(target['dimensions'])}"
    return f"{text} ({_options_text(rest)})" if rest else text


def _options_text(options: dict[str, Any]) -> str:
    return ", ".join(f"{k.replace('_', ' ')} {shorten(str(v))}" for k, v in options.items())


def _sections(results: dict[str, Any], folder: Path) -> Iterator[Section]:
    yield Section("Scores beside chance", tuple(_score_blocks(results)), "scores", 2)
    for k, (dimension, content) in enumerate(results["dimensions"].items()):
        yield Section(
            f"Subject by subject: {dimension}",
            tuple(_dimension_blocks(results, k, dimension, content, folder)),
            f"dimension-{k}",
            2,
        )
        if "trust_unit" in results:
            blocks = trust_blocks(content["models"], results["trust_unit"], _stamp(results))
            yield Section(f"Promises: {dimension}", tuple(blocks), f"trust-{k}", 2)
        if results.get("maps"):
            yield Section(
                f"What {results['maps'][dimension]['model']} uses: {dimension}",
                tuple(map_blocks(results["maps"][dimension], _stamp(results))),
                f"maps-{k}",
                2,
            )
        if results.get("modalities"):
            yield Section(
                f"What each family gives to {results['modalities'][dimension]['model']}: "
                f"{dimension}",
                tuple(modality_blocks(results["modalities"][dimension], _stamp(results))),
                f"modalities-{k}",
                2,
            )
    yield Section("How it was made", tuple(_provenance(results)), "made", 2)


def _score_blocks(results: dict[str, Any]) -> Iterator[Block]:
    name, stamp = results["headline"], _stamp(results)
    rows = []
    for dimension, content in results["dimensions"].items():
        for label, scores in content["models"].items():
            rows.append((dimension, _shown(results, label), *_score_cells(scores, name)))
    columns = (
        "dimension",
        "model",
        "trials, mean",
        "SD",
        "95 % interval",
        "windows, mean",
        "permuted, mean (range)",
        "p (permutations)",
        "subjects",
    )
    title = name.replace("_", " ")
    yield Table(f"{title} over subjects", columns, tuple(rows), stamp=stamp)
    if results["study"]["target"]["kind"] == "ordinal":
        yield from order_blocks(results, stamp)
    for label, why in results.get("offline", {}).items():
        yield Note(f"{label}: offline only, {why}; no live session can say this.", "warning")
    few = _few_permutations(results)
    if few:
        yield Note(few, "warning")
    if results["n_subjects"] == 1:
        yield Note("One subject: nothing is known of others, and there is no interval.", "warning")
    elif results["n_subjects"] < _FEW_SUBJECTS:
        yield Note(
            f"With {plural(results['n_subjects'], 'subject')} the bootstrap interval is too "
            "narrow: in simulations with 8 to 15 subjects it held the true mean in 90 % of cases "
            "instead of 95 %.",
            "warning",
        )
    for dimension, content in results["dimensions"].items():
        found = content["comparisons"]
        if found["models"]:
            rows = [
                (
                    label,
                    number_text(t["effect"], 3),
                    p_text(t["p"]),
                    p_text(t["p_holm"]),
                    str(t["n"]),
                )
                for label, t in found["models"].items()
            ]
            yield Table(
                f"{dimension}: difference from {found['reference']} (Wilcoxon over subjects, "
                "corrected by Holm)",
                ("model", "median difference", "p", "p corrected", "subjects"),
                tuple(rows),
                folded=True,
                stamp=stamp,
            )


def _shown(results: dict[str, Any], label: str) -> str:
    """Return what a model is called, and whether it is for offline use only."""
    return f"{label} (offline only)" if label in results.get("offline", {}) else label


def _few_permutations(results: dict[str, Any]) -> str:
    """Return which models were permuted too rarely for a small p; empty if none was."""
    counts = {
        label: len(scores["permuted"])
        for content in results["dimensions"].values()
        for label, scores in content["models"].items()
    }
    few = [
        f"{shorten(label)} ({n}, p at least {p_text(least_p(n))})"
        for label, n in counts.items()
        if 0 < n < FEWEST_PERMUTATIONS
    ]
    if not few:
        return ""
    names = ", ".join(few)
    return f"Permutations too few for a p of 0.05, which takes {FEWEST_PERMUTATIONS}: {names}."


def _score_cells(scores: dict[str, Any], name: str) -> tuple[str, ...]:
    trial, window = scores["trial"].get(name), scores["window"].get(name)
    if trial is None or window is None:
        return (NOTHING,) * 7
    permuted = _permuted(scores)
    test = scores["permutation_tests"].get("trial", {})
    return (
        number_text(trial["mean"], 3),
        number_text(trial["sd"], 3),
        _range(trial["low"], trial["high"]),
        number_text(window["mean"], 3),
        f"{number_text(float(np.mean(permuted)), 3)} ({_range(min(permuted), max(permuted))})"
        if permuted
        else NOTHING,
        f"{p_text(test['p'])} ({test['n']})" if test else NOTHING,
        str(trial["n"]),
    )


def _range(low: Any, high: Any) -> str:
    ends = number_text(low, 3), number_text(high, 3)
    return NOTHING if NOTHING in ends else f"{ends[0]} to {ends[1]}"


def _dimension_blocks(
    results: dict[str, Any], number: int, dimension: str, content: dict[str, Any], folder: Path
) -> Iterator[Block]:
    stamp, classes = _stamp(results), classes_of(results, content)
    yield Figure(
        subject_figure(content, results["headline"], len(classes), stamp=stamp),
        "Each dot is a subject; the bar is the mean, the grey band what permuted labels reached."
        + (
            " Right: accuracy, filled where it exceeds the triangle of that subject (binomial, "
            "5 %, beside its largest class)."
            if classes
            else ""
        ),
        f"Scores of every subject in {dimension}, by model",
        stamp=stamp,
    )
    if classes:
        yield Figure(
            confusion_figure(content, classes, stamp=stamp),
            "Trials of all subjects: the true class by rows, the class said by columns; shades are "
            "shares of each row, whole numbers are trials.",
            f"Confusion matrices in {dimension}",
            stamp=stamp,
        )
        yield from confusion_blocks(content, results["headline"], classes, stamp)
        calibration = calibration_figure(folder, number, len(classes), stamp=stamp)
        if calibration:
            yield Figure(
                calibration,
                "Windows by the probability of the likeliest class, and how often it was right. On "
                "the line a probability means what it says.",
                f"Calibration in {dimension}",
                width_inches=6.0,
                stamp=stamp,
            )
    learning = learning_figure(content, stamp=stamp)
    if learning:
        yield Figure(
            learning,
            "Mean loss over folds; validation windows are held out of training. Folds that "
            "stopped early are left out after they stopped.",
            f"Learning curves in {dimension}",
            width_inches=6.0,
            stamp=stamp,
        )
    yield _subject_table(content, results, stamp)


def _subject_table(content: dict[str, Any], results: dict[str, Any], stamp: str) -> Table:
    name = results["headline"]
    rows = []
    for label, scores in content["models"].items():
        for subject, s in scores["subjects"].items():
            chance = scores.get("chance", {}).get(subject, {})
            rows.append(
                (
                    label,
                    subject,
                    number_text(s["trial"][name], 3),
                    number_text(s["window"][name], 3),
                    number_text(s["trial"].get("accuracy"), 3),
                    number_text(chance.get("majority"), 3),
                    number_text(chance.get("threshold"), 3),
                    p_text(chance.get("p")),
                    str(s["trial"]["n"]),
                )
            )
    columns = (
        "model",
        "subject",
        "trials",
        "windows",
        "accuracy of trials",
        "largest class",
        "threshold",
        "p",
        "n trials",
    )
    return Table("Every subject", columns, tuple(rows), folded=True, stamp=stamp)


def _provenance(results: dict[str, Any]) -> Iterator[Block]:
    yield Note(_methods(results))
    rows = [(k, str(v)) for k, v in results["versions"].items()]
    rows.insert(0, ("configuration hash", results["config_hash"]))
    yield Table("Versions", ("what", "which"), tuple(rows), folded=True)
    declared = json.dumps(results["study"], indent=2, ensure_ascii=False)
    yield Listing("The study as it was run", declared)
    yield Listing("Where the data come from", json.dumps(results["sources"], indent=2))


def _methods(results: dict[str, Any]) -> str:
    """Return a paragraph for a methods section, of what actually happened."""
    study = results["study"]
    models = ", ".join(shorten(m["label"]) for m in study["models"])
    runs = {
        label: len(scores["permuted"])
        for content in results["dimensions"].values()
        for label, scores in content["models"].items()
        if scores["permuted"]
    }
    counts = ", ".join(f"{shorten(k)} {n}" for k, n in runs.items())
    permuted = f" and of runs with labels permuted over the trials of each subject ({counts})"
    of = "of one subject"
    if results["n_subjects"] > 1:
        of = "means over subjects with bootstrap intervals (BCa, 9,999 resamples of subjects)"
    said = "probabilities" if results["classes"] else "ratings"
    joint = [shorten(m["label"]) for m in study["models"] if m.get("joint")]
    apart = study.get("trust", {}).get("calibration_share")
    promised = f"; {apart:.0%} of training groups were held out for promises alone" if apart else ""
    together = f" ({', '.join(joint)}: all dimensions in one network)" if joint else ""
    median = "; the class said is their median" if study["target"]["kind"] == "ordinal" else ""
    return (
        f"We predicted {_target_text(study['target'])} from "
        f"{plural(results['n_windows'], 'window')} of {plural(results['n_trials'], 'trial')} of "
        f"{plural(results['n_subjects'], 'subject')} with the models {models}{together}. "
        f"Protocol: {results['protocol']}, {plural(results['n_folds'], 'fold')}, seed "
        f"{study['seed']}. Scaling, imputation, penalties and early stopping used training "
        f"windows only{' after SMOTE' if study.get('resample') == 'smote' else ''}{promised}. "
        f"Window {said} were averaged by trial{median}; scores are {of}, beside those of the "
        f"trivial baseline{permuted if runs else ''}. PhysioEmo "
        f"{results['versions']['physioemo']}, configuration {results['config_hash']}."
    )
