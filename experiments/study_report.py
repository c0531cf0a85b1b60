"""The page of a study: its scores beside chance, subject by subject, and how it was made."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.experiments.report.figures import report_style
from physioemo.experiments.report.page import render_page, write_page
from physioemo.experiments.report.parts import (
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
from physioemo.experiments.statistics import least_p
from physioemo.experiments.study_confusion import classes_of, confusion_blocks
from physioemo.experiments.study_figures import (
    calibration_figure,
    confusion_figure,
    learning_figure,
    subject_figure,
)
from physioemo.experiments.study_map_blocks import map_blocks
from physioemo.experiments.study_modalities import modality_blocks
from physioemo.experiments.study_score_blocks import (
    BASELINES,
    interval_text,
    permuted_scores,
    score_blocks,
    score_title,
    shown_label,
    subject_table,
)
from physioemo.experiments.study_trust_blocks import trust_blocks

__all__ = ["write_study_report"]


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


def _verdict(results: dict[str, Any]) -> Iterator[Note]:
    name = results["headline"]
    for dimension, content in results["dimensions"].items():
        models = {k: v for k, v in content["models"].items() if name in v["trial"]}
        if not models:
            yield Note(f"{dimension}: {score_title(name)} is not defined.", "missing")
            continue
        best = max(models, key=lambda k: models[k]["trial"][name]["mean"])
        score = models[best]["trial"][name]
        text = (
            f"{dimension}: {shown_label(results, best)} reaches a {score_title(name)} of "
            f"{number_text(score['mean'], 3)} over {plural(score['n'], 'subject')}"
        )
        beside = _beside(results, models, best)
        if beside:
            text += f", beside {' and '.join(beside)}"
        if len(models) > 2:
            text += f". It is the best of {len(models)} models on these same data: expect less"
        tone = "warning" if results["leaky"] else "plain"
        yield Note(text + (". The split leaks." if results["leaky"] else "."), tone)


def _beside(results: dict[str, Any], models: dict[str, Any], best: str) -> list[str]:
    """Return in words what the best score stands beside: trivial baselines, permuted labels."""
    name, found = results["headline"], []
    for model in results["study"]["models"]:
        label = model["label"]
        if model.get("name") in BASELINES and label in models and label != best:
            found.append(f"{number_text(models[label]['trial'][name]['mean'], 3)} of {label}")
    test = models[best]["permutation_tests"].get("trial")
    if test:
        permuted = permuted_scores(models[best])
        mean = float(np.mean(permuted)) if permuted else None
        found.append(
            f"{number_text(mean, 3)} with permuted labels (p {p_text(test['p'])}, "
            f"{plural(test['n'], 'permutation')}; with so many it is at least "
            f"{p_text(least_p(test['n']))})"
        )
    return found


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
    if results.get("electrodes"):
        shared = results["electrodes"]
        yield f"Only the {plural(len(shared), 'electrode')} that all have: {', '.join(shared)}."


def _target_text(target: dict[str, Any]) -> str:
    rest = {k: v for k, v in target.items() if k not in ("kind", "dimensions")}
    text = target["kind"]
    if "dimensions" in target:
        text += f" of {', '.join(target['dimensions'])}"
    return f"{text} ({_options_text(rest)})" if rest else text


def _options_text(options: dict[str, Any]) -> str:
    return ", ".join(f"{k.replace('_', ' ')} {shorten(str(v))}" for k, v in options.items())


def _sections(results: dict[str, Any], folder: Path) -> Iterator[Section]:
    yield Section(
        "Scores beside chance", tuple(score_blocks(results, _stamp(results))), "scores", 2
    )
    for k, (dimension, content) in enumerate(results["dimensions"].items()):
        yield Section(
            f"Subject by subject: {dimension}",
            tuple(_dimension_blocks(results, k, dimension, content, folder)),
            f"dimension-{k}",
            2,
        )
        if "trust_unit" in results:
            kind = results["study"]["target"]["kind"]
            unit = results["trust_unit"]
            blocks = trust_blocks(content["models"], unit, _stamp(results), kind=kind)
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


def _dimension_blocks(
    results: dict[str, Any], number: int, dimension: str, content: dict[str, Any], folder: Path
) -> Iterator[Block]:
    stamp, classes = _stamp(results), classes_of(results, content)
    yield Figure(
        subject_figure(content, results["headline"], len(classes), stamp=stamp),
        f"Each dot is a subject ({_subjects_text(content, results['headline'])}); the bar is the "
        f"mean, the dotted line chance{_band_text(content)}."
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
                "Windows by the probability of the likeliest class, in bins of a tenth with ten "
                f"windows or more (n = {_n_windows(content)} in all), and how often it was right. "
                "On the line a probability means what it says.",
                f"Calibration in {dimension}",
                width_inches=6.0,
                stamp=stamp,
            )
    learning = learning_figure(content, stamp=stamp)
    if learning:
        yield Figure(
            learning,
            f"Mean loss over {plural(results['n_folds'], 'fold')}; validation windows are held "
            "out of training. Folds that stopped early are left out after they stopped.",
            f"Learning curves in {dimension}",
            width_inches=6.0,
            stamp=stamp,
        )
    yield subject_table(content, results, stamp)


def _subjects_text(content: dict[str, Any], name: str) -> str:
    """Return of how many subjects the dots of each model are."""
    scored = [s["trial"][name]["n"] for s in content["models"].values() if name in s["trial"]]
    low, high = min(scored, default=0), max(scored, default=0)
    return f"n = {high}" if low == high else f"n = {low} to {high}"


def _band_text(content: dict[str, Any]) -> str:
    counts = sorted({n for s in content["models"].values() if (n := len(permuted_scores(s)))})
    if not counts:
        return ""
    times = " to ".join(str(n) for n in dict.fromkeys((counts[0], counts[-1])))
    return f", the grey band what {times} permutations of the labels reached"


def _n_windows(content: dict[str, Any]) -> int:
    """Return how many windows of a dimension were rated and tested."""
    subjects = (scores["subjects"].values() for scores in content["models"].values())
    return max((sum(s["window"]["n"] for s in each) for each in subjects), default=0)


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
        of = f"means over subjects with 95 % intervals ({interval_text(results)})"
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
