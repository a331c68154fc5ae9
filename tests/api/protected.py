"""An application of a few routes inside the real protection; nothing behind it needs a database or a provider."""

from contextlib import contextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, Query, Request
from pydantic import BaseModel
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

from collector.api import protection
from collector.api.access import needs_token
from collector.api.cache import Body, answer
from collector.api.limits import limited
from collector.api.parts import Health, Parts
from collector.config import ApiSettings
from collector.errors import PayloadError, StorageRejected, StorageUnavailable, VenueUnreachable

FAILURES = {
    "venue": VenueUnreachable("kraken did not answer in 3 s", source="kraken"),
    "payload": PayloadError("a number is expected", "$.data[0]"),
    "away": StorageUnavailable("read: connection refused at 10.1.2.3"),
    "rejected": StorageRejected("column password_of_owner does not exist"),
    "defect": KeyError("password_of_owner"),
}


class Providers:
    """Two providers, one of them down."""

    def sources(self):
        return ["kraken", "okx"]

    def health(self):
        return {"kraken": Health(status="online"), "okx": Health(status="offline", reason="451")}


class Price(BaseModel):
    symbol: str
    price: float


class Text(BaseModel):
    text: str


def parts_with(clock, **settings):
    return Parts(
        settings=ApiSettings(**settings),
        database=None,
        live=Providers(),
        clock=clock,
        version="1.0",
        simulated=True,
        venues=(),
    )


def protected(parts):
    """Return the application."""
    app = FastAPI(title="Crypto Data Collector", docs_url=None, redoc_url=None)
    protection.install(app, parts)
    app.state.asked_routes = []

    @app.get("/api/prices", response_model=list[Price], dependencies=[Depends(limited(parts, "prices"))])
    async def prices(request: Request, size: int = 2000):
        request.app.state.asked_routes.append(size)

        def build():
            return Body(b'{"data":"' + b"a" * size + b'","stale":false}')

        return answer(request, await request.app.state.answers.fetch(size, 30, build, keep=60))

    @app.get("/api/ohlcv", dependencies=[Depends(limited(parts, "ohlcv"))])
    def ohlcv(interval: Annotated[str, Query(max_length=3)] = "1h", limit: Annotated[int, Query(ge=1, le=1000)] = 100):
        return {"interval": interval, "limit": limit}

    @app.get("/api/health")
    def health():
        return {"status": "healthy"}

    @app.get("/api/fail/{kind}")
    def fail(kind: str):
        raise FAILURES[kind]

    @app.get("/api/v1/rows")
    def rows(size: int = 100_000):
        return StreamingResponse((b"row," * 250 for _ in range(size // 1000)), media_type="text/csv")

    @app.post("/api/cache/clear", dependencies=[Depends(needs_token(parts))])
    def clear(request: Request):
        return {"cleared": request.app.state.answers.clear()}

    @app.post("/api/echo")
    def echo(body: Text):
        return body

    return app


@contextmanager
def client_of(parts, *, peer="127.0.0.1", base_url="http://localhost"):
    """A client whose connection comes from `peer`."""
    app = protected(parts)
    with TestClient(app, base_url=base_url, client=(peer, 50000)) as client:
        yield client
