"""A study from its declaration to a folder of results; what was interrupted goes on."""

import json
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.atomic_file import new_path
from physioemo.dask_jobs import run_on_dask
from physioemo.errors import RecordingExistsError, RecordingNotFoundError
from physioemo.experiments.outside_splits import OutsideSplit, write_split
from physioemo.experiments.pretrained_encoders import pretrained_id
from physioemo.experiments.study_config import Study
from physioemo.experiments.study_confusion import write_confusion
from physioemo.experiments.study_fused_options import offline_models
from physioemo.experiments.study_groups import names_of
from physioemo.experiments.study_inputs import StudyInputs, load_inputs, shared_electrodes
from physioemo.experiments.study_jobs import (
    TRUE_LABELS,
    Job,
    load_job,
    plan_jobs,
    run_job,
)
from physioemo.experiments.study_joint import ALL_COLUMNS
from physioemo.experiments.study_maps import MapPart, plan_maps, run_map_part, study_maps
from physioemo.experiments.study_modalities import (
    FamilyPart,
    plan_modalities,
    run_family_part,
    study_modalities,
)
from physioemo.experiments.study_models import MODELS
from physioemo.experiments.study_pieces import is_there, raise_error
from physioemo.experiments.study_scores import study_scores
from physioemo.experiments.study_trust_scores import trust_scores, trust_unit
from physioemo.fingerprint import array_fingerprint, config_fingerprint, package_versions

__all__ = ["RESULTS", "is_finished", "read_results", "run_study"]

RESULTS = "results.json"
Piece = Job | MapPart | FamilyPart
_NUMBERS = ("dimensions", "maps", "modalities")
_CONFIG, _SPLITS, _PREDICTIONS, _JOBS = "config.json", "splits.json", "predictions.zarr", "jobs"


def run_study(
    study: Study,
    out: str | Path,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    overwrite: bool = False,
    on_progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Run a study and write its folder; one that is finished is read from there.

    Parameters
    ----------
    study : Study
        From :func:`physioemo.experiments.study_config.read_study`.
    out : str or Path
        The folder: ``config.json``, ``splits.json``, ``predictions.zarr``, ``results.json``,
        ``confusion.csv``, ``log.txt``; with ``keep_models`` also ``models``; unfinished, also
        ``jobs``.
    jobs : int
        Processes on this computer.
    scheduler : str, optional
        Address of a running dask scheduler whose workers see the same files.
    overwrite : bool
        Replace the results of another study, or of other data.
    on_progress : callable, optional
        ``on_progress(done, all)`` in models that were fitted: at first with those that an
        earlier run left, if it did, then after each job.

    Returns
    -------
    dict
        What ``results.json`` holds.

    Raises
    ------
    RecordingExistsError
        If the folder holds something else.
    DataError, CallError
        If the study cannot be made on these data.
    """
    folder = Path(out)
    inputs = load_inputs(study)
    planned = plan_jobs(study, len(inputs.columns), len(inputs.folds))
    pieces: list[Piece] = [*planned, *plan_maps(study, inputs), *plan_modalities(study, inputs)]
    config = _config(study, inputs)
    _prepare(folder, config, overwrite=overwrite)
    if is_finished(folder) and (not study.keep_models or (folder / MODELS).is_dir()):
        return read_results(folder)
    _check_versions(folder, config["versions"])
    _log(folder, f"begun, configuration {config['config_hash']}")
    write_split(
        folder / _SPLITS,
        OutsideSplit(
            folds=inputs.folds,
            protocol=study.protocol,
            leaky=study.leaky or bool(inputs.leaks),
            fitted_on={"scaler": "training", "imputation": "training", "model": "training"},
            store=study.stores[0].resolve() if len(study.stores) == 1 else None,
            stores=tuple(s.resolve() for s in study.stores) if len(study.stores) > 1 else (),
        ),
    )
    there = sum(is_there(piece.name, folder / _JOBS) for piece in pieces)
    _log(folder, f"{len(pieces)} jobs, {there} of them done before")
    _run_all(pieces, study, folder / _JOBS, jobs, scheduler, on_progress)
    results = {
        "format": 1,
        **config,
        **study_scores(study, inputs, _predictions(planned, study, inputs, folder / _JOBS)),
    }
    _add_trust(results, study, inputs, planned, folder / _JOBS)
    if shared_electrodes(study, inputs):
        results["electrodes"] = list(shared_electrodes(study, inputs))
    if offline_models(study):
        results["offline"] = offline_models(study)
    if study.maps:
        results["maps"] = study_maps(study, inputs, folder / _JOBS)
    if study.modalities:
        results["modalities"] = study_modalities(study, inputs, folder / _JOBS)
    _write_predictions(folder, study, inputs, planned)
    write_confusion(results, folder)
    text = json.dumps(_plain(results), indent=1, ensure_ascii=False)
    with new_path(folder / RESULTS, overwrite=True) as partial_file:
        partial_file.write_text(text, encoding="utf-8")
    shutil.rmtree(folder / _JOBS)
    _log(folder, "finished")
    return results


def is_finished(folder: Path) -> bool:
    """Tell whether a folder holds a study that came to its end."""
    return (folder / RESULTS).is_file() and not (folder / _JOBS).exists()


def read_results(folder: Path) -> dict[str, Any]:
    """Return what a study's ``results.json`` holds, NaN where its scores say null.

    Raises
    ------
    RecordingNotFoundError
        If there is none.
    """
    path = folder / RESULTS
    if not path.is_file():
        raise RecordingNotFoundError(
            f"found no {RESULTS} in {folder}, expected the folder of a finished study; run "
            "'physioemo study' to its end"
        )
    results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return results | {k: _with_nan(results[k]) for k in _NUMBERS if k in results}


def _with_nan(value: Any) -> Any:
    """Return results as they were before JSON, which knows no NaN."""
    if isinstance(value, dict):
        # Of promises null is what nobody asked for, or what could not be had.
        return {k: v if k == "trust" else _with_nan(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_with_nan(v) for v in value]
    return float("nan") if value is None else value


def _log(folder: Path, what: str) -> None:
    """Add a line to the study's log: times stand here and nowhere in the results."""
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    with (folder / "log.txt").open("a", encoding="utf-8") as file:
        file.write(f"{now} {what}\n")


def _config(study: Study, inputs: StudyInputs) -> dict[str, Any]:
    sources = [{k: v for k, v in s.items() if k != "path"} for s in inputs.sources]
    begun = {
        m.label: pretrained_id(str(m.options["pretrained"]))
        for m in study.models
        if m.options.get("pretrained")
    }
    decided = {"study": study.to_dict(), "sources": sources, "data": _data_fingerprint(inputs)}
    decided |= {"pretrained": begun} if begun else {}
    return {
        **decided,
        "config_hash": config_fingerprint(decided),
        "stores": [str(s) for s in study.stores],
        "simulated": any(s["simulated"] for s in sources),
        "leaky": study.leaky or bool(inputs.leaks),
        "leaks": list(inputs.leaks),
        "versions": package_versions(),
    }


def _data_fingerprint(inputs: StudyInputs) -> str:
    """Return the hash of what is read: a store may be corrected, its sources stay the same."""
    groups = inputs.groups
    columns = (groups.person, groups.session, groups.trial, groups.stimulus, groups.onset_seconds)
    more = () if inputs.ratings is None else (inputs.ratings,)
    families = [inputs.families[name] for name in sorted(inputs.families)]
    return array_fingerprint([*columns, inputs.targets, *more, *families])


def _check_versions(folder: Path, versions: dict[str, str]) -> None:
    """Refuse to go on with other versions than a study was begun with: it would be of both.

    Raises
    ------
    RecordingExistsError
        If one differs.
    """
    begun = json.loads((folder / _CONFIG).read_text("utf-8")).get("versions", {})
    other = [k for k in versions if begun.get(k) != versions[k]]
    if other:
        then = ", ".join(f"{k} {begun.get(k, 'of unknown version')}" for k in other)
        now = ", ".join(f"{k} {versions[k]}" for k in other)
        raise RecordingExistsError(
            f"found a study in {folder} that was begun with {then}, expected {now} as it is "
            "installed now; install what it was begun with, or begin anew with --overwrite"
        )


def _prepare(folder: Path, config: dict[str, Any], *, overwrite: bool) -> None:
    """Make the folder, or find the unfinished or finished study of the same hash in it."""
    path = folder / _CONFIG
    # A study that begins with a data set has its features here already.
    others = [p for p in folder.iterdir() if p.name != "features.zarr"] if folder.exists() else []
    if others:
        known = json.loads(path.read_text("utf-8")) if path.is_file() else None
        if known is None:
            raise RecordingExistsError(
                f"found something in {folder} that is no study, expected nothing there; choose "
                "another --out"
            )
        if known["config_hash"] == config["config_hash"] and not overwrite:
            return
        if not overwrite:
            raise RecordingExistsError(
                f"found another study, or one of other data (hash {known['config_hash']}), in "
                f"{folder}, expected {config['config_hash']}; choose another --out, or replace it "
                "with --overwrite"
            )
        for old in others:
            shutil.rmtree(old) if old.is_dir() else old.unlink()
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(_plain(config), indent=1, ensure_ascii=False), encoding="utf-8")


def _run_all(
    pieces: list[Piece],
    study: Study,
    folder: Path,
    jobs: int,
    scheduler: str | None,
    on_progress: Callable[[int, int], None] | None,
) -> None:
    folder.mkdir(exist_ok=True)
    again = study.keep_models  # models may be asked for now whose predictions are there
    left = [p for p in pieces if not is_there(p.name, folder) or (again and isinstance(p, Job))]
    n_fits = sum(p.n_fits for p in pieces)
    done = n_fits - sum(p.n_fits for p in left)
    told = on_progress or (lambda done, total: None)
    if done:
        told(done, n_fits)
    work = partial(_run_piece, study=study, folder=folder.resolve())
    outcomes: Iterator[dict[str, Any]]
    if scheduler is None and jobs == 1:
        outcomes = map(work, left)
    else:
        kept = "-kept" if study.keep_models else ""
        keys = [f"{piece.name}-{study.fingerprint}{kept}" for piece in left]
        outcomes = run_on_dask(work, left, keys, jobs=jobs, scheduler=scheduler)
    fits_of = {piece.name: piece.n_fits for piece in left}
    for outcome in outcomes:
        raise_error([outcome])
        done += fits_of[outcome["job"]]
        told(done, n_fits)


def _run_piece(piece: Piece, study: Study, folder: Path) -> dict[str, Any]:
    if isinstance(piece, MapPart):
        return run_map_part(piece, study, folder)
    if isinstance(piece, FamilyPart):
        return run_family_part(piece, study, folder)
    return run_job(piece, study, folder)


def _predictions(
    planned: list[Job], study: Study, inputs: StudyInputs, folder: Path
) -> Iterator[tuple[str, int, int, np.ndarray, list[dict[str, Any]]]]:
    """Yield (model, column, permutation, predicted (window, class), notes) of each run."""
    runs: dict[tuple[int, int, int], list[Job]] = {}
    for job in planned:
        runs.setdefault((job.model, job.column, job.permutation), []).append(job)
    for (model, column, permutation), parts in runs.items():
        joint = column == ALL_COLUMNS
        classes = inputs.classes if joint else inputs.classes_of(column)
        shape = (len(inputs.groups), len(inputs.columns) if joint else 1, max(1, len(classes)))
        total = np.zeros(shape)
        count = np.zeros(len(inputs.groups))
        notes = []
        for part in parts:
            content = load_job(part, folder)
            said = content["predicted"].reshape(-1, *shape[1:])
            np.add.at(total, content["rows"], said)
            np.add.at(count, content["rows"], 1)
            notes += content["notes"]
        # Some protocols test a window in several folds: its prediction is their mean.
        with np.errstate(invalid="ignore", divide="ignore"):
            predicted = total / np.where(count, count, np.nan)[:, None, None]
        label = study.models[model].label
        for k, of_column in enumerate(np.moveaxis(predicted, 1, 0)):
            at = k if joint else column
            own = of_column[:, : max(1, len(inputs.classes_of(at)))]
            yield label, at, permutation, own, notes


def _add_trust(
    results: dict[str, Any], study: Study, inputs: StudyInputs, planned: list[Job], folder: Path
) -> None:
    """Add what was promised of each model and dimension, and what came true."""
    if study.trust is None:
        return
    results["trust_unit"] = unit = trust_unit(study, inputs)
    groups = inputs.groups
    for k, model in enumerate(study.models):
        for column, name in enumerate(inputs.columns):
            mine = [j for j in planned if (j.model, j.column) == (k, column)]
            done = [load_job(j, folder) for j in mine if j.permutation == TRUE_LABELS]
            results["dimensions"][name]["models"][model.label]["trust"] = trust_scores(
                study,
                inputs.targets[:, column],
                groups.person,
                names_of(groups, unit),
                groups.trial_id,
                [(d["rows"], d["predicted"], d["promised"], d["notes"]) for d in done],
            )


def _write_predictions(folder: Path, study: Study, inputs: StudyInputs, planned: list[Job]) -> None:
    """Write every window's prediction with the true labels, by model and dimension."""
    import xarray as xr

    classes = list(inputs.classes) or ["rating"]
    labels = [m.label for m in study.models]
    shape = (len(labels), len(inputs.columns), len(inputs.groups), len(classes))
    predicted = np.full(shape, np.nan)  # as they were scored: ties decide ranks and bins
    true_runs = [j for j in planned if j.permutation == TRUE_LABELS]
    for model, column, _, values, _ in _predictions(true_runs, study, inputs, folder / _JOBS):
        predicted[labels.index(model), column, :, : values.shape[1]] = values
    groups = inputs.groups
    columns = ("subject", "session", "trial", "stimulus", "onset_seconds", "dataset")
    store = xr.Dataset(
        {
            "predicted": (("model", "dimension", "window", "class"), predicted),
            "target": (("window", "dimension"), inputs.targets),
            **{c: ("window", _storable(getattr(groups, c))) for c in columns},
        },
        coords={
            name: (name, _storable(np.array(values, object)))
            for name, values in (
                ("model", labels),
                ("dimension", inputs.columns),
                ("class", classes),
            )
        },
    )
    path = folder / _PREDICTIONS
    shutil.rmtree(path, ignore_errors=True)
    store.to_zarr(path, zarr_format=3, consolidated=False)


def _storable(values: np.ndarray) -> np.ndarray:
    return values.astype(np.dtypes.StringDType()) if values.dtype.kind == "O" else values


def _plain(value: Any) -> Any:
    """Return JSON-able values: no NaN, no NumPy."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return None
    return value
