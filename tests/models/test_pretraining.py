"""Pre-training: what is hidden, what may be a negative, and what is learned without labels."""

import numpy as np
import pytest
import torch
from scipy.stats import binom

from physioemo.errors import CallError, SignalError
from physioemo.models.audio_patches import AudioPatches
from physioemo.models.contrast import allowed_negatives, info_nce, retrieval
from physioemo.models.electrode_tokens import ElectrodeTokens
from physioemo.models.fused import ENCODERS, FusedModel
from physioemo.models.masking import hide, hide_share, patch_values
from physioemo.models.modality_inputs import to_tensors
from physioemo.models.pretraining import (
    PretrainingConfig,
    PretrainingModel,
    embeddings,
    run_epoch,
)
from physioemo.models.video_tubelets import VideoTubelets
from tests.models.fused_data import new_seed

N_STIMULI, N_HELD, N_EACH, N_LATENT = 40, 10, 20, 4
CPU = torch.device("cpu")


def two_encoders():
    encoders = {
        "eeg": {"encoder": "electrodes", "n_chans": 8, "n_bands": 4},
        "sound": {"encoder": "audio-patches", "n_mels": 32},
    }
    return FusedModel(encoders=encoders, dimensions=["valence"])


def shared_latent(rng, *, independent=False):
    """Return windows of 40 stimuli: entropies and filter banks of one latent, or of two."""
    stimulus = np.repeat(np.arange(N_STIMULI), N_EACH)
    own = 0.7 * rng.normal(size=(N_STIMULI, N_LATENT))
    latent = own[stimulus] + 0.7 * rng.normal(size=(len(stimulus), N_LATENT))
    heard = rng.permutation(latent) if independent else latent
    eeg = (latent @ rng.normal(size=(N_LATENT, 32))).reshape(-1, 8, 4)
    sound = (heard @ rng.normal(size=(N_LATENT, 1024))).reshape(-1, 32, 32)
    noisy = {k: v + 1.2 * rng.normal(size=v.shape) for k, v in (("eeg", eeg), ("sound", sound))}
    return noisy, latent, stimulus


def split(inputs, rows):
    return to_tensors({k: v[rows] for k, v in inputs.items()}, CPU)


def pretrain(inputs, stimulus, seed, n_epochs=8):
    """Return a pre-trained model and its history; the last ten stimuli are held out."""
    torch.manual_seed(seed)
    model = PretrainingModel(two_encoders(), contrast_dim=32)
    config = PretrainingConfig(
        n_epochs=n_epochs, batch_size=128, learning_rate=3e-3, contrast_dim=32, seed=seed
    )
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=config.weight_decay)
    rows = stimulus < N_STIMULI - N_HELD
    given, numbers = split(inputs, rows), torch.from_numpy(stimulus[rows])
    # Three trials of each stimulus: other people who saw it.
    trials = 3 * numbers + torch.arange(len(numbers)) % 3
    history = [
        run_epoch(model, optimiser, given, trials, numbers, config, e) for e in range(n_epochs)
    ]
    return model, history


def hits_on_held_out(model, inputs, stimulus):
    found = embeddings(model, split(inputs, stimulus >= N_STIMULI - N_HELD))
    return retrieval(found["eeg"], found["sound"]).float().mean(dim=1)


def probe(encoder, inputs, latent, stimulus, rng):
    """Return the accuracy on held-out stimuli of linear probes that saw 5 % of the labels each."""
    from sklearn.linear_model import LogisticRegression

    with torch.no_grad():
        features = encoder.eval()(torch.tensor(inputs["eeg"], dtype=torch.float32)).values.mean(1)
    x, y = features.numpy(), (latent.sum(axis=1) > 0).astype(int)
    rows = np.flatnonzero(stimulus < N_STIMULI - N_HELD)
    x = (x - x[rows].mean(0)) / (x[rows].std(0) + 1e-6)
    held = stimulus >= N_STIMULI - N_HELD
    scores = []
    for _ in range(20):
        few = rng.choice(rows, len(rows) // 20, replace=False)
        fitted = LogisticRegression(C=0.1, max_iter=500).fit(x[few], y[few])
        scores.append(fitted.score(x[held], y[held]))
    return np.mean(scores)


@pytest.mark.slow
def test_what_is_learned_holds_for_stimuli_that_were_never_seen():
    first = new_seed()
    gains, times_chance = [], []
    for seed in range(first, first + 5):
        rng = np.random.default_rng(seed)
        inputs, latent, stimulus = shared_latent(rng)
        model, history = pretrain(inputs, stimulus, seed)
        hits = hits_on_held_out(model, inputs, stimulus)
        times_chance.append(float(hits.min()) * N_HELD * N_EACH)
        torch.manual_seed(seed)
        fresh = two_encoders().encoders["eeg"]
        own = np.random.default_rng(seed)
        before = probe(fresh, inputs, latent, stimulus, own)
        own = np.random.default_rng(seed)
        after = probe(model.encoders["eeg"], inputs, latent, stimulus, own)
        gains.append(after - before)
        assert history[-1]["guess_loss"] < history[0]["guess_loss"]
    print("times chance", np.round(times_chance, 1), "gain of the probe", np.round(gains, 3))
    assert min(times_chance) > 10
    assert np.mean(gains) > 0 and np.sum(np.array(gains) > 0) >= 3


def test_streams_that_have_nothing_in_common_are_found_by_chance():
    seed = new_seed()
    inputs, _, stimulus = shared_latent(np.random.default_rng(seed), independent=True)
    model, _ = pretrain(inputs, stimulus, seed, n_epochs=5)
    n = N_HELD * N_EACH
    hits = hits_on_held_out(model, inputs, stimulus) * n
    assert hits.max() <= binom.ppf(1 - 1e-6, n, 1 / n)


def test_windows_of_a_trial_or_a_stimulus_are_never_negatives():
    trial = torch.tensor([0, 0, 1, 2, 3, 4])
    stimulus = torch.tensor([7, 7, 7, 8, -1, -1])
    allowed = allowed_negatives(trial, stimulus)
    wanted = [
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
        [0, 0, 0, 1, 1, 1],
        [1, 1, 1, 0, 1, 1],
        [1, 1, 1, 1, 0, 1],
        [1, 1, 1, 1, 1, 0],
    ]
    assert torch.equal(allowed, torch.tensor(wanted, dtype=torch.bool))
    with pytest.raises(SignalError, match="expected one number of each per window"):
        allowed_negatives(trial, stimulus[:2])


def test_the_loss_is_the_one_by_hand_over_allowed_negatives():
    torch.manual_seed(0)
    first, second = torch.randn(4, 3), torch.randn(4, 3)
    allowed = allowed_negatives(torch.tensor([0, 0, 1, 2]), torch.tensor([5, 5, 5, 6]))
    present = torch.ones(4, dtype=torch.bool)
    unit = [x / x.norm(dim=1, keepdim=True) for x in (first, second)]
    cosines = (unit[0] @ unit[1].T / 0.5).double().numpy()
    by_hand = 0.0
    for i, others in enumerate([[3], [3], [3], [0, 1, 2]]):
        for scores in (cosines, cosines.T):
            among = scores[i, [i, *others]]
            by_hand += 0.5 * (np.log(np.exp(among).sum()) - scores[i, i])
    loss = info_nce(first, second, allowed, present, temperature=0.5)
    assert float(loss) == pytest.approx(by_hand / 4, rel=1e-5)
    nobody = torch.zeros(4, 4, dtype=torch.bool)
    assert float(info_nce(first, second, nobody, present)) == 0
    present[3] = False  # then nobody has a negative
    assert float(info_nce(first, second, allowed, present)) == 0


def test_retrieval_counts_the_nearest_and_a_tie_is_a_miss():
    first = torch.eye(3)
    assert retrieval(first, first).all()
    assert not retrieval(first, first[[1, 2, 0]]).any()
    assert not retrieval(torch.ones(3, 2), torch.ones(3, 2)).any()


def test_half_of_the_electrodes_that_are_there_are_hidden():
    there = torch.ones(500, 9, dtype=torch.bool)
    there[:100, :5] = False
    there[100:200, :8] = False
    hidden = hide_share(there, 0.5, torch.Generator().manual_seed(0))
    assert not (hidden & ~there).any()
    assert hidden.sum(1).tolist() == [2] * 100 + [0] * 100 + [4] * 300
    assert (hidden[200:].float().mean(0) - 4 / 9).abs().max() < 0.15


CASES = {
    "electrodes": (ElectrodeTokens(n_chans=8, n_bands=4), lambda: {"values": torch.randn(5, 8, 4)}),
    "sound": (AudioPatches(n_mels=32), lambda: {"values": torch.randn(5, 87, 32)}),
    "video": (
        VideoTubelets(size=64),
        lambda: {
            "values": torch.randn(5, 4, 64, 64, 3),
            "time_seconds": torch.arange(4.0).expand(5, 4),
        },
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_what_is_hidden_is_masked_by_the_encoder_and_changes_nothing_else(name):
    encoder, draw = CASES[name]
    inputs = draw()
    inputs["values"][0, -1] = torch.nan  # something is missing anyway
    share = {"electrodes": 0.5, "sound": 0.8, "video": 0.9}[name]
    guess = hide(encoder, inputs, share, torch.Generator().manual_seed(1))
    there = encoder(**inputs).mask
    with torch.no_grad():
        seen = encoder(**guess.inputs)
    assert torch.equal(seen.mask, there & ~guess.hidden)
    assert guess.hidden[1:].float().mean() == pytest.approx(share, abs=0.06)
    kept = torch.isfinite(guess.inputs["values"])
    assert torch.equal(guess.inputs["values"][kept], inputs["values"][kept])
    # What the encoder says at a hidden place does not depend on what was there.
    changed = {**inputs, "values": torch.where(kept, inputs["values"], 99.0)}
    again = hide(encoder, changed, share, torch.Generator().manual_seed(1))
    with torch.no_grad():
        other = encoder(**again.inputs).values
    assert torch.equal(other[1:], seen.values[1:])
    if name == "video":
        grid = guess.hidden[1:].unflatten(1, (2, 16))
        assert torch.equal(grid[:, 0], grid[:, 1])
    if name == "electrodes":
        assert torch.equal(guess.values[1:], inputs["values"][1:])
    else:  # normalised within the patch
        assert guess.values[1:].mean(-1).abs().max() < 1e-4
        assert guess.values[1:].var(-1).sub(1).abs().max() < 1e-3


def test_the_values_behind_a_token_are_those_that_the_encoder_projects():
    """One patch of ones: only that token's values are ones."""
    values = torch.zeros(1, 40, 32)
    values[0, 8 + 16 :, 16:] = 1  # 40 frames: 8 are left out at the beginning
    told = patch_values(AudioPatches(n_mels=32), values)
    assert told.mean(-1).tolist() == [[0, 0, 0, 1]]
    film = torch.zeros(1, 4, 32, 32, 3)
    film[0, 2:, :16, 16:] = 1
    told = patch_values(VideoTubelets(size=32), film)
    assert told.mean(-1).tolist() == [[0, 0, 0, 0, 0, 1, 0, 0]]


def test_the_same_seed_gives_the_same_weights_and_leaves_chance_alone():
    inputs, _, stimulus = shared_latent(np.random.default_rng(0))
    few = stimulus % 10 == 0
    inputs = {k: v[few] for k, v in inputs.items()}
    runs = [pretrain(inputs, stimulus[few], 3, n_epochs=1) for _ in range(2)]
    assert runs[0][1] == runs[1][1]
    for a, b in zip(runs[0][0].parameters(), runs[1][0].parameters(), strict=True):
        assert torch.equal(a, b)
    model, config = runs[0][0], PretrainingConfig(n_epochs=2, batch_size=64)
    optimiser = torch.optim.AdamW(model.parameters())
    numbers = torch.from_numpy(stimulus[few])
    before = torch.random.get_rng_state()
    run_epoch(model, optimiser, split(inputs, slice(None)), numbers, numbers, config, 0)
    assert torch.equal(before, torch.random.get_rng_state())


def test_every_encoder_can_be_pretrained_beside_the_others():
    """Guessed where it can be, compared everywhere, all by one call."""
    n, torch_seed = 8, new_seed()
    torch.manual_seed(torch_seed)
    about = {
        "electrodes": ({"n_chans": 5, "n_bands": 4}, torch.randn(n, 5, 4)),
        "scalars": ({"n_scalars": 3}, torch.randn(n, 3)),
        "series": ({"n_channels": 4, "sfreq": 60.0}, torch.randn(n, 4, 64)),
        "raw-eeg": ({"n_chans": 4, "n_times": 256, "sfreq": 128.0}, torch.randn(n, 4, 256)),
        "audio-patches": ({"n_mels": 32}, torch.randn(n, 32, 32)),
        "audio-wave": ({}, torch.randn(n, 1600)),
        "video-tubelets": ({}, {"values": torch.randn(n, 4, 32, 32, 3),
                                "time_seconds": torch.arange(4.0).expand(n, 4)}),
        "frame-backbone": ({}, {"values": torch.randn(n, 4, 32, 32, 3),
                                "time_seconds": torch.arange(4.0).expand(n, 4)}),
        "wave-backbone": ({}, torch.randn(n, 4000)),
    }  # fmt: skip
    assert set(about) == set(ENCODERS)
    encoders = {f"m{i}": {"encoder": k, **a} for i, (k, (a, _)) in enumerate(about.items())}
    fused = FusedModel(encoders=encoders, dimensions=["valence"])
    model = PretrainingModel(fused, 8)
    assert model.n_levels == 2 and set(model.guess) == {"m0", "m4", "m6"}
    inputs = {f"m{i}": x for i, (_, x) in enumerate(about.values())}
    before = {k: v.clone() for k, v in model.encoders.state_dict().items()}
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.0)
    numbers = torch.arange(n)
    config = PretrainingConfig(batch_size=n, contrast_dim=8)
    row = run_epoch(model, optimiser, inputs, numbers, numbers, config, 0)
    assert np.isfinite(row["guess_loss"]) and row["contrast_loss"] > 0
    moved = {k.split(".")[0] for k, v in model.encoders.state_dict().items()
             if not torch.equal(v, before[k])}  # fmt: skip
    assert moved == set(encoders)


def test_a_missing_modality_is_no_pair_and_what_cannot_be_learned_is_told():
    inputs = shared_latent(np.random.default_rng(0))[0]
    inputs = {k: v[:60].copy() for k, v in inputs.items()}
    inputs["sound"][:20] = np.nan
    inputs["eeg"][:, 3] = np.nan
    model, config = PretrainingModel(two_encoders()), PretrainingConfig(batch_size=60)
    numbers = torch.arange(60)
    optimiser = torch.optim.AdamW(model.parameters())
    given = to_tensors(inputs, CPU)
    row = run_epoch(model, optimiser, given, numbers, numbers, config, 0)
    assert np.isfinite(row["guess_loss"] + row["contrast_loss"])
    assert all(torch.isfinite(p).all() for p in model.parameters())
    found = embeddings(model, given)
    assert found["sound"].isnan().all(1).sum() == 20 and not found["eeg"].isnan().any()
    with pytest.raises(SignalError, match="found 59 trials and 60 stimuli for 60 windows"):
        run_epoch(model, optimiser, given, numbers[1:], numbers, config, 0)
    alone = FusedModel(encoders={"a": {"encoder": "scalars", "n_scalars": 3}}, dimensions=["v"])
    with pytest.raises(CallError, match="found only a, whose tokens say nothing of each other"):
        PretrainingModel(alone)
    with pytest.raises(CallError, match="found batch_size=1, expected above 0"):
        PretrainingConfig(batch_size=1)
