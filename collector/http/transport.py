"""Connections that a deadline can reach, and the adapter that makes requests use them.

No retries for either scheme, one TLS context for all threads (loading the certificates costs 20 ms and a megabyte),
proxies of the environment honoured.
"""

import ipaddress
import socket
import ssl
import threading
from http.client import IncompleteRead
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from requests.utils import DEFAULT_CA_BUNDLE_PATH
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context

from collector.errors import ConfigError
from collector.http.deadline import Line, current

READ_BYTES = 65_536


class TooLarge(Exception):
    """The decompressed body is larger than allowed."""


class _Reachable(HTTPConnection):
    """A connection whose socket the running call's deadline can cut, from the first packet on."""

    _line: Line | None = None

    def _new_conn(self) -> socket.socket:
        sock = self._connect(self._addresses())
        self._line = Line(sock)
        self._attach()
        return sock

    def request(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is not None:  # kept alive from an earlier call
            self._attach()
        super().request(*args, **kwargs)

    def close(self) -> None:
        super().close()
        if self._line is not None:
            self._line.drop()
            self._line = None

    def _attach(self) -> None:
        deadline = current()
        if deadline is not None and self._line is not None:
            deadline.attach(self._line)

    def _seconds(self) -> float:
        """Return the connect timeout, or what is left of the call's time if that is less."""
        timeout = float(self.timeout) if isinstance(self.timeout, int | float) else 10.0
        deadline = current()
        return timeout if deadline is None else max(0.001, min(timeout, deadline.left))

    def _addresses(self) -> list[Any]:
        """Resolve the name in a thread of its own: the resolver knows no timeout and can take 40 s to give up."""
        found: list[Any] = []
        failed: list[OSError] = []

        def resolve() -> None:
            try:
                found.extend(socket.getaddrinfo(self._dns_host, self.port, type=socket.SOCK_STREAM))
            except OSError as error:
                failed.append(error)
            except UnicodeError:  # a label that is empty or too long
                failed.append(socket.gaierror(socket.EAI_NONAME, "not a host name"))

        resolver = threading.Thread(target=resolve, name="resolve", daemon=True)
        resolver.start()
        resolver.join(self._seconds())
        if not found:
            reason = failed[0] if failed else socket.gaierror(socket.EAI_AGAIN, "no answer from the name server")
            cause = reason if isinstance(reason, socket.gaierror) else socket.gaierror(str(reason))
            raise NameResolutionError(self.host, self, cause) from reason
        return found

    def _connect(self, addresses: list[Any]) -> socket.socket:
        failure: OSError = OSError("no address")
        for family, kind, protocol, _, address in addresses:
            sock = socket.socket(family, kind, protocol)
            try:
                for option in self.socket_options or ():
                    sock.setsockopt(*option)
                sock.settimeout(self._seconds())
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
            else:
                return sock
        if isinstance(failure, TimeoutError):
            raise ConnectTimeoutError(self, "no connection in time") from failure
        raise NewConnectionError(self, str(failure)) from failure


class _ReachableTls(_Reachable, HTTPSConnection):
    """The same under TLS: the handshake is reached too."""


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Reachable


class _TlsPool(HTTPSConnectionPool):
    ConnectionCls = _ReachableTls


_POOLS = {"http": _Pool, "https": _TlsPool}


class Adapter(HTTPAdapter):
    """Sends over reachable connections. `tls` is shared by threads; None only where https is not spoken."""

    def __init__(self, tls: ssl.SSLContext | None) -> None:
        self._tls = tls
        self._pool: Any = None
        super().__init__(pool_connections=2, pool_maxsize=1)  # one thread, one host

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def build_connection_pool_key_attributes(
        self, request: requests.PreparedRequest, verify: bool | str, cert: Any = None
    ) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {"ssl_context": self._tls} if host["scheme"] == "https" else {}

    def get_connection_with_tls_context(
        self, request: requests.PreparedRequest, verify: Any, proxies: Any = None, cert: Any = None
    ) -> Any:
        """Return the pool of the one host and proxy that this adapter is for; found anew it would be each time."""
        if self._pool is None:
            self._pool = super().get_connection_with_tls_context(request, verify, proxies=proxies, cert=cert)
        return self._pool

    def close(self) -> None:
        """Close all connections now; the library leaves them to the garbage collector."""
        self._pool = None
        for manager in (self.poolmanager, *self.proxy_manager.values()):
            for key in list(manager.pools.keys()):
                pool = manager.pools.get(key)
                if pool is not None:
                    pool.close()
        super().close()

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the pool as it is: the TLS context verifies."""


def tls_context(verify: bool | str) -> ssl.SSLContext:
    """Return a verifying context with the certificates in the file or folder `verify`, or requests' own."""
    place = Path(verify if isinstance(verify, str) else DEFAULT_CA_BUNDLE_PATH)
    context = create_urllib3_context()
    try:
        if place.is_dir():
            context.load_verify_locations(capath=place)
        else:
            context.load_verify_locations(cafile=place)
    except OSError as error:
        raise ConfigError(f"cannot read the certificates in {place} (REQUESTS_CA_BUNDLE): {error}") from error
    return context


def proxies_and_certificates(base_url: str) -> dict[str, Any]:
    """Return the proxies and certificates that the environment names for this provider.

    A provider on this machine, as the simulator is, is never asked through a proxy, which would look for it on its own.
    """
    with requests.Session() as session:
        settings = session.merge_environment_settings(base_url, {}, None, None, None)
    return {"proxies": {} if _is_loopback(base_url) else settings["proxies"], "verify": settings["verify"]}


def _is_loopback(base_url: str) -> bool:
    host = urlsplit(base_url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:  # a name
        return host.rstrip(".") == "localhost"


def proxy_between(url: str, proxies: dict[str, str]) -> str | None:
    """Return host or host:port of the proxy that requests takes for a URL, without its login; None without one."""
    proxy = requests.utils.select_proxy(url, proxies)
    if not proxy:
        return None
    return urlsplit(proxy if "://" in proxy else f"//{proxy}").netloc.rpartition("@")[2]


def read_body(response: requests.Response, limit: int) -> bytes:
    """Return the decompressed body.

    Raises TooLarge before more than `limit` bytes of it are in memory, IncompleteRead when it is cut off.
    """
    if int_or_zero(response.headers.get("content-length")) > limit:
        raise TooLarge
    chunks: list[bytes] = []
    size = 0
    for chunk in response.raw.stream(READ_BYTES, decode_content=True):
        size += len(chunk)
        if size > limit:
            raise TooLarge
        chunks.append(chunk)
    if not chunks and 200 <= response.status_code < 300 and not _announced(response):  # noqa: PLR2004
        raise IncompleteRead(b"")  # http.client takes headers that end in the middle for whole ones
    return b"".join(chunks)


def _announced(response: requests.Response) -> bool:
    """Tell whether the headers say how long the body is, an empty one included."""
    return response.status_code == 204 or "content-length" in response.headers or response.raw.chunked  # noqa: PLR2004


def int_or_zero(text: str | None) -> int:
    """Return a header's whole number, 0 when it is none."""
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else 0  # noqa: PLR2004
