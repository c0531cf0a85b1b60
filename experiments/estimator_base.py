"""What all estimators of the table share: scikit-learn's contract around three small steps."""

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

from physioemo.errors import CallError, SignalError
from physioemo.experiments.estimator_inputs import (
    class_codes,
    features_of,
    rating_values,
    require_several_ratings,
    training_rows,
)

__all__ = ["StudyClassifier", "StudyEstimator", "StudyRegressor"]


class StudyEstimator(BaseEstimator):
    """Shapes that are remembered from ``fit`` and asked for again afterwards."""

    seed: int
    n_axes: tuple[int, ...] = (2, 3, 4)

    def _features(self, X: Any, channel_mask: Any) -> np.ndarray:
        """Return features (window, ...) that fit those of ``fit``."""
        shape = getattr(self, "feature_shape_", None)
        if shape is None:
            raise CallError(
                f"found a {type(self).__name__} that has not been fitted, expected a fitted one; "
                "call fit first"
            )
        values = features_of(X, channel_mask, n_axes=self.n_axes)
        if values.shape[1:] != shape:
            raise SignalError(
                f"found features of shape {values.shape}, expected (window, "
                f"{', '.join(map(str, shape))}) as in fit; give the same channels and features"
            )
        return values


class StudyRegressor(RegressorMixin, StudyEstimator):
    """Base of those that say a rating as a number."""

    def _prepared_ratings(
        self, X: Any, y: Any, groups: Any, validation: Any, channel_mask: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Return checked features and ratings, and which windows train and which choose."""
        values = features_of(X, channel_mask, n_axes=self.n_axes)
        ratings = rating_values(y, len(values))
        train, chosen = training_rows(
            len(values), groups, validation, seed=self.seed, labels=ratings
        )
        require_several_ratings(ratings[train])
        self.feature_shape_ = values.shape[1:]
        return values, ratings, train, chosen


class StudyClassifier(ClassifierMixin, StudyEstimator):
    """Base of the classifiers; a subclass has ``_fit`` and ``_probabilities``."""

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        groups: Any = None,
        validation: Any = None,
        channel_mask: Any = None,
        classes: Sequence[Any] | None = None,
    ) -> Self:
        """Learn from some windows.

        Parameters
        ----------
        X : array_like, shape (window, ...)
            Features of the family that this estimator reads; NaN is missing.
        y : array_like, shape (window,)
            Class of each window.
        groups : array_like, shape (window,), optional
            Windows of one group, a trial say, go together when a fifth is held out to choose
            penalties and when to stop. Without it every window is a group of its own.
        validation : array_like of bool, shape (window,), optional
            Which windows choose, instead of ``groups``. Only scores of them are used.
        channel_mask : array_like of bool, shape (window, channel), optional
            True where a channel is usable.
        classes : sequence, optional
            All classes of the study: those absent here have probability 0.

        Raises
        ------
        SignalError
            If features or mask do not fit.
        DataError
            If labels are missing or of one class only.
        CallError
            If groups or validation rows do not fit.
        """
        values, codes, train, chosen = self._prepared(
            X, y, groups, validation, channel_mask, classes
        )
        self._fit(values, codes, train, chosen)
        return self

    def predict_proba(self, X: Any, *, channel_mask: Any = None) -> np.ndarray:
        """Probability of each class, in the order of ``classes_``.

        Parameters
        ----------
        X : array_like, shape (window, ...)
            Features as in ``fit``; NaN is missing.
        channel_mask : array_like of bool, shape (window, channel), optional
            True where a channel is usable.

        Returns
        -------
        ndarray, shape (window, class)
            Rows sum to 1.
        """
        values = self._features(X, channel_mask)
        probability = np.zeros((len(values), len(self.classes_)))
        probability[:, self.columns_] = self._probabilities(values)
        return probability / probability.sum(axis=1, keepdims=True)

    def predict(self, X: Any, *, channel_mask: Any = None) -> np.ndarray:
        """Most probable class of each window; arguments as in :meth:`predict_proba`."""
        probability = self.predict_proba(X, channel_mask=channel_mask)
        return self.classes_[probability.argmax(axis=1)]

    def _prepared(
        self, X: Any, y: Any, groups: Any, validation: Any, channel_mask: Any, classes: Any
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Check everything; return features, codes, and the two sides' rows."""
        values = features_of(X, channel_mask, n_axes=self.n_axes)
        if len(np.asarray(y)) != len(values):
            raise CallError(
                f"found {len(np.asarray(y))} labels for {len(values)} windows, expected one each"
            )
        names = np.asarray(y)
        numbers = np.unique(names, return_inverse=True)[1] if names.ndim == 1 else None
        train, chosen = self._rows(len(values), groups, validation, numbers)
        codes, self.classes_, self.columns_ = class_codes(y, train, classes)
        self.feature_shape_ = values.shape[1:]
        counts = np.bincount(codes[train], minlength=len(self.columns_))
        self.prior_ = counts / counts.sum()
        return values, codes, train, chosen[codes[chosen] >= 0]

    def _rows(
        self, n_windows: int, groups: Any, validation: Any, labels: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that train, with several classes if they can, and those that choose."""
        return training_rows(n_windows, groups, validation, seed=self.seed, labels=labels)

    def _fit(
        self, values: np.ndarray, codes: np.ndarray, train: np.ndarray, chosen: np.ndarray
    ) -> None:
        """Learn from the rows ``train``; choose by the rows ``chosen``, which may be none."""
        raise NotImplementedError

    def _probabilities(self, values: np.ndarray) -> np.ndarray:
        """Return (window, trained class)."""
        raise NotImplementedError
