"""Encoders: tokens at their true times, missing values masked, sizes as promised."""

import numpy as np
import pytest
import torch

from physioemo.errors import CallError, SignalError
from physioemo.models.audio_wave import SmallWave, mel_filters
from physioemo.models.electrode_tokens import ElectrodeTokens
from physioemo.models.eye_series import EyeSeries
from physioemo.models.fused import ENCODERS
from physioemo.models.intercortical import InterCorticalTransformer
from physioemo.models.modality_tokens import ModalityTokens
from physioemo.models.raw_eeg import RawEeg
from physioemo.models.scalar_tokens import ScalarTokens
from physioemo.models.tapped_stages import TappedStages, tap_depths
from physioemo.models.video_tubelets import gaze_pool

SIZES = {
    "electrodes": ({"n_chans": 6, "n_bands": 4}, (6, 4)),
    "scalars": ({"n_scalars": 5}, (5,)),
    "series": ({"n_channels": 3, "sfreq": 120.0}, (3, 160)),
    "raw-eeg": ({"n_chans": 6, "n_times": 256, "sfreq": 128.0}, (6, 256)),
    "audio-patches": ({}, (64, 128)),
    "audio-wave": ({}, (1600,)),
    "video-tubelets": ({}, (4, 32, 32, 3)),
    "frame-backbone": ({}, (4, 32, 32, 3)),
    "wave-backbone": ({}, (4000,)),
}
"""Arguments of each encoder and the shape of one window; a new row needs one here."""


def build(name, **changes):
    torch.manual_seed(0)
    arguments, shape = SIZES[name]
    row = ENCODERS[name]
    return row.load_class()(**{**row.load_presets()["tiny"], **arguments, **changes}).eval(), shape


def call(name, encoder, values):
    if name in ("video-tubelets", "frame-backbone"):
        seconds = torch.linspace(-1, 0, values.shape[1]).expand(len(values), -1)
        return encoder(values, seconds)
    return encoder(values)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_masks_what_is_missing_and_nothing_else(name):
    encoder, shape = build(name)
    values = torch.randn(3, *shape)
    values[1] = torch.nan
    with torch.no_grad():
        tokens = call(name, encoder, values)
    assert isinstance(tokens, ModalityTokens) and tokens.values.shape[2] == encoder.embed_dim
    assert tokens.mask[0].all() and tokens.mask[2].all() and not tokens.mask[1].any()
    assert torch.isfinite(tokens.values).all() and (tokens.time_seconds <= 0).all()
    with torch.no_grad():
        alone = call(name, encoder, values[2:])
    assert torch.allclose(alone.values, tokens.values[2:], atol=1e-5)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_refuses_another_shape(name):
    encoder, shape = build(name)
    wrong = torch.randn(2, *(s + 1 for s in shape[:-1]), 1)
    with pytest.raises(SignalError, match="found .* of shape .*expected"):
        call(name, encoder, wrong)


@pytest.mark.parametrize("name", ENCODERS)
def test_every_encoder_learns_through_a_hole(name):
    encoder, shape = build(name)
    values = torch.randn(2, *shape)
    values[0].flatten()[0] = torch.nan
    tokens = call(name, encoder.train(), values)
    (tokens.values * tokens.mask.unsqueeze(-1)).square().sum().backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in encoder.parameters())


def test_electrode_tokens_are_the_transformers_own():
    torch.manual_seed(0)
    whole = InterCorticalTransformer(
        n_chans=6, n_bands=4, embed_dim=32, n_heads=4, head_dim=8, mlp_dim=64, depth=2, dropout=0.0
    )
    encoder, _ = build("electrodes")
    weights = {k: v for k, v in whole.state_dict().items() if not k.startswith("classification")}
    encoder.load_state_dict(weights)  # strict
    tokens = torch.randn(3, 6, 4)
    pooled = encoder(tokens).values.mean(dim=1)
    assert torch.allclose(whole.classification_head(pooled), whole(tokens), atol=1e-6)


def test_patches_lie_at_their_times_and_shift_with_the_sound():
    encoder, _ = build("audio-patches", depth=1)
    values = torch.zeros(1, 69, 128)  # five frames fill no patch
    tokens = encoder(values)
    assert tokens.time_seconds[0].unique().tolist() == pytest.approx([-0.56, -0.40, -0.24, -0.08])
    assert tokens.values.shape[1] == 4 * 8
    values[0, -1, 3] = torch.nan  # the newest frame, the lowest bands
    mask = encoder(values).mask[0].reshape(4, 8)
    assert not mask[3, 0] and mask.sum() == 31


def test_the_small_model_of_the_voice_is_small_and_hears_no_loudness():
    for preset in ("tiny", "study"):
        arguments = ENCODERS["audio-wave"].load_presets()[preset]
        assert sum(p.numel() for p in SmallWave(**arguments).parameters()) < 80_000
    encoder, _ = build("audio-wave")
    wave = torch.randn(2, 8000)
    with torch.no_grad():
        assert torch.allclose(encoder(wave).values, encoder(100 * wave + 3).values, atol=1e-3)
    assert encoder(wave).time_seconds[0, 0] == -0.25


def test_mel_triangles_reach_one_and_add_up_between_their_middles():
    filters = mel_filters(16000, 4096, 26)
    assert filters.max(dim=0).values == pytest.approx(np.ones(26), abs=0.06)
    inner = filters[200:1800].sum(dim=1)
    assert inner == pytest.approx(np.ones(len(inner)), abs=1e-5)


def test_tubelets_keep_place_and_time():
    encoder, _ = build("video-tubelets")
    values = torch.zeros(1, 4, 32, 32, 3)
    values[0, 2, 16:, :16] = torch.nan  # third frame, bottom left
    seconds = torch.tensor([[-0.9, -0.7, -0.2, -0.1]])
    tokens = encoder(values, seconds)
    assert tokens.time_seconds[0].tolist() == pytest.approx([-0.8] * 4 + [-0.15] * 4)
    assert tokens.mask[0].tolist() == [True] * 6 + [False, True]
    hidden = encoder(values, torch.tensor([[torch.nan, -0.7, -0.2, -0.1]]))
    assert not hidden.mask[0, :4].any()


def test_the_patch_that_was_looked_at_weighs_most():
    grid = torch.arange(16.0).reshape(1, 16, 1)  # 4 × 4 places, one step
    tokens = ModalityTokens(grid, torch.full((1, 16), -0.5), torch.ones(1, 16, dtype=torch.bool))
    at = gaze_pool(tokens, torch.tensor([[[0.875, 0.125]]]), spread=0.02)
    assert at.values.item() == pytest.approx(3.0, abs=1e-4)  # top right
    anywhere = gaze_pool(tokens, torch.full((1, 1, 2), torch.nan))
    assert anywhere.values.item() == pytest.approx(7.5) and anywhere.mask.all()
    hidden = torch.ones(1, 16, dtype=torch.bool)
    hidden[0, 3] = False
    covered = gaze_pool(
        ModalityTokens(grid, tokens.time_seconds, hidden), torch.tensor([[[0.875, 0.125]]])
    )
    assert covered.values.item() != 3.0 and torch.isfinite(covered.values).all()
    with pytest.raises(SignalError, match="a square grid of tokens"):
        gaze_pool(tokens, torch.zeros(1, 3, 2))


def test_a_number_carries_how_long_and_how_old_it_is():
    encoder = ScalarTokens(n_scalars=2)
    values = torch.tensor([[0.3, torch.nan]])
    plain = encoder(values)
    long = encoder(
        values, time_seconds=torch.tensor([[-30.0, 0.0]]), length_seconds=torch.tensor([60.0, 5.0])
    )
    assert plain.mask[0].tolist() == [True, False] and long.time_seconds[0, 0] == -30
    assert not torch.allclose(plain.values[0, 0], long.values[0, 0])


def test_a_gap_of_the_eyes_masks_only_its_own_tokens():
    encoder = EyeSeries(n_channels=2, sfreq=160.0, depth=1)
    values = torch.randn(1, 2, 64)
    values[:, :, 16:32] = torch.nan
    tokens = encoder(values)
    assert tokens.mask[0].tolist() == [True, False, True, True]
    assert tokens.time_seconds[0].tolist() == pytest.approx([-0.35, -0.25, -0.15, -0.05])


def test_raw_eeg_takes_any_network_with_a_last_layer():
    encoder = RawEeg(n_chans=4, n_times=256, sfreq=128.0, model="ShallowFBCSPNet").eval()
    values = torch.randn(2, 4, 256)
    assert encoder(values).values.shape == (2, 1, 32)
    values[0, :3] = torch.nan
    assert encoder(values).mask[:, 0].tolist() == [False, True]
    with pytest.raises(CallError, match="found the model 'EEGNot', expected a class"):
        RawEeg(n_chans=4, n_times=256, sfreq=128.0, model="EEGNot")


def test_stages_are_tapped_at_three_depths():
    assert tap_depths(10) == (3, 6, 9)  # HiCMAE's
    assert tap_depths(3) == (0, 1, 2)
    with pytest.raises(CallError, match="found 2 blocks, expected at least 3"):
        tap_depths(2)
    encoder = ElectrodeTokens(n_chans=6, n_bands=4, depth=4)
    _, stages = encoder(torch.randn(2, 6, 4), return_stages=True)
    tapped = TappedStages(tap_depths(4), 32)
    norms = [torch.nn.functional.layer_norm(stages[d], (32,)) for d in tap_depths(4)]
    assert torch.allclose(tapped(stages), torch.stack(norms).mean(dim=0), atol=1e-5)


def test_every_row_has_a_window_here():
    assert set(SIZES) == set(ENCODERS)
