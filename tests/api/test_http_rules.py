"""What HTTP expects of every server: HEAD, encodings that are refused, bodies of no declared length, no redirects."""

import asyncio
import gzip

import pytest
from starlette.exceptions import HTTPException

from collector.api import http_rules
from collector.api.access import hashed
from tests.api.protected import client_of, parts_with


@pytest.fixture
def client(clock):
    with client_of(parts_with(clock)) as made:
        yield made


ORIGIN = "https://example.org"


def test_a_page_of_the_configured_origin_may_send_a_token_and_read_every_header(clock):
    asked = "authorization,x-api-key,content-type,if-none-match,last-event-id,x-request-id"
    with client_of(parts_with(clock, cors_origins=(ORIGIN,), tokens=(hashed("a token"),))) as client:
        before = {"origin": ORIGIN, "access-control-request-method": "GET", "access-control-request-headers": asked}
        allowed = client.options("/api/prices", headers=before)
        other = client.options("/api/prices", headers={**before, "access-control-request-headers": "x-evil"})
        answer = client.get("/api/prices", headers={"origin": ORIGIN, "authorization": "Bearer a token"})
    assert allowed.status_code == 200
    assert set(asked.split(",")) <= set(allowed.headers["access-control-allow-headers"].lower().split(", "))
    assert other.status_code == 400
    assert answer.status_code == 200
    exposed = set(answer.headers["access-control-expose-headers"].split(", "))
    assert {"ETag", "Link", "Retry-After", "X-Request-ID", "RateLimit-Remaining", "RateLimit-Reset"} <= exposed
    assert {"RateLimit-Limit", "X-Next-Cursor", "X-Source", "X-As-Of", "X-Stale"} <= exposed


@pytest.mark.parametrize(
    "path", ["/api/prices", "/api/ohlcv", "/api/health", "/api/v1/rows", "/docs", "/docs-assets/page.css", "/metrics"]
)
def test_head_is_get_without_the_body(client, path):
    asked, read = client.head(path), client.get(path)
    assert (asked.status_code, asked.content) == (200, b"")
    own = {"x-request-id", "ratelimit-remaining", "content-length"}
    assert {name: value for name, value in asked.headers.items() if name not in own} == {
        name: value for name, value in read.headers.items() if name not in own
    }
    if path != "/metrics":  # it counts itself
        assert asked.headers.get("content-length") == read.headers.get("content-length")


def test_head_is_refused_where_get_is(client):
    for path, status in (("/api/nothing", 404), ("/api/ohlcv?limit=0", 400), ("/api/cache/clear", 405)):
        answer = client.head(path)
        assert (answer.status_code, answer.content) == (status, b"")
    assert client.head("/api/cache/clear").headers["allow"] == "POST"


def test_head_is_counted_as_such_under_its_route(client):
    client.head("/api/health")
    text = client.get("/metrics").text
    assert 'collector_api_requests_total{route="/api/health",method="HEAD",status="200"} 1' in text


@pytest.mark.parametrize("path", ["/api/prices", "/api/v1/rows", "/openapi.json"])
@pytest.mark.parametrize("accepted", ["gzip;q=0", "GZIP; q=0.0, br", "gzip;q=0, *"])
def test_gzip_that_is_refused_is_not_sent(client, path, accepted):
    answer = client.get(path, headers={"accept-encoding": accepted})
    assert answer.status_code == 200
    assert "content-encoding" not in answer.headers


def test_an_answer_with_a_tag_says_that_it_depends_on_the_encoding(client):
    tag = client.get("/api/prices").headers["etag"]
    plain = client.get("/api/prices", headers={"accept-encoding": "identity"})
    same = client.get("/api/prices", headers={"if-none-match": tag})
    assert same.status_code == 304
    assert [answer.headers["vary"] for answer in (plain, same)] == ["Accept-Encoding"] * 2


def test_what_an_answer_depends_on_already_stays_and_is_said_once():
    tag = (b"etag", b"x")
    assert http_rules.varying([tag, (b"vary", b"Origin")]) == [tag, (b"vary", b"Origin, Accept-Encoding")]
    both = [(b"vary", b"Accept-Encoding, Origin"), tag]
    assert http_rules.varying(both) == both


def test_a_body_without_a_declared_length_is_bounded_where_nobody_reads_it(client):
    client.get("/api/prices")
    refused = client.post("/api/cache/clear", content=iter([b"x" * 8192] * 9))
    assert (refused.status_code, refused.json()["error"]["code"]) == (413, "INVALID_PARAMETER")
    assert client.post("/api/cache/clear", content=iter([b"x" * 8192] * 8)).json() == {"cleared": 1}


def test_a_body_that_does_not_come_is_waited_for_only_so_long(monkeypatch):
    monkeypatch.setattr(http_rules, "BODY_S", 0.01)

    async def never():
        await asyncio.Event().wait()

    with pytest.raises(HTTPException) as refused:
        asyncio.run(http_rules.read_ahead(never))
    assert refused.value.status_code == 408


@pytest.mark.parametrize("path", ["/api/prices/", "/api/ohlcv/?limit=1", "/docs/", "/openapi.json/"])
def test_no_address_leads_to_where_the_host_header_says(client, path):
    answer = client.get(path, headers={"host": "evil.example"}, follow_redirects=False)
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "NOT_FOUND")
    assert "location" not in answer.headers


@pytest.mark.parametrize(
    "query", ["limit=1&limit=2", "limit=1&interval=1h&limit=1", "limit=1&li%6Dit=2", "limit&limit=", "a=1&a=1"]
)
def test_a_parameter_that_is_given_twice_is_refused_by_name(client, query):
    answer = client.get(f"/api/ohlcv?{query}")
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (400, "INVALID_PARAMETER")
    assert list(error["details"].values()) == ["is given more than once"]


def test_parameters_that_nobody_knows_are_left_alone_in_the_unified_part(client):
    assert client.get("/api/ohlcv?limit=1&&_=1&unheard=2").status_code == 200


def test_what_is_packed_can_be_unpacked(client):
    with client.stream("GET", "/api/v1/rows", headers={"accept-encoding": "gzip;q=0.5"}) as answer:
        assert gzip.decompress(b"".join(answer.iter_raw())).startswith(b"row,")
