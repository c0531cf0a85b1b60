"""Simulated sessions: steering steers where stimuli do something, and nothing does where not."""

import json
import math

import numpy as np
import pytest
from scipy.special import erfinv

from physioemo.errors import CallError
from physioemo.experiments.session.policies import (
    Candidate,
    DecisionInputs,
    PolicyState,
    decide,
    start_policy,
)
from physioemo.experiments.session.protocol import read_protocol
from physioemo.experiments.session.simulated_comparison import (
    compare_policies,
    permutation_of_sessions,
)
from physioemo.experiments.session.simulated_participant import (
    NoisyDecoder,
    SimulatedParticipant,
    Traits,
    draw_traits,
)
from physioemo.experiments.session.simulation import simulate_session
from physioemo.experiments.session.yoke import replayed

POOL = (Candidate("up", 0.5, 0.8), Candidate("down", -0.5, -0.6))
OWN = {c.id: {"valence": 0.0, "arousal": 0.1} for c in POOL}


def participant(effect=1.0, noise=0.0, inertia=4.0, seed=0):
    traits = Traits(0.5, OWN, inertia, noise)
    return SimulatedParticipant(traits, POOL, effect=effect, rng=np.random.default_rng(seed))


def session(policy="steer", seed=0, distress=None, yoked=()):
    protocol = read_protocol("steer-arousal")
    stimuli = protocol.start_policy("01", "1").stimuli
    parameters = {"target_arousal": 0.6} if policy == "steer" else {}
    more = {"seed": seed, "stimuli": stimuli, "distress": distress, "yoked": yoked}
    state = start_policy(policy, parameters, **more)
    rng = np.random.default_rng(seed)
    person = SimulatedParticipant(draw_traits(stimuli, rng), stimuli, effect=1.0, rng=rng)
    return simulate_session(protocol.plan("01", "1"), state, person, NoisyDecoder(0.75, rng))


def test_the_hidden_state_follows_a_stimulus_with_inertia():
    person = participant()
    for second in range(1, 9):
        state = person.live(1.0, "up")
        rest = 1 - math.exp(-second / 4.0)
        assert state["arousal"] == pytest.approx((0.5 * 0.8 + 0.1) * rest)
        assert state["valence"] == pytest.approx(0.25 * rest)
    assert person.live(4.0)["arousal"] == pytest.approx(0.5 * (1 - math.exp(-2)) * math.exp(-1))
    assert participant(effect=0.0).live(9.0, "up") == {"valence": 0.0, "arousal": 0.0}


def test_its_noise_is_as_large_and_as_slow_as_stated():
    person = participant(effect=0.0, noise=0.3, inertia=3.0)
    x = np.array([person.live(1.0)["arousal"] for _ in range(40_000)])
    assert x.std() == pytest.approx(0.3, rel=0.05)
    assert np.corrcoef(x[1:], x[:-1])[0, 1] == pytest.approx(math.exp(-1 / 3), abs=0.02)


@pytest.mark.parametrize("accuracy", [0.5, 0.6, 0.75, 0.9, 1.0])
def test_the_decoder_is_as_accurate_as_stated_and_calibrated(accuracy):
    rng = np.random.default_rng(3)
    decoder = NoisyDecoder(accuracy, rng, abstains=0.1)
    x = rng.normal(0.0, 0.5, 20_000)
    p, abstained = np.empty(len(x)), 0
    for i, value in enumerate(x):
        decoder.begin_trial()
        made = decoder.predict({"valence": 0.0, "arousal": value}, float(i))
        p[i] = made.probability["arousal"]
        abstained += made.abstain
    if accuracy > 0.5:
        assert ((p > 0.5) == (x > 0)).mean() == pytest.approx(accuracy, abs=0.012)
    else:
        assert p == pytest.approx(0.5)
    for low in (0.05, 0.3, 0.6, 0.8):
        chosen = (p >= low) & (p < low + 0.15)
        if chosen.sum() > 1000:
            assert (x[chosen] > 0).mean() == pytest.approx(p[chosen].mean(), abs=0.04)
    assert abstained / len(x) == pytest.approx(0.1, abs=0.01)


def test_predictions_of_one_trial_share_a_part_of_their_noise():
    decoder = NoisyDecoder(0.75, np.random.default_rng(1), common=0.5)
    pairs = []
    for _ in range(5000):
        decoder.begin_trial()
        made = [decoder.predict({"valence": 0.0, "arousal": 0.0}, 0.0) for _ in range(2)]
        pairs.append([m.probability["arousal"] for m in made])
    normal = erfinv(2 * np.array(pairs) - 1)
    assert np.corrcoef(normal.T)[0, 1] == pytest.approx(0.5, abs=0.05)


def test_the_same_seed_is_the_same_session_and_every_decision_recomputes():
    rule = {"action": "skip", "n_consecutive": 2, "valence_below": 0.4, "arousal_above": 0.6}
    found = session(seed=4, distress={**rule, "min_confidence": 0.5, "stop_after_skips": 20})
    again = session(seed=4, distress={**rule, "min_confidence": 0.5, "stop_after_skips": 20})
    assert [d for _, d in found.decisions] == [d for _, d in again.decisions]
    assert found.simulated
    assert {d.action for _, d in found.decisions} >= {"play", "skip"}
    state = PolicyState.from_dict(json.loads(json.dumps(found.start.to_dict())))
    for inputs, decision in found.decisions:
        told = DecisionInputs.from_dict(json.loads(json.dumps(inputs.to_dict())))
        recomputed, state = decide(state, told)
        assert recomputed == decision


def test_the_virtual_clock_runs_as_the_plan_says():
    found = session(seed=1)
    planned = sum(s.duration_seconds for s in read_protocol("steer-arousal").plan("01", "1"))
    assert found.seconds == pytest.approx(planned)
    assert len(found.trials) == 36
    assert sum(t.chosen for t in found.trials) == 24


def test_distress_ends_a_session():
    rule = {"n_consecutive": 2, "valence_below": 0.5, "arousal_above": 0.5, "min_confidence": 0.5}
    found = session(seed=2, distress=rule)
    assert found.stopped
    assert found.decisions[-1][1].action == "stop"
    assert len(found.trials) < 36


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_steering_brings_arousal_into_the_zone_more_than_random_and_sham(seed):
    found = compare_policies(effect=1.0, accuracy=0.75, n_sessions=100, seed=seed)
    rows = {row["policy"]: row for row in found.rows}
    assert found.simulated
    assert rows["random"]["p"] < 0.01 > rows["sham"]["p"]
    assert rows["random"]["steer_minus_it"] > 0.1
    assert rows["steer"]["in_zone"] > rows["sham"]["in_zone"] > rows["random"]["in_zone"]
    assert "simulated participants and decoder (effect 1.0" in str(found)


def test_where_stimuli_do_nothing_no_policy_differs_and_false_alarms_are_as_rare_as_stated():
    small = {"effect": 0.0, "n_sessions": 10, "n_trials": 6, "n_permutations": 999}
    made = [compare_policies(seed=1000 + seed, **small) for seed in range(50)]
    for control in ("random", "sham"):
        p = np.array([found.p[control] for found in made])
        assert p.min() > 0.001
        assert (p <= 0.05).sum() <= 9  # 1 in 1000 for 50 true null hypotheses
        assert 0.3 < p.mean() < 0.7  # five standard errors


def test_a_decoder_at_chance_steers_no_better_than_a_sham():
    found = compare_policies(effect=1.0, accuracy=0.5, n_sessions=40, seed=5)
    assert found.p["sham"] > 0.001


def test_a_sham_has_the_same_stimuli_as_the_session_that_it_replays():
    donor = session("steer", seed=0)
    sham = session("sham", seed=1, yoked=replayed(donor.decisions))

    def chosen(made):
        return [t.stimulus for t in made.trials if t.chosen]

    assert chosen(sham) == chosen(donor)
    assert len(chosen(sham)) == 24


def test_permutations_of_sessions_give_exact_p_values():
    rng = np.random.default_rng(0)
    assert permutation_of_sessions([1, 1, 1, 1], [0, 0, 0, 0], 9999, rng) == pytest.approx(
        1 / 70, rel=0.25
    )
    assert permutation_of_sessions([0.5] * 4, [0.5] * 4, 99, rng) == 1.0


def test_comparisons_that_are_none_are_refused():
    with pytest.raises(CallError, match="found 1 sessions, effect 1 and accuracy 0.75"):
        compare_policies(n_sessions=1)
    with pytest.raises(CallError, match="accuracy 0.4, expected 2 or more, 0 to 1 and 0.5 to 1"):
        compare_policies(accuracy=0.4)
