"""Who asks and whether they may: no header of a stranger changes either."""

import random

import pytest
from starlette.requests import Request

from collector.api.access import client_key, hashed, is_known, networks, peer
from collector.errors import ConfigError
from tests.api.protected import client_of, parts_with

TOKEN = "5f0e-a-token-of-32-characters-8a1"
CLEAR = "/api/cache/clear"


def seen_peer(clock, connection, *forwarded, trusted=(), **others):
    headers = [(b"x-forwarded-for", line.encode()) for line in forwarded]
    headers += [(name.replace("_", "-").encode(), value.encode()) for name, value in others.items()]
    client = None if connection is None else (connection, 40000)
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": client}
    return peer(Request(scope), parts_with(clock, trusted_proxies=trusted))


def test_headers_of_strangers_never_change_who_asks(clock):
    chance = random.Random(4)
    names = ("x_forwarded_for", "forwarded", "x_real_ip", "client_ip", "true_client_ip", "cf_connecting_ip")
    for _ in range(1000):
        claimed = ".".join(str(chance.randrange(1, 255)) for _ in range(4))
        name = chance.choice(names)
        assert seen_peer(clock, "198.51.100.7", **{name: claimed}) == "198.51.100.7"
        assert seen_peer(clock, "198.51.100.7", **{name: claimed}, trusted=("10.0.0.0/8",)) == "198.51.100.7"


def test_an_underscored_header_is_no_forwarded_header(clock):
    headers = [(b"x_forwarded_for", b"203.0.113.1")]
    scope = {"type": "http", "method": "GET", "path": "/", "headers": headers, "client": ("10.0.0.1", 1)}
    assert peer(Request(scope), parts_with(clock, trusted_proxies=("10.0.0.0/8",))) == "10.0.0.1"


@pytest.mark.parametrize(
    ("forwarded", "expected"),
    [
        ((), "10.0.0.1"),
        (("203.0.113.5",), "203.0.113.5"),
        (("198.51.100.1, 203.0.113.5",), "203.0.113.5"),
        (("198.51.100.1, 203.0.113.5, 10.0.0.9",), "203.0.113.5"),
        (("198.51.100.1", "203.0.113.5", "10.0.0.9"), "203.0.113.5"),
        (("198.51.100.1, 203.0.113.5", "10.0.0.9, 10.0.0.8"), "203.0.113.5"),
        (("10.0.0.7, 10.0.0.8",), "10.0.0.7"),
        (("203.0.113.5:4711",), "203.0.113.5"),
        (("[2001:db8::5]:4711",), "2001:db8::5"),
        (("2001:db8::5",), "2001:db8::5"),
        (("::ffff:203.0.113.5",), "203.0.113.5"),
        (("203.0.113.5, unknown",), "10.0.0.1"),
        (("203.0.113.5, , 10.0.0.9",), "10.0.0.9"),
        (("203.0.113.5, 10.0.0.256",), "10.0.0.1"),
        (("' OR 1=1",), "10.0.0.1"),
        (("",), "10.0.0.1"),
        ((",,,",), "10.0.0.1"),
        (("203.0.113.5,",), "10.0.0.1"),
        (("  203.0.113.5  ",), "203.0.113.5"),
        (("127.0.0.1",), "127.0.0.1"),
    ],
)
def test_behind_configured_proxies_the_right_most_stranger_is_who_asks(clock, forwarded, expected):
    assert seen_peer(clock, "10.0.0.1", *forwarded, trusted=("10.0.0.0/8",)) == expected


def test_a_proxy_may_be_named_by_address_and_by_ipv6(clock):
    assert seen_peer(clock, "192.0.2.1", "203.0.113.5", trusted=("192.0.2.1",)) == "203.0.113.5"
    assert seen_peer(clock, "2001:db8::1", "203.0.113.5", trusted=("2001:db8::/32",)) == "203.0.113.5"
    assert seen_peer(clock, "::ffff:10.0.0.1", "203.0.113.5", trusted=("10.0.0.1",)) == "203.0.113.5"


def test_a_connection_without_an_address_is_unknown(clock):
    assert seen_peer(clock, None, "203.0.113.5", trusted=("10.0.0.0/8",)) == "unknown"


def test_a_proxy_that_is_no_network_is_refused_with_its_key():
    with pytest.raises(ConfigError, match=r"api\.trusted_proxies.*nginx"):
        networks(("nginx",))


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("unknown", "unknown"),
    ],
)
def test_a_client_is_an_ipv4_address_or_an_ipv6_network(address, expected):
    assert client_key(address) == expected


def test_a_token_is_known_by_its_digest_only():
    digest = hashed(TOKEN)
    assert digest == hashed(TOKEN)
    assert len(digest) == 64
    assert is_known(TOKEN, [hashed("another"), digest.upper()])
    assert not is_known(TOKEN, [])
    assert not is_known(digest, [digest])
    assert not is_known(TOKEN[:-1], [digest])


def test_the_digest_is_sha256():
    assert hashed("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


@pytest.mark.parametrize(
    ("peer_address", "base_url", "headers", "status"),
    [
        ("127.0.0.1", "http://127.0.0.1:8000", {}, 200),
        ("127.0.0.1", "http://localhost:8000", {}, 200),
        ("127.8.8.8", "http://localhost", {}, 200),
        ("::1", "http://[::1]:8000", {}, 200),
        ("198.51.100.7", "http://localhost", {}, 401),
        ("2001:db8::1", "http://localhost", {}, 401),
        ("198.51.100.7", "http://localhost", {"x-forwarded-for": "127.0.0.1"}, 401),
        ("127.0.0.1", "http://localhost", {"x-forwarded-for": "198.51.100.7"}, 401),  # a proxy nobody configured
        ("127.0.0.1", "http://localhost", {"via": "1.1 proxy"}, 401),
        ("127.0.0.1", "http://rebound.example", {}, 401),  # a foreign name that points here
        ("127.0.0.1", "http://localhost", {"sec-fetch-site": "cross-site"}, 403),
        ("127.0.0.1", "http://localhost", {"sec-fetch-site": "same-site"}, 403),
        ("127.0.0.1", "http://localhost", {"origin": "https://evil.example"}, 403),
        ("127.0.0.1", "http://localhost", {"origin": "null"}, 403),
        ("127.0.0.1", "http://localhost", {"origin": "http://localhost", "sec-fetch-site": "same-origin"}, 200),
    ],
)
def test_without_tokens_only_this_machine_may_change_something(clock, peer_address, base_url, headers, status):
    with client_of(parts_with(clock), peer=peer_address, base_url=base_url) as client:
        answer = client.post(CLEAR, headers=headers)
    assert answer.status_code == status
    if status != 200:
        assert answer.json()["error"]["code"] == "UNAUTHORIZED"


def test_behind_a_configured_proxy_only_its_local_clients_are_local(clock):
    parts = parts_with(clock, trusted_proxies=("127.0.0.1",))
    with client_of(parts) as client:
        assert client.post(CLEAR, headers={"x-forwarded-for": "198.51.100.7"}).status_code == 401
        assert client.post(CLEAR, headers={"x-forwarded-for": "::1"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"authorization": f"Bearer {TOKEN}"}, 200),
        ({"authorization": f"bearer  {TOKEN} "}, 200),
        ({"x-api-key": TOKEN}, 200),
        ({"authorization": f"Bearer {TOKEN}x"}, 401),
        ({"authorization": f"Basic {TOKEN}"}, 401),
        ({"authorization": "Bearer "}, 401),
        ({"authorization": f"Bearer {hashed(TOKEN)}"}, 401),
        ({"x-api-key": "\u00e9\u00fc".encode("latin-1")}, 401),
    ],
)
def test_with_tokens_every_call_needs_one(clock, headers, status):
    with client_of(parts_with(clock, tokens=(hashed("other"), hashed(TOKEN)))) as client:
        for path in ("/api/prices", "/api/v1/rows", "/metrics"):
            assert client.get(path, headers=headers).status_code == status
        answer = client.post(CLEAR, headers=headers)
        unknown = client.get("/api/nothing", headers=headers)
    assert answer.status_code == status
    assert unknown.status_code == (404 if status == 200 else 401)
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
        assert TOKEN not in answer.text


def test_with_tokens_health_and_the_documents_stay_open(clock):
    with client_of(parts_with(clock, tokens=(hashed(TOKEN),)), peer="198.51.100.7") as client:
        for path in ("/api/health", "/docs", "/redoc", "/openapi.json", "/docs-assets/page.css"):
            assert client.get(path).status_code == 200, path


def test_a_token_does_not_help_the_page_of_another_site(clock):
    headers = {"authorization": f"Bearer {TOKEN}", "origin": "https://evil.example"}
    with client_of(parts_with(clock, tokens=(hashed(TOKEN),))) as client:
        assert client.post(CLEAR, headers=headers).status_code == 403
