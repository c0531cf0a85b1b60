"""Run mypy on the package as it is installed.

The four layers lie beside ``physioemo/`` in the checkout and inside it once installed; mypy
follows the installed layout only.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
LAYERS = ("acquisition", "experiments", "features", "models")


def main() -> int:
    """Copy the packages into the installed layout and run mypy there."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder) / "physioemo"
        shutil.copytree(ROOT / "physioemo", package)
        for layer in LAYERS:
            shutil.copytree(ROOT / layer, package / layer)
        command = [sys.executable, "-m", "mypy", "--config-file", str(ROOT / "pyproject.toml")]
        command += ["--cache-dir", str(ROOT / ".mypy_cache"), "-p", "physioemo"]
        return subprocess.run(command, cwd=folder, env={**os.environ}, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
