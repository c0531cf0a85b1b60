"""Recordings of the simulated participant, made without LSL."""

from physioemo.acquisition.participant import ParticipantConfig
from physioemo.acquisition.simulate import simulated_streams
from physioemo.store import create_recording
from physioemo.stream import make_stream


def simulated_recording(path, *, n_trials, seed=0, effect=1.0, session=1):
    """Return a recording of one session with 8 s trials and 2 s rests."""
    config = ParticipantConfig(seed, effect=effect, session=session)
    made = simulated_streams(config, duration_seconds=10.0 * n_trials + 2.0)
    streams = {d.name: make_stream(x, d, time=t) for d, x, t in made.values()}
    return create_recording(path, streams, attrs={"simulated": True})
