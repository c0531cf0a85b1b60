"""A session protocol: what happens in a session, declared once and checked before it starts."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from physioemo.errors import CallError
from physioemo.experiments.session.declaration import (
    Arm,
    Baseline,
    Block,
    Calibration,
    Loop,
    Practice,
    Ratings,
    Stimulus,
)
from physioemo.experiments.session.draws import Draws
from physioemo.experiments.session.orders import williams_design
from physioemo.experiments.session.plan import PlannedStep, plan_steps, shown_item
from physioemo.experiments.session.policies import Candidate, PolicyState, start_policy
from physioemo.experiments.session.yoke import read_decisions
from physioemo.fingerprint import config_fingerprint
from physioemo.hints import nearest
from physioemo.toml_sections import toml_text

__all__ = ["TEMPLATES", "PlannedStep", "Protocol", "new_protocol", "read_protocol"]

TEMPLATES = {p.stem: p for p in sorted((Path(__file__).parent / "protocols").glob("*.toml"))}
"""The protocols that come with PhysioEmo, by name."""


@dataclass(frozen=True)
class Protocol:
    """What happens in the sessions of a study.

    Parameters
    ----------
    title : str
        What it is called.
    participants, sessions : tuple of str
        Whose and which sessions there are.
    stimuli : tuple of Stimulus
        All of them.
    blocks : tuple of Block
        In order.
    baseline, practice, ratings, loop
        As their sections say.
    calibration : Calibration or None
        None without one.
    arms : tuple of Arm
        What participants (or sessions) are assigned to.
    distress : mapping or None
        Parameters of the distress rule; None without one.
    seed : int
        Of all that is random.
    description : str
        For people.
    folder : Path
        Where paths are seen from.
    text : str
        The TOML that it was read from.
    """

    title: str
    participants: tuple[str, ...]
    sessions: tuple[str, ...]
    stimuli: tuple[Stimulus, ...]
    blocks: tuple[Block, ...]
    baseline: Baseline = field(default_factory=Baseline)
    practice: Practice = field(default_factory=Practice)
    ratings: Ratings = field(default_factory=Ratings)
    calibration: Calibration | None = None
    loop: Loop = field(default_factory=Loop)
    arms: tuple[Arm, ...] = ()
    distress: Mapping[str, Any] | None = None
    seed: int = 0
    description: str = ""
    folder: Path = field(default_factory=Path)
    text: str = ""

    def plan(self, participant: str, session: str) -> tuple[PlannedStep, ...]:
        """Return the steps of a session: the same whenever they are asked for.

        Raises
        ------
        CallError
            If the protocol has no such participant or session.
        """
        self._refuse_unknown(participant, session)
        return plan_steps(self, participant, session)

    def item(self, stimulus: str, trial: int) -> dict[str, Any]:
        """Return what the player shows when a stimulus is a trial.

        Raises
        ------
        CallError
            If there is no such stimulus.
        """
        for known in self.stimuli:
            if known.id == stimulus:
                return shown_item(known, trial)
        hint = nearest(stimulus, [s.id for s in self.stimuli])
        raise CallError(f"found the stimulus {stimulus!r}, expected one of the protocol's{hint}")

    def block_stimuli(self, block: Block) -> tuple[Stimulus, ...]:
        """Return the stimuli of a block as it lists them, or all of its pool."""
        by_id = {s.id: s for s in self.stimuli}
        if block.stimuli:
            return tuple(by_id[name] for name in block.stimuli)
        return tuple(s for s in self.stimuli if block.pool in s.pool)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """What a policy is told of the stimuli."""
        return tuple(Candidate(s.id, s.valence, s.arousal) for s in self.stimuli)

    def arm(self, participant: str, session: str) -> Arm | None:
        """Return the arm of a session; None without arms.

        Arms are balanced: over every as many participants as there are arms, each arm is drawn
        once; where sessions vary, the orders of arms are those of a Williams design.

        Raises
        ------
        CallError
            If the protocol has no such participant or session.
        """
        self._refuse_unknown(participant, session)
        if not self.arms:
            return None
        n_arms = len(self.arms)
        rounds = williams_design(n_arms) if self.loop.vary == "session" else None
        n_rows = len(rounds) if rounds else n_arms
        group, place = divmod(self.participants.index(participant), n_rows)
        row = Draws(self.seed, "arms", group).shuffled(range(n_rows))[place]
        if rounds:
            return self.arms[rounds[row][self.sessions.index(session) % n_arms]]
        return self.arms[row]

    def start_policy(self, participant: str, session: str) -> PolicyState:
        """Return the state in which a session's policy begins.

        Without arms nothing is chosen: the state only carries the distress rule.

        Raises
        ------
        CallError
            If there is no such session, or a sham's decisions cannot be read.
        """
        arm = self.arm(participant, session) or Arm("planned", "random")
        yoked: tuple[dict[str, Any], ...] = ()
        if arm.policy == "sham":
            name = arm.decisions.replace("{participant}", participant)
            path = self.folder / Path(name.replace("{session}", session)).expanduser()
            yoked = read_decisions(path, participant=participant, session=session)
        word = Draws(self.seed, "policy", participant, session)
        return start_policy(
            arm.policy,
            arm.parameters,
            seed=int(word.uniform() * 2**31),
            stimuli=self.candidates,
            max_age_seconds=self.loop.max_age_seconds,
            distress=self.distress,
            yoked=yoked,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-able dictionary, without places: files have hashes."""
        table = {k: v for k, v in asdict(self).items() if k not in ("folder", "text")}
        if table["ratings"]["continuous"] is None:
            del table["ratings"]["continuous"]  # fingerprints stay what they were without one
        for stimulus in table["stimuli"]:
            if "file" in stimulus["item"]:
                stimulus["item"]["file"] = Path(stimulus["item"]["file"]).name
        listed = ("participants", "sessions", "stimuli", "blocks", "arms")
        return {**table, **{name: list(table[name]) for name in listed}}

    @property
    def fingerprint(self) -> str:
        """Hash of everything that is declared."""
        return config_fingerprint(self.to_dict())

    def _refuse_unknown(self, participant: str, session: str) -> None:
        for what, name, known in (
            ("participant", participant, self.participants),
            ("session", session, self.sessions),
        ):
            if name not in known:
                hint = nearest(name, known)
                raise CallError(
                    f"found the {what} {name!r}, expected one of the protocol's: "
                    f"{', '.join(known[:12])}{', ...' if len(known) > 12 else ''}{hint}"
                )


def read_protocol(path: str | Path) -> Protocol:
    """Return the protocol in a TOML file; its stimuli are opened and every session is planned.

    Parameters
    ----------
    path : str or Path
        The file, or the name of a protocol that comes with PhysioEmo.

    Raises
    ------
    CallError
        If there is no such file, or anything in it is wrong; the message names file and line.
    UnreadableFileError
        If a stimulus cannot be read.
    """
    from physioemo.experiments.session.protocol_toml import parse_protocol

    path = Path(path)
    path = TEMPLATES.get(str(path), path) if not path.is_file() else path
    expected = f"a protocol in TOML, or one of {', '.join(TEMPLATES)}"
    text = toml_text(path, expected, named=TEMPLATES)
    return parse_protocol(text, where=str(path), folder=path.parent)


def new_protocol(path: str | Path, *, template: str = "steer-arousal") -> None:
    """Write one of our protocols to a new file, to be changed.

    Raises
    ------
    CallError
        If there is no such template, or a file is there already.
    """
    if template not in TEMPLATES:
        raise CallError(
            f"found the template {template!r}, expected one of {', '.join(TEMPLATES)}"
            f"{nearest(template, TEMPLATES)}"
        )
    path = Path(path)
    try:
        with path.open("xb") as file, TEMPLATES[template].open("rb") as source:
            shutil.copyfileobj(source, file)
    except FileExistsError:
        raise CallError(
            f"found that {path} exists, expected a new file; choose another name"
        ) from None
    except OSError as error:
        raise CallError(
            f"found that {path} cannot be written ({error.strerror}), expected a writable place"
        ) from None
