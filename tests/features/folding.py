"""One function folded over the chunks of a signal, as a live session does it."""

import numpy as np

from physioemo.features.entropy import start_entropy, step_entropy


def folded(extractor, signal, cuts):
    """Return the values of an extractor that is given a signal in pieces, cut at `cuts`."""
    state, parts = extractor.start(), []
    for chunk in np.split(signal, sorted(cuts), axis=1):
        values, state = extractor.step(chunk, state)
        parts.append(values)
    return np.concatenate(parts)


def folded_entropy(signal, cuts, recipe):
    """Return the entropy of a signal that comes in pieces, cut at `cuts`."""
    state, parts = start_entropy(len(signal), recipe), []
    for chunk in np.split(signal, sorted(cuts), axis=1):
        made, state = step_entropy(chunk, state, recipe)
        parts.append(made)
    return np.concatenate(parts)
