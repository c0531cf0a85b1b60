"""Clips whose every second is known: when there is a tone, and when the picture is bright."""

import numpy as np

from tests.media_files import write_media

FPS, SOUND_HZ = 10, 16000
SIZE = (24, 32)


def planted_clip(path, *, tone=(), bright=(), seconds=6, sound_seconds=None):
    """Write a dark silent clip with a 1 kHz tone and white pictures in some of its seconds."""
    at = np.arange(seconds * FPS) / FPS
    pictures = [np.full((*SIZE, 3), 230 if int(t + 1e-9) in bright else 20, np.uint8) for t in at]
    time = np.arange(round((seconds if sound_seconds is None else sound_seconds) * SOUND_HZ))
    loud = np.isin(time // SOUND_HZ, list(tone))
    sound = 0.5 * loud * np.sin(2 * np.pi * 1000 * time / SOUND_HZ)
    write_media(path, pictures=pictures, seconds=at, sound=sound[:, None], sfreq=SOUND_HZ)
    return path
