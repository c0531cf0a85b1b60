"""A student learns from a better teacher, and nothing from a worse one."""

import numpy as np
import pytest
import torch

from physioemo.errors import CallError, DataError, SignalError
from physioemo.models.affect_losses import concordance_loss
from physioemo.models.distillation import DistillationConfig, distil, distillation_loss
from physioemo.models.fused import FusedModel
from physioemo.models.fused_training import train_fused
from physioemo.models.teacher import Said, TeacherMargin, require_better_teacher, teacher_margin
from physioemo.models.training import TrainingConfig
from tests.models.fused_data import accuracy, new_seed

N_WIDE = 24


def model(*modalities, hidden=32):
    """Return a fused model: m0 is clear and needs a sensor that the closed loop does not have."""
    encoders = {
        m: {"encoder": "scalars", "n_scalars": 4 if m == "m0" else N_WIDE, "embed_dim": 16}
        for m in modalities
    }
    return FusedModel(
        encoders=encoders, dimensions=["valence"], fusion="concat",
        fusion_arguments={"hidden_dim": hidden, "modality_dropout": 0.0},
    )  # fmt: skip


def draw(rng, n):
    """m0 tells the class clearly; m1 weakly, spread over many values."""
    labels = rng.integers(0, 2, n)
    sign = (2 * labels - 1)[:, None]
    clear = rng.normal(size=(n, 4)) + 3.0 * sign * np.eye(4)[0]
    weak = rng.normal(size=(n, N_WIDE)) + sign / np.sqrt(N_WIDE)
    return {"m0": clear, "m1": weak}, labels


def only(inputs, *names):
    return {k: inputs[k] for k in names}


def noisy(rng, labels, share=0.25):
    return np.where(rng.random(len(labels)) < share, 1 - labels, labels)


def learn(built, inputs, labels, validation, seed):
    config = TrainingConfig(
        n_epochs=40, batch_size=64, learning_rate=3e-3, label_smoothing=0.0, patience=8, seed=seed
    )
    train_fused(
        built, only(inputs, *built.encoders), labels,
        validation_inputs=only(validation[0], *built.encoders), validation_labels=validation[1],
        config=config,
    )  # fmt: skip
    return built


def test_a_student_of_a_teacher_beats_a_student_of_noisy_labels():
    seed = new_seed()
    rng = np.random.default_rng(seed)
    torch.manual_seed(seed)
    (inputs, labels), (held, held_labels) = draw(rng, 500), draw(rng, 2200)
    labels, held_labels = noisy(rng, labels), noisy(rng, held_labels)
    early = {k: v[:200] for k, v in held.items()}, held_labels[:200]
    late = {k: v[200:] for k, v in held.items()}, held_labels[200:]
    teacher = learn(model("m0", "m1", hidden=64), inputs, labels, early, seed)
    rival = learn(model("m1"), inputs, labels, early, seed)
    unlabelled, _ = draw(rng, 20_000)
    student = model("m1")
    config = DistillationConfig(
        training=TrainingConfig(n_epochs=5, batch_size=256, learning_rate=3e-3, seed=seed)
    )
    groups = {"validation_groups": np.arange(2000) // 4, "training_groups": [-1]}
    done = distil(
        teacher, student, unlabelled, rival=rival, validation_inputs=late[0],
        validation_labels=late[1], config=config, **groups,
    )  # fmt: skip
    assert done.margin.low > 0 and done.margin.n_groups == 500
    tests, truth = draw(rng, 8000)
    own, taught = (accuracy(m, only(tests, "m1"), truth) for m in (rival, student))
    print(f"labels {own:.3f}, teacher {taught:.3f}, best 0.841, margin {done.margin}")
    assert taught > own

    bad = learn(model("m0", "m1"), inputs, rng.permutation(labels), early, seed)
    before = {k: v.clone() for k, v in student.state_dict().items()}
    with pytest.raises(DataError, match="a teacher that does not beat the student on 500"):
        distil(
            bad, student, unlabelled, rival=rival, validation_inputs=late[0],
            validation_labels=late[1], config=config, **groups,
        )  # fmt: skip
    assert all(torch.equal(v, before[k]) for k, v in student.state_dict().items())


def test_a_teacher_that_is_the_student_is_refused():
    """A teacher as good as the student is let through as rarely as the certainty says."""
    rng = np.random.default_rng(new_seed())
    passed, n = 0, 600
    for _ in range(n):
        labels = rng.integers(0, 2, 120)
        teacher, rival = rng.normal(size=(2, 120, 1, 2))
        margin = teacher_margin(teacher, rival, labels, np.arange(120) // 3)
        passed += margin.low > 0
    assert passed / n < 0.05 + 5 * np.sqrt(0.05 * 0.95 / n)
    same = teacher_margin(teacher, teacher, labels, np.arange(120))
    assert same.mean == 0 and same.n_groups == 120
    told = r"does not beat the student on 120 validation groups \(gain in log loss \+0.000, low"
    with pytest.raises(DataError, match=told):
        require_better_teacher(same)


def test_the_margin_is_the_mean_over_groups_by_hand():
    """Group a has three windows and group b one; each counts once."""
    logits = np.log([[[0.5, 0.5]], [[0.5, 0.5]], [[0.5, 0.5]], [[0.5, 0.5]], [[0.5, 0.5]]])
    better = np.log([[[0.2, 0.8]], [[0.2, 0.8]], [[0.2, 0.8]], [[0.6, 0.4]], [[0.5, 0.5]]])
    labels = np.array([1, 1, 1, 0, 1])
    margin = teacher_margin(better, logits, labels, list("aaabc"), certainty=0.5)
    assert margin.mean == pytest.approx((np.log(0.8 / 0.5) + np.log(0.6 / 0.5) + 0) / 3)
    assert margin.low == pytest.approx(margin.mean) and margin.n_groups == 3
    with pytest.raises(SignalError, match="found 2 rated validation groups, expected three or mo"):
        teacher_margin(better, logits, [1, 1, 1, 0, -1], list("aaabc"))
    require_better_teacher(TeacherMargin(0.1, 0.01, 9))


def test_the_loss_is_nothing_for_an_equal_and_its_parts_are_the_known_ones():
    torch.manual_seed(0)
    logits, features = torch.randn(40, 2, 3), torch.randn(40, 2, 5)
    teacher = Said(torch.randn(40, 2), logits, features)
    config = DistillationConfig(softness=1.0)
    assert float(distillation_loss(teacher, teacher, config)) == pytest.approx(0, abs=1e-5)
    student = Said(teacher.mean + 1, logits + torch.randn(40, 2, 3), -features)
    alone = DistillationConfig(concordance_weight=1.0, class_weight=0.0, feature_weight=0.0)
    wanted = concordance_loss(student.mean, teacher.mean)
    assert distillation_loss(student, teacher, alone) == pytest.approx(wanted)
    classes = DistillationConfig(concordance_weight=0, feature_weight=0, softness=1)
    p, q = logits.softmax(-1), student.logits.softmax(-1)
    divergence = (p * (p / q).log()).sum(-1).mean()
    assert float(distillation_loss(student, teacher, classes)) == pytest.approx(float(divergence))
    turned = DistillationConfig(concordance_weight=0, class_weight=0, feature_weight=1)
    assert float(distillation_loss(student, teacher, turned)) == pytest.approx(2)
    ratings = Said(student.mean), Said(teacher.mean)
    assert distillation_loss(*ratings, config) == pytest.approx(wanted)


def test_models_and_groups_that_do_not_fit_are_told():
    inputs, labels = draw(np.random.default_rng(0), 12)
    given = {
        "validation_inputs": inputs, "validation_labels": labels,
        "validation_groups": np.arange(12), "training_groups": [-1],
    }  # fmt: skip
    one, two = model("m1"), model("m0", "m1")
    with pytest.raises(CallError, match="found the modalities m0 in the student that the teacher"):
        distil(one, two, inputs, rival=one, **given)
    with pytest.raises(CallError, match=r"1 of the validation groups in training too \(3\)"):
        distil(two, one, inputs, rival=one, **{**given, "training_groups": [3]})
    other = FusedModel(
        encoders={"m1": {"encoder": "scalars", "n_scalars": N_WIDE}}, dimensions=["arousal"]
    )
    with pytest.raises(CallError, match="found other dimensions in the rival that the teacher doe"):
        distil(two, one, inputs, rival=other, **given)
    with pytest.raises(CallError, match="expected 0 or more, one above 0, and 1 or more"):
        DistillationConfig(softness=0.5)
