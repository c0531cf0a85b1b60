"""A declared study: what a TOML file may say, checked before anything is computed."""

import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from physioemo.errors import CallError, RecordingNotFoundError
from physioemo.experiments.estimators import build_estimator, find_estimator
from physioemo.experiments.fused_trust import TrustChoice
from physioemo.experiments.protocols import DEFAULT_PROTOCOL, find_protocol
from physioemo.experiments.study_fields import (
    check_keys,
    count,
    flag,
    names,
    section,
    typed,
)
from physioemo.experiments.study_fused_options import check_fused
from physioemo.experiments.study_trust import check_trust, read_trust
from physioemo.experiments.targets import Target
from physioemo.fingerprint import config_fingerprint
from physioemo.hints import unknown_name

__all__ = ["RESAMPLERS", "ModelChoice", "Preparation", "Study", "read_study"]

RESAMPLERS = ("none", "smote")
PREPARATIONS = ("features", "paper-exact")

_SECTIONS = {
    "": (
        "name",
        "description",
        "seed",
        "data",
        "target",
        "protocol",
        "models",
        "evaluation",
        "trust",
    ),
    "data": ("stores", "families", "dataset", "preparation", "recipe"),
    "evaluation": (
        "n_permutations",
        "reference",
        "resample",
        "maps",
        "modalities",
        "keep_models",
    ),
}
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


@dataclass(frozen=True)
class Study:
    """Everything that decides a study's numbers besides the data.

    Parameters
    ----------
    name : str
        What the study is called.
    stores : tuple of Path
        Feature stores; several are one study over several data sets.
    target : Target
        What is predicted.
    models : tuple of ModelChoice
        The majority class (or the mean rating) is always among them, first.
    families : tuple of str
        Features that a flat model reads.
    protocol : str
        Row of :data:`physioemo.experiments.protocols.PROTOCOLS`.
    protocol_options : mapping
        Its options.
    n_permutations : int
        How often everything is repeated with labels permuted over the trials of a subject; with
        fewer than 19 no p is 0.05 or less, and the report says so.
    reference : str
        Label of the model that the others are compared with.
    seed : int
        Decides folds, permutations and initial weights.
    resample : {"none", "smote"}
        What makes classes equally large, on the windows that train and on no others.
    maps : str
        Label of the model whose electrodes and pairs of electrodes are shown; none if empty.
    modalities : str
        Label of the fused model that is also scored with each family alone and without each;
        none if empty.
    preparation : Preparation or None
        How the store is made, where the study begins with a data set.
    description : str
        For the report.
    keep_models : bool
        Whether the trained models are kept; it changes no number, so the hash leaves it out.
    trust : TrustChoice or None
        What is promised of every model, on groups of its own; nothing by default.
    """

    name: str
    stores: tuple[Path, ...]
    target: Target
    models: tuple[ModelChoice, ...]
    families: tuple[str, ...] = ("de",)
    protocol: str = DEFAULT_PROTOCOL
    protocol_options: Mapping[str, Any] = field(default_factory=dict)
    n_permutations: int = 20
    reference: str = ""
    seed: int = 0
    resample: str = "none"
    maps: str = ""
    modalities: str = ""
    preparation: Preparation | None = None
    description: str = ""
    keep_models: bool = False
    trust: TrustChoice | None = None

    def __post_init__(self) -> None:
        if self.resample not in RESAMPLERS:
            raise unknown_name("the resampling", self.resample, RESAMPLERS)
        baseline = "mean" if self.target.kind == "continuous" else "majority"
        if not any(m.name == baseline for m in self.models):
            object.__setattr__(self, "models", (ModelChoice(baseline), *self.models))
        labels = [m.label for m in self.models]
        twice = sorted({x for x in labels if labels.count(x) > 1})
        if twice:
            raise CallError(
                f"found two models called {twice[0]!r}, expected one name each; give one a label"
            )
        if self.reference and self.reference not in labels:
            raise unknown_name("the reference model", self.reference, labels)
        if self.maps and self.maps not in labels:
            raise unknown_name("the model for maps", self.maps, labels)
        if self.maps and self.models[labels.index(self.maps)].name == baseline:
            raise CallError(
                f"found maps for {self.maps!r}, which looks at no electrode, expected another "
                "model; name one, or leave maps out"
            )
        find_protocol(self.protocol)
        for model in self.models:
            row = find_estimator(model.name)
            if model.joint:
                self._check_joint(model)
            if row.reads == "modalities":
                check_fused(model, self)
            if row.continuous != (self.target.kind == "continuous"):
                kind = "a rating" if row.continuous else "a class"
                raise CallError(
                    f"found the model {model.name!r}, which predicts {kind}, for a "
                    f"{self.target.kind} target; choose another model or target"
                )
            if row.ordered == {} and self.target.kind in ("labels", "joint"):
                raise CallError(
                    f"found the model {model.name!r}, which needs classes in an order, for a "
                    f"{self.target.kind} target; choose another model, or an ordinal target of "
                    "ratings"
                )
        if self.modalities and self.modalities not in labels:
            raise unknown_name("the model for modalities", self.modalities, labels)
        check_trust(self)

    def _check_joint(self, model: ModelChoice) -> None:
        """Refuse what cannot be predicted together."""
        # What cannot be joint is refused in the words of build_estimator.
        build_estimator(model.name, model.preset, joint=True)
        of_one = (("maps", self.maps), ("modalities", self.modalities))
        asked = [what for what, label in of_one if label == model.label]
        if self.resample == "smote":
            asked.append("resample")
        if asked:
            raise CallError(
                f"found {asked[0]} for {model.label!r}, which predicts all dimensions at once, "
                f"expected a model of one; leave {asked[0]} or joint out"
            )

    @property
    def leaky(self) -> bool:
        """Whether the protocol is one that leaks."""
        return find_protocol(self.protocol).leaky

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary, without the paths: data have fingerprints."""
        return {
            "name": self.name,
            "description": self.description,
            "target": self.target.to_dict(),
            "models": [m.to_dict() for m in self.models],
            "families": list(self.families),
            "protocol": self.protocol,
            "protocol_options": dict(self.protocol_options),
            "n_permutations": self.n_permutations,
            "reference": self.reference,
            "seed": self.seed,
            "resample": self.resample,
            "maps": self.maps,
            **({"modalities": self.modalities} if self.modalities else {}),
            "preparation": self.preparation.to_dict() if self.preparation else None,
            **({"trust": asdict(self.trust)} if self.trust else {}),
        }

    @property
    def fingerprint(self) -> str:
        """Hash of everything but the data."""
        return config_fingerprint(self.to_dict())


def read_study(
    path: str | Path, *, data: str | Path | None = None, out: str | Path | None = None
) -> Study:
    """Read a study from a TOML file; paths in it are seen from its folder.

    Parameters
    ----------
    path : str or Path
        The file, or the name of a study that comes with PhysioEmo.
    data : str or Path, optional
        Where the data set lies that the study begins with.
    out : str or Path, optional
        Folder of the results, in which the feature store of such a study is made.

    Raises
    ------
    RecordingNotFoundError
        If there is no such file.
    CallError
        If something in it is unknown, missing or contradictory.
    """
    path = _file(Path(path))
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise CallError(f"found {path} that is no TOML ({error}), expected a study") from error
    try:
        return _study(content, path, data, out)
    except CallError as error:
        raise CallError(f"{path}: {error}") from error


def _file(path: Path) -> Path:
    """Return the file of a study, one of ours if it is called by its name."""
    if path.is_file():
        return path
    shipped = {p.stem: p for p in sorted((Path(__file__).parent / "studies").glob("*.toml"))}
    if str(path) in shipped:
        return shipped[str(path)]
    raise RecordingNotFoundError(
        f"found no file at {path}, expected a study: a TOML file, or one of {', '.join(shipped)}; "
        "check the path"
    )


def _study(
    content: dict[str, Any], path: Path, data_path: str | Path | None, out: str | Path | None
) -> Study:
    check_keys(content, _SECTIONS[""], "the study")
    data = section(content, "data")
    check_keys(data, _SECTIONS["data"], "[data]")
    evaluation = section(content, "evaluation")
    check_keys(evaluation, _SECTIONS["evaluation"], "[evaluation]")
    protocol = dict(section(content, "protocol"))
    preparation, stores = _data(data, path, data_path, out)
    if not typed(content, "models", list, []):
        raise CallError(
            "found no [[models]], expected at least one beside the majority class; name one, such "
            "as name = 'logistic'"
        )
    if "target" not in content:
        raise CallError("found no [target], expected what is predicted, such as kind = 'binary'")
    return Study(
        name=typed(content, "name", str, "") or path.stem,
        description=typed(content, "description", str, ""),
        seed=count(content, 0, "seed"),
        stores=stores,
        preparation=preparation,
        resample=typed(evaluation, "resample", str, "none"),
        maps=typed(evaluation, "maps", str, ""),
        modalities=typed(evaluation, "modalities", str, ""),
        families=names(data, "families", ["de"]),
        target=Target.from_dict(section(content, "target")),
        protocol=typed(protocol, "name", str, DEFAULT_PROTOCOL),
        protocol_options={k: v for k, v in protocol.items() if k != "name"},
        models=tuple(_model(m, path.parent) for m in typed(content, "models", list, [])),
        n_permutations=count(evaluation, Study.n_permutations),
        reference=typed(evaluation, "reference", str, ""),
        keep_models=flag(evaluation, "keep_models"),
        trust=read_trust(content),
    )


def _data(
    data: Mapping[str, Any], path: Path, data_path: str | Path | None, out: str | Path | None
) -> tuple[Preparation | None, tuple[Path, ...]]:
    """Return how the store is made, if it is, and the stores."""
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
    if kind not in PREPARATIONS:
        raise unknown_name("the preparation", kind, PREPARATIONS)
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


def _model(entry: Any, folder: Path) -> ModelChoice:
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
