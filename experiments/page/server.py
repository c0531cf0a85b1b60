"""The page's web server: one page, one WebSocket, one door for what the operator does."""

import asyncio
import contextlib
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from importlib.resources import files
from typing import Any, Protocol

from physioemo.errors import CallError, MissingExtraError
from physioemo.experiments.page.access import allowed_hosts, refusal
from physioemo.experiments.page.readings import Measured, Snapshot, measure

__all__ = ["Source", "bind", "build_app", "serve"]

FRAMES_HZ = 20.0
_STATUS_SECONDS = 0.5
_MEASURE_SECONDS = 2.0
_QUEUE_MESSAGES = 40  # two seconds; who reads slower loses frames, never the server its time
_STATIC_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws:; frame-ancestors 'none'",
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
_MOST_BODY_BYTES = 20_000


class Source(Protocol):
    """Where the page's data come from: live streams, or a stored recording."""

    def tick(self) -> tuple[list[dict[str, Any]], bytes | None]:
        """Return the messages and the traces that are new."""

    def greeting(self) -> tuple[list[dict[str, Any]], bytes | None]:
        """Return everything that a page needs when it is opened."""

    def status(self) -> dict[str, Any]:
        """Return what changes slowly."""

    def snapshots(self) -> list[Snapshot]:
        """Return what is to be measured in another thread."""

    def keep(self, measured: dict[int, Measured]) -> None:
        """Take what was measured."""

    def act(self, content: dict[str, Any]) -> dict[str, Any]:
        """Do what the operator asks for, or raise CallError."""


class _Listener:
    """One open page and the messages that it has not read yet."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[str | bytes] = asyncio.Queue(_QUEUE_MESSAGES)

    def put(self, message: str | bytes) -> None:
        """Queue a message; where the page is too slow, the oldest is dropped."""
        if self.queue.full():
            self.queue.get_nowait()
        self.queue.put_nowait(message)


class _Broadcast:
    """Asks a source 20 times a second and tells every open page."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.listeners: set[_Listener] = set()
        self._measuring: asyncio.Task[None] | None = None

    def tell(self, messages: list[dict[str, Any]], traces: bytes | None) -> None:
        """Queue messages for every page."""
        for message in messages:
            text = json.dumps(message, ensure_ascii=False, allow_nan=False)
            for listener in self.listeners:
                listener.put(text)
        if traces is not None:
            for listener in self.listeners:
                listener.put(traces)

    async def run(self) -> None:
        """Go on until cancelled."""
        loop = asyncio.get_running_loop()
        due, n = loop.time(), 0
        every = round(_STATUS_SECONDS * FRAMES_HZ)
        while True:
            messages, traces = self.source.tick()
            if n % every == 0:
                messages.append(self.source.status())
            if n % round(_MEASURE_SECONDS * FRAMES_HZ) == 0:
                self._measure()
            self.tell(messages, traces)
            n += 1
            due = max(due + 1 / FRAMES_HZ, loop.time())
            await asyncio.sleep(due - loop.time())

    def _measure(self) -> None:
        if self._measuring is None or self._measuring.done():
            if self._measuring is not None:
                self._measuring.result()
            self._measuring = asyncio.create_task(self._measured(self.source.snapshots()))

    async def _measured(self, snapshots: list[Snapshot]) -> None:
        self.source.keep(await asyncio.to_thread(measure, snapshots))

    def greet(self, listener: _Listener) -> None:
        """Tell a new page everything, and from now on the news."""
        messages, traces = self.source.greeting()
        for message in [*messages, self.source.status()]:
            listener.put(json.dumps(message, ensure_ascii=False, allow_nan=False))
        if traces is not None:
            listener.put(traces)
        self.listeners.add(listener)


def build_app(source: Source, token: str, hosts: tuple[str, ...]) -> Any:
    """Return the ASGI application.

    Parameters
    ----------
    source : Source
        Where the data come from.
    token : str
        What the address of the page ends with.
    hosts : tuple of str
        Under which ``Host`` headers it may be asked for; empty allows every name.

    Raises
    ------
    MissingExtraError
        If FastAPI is not installed.
    """
    try:
        from fastapi import FastAPI, Request, Response, WebSocket
    except ImportError as error:
        raise _missing_extra(error) from error

    broadcast = _Broadcast(source)
    static = files("physioemo.experiments.page") / "static"

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> Any:
        task = asyncio.create_task(broadcast.run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    def refused(request: Any) -> str:
        given = request.query_params.get("token", "")
        return refusal(request.headers, given, token, hosts)

    def answer(content: str | bytes, status: int = 200, suffix: str = ".html") -> Response:
        media = _STATIC_TYPES.get(suffix, "application/json")
        return Response(content, status, media_type=media, headers=_HEADERS)

    async def page(request: Request) -> Response:
        reason = refused(request)
        if reason:
            return answer(_refused_page(reason), 403)
        return answer((static / "index.html").read_bytes())

    async def asset(name: str) -> Response:
        path = static / name
        suffix = "." + name.rpartition(".")[2]
        if suffix not in _STATIC_TYPES or "/" in name or "\\" in name or not path.is_file():
            return answer("not found", 404)
        return answer(path.read_bytes(), suffix=suffix)

    async def act(request: Request) -> Response:
        reason = refused(request)
        if reason:
            return answer(json.dumps({"error": reason}), 403, ".json")
        try:
            body = await request.body()
            if len(body) > _MOST_BODY_BYTES:
                raise CallError(f"found {len(body)} bytes, expected at most {_MOST_BODY_BYTES}")
            done = source.act(_json_object(body))
        except CallError as error:
            return answer(json.dumps({"error": str(error)}), 400, ".json")
        return answer(json.dumps(done), suffix=".json")

    async def stream(websocket: WebSocket) -> None:
        if refused(websocket):
            await websocket.close(4403)  # before it is accepted: the browser sees a 403
            return
        await websocket.accept()
        await _serve_listener(websocket, broadcast)

    # Annotations are looked up in this module, where FastAPI's names are not imported.
    for function in (page, act):
        function.__annotations__["request"] = Request
    stream.__annotations__["websocket"] = WebSocket
    app.add_api_route("/", page, methods=["GET"], response_model=None)
    app.add_api_route("/static/{name}", asset, methods=["GET"], response_model=None)
    app.add_api_route("/act", act, methods=["POST"], response_model=None)
    app.add_api_websocket_route("/stream", stream)
    return app


async def _serve_listener(websocket: Any, broadcast: _Broadcast) -> None:
    """Send what is queued until the page goes away; what it sends is not read."""
    from fastapi import WebSocketDisconnect

    listener = _Listener()
    broadcast.greet(listener)

    async def send() -> None:
        while True:
            message = await listener.queue.get()
            if isinstance(message, bytes):
                await websocket.send_bytes(message)
            else:
                await websocket.send_text(message)

    sending = asyncio.create_task(send())
    try:
        while True:
            await websocket.receive_text()
    except WebSocketDisconnect:
        pass
    finally:
        broadcast.listeners.discard(listener)
        sending.cancel()
        with contextlib.suppress(asyncio.CancelledError, WebSocketDisconnect, RuntimeError):
            await sending


def _json_object(body: bytes) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise CallError(
            "found a body that is no JSON object, expected for example "
            '{"event": "note", "text": "..."}'
        )
    return content


def _refused_page(reason: str) -> str:
    from html import escape

    return (
        "<!doctype html><meta charset=utf-8><title>Refused</title>"
        f"<h1>This page needs its token</h1><p>{escape(reason)}</p>"
    )


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket.

    Raises
    ------
    CallError
        If the address is taken or not ours.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
        listening.listen(32)
    except OSError as error:
        listening.close()
        raise CallError(
            f"found that {host} port {port} cannot be listened on ({error.strerror}), expected a "
            "free port of this computer; choose another with --port"
        ) from error
    return listening


def serve(
    source: Source,
    listening: socket.socket,
    *,
    host: str,
    token: str,
    should_stop: threading.Event | None = None,
    on_ready: Callable[[str], None] = lambda url: None,
) -> None:
    """Serve the page until Ctrl-C.

    Parameters
    ----------
    source : Source
        Where the data come from.
    listening : socket
        From :func:`bind`; closed at the end.
    host : str
        What it is bound to.
    token : str
        What the address ends with.
    should_stop : threading.Event, optional
        Ends it, when set.
    on_ready : callable
        Told the address once the page can be opened.

    Raises
    ------
    MissingExtraError
        If uvicorn is not installed.
    """
    try:
        import uvicorn
        from uvicorn.config import WS_PROTOCOLS
    except ImportError as error:
        raise _missing_extra(error) from error
    port = int(listening.getsockname()[1])
    app = build_app(source, token, allowed_hosts(host, port))
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        ws="websockets-sansio" if "websockets-sansio" in WS_PROTOCOLS else "auto",
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=1,
        lifespan="on",
    )
    server = _quiet_server(uvicorn, config)
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104
    named = f"[{shown}]" if ":" in shown else shown

    async def run() -> None:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        while not server.started and not serving.done():
            await asyncio.sleep(0.01)
        if server.started:
            on_ready(f"http://{named}:{port}/?token={token}")
        while not serving.done():
            if should_stop is not None and should_stop.is_set():
                server.should_exit = True
            await asyncio.wait([serving], timeout=0.2)
        await serving

    try:
        asyncio.run(run())
    finally:
        listening.close()


def _quiet_server(uvicorn: Any, config: Any) -> Any:
    """Return a server for which Ctrl-C is its ordinary end, not an error to pass on."""

    class Server(uvicorn.Server):
        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            numbers = (signal.SIGINT, signal.SIGTERM)
            before = {number: signal.signal(number, self.handle_exit) for number in numbers}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    return Server(config)


def _missing_extra(error: ImportError) -> MissingExtraError:
    return MissingExtraError(
        f"found that {error.name!r} is not installed, expected it for the operator's page; run "
        "pip install 'physioemo[dashboard]'"
    )
