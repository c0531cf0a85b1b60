"""Policies that begin, and what they are asked."""

from physioemo.experiments.session.policies import (
    Candidate,
    DecisionInputs,
    LatestPrediction,
    PredictionSummary,
    start_policy,
)

POOL = [
    Candidate("thrill", 0.5, 0.8),
    Candidate("alarm", -0.5, 0.6),
    Candidate("calm", 0.5, -0.6),
    Candidate("gloom", -0.5, -0.4),
]


YOKED = [
    {"trial": 1, "trial_seconds": 0.0, "action": "play", "stimulus": "gloom", "value": None},
    {"trial": 1, "trial_seconds": 1.0, "action": "feedback", "stimulus": "", "value": 0.25},
    {"trial": 1, "trial_seconds": 3.0, "action": "feedback", "stimulus": "", "value": 0.75},
]


NEEDED = {
    "steer": {"target_arousal": 0.8},
    "hold-in-zone": {"dimension": "arousal", "low": 0.4, "high": 0.6},
}


DISTRESSED = {"valence": 0.1, "arousal": 0.9}


def start(name, distress=None, **parameters):
    yoked = YOKED if name == "sham" else ()
    parameters = {**NEEDED.get(name, {}), **parameters}
    return start_policy(
        name, parameters, seed=5, stimuli=POOL, distress=distress, yoked=yoked, max_age_seconds=2
    )


def summary(n_used=10, n_abstained=0, n_stale=0, **probability):
    return PredictionSummary(probability, probability, n_used, n_abstained, n_stale)


def latest(seconds, confidence=0.9, abstain=False, **probability):
    sure = dict.fromkeys(probability, confidence)
    return LatestPrediction(seconds, probability, sure, abstain)


def choose(trial, last="", **fields):
    shown = {"last_trial": trial - 1, "last_stimulus": last} if last else {}
    return DecisionInputs(trial, 10.0 * trial, **{**shown, **fields})


def during(seconds, newest, trial=1, **fields):
    fields = {"stimulus": "calm", "trial_seconds": seconds, **fields}
    return DecisionInputs(trial, seconds, "during", latest=newest, **fields)
