"""The feature store of a study that begins with a data set."""

from collections.abc import Callable
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

__all__ = ["prepare_store", "recipe_of"]


def prepare_store(
    study: Study,
    *,
    jobs: int = 1,
    scheduler: str | None = None,
    on_progress: Callable[[float, float], None] | None = None,
) -> None:
    """Make the store of a study, unless it has stores or it is there.

    Parameters
    ----------
    study : Study
        Its ``preparation`` says how.
    jobs, scheduler
        As for :func:`physioemo.features.preprocess_run.preprocess`.
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
        preprocess(
            sources,
            out,
            recipe_of(how),
            dataset=how.dataset,
            jobs=jobs,
            scheduler=scheduler,
            overwrite=True,
            attrs={"synthetic": synthetic},
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


def recipe_of(how: Preparation) -> PreprocessRecipe:
    """Return the recipe that a study states.

    Raises
    ------
    CallError
        If a field is unknown or wrong.
    """
    fields = dict(how.recipe)
    fields.setdefault("hop_seconds", fields.get("window_seconds", 1.0))
    if "features" in fields:
        fields["features"] = tuple(fields["features"])
    if "bands" in fields:
        fields["bands"] = {str(k): (float(a), float(b)) for k, (a, b) in fields["bands"].items()}
    try:
        return PreprocessRecipe(**fields)
    except TypeError as error:
        known = ", ".join(PreprocessRecipe.__dataclass_fields__)
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
