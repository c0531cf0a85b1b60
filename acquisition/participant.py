"""A simulated participant: hidden valence, arousal and dominance drive EEG and physiology.

The hidden affect h follows its target with a time constant τ of 1.5 s,
``h(t) = target + (h(t0) - target) exp(-(t - t0) / τ)``, and ``effect · h`` drives the signals:

========== ======================================================================  ================
more       changes                                                                 laws, sources
========== ======================================================================  ================
valence    ln alpha power right - left frontal up; temporal beta up; heart + 1.5   participant_eeg
           beats/min
arousal    alpha down, beta up; heart + 8 beats/min, its variability down;         participant_eeg,
           breath + 0.05 Hz; skin level and responses up; pupils + 0.35 mm         _heart, _body,
                                                                                   _eyes
dominance  frontal-midline theta up, frontal-midline beta a little up              participant_eeg
========== ======================================================================  ================

With ``effect=0`` the signals are those of a person whom nothing moves, while the hidden truth
(and the ratings, see :mod:`physioemo.acquisition.session_plan`) still follow the plan: what a
decoder then finds, it has made up. The seed draws the person: alpha peak, amplitudes, heart
rate, skin level, pupils. Each modality has random numbers of its own, so that another montage
or sampling rate of the EEG leaves the heart as it was.

Sample i of a stream lies at ``i / sfreq`` seconds, whatever the length of the blocks.
"""

from dataclasses import dataclass, field, replace

import numpy as np

from physioemo.acquisition.participant_body import (
    BreathState,
    BreathTraits,
    SkinState,
    SkinTraits,
    draw_breath_traits,
    draw_skin_traits,
    start_breath,
    start_skin,
    step_breath,
    step_skin,
)
from physioemo.acquisition.participant_config import (
    ParticipantConfig,
    check_affect,
    sample_range,
    sampling_rates,
)
from physioemo.acquisition.participant_eeg import (
    EegState,
    EegTraits,
    draw_eeg_traits,
    start_eeg,
    step_eeg,
)
from physioemo.acquisition.participant_eyes import (
    EyeState,
    EyeTraits,
    draw_eye_traits,
    start_eyes,
    step_blinks,
    step_eyes,
)
from physioemo.acquisition.participant_heart import (
    HeartState,
    HeartTraits,
    draw_heart_traits,
    start_heart,
    step_heart,
)
from physioemo.acquisition.participant_noise import FloatArray, child_generator
from physioemo.acquisition.participant_streams import describe_streams

__all__ = [
    "AFFECT_LAG_SECONDS",
    "Affect",
    "Block",
    "ParticipantConfig",
    "ParticipantState",
    "ParticipantTraits",
    "describe_streams",
    "start_participant",
    "step_participant",
]

AFFECT_LAG_SECONDS = 1.5

Affect = tuple[float, float, float]


@dataclass(frozen=True)
class Block:
    """What all devices recorded in one stretch of time.

    Attributes
    ----------
    start_seconds, duration_seconds : float
        The stretch; blocks follow one another without gap or overlap.
    signals : dict of str to array (time, channel)
        float32, per stream, in the units of :func:`describe_streams`.
    first_samples : dict of str to int
        Number of the first sample of each stream: sample i lies at ``i / sfreq`` seconds.
    markers : list of (time_seconds, marker)
        Events of the session, each a small dictionary.
    ratings : list of (time_seconds, trial, valence, arousal, dominance)
        Answers of the participant from 1 to 9.
    r_peaks_seconds : array (beat,)
        The heart beats that were planted in the ECG.
    blinks_seconds : tuple of (start_seconds, duration_seconds)
        The blinks that begin in this stretch.
    """

    start_seconds: float
    duration_seconds: float
    signals: dict[str, np.ndarray]
    first_samples: dict[str, int]
    r_peaks_seconds: FloatArray
    blinks_seconds: tuple[tuple[float, float], ...]
    markers: list[tuple[float, dict[str, object]]] = field(default_factory=list)
    ratings: list[tuple[float, int, float, float, float]] = field(default_factory=list)


@dataclass(frozen=True)
class ParticipantTraits:
    """Who the participant is: drawn once from the seed."""

    eeg: EegTraits
    breath: BreathTraits
    heart: HeartTraits
    skin: SkinTraits
    eyes: EyeTraits


@dataclass(frozen=True)
class ParticipantState:
    """Everything that one block hands on to the next; never changed in place.

    Attributes
    ----------
    config : ParticipantConfig
        What was asked for.
    traits : ParticipantTraits
        Who the participant is.
    block_index : int
        Number of the next block.
    affect : tuple of 3 float
        Hidden valence, arousal, dominance at the beginning of the next block.
    eeg, breath, heart, skin, blinks, eyes
        States of the modalities.
    """

    config: ParticipantConfig
    traits: ParticipantTraits
    block_index: int
    affect: Affect
    eeg: EegState
    breath: BreathState
    heart: HeartState
    skin: SkinState
    blinks: tuple[tuple[float, float], ...]
    eyes: EyeState


def start_participant(config: ParticipantConfig) -> ParticipantState:
    """Draw a participant and let it come to rest.

    Parameters
    ----------
    config : ParticipantConfig
        The participant and the devices.

    Returns
    -------
    ParticipantState
        Before the first block, in neutral affect.

    Raises
    ------
    CallError
        If the montage does not exist.
    """
    seed, session, body_sfreq = config.seed, config.session_seed, config.physiology_sfreq
    traits = ParticipantTraits(
        eeg=draw_eeg_traits(config.montage, config.sfreq, seed),
        breath=draw_breath_traits(body_sfreq, seed),
        heart=draw_heart_traits(body_sfreq, seed),
        skin=draw_skin_traits(body_sfreq, seed),
        eyes=draw_eye_traits(config.gaze_sfreq, seed),
    )
    return ParticipantState(
        config=config,
        traits=traits,
        block_index=0,
        affect=(0.0, 0.0, 0.0),
        eeg=start_eeg(traits.eeg, session),
        breath=start_breath(traits.breath, session),
        heart=start_heart(traits.heart, session),
        skin=start_skin(traits.skin, session),
        blinks=(),
        eyes=start_eyes(traits.eyes, session),
    )


def step_participant(affect: Affect, state: ParticipantState) -> tuple[Block, ParticipantState]:
    """Live through the next block.

    Parameters
    ----------
    affect : tuple of 3 float
        Valence, arousal, dominance in [-1, 1] towards which the participant moves.
    state : ParticipantState
        What the block before left behind.

    Returns
    -------
    block : Block
        The signals of the next ``config.block_seconds``.
    state : ParticipantState
        For the block after it.

    Raises
    ------
    CallError
        If `affect` is not three numbers from -1 to 1.
    """
    target = np.array(check_affect(affect))
    config, index = state.config, state.block_index
    start_seconds = index * config.block_seconds
    stop_seconds = (index + 1) * config.block_seconds
    generator = child_generator(config.session_seed, "blinks", index)
    moved = replace(state, blinks=step_blinks(start_seconds, stop_seconds, generator, state.blinks))
    eeg, moved = _step_head(target, moved)
    physiology, r_peaks_seconds, moved = _step_body(target, moved)
    gaze, moved = _step_gaze(target, moved)
    truth = _hidden_affect(target, state, _block_times(state, config.truth_sfreq))
    signals = {"eeg": eeg, "physiology": physiology, "gaze": gaze, "truth": truth}
    block = Block(
        start_seconds=start_seconds,
        duration_seconds=config.block_seconds,
        signals={name: signal.astype(np.float32) for name, signal in signals.items()},
        first_samples=_first_samples(state),
        r_peaks_seconds=r_peaks_seconds,
        blinks_seconds=tuple(b for b in moved.blinks if start_seconds <= b[0] < stop_seconds),
    )
    hidden = _hidden_affect(target, state, np.array([stop_seconds]))[0]
    after = (float(hidden[0]), float(hidden[1]), float(hidden[2]))
    return block, replace(moved, affect=after, block_index=index + 1)


def _first_samples(state: ParticipantState) -> dict[str, int]:
    """Find the number of the first sample of each stream in the next block."""
    config = state.config
    return {
        name: sample_range(state.block_index, config.block_seconds, sfreq)[0]
        for name, sfreq in sampling_rates(config).items()
    }


def _block_times(state: ParticipantState, sfreq: float) -> FloatArray:
    """List the sample times of the next block in seconds."""
    first, stop = sample_range(state.block_index, state.config.block_seconds, sfreq)
    return np.arange(first, stop) / sfreq


def _hidden_affect(target: FloatArray, state: ParticipantState, times: FloatArray) -> FloatArray:
    """Move the hidden affect (time, 3): a first-order approach to the target."""
    since_seconds = times - state.block_index * state.config.block_seconds
    left = np.exp(-since_seconds / AFFECT_LAG_SECONDS)[:, None]
    return np.asarray(target + (np.array(state.affect) - target) * left)


def _step_head(target: FloatArray, state: ParticipantState) -> tuple[FloatArray, ParticipantState]:
    """Make the block's EEG."""
    config = state.config
    times = _block_times(state, config.sfreq)
    driven = config.effect * _hidden_affect(target, state, times)
    generator = child_generator(config.session_seed, "eeg", state.block_index)
    eeg, after = step_eeg(times, driven, state.blinks, generator, state.traits.eeg, state.eeg)
    return eeg, replace(state, eeg=after)


def _step_body(
    target: FloatArray, state: ParticipantState
) -> tuple[FloatArray, FloatArray, ParticipantState]:
    """Make the block's ECG, skin conductance and respiration; also the planted R-peaks."""
    config, traits = state.config, state.traits
    times = _block_times(state, config.physiology_sfreq)
    driven = config.effect * _hidden_affect(target, state, times)
    draw = {
        name: child_generator(config.session_seed, name, state.block_index)
        for name in ("breath", "heart", "skin")
    }
    respiration, drive, breath = step_breath(driven, draw["breath"], traits.breath, state.breath)
    ecg, r_peaks_seconds, heart = step_heart(
        times, driven, drive, draw["heart"], traits.heart, state.heart
    )
    eda, skin = step_skin(driven, draw["skin"], traits.skin, state.skin)
    physiology = np.column_stack([ecg, eda, respiration])
    return physiology, r_peaks_seconds, replace(state, breath=breath, heart=heart, skin=skin)


def _step_gaze(target: FloatArray, state: ParticipantState) -> tuple[FloatArray, ParticipantState]:
    """Make the block's gaze and pupils."""
    config = state.config
    times = _block_times(state, config.gaze_sfreq)
    driven = config.effect * _hidden_affect(target, state, times)
    generator = child_generator(config.session_seed, "eyes", state.block_index)
    eyes, after = step_eyes(times, driven, state.blinks, generator, state.traits.eyes, state.eyes)
    return eyes, replace(state, eyes=after)
