"""The programs of a session: recorder, decoder, player, page; each in a process of its own."""

import contextlib
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from physioemo.acquisition.player.controlled import PlayerProcess
from physioemo.errors import StreamError
from physioemo.experiments.session.folder import SessionFolder
from physioemo.experiments.session.follower import Follower
from physioemo.experiments.session.hearing import predictions_come
from physioemo.led import RECORDED_AGAIN, RESTART
from physioemo.store import JOURNAL

__all__ = ["Booth", "BoothPlan"]

_START_SECONDS = 120.0
_MOST_RESTARTS = 3
_LASTING_SECONDS = 20.0
_SETTLE_SECONDS = 1.0
_SEAL_SECONDS = 600.0
_RETURN_SECONDS = 10.0


@dataclass(frozen=True)
class BoothPlan:
    """What runs in a session.

    Parameters
    ----------
    decoder : Path
        Folder of the decoder.
    rig : Path, optional
        Which streams are recorded and decoded; without one, the simulated participant's.
    playlist : Path
        Names display, sound and ratings of the player.
    headless, windowed : bool
        Whether the player has no screen, or a window.
    simulate : mapping, optional
        Options of ``physioemo simulate``; None without a simulated participant.
    page : bool
        Whether the operator's page runs.
    page_options : tuple of str
        More of its options.
    events : str
        The source_id of the session's stream of events.
    continuous : tuple of str
        XPath predicates of the streams of continuous ratings: the recorder refuses to begin
        without them.
    stimuli : tuple of Path
        The files that may be shown, for a decoder that reads them.
    """

    decoder: Path
    rig: Path | None
    playlist: Path
    headless: bool = False
    windowed: bool = False
    simulate: Mapping[str, Any] | None = None
    page: bool = True
    page_options: tuple[str, ...] = ()
    events: str = ""
    continuous: tuple[str, ...] = ()
    stimuli: tuple[Path, ...] = ()


@dataclass
class Booth:
    """The programs of a running session.

    Parameters
    ----------
    plan : BoothPlan
    folder : SessionFolder
    on_problem : callable
        Told at once what the operator should know.
    """

    plan: BoothPlan
    folder: SessionFolder
    on_problem: Callable[[str], None]
    followers: dict[str, Follower] = field(default_factory=dict)
    player: PlayerProcess | None = None
    recording: Path | None = None
    _began: dict[str, float] = field(default_factory=dict)
    _failures: dict[str, int] = field(default_factory=dict)

    def start_sources(self) -> None:
        """Start everything that publishes: participant, decoder, page, player."""
        plan = self.plan
        if plan.simulate is not None:
            options = [f"--{name}={value}" for name, value in plan.simulate.items()]
            self._start("participant", ("simulate", "--react", plan.events, *options))
        self._start_decoder()
        if plan.page:
            rig = ("--rig", str(plan.rig)) if plan.rig else ()
            folder = ("--folder", str(self.folder.path))
            self._start("page", ("page", *rig, *folder, *plan.page_options))
        self.start_player()

    def _start_decoder(self) -> None:
        plan = self.plan
        here = f"hostname='{socket.gethostname()}'"
        which: tuple[str, ...] = ("--rig", str(plan.rig)) if plan.rig else ()
        if not plan.rig:
            which = ("--stream", f"name='Simulated-EEG' and {here}")
            which += ("--beside", f"starts-with(name,'Simulated-') and {here}")
        find = ("--wait-seconds" if plan.rig else "--find-seconds", f"{_START_SECONDS:g}")
        if plan.stimuli:
            # The player comes later, and may go; another computer's is none of this session.
            which += ("--player", here)
            which += tuple(word for path in plan.stimuli for word in ("--stimuli", str(path)))
        self._start("decoder", ("live", "--decoder", str(plan.decoder), *which, *find))

    def start_player(self) -> None:
        """Start the player, again if it has died.

        One that comes back waits until the recorder has found its streams again, so that the next
        trial is recorded from its start; for ten seconds at most, then the session goes on.

        Raises
        ------
        StreamError
            If it does not come.
        """
        wait: tuple[str, ...] = ()
        if self.player is not None:
            self.player.close()
            wait = ("--wait", f"{_RETURN_SECONDS:g}")
        try:
            self._start_player(wait)
        except StreamError as error:
            if not wait:
                raise
            self.on_problem(f"player: {error}")
            self._start_player(())

    def _start_player(self, wait: tuple[str, ...]) -> None:
        options = ["--answers", "told"] if self.plan.simulate is not None else []
        options += ["--windowed"] if self.plan.windowed else []
        self.player = PlayerProcess(
            headless=self.plan.headless, playlist=self.plan.playlist, options=[*options, *wait]
        )
        self.player.start()

    def start_recorder(self) -> None:
        """Start the recorder on a new recording and wait until it writes.

        Raises
        ------
        StreamError
            If it does not.
        """
        self.recording = self.folder.next_recording()
        here = f"hostname='{socket.gethostname()}'"
        ours = f"starts-with(name,'PhysioEmo-') and {here}"
        if self.plan.rig:
            which: tuple[str, ...] = ("--rig", str(self.plan.rig), "--also", ours)
        else:
            theirs = f"starts-with(name,'Simulated-') and {here}"
            which = ("--stream", theirs, "--stream", ours)
        for predicate in self.plan.continuous:
            which += ("--also" if self.plan.rig else "--stream", predicate)
        self._start("recorder", ("record", str(self.recording), *which))
        journal = self.recording / JOURNAL
        deadline = time.monotonic() + _START_SECONDS
        while not journal.exists():
            recorder = self.followers["recorder"]
            if not recorder.alive or time.monotonic() > deadline:
                recorder.stop(1.0)
                raise StreamError(
                    "found that the recorder does not write, expected it to record; it said: "
                    f"{recorder.last_words()!r}"
                )
            time.sleep(0.05)
        # What the decoder says from now on can be computed again from this recording.
        time.sleep(_SETTLE_SECONDS)
        self.followers["decoder"].tell(RESTART)

    def await_decoder(self, decoder_id: str, seconds: float) -> None:
        """Wait until the decoder publishes.

        Raises
        ------
        StreamError
            If it ends, with what it said, or does not publish in time.
        """
        decoder = self.followers["decoder"]
        if predictions_come(decoder_id, seconds, lambda: decoder.alive):
            return
        # Without what came before, such as that it is untrained.
        said = decoder.last_words().rpartition("physioemo: ")[2]
        if not decoder.alive:
            raise StreamError(f"the decoder did not start: {said}")
        raise StreamError(
            f"found that the decoder has not begun in {seconds:.0f} s, expected it to; close what "
            f"keeps this computer busy and start the session again (its log is {decoder.log})"
        )

    def change_decoder(self, decoder: Path) -> None:
        """Stop the decoder and start another one."""
        self.followers["decoder"].stop()
        self.plan = replace(self.plan, decoder=decoder)
        self._start_decoder()

    def renew_recorder(self) -> None:
        """Seal the recording and begin another one.

        Raises
        ------
        StreamError
            If the new one does not begin.
        """
        self.followers["recorder"].stop(_SEAL_SECONDS)
        self.start_recorder()

    def tend(self) -> bool:
        """Tell what programs warn of, and start again what has died.

        Returns
        -------
        bool
            Whether the recording is whole; False if it was cut off just now.

        Raises
        ------
        StreamError
            If the recorder cannot be started again.
        """
        is_whole = True
        for name, follower in tuple(self.followers.items()):
            for text in follower.notices():
                self.on_problem(f"{name}: {text}")
                if name == "recorder" and text.endswith(RECORDED_AGAIN):
                    # The decoder may have joined it before the recorder did.
                    stream = text.removesuffix(RECORDED_AGAIN)
                    self.followers["decoder"].tell(f"{RESTART} {stream}")
            if follower.alive:
                continue
            self.on_problem(f"the {name} has ended with code {follower.returncode}; starting again")
            self._count_failure(name)
            if name == "recorder":
                is_whole = False
                self.start_recorder()
            else:
                follower.start()
                self._began[name] = time.monotonic()
        return is_whole

    def close(self) -> dict[str, int | None]:
        """Stop everything, what is recorded after the recorder; return the exit codes."""
        codes: dict[str, int | None] = {}
        if self.player is not None:
            with contextlib.suppress(StreamError):
                self.player.end()
        for name in ("page", "decoder", "recorder", "player", "participant"):
            if name == "player" and self.player is not None:
                # A continuous rating goes on as long as it is recorded.
                with contextlib.suppress(StreamError):
                    codes["player"] = self.player.close()
            elif name in self.followers:
                # Sealing a long recording takes its time; it is never cut short.
                patience = _SEAL_SECONDS if name == "recorder" else 20.0
                codes[name] = self.followers[name].stop(patience)
        return codes

    def _start(self, name: str, arguments: tuple[str, ...]) -> None:
        follower = Follower(name, arguments, self.folder.log(name))
        self.followers[name] = follower
        follower.start()
        self._began[name] = time.monotonic()

    def _count_failure(self, name: str) -> None:
        """Count failures in quick succession.

        Raises
        ------
        StreamError
            If a program fails again and again.
        """
        lasted = time.monotonic() - self._began[name]
        n = self._failures.get(name, 0) + 1 if lasted < _LASTING_SECONDS else 1
        self._failures[name] = n
        if n > _MOST_RESTARTS:
            raise StreamError(
                f"found that the {name} failed {n} times in a row, expected it to run; it said: "
                f"{self.followers[name].last_words()!r}"
            )
