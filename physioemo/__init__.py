"""PhysioEmo: streams become a recording, windows, tokens and an affect prediction.

The same code does it live in the lab and offline. Nothing heavy is imported here:
``physioemo --help`` must not wait for torch, mne or xarray.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from physioemo.recording import Recording as Recording
    from physioemo.store import create_recording as create_recording
    from physioemo.store import open_recording as open_recording

__version__ = "0.1.0"
__all__ = ["Recording", "__version__", "create_recording", "open_recording"]

# In a bare checkout the four layers lie beside this folder; once installed, inside it.
if not (Path(__file__).parent / "features").is_dir():
    __path__.append(str(Path(__file__).parent.parent))

_HOMES = {
    "Recording": "physioemo.recording",
    "create_recording": "physioemo.store",
    "open_recording": "physioemo.store",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'physioemo' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
