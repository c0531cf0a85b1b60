"""The house: imports run only downward, and every folder with code is installed."""

import ast
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAYERS = ("acquisition", "features", "models", "experiments")
ALLOWED = {
    "physioemo": set(),
    "acquisition": set(),
    "features": set(),
    "models": set(),
    "experiments": {"acquisition", "features", "models"},
}
FILES = [p for layer in ALLOWED for p in sorted((ROOT / layer).rglob("*.py"))]


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in {path}"
            yield node.module or ""


@pytest.mark.parametrize("path", FILES, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_run_only_downward(path):
    layer = path.relative_to(ROOT).parts[0]
    for module in imported_modules(path):
        first, _, rest = module.partition(".")
        assert first not in LAYERS, f"{module} must be imported as physioemo.{module}"
        target = rest.partition(".")[0]
        if first == "physioemo" and target in LAYERS and target != layer:
            assert target in ALLOWED[layer], f"{layer} may not import {module}"


def test_every_package_is_installed():
    config = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    listed = set(config["packages"])
    for layer in ALLOWED:
        for init in (ROOT / layer).rglob("__init__.py"):
            parts = init.parent.relative_to(ROOT).parts
            name = ".".join(parts if parts[0] == "physioemo" else ("physioemo", *parts))
            assert name in listed
            assert config["package-dir"][name] == "/".join(parts)


def test_the_layers_are_not_at_the_top_of_site_packages():
    import importlib.util

    spec = importlib.util.find_spec("physioemo.features")
    assert spec is not None and spec.name == "physioemo.features"
