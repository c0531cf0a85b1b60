"""Fingerprints: which configuration, versions and data made a result."""

import hashlib
import json
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np

__all__ = ["array_fingerprint", "canonical_json", "config_fingerprint", "package_versions"]

_PACKAGES = (
    "physioemo",
    "numpy",
    "scipy",
    "scikit-learn",
    "torch",
    "braindecode",
    "mne",
    "neurokit2",
    "pylsl",
    "xarray",
    "zarr",
)


def canonical_json(config: Any) -> str:
    """Return JSON with sorted keys and no spaces: equal configurations, equal text."""
    return json.dumps(config, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def config_fingerprint(config: Any) -> str:
    """Return the SHA-256 (first 16 hexadecimal digits) of a JSON-able configuration."""
    return hashlib.sha256(canonical_json(config).encode()).hexdigest()[:16]


def array_fingerprint(arrays: Iterable[np.ndarray]) -> str:
    """Return one SHA-256 (first 16 digits) over the shapes, types and bytes of arrays."""
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(f"{array.shape}{array.dtype.str}".encode())
        if array.dtype.kind in "OUST":
            digest.update(json.dumps(array.astype(object).tolist()).encode())
        else:
            digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]


def package_versions(packages: Iterable[str] = _PACKAGES) -> dict[str, str]:
    """Return the installed version of each package, without importing any of them."""
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found
