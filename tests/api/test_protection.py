"""The outside of the API: every error the same envelope, every request bounded, every page self-contained."""

import gzip
import hashlib
import logging
import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from collector.api import pages, protection
from collector.api.access import hashed
from collector.clock import SystemClock
from collector.errors import ConfigError, StorageUnavailable
from tests.api.protected import client_of, parts_with, protected

REAL = SystemClock()

SAFE = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
}


@pytest.fixture
def client(clock):
    with client_of(parts_with(clock)) as made:
        yield made


def error_of(answer):
    """The error inside an answer whose envelope has exactly the promised keys."""
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert set(body) == {"success", "error", "timestamp"}
    assert set(body["error"]) == {"code", "message", "details", "retryAfter"}
    assert body["success"] is False
    assert body["timestamp"] == "2026-03-11T14:37:42.000Z"
    return body["error"]


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nothing/here", 404, "NOT_FOUND"),
        ("GET", "/api/nothing", 404, "NOT_FOUND"),
        ("GET", "/docs-assets/nothing.js", 404, "NOT_FOUND"),
        ("GET", "/docs-assets/..%2f..%2fpages.py", 404, "NOT_FOUND"),
        ("GET", "/docs-assets/%2e%2e/%2e%2e/pages.py", 404, "NOT_FOUND"),
        ("DELETE", "/api/prices", 405, "INVALID_PARAMETER"),
        ("POST", "/docs-assets/page.css", 405, "INVALID_PARAMETER"),
        ("GET", "/api/prices?size=many", 400, "INVALID_PARAMETER"),
        ("GET", "/api/ohlcv?interval=2hours", 400, "INVALID_INTERVAL"),
        ("GET", "/api/ohlcv?limit=0", 400, "INVALID_PARAMETER"),
        ("GET", "/api/ohlcv?limit=1001", 400, "INVALID_PARAMETER"),
        ("GET", "/api/ohlcv?limit=1001&interval=2hours", 400, "INVALID_PARAMETER"),
        ("GET", "/api/fail/venue", 503, "PROVIDER_ERROR"),
        ("GET", "/api/fail/payload", 503, "PROVIDER_ERROR"),
        ("GET", "/api/fail/away", 503, "INTERNAL_ERROR"),
        ("GET", "/api/fail/rejected", 500, "INTERNAL_ERROR"),
        ("GET", "/api/fail/defect", 500, "INTERNAL_ERROR"),
    ],
)
def test_every_error_is_the_envelope_with_its_status_and_code(client, method, path, status, code):
    answer = client.request(method, path)
    assert (answer.status_code, error_of(answer)["code"]) == (status, code)
    assert answer.headers["cache-control"] == "no-store"
    assert SAFE.items() <= dict(answer.headers).items()


def test_a_refused_parameter_is_named_with_its_reason(client):
    error = error_of(client.get("/api/ohlcv?limit=1001"))
    assert error["details"] == {"limit": "Input should be less than or equal to 1000"}
    assert error["message"] == "limit: Input should be less than or equal to 1000"


def test_a_failed_provider_is_named_in_the_details(client):
    assert error_of(client.get("/api/fail/venue"))["details"] == {"kraken": "kraken did not answer in 3 s"}


def test_a_method_that_is_not_possible_names_those_that_are(client):
    assert client.delete("/api/prices").headers["allow"] == "GET, HEAD"


def test_a_database_that_is_away_says_when_to_come_back_and_nothing_of_itself(client):
    answer = client.get("/api/fail/away")
    assert answer.headers["retry-after"] == "5"
    assert error_of(answer)["retryAfter"] == 5
    assert "10.1.2.3" not in answer.text


@pytest.mark.parametrize("kind", ["rejected", "defect"])
def test_a_defect_tells_its_id_to_the_client_and_its_cause_only_to_the_log(client, caplog, kind):
    with caplog.at_level(logging.INFO, logger="collector"):
        answer = client.get(f"/api/fail/{kind}")
    assert "password" not in answer.text
    assert error_of(answer)["details"] == {"requestId": answer.headers["x-request-id"]}
    (told,) = [record for record in caplog.records if record.message == "request_failed"]
    assert told.fields["request_id"] == answer.headers["x-request-id"]
    assert "password_of_owner" in str(told.exc_info[1])


def test_a_request_keeps_a_harmless_id_of_its_client_and_gets_another_for_any_else(client):
    assert client.get("/api/health", headers={"x-request-id": "a-1_b.2"}).headers["x-request-id"] == "a-1_b.2"
    for bad in ("", "a b", "x" * 65, "a\tb", "<script>"):
        given = client.get("/api/health", headers={"x-request-id": bad}).headers["x-request-id"]
        assert re.fullmatch(r"[0-9a-f]{16}", given), bad


def logged(caplog, count):
    """Return the fields of so many requests; lines that follow each other closely are written a moment later."""
    for _ in range(500):
        found = [row for record in caplog.records if record.message == "request" for _, row in record.rows]
        if len(found) >= count:
            return found
        REAL.sleep(0.01)
    raise AssertionError(f"{len(found)} of {count} requests were logged")


def test_each_request_is_one_line_of_the_log_without_its_query(client, caplog):
    with caplog.at_level(logging.INFO, logger="collector"):
        client.get("/api/ohlcv?interval=1h&token=secret", headers={"x-request-id": "id-1"})
        client.get("/no%0ASUCH%1b[31m")
        client.get("/" + "x" * 60_000)
        rows = logged(caplog, 3)
    first, second, third = rows
    assert first.pop("ms") >= 0
    assert first == {
        "id": "id-1",
        "peer": "127.0.0.1",
        "method": "GET",
        "path": "/api/ohlcv",
        "status": 200,
        "bytes": 29,  # {"interval":"1h","limit":100}
    }
    assert (third["status"], len(third["path"])) == (414, 300)
    assert (second["status"], second["path"]) == (404, "/no\nSUCH\x1b[31m")  # the log's own formatter escapes it


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"text":"' + b"a" * 65_525 + b'"}', 200),  # 65 536 bytes
        (b'{"text":"' + b"a" * 65_526 + b'"}', 413),
        (b"x" * 1_000_000, 413),
    ],
)
def test_a_body_may_have_64_kib_declared_or_not(client, body, status):
    headers = {"content-type": "application/json"}
    pieces = [body[start : start + 8192] for start in range(0, len(body), 8192)]
    for content in (body, iter(pieces)):
        answer = client.post("/api/echo", content=content, headers=headers)
        assert answer.status_code == status
        if status != 200:
            assert error_of(answer)["code"] == "INVALID_PARAMETER"


@pytest.mark.parametrize("length", ["-1", "1e3", "abc", "999999999999999999999999", "\u0663"])
def test_a_length_that_is_none_is_refused(clock, length):
    answer = client_of(parts_with(clock))
    with answer as client:
        given = {"content-length": length.encode("utf-8")}
        assert client.get("/api/health", headers=given).status_code in {400, 413}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"text": 1}', b"\xff\xfe", b"[" * 60_000])
def test_a_body_that_is_not_understood_is_refused(client, body):
    answer = client.post("/api/echo", content=body, headers={"content-type": "application/json"})
    assert (answer.status_code, error_of(answer)["code"]) == (400, "INVALID_PARAMETER")


def test_path_and_query_may_have_8_kib(client):
    path = "/api/ohlcv?a="
    assert client.get(path + "x" * (8192 - len(path) + 1)).status_code == 200
    answer = client.get(path + "x" * 8192)
    assert (answer.status_code, error_of(answer)["code"]) == (414, "INVALID_PARAMETER")
    assert client.get("/" + "x" * 8200).status_code == 414


def test_headers_may_not_be_many_or_large(client):
    for headers in ({"x-large": "a" * 33_000}, {f"x-{number}": "a" for number in range(101)}):
        answer = client.get("/api/health", headers=headers)
        assert (answer.status_code, error_of(answer)["code"]) == (431, "INVALID_PARAMETER")


@pytest.mark.parametrize("path", ["/api/prices", "/api/v1/rows", "/openapi.json", "/docs-assets/redoc.standalone.js"])
def test_large_answers_are_packed_for_clients_that_take_it(client, path):
    packed = client.get(path, headers={"accept-encoding": "gzip"})
    plain = client.get(path, headers={"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.headers["vary"] == "Accept-Encoding"
    assert "content-encoding" not in plain.headers
    assert packed.content == plain.content  # the client has unpacked it


def test_a_kept_answer_is_packed_once(client):
    with client.stream("GET", "/api/prices", headers={"accept-encoding": "gzip"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert gzip.decompress(raw).startswith(b'{"data":"aaa')
    assert len(raw) == int(answer.headers["content-length"]) < 200


def test_answers_that_say_nothing_else_must_not_be_kept(client):
    assert client.get("/api/ohlcv").headers["cache-control"] == "no-store"
    assert client.get("/api/prices").headers["cache-control"] == "max-age=30"


ORIGINS = [
    "null",
    "https://example.org.evil.example",
    "https://evil-example.org",
    "https://EXAMPLE.org",
    "https://example.org:8443",
    "http://example.org",
    "https://sub.example.org",
    "https://example.org/",
    "https://example.org, https://evil.example",
    "*",
    "file://",
]


@pytest.mark.parametrize("origin", [*ORIGINS, "https://example.org"])
def test_no_origin_may_read_unless_configured(client, origin):
    for method in ("GET", "POST", "OPTIONS"):
        headers = {"origin": origin, "access-control-request-method": "GET"}
        answer = client.request(method, "/api/prices", headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control-")]


@pytest.mark.parametrize("origin", ORIGINS)
def test_an_origin_that_only_resembles_the_configured_one_may_not_read(clock, origin):
    with client_of(parts_with(clock, cors_origins=("https://example.org",))) as client:
        for method in ("GET", "POST", "OPTIONS"):
            headers = {"origin": origin, "access-control-request-method": "GET"}
            answer = client.request(method, "/api/prices", headers=headers)
            assert "access-control-allow-origin" not in answer.headers


def test_the_configured_origin_may_read_without_credentials(clock):
    with client_of(parts_with(clock, cors_origins=("https://example.org",))) as client:
        asked = {"origin": "https://example.org", "access-control-request-method": "GET"}
        before = client.options("/api/prices", headers=asked)
        answer = client.get("/api/prices", headers={"origin": "https://example.org"})
        refused = client.get("/api/nothing", headers={"origin": "https://example.org"})
        writing = client.options("/api/cache/clear", headers={**asked, "access-control-request-method": "POST"})
    for given in (before, answer, refused):
        assert given.headers["access-control-allow-origin"] == "https://example.org"
        assert "access-control-allow-credentials" not in given.headers
    assert "Retry-After" in answer.headers["access-control-expose-headers"]
    assert writing.status_code == 400
    assert writing.headers["x-content-type-options"] == "nosniff"


def test_nothing_may_frame_or_script_an_answer(client):
    policy = client.get("/api/prices").headers["content-security-policy"]
    assert policy == "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


@pytest.mark.parametrize("path", ["/docs", "/redoc"])
def test_the_pages_load_only_files_of_ours_and_nothing_inline(client, path):
    answer = client.get(path)
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "http" not in policy
    assert not re.findall(r"<(?:script|style)(?![^>]*src=)[^>]*>", answer.text)
    assert " style=" not in answer.text
    assert not re.findall(r"\bon\w+=", answer.text)
    named = re.findall(r'(?:src|href)="([^"]+)"', answer.text)
    assert len(named) >= 4
    for name in named:
        if name != "data:,":
            assert not name.startswith(("/", "http"))  # relative: it works behind a sub-path
            file = client.get(f"/{name}")
            assert file.status_code == 200, name
            assert file.headers["cache-control"] == "max-age=3600"


def test_the_files_of_the_pages_are_those_of_their_makers_with_their_licences():
    sums = (pages.ASSETS / "SHA256SUMS").read_text(encoding="ascii").splitlines()
    assert len(sums) == 3
    for line in sums:
        digest, name = line.split()
        assert hashlib.sha256((pages.ASSETS / name).read_bytes()).hexdigest() == digest
    licences = {path.name for path in (pages.ASSETS / "licences").iterdir()}
    assert {"swagger-ui.LICENSE", "swagger-ui.NOTICE", "redoc.LICENSE"} <= licences


def test_our_start_files_name_no_other_origin():
    for name in ("swagger-start.js", "redoc-start.js", "page.css"):
        assert "//" not in re.sub(r"^\s*//.*$|\s// .*$", "", (pages.ASSETS / name).read_text(), flags=re.MULTILINE)


def test_the_document_describes_one_shape_of_error_for_every_route(client):
    document = client.get("/openapi.json").json()
    assert "HTTPValidationError" not in document["components"]["schemas"]
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert "422" not in operation["responses"], path
            for status in {"default", "400"} & set(operation["responses"]):
                schema = operation["responses"][status]["content"]["application/json"]["schema"]
                assert schema == {"$ref": "#/components/schemas/Error"}
            assert "default" in operation["responses"]
    assert "400" in document["paths"]["/api/ohlcv"]["get"]["responses"]
    assert set(document["components"]["securitySchemes"]) == {"bearer", "key"}
    assert "security" not in document["paths"]["/api/prices"]["get"]  # none is configured
    assert "/metrics" not in document["paths"]


def test_the_document_asks_for_a_token_where_one_is_needed(clock):
    with client_of(parts_with(clock, tokens=("0" * 64,))) as client:
        document = client.get("/openapi.json").json()
    assert set(document["components"]["securitySchemes"]) == {"bearer", "key"}
    assert "401" in document["paths"]["/api/prices"]["get"]["responses"]
    assert "security" not in document["paths"]["/api/health"]["get"]


def metrics_of(client):
    """Every sample of /metrics by name with labels."""
    lines = client.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def test_requests_are_counted_by_route_and_status(client):
    for _ in range(3):
        client.get("/api/prices")
    client.get("/api/fail/defect")
    for number in range(50):
        client.get(f"/made/up/{number}")
    found = metrics_of(client)
    counted = "collector_api_requests_total"
    assert found[f'{counted}{{route="/api/prices",method="GET",status="200"}}'] == 3
    assert found[f'{counted}{{route="/api/fail/{{kind}}",method="GET",status="500"}}'] == 1
    assert found[f'{counted}{{route="unmatched",method="GET",status="404"}}'] == 50
    assert found['collector_api_request_seconds_count{route="/api/prices"}'] == 3
    assert found['collector_api_request_seconds_bucket{route="/api/prices",le="+Inf"}'] == 3


def test_made_up_methods_and_paths_do_not_make_new_metrics(client):
    before = len(metrics_of(client))
    for number in range(100):
        client.request(f"MADEUP{number}", f"/docs-assets/{number}")
        client.request(f"MADEUP{number}", f"/{number}")
    assert len(metrics_of(client)) <= before + 60


def test_the_metrics_tell_cache_limits_and_providers(clock):
    with client_of(parts_with(clock, rate_prices=3)) as client:
        for _ in range(5):
            client.get("/api/prices")
        found = metrics_of(client)
    assert found["collector_api_cache_hits_total"] == 2
    assert found["collector_api_cache_misses_total"] == 1
    assert found["collector_api_cache_stale_total"] == 0
    assert found["collector_api_rate_limited_total"] == 2
    assert found['collector_provider_up{provider="kraken"}'] == 1
    assert found['collector_provider_up{provider="okx"}'] == 0


def test_a_metric_that_cannot_be_read_leaves_the_others(clock):
    def away():
        raise StorageUnavailable("the database is away")

    app = protected(parts_with(clock))
    app.state.metrics.register("collector_newest_row_age_seconds", "Age of the newest row.", away)
    app.state.metrics.register("collector_odd", "Labels of any kind.", lambda: [({"name": 'a"b\\c\nd'}, 1.5)])
    with TestClient(app, base_url="http://localhost", client=("127.0.0.1", 1)) as client:
        text = client.get("/metrics").text
    assert "collector_newest_row_age_seconds" not in text
    assert 'collector_odd{name="a\\"b\\\\c\\nd"} 1.5' in text
    assert "collector_api_metric_failures_total 1" in text


def test_the_latencies_are_cumulative(client):
    client.get("/api/health")
    found = metrics_of(client)
    buckets = [value for name, value in found.items() if "bucket" in name and 'route="/api/health"' in name]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 1


def test_a_proxy_that_is_no_network_stops_the_start(clock):
    with pytest.raises(ConfigError, match=r"api\.trusted_proxies"):
        protected(parts_with(clock, trusted_proxies=("nginx",)))


def test_no_class_wraps_requests_in_tasks():
    text = "".join(path.read_text() for path in Path(protection.__file__).parent.rglob("*.py"))
    assert "BaseHTTPMiddleware" not in text
    assert "@app.middleware" not in text


def test_a_fresh_answer_is_given_again_without_asking_the_route(client, clock):
    first = client.get("/api/prices?size=700")
    again = [client.get("/api/prices?size=700") for _ in range(5)]
    assert client.app.state.asked_routes == [700]
    assert {answer.content for answer in again} == {first.content}
    assert [answer.headers["ratelimit-remaining"] for answer in again] == ["118", "117", "116", "115", "114"]
    have_it = client.get("/api/prices?size=700", headers={"if-none-match": first.headers["etag"]})
    assert (have_it.status_code, have_it.content) == (304, b"")
    assert client.get("/api/prices?size=0700").content == first.content  # another spelling takes the long way
    clock.advance(30)
    client.get("/api/prices?size=700")
    assert client.app.state.asked_routes == [700, 700, 700]
    assert metrics_of(client)['collector_api_requests_total{route="/api/prices",method="GET",status="200"}'] == 8


def test_the_short_way_forgets_with_the_cache(client):
    client.get("/api/prices")
    assert client.post("/api/cache/clear").json() == {"cleared": 1}
    client.get("/api/prices")
    assert client.app.state.asked_routes == [2000, 2000]


def test_the_short_way_counts_each_request_once_and_refuses_the_same(clock):
    with client_of(parts_with(clock, rate_prices=4)) as client:
        statuses = []
        for pause in (0, 1, 30, 1, 1, 1):  # short way, long way because it is old, refused
            clock.advance(pause)
            statuses.append(client.get("/api/prices").status_code)
        clock.advance(27)
        statuses.append(client.get("/api/prices").status_code)
    assert statuses == [200, 200, 200, 200, 429, 429, 200]


def test_the_short_way_still_needs_the_token(clock):
    with client_of(parts_with(clock, tokens=(hashed("a token"),))) as client:
        assert client.get("/api/prices", headers={"x-api-key": "a token"}).status_code == 200
        assert client.get("/api/prices", headers={"x-api-key": "another"}).status_code == 401
        assert client.get("/api/prices").status_code == 401
