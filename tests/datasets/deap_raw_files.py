"""Files of DEAP's raw recordings as the tests see and change them, without the project's reader."""

import csv

import numpy as np

from physioemo.datasets.deap_raw import read_deap_raw
from physioemo.datasets.deap_raw_fixture import bdf_samples

SECONDS = 1.0
HERTZ, HEADER = 512, 256


def read(folder, subject):
    return read_deap_raw(folder, subject, video_seconds=SECONDS)


def decode(path):
    """Return labels and stored numbers, without the project's reader."""
    data = path.read_bytes()
    n = int(data[252:256])
    labels = [data[256 + 16 * k : 272 + 16 * k].decode().strip() for k in range(n)]
    three = np.frombuffer(data[256 * (n + 1) :], np.uint8).reshape(-1, n, HERTZ, 3).astype(int)
    stored = three @ [1, 256, 65536]
    stored -= (stored >= 2**23) * 2**24
    return labels, stored.swapaxes(0, 1).reshape(n, -1)


def table(folder):
    with (folder / "participant_ratings.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def rewrite(folder, rows):
    with (folder / "participant_ratings.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)


def edit(path, change):
    """Change the stored numbers (channel, time) of a file."""
    data = path.read_bytes()
    labels, stored = decode(path)
    change(labels, stored)
    records = np.split(stored, stored.shape[1] // HERTZ, axis=1)
    path.write_bytes(data[: HEADER * (len(labels) + 1)] + b"".join(map(bdf_samples, records)))
