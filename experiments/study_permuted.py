"""Labels permuted over the trials of each subject, so that nothing can be learned of them.

A permutation counts only if the study can be made with it as with the true labels: the training
windows of the same folds have several classes, and the tested trials of the same subjects do. Of
these labels the true ones are as likely as any other if the features say nothing, so the p-value
stays exact (permutation within an equivalence class: Pesarin and Salmaso 2010, Permutation Tests
for Complex Data, chapter 2).
"""

import numpy as np

from physioemo.errors import DataError
from physioemo.experiments.folds import name_codes
from physioemo.experiments.splits import several_values
from physioemo.experiments.study_inputs import StudyInputs

__all__ = ["permuted_rows", "permuted_source", "permuted_targets"]

_MOST_DRAWS = 2000


def permuted_targets(inputs: StudyInputs, column: int, permutation: int, seed: int) -> np.ndarray:
    """Return targets permuted over the rated trials of each subject; windows stay together.

    Trials of one subject are exchangeable if the features say nothing of the target, and each
    subject keeps its shares of classes.

    Parameters
    ----------
    inputs : StudyInputs
        Targets, groups and folds.
    column : int
        Which dimension.
    permutation, seed : int
        Which permutation.

    Raises
    ------
    DataError
        As :func:`permuted_source`.
    """
    return inputs.targets[permuted_rows(inputs, column, permutation, seed), column]


def permuted_rows(inputs: StudyInputs, column: int, permutation: int, seed: int) -> np.ndarray:
    """Return from which window each takes its target when targets are permuted, (window,).

    Parameters
    ----------
    inputs, column, permutation, seed
        As for :func:`permuted_targets`.
    """
    generator = np.random.default_rng([seed, 7, column, permutation])
    return permuted_source(
        inputs, inputs.rated(column), inputs.targets[:, column : column + 1], generator
    )


def permuted_source(
    inputs: StudyInputs, rated: np.ndarray, targets: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Return from which window each takes its targets, (window,).

    Parameters
    ----------
    inputs : StudyInputs
        Groups and folds.
    rated : ndarray of bool, shape (window,)
        Whose trials are exchanged.
    targets : ndarray, shape (window, dimension)
        What they take with them.
    generator : numpy.random.Generator
        Source of chance.

    Raises
    ------
    DataError
        If no permutation is found with which the study could be made.
    """
    _, person = name_codes(inputs.groups.person)
    _, trial = name_codes(inputs.groups.trial_id)
    source = np.arange(len(rated))
    tested = np.zeros(len(rated), bool)
    for _, test in inputs.folds:
        tested[test] = True

    def draw(k: int) -> None:
        rows, scored = np.flatnonzero(rated & (person == k)), np.flatnonzero(tested & (person == k))
        trials, first, inverse = np.unique(trial[rows], return_index=True, return_inverse=True)
        for _ in range(_MOST_DRAWS):
            source[rows] = rows[first][generator.permutation(len(trials))][inverse]
            if several_values(targets[source[scored]]) == several_values(targets[scored]):
                return
        raise _none(f"tested trials of subject {inputs.groups.person[rows[0]]}")

    for k in range(int(person.max(initial=-1)) + 1):
        draw(k)
    for _ in range(_MOST_DRAWS):
        broken = _broken_fold(inputs, targets, source)
        if broken is None:
            return source
        who = np.unique(person[inputs.folds[broken][0]])
        # Folds over several people share them: only a new draw of all is as likely as any other.
        for k in who if len(who) == 1 else range(int(person.max()) + 1):
            draw(int(k))
    raise _none(f"training trials of fold {broken + 1}" if broken is not None else "folds")


def _broken_fold(inputs: StudyInputs, targets: np.ndarray, source: np.ndarray) -> int | None:
    """Return a fold in which other dimensions have several classes to learn than in truth."""
    for k, (train, _) in enumerate(inputs.folds):
        if several_values(targets[source[train]]) != several_values(targets[train]):
            return k
    return None


def _none(where: str) -> DataError:
    return DataError(
        f"found no permutation in {_MOST_DRAWS} draws that leaves several classes in the {where}, "
        "as the true labels do, expected some; use fewer folds or blocks, or n_permutations = 0"
    )
