"""What is minded at every moment of a session: the programs, the operator, the predictions.

The conductor says what is shown; here it is shown to its end, whatever happens meanwhile.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from physioemo.errors import StreamError
from physioemo.experiments.session.booth import Booth
from physioemo.experiments.session.hearing import Heard, PredictionEar
from physioemo.experiments.session.messages import EventEar, EventOutlet
from physioemo.experiments.session.plan import PlannedStep

__all__ = ["Floor", "LostTrialError", "UnshownTrialError", "lsl_seconds"]

_TURN_SECONDS = 0.02


class LostTrialError(Exception):
    """A trial that cannot be used: the player, the recording or the session was cut off."""


class UnshownTrialError(Exception):
    """A trial that was ended before it was shown; the text says why."""


def lsl_seconds() -> float:
    """Return the time on LSL's clock of this computer."""
    import pylsl

    return float(pylsl.local_clock())


class Floor:
    """A running session between two decisions.

    Parameters
    ----------
    booth : Booth
        The running programs.
    outlet : EventOutlet
        ``PhysioEmo-Session``.
    ear : PredictionEar
        Of the decoder that runs; another one after a refit.
    operator : EventEar
        ``PhysioEmo-Operator``.
    n_trials : int
        Of the whole session.
    on_say : callable
        Told in words what happens.
    on_heard : callable
        Told new predictions, at every turn.
    on_cut : callable
        Called when a new recording has begun because the last was cut off.
    """

    def __init__(
        self,
        *,
        booth: Booth,
        outlet: EventOutlet,
        ear: PredictionEar,
        operator: EventEar,
        n_trials: int,
        on_say: Callable[[str], None],
        on_heard: Callable[[list[Heard]], None],
        on_cut: Callable[[], None],
    ) -> None:
        self.booth, self.outlet, self.ear, self.operator = booth, outlet, ear, operator
        self.n_trials, self.say = n_trials, on_say
        self._on_heard, self._on_cut = on_heard, on_cut
        self.reason = ""
        """Why the session is to end; empty while it goes on."""
        self.is_paused = False
        self.has_started = False
        self.wants_refit = False
        self.skip = False
        """Whether what is shown is to end now."""
        self.heard: list[Heard] = []
        """Predictions since the trial began."""
        self.is_whole = True
        """Whether the recording has not been cut off since the trial began."""

    def begin_trial(self) -> None:
        """Forget what was heard before."""
        self.is_whole, self.heard = True, []

    def show(
        self,
        item: Mapping[str, Any] | None,
        *,
        watch: Callable[[float, Heard], None] | None = None,
        answers: Mapping[str, float] | None = None,
        given: dict[str, float] | None = None,
    ) -> tuple[float, float]:
        """Show an item to its end; return when it began and ended, in LSL seconds.

        Parameters
        ----------
        item : mapping or None
            What the player shows; nothing for None, or when the session is to end.
        watch : callable, optional
            Told when the item began, and each prediction while it lasts.
        answers : mapping, optional
            What the simulated participant answers.
        given : dict, optional
            Takes the answers.

        Raises
        ------
        StreamError
            If the player cannot show it, or does not come back.
        LostTrialError
            If the player was cut off.
        """
        if item is None or self.reason:
            return lsl_seconds(), lsl_seconds()
        player = self.booth.player
        if player is None:
            raise StreamError("found no player, expected it to run; start the session again")
        self.skip = False
        number = player.show(item, answers=answers)
        start, asked = lsl_seconds(), False
        while True:
            for event in player.events(_TURN_SECONDS):
                if event["event"] in ("died", "closed"):
                    self._revive_player(event["text"])
                if event["event"] == "problem":
                    self.problem(str(event["text"]))
                if event.get("id") != number:
                    continue
                if event["event"] == "started":
                    start = float(event["lsl_seconds"])
                elif event["event"] == "rating" and given is not None:
                    given.update(event["values"])
                elif event["event"] == "error":
                    raise StreamError(f"the stimulus player says: {event['text']}")
                elif event["event"] == "ended":
                    return start, float(event["lsl_seconds"])
            new = self.turn()
            if watch is not None and not self.skip:
                for heard in new:
                    watch(start, heard)
            if (self.skip or self.reason) and not asked:
                player.stop()
                asked = True

    def show_before(self, items: Iterable[Mapping[str, Any]]) -> None:
        """Show what comes before a trial: the operator may still leave it out, or end all.

        Raises
        ------
        UnshownTrialError
            If so.
        """
        is_left_out = False
        try:
            for item in items:
                self.show(item)
                is_left_out |= self.skip
        except KeyboardInterrupt:
            self.reason = self.reason or "stopped"
        if self.reason or is_left_out:
            raise UnshownTrialError(self.reason or "left out by the operator")

    def _revive_player(self, text: str) -> None:
        self.problem(f"{text}; it is started again")
        self.booth.start_player()
        raise LostTrialError("the player was cut off while it ran")

    def turn(self) -> list[Heard]:
        """Mind the programs, the operator and the decoder; return new predictions."""
        for content in self.operator.poll():
            self._obey(content)
        if not self.booth.tend():
            self.is_whole = False
            # A recording has to say from where its decisions are recomputed.
            self._on_cut()
        new = self.ear.poll()
        self.heard += new
        self._on_heard(new)
        return new

    def turn_for(self, seconds: float) -> None:
        """Mind everything for a while."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.turn()
            time.sleep(_TURN_SECONDS)

    def _obey(self, content: Mapping[str, Any]) -> None:
        what = content["event"]
        if what == "abort":
            self.reason = self.reason or "aborted by the operator"
        elif what == "skip":
            self.skip = True
        elif what == "start":
            self.has_started = True
        elif what == "refit":
            self.wants_refit = True
        elif what in ("pause", "resume"):
            self.is_paused = what == "pause"
        if what != "note":
            self.outlet.send("obeyed", what=what)
            self.say(f"operator: {what}")

    def wait_for_start(self) -> None:
        """Wait for Start on the operator's page."""
        self.operator.poll()  # Start means what was ready when it was pressed
        self.phase("ready")
        self.say("waiting for Start on the operator's page")
        while not (self.has_started or self.reason):
            self.turn_for(0.1)

    def wait_while_paused(self) -> None:
        """Wait as long as the operator wants it."""
        self.turn()
        if not self.is_paused:
            return
        self.phase("paused")
        while self.is_paused and not self.reason:
            self.turn_for(0.1)
        self.phase("resumed")

    def phase(
        self,
        phase: str,
        *,
        step: PlannedStep | None = None,
        stimulus: str = "",
        seconds: float = 0.0,
        evokes: Mapping[str, float] | None = None,
    ) -> None:
        """Say which part of the session begins."""
        self.outlet.send(
            "phase",
            phase=phase,
            trial=step.trial if step else None,
            of=self.n_trials,
            block=step.block if step else "",
            stimulus=stimulus,
            seconds=seconds,
            **({"evokes": dict(evokes)} if evokes else {}),
        )

    def problem(self, text: str) -> None:
        """Say what went wrong."""
        self.outlet.send("problem", text=text)
        self.say(f"! {text}")
