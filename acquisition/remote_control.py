"""The recorder's remote control: LabRecorder's TCP port, on this computer alone by default.

Each line is answered by one line. Beyond the loopback interface a token is demanded as the first
line, ``token XXX``; without one the server does not start. Every client has a thread of its own:
none makes another wait, and nothing that a client sends ends the server.
"""

import contextlib
import hmac
import ipaddress
import os
import re
import socket
import socketserver
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from physioemo.acquisition.remote_recorder import RemoteRecorder
from physioemo.errors import CallError, StreamError

__all__ = ["DEFAULT_PORT", "refuse_open_door", "serve_until_interrupted", "serving"]

DEFAULT_PORT = 22345
"""LabRecorder's own."""

_LONGEST_LINE = 4096
_MOST_CLIENTS = 32
_TOKEN_SECONDS = 10.0
_WRONG_TOKEN_SECONDS = 0.5
_POLL_SECONDS = 0.2
# A page in a browser on this computer can reach the port, but only by HTTP.
_HTTP = re.compile(r"(GET|POST|PUT|HEAD|OPTIONS|DELETE|PATCH|CONNECT|TRACE) |.* HTTP/\d")


def refuse_open_door(host: str, token: str | None) -> None:
    """Refuse to listen beyond this computer without a token.

    Raises
    ------
    CallError
        If `host` is not a loopback address and there is no token.
    """
    if not token and not _is_loopback(host):
        raise CallError(
            f"found the remote control's address {host!r} without a token, expected this computer "
            "alone (127.0.0.1) or a token; pass --token, or set PHYSIOEMO_REMOTE_TOKEN"
        )


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class _Client(socketserver.StreamRequestHandler):
    """One client: reads lines, answers lines."""

    server: "_Server"

    def handle(self) -> None:
        with contextlib.suppress(OSError):
            if self._let_in():
                self.request.settimeout(None)
                while (line := self._line()) is not None:
                    if line:
                        self._reply(self.server.recorder.answer(line))

    def _let_in(self) -> bool:
        token = self.server.token
        if not token:
            return True
        self.request.settimeout(_TOKEN_SECONDS)
        verb, _, given = (self._line() or "").partition(" ")
        if verb == "token" and hmac.compare_digest(given.strip().encode(), token.encode()):
            self._reply("OK")
            return True
        time.sleep(_WRONG_TOKEN_SECONDS)
        self._reply("ERROR found no valid token, expected 'token XXX' as the first line")
        return False

    def _line(self) -> str | None:
        """Return the next line without its end; None if the client is to go."""
        raw = self.rfile.readline(_LONGEST_LINE + 1)
        if not raw:
            return None
        if len(raw) > _LONGEST_LINE:
            self._reply(f"ERROR found a line of over {_LONGEST_LINE} bytes, expected a command")
            return None
        try:
            line = raw.decode("utf-8").strip()
        except UnicodeDecodeError:
            self._reply("ERROR found bytes that are no UTF-8 text, expected a command")
            return ""
        if _HTTP.match(line):
            self._reply("ERROR found a line of HTTP, expected a command")
            return None
        return line

    def _reply(self, text: str) -> None:
        self.wfile.write(f"{text}\n".encode())


class _Server(socketserver.ThreadingTCPServer):
    """Listens; each client in a thread of its own."""

    # On Windows it would let a second program take the port as well.
    allow_reuse_address = os.name == "posix"
    daemon_threads = True
    block_on_close = False

    def __init__(self, host: str, port: int, recorder: RemoteRecorder, token: str | None) -> None:
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.recorder, self.token = recorder, token
        self.places = threading.Semaphore(_MOST_CLIENTS)
        super().__init__((host, port), _Client)

    def verify_request(self, request: object, client_address: object) -> bool:
        """Refuse a client when too many are there."""
        return self.places.acquire(blocking=False)

    def process_request_thread(self, request: object, client_address: object) -> None:
        """Serve one client and free its place."""
        try:
            super().process_request_thread(request, client_address)  # type: ignore[arg-type]
        finally:
            self.places.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """Let a client that went in the middle of a line go in peace."""


@contextmanager
def serving(
    recorder: RemoteRecorder,
    *,
    host: str = "127.0.0.1",
    port: int = DEFAULT_PORT,
    token: str | None = None,
) -> Iterator[tuple[str, int]]:
    """Serve remote clients in the background while the block runs.

    Parameters
    ----------
    recorder : RemoteRecorder
        What does the work.
    host : str
        Address to listen on.
    port : int
        Port; 0 means any that is free.
    token : str, optional
        What a client has to know.

    Yields
    ------
    tuple of (str, int)
        Address and port.

    Raises
    ------
    CallError
        If the address is beyond this computer and there is no token.
    StreamError
        If the port cannot be opened.
    """
    refuse_open_door(host, token)
    try:
        server = _Server(host, port, recorder, token)
    except OSError as error:
        raise StreamError(
            f"found that {host} port {port} cannot be opened ({error.strerror or error}), expected "
            "it free; is LabRecorder or another recorder running? Choose another --port"
        ) from None
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(_POLL_SECONDS,), daemon=True)
        thread.start()
        try:
            yield str(server.server_address[0]), int(server.server_address[1])
        finally:
            server.shutdown()
            thread.join()


def serve_until_interrupted(
    recorder: RemoteRecorder,
    *,
    host: str,
    port: int,
    token: str | None,
    on_ready: Callable[[str, int], None],
) -> None:
    """Serve remote clients until Ctrl-C, then stop and seal what is under way.

    Parameters
    ----------
    recorder, host, port, token
        See :func:`serving`.
    on_ready : callable
        Told address and port when clients may come.

    Raises
    ------
    StoreError
        If a second Ctrl-C comes before the recording is sealed.
    """
    with serving(recorder, host=host, port=port, token=token) as (address, number):
        on_ready(address, number)
        try:
            while True:
                time.sleep(_POLL_SECONDS)
        except KeyboardInterrupt:
            recorder.close()
