"""Who may see the page: whoever has its token, from a page of its own, on this computer."""

import secrets
from collections.abc import Mapping

__all__ = ["LOCAL_HOSTS", "allowed_hosts", "is_own_origin", "new_token", "refusal"]

LOCAL_HOSTS = ("127.0.0.1", "localhost", "[::1]")
_TOKEN_BYTES = 16


def new_token() -> str:
    """Return a token that nobody guesses."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def allowed_hosts(host: str, port: int) -> tuple[str, ...]:
    """Return the ``Host`` headers under which the page may be asked for.

    A name that points to this computer for a moment (DNS rebinding) is none of them.

    Parameters
    ----------
    host : str
        What the server is bound to; every address for ``0.0.0.0`` or ``::``, where any name goes.
    port : int
        Its port.
    """
    if host in ("0.0.0.0", "::"):  # noqa: S104  (only if the user said so)
        return ()
    named = f"[{host}]" if ":" in host else host
    return tuple(dict.fromkeys(f"{name}:{port}" for name in (named, *LOCAL_HOSTS)))


def is_own_origin(headers: Mapping[str, str]) -> bool:
    """Return whether a request comes from the page itself, or from no page at all."""
    origin = headers.get("origin")
    return origin is None or origin == f"http://{headers.get('host', '')}"


def refusal(headers: Mapping[str, str], given: str, token: str, hosts: tuple[str, ...]) -> str:
    """Return why a request is refused, or an empty text.

    Parameters
    ----------
    headers : mapping of str to str
        Of the request, lower-case.
    given, token : str
        The token that came with it, and the right one.
    hosts : tuple of str
        From :func:`allowed_hosts`; empty allows every name.
    """
    host = headers.get("host", "")
    if hosts and host not in hosts:
        return f"found the host {host!r}, expected {hosts[0]}; open the address that was printed"
    if not is_own_origin(headers):
        origin = headers.get("origin")
        return f"found a request from the page {origin!r}, expected one from the operator's page"
    if not secrets.compare_digest(given.encode(), token.encode()):
        return (
            "found no valid token, expected the one in the address that 'physioemo page' printed; "
            "open that address"
        )
    return ""
