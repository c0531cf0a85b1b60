"""Models of several modalities that say several dimensions at once, what is not rated masked."""

from typing import Any, Self

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.estimators_fused import FusedClassifier
from physioemo.experiments.estimators_joint import JointLabels
from physioemo.experiments.fused_heads import HEADS
from physioemo.experiments.trial_sequences import TrialSequences

__all__ = ["JointFusedClassifier"]


class JointFusedClassifier(JointLabels, FusedClassifier):
    """Encoders of several families, a fusion of their tokens, and a question per dimension.

    ``fit`` takes classes (window, dimension) as numbers from 0, -1 where a dimension is not rated:
    such a window trains the encoders and the other dimensions, and adds nothing to the loss of
    that one. Probabilities are (window, dimension, class). Parameters are those of
    :class:`physioemo.experiments.estimators_fused.FusedClassifier`; ``heads`` is ``classes``.
    """

    def fit(self, X: Any, y: Any, **more: Any) -> Self:
        """Learn from some windows.

        Parameters
        ----------
        X : array_like, shape (window, ...)
            Features of the families.
        y : array_like of int, shape (window, dimension)
            Classes from 0, -1 where not rated.
        **more
            As in :meth:`physioemo.experiments.estimators_fused.FusedClassifier.fit`.

        Raises
        ------
        CallError
            If `y` is of another kind, ratings are asked for too, or as there.
        SignalError, DataError
            As there.
        """
        if self.heads != HEADS[0]:
            raise CallError(
                f"found heads = {self.heads!r} for a model of all dimensions, expected "
                f"{HEADS[0]!r}; leave heads or joint out"
            )
        return super().fit(X, y, **more)

    def predict_proba(
        self, X: Any, *, channel_mask: Any = None, trials: Any = None, onset_seconds: Any = None
    ) -> np.ndarray:
        """Probability of each class of each dimension.

        Parameters
        ----------
        X, channel_mask, trials, onset_seconds
            As in :meth:`physioemo.experiments.estimators_fused.FusedClassifier.predict_proba`.

        Returns
        -------
        ndarray, shape (window, dimension, class)
            A class that a dimension had not in training has probability 0; the others add up to 1.
        """
        values = self._features(X, channel_mask)
        if not self.reads_trials:
            return self._known_only(self._probabilities(values))
        found = TrialSequences.of(trials, onset_seconds, len(values))
        said = self._said_of_trials(values[found.order], found)
        return found.back(self._known_only(said))

    def predict(
        self, X: Any, *, channel_mask: Any = None, trials: Any = None, onset_seconds: Any = None
    ) -> np.ndarray:
        """Most probable class (window, dimension); arguments as in :meth:`predict_proba`."""
        said = self.predict_proba(
            X, channel_mask=channel_mask, trials=trials, onset_seconds=onset_seconds
        )
        return self.classes_[said.argmax(axis=2)]

    def _dimensions(self) -> list[str]:
        return list(self._heads()["dimensions"])

    def _of_logits(self, logits: np.ndarray, abstain: np.ndarray) -> np.ndarray:
        from scipy.special import softmax

        said = softmax(logits.astype(np.float64), axis=2)
        return np.where(abstain[:, None, None], self.prior_, said)
