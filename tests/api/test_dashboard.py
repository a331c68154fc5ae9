"""The dashboard: what is built is served as it is, nothing else is reached, and the rest of the API stays itself."""

import gzip
import re
from html.parser import HTMLParser

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from collector.api import dashboard, protection
from tests.api.protected import parts_with

SCRIPT = b"console.log('" + b"a" * 2000 + b"');"
BUILT = {
    "index.html": b'<!doctype html><script type="module" src="./assets/index-AbC123.js"></script>',
    "assets/index-AbC123.js": SCRIPT,
    "assets/page-x_Y-9.css": b"body { color: red }",
    "assets/icon-1.svg": b"<svg/>",
    "licences.md": b"# Licences",
    "assets/key.pem": b"nothing that a build makes",
}


def application(clock, folder, **settings):
    parts = parts_with(clock, **settings)
    app = FastAPI(title="Crypto Data Collector", docs_url=None, redoc_url=None)
    protection.install(app, parts)

    @app.get("/api/health")
    def health():
        return {"status": "healthy"}

    app.include_router(dashboard.router(parts, folder))
    return app


def client_of(clock, folder, **settings):
    return TestClient(application(clock, folder, **settings), base_url="http://localhost")


@pytest.fixture
def folder(tmp_path):
    for name, content in BUILT.items():
        path = tmp_path / "app" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "secret.js").write_bytes(b"secret")
    (tmp_path / "app" / "assets" / "link.js").symlink_to(tmp_path / "secret.js")
    return tmp_path / "app"


@pytest.fixture
def client(clock, folder):
    return client_of(clock, folder)


def test_the_page_is_asked_for_anew_each_time(client):
    answer = client.get("/")
    assert answer.status_code == 200
    assert answer.content == BUILT["index.html"]
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["cache-control"] == "no-cache"


def test_files_named_by_their_content_are_kept_for_a_year(client):
    answer = client.get("/assets/index-AbC123.js")
    assert answer.content == SCRIPT
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert client.get("/assets/page-x_Y-9.css").headers["content-type"] == "text/css; charset=utf-8"
    assert client.get("/assets/icon-1.svg").headers["content-type"] == "image/svg+xml"


def test_the_policy_lets_in_nothing_inline_and_no_other_origin(client):
    policy = client.get("/").headers["content-security-policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == "'none'"
    assert {rules[name] for name in ("script-src", "style-src", "img-src", "connect-src")} == {"'self'"}
    assert {rules[name] for name in ("base-uri", "form-action", "frame-ancestors")} == {"'none'"}
    assert client.get("/").headers["x-content-type-options"] == "nosniff"


def test_a_file_is_sent_packed_to_who_takes_it(client):
    with client.stream("GET", "/assets/index-AbC123.js", headers={"accept-encoding": "gzip, br"}) as answer:
        raw = b"".join(answer.iter_raw())
    assert answer.headers["content-encoding"] == "gzip"
    assert int(answer.headers["content-length"]) == len(raw) < 200
    assert gzip.decompress(raw) == SCRIPT
    assert "accept-encoding" in answer.headers["vary"].lower()


@pytest.mark.parametrize("accepted", ["", "identity", "br", "gzip;q=0"])
def test_a_file_comes_whole_to_who_does_not_name_gzip(client, accepted):
    answer = client.get("/assets/page-x_Y-9.css", headers={"accept-encoding": accepted})
    assert "content-encoding" not in answer.headers
    assert answer.content == BUILT["assets/page-x_Y-9.css"]


def test_what_the_browser_has_is_not_sent_again(client):
    tag = client.get("/").headers["etag"]
    again = client.get("/", headers={"if-none-match": f'"other", W/{tag}'})
    assert again.status_code == 304
    assert again.content == b""
    assert again.headers["etag"] == tag
    policy = client.get("/").headers["content-security-policy"]
    assert again.headers["content-security-policy"] == policy, "else the browser shows a blank page when it is reloaded"
    assert client.get("/", headers={"if-none-match": '"other"'}).status_code == 200


def test_the_head_of_the_page_can_be_asked_for(client):
    assert client.head("/").status_code == 200
    assert client.head("/assets/index-AbC123.js").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/assets/missing.js",
        "/assets/../../secret.js",
        "/assets/..%2f..%2fsecret.js",
        "/assets/%2e%2e/%2e%2e/secret.js",
        "/assets/..%5c..%5csecret.js",
        "/assets/index-AbC123.js%00",
        "/assets/link.js",
        "/assets/key.pem",
        "/assets/",
        "/assets",
        "/secret.js",
        "/index",
        "/markets",
    ],
)
def test_nothing_but_built_files_is_reached(client, path):
    answer = client.get(path, headers={"accept": "text/html"})
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "NOT_FOUND"


@pytest.mark.parametrize("path", ["/api", "/api/", "/api/unknown", "/api/v1/unknown"])
def test_what_the_api_does_not_have_is_its_error_and_not_the_page(client, path):
    answer = client.get(path, headers={"accept": "text/html"})
    assert answer.status_code == 404
    assert set(answer.json()) == {"success", "error", "timestamp"}


def test_the_api_and_its_pages_stay_themselves(client):
    assert client.get("/api/health").json() == {"status": "healthy"}
    assert "swagger-ui" in client.get("/docs").text
    assert "redoc" in client.get("/redoc").text
    paths = client.get("/openapi.json").json()["paths"]
    assert list(paths) == ["/api/health"]


def test_the_page_opens_without_the_token_that_its_data_need(clock, folder):
    client = client_of(clock, folder, tokens=["0" * 64])
    assert client.get("/").status_code == 200
    assert client.get("/assets/index-AbC123.js").status_code == 200
    assert client.get("/api/v1/assets").status_code == 401


def test_one_sentence_stands_in_for_a_missing_build(clock, tmp_path):
    client = client_of(clock, tmp_path / "nothing")
    answer = client.get("/")
    assert answer.status_code == 200
    assert "The dashboard is not built" in answer.text
    assert client.get("/assets/index-AbC123.js").status_code == 404
    assert client.get("/api/health").status_code == 200


class _Addresses(HTMLParser):
    """What a page loads and whether anything in it is inline."""

    def __init__(self):
        super().__init__()
        self.loaded, self.inline = [], []

    def handle_starttag(self, tag, attrs):
        told = dict(attrs)
        self.loaded += [told[name] for name in ("src", "href") if name in told]
        self.inline += [name for name in told if name == "style" or name.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in told):
            self.inline.append(tag)


def test_the_committed_page_loads_its_own_files_by_relative_addresses():
    page = _Addresses()
    page.feed((dashboard.FILES / "index.html").read_text(encoding="utf-8"))
    assert page.inline == []
    assert any(address.endswith(".js") for address in page.loaded)
    for address in page.loaded:
        assert re.fullmatch(r"\./assets/[\w.-]+-[\w-]{8}\.(js|css|svg)", address)
        assert (dashboard.FILES / address).is_file()


def test_the_first_view_is_below_300_kb_packed():
    page = _Addresses()
    page.feed((dashboard.FILES / "index.html").read_text(encoding="utf-8"))
    # The markets draw their history at once: their own chunk and that of its chart count too.
    own = [
        path for name in ("Markets-*", "charts-*", "DrawnChart-*") for path in dashboard.FILES.glob(f"assets/{name}")
    ]
    files = {dashboard.FILES / address for address in page.loaded} | set(own)
    assert len(own) >= 2
    assert sum(len(gzip.compress(path.read_bytes(), 9)) for path in files) < 300_000
