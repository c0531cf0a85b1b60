"""The feature store of a study that begins with a data set."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from physioemo.datasets.catalogue import dataset
from physioemo.datasets.source import Source
from physioemo.datasets.synthetic_note import read_synthetic_note
from physioemo.errors import CallError, DataError
from physioemo.experiments.paper_exact import paper_exact_data
from physioemo.experiments.study_config import Preparation, Study
from physioemo.experiments.study_store import write_study_data
from physioemo.features.preprocess_recipe import PreprocessRecipe
from physioemo.features.preprocess_run import preprocess
from physioemo.features.stimulus_family import StimulusCut
from physioemo.features.stimulus_files import StimulusFiles, find_stimuli

__all__ = ["prepare_store", "recipe_of", "stimuli_of"]

_CUT = {"stimulus_mels": "n_mels", "stimulus_pictures": "n_pictures"}
_OF_STIMULI = ("stimuli", "allow_missing_stimuli", *_CUT)


def prepare_store(
    study: Study,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    cache: str | Path | None = None,
    on_progress: Callable[[float, float], None] | None = None,
) -> None:
    """Make the store of a study, unless it has stores or it is there.

    Parameters
    ----------
    study : Study
        Its ``preparation`` says how.
    jobs, scheduler
        As for :func:`physioemo.features.preprocess_run.preprocess`.
    cache : str or Path, optional
        Folder of decoded stimuli.
    on_progress : callable, optional
        ``on_progress(done, total)``.

    Raises
    ------
    DataError
        If the data set is not there, or a file cannot be used.
    CallError
        If the recipe is wrong.
    """
    how = study.preparation
    if how is None:
        return
    sources, synthetic = _sources(how)
    out = study.stores[0]
    if how.kind == "features":
        stimuli = stimuli_of(how, cache)
        preprocess(
            sources,
            out,
            recipe_of(how, stimuli),
            dataset=how.dataset,
            jobs=jobs,
            scheduler=scheduler,
            overwrite=True,
            attrs={"synthetic": synthetic},
            stimuli=stimuli,
            on_progress=on_progress,
        )
    elif not out.exists():
        recordings = (r for source in sources for r in source.read())
        data = paper_exact_data(recordings, like=how.dataset)
        source: dict[str, Any] = {**data.source, "dataset": how.dataset}
        source["simulated"] = bool(source.get("simulated")) or synthetic
        partial = out.with_name(out.name + ".partial")
        write_study_data(type(data)(**{**vars(data), "source": source}), partial)
        partial.rename(out)


def stimuli_of(how: Preparation, cache: str | Path | None = None) -> StimulusFiles | None:
    """Return the files of the stimuli that a study states, if it does.

    Their paths are seen from the folder of the data set, as its files are.

    Parameters
    ----------
    how : Preparation
        Of the study.
    cache : str or Path, optional
        Folder of decoded stimuli.

    Raises
    ------
    CallError
        If they are no list, or a file is not there.
    """
    places = how.recipe.get("stimuli")
    if places is None:
        return None
    if not isinstance(places, list) or not all(isinstance(p, str) for p in places):
        raise CallError(
            f"found stimuli = {places!r} in [data.recipe], expected a list of folders, files or "
            "tables beside the data set, such as ['clips']"
        )
    allow = how.recipe.get("allow_missing_stimuli", False) is True
    return find_stimuli([how.path / p for p in places], cache=cache, allow_missing=allow)


def recipe_of(how: Preparation, stimuli: StimulusFiles | None = None) -> PreprocessRecipe:
    """Return the recipe that a study states.

    Parameters
    ----------
    how : Preparation
        Of the study.
    stimuli : StimulusFiles, optional
        The files that it names.

    Raises
    ------
    CallError
        If a field is unknown or wrong.
    """
    fields = {k: v for k, v in how.recipe.items() if k not in _OF_STIMULI}
    if stimuli is not None:
        own = {_CUT[k]: how.recipe[k] for k in _CUT if k in how.recipe}
        fields |= {"stimuli": dict(stimuli.sha256), "stimulus_cut": replace(StimulusCut(), **own)}
    fields.setdefault("hop_seconds", fields.get("window_seconds", 1.0))
    if "features" in fields:
        fields["features"] = tuple(fields["features"])
    if "bands" in fields:
        fields["bands"] = {str(k): (float(a), float(b)) for k, (a, b) in fields["bands"].items()}
    try:
        return PreprocessRecipe(**fields)
    except TypeError as error:
        every = [*PreprocessRecipe.__dataclass_fields__, *_OF_STIMULI]
        known = ", ".join(k for k in dict.fromkeys(every) if k != "stimulus_cut")
        raise CallError(
            f"found the fields {', '.join(how.recipe)} in [data.recipe], expected some of {known}"
        ) from error


def _sources(how: Preparation) -> tuple[list[Source], bool]:
    row = dataset(how.dataset)
    folder = row.locate(how.path)
    if folder is None:
        raise DataError(
            f"found no {row.title} in {how.path}, expected {' and '.join(row.files.values())}; "
            "check --data"
        )
    note = read_synthetic_note(row, folder)
    return row.sources(folder, **(note or {})), note is not None
