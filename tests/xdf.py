"""XDF files made byte by byte, apart from the code under test."""

import struct

import numpy as np

BOUNDARY = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")


def chunk(tag, content, number=None, width=4):
    own = struct.pack("<H", tag) + (b"" if number is None else struct.pack("<I", number))
    length = len(own) + len(content)
    return bytes([width]) + length.to_bytes(width, "little") + own + content


def header(number, name, n_channels, sfreq, channel_format, stype="EEG", unit="uV", desc=""):
    channels = "".join(
        f"<channel><label>c{i}</label><unit>{unit}</unit></channel>" for i in range(n_channels)
    )
    xml = (
        f"<info><name>{name}</name><type>{stype}</type><channel_count>{n_channels}</channel_count>"
        f"<nominal_srate>{sfreq}</nominal_srate><channel_format>{channel_format}</channel_format>"
        f"<source_id>s{number}</source_id><desc><channels>{channels}</channels>{desc}</desc></info>"
    )
    return chunk(2, xml.encode(), number)


def numbers(number, stamps, values):
    """Return a chunk of samples; a stamp that is None is left out of the file."""
    content = b"\x04" + struct.pack("<I", len(values))
    for stamp, row in zip(stamps, values, strict=True):
        content += b"\x00" if stamp is None else b"\x08" + struct.pack("<d", stamp)
        content += np.ascontiguousarray(row).tobytes()
    return chunk(3, content, number)


def texts(number, stamps, rows):
    content = b"\x01" + bytes([len(rows)])
    for stamp, text in zip(stamps, rows, strict=True):
        raw = text.encode() if isinstance(text, str) else text
        content += b"\x08" + struct.pack("<d", stamp) + b"\x01" + bytes([len(raw)]) + raw
    return chunk(3, content, number)


def offset(number, time, value):
    return chunk(4, struct.pack("<dd", time, value), number)


def boundary():
    return chunk(5, BOUNDARY)


def footer(number, n_samples):
    xml = f"<info><sample_count>{n_samples}</sample_count></info>"
    return chunk(6, xml.encode(), number)


def file_header():
    xml = "<info><version>1.0</version><datetime>2026-11-20T10:00:00+0100</datetime></info>"
    return chunk(1, xml.encode())


def session_chunks(n_chunks=12):
    """Return the chunks of a small recording with EEG, counts and markers.

    EEG at 100 Hz states one stamp per chunk and one within it; the counts, at 50 Hz, state all.
    """
    rng = np.random.default_rng(7)
    chunks = [
        file_header(),
        header(1, "EEG", 3, 100, "float32"),
        header(2, "Counts", 2, 50, "int16", unit="a.u."),
        header(3, "Marks", 1, 0, "string", "Markers"),
    ]
    for i in range(n_chunks):
        start = 1000 + i * 0.5
        stamps = [None] * 50
        stamps[0], stamps[23] = start, start + 0.2301
        chunks.append(numbers(1, stamps, rng.standard_normal((50, 3)).astype("<f4")))
        steady = (start + np.arange(25) / 50).tolist()
        chunks.append(numbers(2, steady, rng.integers(-9999, 9999, (25, 2)).astype("<i2")))
        chunks.append(texts(3, [start, start + 0.1], [f"Bild {i}", f"Größe {i}"]))
        if i % 4 == 0:
            chunks += [offset(n, start, -500.0 + 1e-5 * i) for n in (1, 2, 3)]
        if i % 5 == 4:
            chunks.append(boundary())
    counts = {1: 50 * n_chunks, 2: 25 * n_chunks, 3: 2 * n_chunks}
    return chunks + [footer(k, n) for k, n in counts.items()]


def write(path, chunks):
    path.write_bytes(b"XDF:" + b"".join(chunks))
    return path


def chunk_starts(chunks):
    return np.cumsum([4, *map(len, chunks)])
