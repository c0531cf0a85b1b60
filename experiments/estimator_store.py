"""A fitted estimator as a folder: arrays in safetensors, the rest in JSON, never a pickle.

What is stored is every attribute that ``fit`` left, bit for bit, so that an estimator that is read
back says the same probabilities of the same windows. Objects in it are of a short list of classes,
by name; nothing else is ever made, whatever a file says. The JSON is written last and carries the
hash of the arrays.
"""

import hashlib
import json
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from physioemo.atomic_file import new_path
from physioemo.errors import CallError, CheckpointError
from physioemo.experiments.estimators import ESTIMATORS, find_estimator
from physioemo.fingerprint import package_versions

__all__ = ["load_estimator", "save_estimator"]

FORMAT = 1
ARRAYS, DESCRIPTION = "estimator.safetensors", "estimator.json"
_NETWORK = "network."

_CLASSES = {
    "Scaler": "physioemo.experiments.estimator_inputs",
    "FlatInput": "physioemo.experiments.estimators_linear",
    "Layout": "physioemo.experiments.estimators_fused_base",
    "FamilyScaler": "physioemo.experiments.fused_modalities",
    "TrainingResult": "physioemo.models.training",
    "LogisticRegression": "sklearn.linear_model",
    "Ridge": "sklearn.linear_model",
    "DummyRegressor": "sklearn.dummy",
    "SVC": "sklearn.svm",
}


def save_estimator(
    folder: str | Path,
    estimator: Any,
    *,
    name: str,
    joint: bool = False,
    metadata: Mapping[str, Any] | None = None,
) -> None:
    """Write a fitted estimator into a folder; one that is there is replaced.

    Parameters
    ----------
    folder : str or Path
        Made if needed.
    estimator : object
        Of the table, fitted.
    name : str
        Its row of :data:`physioemo.experiments.estimators.ESTIMATORS`.
    joint : bool
        Whether it predicts several dimensions at once.
    metadata : mapping, optional
        Anything JSON can hold.

    Raises
    ------
    CallError
        If the estimator is not of that row, or holds what cannot be written.
    DiskFullError, StoreError
        If the folder cannot be written.
    """
    from safetensors.numpy import save

    row = find_estimator(name)
    if type(estimator) is not (row.load_joint_class() if joint else row.load_class()):
        raise CallError(
            f"found a {type(estimator).__name__} to be saved as {name!r}, expected a "
            f"{row.class_name}; give the estimator's own name"
        )
    arrays: dict[str, np.ndarray] = {}
    parameters = estimator.get_params(deep=False)
    state = {k: v for k, v in vars(estimator).items() if k not in parameters}
    network = _network(estimator)
    if network is not None:
        state = {k: v for k, v in state.items() if k not in ("model_", "net_")}
        arrays |= {_NETWORK + k: v.detach().cpu().numpy() for k, v in network.state_dict().items()}
    encoder = _Encoder(arrays)
    described = {
        "format": FORMAT,
        "estimator": name,
        "joint": joint,
        "parameters": encoder.encode(parameters, "parameters"),
        "state": encoder.encode(state, "state"),
        "metadata": dict(metadata or {}),
        "versions": package_versions((*_PACKAGES,)),
    }
    raw = save({k: np.ascontiguousarray(v) for k, v in arrays.items()})
    described["sha256"] = hashlib.sha256(raw).hexdigest()
    text = json.dumps(described, indent=1, allow_nan=False, ensure_ascii=False)
    for file, content in ((ARRAYS, raw), (DESCRIPTION, text.encode())):
        with new_path(Path(folder) / file, overwrite=True) as partial:
            partial.write_bytes(content)


_PACKAGES = ("physioemo", "numpy", "scikit-learn", "torch", "braindecode")


def load_estimator(folder: str | Path) -> tuple[Any, dict[str, Any]]:
    """Read an estimator that :func:`save_estimator` wrote.

    Parameters
    ----------
    folder : str or Path
        Holds ``estimator.json`` and ``estimator.safetensors``.

    Returns
    -------
    estimator : object
        Fitted.
    metadata : dict
        As it was saved.

    Raises
    ------
    CheckpointError
        If anything is missing, damaged, changed, or not of this PhysioEmo.
    """
    from safetensors.numpy import load

    folder = Path(folder)
    described = _described(folder / DESCRIPTION)
    try:
        raw = (folder / ARRAYS).read_bytes()
    except OSError as error:
        raise CheckpointError(
            f"found no readable {folder / ARRAYS} ({error.strerror}), expected the arrays of an "
            "estimator; copy the folder again"
        ) from error
    found = hashlib.sha256(raw).hexdigest()
    if found != described["sha256"]:
        raise CheckpointError(
            f"found {folder / ARRAYS} with SHA-256 {found[:12]}…, expected "
            f"{described['sha256'][:12]}…; it was cut off or changed, copy the folder again"
        )
    try:
        arrays = load(raw)
        row = ESTIMATORS[described["estimator"]]
        made = row.load_joint_class() if described["joint"] else row.load_class()
        decoder = _Decoder(arrays)
        estimator = made(**decoder.decode(described["parameters"]))
        vars(estimator).update(decoder.decode(described["state"]))
        weights = {k.removeprefix(_NETWORK): v for k, v in arrays.items() if k.startswith(_NETWORK)}
        if weights:
            _give_network(estimator, weights)
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError, CallError) as error:
        raise CheckpointError(
            f"found {folder / DESCRIPTION} that describes no estimator of this PhysioEmo "
            f"({type(error).__name__}: {error}), expected one; load it with the version that "
            "saved it"
        ) from error
    return estimator, described["metadata"]


def _described(path: Path) -> dict[str, Any]:
    try:
        described = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"found no readable {path} ({error}), expected the description of an estimator; check "
            "the path"
        ) from error
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        version = described.get("format") if isinstance(described, dict) else None
        raise CheckpointError(
            f"found {path} of the format {version!r}, expected {FORMAT}; load it with the "
            "PhysioEmo that saved it"
        )
    return described


def _network(estimator: Any) -> Any:
    """Return the network of an estimator, None if it has none."""
    if hasattr(estimator, "net_"):
        return estimator.net_.module_
    model = getattr(estimator, "model_", None)
    return model if hasattr(model, "state_dict") else None


def _give_network(estimator: Any, weights: Mapping[str, np.ndarray]) -> None:
    import torch

    tensors = {k: torch.from_numpy(v.copy()) for k, v in weights.items()}
    if hasattr(estimator, "take_weights"):
        estimator.take_weights(tensors)
        return
    build = estimator.build if hasattr(estimator, "build") else estimator._build
    with torch.random.fork_rng(devices=[]):
        model = build()
    model.load_state_dict(tensors)
    estimator.model_ = model.eval()


class _Encoder:
    """From values to JSON; arrays are put aside by name."""

    def __init__(self, arrays: dict[str, np.ndarray]) -> None:
        self.arrays = arrays

    def encode(self, value: Any, where: str) -> Any:
        if value is None or isinstance(value, bool | int | str):
            return value
        if isinstance(value, float):
            return float(value) if np.isfinite(value) else {"float": repr(float(value))}
        if isinstance(value, np.ndarray | np.generic):
            return self._array(np.asarray(value), where)
        if isinstance(value, Path):
            return str(value)
        if isinstance(value, Mapping):
            return {"mapping": {str(k): self.encode(v, f"{where}.{k}") for k, v in value.items()}}
        kind = type(value).__name__
        if kind in _CLASSES:
            fields = value._asdict() if hasattr(value, "_asdict") else vars(value)
            return {"object": kind, "fields": self.encode(dict(fields), where)}
        if isinstance(value, list | tuple):
            each = [self.encode(v, f"{where}.{k}") for k, v in enumerate(value)]
            return {"tuple" if isinstance(value, tuple) else "list": each}
        raise CallError(
            f"found a {kind} at {where}, expected numbers, text, arrays and what is made of them; "
            "an estimator that holds it cannot be kept"
        )

    def _array(self, value: np.ndarray, where: str) -> Any:
        if value.dtype.kind == "U":
            return {"text": value.tolist()}
        if value.dtype.kind not in "fiub":
            raise CallError(
                f"found an array of {value.dtype} at {where}, expected numbers; an estimator that "
                "holds it cannot be kept"
            )
        self.arrays[where] = value
        # Products of matrices round by the order in memory.
        by_column = value.ndim > 1 and value.flags.f_contiguous and not value.flags.c_contiguous
        return {"array": where, "by_column": bool(by_column)}


class _Decoder:
    """From JSON back to values."""

    def __init__(self, arrays: Mapping[str, np.ndarray]) -> None:
        self.arrays = arrays

    def decode(self, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        if "array" in value:
            array = self.arrays[value["array"]].copy()
            return np.asfortranarray(array) if value["by_column"] else array
        if "text" in value:
            return np.array(value["text"])
        if "float" in value:
            return float(value["float"])
        if "mapping" in value:
            return {k: self.decode(v) for k, v in value["mapping"].items()}
        if "object" in value:
            return self._object(value["object"], self.decode(value["fields"]))
        kind = tuple if "tuple" in value else list
        return kind(self.decode(v) for v in value[kind.__name__])

    def _object(self, kind: str, fields: dict[str, Any]) -> Any:
        made = getattr(import_module(_CLASSES[kind]), kind)
        if hasattr(made, "_fields"):
            return made(**fields)
        thing = made.__new__(made)
        vars(thing).update(fields)
        return thing
