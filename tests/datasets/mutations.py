"""Damage to files, for the tests of all readers."""

import numpy as np


def mutations(data, n=60, seed=0):
    """Yield `n` damaged versions of a file's bytes: cut, flipped, overwritten, lengthened."""
    rng = np.random.default_rng(seed)
    for i in range(n):
        at = int(rng.integers(0, len(data)))
        head = int(rng.integers(0, min(len(data), 400)))  # most of the structure lies here
        if i % 5 == 0:
            yield data[:at]
        elif i % 5 == 1:
            yield data[:head]
        elif i % 5 == 4:
            yield data[:head] + bytes(rng.integers(0, 256, 8, np.uint8)) + data[head + 8 :]
        else:
            place = at if i % 5 == 2 else head
            flipped = bytes([data[place] ^ (1 << int(rng.integers(0, 8)))])
            yield data[:place] + flipped + data[place + 1 :]
    yield b""
    yield data + b"more"
    yield b"<html>not found</html>"
