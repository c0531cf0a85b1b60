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
from physioemo.experiments.study_parts import ModelChoice, Preparation, read_data, read_model
from physioemo.experiments.study_trust import check_trust, read_trust
from physioemo.experiments.targets import Target
from physioemo.fingerprint import config_fingerprint
from physioemo.hints import unknown_name

__all__ = ["RESAMPLERS", "ModelChoice", "Preparation", "Study", "read_study"]

RESAMPLERS = ("none", "smote")

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
            self._check_model(model)
        if self.modalities and self.modalities not in labels:
            raise unknown_name("the model for modalities", self.modalities, labels)
        check_trust(self)

    def _check_model(self, model: ModelChoice) -> None:
        """Refuse a model that the target or another part of the study does not go with."""
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
        content = tomllib.loads(path.read_text(encoding="utf-8-sig"))
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
    preparation, stores = read_data(data, path, data_path, out)
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
        models=tuple(read_model(m, path.parent) for m in typed(content, "models", list, [])),
        n_permutations=count(evaluation, Study.n_permutations),
        reference=typed(evaluation, "reference", str, ""),
        keep_models=flag(evaluation, "keep_models"),
        trust=read_trust(content),
    )
