"""GET /: the dashboard, whose built files are in static/app; they are read once and nothing else can be reached.

Names of files in assets/ hold a digest of what is in them, so browsers may keep them for ever; the page itself is asked
for anew each time. Every file is packed once, here.
"""

import gzip
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from collector.api.parts import Parts

FILES = Path(__file__).parent / "static" / "app"
PAGE = "index.html"
ASSETS = "assets/"
FOR_EVER = "public, max-age=31536000, immutable"
ASK_AGAIN = "no-cache"
PACKED_FROM = 600  # bytes; less is not worth unpacking
MISSING = "The dashboard is not built: run `npm ci && npm run build` in dashboard/, start again; the API is at /docs."
CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".svg": "image/svg+xml",
    ".md": "text/plain; charset=utf-8",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One built file as it is sent: its bytes, the same packed where that helps, and its headers."""

    plain: bytes
    packed: bytes | None
    headers: Mapping[str, str] = field(repr=False)

    def answer(self, request: Request) -> Response:
        """Return the file, or 304 when the browser has it."""
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("if-none-match", "").split(",")]
        # Headers of a 304 replace those the browser kept: without its policy the page would get that of the API.
        headers = {**self.headers, "content-security-policy": CONTENT_POLICY, "vary": "Accept-Encoding"}
        if self.headers["etag"] in known:
            return Response(status_code=304, headers=headers)
        if self.packed is not None and _takes_gzip(request.headers.get("accept-encoding", "")):
            return Response(self.packed, headers={**headers, "content-encoding": "gzip"})
        return Response(self.plain, headers=headers)


def router(_parts: Parts, files: Path = FILES) -> APIRouter:
    """Return the routes of the page and its files, as they are on disk now; without them `/` says so in a sentence."""
    routes = APIRouter(include_in_schema=False)
    built = _read(files)

    @routes.api_route("/", methods=["GET", "HEAD"])
    async def page(request: Request) -> Response:
        if PAGE not in built:
            return Response(MISSING, media_type="text/plain; charset=utf-8", headers={"cache-control": ASK_AGAIN})
        return built[PAGE].answer(request)

    @routes.api_route("/assets/{name}", methods=["GET", "HEAD"])
    async def asset(request: Request, name: str) -> Response:
        return _found(built, ASSETS + name).answer(request)

    @routes.api_route("/licences.md", methods=["GET", "HEAD"])
    async def licences(request: Request) -> Response:
        return _found(built, "licences.md").answer(request)

    return routes


def _found(built: Mapping[str, _File], name: str) -> _File:
    if name not in built:
        raise HTTPException(404)
    return built[name]


def _read(folder: Path) -> dict[str, _File]:
    """Return the files of a build by their path in it; a link, and what has no known kind, is left out."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {
        path.relative_to(folder).as_posix(): _prepared(path.relative_to(folder).as_posix(), path.read_bytes())
        for path in paths
        if path.suffix in MEDIA_TYPES
    }


def _prepared(name: str, plain: bytes) -> _File:
    packed = gzip.compress(plain, compresslevel=9, mtime=0) if len(plain) >= PACKED_FROM else None
    return _File(
        plain=plain,
        packed=packed,
        headers={
            "content-type": MEDIA_TYPES[Path(name).suffix],
            "cache-control": FOR_EVER if name.startswith(ASSETS) else ASK_AGAIN,
            "etag": f'"{hashlib.sha256(plain).hexdigest()[:24]}"',
        },
    )


def _takes_gzip(accepted: str) -> bool:
    """Return whether a browser named gzip and did not refuse it by a quality of zero."""
    for word in accepted.lower().split(","):
        coding, _, quality = word.partition(";")
        if coding.strip() == "gzip":
            return quality.replace(" ", "") not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
    return False
