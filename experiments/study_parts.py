"""Parts of a study: a model, and how the feature store is made; each as TOML says it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from physioemo.errors import CallError
from physioemo.experiments.study_fields import check_keys, count, flag, names, typed
from physioemo.hints import unknown_name

__all__ = ["ModelChoice", "Preparation", "read_data", "read_model"]

_PREPARATIONS = ("features", "paper-exact")
_MODEL = ("name", "label", "preset", "n_permutations", "joint", "options")


@dataclass(frozen=True)
class ModelChoice:
    """One model of a study.

    Parameters
    ----------
    name : str
        Row of :data:`physioemo.experiments.estimators.ESTIMATORS`.
    label : str
        What it is called in the results; its name by default.
    preset : {"default", "small"}
        Sizes and schedules.
    n_permutations : int or None
        How often it is repeated with permuted labels; None as the study says.
    options : mapping
        Arguments of the estimator.
    joint : bool
        Whether one network predicts all dimensions, instead of one each.
    """

    name: str
    label: str = ""
    preset: str = "default"
    n_permutations: int | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    joint: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.name)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        values = {**vars(self), "options": dict(self.options)}
        return {k: v for k, v in values.items() if k != "joint" or v}


@dataclass(frozen=True)
class Preparation:
    """How a study makes its feature store from a data set.

    Parameters
    ----------
    dataset : str
        Row of :data:`physioemo.datasets.catalogue.CATALOGUE`.
    path : Path
        Where the data set lies.
    kind : {"features", "paper-exact"}
        As ``physioemo preprocess`` does, or as the published inter-cortical transformer does.
    recipe : mapping
        Fields of :class:`physioemo.features.preprocess_recipe.PreprocessRecipe`.
    """

    dataset: str
    path: Path
    kind: str = "features"
    recipe: Mapping[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary, without the path."""
        return {"dataset": self.dataset, "kind": self.kind, "recipe": dict(self.recipe)}


def read_data(
    data: Mapping[str, Any], path: Path, data_path: str | Path | None, out: str | Path | None
) -> tuple[Preparation | None, tuple[Path, ...]]:
    """Return how the store is made, if it is, and the stores.

    Parameters
    ----------
    data : mapping
        The section ``[data]``.
    path : Path
        Of the study's file, from whose folder stores are seen.
    data_path : str or Path, optional
        Where the data set lies, of a study that begins with one.
    out : str or Path, optional
        Folder of the results, in which its store is made.

    Raises
    ------
    CallError
        If neither is named, both are, or a data set lacks its place.
    """
    if "dataset" not in data:
        if "stores" not in data:
            raise CallError(
                "found neither stores nor a dataset in [data], expected a list of feature stores "
                "or the name of a data set"
            )
        stores = tuple(path.parent / name for name in names(data, "stores", []))
        where = [s.resolve() for s in stores]
        twice = [s.name for s in where if where.count(s) > 1]
        if twice:
            raise CallError(f"found the store {twice[0]} twice, expected each once; leave one out")
        return None, stores
    from physioemo.datasets.catalogue import CATALOGUE

    name = typed(data, "dataset", str, "")
    kind = typed(data, "preparation", str, "features")
    if name not in CATALOGUE:
        raise unknown_name("the dataset", name, CATALOGUE)
    if kind not in _PREPARATIONS:
        raise unknown_name("the preparation", kind, _PREPARATIONS)
    if "stores" in data or data_path is None or out is None:
        missing = [o for o, path in (("--data", data_path), ("--out", out)) if path is None]
        what = "stores beside a dataset" if "stores" in data else f"no {' and no '.join(missing)}"
        raise CallError(
            f"found {what}, expected the folder of {CATALOGUE[name].title} as --data, and --out, "
            "where its features are made"
        )
    recipe = typed(data, "recipe", dict, {})
    made = Preparation(name, Path(data_path), kind, recipe)
    return made, (Path(out) / "features.zarr",)


def read_model(entry: Any, folder: Path) -> ModelChoice:
    """Return a model from an entry of ``[[models]]``.

    Parameters
    ----------
    entry : object
        What stands there.
    folder : Path
        Of the study's file, from which paths are seen.

    Raises
    ------
    CallError
        If something in it is unknown, of another kind or in the wrong place.
    """
    if not isinstance(entry, dict) or "name" not in entry:
        raise CallError(f"found the model {entry!r}, expected [[models]] with a name")
    check_keys(entry, _MODEL, "[[models]]")
    own = None if "n_permutations" not in entry else count(entry, 0)
    options = typed(entry, "options", dict, {})
    for name, place in (("seed", "seed of the study"), ("joint", "joint of [[models]]")):
        if name in options:
            raise CallError(
                f"found {name!r} in [models.options], expected the {place}; write it there"
            )
    if "pretrained" in options:
        options = {**options, "pretrained": str(folder / typed(options, "pretrained", str, ""))}
    return ModelChoice(
        name=typed(entry, "name", str, ""),
        label=typed(entry, "label", str, ""),
        preset=typed(entry, "preset", str, "default"),
        n_permutations=own,
        options=options,
        joint=flag(entry, "joint"),
    )
