"""Which electrodes face one another: left and right, front and back, by their 10-05 names.

Names: Oostenveld and Praamstra (2001), Clin. Neurophysiol. 112:713-719; odd numbers are left,
even ones right. Left-right and front-back pairs are those of Zheng and Lu (2015), IEEE Trans.
Auton. Ment. Dev. 7:162-175: in SEED's 62 electrodes 27 and 23.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

from physioemo.errors import SignalError

__all__ = ["ElectrodePair", "caudality_pairs", "homologous_pairs"]

_ROWS = (
    *("FP", "AFP", "AF", "AFF", "F", "FFC", "FFT", "FC", "FT", "FCC", "FTT", "C", "T", "CB"),
    *("CCP", "TTP", "CP", "TP", "CPP", "TPP", "P", "PPO", "PO", "POO", "O", "OI", "I"),
)
_ELECTRODE = re.compile(rf"({'|'.join(_ROWS)})(Z|(?:10|[1-9])H?)")
_OLD_NAMES = {"T3": "T7", "T4": "T8", "T5": "P7", "T6": "P8"}

# Row in front -> rows behind that may face it, the first that is there. Zheng and Lu set AF3 and
# AF4 against CB1 and CB2; where there is no such electrode, the mirrored row stands in.
_BEHIND = {"FP": ("O",), "AF": ("PO",), "F": ("P",), "FC": ("CP",), "FT": ("TP",)}
_AGAINST_CEREBELLUM = {"AF3": "CB1", "AF4": "CB2"}


class ElectrodePair(NamedTuple):
    """Two channels that face one another: the left or frontal one first."""

    first: int
    second: int
    name: str


def homologous_pairs(ch_names: Sequence[str]) -> tuple[ElectrodePair, ...]:
    """Return the pairs of left and right electrodes, in the order of the left ones.

    Parameters
    ----------
    ch_names : sequence of str
        Channels by their 10-05 names (any case; T3 to T6 as the 10-20 system had them). Others
        form no pair.

    Raises
    ------
    SignalError
        If two channels have names of one electrode.
    """
    there = _electrodes(ch_names)
    pairs = []
    for (row, number), left in there.items():
        digits = number.rstrip("H")
        if not digits.isdigit() or int(digits) % 2 == 0:
            continue
        right = there.get((row, number.replace(digits, str(int(digits) + 1))))
        if right is not None:
            pairs.append(_pair(left, right, ch_names))
    return tuple(pairs)


def caudality_pairs(ch_names: Sequence[str]) -> tuple[ElectrodePair, ...]:
    """Return the pairs of a frontal and a posterior electrode, in the order of the frontal ones.

    FT faces TP, FC faces CP, F faces P, Fp faces O; AF3 and AF4 face CB1 and CB2, or else AF
    faces PO.

    Parameters
    ----------
    ch_names : sequence of str
        As in :func:`homologous_pairs`.

    Raises
    ------
    SignalError
        If two channels have names of one electrode.
    """
    there = _electrodes(ch_names)
    pairs = []
    for (row, number), front in there.items():
        facing = [_split(_AGAINST_CEREBELLUM.get(row + number, ""))]
        facing += [(behind, number) for behind in _BEHIND.get(row, ())]
        back = next((there[f] for f in facing if f in there), None)
        if back is not None:
            pairs.append(_pair(front, back, ch_names))
    return tuple(pairs)


def _pair(first: int, second: int, ch_names: Sequence[str]) -> ElectrodePair:
    return ElectrodePair(first, second, f"{ch_names[first]}-{ch_names[second]}")


def _split(name: str) -> tuple[str, str] | None:
    """Return row and number of an electrode's name, None if it is none."""
    name = name.strip().upper()
    found = _ELECTRODE.fullmatch(_OLD_NAMES.get(name, name))
    return (found[1], found[2]) if found else None


def _electrodes(ch_names: Sequence[str]) -> dict[tuple[str, str], int]:
    """Return the channel of each electrode (row, number)."""
    there: dict[tuple[str, str], int] = {}
    for channel, name in enumerate(ch_names):
        electrode = _split(name)
        if electrode is None:
            continue
        if electrode in there:
            raise SignalError(
                f"found the channels {ch_names[there[electrode]]!r} and {name!r}, expected one "
                "channel per electrode; rename one of them"
            )
        there[electrode] = channel
    return there
