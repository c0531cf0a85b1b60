"""Models of a study that predict all dimensions at once: their labels, permuted together."""

import numpy as np

from physioemo.experiments.study_config import ModelChoice
from physioemo.experiments.study_inputs import StudyInputs
from physioemo.experiments.study_permuted import permuted_source, permuted_targets

__all__ = ["ALL_COLUMNS", "permuted_for", "permuted_together", "rated_rows"]

ALL_COLUMNS = -1


def rated_rows(inputs: StudyInputs, column: int) -> np.ndarray:
    """Return which windows have a target (window,), in any dimension for ``ALL_COLUMNS``."""
    if column != ALL_COLUMNS:
        return inputs.rated(column)
    return np.any([inputs.rated(c) for c in range(len(inputs.columns))], axis=0)


def permuted_together(inputs: StudyInputs, permutation: int, seed: int) -> np.ndarray:
    """Return all dimensions' targets permuted over the rated trials of each subject.

    A trial gets every rating of another one, also which are missing: how dimensions go together
    stays, only that the features say anything of them does not.

    Parameters
    ----------
    inputs : StudyInputs
        Targets and groups.
    permutation, seed : int
        Which permutation.

    Returns
    -------
    ndarray, shape (window, dimension)
    """
    rated = rated_rows(inputs, ALL_COLUMNS)
    generator = np.random.default_rng([seed, 7, len(inputs.columns), permutation])
    return inputs.targets[permuted_source(inputs, rated, inputs.targets, generator)]


def permuted_for(
    model: ModelChoice, inputs: StudyInputs, column: int, permutation: int, seed: int
) -> np.ndarray:
    """Return the permuted targets that a model was fitted to.

    Parameters
    ----------
    model : ModelChoice
        Whether it predicts all dimensions at once.
    inputs, permutation, seed
        As for :func:`permuted_together`.
    column : int
        Which dimension; ``ALL_COLUMNS`` for all of a joint model.

    Returns
    -------
    ndarray, shape (window,) or (window, dimension)
    """
    if not model.joint:
        return permuted_targets(inputs, column, permutation, seed)
    together = permuted_together(inputs, permutation, seed)
    return together if column == ALL_COLUMNS else together[:, column]
