"""The decoder of a simulated session that was given none: trained on a simulated recording.

It is the participant of the session, in another session; the recording is made at once, without
LSL, and thrown away: seed and effect make it again.
"""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from physioemo.errors import CallError

__all__ = ["simulated_decoder"]

_PERSON = "simulated_participant"
_N_TRIALS, _N_FOLDS, _N_PERMUTATIONS = 32, 4, 3
_OTHER_SESSION = 99


def simulated_decoder(
    folder: str | Path,
    *,
    seed: int,
    effect: float,
    on_progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> Path:
    """Return the folder of a decoder of a simulated participant; train it if it is not there.

    Parameters
    ----------
    folder : str or Path
        Where it lies, or is written.
    seed, effect
        Who the participant is, and how much affect shows.
    on_progress : callable
        Told what is being done, and how many of how many steps are done.

    Raises
    ------
    CallError
        If the decoder there is of somebody else.
    """
    from physioemo.acquisition.simulate import simulated_recording
    from physioemo.experiments.decoder_folder import load_decoder
    from physioemo.experiments.training import StudyConfig, train_decoder

    folder = Path(folder)
    person = {"seed": seed, "effect": effect}
    if folder.exists():
        found = load_decoder(folder).metadata.get(_PERSON)
        if found != person:
            raise CallError(
                f"found a decoder of {found or 'somebody else'} in {folder}, expected one of the "
                f"simulated participant {person}; name it with --decoder, or choose another --out"
            )
        return folder
    with tempfile.TemporaryDirectory() as made:
        recording = simulated_recording(
            Path(made) / "training.zarr",
            n_trials=_N_TRIALS,
            seed=seed,
            effect=effect,
            session=_OTHER_SESSION,
        )
        trained = train_decoder(
            {"simulated": recording},
            StudyConfig(n_folds=_N_FOLDS, n_permutations=_N_PERMUTATIONS),
            on_progress=on_progress,
        )
    metadata = {**trained.decoder.metadata, _PERSON: person}
    return replace(trained, decoder=replace(trained.decoder, metadata=metadata)).save(folder)
