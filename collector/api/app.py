"""Builds the application: protection around the outside, one router per topic inside."""

from fastapi import FastAPI

from collector.api import dashboard, protection, stream, unified, v1
from collector.api.parts import Parts


def create_app(parts: Parts) -> FastAPI:
    """Return the application; it opens nothing before its first request and closes what it opened at its end."""
    app = FastAPI(
        title="Crypto Data Collector",
        version=parts.version,
        docs_url=None,
        redoc_url=None,
        lifespan=stream.lifespan(parts),
        telemetry={"tracing": False, "metrics": False, "logs": False},  # nothing of a request goes anywhere else
    )
    protection.install(app, parts)
    for topic in (unified, v1, stream, dashboard):
        app.include_router(topic.router(parts))
    return app
