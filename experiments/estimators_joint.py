"""Several rated dimensions in one network: shared layers, a head each, what is not rated masked."""

from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.experiments.estimator_inputs import features_of
from physioemo.experiments.estimators_torch import TokenClassifier

__all__ = ["JointTokenClassifier"]


class JointTokenClassifier(TokenClassifier):
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
        said = self._probabilities(self._features(X, channel_mask))
        said = np.where(self.known_, np.maximum(said, np.finfo(float).tiny), 0.0)
        return said / said.sum(axis=2, keepdims=True)

    def predict(self, X: Any, *, channel_mask: Any = None) -> np.ndarray:
        """Most probable class (window, dimension); arguments as in :meth:`predict_proba`."""
        return self.classes_[self.predict_proba(X, channel_mask=channel_mask).argmax(axis=2)]

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
        train, chosen = self._rows(len(values), groups, validation)
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

    def _heads(self) -> dict[str, Any]:
        return {"dimensions": [f"dimension_{k}" for k in range(len(self.known_))]}

    def _probabilities(self, values: np.ndarray) -> np.ndarray:
        from scipy.special import softmax

        from physioemo.models.prediction import predict_logits

        scaled, mask = self._scaled(self._tokens(values))
        logits = predict_logits(self.model_, scaled, mask).astype(np.float64)
        there = np.asarray(mask.any(axis=1))[:, None, None]
        return np.where(there, softmax(logits, axis=2), self.prior_)
