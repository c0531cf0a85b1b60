"""Orders of stimuli: balanced designs, shuffles that keep their limits."""

import re
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from physioemo.errors import CallError
from physioemo.experiments.session.draws import Draws
from physioemo.experiments.session.orders import shuffled_order, williams_design
from tests.experiments.made_protocols import POINTS, changed


@pytest.mark.parametrize("n", range(2, 13))
def test_williams_designs_balance_places_and_neighbours(n):
    rows = williams_design(n)
    times = len(rows) // n
    assert len(rows) == (n if n % 2 == 0 else 2 * n)
    for place in range(n):
        assert Counter(row[place] for row in rows) == dict.fromkeys(range(n), times)
    neighbours = Counter(pair for row in rows for pair in pairwise(row))
    assert neighbours == {(a, b): times for a in range(n) for b in range(n) if a != b}


def test_counterbalanced_blocks_are_balanced_over_participants():
    balanced = changed('order = "shuffled"\nmax_same_quadrant = 1', 'order = "counterbalanced"')
    rows = [
        [s.stimulus for s in balanced.plan(p, "a") if s.block == "first" and s.trial]
        for p in balanced.participants[:4]
    ]
    assert [sorted(column) for column in zip(*rows, strict=True)] == [sorted(POINTS)] * 4


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 4), min_size=2, max_size=4),
    n_trials=st.integers(1, 40),
    limit=st.integers(1, 3),
    seed=st.integers(0, 999),
)
def test_shuffled_orders_keep_their_limits(sizes, n_trials, limit, seed):
    groups = {f"{g}-{i}": str(g) for g, n in enumerate(sizes) for i in range(n)}
    try:
        order = shuffled_order(groups, n_trials, Draws(seed, "x"), max_in_row=limit)
    except CallError:
        biggest = max(sizes)  # too many of one quadrant for the others to part
        assert biggest > limit * (sum(sizes) - biggest)
        return
    counts = Counter(order)
    assert len(order) == n_trials
    assert max(counts.values()) - min(counts.get(s, 0) for s in groups) <= 1
    assert all(a != b for a, b in pairwise(order))
    quadrants = "".join(groups[s] for s in order)
    assert not re.search(rf"(.)\1{{{limit}}}", quadrants)


def test_shuffled_orders_are_even_where_nothing_limits_them():
    groups = dict.fromkeys("abc", "q")
    orders = Counter(
        "".join(shuffled_order(groups, 3, Draws(seed, "x"), may_repeat=True))
        for seed in range(3000)
    )
    chi2 = sum((orders[o] - 500) ** 2 / 500 for o in orders)
    assert len(orders) == 6
    assert chi2 < 20.5  # p = 0.001 with 5 degrees of freedom
