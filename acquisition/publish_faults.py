"""Publishing with or without faults on command."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from physioemo.acquisition.faults import (
    Fault,
    announce,
    check_faults,
    faulty_blocks,
    faulty_description,
    outages,
)
from physioemo.acquisition.publish import Block, publish
from physioemo.description import StreamDescription

__all__ = ["publish_with_faults"]


def publish_with_faults(
    blocks: Iterable[Block],
    descriptions: Mapping[str, StreamDescription],
    faults: Sequence[Fault],
    *,
    seed: int,
    **options: Any,
) -> int:
    """Publish blocks with faults in them; return the number of samples that were pushed.

    The header of every stream tells its faults, so that a recording of it tells them as well.

    Parameters
    ----------
    blocks, descriptions, **options
        See :func:`physioemo.acquisition.publish.publish`.
    faults : sequence of Fault
        What to plant; with none, everything goes out as it is.
    seed : int
        Same seed, same faults.

    Raises
    ------
    CallError
        If a fault is for a stream that is not there.
    """
    if not faults:
        return publish(blocks, descriptions, **options)
    check_faults(faults, descriptions)
    return publish(
        faulty_blocks(blocks, faults, descriptions, seed=seed),
        {k: faulty_description(faults, k, d) for k, d in descriptions.items()},
        faults={k: announce(faults, k, d, seed) for k, d in descriptions.items()},
        outages=outages(faults, descriptions),
        **options,
    )
