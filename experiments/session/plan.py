"""The steps of one session, worked out before it starts: the same whenever they are asked for."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from physioemo.experiments.session.declaration import (
    KEY_SECONDS,
    Block,
    Stimulus,
    rating_items,
)
from physioemo.experiments.session.draws import Draws
from physioemo.experiments.session.orders import fixed_order, shuffled_order, williams_design

if TYPE_CHECKING:
    from physioemo.experiments.session.protocol import Protocol

__all__ = ["PlannedStep", "block_order", "plan_steps", "shown_item"]

_EYES_OPEN = "Please look at the cross and rest."
_EYES_CLOSED = "Please close your eyes and rest until you are told to open them."
_BREAK = "A break. It goes on by itself."


@dataclass(frozen=True)
class PlannedStep:
    """One step of a session.

    Parameters
    ----------
    kind : {"baseline", "practice", "trial", "break"}
        What it is.
    index : int
        Its place in the session, from 1.
    block : str
        Name of its block; ``"eyes-open"`` or ``"eyes-closed"`` of a baseline.
    trial : int or None
        Number across the session, from 1, practice included; None if it is no trial.
    stimulus : str
        Id; empty if the policy chooses, or it is no trial.
    item : mapping or None
        What the player shows; None if the policy chooses.
    candidates : tuple of str
        What the policy chooses from.
    before, after : tuple of mapping
        Items around it: instruction, cross, empty screen.
    ratings : tuple of mapping
        Items that ask for its ratings.
    feedback : bool
        Whether the policy sets a feedback while it runs.
    duration_seconds : float
        How long all of it is expected to take.
    """

    kind: str
    index: int
    block: str
    trial: int | None = None
    stimulus: str = ""
    item: Mapping[str, Any] | None = None
    candidates: tuple[str, ...] = ()
    before: tuple[Mapping[str, Any], ...] = ()
    after: tuple[Mapping[str, Any], ...] = ()
    ratings: tuple[Mapping[str, Any], ...] = ()
    feedback: bool = False
    duration_seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary."""
        listed = ("candidates", "before", "after", "ratings")
        return {**asdict(self), **{name: list(getattr(self, name)) for name in listed}}

    @classmethod
    def from_dict(cls, table: Mapping[str, Any]) -> "PlannedStep":
        """Return the step that :meth:`to_dict` wrote."""
        listed = ("candidates", "before", "after", "ratings")
        return cls(**{**table, **{name: tuple(table[name]) for name in listed}})


def shown_item(stimulus: Stimulus, trial: int) -> dict[str, Any]:
    """Return what the player shows when a stimulus is a trial."""
    return {**stimulus.item, "trial": trial, "stimulus": stimulus.id}


def plan_steps(protocol: "Protocol", participant: str, session: str) -> tuple[PlannedStep, ...]:
    """Return the steps of a participant's session."""
    steps = _Steps(protocol)
    _baseline(steps)
    practice = protocol.practice
    if practice.n_trials:
        block = Block("practice", practice.pool, n_trials=practice.n_trials, order="fixed")
        for stimulus in block_order(protocol, block, 0, participant, session):
            steps.trial("practice", block, stimulus)
    for number, block in enumerate(protocol.blocks, 1):
        order = block_order(protocol, block, number, participant, session)
        for place, stimulus in enumerate(order, 1):
            steps.trial("trial", block, stimulus, is_first=place == 1)
            is_last = place == len(order)
            within = block.break_every and place % block.break_every == 0 and not is_last
            if block.break_seconds and (within or (is_last and number < len(protocol.blocks))):
                steps.rest(block)
    return tuple(steps.made)


def block_order(
    protocol: "Protocol", block: Block, number: int, participant: str, session: str
) -> Sequence[str]:
    """Return the ids of a block's stimuli in order, empty texts where the policy chooses.

    Raises
    ------
    CallError
        If no order keeps the block's limits.
    """
    stimuli = protocol.block_stimuli(block)
    n_trials = block.n_trials or len(stimuli)
    if block.order == "adaptive":
        return [""] * n_trials
    ids = [s.id for s in stimuli]
    if block.order == "counterbalanced":
        rows = williams_design(len(ids))
        place = protocol.participants.index(participant) + protocol.sessions.index(session)
        return fixed_order([ids[k] for k in rows[place % len(rows)]], n_trials)
    if block.order == "fixed":
        return fixed_order(ids, n_trials)
    return shuffled_order(
        {s.id: s.quadrant for s in stimuli},
        n_trials,
        Draws(protocol.seed, "order", number, participant, session),
        max_in_row=block.max_same_quadrant,
        may_repeat=block.may_repeat,
    )


@dataclass
class _Steps:
    """The steps made so far."""

    protocol: "Protocol"
    made: list[PlannedStep] = field(default_factory=list)
    n_trials: int = 0

    def add(self, kind: str, block: str, seconds: float, **fields: Any) -> None:
        """Add a step whose middle takes so many seconds."""
        around = (*fields.get("before", ()), *fields.get("after", ()))
        total = seconds + sum(item.get("seconds", KEY_SECONDS) for item in around)
        self.made.append(
            PlannedStep(kind, len(self.made) + 1, block, duration_seconds=total, **fields)
        )

    def trial(self, kind: str, block: Block, stimulus: str, *, is_first: bool = False) -> None:
        """Add a trial."""
        self.n_trials += 1
        able = self.protocol.block_stimuli(block)
        chosen = [s for s in able if s.id == stimulus]
        pages = rating_items(self.protocol.ratings, self.n_trials) if block.rated else ()
        shown = sum(s.seconds for s in chosen or able) / len(chosen or able)
        answering = self.protocol.ratings.expected_seconds * len(self.protocol.ratings.dimensions)
        before = _cross(block.fixation_seconds)
        if is_first and block.instruction:
            before = (_message(block.instruction, block.instruction_seconds), *before)
        self.add(
            kind,
            block.name,
            shown + (answering if pages else 0.0),
            trial=self.n_trials,
            stimulus=stimulus,
            item=shown_item(chosen[0], self.n_trials) if chosen else None,
            candidates=() if chosen else tuple(s.id for s in able),
            before=before,
            after=_empty(block.pause_seconds),
            ratings=pages,
            feedback=block.feedback,
        )

    def rest(self, block: Block) -> None:
        """Add a break."""
        item = _message(_BREAK, block.break_seconds)
        self.add("break", block.name, block.break_seconds, item=item)


def _baseline(steps: _Steps) -> None:
    rest = steps.protocol.baseline
    for name, seconds, item, words in (
        ("eyes-open", rest.eyes_open_seconds, "fixation", _EYES_OPEN),
        ("eyes-closed", rest.eyes_closed_seconds, "blank", _EYES_CLOSED),
    ):
        if seconds:
            before = (_message(words, rest.instruction_seconds),)
            item_fields = {"kind": item, "seconds": seconds}
            steps.add("baseline", name, seconds, item=item_fields, before=before)


def _message(words: str, seconds: float) -> dict[str, Any]:
    item = {"kind": "text", "text": words}
    return {**item, "seconds": seconds} if seconds else {**item, "until": "key"}


def _cross(seconds: float) -> tuple[dict[str, Any], ...]:
    return ({"kind": "fixation", "seconds": seconds},) if seconds else ()


def _empty(seconds: float) -> tuple[dict[str, Any], ...]:
    return ({"kind": "blank", "seconds": seconds},) if seconds else ()
