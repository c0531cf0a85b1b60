"""Models of several modalities as classifiers: families side by side in one row of numbers.

See :mod:`physioemo.experiments.estimators_fused_base` for what they read. A context or a pooling
says the classes of a window from several windows of its trial; ratings may be learned beside the
classes, or in their place.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np

from physioemo.errors import CallError
from physioemo.experiments.estimator_base import StudyClassifier
from physioemo.experiments.estimator_inputs import rating_values
from physioemo.experiments.estimators_fused_base import FusedEstimator, Layout
from physioemo.experiments.fused_context import (
    RunningBag,
    WindowContext,
    whole_bags,
    window_features,
)
from physioemo.experiments.fused_fit_more import (
    ContextChoice,
    SequenceWindows,
    learn_context,
    untrained_context,
)
from physioemo.experiments.fused_heads import HEADS
from physioemo.experiments.study_fused_options import check_options
from physioemo.experiments.trial_sequences import TrialSequences, usual_hop_seconds

__all__ = ["FusedClassifier", "Layout"]

_, _JOINT, _CONTINUOUS = HEADS
_LEAST_PROBABILITY = 1e-12


class FusedClassifier(StudyClassifier, FusedEstimator):
    """Encoders of several families and a fusion of their tokens.

    Parameters
    ----------
    fusion : str
        Row of :data:`physioemo.models.fused.FUSIONS`.
    families : sequence of str, optional
        What a study hands over; those of the study by default.
    layout : sequence of (family, shape, start, stop, seconds), optional
        Where each family stands in a row, see :class:`Layout`; a study says it. Without it
        features with two axes per window are one family of electrodes, others one of numbers.
    size : {"tiny", "study"}
        Preset of encoders, fusion, context and pooling.
    modality_dropout : float
        Probability with which a family is hidden from a window in training; one always stays.
    sizes : mapping, optional
        Arguments of the fusion that win over the preset, such as ``depth``.
    encoders : mapping of str to mapping, optional
        By family, arguments of its encoder that win over the preset, and ``preset`` itself:
        ``{"audio": {"preset": "study"}}``.
    pretrained : str, optional
        Folder of ``physioemo pretrain`` whose encoders it begins with, where both have a family.
    n_epochs, batch_size, learning_rate, weight_decay, label_smoothing, patience
        As in :class:`physioemo.models.training.TrainingConfig`.
    device : str
        Where to train.
    seed : int
        Seed of the weights, the shuffles and what is hidden.
    context : str, optional
        Row of :data:`physioemo.models.temporal_context.CONTEXTS`: a window is said from itself
        and those before it in its trial, by ``offline-transformer`` also from those after it.
    pooling : str, optional
        One of :data:`physioemo.models.multiple_instance.POOLINGS`, learned from whole trials.
    bag : {"newest", "trial"}
        What a pooling says a window from: itself and the newest ones before it, as many as a
        usual trial has; or all windows of its trial, later ones too.
    heads : {"classes", "joint", "continuous"}
        Whether classes are learned, classes and ratings together, or ratings alone: then the
        probability of a class is that of its ratings under the normal distribution that is said.
    rating_weight : float
        How much ratings count beside classes.
    edges : sequence of float, optional
        Where one class ends and the next begins, from -1 to 1; a study says them. By default two
        classes meet at 0.
    """

    def __init__(
        self,
        fusion: str = "queries",
        families: Sequence[str] | None = None,
        layout: Sequence[Sequence[Any]] | None = None,
        size: str = "study",
        modality_dropout: float = 0.3,
        sizes: Mapping[str, Any] | None = None,
        encoders: Mapping[str, Mapping[str, Any]] | None = None,
        pretrained: str | None = None,
        n_epochs: int = 100,
        batch_size: int = 256,
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-3,
        label_smoothing: float = 0.12,
        patience: int = 15,
        device: str = "cpu",
        seed: int = 0,
        context: str | None = None,
        pooling: str | None = None,
        bag: str = "newest",
        heads: str = "classes",
        rating_weight: float = 1.0,
        edges: Sequence[float] | None = None,
    ) -> None:
        super().__init__(
            fusion, families, layout, size, modality_dropout, sizes, encoders, pretrained,
            n_epochs, batch_size, learning_rate, weight_decay, label_smoothing, patience, device,
            seed,
        )  # fmt: skip
        self.context = context
        self.pooling = pooling
        self.bag = bag
        self.heads = heads
        self.rating_weight = rating_weight
        self.edges = edges

    @property
    def reads_trials(self) -> bool:
        """Whether a window is said from several windows of its trial."""
        return self.context is not None or self.pooling is not None

    @property
    def reads_ratings(self) -> bool:
        """Whether it learns ratings too."""
        return self.heads != HEADS[0]

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        groups: Any = None,
        validation: Any = None,
        channel_mask: Any = None,
        classes: Sequence[Any] | None = None,
        trials: Any = None,
        onset_seconds: Any = None,
        ratings: Any = None,
    ) -> Self:
        """Learn from some windows.

        Parameters
        ----------
        X, y, groups, validation, channel_mask, classes
            As in :meth:`physioemo.experiments.estimator_base.StudyClassifier.fit`.
        trials : array_like of str, shape (window,), optional
            Name of each window's trial, which a context or a pooling asks for. The result does
            not depend on the order of the windows then.
        onset_seconds : array_like, shape (window,), optional
            When each window begins, likewise.
        ratings : array_like, shape (window,), optional
            From -1 to 1, which heads other than ``classes`` ask for.

        Raises
        ------
        SignalError, DataError, CallError
            As there; also if trials and times are asked for and do not fit.
        """
        check_options(type(self).__name__, self.get_params(deep=False))
        found = None
        if self.reads_trials:
            found = TrialSequences.of(trials, onset_seconds, len(np.asarray(y)))
            if groups is None and validation is None:
                groups = trials

        def in_order(given: Any) -> Any:
            return given if found is None or given is None else np.asarray(given)[found.order]

        X, y, groups = in_order(X), in_order(y), in_order(groups)  # noqa: N806
        values, codes, train, chosen = self._prepared(
            X, y, groups, in_order(validation), in_order(channel_mask), classes
        )
        rated = (
            self._checked_ratings(in_order(ratings), len(values)) if self.reads_ratings else None
        )
        weights = (float(self.rating_weight), float(self.heads == _JOINT))
        inputs = self._learn(values, codes, train, chosen, rated, weights)
        if self.heads == _JOINT:
            self.model_ = self._fused  # what it says of ratings has taught it, and is not asked
        if found is not None:
            self._learn_context(inputs, codes, train, chosen, found)
        return self

    def predict_proba(
        self, X: Any, *, channel_mask: Any = None, trials: Any = None, onset_seconds: Any = None
    ) -> np.ndarray:
        """Probability of each class, in the order of ``classes_``.

        Parameters
        ----------
        X : array_like, shape (window, ...)
            Features as in ``fit``; NaN is missing.
        channel_mask : array_like of bool, shape (window, channel), optional
            True where a channel is usable.
        trials, onset_seconds : array_like, shape (window,), optional
            As in ``fit``; a window is said from these windows of its trial and no others.

        Returns
        -------
        ndarray, shape (window, class)
            Rows sum to 1.
        """
        if not self.reads_trials:
            return super().predict_proba(X, channel_mask=channel_mask)
        values = self._features(X, channel_mask)
        found = TrialSequences.of(trials, onset_seconds, len(values))
        said = np.zeros((len(values), len(self.classes_)))
        said[:, self.columns_] = self._said_of_trials(values[found.order], found)
        return found.back(said / said.sum(axis=1, keepdims=True))

    def predict(
        self, X: Any, *, channel_mask: Any = None, trials: Any = None, onset_seconds: Any = None
    ) -> np.ndarray:
        """Most probable class of each window; arguments as in :meth:`predict_proba`."""
        said = self.predict_proba(
            X, channel_mask=channel_mask, trials=trials, onset_seconds=onset_seconds
        )
        return self.classes_[said.argmax(axis=1)]

    def predict_proba_from(self, X: Any, families: Sequence[str], **places: Any) -> np.ndarray:
        """Probability of each class (window, class) if only some families were there.

        Parameters
        ----------
        X : array_like
            As in :meth:`predict_proba`.
        families : sequence of str
            What is kept; with none the estimator says the shares of the classes in training.
        **places
            ``trials`` and ``onset_seconds``, as in :meth:`predict_proba`.
        """
        return self.predict_proba(self._with_only(X, families), **places)

    def _n_outputs(self) -> int:
        return len(self.columns_)

    def _checked_ratings(self, ratings: Any, n_windows: int) -> np.ndarray:
        if ratings is None:
            raise CallError(
                f"found no ratings for heads = {self.heads!r}, expected one for each window; give "
                "ratings="
            )
        n_edges = len(self._edges())
        if self.heads != _JOINT and n_edges != len(self.classes_) - 1:
            raise CallError(
                f"found {n_edges} edges for {len(self.classes_)} classes, expected one fewer than "
                "classes; give edges= between them"
            )
        return rating_values(ratings, n_windows)

    def _edges(self) -> tuple[float, ...]:
        return (0.0,) if self.edges is None else tuple(float(e) for e in self.edges)

    def _of_ratings(self, values: np.ndarray) -> np.ndarray:
        """Return the probability of the ratings of each trained class (window, class)."""
        from scipy.special import ndtr

        mean, sd, abstain = self._said_ratings(values)
        cuts = np.array([-np.inf, *self._edges(), np.inf])
        below = ndtr((cuts - mean[:, None]) / sd[:, None])
        said = np.diff(below, axis=1).clip(_LEAST_PROBABILITY)[:, self.columns_]
        said /= said.sum(axis=1, keepdims=True)
        return np.where(abstain[:, None], self.prior_, said)

    def _probabilities(self, values: np.ndarray) -> np.ndarray:
        if self.heads == _CONTINUOUS:
            return self._of_ratings(values)
        from physioemo.models.fused_training import predict_fused

        return self._of_logits(*predict_fused(self._fused, self._scaled(self._parts(values))))

    def _of_logits(self, logits: np.ndarray, abstain: np.ndarray) -> np.ndarray:
        """Return the probability of each trained class, the prior where nothing was there."""
        from scipy.special import softmax

        said = softmax(logits[:, 0].astype(np.float64), axis=1)
        return np.where(abstain[:, None], self.prior_, said)

    def _learn_context(
        self,
        inputs: Mapping[str, Any],
        codes: np.ndarray,
        train: np.ndarray,
        chosen: np.ndarray,
        found: TrialSequences,
    ) -> None:
        """Learn what several windows say, from the features of the trained model."""
        from physioemo.models.fused_training import fused_outputs

        self.hop_seconds_ = usual_hop_seconds(found.trial[train], found.onset_seconds[train])
        vectors = window_features(fused_outputs(self._fused, inputs))
        numbers = self._sequences(found)
        inner, held = (
            SequenceWindows(vectors[rows], codes[rows].reshape(len(rows), -1), numbers[rows])
            for rows in (train, chosen)
        )
        learned, self.context_training_ = learn_context(
            inner, held, self._context_choice(), n_outputs=self._n_outputs()
        )
        self.n_windows_ = learned.n_windows
        self.model_ = self._together(self._fused, {"context": learned.network})

    def _context_choice(self) -> ContextChoice:
        return ContextChoice(
            self.context,
            self.pooling,
            self.size,
            tuple(self._dimensions()),
            self._training(),
            self.seed,
        )

    def _sequences(self, found: TrialSequences) -> np.ndarray:
        """Return the number of the sequence of each window: the trial, or what follows a gap."""
        return found.trial if self.pooling is not None else found.stretches(self.hop_seconds_)

    def _said_of_trials(self, values: np.ndarray, found: TrialSequences) -> np.ndarray:
        """Return probabilities (window, trained class) of windows in order."""
        from physioemo.models.fused_training import fused_outputs

        vectors = window_features(fused_outputs(self._fused, self._scaled(self._parts(values))))
        network, sequences = self.model_["context"], self._sequences(found)
        if self.pooling is None:
            logits, abstain = WindowContext(network, self.n_windows_).batch(vectors, sequences)
        elif self.bag == "trial":
            logits, abstain = whole_bags(network, vectors, sequences)
        else:
            logits, abstain = RunningBag(network, self.n_windows_).batch(vectors, sequences)
        return self._of_logits(logits, abstain)

    def _more_parts(self) -> dict[str, Any]:
        if self.heads == _CONTINUOUS:
            return {"head": self._rating_head()}
        if not self.reads_trials:
            return {}
        return {
            "context": untrained_context(
                self.n_features_, self._n_outputs(), self._context_choice()
            )
        }
