"""The pages /docs and /redoc: everything they load comes from here, nothing in them is inline.

The files in static/docs are those of the packages swagger-ui-dist 5.35.0 (Apache-2.0) and redoc 2.5.4 (MIT) without a
change, their digests in SHA256SUMS, their licences beside them. Redoc 3 is not used: it reports to an address of its
makers.
"""

from pathlib import Path

from fastapi import FastAPI
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

ASSETS = Path(__file__).parent / "static" / "docs"
ASSETS_PATH = "/docs-assets"
ASSETS_AGE_S = 3600

# Redoc makes two <style> elements: an empty one that it fills by script, and a fixed text. These are their digests,
# which let in nothing else; the second one changes with the version.
REDOC_STYLES = (
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='",
    "'sha256-QMIg+bpjm3JdElJ388KYke01izlUW0UoNOeKjpMxdgc='",
)
CONTENT_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' {' '.join(REDOC_STYLES)}",
        "img-src 'self' data:",
        "font-src 'self' data:",
        "connect-src 'self'",
        "worker-src 'self' blob:",  # the search of Redoc
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
{styles}
</head>
<body>
<div id="{place}"></div>
{scripts}
</body>
</html>
"""


def install(app: FastAPI) -> None:
    """Add both pages and their files."""
    swagger = _page(f"{app.title} - API", "swagger-ui", ("page.css", "swagger-ui.css"), "swagger-ui-bundle.js")
    redoc = _page(f"{app.title} - reference", "redoc", ("page.css",), "redoc.standalone.js")
    headers = {"content-security-policy": CONTENT_POLICY, "cache-control": "no-cache"}

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(swagger, headers=headers)

    @app.get("/redoc", include_in_schema=False)
    async def reference() -> Response:
        return HTMLResponse(redoc, headers=headers)

    app.mount(ASSETS_PATH, _Assets(directory=ASSETS), name="docs-assets")


class _Assets(StaticFiles):
    """The files of the pages, which a browser may keep for a while."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        response.headers["cache-control"] = f"max-age={ASSETS_AGE_S}"
        return response


def _page(title: str, place: str, styles: tuple[str, ...], bundle: str) -> str:
    """Return a page; its addresses are relative, so that it works behind a sub-path too."""
    root = ASSETS_PATH.removeprefix("/")
    start = f"{place.removesuffix('-ui')}-start.js"
    return _PAGE.format(
        title=title,
        place=place,
        styles="\n".join(f'<link rel="stylesheet" href="{root}/{name}">' for name in styles),
        scripts="\n".join(f'<script src="{root}/{name}"></script>' for name in (bundle, start)),
    )
