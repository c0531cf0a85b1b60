"""What a teacher says of windows, and whether it is worth listening to.

A student can only be as good as its teacher: on windows of groups that neither was trained on, the
teacher must beat a student that was trained on the labels, by more than chance.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from physioemo.errors import CallError, DataError, SignalError
from physioemo.models.checks import checked_labels, checked_logits
from physioemo.models.grouped_calibration import GroupNames, group_codes
from physioemo.models.modality_inputs import TensorInputs, count_windows, rows_of

__all__ = [
    "Said",
    "TeacherMargin",
    "require_better_teacher",
    "said_by",
    "said_of_all",
    "teacher_margin",
]


@dataclass(frozen=True)
class Said:
    """What a model says of a batch of windows.

    Parameters
    ----------
    mean : Tensor, shape (window, dimension)
        Expected rating; of classes the expected class, from 0 to 1.
    logits : Tensor, shape (window, dimension, class), optional
        Of classes.
    features : Tensor, shape (window, dimension, embed), optional
        Before the head.
    """

    mean: Tensor
    logits: Tensor | None = None
    features: Tensor | None = None

    def rows(self, rows: Any) -> "Said":
        """Return some windows."""
        parts = (self.mean, self.logits, self.features)
        return Said(*(None if p is None else p[rows] for p in parts))  # type: ignore[arg-type]


def said_by(model: nn.Module, inputs: TensorInputs, temperature: Tensor | None = None) -> Said:
    """Return what a fused model says, with gradients if they are on.

    Parameters
    ----------
    model : FusedModel
        In the mode it is in.
    inputs : mapping of tensors
        On the model's device.
    temperature : Tensor, shape (dimension,), optional
        Divides the logits.
    """
    output = model(inputs)
    logits = output.logits if temperature is None else output.logits / temperature[:, None]
    n_classes = logits.shape[-1]
    place = torch.arange(n_classes, device=logits.device) / max(1, n_classes - 1)
    mean = (logits.softmax(dim=-1) * place).sum(dim=-1)
    return Said(mean, logits, output.features)


@torch.no_grad()
def said_of_all(
    model: nn.Module,
    inputs: TensorInputs,
    temperature: Tensor | None = None,
    *,
    batch_size: int = 1024,
) -> Said:
    """Return what a model says of all windows in eval mode; it is left as it was."""
    was_training = model.training
    model.eval()
    try:
        parts = [
            said_by(model, rows_of(inputs, slice(k, k + batch_size)), temperature)
            for k in range(0, count_windows(inputs), batch_size)
        ]
    finally:
        model.train(was_training)
    return Said(
        torch.cat([p.mean for p in parts]),
        torch.cat([p.logits for p in parts if p.logits is not None]),
        torch.cat([p.features for p in parts if p.features is not None]),
    )


@dataclass(frozen=True)
class TeacherMargin:
    """By how much a teacher is better, in nats of log loss per rating.

    Parameters
    ----------
    mean : float
        Mean over groups of the rival's loss minus the teacher's.
    low : float
        Lower end of its one-sided interval (Student's t over groups).
    n_groups : int
        How many groups.
    """

    mean: float
    low: float
    n_groups: int


def teacher_margin(
    teacher_logits: ArrayLike,
    rival_logits: ArrayLike,
    labels: ArrayLike,
    groups: GroupNames,
    *,
    certainty: float = 0.95,
    unit: str | None = None,
) -> TeacherMargin:
    """Compare two models on the same windows, group by group.

    Parameters
    ----------
    teacher_logits, rival_logits : array_like, shape (window, dimension, class)
        Of validation windows.
    labels : array_like of int, shape (window,) or (window, dimension)
        −1 is missing.
    groups : array_like or mapping
        As in :func:`physioemo.models.grouped_calibration.require_separate_groups`.
    certainty : float
        Of the lower end.
    unit : str, optional
        Which kind of group counts as one observation, where several are given.

    Raises
    ------
    SignalError
        If shapes do not fit or fewer than three groups are rated.
    CallError
        If the certainty is not between 0.5 and 1.
    """
    from scipy.stats import t as student

    if not 0.5 <= certainty < 1:
        raise CallError(f"found a certainty of {certainty}, expected 0.5 to below 1")
    lost = [_losses(logits, labels) for logits in (rival_logits, teacher_logits)]
    gain = lost[0] - lost[1]
    known = np.isfinite(gain)
    codes = group_codes(groups, unit)
    if len(codes) != len(gain):
        raise SignalError(f"found {len(codes)} groups for {len(gain)} windows, expected one each")
    sums = np.bincount(codes[known], weights=gain[known])
    sizes = np.bincount(codes[known])
    means = sums[sizes > 0] / sizes[sizes > 0]
    n = len(means)
    if n < 3:
        raise SignalError(
            f"found {n} rated validation groups, expected three or more to compare a teacher on"
        )
    mean, error = float(means.mean()), float(means.std(ddof=1) / np.sqrt(n))
    return TeacherMargin(mean, mean - float(student.ppf(certainty, n - 1)) * error, n)


def require_better_teacher(margin: TeacherMargin) -> None:
    """Refuse a teacher that is not better than the student by more than chance.

    Raises
    ------
    DataError
        If the lower end of the margin is not above 0.
    """
    if not margin.low > 0:
        raise DataError(
            f"found a teacher that does not beat the student on {margin.n_groups} validation "
            f"groups (gain in log loss {margin.mean:+.3f}, lower end {margin.low:+.3f}), expected "
            "a lower end above 0; train a better teacher or use the student as it is"
        )


def _losses(logits: ArrayLike, labels: ArrayLike) -> NDArray[np.float64]:
    """Return each window's log loss, averaged over its rated dimensions; NaN without any."""
    from scipy.special import log_softmax

    scores = checked_logits(logits)
    classes = checked_labels(labels, *scores.shape)
    chosen = np.take_along_axis(
        log_softmax(scores, axis=-1), np.maximum(classes, 0)[..., np.newaxis], axis=-1
    )[..., 0]
    rated = classes >= 0
    n = rated.sum(axis=1)
    return np.where(n > 0, -(chosen * rated).sum(axis=1) / np.maximum(n, 1), np.nan)
