"""Many recordings become one feature store: one after another, or on dask's workers.

The unit of work is a source, one file of a data set. Whoever works on it writes its parts into
the workshop itself, so nothing large travels between processes, and a worker that dies costs its
own source and nothing else.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from physioemo.dask_jobs import run_on_dask
from physioemo.datasets.assemble import file_fingerprint, one_at_a_time
from physioemo.datasets.source import Source
from physioemo.errors import CallError, DataError, PhysioEmoError
from physioemo.features.feature_store import Workshop
from physioemo.features.preprocess import recording_features
from physioemo.features.preprocess_recipe import PreprocessRecipe
from physioemo.features.stimulus_files import StimulusFiles
from physioemo.fingerprint import config_fingerprint, package_versions
from physioemo.recording import Recording

__all__ = ["PreprocessResult", "preprocess", "process_source", "recording_sources"]


@dataclass(frozen=True)
class PreprocessResult:
    """What a run did.

    Parameters
    ----------
    out : Path
        The feature store.
    computed, reused : tuple of str
        Sources that were computed now, and that were there before.
    excluded : mapping of str to str
        Damaged sources that were left out, and why.
    """

    out: Path
    computed: tuple[str, ...]
    reused: tuple[str, ...]
    excluded: Mapping[str, str] = field(default_factory=dict)


def preprocess(
    sources: Sequence[Source],
    out: str | Path,
    recipe: PreprocessRecipe,
    *,
    dataset: str = "recording",
    jobs: int = 1,
    scheduler: str | None = None,
    overwrite: bool = False,
    exclude_damaged: bool = False,
    attrs: Mapping[str, Any] | None = None,
    stimuli: StimulusFiles | None = None,
    on_progress: Callable[[float, float], None] | None = None,
) -> PreprocessResult:
    """Make a feature store of some sources; go on where an earlier run stopped.

    Parameters
    ----------
    sources : sequence of Source
        What to read, in the order of the result.
    out : str or Path
        The store. While it is being made, its parts lie in ``<out>.partial`` beside it.
    recipe : PreprocessRecipe
        What to compute.
    dataset : str
        Name of the data set, kept in the store.
    jobs : int
        Processes of a cluster on this computer; 1 works in this process.
    scheduler : str, optional
        Address of a running dask scheduler, such as ``tcp://host:8786``. Its workers must see
        the same files at the same paths.
    overwrite : bool
        Replace a finished store of another recipe.
    exclude_damaged : bool
        Make the store without the sources that cannot be read, and say so in it.
    attrs : mapping, optional
        More attributes of the store (JSON-able).
    stimuli : StimulusFiles, optional
        The files of the recipe's stimuli, where families read them. Names and SHA-256 stand in the
        store's attributes.
    on_progress : callable, optional
        ``on_progress(done_bytes, all_bytes)`` after each source.

    Raises
    ------
    CallError
        If there are no sources or two have one name, or a stimulus has no file.
    RecordingExistsError
        If something else is at `out`.
    DataError
        If a source cannot be read; the others are computed first and are kept.
    """
    _check_sources(sources)
    workshop = Workshop(Path(out), recipe)
    workshop.check_out(overwrite=overwrite)
    if workshop.holds({s.name: _fingerprints(s.files) for s in sources}):
        return PreprocessResult(workshop.out, (), tuple(s.name for s in sources))
    workshop.take_over()
    sizes = {s.name: float(sum(f.stat().st_size for f in s.files if f.is_file())) for s in sources}
    total, done = sum(sizes.values()), 0.0
    outcomes: dict[str, dict[str, Any]] = {}
    for outcome in _run(sources, workshop, jobs, scheduler, stimuli):
        if outcome["wrong_call"]:
            raise CallError(outcome["error"])  # the recipe is wrong, not the file
        outcomes[outcome["source"]] = outcome
        done += sizes[outcome["source"]]
        if on_progress:
            on_progress(done, total)
    damaged = {s.name: o["error"] for s in sources if (o := outcomes[s.name])["error"]}
    if len(damaged) == len(sources) or (damaged and not exclude_damaged):
        raise _damage(damaged, len(sources), workshop)
    kept = [s.name for s in sources if s.name not in damaged]
    reused = tuple(n for n in kept if outcomes[n]["reused"])
    computed = tuple(n for n in kept if not outcomes[n]["reused"])
    own = {
        **(attrs or {}),
        **({"stimuli": stimuli.about} if stimuli else {}),
        "dataset": dataset,
        "excluded": damaged,
        "versions": package_versions(("physioemo", "numpy", "scipy", "xarray", "zarr")),
    }
    return PreprocessResult(workshop.publish(kept, own), computed, reused, damaged)


def _check_sources(sources: Sequence[Source]) -> None:
    names = [s.name for s in sources]
    twice = sorted({n for n in names if names.count(n) > 1})
    if twice:
        raise CallError(
            f"found two sources called {twice[0]!r}, expected each once; rename one of the files"
        )
    if not sources:
        raise CallError("found nothing to preprocess, expected at least one recording")


def _damage(damaged: Mapping[str, str], n_sources: int, workshop: Workshop) -> DataError:
    name, why = next(iter(damaged.items()))
    others = f" (and {', '.join(list(damaged)[1:])})" if len(damaged) > 1 else ""
    return DataError(
        f"found {len(damaged)} of {n_sources} sources that cannot be used: {name}{others}: {why}. "
        f"The others are kept in {workshop.partial}; mend the files and run the same command "
        "again, or leave them out with --exclude-damaged"
    )


def _run(
    sources: Sequence[Source],
    workshop: Workshop,
    jobs: int,
    scheduler: str | None,
    stimuli: StimulusFiles | None,
) -> Iterator[dict[str, Any]]:
    if scheduler is None and jobs == 1:
        for source in sources:
            yield process_source(source, workshop.out, workshop.recipe, stimuli)
        return
    out, recipe = workshop.out.resolve(), workshop.recipe
    yield from run_on_dask(
        partial(process_source, out=out, recipe=recipe, stimuli=stimuli),
        sources,
        [f"{s.name}-{workshop.recipe.fingerprint}" for s in sources],
        jobs=jobs,
        scheduler=scheduler,
    )


def process_source(
    source: Source, out: Path, recipe: PreprocessRecipe, stimuli: StimulusFiles | None = None
) -> dict[str, Any]:
    """Compute the parts of one source that are not there yet; return what was done.

    A file that cannot be used is reported, not raised: the others go on. So is a wrong call, which
    dask would try again and again.
    """
    workshop = Workshop(out, recipe)
    try:
        prints = _fingerprints(source.files)
        if workshop.finished(source.name, prints) is not None:
            return _outcome(source, reused=True)
        workshop.begin(source.name, prints)
        names: list[str] = []
        for recording in one_at_a_time(source.read()):
            name = _recording_name(recording, source)
            if not workshop.part_path(source.name, name).is_file():
                part = recording_features(recording, recipe, name=name, stimuli=stimuli)
                workshop.save_part(source.name, name, part)
            names.append(name)
            del recording
        if not names:
            raise DataError(f"found no recording in {source.files[0]}, expected at least one")
        workshop.finish(source.name, prints, names)
    except PhysioEmoError as error:
        return _outcome(source, error=f"{error}", wrong_call=isinstance(error, CallError))
    return _outcome(source)


def _outcome(
    source: Source, *, reused: bool = False, error: str = "", wrong_call: bool = False
) -> dict[str, Any]:
    return {"source": source.name, "reused": reused, "error": error, "wrong_call": wrong_call}


def _fingerprints(files: Sequence[Path]) -> dict[str, str]:
    """Return one hash per file, or one of all where a source is a folder of many."""
    prints = {f"{k}:{f.name}": file_fingerprint(f) for k, f in enumerate(files) if f.is_file()}
    return prints if len(prints) < 4 else {"all": config_fingerprint(prints)}


def _recording_name(recording: Recording, source: Source) -> str:
    subject, session = (recording.attrs.get(k) for k in ("subject", "session"))
    return f"{subject}-{session}" if subject and session else source.name


def recording_sources(path: str | Path, overrides: Any = None) -> list[Source]:
    """Return the sources of one recording, or of all recordings in a folder.

    Parameters
    ----------
    path : str or Path
        A recording, a file that :func:`physioemo.files.read_recording` reads, or a folder of
        recordings.
    overrides : Overrides, optional
        Names, units and rates that a file does not state.
    """
    path = Path(path)
    if path.is_dir() and not _is_recording(path):
        found = sorted(p for p in path.iterdir() if p.is_dir() and _is_recording(p))
        if found:
            return [_recording_source(p, overrides) for p in found]
    return [_recording_source(path, overrides)]


def _is_recording(path: Path) -> bool:
    return (path / "zarr.json").is_file() or (path / "journal").is_dir()


def _recording_source(path: Path, overrides: Any) -> Source:
    files = tuple(sorted(p for p in path.rglob("*") if p.is_file())) if path.is_dir() else (path,)
    name = path.stem if path.suffix else path.name
    return Source(name, files, partial(_read_recording, path, overrides))


def _read_recording(path: Path, overrides: Any) -> Iterator[Recording]:
    from physioemo.files import read_recording

    recording = read_recording(path, overrides)
    try:
        yield recording
    finally:
        recording.close()
