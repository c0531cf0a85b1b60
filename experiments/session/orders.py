"""In which order the stimuli of a block come: fixed, shuffled within limits, or counterbalanced."""

from collections import Counter
from collections.abc import Mapping, Sequence

from physioemo.errors import CallError
from physioemo.experiments.session.draws import Draws

__all__ = ["fixed_order", "shuffled_order", "williams_design"]

_ATTEMPTS = 500


def fixed_order(stimuli: Sequence[str], n_trials: int) -> list[str]:
    """Return the stimuli as they are listed, from the beginning again after the last."""
    return [stimuli[i % len(stimuli)] for i in range(n_trials)]


def williams_design(n: int) -> list[list[int]]:
    """Return a square of orders of `n` things that balances first-order carry-over.

    Each thing is once at each place and follows each other thing equally often: once in the `n`
    rows of an even square, twice in the `2 n` rows of an odd one. Williams (1949), Experimental
    designs balanced for the estimation of residual effects of treatments, Aust. J. Sci. Res. 2.
    """
    # 0, 1, n - 1, 2, n - 2, ...: neighbours differ by every number but 0, once each.
    first = [(i + 1) // 2 if i % 2 else (n - i // 2) % n for i in range(n)]
    rows = [[(x + shift) % n for x in first] for shift in range(n)]
    return rows if n % 2 == 0 else rows + [row[::-1] for row in rows]


def shuffled_order(
    groups: Mapping[str, str],
    n_trials: int,
    draws: Draws,
    *,
    max_in_row: int = 0,
    may_repeat: bool = False,
) -> list[str]:
    """Return a random order that shows every stimulus equally often, give or take one.

    Parameters
    ----------
    groups : mapping of str to str
        Group (quadrant) of each stimulus.
    n_trials : int
        How many.
    draws : Draws
        Where the chance comes from.
    max_in_row : int
        No more than so many of one group in a row; 0 for no limit.
    may_repeat : bool
        Whether a stimulus may follow itself.

    Raises
    ------
    CallError
        If no such order is found.
    """
    limit = max_in_row or n_trials
    for _ in range(_ATTEMPTS):
        rounds, rest = divmod(n_trials, len(groups))
        left = Counter(dict.fromkeys(groups, rounds))
        left.update(draws.shuffled(list(groups))[:rest])
        order = _attempt(groups, left, draws, limit, may_repeat)
        if order:
            return order
    repeated = "" if may_repeat else " and none after itself"
    raise CallError(
        f"found no order of {len(groups)} stimuli in {n_trials} trials with at most {limit} of a "
        f"quadrant in a row{repeated}, expected one; loosen the limits or add stimuli"
    )


def _attempt(
    groups: Mapping[str, str], left: Counter[str], draws: Draws, limit: int, may_repeat: bool
) -> list[str]:
    """Return one order, empty if it came to a place where nothing fits."""
    in_group = Counter[str]()
    for stimulus, count in left.items():
        in_group[groups[stimulus]] += count
    order: list[str] = []
    run = 0
    for total in range(sum(left.values()) - 1, -1, -1):
        last = groups[order[-1]] if order else ""
        tickets = []
        for stimulus, count in left.items():
            group = groups[stimulus]
            after = run + 1 if group == last else 1
            repeats = bool(order) and stimulus == order[-1] and not may_repeat
            if not count or repeats or after > limit:
                continue
            able = _leaves_enough(in_group, group, after, limit, total)
            if able and (may_repeat or _leaves_enough(left, stimulus, 1, 1, total)):
                tickets += [stimulus] * count
        if not tickets:
            return []
        chosen = draws.choose(tickets)
        run = run + 1 if groups[chosen] == last else 1
        order.append(chosen)
        left[chosen] -= 1
        in_group[groups[chosen]] -= 1
    return order


def _leaves_enough(counts: Counter[str], chosen: str, run: int, limit: int, total: int) -> bool:
    """Return whether the others still suffice to keep each kind's runs apart.

    Of `total` places, n of one kind need (n / limit) - 1 others between their runs at least.
    """
    for kind, count in counts.items():
        n = count - (kind == chosen)
        first_run = limit - run if kind == chosen else limit
        if n > first_run + limit * (total - n):
            return False
    return True
