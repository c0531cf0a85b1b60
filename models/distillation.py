"""A large fused model teaches a small student, which then runs in the closed loop.

The student learns what the teacher says of many windows without labels: 1 − concordance with the
teacher's means and the divergence from its softened classes (Hinton, Vinyals & Dean 2015, arXiv
1503.02531), and the direction of its features through a linear map that is thrown away (Romero et
al. 2015, arXiv 1412.6550). It may see fewer modalities than its teacher. Nothing is learned from a
teacher that does not beat a student trained on the labels.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import ArrayLike
from torch import Tensor, nn
from torch.nn.functional import cosine_similarity, kl_div, log_softmax

from physioemo.errors import CallError, SignalError
from physioemo.models.affect_losses import concordance_loss
from physioemo.models.fused import FusedModel
from physioemo.models.grouped_calibration import GroupNames, require_separate_groups
from physioemo.models.modality_inputs import TensorInputs, rows_of, to_tensors
from physioemo.models.teacher import (
    Said,
    TeacherMargin,
    require_better_teacher,
    said_by,
    said_of_all,
    teacher_margin,
)
from physioemo.models.training import (
    TrainingConfig,
    TrainingResult,
    fit_epochs,
    seeded,
)

__all__ = ["Distillation", "DistillationConfig", "distil", "distillation_loss"]


@dataclass(frozen=True, kw_only=True)
class DistillationConfig:
    """How to distil; ``dataclasses.asdict`` of it is JSON.

    Parameters
    ----------
    concordance_weight, class_weight, feature_weight : float
        Weights of the three parts of the loss; 0 leaves one out.
    softness : float
        Temperature at which classes are compared, 1 or more.
    certainty : float
        With which the teacher must be better.
    training : TrainingConfig
        The optimiser's settings; ``label_smoothing`` and ``token_noise`` are not used.

    Raises
    ------
    CallError
        If a value is out of its range.
    """

    concordance_weight: float = 1.0
    class_weight: float = 1.0
    feature_weight: float = 0.5
    softness: float = 2.0
    certainty: float = 0.95
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        weights = (self.concordance_weight, self.class_weight, self.feature_weight)
        if min(weights) < 0 or not sum(weights) > 0 or self.softness < 1:
            raise CallError(
                f"found the weights {weights} and a softness of {self.softness}, expected 0 or "
                "more, one above 0, and 1 or more"
            )


@dataclass(frozen=True)
class Distillation:
    """What distillation did: by how much the teacher was better, and the training's history."""

    margin: TeacherMargin
    result: TrainingResult


def distillation_loss(
    student: Said, teacher: Said, config: DistillationConfig, project: nn.Module | None = None
) -> Tensor:
    """Return how far a student is from its teacher.

    ``w₁ (1 − CCC of means) + w₂ softness² KL(teacher ‖ student) + w₃ (1 − cosine of features)``;
    a part that either does not have is left out.

    Parameters
    ----------
    student, teacher : Said
        Of the same windows; continuous ratings have no logits.
    config : DistillationConfig
        Weights and softness.
    project : nn.Module, optional
        Maps the student's features to the teacher's width.
    """
    loss = config.concordance_weight * concordance_loss(student.mean, teacher.mean)
    if student.logits is not None and teacher.logits is not None and config.class_weight:
        soft = config.softness
        wanted = log_softmax(teacher.logits / soft, dim=-1)
        found = log_softmax(student.logits / soft, dim=-1)
        divergence = kl_div(found, wanted, log_target=True, reduction="none").sum(dim=-1).mean()
        loss = loss + config.class_weight * soft**2 * divergence
    if student.features is not None and teacher.features is not None and config.feature_weight:
        mine = student.features if project is None else project(student.features)
        apart = 1 - cosine_similarity(mine, teacher.features, dim=-1)
        loss = loss + config.feature_weight * apart.mean()
    return loss


def distil(
    teacher: FusedModel,
    student: FusedModel,
    inputs: Mapping[str, Any],
    *,
    rival: FusedModel,
    validation_inputs: Mapping[str, Any],
    validation_labels: ArrayLike,
    validation_groups: GroupNames,
    training_groups: GroupNames,
    config: DistillationConfig | None = None,
    teacher_temperature: ArrayLike | None = None,
    unit: str | None = None,
    on_epoch: Callable[[dict[str, float]], None] | None = None,
) -> Distillation:
    """Teach a student in place and leave it in eval mode with its best weights.

    Parameters
    ----------
    teacher, student : FusedModel
        The student's modalities are some or all of the teacher's; the same dimensions and classes.
    inputs : mapping of arrays
        What the teacher takes, of windows that need no labels.
    rival : FusedModel
        The student trained on the labels, which the teacher must beat.
    validation_inputs, validation_labels : mapping of arrays, array_like of int
        Rated windows of groups that nothing was trained on; their distillation loss decides when
        to stop.
    validation_groups : array_like or mapping
        Group of each validation window.
    training_groups : array_like or mapping
        Groups of all windows that teacher, rival or student learn from.
    config : DistillationConfig, optional
        How.
    teacher_temperature : array_like, shape (dimension,), optional
        Of a teacher that was calibrated, and by which its logits are divided.
    unit : str, optional
        Which kind of group counts as one observation, where several are given.
    on_epoch : callable, optional
        Called with each new row of the history.

    Raises
    ------
    DataError
        If the teacher does not beat the rival; the student is not touched.
    CallError
        If groups overlap, models do not fit, or training diverged.
    SignalError
        If windows do not fit.
    """
    config = config or DistillationConfig()
    _check_models(teacher, student, rival)
    require_separate_groups(
        training=training_groups, calibration=validation_groups, test=None, what="validation"
    )
    device = next(student.parameters()).device
    dividing = (
        None
        if teacher_temperature is None
        else torch.as_tensor(teacher_temperature, dtype=torch.float32, device=device)
    )
    given, checked = to_tensors(inputs, device), to_tensors(validation_inputs, device)
    known = said_of_all(teacher, checked, dividing)
    other = said_of_all(rival, {k: checked[k] for k in rival.encoders})
    margin = teacher_margin(
        _array(known), _array(other), validation_labels, validation_groups,
        certainty=config.certainty, unit=unit,
    )  # fmt: skip
    require_better_teacher(margin)
    wanted = said_of_all(teacher, given, dividing)
    mine = {k: given[k] for k in student.encoders}
    his = {k: checked[k] for k in student.encoders}
    with torch.no_grad():
        student.fusion.prior_logits.copy_(teacher.fusion.prior_logits)
    with seeded(config.training.seed, device):
        result, best = _fit(student, (mine, wanted), (his, known), config, on_epoch)
    student.load_state_dict(best)
    student.eval()
    return Distillation(margin, result)


def _array(said: Said) -> Any:
    if said.logits is None:
        raise SignalError("found a model without classes, expected logits to compare")
    return said.logits.cpu().numpy()


def _fit(
    student: FusedModel,
    training: tuple[TensorInputs, Said],
    validation: tuple[TensorInputs, Said],
    config: DistillationConfig,
    on_epoch: Callable[[dict[str, float]], None] | None,
) -> tuple[TrainingResult, dict[str, Tensor]]:
    plan, (inputs, wanted) = config.training, training
    project = _projection(student, inputs, wanted)

    def run_epoch(batches: Sequence[Tensor], optimiser: torch.optim.Optimizer) -> float:
        student.train()
        total = 0.0
        for rows in batches:
            said = said_by(student, rows_of(inputs, rows))
            loss = distillation_loss(said, wanted.rows(rows), config, project)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            total += float(loss.detach()) * len(rows)
        return total / sum(map(len, batches))

    @torch.no_grad()
    def validate() -> float:
        found = said_of_all(student, validation[0])
        return float(distillation_loss(found, validation[1], config, project))

    n_rows, beside = len(wanted.mean), project.parameters()
    return fit_epochs(student, n_rows, run_epoch, validate, plan, on_epoch, beside=beside)


def _projection(student: FusedModel, inputs: TensorInputs, wanted: Said) -> nn.Linear:
    """Return the linear map from the student's features to the width of the teacher's."""
    first = said_of_all(student, rows_of(inputs, slice(0, 1)))
    mine, his = (0 if s.features is None else s.features.shape[-1] for s in (first, wanted))
    return nn.Linear(mine, his).to(first.mean.device)


def _check_models(teacher: FusedModel, student: FusedModel, rival: FusedModel) -> None:
    for name, model in (("student", student), ("rival", rival)):
        extra = set(model.encoders) - set(teacher.encoders)
        differ = [k for k in ("dimensions", "n_outputs") if model.config[k] != teacher.config[k]]
        if extra or differ:
            what = f"the modalities {', '.join(sorted(extra))}" if extra else f"other {differ[0]}"
            raise CallError(
                f"found {what} in the {name} that the teacher does not have, expected some of its "
                "modalities and the same dimensions and classes"
            )
