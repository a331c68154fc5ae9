"""Who asks, and whether they may: the real peer behind proxies, tokens, and calls that change something.

A header of a proxy counts only when the connection comes from a proxy that the settings name.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import Scope

from collector.api.errors import ApiError, Code
from collector.api.parts import Parts
from collector.errors import ConfigError

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

IPV6_CLIENT_BITS = 64  # what one subscriber is given at least; a single address of it costs an attacker nothing
OPEN_PATHS = {"/api/health"}  # answered without a token whatever is configured
_REMEMBERED = 4096  # addresses whose reading is kept, as it costs more than counting a request
_FORWARDED = ("x-forwarded-for", "forwarded", "x-real-ip", "via")  # what proxies add


def peer(request: Request, parts: Parts) -> str:
    """Return the address of the client: the connection's, or the one that configured proxies vouch for.

    That is the right-most address of X-Forwarded-For that is not itself a configured proxy. IPv4 addresses written as
    IPv6 are unwrapped. "unknown" when the connection has no address (a Unix socket).
    """
    return peer_of(request.scope, parts)


def peer_of(scope: Scope, parts: Parts) -> str:
    """Return the same as `peer`, from an ASGI scope."""
    known = scope.setdefault("state", {})
    if "peer" not in known:
        known["peer"] = _find_peer(scope, parts.settings.trusted_proxies)
    return str(known["peer"])


@lru_cache(maxsize=_REMEMBERED)
def client_key(address: str) -> str:
    """Return what stands for one client when requests are counted: an IPv4 address, or the /64 of an IPv6 one."""
    found = _parsed(address)
    if isinstance(found, IPv6Address):
        return str(IPv6Network((int(found), IPV6_CLIENT_BITS), strict=False))
    return address if found is None else str(found)


@lru_cache(maxsize=8)
def networks(words: Sequence[str]) -> tuple[Network, ...]:
    """Return the networks of a setting; raises ConfigError for a word that is none."""
    try:
        return tuple(ip_network(word, strict=False) for word in words)
    except ValueError as error:
        raise ConfigError(f"api.trusted_proxies: {error}; expected addresses or networks, as 10.0.0.0/8") from error


def needs_token(parts: Parts) -> Callable[[Request], Awaitable[None]]:
    """Return the dependency of calls that change something: they need a token, or loopback when none is configured.

    Pages of other sites are refused either way, so that a browser on this machine cannot be made to call.
    """

    async def check(request: Request) -> None:
        _refuse_other_sites(request.headers)
        if parts.settings.tokens:
            demand_token(request.headers, parts)
        elif not _is_local(request, parts):
            message = "Only this machine may do that while no token is configured"
            raise ApiError(Code.UNAUTHORIZED, message, details={"remedy": "add a token: python main.py api token"})

    return check


def is_open(path: str) -> bool:
    """Return whether a path is answered without a token when tokens are configured: health, pages and their files."""
    return path in OPEN_PATHS or not (path == "/metrics" or path.startswith("/api"))


def demand_token(headers: Headers, parts: Parts) -> None:
    """Raise UNAUTHORIZED unless the request carries one of the configured tokens."""
    given = token_of(headers)
    if given is None:
        message = "This call needs a token: Authorization: Bearer <token>, or X-API-Key: <token>"
        raise ApiError(Code.UNAUTHORIZED, message)
    if not is_known(given, parts.settings.tokens):
        raise ApiError(Code.UNAUTHORIZED, "This token is not known here")


def token_of(headers: Headers) -> str | None:
    """Return the token that a request carries, None when it carries none."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers.get("x-api-key") or None


def hashed(token: str) -> str:
    """Return what is configured in place of a token: its SHA-256 in lower-case hexadecimal digits."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def is_known(token: str, hashes: Iterable[str]) -> bool:
    """Return whether a token is one of the hashed ones; takes as long for a wrong one as for a right one."""
    digest = hashed(token)
    found = False
    for known in hashes:
        found |= hmac.compare_digest(digest.encode(), known.strip().lower().encode())
    return found


def _find_peer(scope: Scope, trusted: Sequence[str]) -> str:
    client = scope.get("client")
    found = _parsed(client[0]) if client else None
    if found is None:
        return client[0] if client and client[0] else "unknown"
    proxies = networks(tuple(trusted))
    if proxies and _within(found, proxies):
        found = _behind(found, Headers(scope=scope).getlist("x-forwarded-for"), proxies)
    return str(found)


def _behind(proxy: Address, lines: Sequence[str], proxies: Sequence[Network]) -> Address:
    """Walk the chain from its end: left of the first stranger, or of a word that is no address, nothing is proven."""
    found = proxy
    for word in reversed(",".join(lines).split(",")):
        address = _parsed(_without_port(word.strip()))
        if address is None:
            return found
        found = address
        if not _within(found, proxies):
            return found
    return found


def _without_port(word: str) -> str:
    if word.startswith("["):
        return word[1:].partition("]")[0]
    return word.partition(":")[0] if word.count(":") == 1 else word


@lru_cache(maxsize=_REMEMBERED)
def _parsed(text: str) -> Address | None:
    try:
        found = ip_address(text)
    except ValueError:
        return None
    return (found.ipv4_mapped or found) if isinstance(found, IPv6Address) else found


def _within(address: Address, places: Iterable[Network]) -> bool:
    return any(address in place for place in places)


def _is_local(request: Request, parts: Parts) -> bool:
    """Say whether the caller sits on this machine.

    A proxy that is not configured makes the whole world look local, and a foreign host name that was pointed at
    loopback makes any web page look local: both leave a mark that is looked for here.
    """
    address = _parsed(peer(request, parts))
    if address is None or not address.is_loopback:
        return False
    if not parts.settings.trusted_proxies and any(name in request.headers for name in _FORWARDED):
        return False
    host = _without_port(request.headers.get("host", "").strip())
    return host.lower() == "localhost" or _parsed(host) is not None


def _refuse_other_sites(headers: Headers) -> None:
    site = headers.get("sec-fetch-site", "none").lower()
    origin = headers.get("origin")
    own = {f"{scheme}://{headers.get('host', '')}" for scheme in ("http", "https")}
    if site not in {"none", "same-origin"} or (origin is not None and origin not in own):
        raise ApiError(Code.UNAUTHORIZED, "Pages of other sites may not make this call", status=403)
