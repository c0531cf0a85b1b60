"""Windows of a made film, by trials and by flips, and what is in them."""

from physioemo.features.stimulus_tokens import StimulusLayout
from physioemo.features.stimulus_windows import shown_stimulus_tokens, trial_stimulus_tokens
from physioemo.trials import make_trials
from tests.features.made_stimuli import made_recording, made_stimulus

LAYOUT = StimulusLayout(window_seconds=2.0, n_pictures=8, n_selected=4)

FILM = made_stimulus()

FIELDS = (
    "sound",
    "sound_age_seconds",
    "pictures",
    "picture_seconds",
    "selected",
    "selected_seconds",
    "scalars",
    "seen",
    "heard",
)


def rows_of(tokens, window=0):
    """Return the numbers of the rows of sound of a window, NaN for none."""
    return tokens.sound[window, :, 0].astype(float)


def by_trials(ends, features=FILM, trials=((1, 100.0, 10.0, "film"),), markers=()):
    """Return the tokens of windows where trials say what was shown."""
    table = make_trials(trials)
    stimuli = {"film": features}
    return trial_stimulus_tokens(
        made_recording(markers=markers, trials=table), ends, stimuli, LAYOUT
    )


def by_flips(ends, flips, times, markers, stimuli=(FILM,), **told):
    """Return the tokens of windows where flips and markers say what was shown."""
    recording = made_recording(flips, times, markers, **told)
    return shown_stimulus_tokens(recording, ends, stimuli, LAYOUT)
