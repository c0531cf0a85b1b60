"""Small video and sound files whose every picture and sample is known."""

from fractions import Fraction

import numpy as np

BASE = Fraction(1, 1000)


def write_media(path, *, pictures=(), seconds=(), sound=None, sfreq=16000, layout="mono", lead=0):
    """Write lossless video and sound.

    Parameters
    ----------
    path : Path
        Of a Matroska file.
    pictures : sequence of uint8 arrays (height, width, 3)
        Frames.
    seconds : sequence of float
        When each is shown, whole milliseconds.
    sound : ndarray, shape (time, channel), optional
        Full scale 1.
    sfreq, layout
        Of the sound.
    lead : float
        Seconds by which the sound begins later.
    """
    import av

    with av.open(str(path), "w") as container:
        video = None
        if len(pictures):
            video = container.add_stream("ffv1", rate=25)
            video.height, video.width = np.shape(pictures[0])[:2]
            video.pix_fmt, video.time_base, video.codec_context.time_base = "bgr0", BASE, BASE
        speech = None if sound is None else container.add_stream("pcm_s16le", rate=sfreq)
        if speech is not None:
            speech.layout = layout
        for picture, at in zip(pictures, seconds, strict=True):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame = frame.reformat(format="bgr0")
            frame.pts, frame.time_base = round(at / BASE), BASE
            container.mux(video.encode(frame))
        if video is not None:
            container.mux(video.encode(None))
        if speech is not None:
            samples = np.round(np.asarray(sound) * 32767).astype(np.int16)
            block = av.AudioFrame.from_ndarray(samples.reshape(1, -1), format="s16", layout=layout)
            block.sample_rate, block.pts = sfreq, round(lead * sfreq)
            block.time_base = Fraction(1, sfreq)
            container.mux([*speech.encode(block), *speech.encode(None)])
