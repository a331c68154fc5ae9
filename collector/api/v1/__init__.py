"""Everything stored, under /api/v1: pages of rows, with where they came from, how old they are and if that is stale.

Parameters are `cursor`, `from`, `to`, `limit`, `order`, `format` and `numbers`, the same at every address.
"""

from fastapi import APIRouter, Depends

from collector.api.limits import limited
from collector.api.parts import Parts
from collector.api.v1 import analytics, cycles, disk, logs, nothing, portfolios, providers, routes
from collector.api.v1.freshness import collected_every, computed_every
from collector.api.v1.pages import Pages

__all__ = ["collected_every", "computed_every", "router"]


def router(parts: Parts) -> APIRouter:
    """Return the routes of everything stored; a request costs one of the client's requests for data."""
    made = APIRouter(prefix="/api/v1", tags=["stored"], dependencies=[Depends(limited(parts, "data"))])
    pages = Pages(parts)
    for topic in (routes, analytics, portfolios, nothing, cycles, logs, providers, disk):
        topic.add(made, pages)
    return made
