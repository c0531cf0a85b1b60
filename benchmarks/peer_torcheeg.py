"""TorchEEG's own transforms on windows of an array, timed on request (run by bench_preprocess).

Each line of standard input is ``NAME N_WINDOWS``; the answer is the seconds of wall clock and
of processor time that the transform took for that many windows, spread over the array. Only the
computation is timed. Values go to a file with ``save NAME N_WINDOWS FILE``.
"""

import json
import sys
import time

import numpy as np
from torcheeg.transforms import BandDifferentialEntropy, BandDifferentialEntropyV1


def main(path: str, window: int, hop: int, bands: dict[str, list[float]]) -> None:
    """Answer requests until standard input ends."""
    signal = np.load(path, mmap_mode="r")
    per_trial = 1 + (signal.shape[2] - window) // hop
    transforms = {
        "BDE": BandDifferentialEntropy(sampling_rate=128, band_dict=bands),
        "V1": BandDifferentialEntropyV1(sampling_rate=128, fft_n=window, band_dict=bands),
    }
    for line in sys.stdin:
        *save, name, n = line.split()[:3] if line.startswith("save") else line.split()
        chosen = np.linspace(0, len(signal) * per_trial - 1, int(n)).astype(int)
        where = [(i // per_trial, i % per_trial * hop) for i in chosen]
        windows = [np.array(signal[t, :, s : s + window]) for t, s in where]
        transform = transforms[name]
        began, worked = time.perf_counter(), time.process_time()
        values = [transform(eeg=w)["eeg"] for w in windows]
        seconds, worked = time.perf_counter() - began, time.process_time() - worked
        if save:
            np.save(line.split()[3], np.stack(values))
        print(seconds, worked, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), json.loads(sys.argv[4]))
