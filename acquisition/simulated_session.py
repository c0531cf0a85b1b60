"""A simulated session: the participant lives through the plan and answers after each clip."""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from physioemo.acquisition.participant import (
    Affect,
    Block,
    ParticipantConfig,
    ParticipantState,
    start_participant,
    step_participant,
)
from physioemo.acquisition.participant_config import check_seconds, sampling_rates
from physioemo.acquisition.session_plan import (
    PlannedTrial,
    iterate_trials,
    rate_trial,
    trial_fits,
)

__all__ = ["simulate_session"]

REST: Affect = (0.0, 0.0, 0.0)
# Two times that differ by less are the same: 3 × 0.1 s is not 0.3 s in floating point.
INSTANT_SECONDS = 1e-9


def simulate_session(
    config: ParticipantConfig,
    *,
    duration_seconds: float | None,
    trial_seconds: float = 8.0,
    rest_seconds: float = 2.0,
) -> Iterator[Block]:
    """Live through a session block by block, in bounded memory.

    The target affect of a block is that of the trial that plays at its beginning; a trial that
    begins within a block therefore takes hold with the next one.

    Parameters
    ----------
    config : ParticipantConfig
        The participant.
    duration_seconds : float or None
        Length of the session; None for one without end. The last block is cut to it.
    trial_seconds, rest_seconds : float
        Length of a clip and of the neutral time between two clips.

    Yields
    ------
    Block
        Signals with the markers ``session_start``, ``trial_start``, ``trial_stop`` and
        ``session_stop``, and the ratings.

    Raises
    ------
    CallError
        If a length or the montage is not possible.
    """
    if duration_seconds is not None:
        check_seconds("duration_seconds", duration_seconds)
    trials = iterate_trials(
        seed=config.session_seed, trial_seconds=trial_seconds, rest_seconds=rest_seconds
    )
    end_seconds = math.inf if duration_seconds is None else float(duration_seconds)
    fitting = itertools.takewhile(lambda trial: trial_fits(trial, end_seconds), trials)
    happenings = _happenings(fitting, end_seconds)
    return _live(start_participant(config), happenings, end_seconds)


@dataclass(frozen=True)
class _Happening:
    """What happens at one moment: a marker, a turn to another affect, a rating of a trial."""

    time_seconds: float
    marker: dict[str, object] | None = None
    target: Affect | None = None
    rated: PlannedTrial | None = None


def _happenings(trials: Iterator[PlannedTrial], end_seconds: float) -> Iterator[_Happening]:
    """Everything that happens in a session, in order of time."""
    yield _Happening(0.0, {"event": "session_start"})
    for trial in trials:
        start = {"event": "trial_start", "trial": trial.trial, "stimulus": trial.stimulus}
        stop = {"event": "trial_stop", "trial": trial.trial}
        yield _Happening(trial.onset_seconds, start, trial.target)
        yield _Happening(trial.stop_seconds, stop, REST)
        yield _Happening(trial.rating_seconds, rated=trial)
    yield _Happening(end_seconds, {"event": "session_stop"})


def _live(
    state: ParticipantState, happenings: Iterator[_Happening], end_seconds: float
) -> Iterator[Block]:
    """Alternate between what happens and what the participant makes of it."""
    coming, target, stop_seconds = next(happenings, None), REST, 0.0
    while stop_seconds < end_seconds - INSTANT_SECONDS:
        start_seconds, stop_seconds = stop_seconds, _block_stop(state, end_seconds)
        # The last block also holds what happens at the very end.
        until = stop_seconds + INSTANT_SECONDS * (1 if stop_seconds == end_seconds else -1)
        now: list[_Happening] = []
        while coming is not None and coming.time_seconds < until:
            now.append(coming)
            coming = next(happenings, None)
        begun = [h for h in now if h.time_seconds <= start_seconds + INSTANT_SECONDS]
        target = _newest_target(begun, target)
        block, state = step_participant(target, state)
        target = _newest_target(now, target)
        yield _with_happenings(_cut_block(block, stop_seconds, state.config), now, state.config)


def _block_stop(state: ParticipantState, end_seconds: float) -> float:
    """End of the next block, or of the session within it."""
    stop_seconds = (state.block_index + 1) * state.config.block_seconds
    return end_seconds if stop_seconds > end_seconds - INSTANT_SECONDS else stop_seconds


def _newest_target(happenings: list[_Happening], target: Affect) -> Affect:
    """Affect to move towards after some happenings."""
    return next((h.target for h in reversed(happenings) if h.target is not None), target)


def _cut_block(block: Block, stop_seconds: float, config: ParticipantConfig) -> Block:
    """Drop what lies after the end of the session."""
    if stop_seconds >= block.start_seconds + block.duration_seconds:
        return block
    sfreqs = sampling_rates(config)
    signals = {
        name: signal[: math.ceil(stop_seconds * sfreqs[name]) - block.first_samples[name]]
        for name, signal in block.signals.items()
    }
    return replace(
        block,
        duration_seconds=stop_seconds - block.start_seconds,
        signals=signals,
        r_peaks_seconds=block.r_peaks_seconds[block.r_peaks_seconds < stop_seconds],
        blinks_seconds=tuple(b for b in block.blinks_seconds if b[0] < stop_seconds),
    )


def _with_happenings(
    block: Block, happenings: list[_Happening], config: ParticipantConfig
) -> Block:
    """Add markers and ratings to a block."""
    markers = [(h.time_seconds, h.marker) for h in happenings if h.marker is not None]
    ratings = [rate_trial(h.rated, config.session_seed) for h in happenings if h.rated is not None]
    return replace(block, markers=markers, ratings=ratings)
