"""The page's web server: one page, one WebSocket, one door for what the operator does."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from importlib.resources import files
from typing import Any

from physioemo.errors import CallError, MissingExtraError
from physioemo.experiments.page.access import allowed_hosts, refusal
from physioemo.experiments.page.broadcast import Broadcast, Listener, Source

__all__ = ["bind", "build_app", "serve"]

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


class _Doors:
    """What can be asked of the server, each by one method.

    Parameters
    ----------
    broadcast : Broadcast
        What pages are told.
    token : str
        What the address of the page ends with.
    hosts : tuple of str
        Under which ``Host`` headers it may be asked for; empty allows every name.
    """

    def __init__(self, broadcast: Broadcast, token: str, hosts: tuple[str, ...]) -> None:
        self.broadcast = broadcast
        self.token = token
        self.hosts = hosts
        self.static = files("physioemo.experiments.page") / "static"

    def refused(self, request: Any) -> str:
        """Return why a request is refused, or an empty text."""
        given = request.query_params.get("token", "")
        return refusal(request.headers, given, self.token, self.hosts)

    async def page(self, request: Any) -> Any:
        """Return the page."""
        reason = self.refused(request)
        if reason:
            return _answer(_refused_page(reason), 403)
        return _answer((self.static / "index.html").read_bytes())

    async def asset(self, request: Any) -> Any:
        """Return a file of the page; they are in the package and no secret."""
        name = request.path_params["name"]
        path, suffix = self.static / name, "." + name.rpartition(".")[2]
        if suffix not in _STATIC_TYPES or "/" in name or "\\" in name or not path.is_file():
            return _answer("not found", 404)
        return _answer(path.read_bytes(), suffix=suffix)

    async def act(self, request: Any) -> Any:
        """Do what the operator asks for."""
        reason = self.refused(request)
        if reason:
            return _answer(json.dumps({"error": reason}), 403, ".json")
        try:
            body = await request.body()
            if len(body) > _MOST_BODY_BYTES:
                raise CallError(f"found {len(body)} bytes, expected at most {_MOST_BODY_BYTES}")
            done = self.broadcast.source.act(_json_object(body))
        except CallError as error:
            return _answer(json.dumps({"error": str(error)}), 400, ".json")
        return _answer(json.dumps(done), suffix=".json")

    async def stream(self, websocket: Any) -> None:
        """Tell a page everything, and then the news."""
        if self.refused(websocket):
            await websocket.close(4403)  # before it is accepted: the browser sees a 403
            return
        await websocket.accept()
        await _serve_listener(websocket, self.broadcast)


def build_app(source: Source, token: str, hosts: tuple[str, ...]) -> Any:
    """Return the ASGI application; its broadcast is in ``state.broadcast``.

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
        from fastapi import FastAPI
        from starlette.routing import Route, WebSocketRoute
    except ImportError as error:
        raise _missing_extra(error) from error
    broadcast = Broadcast(source)

    @contextlib.asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        task = asyncio.create_task(broadcast.run())
        yield
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    doors = _Doors(broadcast, token, hosts)
    routes = [
        Route("/", doors.page, methods=["GET"]),
        Route("/static/{name}", doors.asset, methods=["GET"]),
        Route("/act", doors.act, methods=["POST"]),
        WebSocketRoute("/stream", doors.stream),
    ]
    app = FastAPI(routes=routes, lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.state.broadcast = broadcast
    return app


def _answer(content: str | bytes, status: int = 200, suffix: str = ".html") -> Any:
    from starlette.responses import Response

    media = _STATIC_TYPES.get(suffix, "application/json")
    return Response(content, status, media_type=media, headers=_HEADERS)


async def _serve_listener(websocket: Any, broadcast: Broadcast) -> None:
    """Send what is queued until the page goes away; what it sends is not read."""
    from fastapi import WebSocketDisconnect

    listener = Listener()
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
    if os.name == "posix":  # on Windows it would let a second program take the port as well
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

    url = f"http://{named}:{port}/?token={token}"
    try:
        asyncio.run(_run(server, app, listening, should_stop, lambda: on_ready(url)))
    finally:
        listening.close()


async def _run(
    server: Any,
    app: Any,
    listening: socket.socket,
    should_stop: threading.Event | None,
    on_ready: Callable[[], None],
) -> None:
    """Serve until told to stop, or until the source cannot go on."""
    serving = asyncio.create_task(server.serve(sockets=[listening]))
    while not server.started and not serving.done():
        await asyncio.sleep(0.01)
    if server.started:
        on_ready()
    while not serving.done():
        is_told = should_stop is not None and should_stop.is_set()
        if is_told or app.state.broadcast.failure is not None:
            server.should_exit = True
        await asyncio.wait([serving], timeout=0.2)
    await serving
    if app.state.broadcast.failure is not None:
        raise app.state.broadcast.failure


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
