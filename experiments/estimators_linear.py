"""Estimators without a network: majority, logistic and ridge regression, support vectors.

Features are laid flat, scaled by the training windows, missing ones set to the training mean, and
whether a feature was missing is a feature of its own.
"""

from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn.dummy import DummyRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.svm import SVC

from physioemo.errors import CallError
from physioemo.experiments.estimator_base import StudyClassifier, StudyRegressor
from physioemo.experiments.estimator_inputs import (
    Scaler,
)

__all__ = [
    "FlatInput",
    "Logistic",
    "Majority",
    "MeanRating",
    "PenaltyChoice",
    "RidgeRatings",
    "SupportVectors",
    "balanced_loss",
]

PENALTIES = (1e-3, 1e-2, 1e-1, 1.0, 10.0)
_MOST_ITERATIONS = 2000


def require_positive(name: str, values: Any) -> None:
    """Refuse an option that is not made of positive numbers.

    Raises
    ------
    CallError
        If it is empty, or one of them is no number above 0.
    """
    listed = isinstance(values, list | tuple) and len(values) > 0
    if not listed or not all(
        isinstance(v, int | float) and not isinstance(v, bool) and 0 < v < np.inf for v in values
    ):
        found = values[0] if listed and len(values) == 1 else values
        raise CallError(f"found {name} = {found!r}, expected numbers above 0; correct the option")


@dataclass(frozen=True)
class FlatInput:
    """From features of any shape to a complete, scaled table."""

    scaler: Scaler
    missing: np.ndarray  # features that were missing at least once in training

    @classmethod
    def fit(cls, values: np.ndarray) -> "FlatInput":
        """Learn from training windows (window, ...); NaN is missing."""
        flat = values.reshape(len(values), -1)
        return cls(Scaler.fit(flat), np.flatnonzero(np.isnan(flat).any(axis=0)))

    def apply(self, values: np.ndarray) -> np.ndarray:
        """Return (window, feature) without NaN, and columns that say what was missing."""
        flat = self.scaler.apply(values.reshape(len(values), -1))
        gaps = np.isnan(flat)
        return np.hstack([np.where(gaps, 0.0, flat), gaps[:, self.missing].astype(float)])


class Majority(StudyClassifier):
    """The shares of the classes among the training windows, whatever the features say.

    Parameters
    ----------
    seed : int
        Which groups are held out where groups are given.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def _fit(
        self, values: np.ndarray, codes: np.ndarray, train: np.ndarray, chosen: np.ndarray
    ) -> None:
        pass

    def _probabilities(self, values: np.ndarray) -> np.ndarray:
        return np.tile(self.prior_, (len(values), 1))


class PenaltyChoice(StudyClassifier):
    """A model whose penalty is chosen by the loss on validation rows; the first of equal ones.

    Parameters
    ----------
    penalties : tuple of float
        Inverse strengths ``C`` to choose from.
    seed : int
        Which groups are held out.
    """

    def __init__(self, penalties: tuple[float, ...] = PENALTIES, seed: int = 0) -> None:
        self.penalties = penalties
        self.seed = seed

    def check_options(self) -> None:
        """Refuse penalties that are none, before anything is fitted."""
        require_positive("penalties", self.penalties)

    def _fit(
        self, values: np.ndarray, codes: np.ndarray, train: np.ndarray, chosen: np.ndarray
    ) -> None:
        self.input_ = FlatInput.fit(values[train])
        rows, held = self.input_.apply(values[train]), self.input_.apply(values[chosen])
        best = np.inf
        for penalty in self.penalties:
            model = self._trained(rows, codes[train], penalty)
            loss = balanced_loss(self._said(model, held), codes[chosen]) if len(held) else 0.0
            if loss < best:
                best, self.model_, self.penalty_ = loss, model, penalty

    def _probabilities(self, values: np.ndarray) -> np.ndarray:
        return self._said(self.model_, self.input_.apply(values))

    def _trained(self, rows: np.ndarray, codes: np.ndarray, penalty: float) -> Any:
        """Return the model of some rows with one penalty."""
        raise NotImplementedError

    def _said(self, model: Any, rows: np.ndarray) -> np.ndarray:
        """Return what a model says of some rows, (window, trained class)."""
        raise NotImplementedError


class Logistic(PenaltyChoice):
    """Logistic regression, classes weighted equally; parameters as in :class:`PenaltyChoice`."""

    def _trained(self, rows: np.ndarray, codes: np.ndarray, penalty: float) -> Any:
        return LogisticRegression(
            C=penalty, class_weight="balanced", max_iter=_MOST_ITERATIONS
        ).fit(rows, codes)

    def _said(self, model: Any, rows: np.ndarray) -> np.ndarray:
        return model.predict_proba(rows)


class SupportVectors(StudyClassifier):
    """Support vector machine with a Gaussian kernel, classes weighted equally.

    Probabilities are the softmax of decision values at a temperature learned on validation rows.

    Parameters
    ----------
    C : float
        Inverse strength of the penalty.
    seed : int
        Which groups are held out.
    """

    def __init__(self, C: float = 1.0, seed: int = 0) -> None:
        self.C = C
        self.seed = seed

    def check_options(self) -> None:
        """Refuse a strength that is none, before anything is fitted."""
        require_positive("C", (self.C,))

    def _fit(
        self, values: np.ndarray, codes: np.ndarray, train: np.ndarray, chosen: np.ndarray
    ) -> None:
        from physioemo.models.calibration import fit_temperature

        self.input_ = FlatInput.fit(values[train])
        # The seed keeps it off NumPy's global state; without probabilities nothing is random.
        self.model_ = SVC(C=self.C, class_weight="balanced", random_state=self.seed)
        self.model_.fit(self.input_.apply(values[train]), codes[train])
        self.temperature_ = np.ones(1)
        if len(chosen):
            self.temperature_ = fit_temperature(self._logits(values[chosen]), codes[chosen])

    def _logits(self, values: np.ndarray) -> np.ndarray:
        decision = self.model_.decision_function(self.input_.apply(values))
        return decision if decision.ndim == 2 else np.stack([-decision, decision], axis=1) / 2

    def _probabilities(self, values: np.ndarray) -> np.ndarray:
        from physioemo.models.calibration import calibrated_probability

        return calibrated_probability(self._logits(values), self.temperature_)


class RidgeRatings(StudyRegressor):
    """Ridge regression of a continuous rating.

    Parameters
    ----------
    penalties : tuple of float
        Strengths per window to choose from by the squared error on validation rows.
    seed : int
        Which groups are held out.
    """

    def __init__(self, penalties: tuple[float, ...] = PENALTIES, seed: int = 0) -> None:
        self.penalties = penalties
        self.seed = seed

    def check_options(self) -> None:
        """Refuse penalties that are none, before anything is fitted."""
        require_positive("penalties", getattr(self, "penalties", PENALTIES))

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        groups: Any = None,
        validation: Any = None,
        channel_mask: Any = None,
    ) -> Self:
        """Learn ratings from some windows; arguments as for the classifiers.

        Raises
        ------
        DataError
            If a rating is missing, or all are equal.
        """
        values, ratings, train, chosen = self._prepared_ratings(
            X, y, groups, validation, channel_mask
        )
        self.input_ = FlatInput.fit(values[train])
        rows, held = self.input_.apply(values[train]), self.input_.apply(values[chosen])
        self._learn(rows, ratings[train], held, ratings[chosen])
        return self

    def _learn(
        self, rows: np.ndarray, ratings: np.ndarray, held: np.ndarray, held_ratings: np.ndarray
    ) -> None:
        best = np.inf
        for penalty in self.penalties:
            model = Ridge(alpha=penalty * len(rows)).fit(rows, ratings)
            error = float(np.mean((model.predict(held) - held_ratings) ** 2))
            if error < best:
                best, self.model_, self.penalty_ = error, model, penalty

    def predict(self, X: Any, *, channel_mask: Any = None) -> np.ndarray:
        """Rating of each window.

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
        return self.model_.predict(self.input_.apply(values))


def balanced_loss(probability: np.ndarray, codes: np.ndarray) -> float:
    """Return the mean over classes of the mean negative log-probability of each."""
    losses = -np.log(probability[np.arange(len(codes)), codes].clip(1e-12))
    return float(np.mean([losses[codes == code].mean() for code in np.unique(codes)]))


class MeanRating(RidgeRatings):
    """The mean rating of the training windows, whatever the features.

    Parameters
    ----------
    seed : int
        Which groups are held out, as for the models beside it.
    """

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def _learn(
        self, rows: np.ndarray, ratings: np.ndarray, held: np.ndarray, held_ratings: np.ndarray
    ) -> None:
        self.model_ = DummyRegressor().fit(rows, ratings)
