"""The simulated participant as LSL streams, marked as simulated wherever it shows."""

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

from physioemo.acquisition.faults import Fault
from physioemo.acquisition.participant import Block as SimulatedBlock
from physioemo.acquisition.participant import ParticipantConfig, describe_streams
from physioemo.acquisition.participant_config import sampling_rates
from physioemo.acquisition.publish import Block
from physioemo.acquisition.publish_faults import publish_with_faults
from physioemo.acquisition.simulated_session import simulate_session
from physioemo.description import StreamDescription
from physioemo.recording import Recording

__all__ = ["publish_participant", "simulated_blocks", "simulated_recording", "simulated_streams"]

_TRIAL_SECONDS, _REST_SECONDS = 8.0, 2.0


def publish_participant(
    config: ParticipantConfig,
    *,
    duration_seconds: float | None = None,
    trial_seconds: float = 8.0,
    rest_seconds: float = 2.0,
    speed: float = 1.0,
    wait_seconds: float = 0.0,
    faults: Sequence[Fault] = (),
    fault_seed: int = 0,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[float], None] = lambda seconds: None,
) -> int:
    """Publish a simulated participant; return the number of samples pushed.

    Parameters
    ----------
    config : ParticipantConfig
        The participant and its devices.
    duration_seconds : float, optional
        Length of the session; without end by default.
    trial_seconds, rest_seconds : float
        Length of a clip and of the neutral time before it.
    faults : sequence of Fault
        What to plant; see :mod:`physioemo.acquisition.faults`.
    fault_seed : int
        Same seed, same faults.
    speed, wait_seconds, should_stop, on_progress
        See :func:`physioemo.acquisition.publish.publish`.
    """
    blocks = simulate_session(
        config,
        duration_seconds=duration_seconds,
        trial_seconds=trial_seconds,
        rest_seconds=rest_seconds,
    )
    return publish_with_faults(
        simulated_blocks(blocks, config),
        describe_streams(config),
        faults,
        seed=fault_seed,
        speed=speed,
        simulated=True,
        wait_seconds=wait_seconds,
        should_stop=should_stop,
        on_progress=on_progress,
    )


def simulated_blocks(
    blocks: Iterator[SimulatedBlock], config: ParticipantConfig
) -> Iterator[Block]:
    """Give each sample of simulated blocks its time; sample i lies at ``i / sfreq``."""
    sfreqs = sampling_rates(config)
    for block in blocks:
        parts = {}
        for key, signal in block.signals.items():
            index = block.first_samples[key] + np.arange(len(signal))
            parts[key] = (signal, index / sfreqs[key])
        texts = [[json.dumps(marker)] for _, marker in block.markers]
        times = np.array([time for time, _ in block.markers])
        parts["markers"] = (np.array(texts, object).reshape(-1, 1), times)
        ratings = np.array(block.ratings, float).reshape(-1, 5)
        parts["ratings"] = (ratings[:, 1:].astype(np.float32), ratings[:, 0])
        stop = block.start_seconds + block.duration_seconds
        yield Block(block.start_seconds, stop, parts)


def simulated_streams(
    config: ParticipantConfig, *, duration_seconds: float, **session: float
) -> dict[str, tuple[StreamDescription, np.ndarray, np.ndarray]]:
    """Return a whole session in memory: description, samples (time, channel) and times."""
    described = describe_streams(config)
    blocks = list(
        simulated_blocks(
            simulate_session(config, duration_seconds=duration_seconds, **session), config
        )
    )
    return {
        key: (
            description,
            np.concatenate([b.parts[key][0] for b in blocks]),
            np.concatenate([b.parts[key][1] for b in blocks]),
        )
        for key, description in described.items()
    }


def simulated_recording(
    path: str | Path, *, n_trials: int, seed: int = 0, effect: float = 1.0, session: int = 1
) -> Recording:
    """Write a recording of the simulated participant at once, without LSL; it says so.

    Parameters
    ----------
    path : str or Path
        The store to create.
    n_trials : int
        Trials of 8 s with 2 s of rest before and after.
    seed, effect, session
        See :class:`physioemo.acquisition.participant_config.ParticipantConfig`.
    """
    from physioemo.store import create_recording
    from physioemo.stream import make_stream

    config = ParticipantConfig(seed, effect=effect, session=session)
    seconds = (_TRIAL_SECONDS + _REST_SECONDS) * n_trials + _REST_SECONDS
    made = simulated_streams(config, duration_seconds=seconds)
    streams = {d.name: make_stream(x, d, time=t) for d, x, t in made.values()}
    return create_recording(path, streams, attrs={"simulated": True})
