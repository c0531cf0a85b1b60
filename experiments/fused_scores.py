"""What a fused decoder's promises were worth on held-out trials."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from physioemo.experiments.fused_config import FusedConfig
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.fused_emotion_fit import SaidEmotions, emotion_note, emotion_scores
from physioemo.experiments.fused_fit import fit_fused, said_of
from physioemo.experiments.fused_heads import RatingHead
from physioemo.experiments.fused_training_data import FusedTrialData
from physioemo.experiments.fused_trust import Calibration, Trust
from physioemo.experiments.metrics import concordance

__all__ = ["HeldOut", "rating_scores", "trust_scores"]

_FEWEST_TRIALS = 2
_COVERED = {
    "window": "a window of a new trial",
    "group": "all windows of a new trial together",
}


class HeldOut:
    """What models say of windows that were not trained on; it keeps what they promised.

    Parameters
    ----------
    data : FusedTrialData
        The windows with their true labels; of others, such as permuted ones, nothing is kept.
    """

    def __init__(self, data: FusedTrialData) -> None:
        self._data = data
        self._said: list[tuple[Trust | None, Calibration]] = []
        self._ratings: list[tuple[RatingHead, Calibration, np.ndarray]] = []
        # What was said of the true emotions, and of those of each permutation.
        self._emotions: list[tuple[FusedTrialData, list[SaidEmotions]]] = []

    def __call__(
        self, data: FusedTrialData, train: np.ndarray, test: np.ndarray, config: FusedConfig
    ) -> np.ndarray:
        """Return the probability (window, dimension) of the windows `test`."""
        decoder = fit_fused(data, train, config, strict=False)
        found = said_of(decoder, data, test)
        if found.emotions is not None and data.emotions is not None:
            if not self._emotions or self._emotions[-1][0] is not data:
                self._emotions.append((data, []))
            truth, trials = data.emotions[test], data.trial_ids[test]
            self._emotions[-1][1].append(SaidEmotions(found.emotions, truth, trials))
        if data is self._data:
            self._said.append((decoder.trust, found))
            if decoder.head is not None:
                self._ratings.append((decoder.head, found, data.trial_ids[test]))
        return found.high

    def scores(self, config: FusedConfig, decoder: FusedDecoder) -> dict[str, Any]:
        """Return what goes beside the scores of the classes, ready for JSON.

        Parameters
        ----------
        config : FusedConfig
            How it was trained.
        decoder : FusedDecoder
            The final one.
        """
        found: dict[str, Any] = {}
        if config.trust is not None and decoder.trust is not None:
            found["trust"] = {
                **trust_scores(self._said, decoder.dimensions),
                "risk_wanted": config.trust.wanted_risk,
                "certainty": config.trust.certainty,
                "coverage_wanted": config.trust.wanted_coverage,
                "cover": config.trust.cover,
                "n_calibration_groups": decoder.trust.n_groups,
                "not_possible": list(decoder.trust.notes),
            }
        if self._ratings:
            found["ratings"] = rating_scores(self._ratings, decoder.dimensions)
        if self._emotions:
            (_, said), *permuted = self._emotions
            found["emotions"] = emotion_scores(
                said, [each for _, each in permuted], config.emotions
            )
        found["notes"] = _notes(found)
        if decoder.offline_only:
            found["notes"].append(
                f"Offline only: the context {config.context!r} sees later windows; no live session "
                "may use this decoder."
            )
        return found


def trust_scores(
    said: Sequence[tuple[Trust | None, Calibration]], dimensions: Sequence[str]
) -> dict[str, Any]:
    """Return how often the promises of some models held on windows that they had not seen.

    A share is the mean over groups of the share within a group, as it is promised; of groups that
    are to be covered as a whole, the share of those that are.

    Parameters
    ----------
    said : sequence of (Trust, Calibration)
        Of each fold what was fitted without it, and what was said of it.
    dimensions : sequence of str
        In the order of what was said.

    Returns
    -------
    dict
        ``n_models`` and how many of them have sets and a rule; ``answered``, the share of windows
        with an answer; ``risk``, the share of wrong answers; per dimension ``covered`` and
        ``one_class``, the share of windows in whose set is one class alone, and
        ``rating_covered``, the share of ratings in their interval. None where no model promises it.
    """
    whole = any(t is not None and t.sets is not None and t.sets.cover == "group" for t, _ in said)
    sets, ends, rules = _Shares(whole), _Shares(whole), _Shares()
    answered: list[np.ndarray] = []
    single: list[np.ndarray] = []
    n_sets = n_rules = 0
    for trust, found in said:
        if trust is None:
            continue
        rated = (found.labels >= 0) & ~found.abstain[:, None]
        if trust.sets is not None:
            n_sets += 1
            possible = trust.possible(found.high)
            truth = np.maximum(found.labels, 0)[..., None]
            holds = np.take_along_axis(possible, truth, axis=2)[..., 0]
            sets.add(holds, rated, found.groups)
            single.append(possible.sum(axis=2)[~found.abstain] == 1)
        if trust.intervals is not None and found.mean is not None and found.ratings is not None:
            low, high = np.moveaxis(trust.intervals.intervals(found.mean, found.sd), -1, 0)
            known = np.isfinite(found.ratings) & ~found.abstain[:, None]
            ends.add((low <= found.ratings) & (found.ratings <= high), known, found.groups)
        if trust.rule is not None:
            n_rules += 1
            sure = np.maximum(found.high, 1 - found.high).min(axis=1)
            speaks = ~trust.rule.abstain(sure) & ~found.abstain
            answered.append(speaks)
            wrong = (found.high > 0.5) != (found.labels == 1)
            rules.add(wrong, rated & speaks[:, None], found.groups)
    covered, alone = sets.of_dimensions(len(dimensions)), np.concatenate(single or [np.empty(0)])
    reached = ends.of_dimensions(len(dimensions))
    return {
        "n_models": len(said),
        "n_with_sets": n_sets,
        "n_with_rule": n_rules,
        "answered": float(np.concatenate(answered).mean()) if answered else None,
        "risk": rules.of_all(),
        "dimensions": {
            name: {
                "covered": covered[d],
                "one_class": float(alone[:, d].mean()) if len(alone) else None,
                "rating_covered": reached[d],
            }
            for d, name in enumerate(dimensions)
        },
    }


def rating_scores(
    said: Sequence[tuple[RatingHead, Calibration, np.ndarray]], dimensions: Sequence[str]
) -> dict[str, dict[str, float | int | None]]:
    """Return how well ratings of held-out trials were told, beside the mean of training.

    Parameters
    ----------
    said : sequence of (RatingHead, Calibration, trial names)
        Of each fold the head, what was said of its windows, and of which trial each is.
    dimensions : sequence of str
        In the order of what was said.

    Returns
    -------
    dict
        By dimension ``n_trials``, ``ccc`` (concordance of the mean over a trial's windows),
        ``mae`` and ``mae_of_mean`` (mean error of the mean rating of training, the baseline) in
        units of the ratings; None without two rated trials.
    """
    rows: dict[str, list[tuple[float, float, float]]] = {d: [] for d in dimensions}
    for head, found, trials in said:
        if found.mean is None or found.ratings is None:
            continue
        values, truth = head.scale.outwards(found.mean), head.scale.outwards(found.ratings)
        usual = head.scale.outwards(head.prior)
        for trial in np.unique(trials.astype(str)):
            mine = (trials == trial) & ~found.abstain
            for d, name in enumerate(dimensions):
                if mine.any() and np.isfinite(truth[mine, d]).all():
                    told = float(values[mine, d].mean())
                    rows[name].append((float(truth[mine, d].mean()), told, float(usual[d])))
    return {name: _rating_score(np.array(found).reshape(-1, 3)) for name, found in rows.items()}


def _rating_score(rows: np.ndarray) -> dict[str, float | int | None]:
    """Return the score of trials: true, told and usual rating."""
    truth, told, usual = rows.T
    if len(rows) < _FEWEST_TRIALS:
        return {"n_trials": len(rows), "ccc": None, "mae": None, "mae_of_mean": None}
    return {
        "n_trials": len(rows),
        "ccc": concordance(truth, told),
        "mae": float(np.abs(truth - told).mean()),
        "mae_of_mean": float(np.abs(truth - usual).mean()),
    }


class _Shares:
    """Shares within groups, or whether all of a group is true; and their mean."""

    def __init__(self, whole: bool = False) -> None:
        self._whole = whole
        self._rows: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def add(self, true: np.ndarray, counted: np.ndarray, groups: np.ndarray) -> None:
        """Take windows (window, dimension); what is not counted is left out."""
        self._rows.append((true, counted, groups))

    def of_dimensions(self, n: int) -> list[float | None]:
        """Return the share of each dimension."""
        return [self._mean(slice(d, d + 1)) for d in range(n)]

    def of_all(self) -> float | None:
        """Return the share of all dimensions together."""
        return self._mean(slice(None))

    def _mean(self, dimensions: slice) -> float | None:
        shares = []
        for true, counted, groups in self._rows:
            for group in np.unique(groups.astype(str)):
                mine = groups == group
                values = true[mine, dimensions][counted[mine, dimensions]]
                if len(values):
                    shares.append(float(values.all() if self._whole else values.mean()))
        return float(np.mean(shares)) if shares else None


def _notes(found: dict[str, Any]) -> list[str]:
    """Return sentences that stand beside the scores."""
    notes = []
    for name, score in found.get("ratings", {}).items():
        if score["ccc"] is not None:
            notes.append(
                f"Ratings of {name}: concordance {score['ccc']:.2f} on held-out trials, mean error "
                f"{score['mae']:.2f} (of the mean rating {score['mae_of_mean']:.2f})."
            )
    if "emotions" in found:
        notes.append(emotion_note(found["emotions"]))
    trust = found.get("trust")
    if trust is not None:
        notes += [f"Not promised: {text}." for text in trust["not_possible"]]
        if trust["risk"] is not None:
            notes.append(
                f"Silence: {trust['answered']:.0%} of held-out windows were answered, "
                f"{trust['risk']:.0%} of these answers were wrong; at most "
                f"{trust['risk_wanted']:.0%} is promised with {trust['certainty']:.0%} certainty "
                f"({_of(trust, 'n_with_rule')})."
            )
        for key, what in (("covered", "Sets of classes"), ("rating_covered", "Intervals")):
            covered = {d: s[key] for d, s in trust["dimensions"].items()}
            told = ", ".join(f"{d} {v:.2f}" for d, v in covered.items() if v is not None)
            if told:
                notes.append(
                    f"{what} held the truth of held-out trials in {told}; "
                    f"{trust['coverage_wanted']:g} is promised for {_COVERED[trust['cover']]}."
                )
    return notes


def _of(trust: dict[str, Any], key: str) -> str:
    return f"{trust[key]} of {trust['n_models']} models of the cross-validation"
