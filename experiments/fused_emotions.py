"""Named emotions beside rated dimensions, in one decoder.

Some data sets name the emotion of a film (SEED), others have it rated (DEAP). A head reads the
features of the fused model of a single window and says how probable each name is. It learns from
the trials whose emotion is known; where only the name or only ratings are known, the other adds
nothing to the loss.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from physioemo.errors import CallError, DataError
from physioemo.hints import nearest, unknown_name
from physioemo.recording import Recording

__all__ = ["EmotionHead", "require_names", "trial_emotions"]

_COLUMN = "label_name"
_WEIGHTS = "emotions/weights/"
_FEWEST = 2


def require_names(emotions: Sequence[str], emotion_of: Sequence[tuple[str, str]]) -> None:
    """Refuse names of emotions that cannot be learned.

    Parameters
    ----------
    emotions : sequence of str
        All of them; none if none are to be said.
    emotion_of : sequence of (str, str)
        Stimuli and their emotion.

    Raises
    ------
    CallError
        If there is one alone, one comes twice, or a stimulus has another.
    """
    if emotion_of and not emotions:
        raise CallError(
            "found [emotion_of] without emotions, expected all their names in order; add "
            "emotions = ['negative', 'positive'], say"
        )
    if emotions and (len(emotions) < _FEWEST or len(set(emotions)) < len(emotions)):
        raise CallError(
            f"found the emotions {', '.join(emotions)}, expected two or more, each once"
        )
    for stimulus, emotion in emotion_of:
        if emotion not in emotions:
            raise unknown_name(f"the emotion of the stimulus {stimulus!r},", emotion, emotions)


def trial_emotions(
    recording: Recording, emotions: Sequence[str], emotion_of: Mapping[str, str]
) -> dict[int, int]:
    """Return the number of the emotion of each trial that has one.

    Parameters
    ----------
    recording : Recording
        Its trials have a column ``label_name``, or stimuli that are named here.
    emotions : sequence of str
        The names in the order of their numbers.
    emotion_of : mapping of str to str
        Emotions of stimuli; they win over the column.

    Raises
    ------
    DataError
        If a trial has an emotion that is not among the names.
    """
    table = recording.trials
    numbers = table["trial"].values.tolist()
    stimuli = map(str, table["stimulus"].values)
    labels = table[_COLUMN].values.tolist() if _COLUMN in table else [""] * len(numbers)
    found = {}
    for trial, stimulus, label in zip(numbers, stimuli, labels, strict=True):
        name = emotion_of.get(stimulus, "" if label is None or label != label else str(label))
        if name and name not in emotions:
            raise DataError(
                f"found the emotion {name!r} of trial {trial}, expected one of "
                f"{', '.join(emotions)}; name all emotions{nearest(name, emotions)}"
            )
        if name:
            found[int(trial)] = list(emotions).index(name)
    return found


@dataclass(frozen=True)
class EmotionHead:
    """What a decoder says of named emotions.

    Parameters
    ----------
    names : tuple of str
        The emotions.
    network : NamedHead
        From the features of all dimensions side by side.
    prior : ndarray, shape (emotion,)
        Their shares in training; what is said where nothing is there.
    temperature : float
        Calibration fitted on validation trials.
    """

    names: tuple[str, ...]
    network: Any
    prior: np.ndarray
    temperature: float = 1.0

    @classmethod
    def untrained(cls, names: Sequence[str], features: int, prior: np.ndarray) -> "EmotionHead":
        """Return a head with random weights.

        Parameters
        ----------
        names, prior
            As in the class.
        features : int
            Length of a window's features, of all dimensions together.
        """
        from physioemo.models.affect_heads import NamedHead

        network = NamedHead(embed_dim=features, n_outputs=len(names))
        return cls(tuple(names), network.eval(), np.asarray(prior, float))

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return logits (window, emotion) of features (window, dimension, embed)."""
        import torch

        flat = torch.from_numpy(np.ascontiguousarray(features)).flatten(1)
        with torch.no_grad():
            return np.asarray(self.network(flat).numpy(), float)

    def say(self, features: np.ndarray, nothing: np.ndarray) -> np.ndarray:
        """Return the probability of each emotion, shape (window, emotion).

        Parameters
        ----------
        features : ndarray, shape (window, dimension, embed)
            Of the fused model.
        nothing : ndarray of bool, shape (window,)
            Where nothing was there to go by.
        """
        from scipy.special import softmax

        said = softmax(self.logits(features) / self.temperature, axis=1)
        return np.where(nothing[:, None], self.prior, said)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what goes into a safetensors file."""
        weights = {_WEIGHTS + k: v.numpy() for k, v in self.network.state_dict().items()}
        return {**weights, "emotions/prior": np.asarray(self.prior, float)}

    def to_dict(self) -> dict[str, Any]:
        """Return the rest, ready for JSON."""
        return {
            "names": list(self.names),
            "features": self.network.out.in_features,
            "temperature": self.temperature,
        }

    @classmethod
    def from_parts(
        cls, content: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> "EmotionHead":
        """Return what :meth:`to_dict` and :meth:`arrays` gave; all weights and no other.

        Raises
        ------
        RuntimeError, KeyError, ValueError
            If a part is missing, too much, or of another shape.
        """
        import torch

        if set(content) != {"names", "features", "temperature"}:
            raise KeyError(f"fields of the emotions: {', '.join(content)}")
        names, prior = tuple(content["names"]), arrays["emotions/prior"]
        if prior.shape != (len(names),) or not content["temperature"] > 0:
            raise ValueError(f"{len(names)} emotions with a prior of shape {prior.shape}")
        head = cls.untrained(names, content["features"], prior)
        weights = {k.removeprefix(_WEIGHTS): v for k, v in arrays.items() if k.startswith(_WEIGHTS)}
        head.network.load_state_dict({k: torch.from_numpy(v) for k, v in weights.items()})
        return cls(names, head.network, prior, float(content["temperature"]))
