"""Run a declared session: everything checked first, every program in a process of its own."""

import contextlib
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from physioemo.errors import PhysioEmoError, StreamError
from physioemo.experiments.decoder import Decoder
from physioemo.experiments.decoder_folder import load_decoder
from physioemo.experiments.fused_decoder import FusedDecoder
from physioemo.experiments.session.booth import Booth, BoothPlan
from physioemo.experiments.session.conductor import Conductor
from physioemo.experiments.session.continuous import continuous_streams, refuse_missing_pointer
from physioemo.experiments.session.decisions import Decision, DecisionInputs
from physioemo.experiments.session.declaration import rating_items
from physioemo.experiments.session.facts import refuse_another, session_facts, told_facts
from physioemo.experiments.session.folder import SessionFolder
from physioemo.experiments.session.hearing import PredictionEar
from physioemo.experiments.session.last_trial import LastTrial
from physioemo.experiments.session.loop_outlets import LoopOutlets
from physioemo.experiments.session.messages import OPERATOR, SESSION, EventEar, EventOutlet
from physioemo.experiments.session.person import Person
from physioemo.experiments.session.plan import PlannedStep
from physioemo.experiments.session.policies import find_policy
from physioemo.experiments.session.policy_state import PolicyState
from physioemo.experiments.session.protocol import Protocol, read_protocol
from physioemo.experiments.session.session_stimuli import read_stimuli, reading_seconds
from physioemo.experiments.session.verify import session_events
from physioemo.experiments.session.yoke import write_decisions
from physioemo.models.temporal_context import require_causal
from physioemo.store import open_recording

__all__ = ["SessionOptions", "SessionOutcome", "run_session"]

# On a busy computer programs are slow to begin; one that has ended is told at once.
_FIND_SECONDS = 180.0
_SETTLE_SECONDS = 1.0
# A playlist may only ask for ratings of what it shows.
_SOUNDING = ("video", "sound")
_ANY_TRIAL = {"kind": "text", "text": "-", "seconds": 1.0, "trial": 1}


@dataclass(frozen=True)
class SessionOptions:
    """How a session is run.

    Parameters
    ----------
    participant, session : str
        As in the protocol; its first ones if empty.
    rig : Path, optional
        What is recorded and decoded; without one the participant is simulated.
    headless, windowed : bool
        Whether the player has no screen, or a window.
    page : bool
        Whether the operator's page runs.
    page_options : tuple of str
        More options of ``physioemo page``.
    wait_for_start : bool
        Whether the session waits for Start on the page.
    resume : bool
        Whether to go on with a session that was cut off, at the trial after.
    simulate_seed : int
        Who the simulated participant is.
    simulate_effect : float
        How much affect shows in the simulated signals.
    cache : Path, optional
        Folder of decoded stimuli: the one where ``physioemo live`` keeps them.
    """

    participant: str = ""
    session: str = ""
    rig: Path | None = None
    headless: bool = False
    windowed: bool = False
    page: bool = True
    page_options: tuple[str, ...] = ()
    wait_for_start: bool = False
    resume: bool = False
    simulate_seed: int = 0
    simulate_effect: float = 1.0
    cache: Path | None = None


@dataclass(frozen=True)
class SessionOutcome:
    """How a session went.

    Parameters
    ----------
    folder : Path
        Where it lies.
    reason : str
        Why it ended; ``"finished"`` at the end of the protocol.
    exit_codes : mapping of str to (int or None)
        Of its programs.
    """

    folder: Path
    reason: str
    exit_codes: Mapping[str, int | None]


def run_session(
    protocol_path: str | Path,
    decoder_folder: str | Path,
    out: str | Path,
    options: SessionOptions,
    *,
    on_say: Callable[[str], None] = lambda text: None,
) -> SessionOutcome:
    """Run one session of a protocol to its end.

    Parameters
    ----------
    protocol_path : str or Path
        TOML file, or the name of a protocol that comes with PhysioEmo.
    decoder_folder : str or Path
        From ``physioemo train``.
    out : str or Path
        Folder to create, or to go on with.
    options : SessionOptions
    on_say : callable
        Told in words what happens.

    Raises
    ------
    CallError
        If the protocol, the decoder or the rig do not fit together.
    StoreError
        If the folder is there already, or cannot be written.
    StreamError
        If a program or a stream does not come.
    """
    protocol = read_protocol(protocol_path)
    decoder = _session_decoder(decoder_folder)
    options = replace(
        options,
        participant=options.participant or protocol.participants[0],
        session=options.session or protocol.sessions[0],
    )
    if options.rig is not None:
        refuse_missing_pointer(protocol.ratings, headless=options.headless)
    _check_rig(options, on_say)
    stimuli = read_stimuli(protocol, decoder, options.cache, on_say)
    facts = session_facts(protocol, decoder, Path(decoder_folder), options) | {"stimuli": stimuli}
    out = Path(out)
    if options.resume:
        folder, decoder_folder = _cut_off(out, facts, Path(decoder_folder))
        decoder = _session_decoder(decoder_folder)
        facts["model_id"] = decoder.id
    else:
        # What is missing for a policy is said before there is a folder.
        protocol.start_policy(options.participant, options.session)
        folder = SessionFolder.create(out, facts, protocol.text)
    steps, policy, person, ratings, last = _standing(protocol, decoder, options, folder)
    token = f"{options.participant}-{options.session}"
    outlet = EventOutlet(SESSION, token, simulated=options.rig is None)
    feeds_back = find_policy(policy.policy).feeds_back and any(s.feedback for s in steps)
    loop = LoopOutlets(
        decoder,
        token,
        feeds_back=feeds_back,
        fits=protocol.calibration is not None,
        simulated=options.rig is None,
    )
    plan = _plan(protocol, Path(decoder_folder), options, folder)
    plan = replace(plan, events=outlet.source_id, stimuli=tuple(map(Path, stimuli.values())))
    booth = Booth(plan, folder, on_say)
    operator = EventEar(OPERATOR)
    booth.on_problem = lambda text: _tell_problem(outlet, on_say, text)
    reason, codes = "it did not begin", {}
    try:
        on_say("starting the decoder, the player and the page")
        booth.start_sources()
        booth.await_decoder(decoder.id, _FIND_SECONDS + reading_seconds(stimuli))
        ear = PredictionEar(decoder.id, _FIND_SECONDS)
        _wait_for_page(booth, operator, on_say)
        booth.start_recorder()
        on_say(f"recording {booth.recording}")
        conductor = Conductor(
            protocol,
            options.participant,
            options.session,
            steps=steps,
            policy=policy,
            person=person,
            booth=booth,
            folder=folder,
            outlet=outlet,
            loop=loop,
            ear=ear,
            operator=operator,
            decoder=decoder,
            ratings=ratings,
            last=last,
            facts=told_facts(facts, protocol),
            on_say=on_say,
        )
        reason = conductor.run(wait_for_start=options.wait_for_start)
        # What was said last is on its way to the recorder.
        time.sleep(_SETTLE_SECONDS)
        conductor.floor.ear.close()
    finally:
        operator.close()
        codes = booth.close()
    _write_decisions(folder, options)
    return SessionOutcome(out, reason, codes)


def _session_decoder(folder: str | Path) -> Decoder | FusedDecoder:
    """Return the decoder in a folder.

    Raises
    ------
    CallError
        If it sees later windows.
    """
    decoder = load_decoder(folder)
    if isinstance(decoder, FusedDecoder):
        require_causal(decoder.network)
    return decoder


def _cut_off(
    out: Path, facts: Mapping[str, Any], decoder_folder: Path
) -> tuple[SessionFolder, Path]:
    """Return the folder of a session that goes on, and its newest decoder: a refit, if any."""
    folder = SessionFolder.open(out)
    refuse_another(folder, facts)
    for line in folder.progress():
        if line["what"] == "refit":
            decoder_folder = folder.path / line["folder"]
    return folder, decoder_folder


def _write_decisions(folder: SessionFolder, options: SessionOptions) -> None:
    """Write what the policy decided, for the sham of another participant."""
    decided = []
    # A recording that was cut off at once, or a full disk, takes nothing else with it.
    for path in folder.recordings:
        with contextlib.suppress(PhysioEmoError):
            decided += [
                (DecisionInputs.from_dict(content["inputs"]), Decision.from_dict(content["action"]))
                for _, content in session_events(open_recording(path))
                if content["event"] in ("decision", "monitor")
            ]
    with contextlib.suppress(OSError):
        write_decisions(
            folder.path / "decisions.json",
            decided,
            participant=options.participant,
            session=options.session,
        )


def _check_rig(options: SessionOptions, on_say: Callable[[str], None]) -> None:
    """Refuse to begin where the rig is not complete.

    Raises
    ------
    StreamError
        If a required stream is not as the rig says.
    """
    if options.rig is None:
        return
    from physioemo.acquisition.rig_record import prepare_rig
    from physioemo.acquisition.rig_toml import read_rig

    plan = prepare_rig(read_rig(options.rig), wait_seconds=10.0, on_notice=on_say)
    for text in (*plan.problems, *plan.warnings):
        on_say(f"! {text}")


def _standing(
    protocol: Protocol,
    decoder: Decoder | FusedDecoder,
    options: SessionOptions,
    folder: SessionFolder,
) -> tuple[tuple[PlannedStep, ...], PolicyState, Person, dict[str, dict[str, float]], LastTrial]:
    """Return what is still to come, and where policy and participant stand."""
    steps = protocol.plan(options.participant, options.session)
    policy = protocol.start_policy(options.participant, options.session)
    person = Person.start(protocol.calibration, decoder.dimensions)
    ratings: dict[str, dict[str, float]] = {}
    last, next_step = LastTrial(), 1
    for line in folder.progress():
        if line["what"] == "done":
            policy = PolicyState.from_dict(line["policy_state"])
            person = Person.from_dict(line["person"], protocol.calibration)
            ratings, last = line["ratings"], LastTrial.from_dict(line["last"])
            next_step = line["step"] + 1
        elif line["what"] == "begun" and line["trial"] is not None:
            # A trial that was cut off has been seen: it is not shown again.
            next_step = line["step"] + 1
        elif line["what"] == "unshown":
            next_step = line["step"]
    return tuple(s for s in steps if s.index >= next_step), policy, person, ratings, last


def _plan(
    protocol: Protocol, decoder: Path, options: SessionOptions, folder: SessionFolder
) -> BoothPlan:
    simulate = {"seed": options.simulate_seed, "effect": options.simulate_effect, "session": 2}
    return BoothPlan(
        decoder=decoder,
        rig=options.rig,
        playlist=folder.write_player(
            (_ANY_TRIAL, *rating_items(protocol.ratings, 1)),
            protocol.ratings.continuous,
            sounds=any(stimulus.item["kind"] in _SOUNDING for stimulus in protocol.stimuli),
        ),
        headless=options.headless,
        windowed=options.windowed,
        simulate=simulate if options.rig is None else None,
        page=options.page,
        continuous=continuous_streams(protocol.ratings),
        page_options=(*options.page_options, *(("--blinded",) if protocol.loop.blinded else ())),
    )


def _wait_for_page(booth: Booth, operator: EventEar, on_say: Callable[[str], None]) -> None:
    """Wait until the page's own stream is there, so that it is recorded; say where it is.

    Raises
    ------
    StreamError
        If it does not come.
    """
    if "page" not in booth.followers:
        return
    page, deadline = booth.followers["page"], time.monotonic() + _FIND_SECONDS
    while not operator.is_connected:
        operator.poll()
        if not page.alive or time.monotonic() > deadline:
            raise StreamError(
                f"found no operator's page, expected it to start; it said: {page.last_words()!r}"
            )
        time.sleep(0.1)
    text = page.log.read_text("utf-8", "replace") if page.log.is_file() else ""
    address = re.search(r"http://\S+", text)
    on_say(f"operator's page: {address.group() if address else page.log}")


def _tell_problem(outlet: EventOutlet, on_say: Callable[[str], None], text: str) -> None:
    outlet.send("problem", text=text)
    on_say(f"! {text}")
