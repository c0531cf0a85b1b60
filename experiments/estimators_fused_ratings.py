"""A model of several modalities that says a rating as a number, with its spread.

It reads what :class:`physioemo.experiments.estimators_fused.FusedClassifier` reads. Its head says
mean and standard deviation of a normal distribution (Nix & Weigend 1994) and learns ``1 -
concordance`` (Lin 1989) with a share of the negative log-likelihood.
"""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin

from physioemo.experiments.estimator_inputs import (
    features_of,
    rating_values,
    require_several_ratings,
    training_rows,
)
from physioemo.experiments.estimators_fused_base import FusedEstimator

__all__ = ["FusedRatings"]

_CLASSES = 2
_OF_RATINGS_ALONE = (1.0, 0.0)


class FusedRatings(RegressorMixin, FusedEstimator):
    """Encoders of several families, a fusion of their tokens, and a rating instead of a class.

    Parameters
    ----------
    fusion, families, layout, size, modality_dropout, sizes, encoders, pretrained, n_epochs, \
batch_size, learning_rate, weight_decay, label_smoothing, patience, device, seed
        As in :class:`physioemo.experiments.estimators_fused.FusedClassifier`; a batch has 64
        windows or more, and smoothing of labels is of no use here.
    """

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        groups: Any = None,
        validation: Any = None,
        channel_mask: Any = None,
    ) -> Self:
        """Learn ratings, with 0 in the middle of their scale, from some windows.

        Parameters
        ----------
        X, groups, validation, channel_mask
            As for the classifiers.
        y : array_like, shape (window,)
            Rating of each window.

        Raises
        ------
        SignalError, CallError
            As for the classifiers.
        DataError
            If a rating is missing, or all are equal.
        """
        values = features_of(X, channel_mask, n_axes=self.n_axes)
        ratings = rating_values(y, len(values))
        train, chosen = training_rows(
            len(values), groups, validation, seed=self.seed, labels=ratings
        )
        require_several_ratings(ratings[train])
        self.feature_shape_ = values.shape[1:]
        self.prior_, self.spread_ = float(ratings[train].mean()), float(ratings[train].std())
        # The model has classes that are never learned nor asked for.
        codes = (ratings > self.prior_).astype(int)
        self._learn(values, codes, train, chosen, ratings, _OF_RATINGS_ALONE)
        return self

    def predict(self, X: Any, *, channel_mask: Any = None) -> np.ndarray:
        """Rating of each window; where nothing is there, the mean rating of training.

        Parameters
        ----------
        X : array_like, shape (window, ...)
            Features as in ``fit``; NaN is missing.
        channel_mask : array_like of bool, shape (window, channel), optional
            True where a channel is usable.

        Returns
        -------
        ndarray, shape (window,)
        """
        values = self._features(X, channel_mask)
        mean, _, abstain = self._said_ratings(values)
        return np.where(abstain, self.prior_, mean)

    def predict_spread(self, X: Any, *, channel_mask: Any = None) -> np.ndarray:
        """Return the standard deviation of what is said of each window, shape (window,).

        Parameters
        ----------
        X, channel_mask
            As in :meth:`predict`.
        """
        _, sd, abstain = self._said_ratings(self._features(X, channel_mask))
        return np.where(abstain, self.spread_, sd)

    def predict_from(self, X: Any, families: Sequence[str]) -> np.ndarray:
        """Rating of each window (window,) if only some families were there.

        Parameters
        ----------
        X : array_like
            As in :meth:`predict`.
        families : sequence of str
            What is kept.
        """
        return self.predict(self._with_only(X, families))

    def _n_outputs(self) -> int:
        return _CLASSES

    def _more_parts(self) -> dict[str, Any]:
        return {"head": self._rating_head()}
