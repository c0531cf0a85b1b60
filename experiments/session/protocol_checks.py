"""What contradicts itself in a session protocol, found before anything starts."""

from itertools import islice, product

from physioemo.errors import CallError
from physioemo.experiments.session.declaration import Block
from physioemo.experiments.session.plan import block_order
from physioemo.experiments.session.policies import POLICIES
from physioemo.experiments.session.protocol import Protocol
from physioemo.hints import nearest
from physioemo.toml_lines import TomlLines

__all__ = ["refuse_contradictions"]

_MOST_ORDERED = 500


def refuse_contradictions(protocol: Protocol, lines: TomlLines) -> None:
    """Refuse a protocol whose parts do not fit.

    Raises
    ------
    CallError
        Which names the line.
    """
    if not protocol.stimuli or not protocol.blocks:
        missing = "stimulus" if not protocol.stimuli else "block"
        raise CallError(f"found no [[{missing}]] in {lines.where}, expected at least one")
    for number, block in enumerate(protocol.blocks, 1):
        _refuse_block(protocol, block, number, lines)
    _refuse_practice(protocol, lines)
    _refuse_arms(protocol, lines)
    _refuse_ratings(protocol, lines)
    _refuse_impossible_orders(protocol, lines)


def _refuse_block(protocol: Protocol, block: Block, number: int, lines: TomlLines) -> None:
    named = f"block {number}"

    def at(name: str) -> str:
        return lines.place("block", name, number)

    if block.name in [b.name for b in protocol.blocks[: number - 1]]:
        raise CallError(
            f"found the name {block.name!r} again in {named}{at('name')}, expected each once"
        )
    ids = [s.id for s in protocol.stimuli]
    for name in block.stimuli:
        if name not in ids:
            raise CallError(
                f"found the stimulus {name!r} in {named}{at('stimuli')}, expected the id of a "
                f"[[stimulus]]{nearest(name, ids)}"
            )
    _refuse_pool(protocol, block.pool, f"{named}{at('pool')}")
    n_stimuli = len(protocol.block_stimuli(block))
    if block.order == "adaptive" and n_stimuli < 2:
        raise CallError(
            f"found one stimulus for the adaptive {named}{at('order')}, expected at least two to "
            "choose from"
        )
    if block.order == "adaptive" and not block.n_trials:
        raise CallError(f"found no 'n_trials' in the adaptive {named}{at('')}, expected a number")
    if block.order == "counterbalanced" and block.n_trials % n_stimuli:
        raise CallError(
            f"found n_trials = {block.n_trials} of {n_stimuli} stimuli in the counterbalanced "
            f"{named}{at('n_trials')}, expected a multiple of {n_stimuli}: an order is balanced "
            "only as a whole"
        )


def _refuse_pool(protocol: Protocol, pool: str, place: str) -> None:
    known = sorted({name for s in protocol.stimuli for name in s.pool})
    if pool not in known:
        raise CallError(
            f"found the pool {pool!r} in {place}, expected one that a [[stimulus]] is in: "
            f"{', '.join(known)}{nearest(pool, known)}"
        )


def _refuse_practice(protocol: Protocol, lines: TomlLines) -> None:
    if protocol.practice.n_trials:
        place = f"[practice]{lines.place('practice', 'pool')}"
        _refuse_pool(protocol, protocol.practice.pool, place)


def _refuse_arms(protocol: Protocol, lines: TomlLines) -> None:
    for number, block in enumerate(protocol.blocks, 1):
        for is_asked, field, needs in (
            (block.order == "adaptive", "order", "chooses"),
            (block.feedback, "feedback", "feeds_back"),
        ):
            unable = [a.policy for a in protocol.arms if not getattr(POLICIES[a.policy], needs)]
            if not is_asked or (protocol.arms and not unable):
                continue
            what = "choose stimuli" if needs == "chooses" else "set a feedback"
            able = ", ".join(name for name, row in POLICIES.items() if getattr(row, needs))
            found = f"the policy {unable[0]!r}" if unable else "no [[arm]]"
            raise CallError(
                f"found {found} for block {number}{lines.place('block', field, number)}, whose "
                f"policy must {what}: expected one of {able}"
            )
    asked = {
        "chooses": any(b.order == "adaptive" for b in protocol.blocks),
        "feeds_back": any(b.feedback for b in protocol.blocks),
    }
    for number, arm in enumerate(protocol.arms, 1):
        row = POLICIES[arm.policy]
        if not any(asked[needs] and getattr(row, needs) for needs in asked):
            raise CallError(
                f"found the policy {arm.policy!r}{lines.place('arm', 'policy', number)} and no "
                'block that asks it, expected one with order = "adaptive" or feedback = true'
            )


def _refuse_ratings(protocol: Protocol, lines: TomlLines) -> None:
    asked = protocol.ratings.dimensions
    is_rated = any(b.rated for b in protocol.blocks)

    def refuse(needs: str, dimension: str, place: str) -> None:
        if not is_rated or dimension not in asked:
            raise CallError(
                f"found {needs}{place}, expected {dimension} among the ratings of a rated block"
            )

    for dimension, name in (
        ("valence", "rated_valence_at_most"),
        ("arousal", "rated_arousal_at_least"),
    ):
        if protocol.distress and protocol.distress[name] is not None:
            refuse(name, dimension, lines.place("distress", name))
    for number, arm in enumerate(protocol.arms, 1):
        if arm.parameters.get("evidence") in ("ratings", "both"):
            for dimension in ("valence", "arousal"):
                if arm.parameters[f"target_{dimension}"] is not None:
                    place = lines.place("arm", "evidence", number)
                    refuse("evidence from ratings", dimension, place)
    if protocol.calibration is not None:
        _refuse_calibration(protocol, protocol.calibration.after_trials, lines)


def _refuse_calibration(protocol: Protocol, after_trials: int, lines: TomlLines) -> None:
    numbers = [b.n_trials or len(protocol.block_stimuli(b)) for b in protocol.blocks if b.rated]
    if after_trials >= sum(numbers):
        raise CallError(
            f"found after_trials = {after_trials}{lines.place('calibration', 'after_trials')} of "
            f"{sum(numbers)} rated trials, expected some to be left"
        )


def _refuse_impossible_orders(protocol: Protocol, lines: TomlLines) -> None:
    """Order every shuffled block for (up to 500) sessions: what cannot be is known beforehand."""
    sessions = tuple(islice(product(protocol.participants, protocol.sessions), _MOST_ORDERED))
    for number, block in enumerate(protocol.blocks, 1):
        for participant, session in sessions if block.order == "shuffled" else ():
            try:
                block_order(protocol, block, number, participant, session)
            except CallError as error:
                at = lines.place("block", "max_same_quadrant", number)
                raise CallError(f"block {number}: {error}{at}") from None
