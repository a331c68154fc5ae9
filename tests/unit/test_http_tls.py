"""The door under TLS: certificates are verified, and handshake and body end at the deadline."""

import shutil
import socket
import ssl
import subprocess
import threading

import pytest

from collector.clock import SystemClock
from collector.errors import ConfigError, VenueUnreachable
from tests.unit.http_door import COST, door
from tests.unit.http_server import Server, drip, reply

CLOCK = SystemClock()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A self-signed certificate for 127.0.0.1; made here, so that no private key lies in the repository."""
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("the openssl program makes the certificate, and it is not installed")
    folder = tmp_path_factory.mktemp("tls")
    key, cert = folder / "key.pem", folder / "cert.pem"
    command = [program, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    command += ["-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(cert, key)
    return cert, context


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(certificate):
    with Server(lambda _: reply(), tls=certificate[1]) as server, door(server.url) as venue:
        venue._retry._retries = 1_000
        with pytest.raises(VenueUnreachable, match=r"cannot trust the certificate of 127\.0\.0\.1.*self-signed"):
            venue.get("/x", {}, COST)
        assert server.log == []


def test_certificates_named_by_the_environment_are_used_by_all_threads(certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    with Server(lambda _: reply(b"[1]"), tls=certificate[1]) as server, door(server.url) as venue:
        bodies = []
        threads = [threading.Thread(target=lambda: bodies.append(venue.get("/x", {}, COST).body)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert bodies == [b"[1]"] * 8


def test_a_certificate_for_another_name_is_not_trusted(certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    with Server(lambda _: reply(), tls=certificate[1]) as server:
        with door(server.url.replace("127.0.0.1", "localhost")) as venue:
            venue._retry._retries = 1_000
            with pytest.raises(VenueUnreachable, match="cannot trust the certificate of localhost"):
                venue.get("/x", {}, COST)
        assert server.log == []


def test_a_body_that_drips_under_tls_ends_at_the_deadline(certificate, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate[0]))
    slow = drip(b"x", 0.05, first=b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
    with Server(lambda _: slow, tls=certificate[1]) as server, door(server.url) as venue:
        venue._retry._retries = 1_000
        began = CLOCK.monotonic()
        with pytest.raises(VenueUnreachable, match="no complete answer"):
            venue.get("/x", {}, COST)
        assert CLOCK.monotonic() - began < 0.95


def test_a_handshake_that_drips_ends_in_time():
    over = threading.Event()

    def talk(listener: socket.socket) -> None:
        sock, _ = listener.accept()
        with sock:
            try:
                while not over.wait(0.05):
                    sock.sendall(b"\x16\x03\x03\x40\x00"[:1] if not over.is_set() else b"")
            except OSError:
                return

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=talk, args=(listener,))
        thread.start()
        with door(f"https://127.0.0.1:{listener.getsockname()[1]}") as venue:
            venue._retry._retries = 1_000
            began = CLOCK.monotonic()
            with pytest.raises(VenueUnreachable):
                venue.get("/x", {}, COST)
            assert CLOCK.monotonic() - began < 0.95
        over.set()
        thread.join(5)


def test_missing_certificates_are_a_configuration_error(monkeypatch, tmp_path):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "none.pem"))
    with pytest.raises(ConfigError, match="REQUESTS_CA_BUNDLE"), door("https://api.x.invalid"):
        pytest.fail("built")
