"""Several rated dimensions in one network: shared layers, a head each, what is not rated masked.

A dimension may be named emotions of which there are more than two: the heads are as wide as the
widest, and what a dimension never had in training has probability 0.
"""

from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.experiments.estimator_inputs import features_of, training_rows
from physioemo.experiments.estimators_torch import TokenClassifier

__all__ = ["JointLabels", "JointTokenClassifier"]


class JointLabels:
    """What classifiers of several dimensions share: classes (window, dimension), -1 = not rated."""

    n_axes: Any
    seed: int
    _rows: Any

    def _prepared(
        self, X: Any, y: Any, groups: Any, validation: Any, channel_mask: Any, classes: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        values = features_of(X, channel_mask, n_axes=self.n_axes)
        labels = np.asarray(y)
        if labels.ndim != 2 or len(labels) != len(values) or labels.dtype.kind not in "iu":
            raise CallError(
                f"found labels of shape {labels.shape} and type {labels.dtype} for {len(values)} "
                "windows, expected whole numbers (window, dimension), -1 where not rated"
            )
        n_classes = int(labels.max()) + 1 if classes is None else len(list(classes))
        if labels.max() >= n_classes:
            raise CallError(
                f"found the class {labels.max()}, expected at most {n_classes - 1}; name all "
                "classes"
            )
        train, chosen = self._rows(len(values), groups, validation, labels)
        if groups is not None and validation is None and len(chosen):
            train, chosen = _answered(
                labels, np.asarray(groups, object), (train, chosen), self.seed
            )
        counts = np.stack([(labels[train] == c).sum(axis=0) for c in range(n_classes)], axis=1)
        self.known_ = counts > 0  # (dimension, class)
        few = np.flatnonzero(self.known_.sum(axis=1) < 2)
        if len(few):
            raise DataError(
                f"found fewer than two classes of dimension {few[0] + 1} in the {len(train)} "
                "windows to train on, expected two or more; choose another split or target"
            )
        self.classes_ = self.columns_ = np.arange(n_classes)
        self.feature_shape_ = values.shape[1:]
        self.prior_ = counts / counts.sum(axis=1, keepdims=True)
        # A class that is not in training cannot choose.
        seen = np.take_along_axis(self.known_.T, labels.clip(min=0), axis=0)
        codes = np.where((labels >= 0) & seen, labels, -1)
        return values, codes, train, chosen[(codes[chosen] >= 0).any(axis=1)]

    def _known_only(self, said: np.ndarray) -> np.ndarray:
        """Return probabilities of the classes that each dimension had in training, adding to 1."""
        said = np.where(self.known_, np.maximum(said, np.finfo(float).tiny), 0.0)
        return np.asarray(said / said.sum(axis=2, keepdims=True))

    def _heads(self) -> dict[str, Any]:
        return {"dimensions": [f"dimension_{k}" for k in range(len(self.known_))]}


def _answered(
    labels: np.ndarray, groups: np.ndarray, sides: tuple[np.ndarray, np.ndarray], seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the two sides, divided anew where one of them has nothing to say of a dimension.

    Where one store answers one question and another one the other, a fifth of all groups may be
    all groups of one of them. Then a fifth of the groups of each is held out.
    """
    rated = labels >= 0
    wanted = rated.any(axis=0)
    if all((rated[rows].any(axis=0) == wanted).all() for rows in sides):
        return sides
    _, kind = np.unique(rated, axis=0, return_inverse=True)
    kept, held = [], []
    for rows in (np.flatnonzero(kind.reshape(-1) == k) for k in range(kind.max() + 1)):
        if len(set(groups[rows].tolist())) < 2:
            kept.append(rows)  # one group alone cannot be divided
            continue
        train, chosen = training_rows(len(rows), groups[rows], seed=seed)
        kept.append(rows[train])
        held.append(rows[chosen])
    # A group of both kinds stays whole.
    chosen = np.concatenate([np.empty(0, int), *held])
    train = np.concatenate(kept)
    train = train[~np.isin(groups[train], groups[chosen])]
    return (np.sort(train), np.sort(chosen)) if len(train) and len(chosen) else sides


class JointTokenClassifier(JointLabels, TokenClassifier):
    """A model of the catalogue that predicts all dimensions at once.

    ``fit`` takes classes (window, dimension) as numbers from 0, -1 where a dimension is not rated:
    such a window trains the shared layers and the other heads, and adds nothing to the loss of
    that head. Probabilities are (window, dimension, class). Parameters are those of
    :class:`physioemo.experiments.estimators_torch.TokenClassifier`.
    """

    def predict_proba(self, X: Any, *, channel_mask: Any = None) -> np.ndarray:
        """Probability of each class of each dimension.

        Parameters
        ----------
        X : array_like, shape (window, ...)
            Features as in ``fit``; NaN is missing.
        channel_mask : array_like of bool, shape (window, channel), optional
            True where a channel is usable.

        Returns
        -------
        ndarray, shape (window, dimension, class)
            A class that a dimension had not in training has probability 0; the others add up to 1.
        """
        return self._known_only(self._probabilities(self._features(X, channel_mask)))

    def predict(self, X: Any, *, channel_mask: Any = None) -> np.ndarray:
        """Most probable class (window, dimension); arguments as in :meth:`predict_proba`."""
        return self.classes_[self.predict_proba(X, channel_mask=channel_mask).argmax(axis=2)]

    def _probabilities(self, values: np.ndarray) -> np.ndarray:
        from scipy.special import softmax

        from physioemo.models.prediction import predict_logits

        scaled, mask = self._scaled(self._tokens(values))
        logits = predict_logits(self.model_, scaled, mask).astype(np.float64)
        there = np.asarray(mask.any(axis=1))[:, None, None]
        return np.where(there, softmax(logits, axis=2), self.prior_)
