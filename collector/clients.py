"""The providers' SDKs with our session inside: they know the paths, we own pacing, retries, errors and raw bodies.

One SDK object per session, so one per thread: python-binance parses `self.response` and must not be shared.
"""

import asyncio
import warnings
from collections.abc import Callable
from typing import Any

from collector.errors import IllegalTransition
from collector.http import Venue, VenueSession
from collector.records import Answer
from collector.resilience.quota import Charge


class _SdkObjects:
    """Keeps one SDK object per session and runs calls on it; the two SDKs differ only in how they are built."""

    def __init__(
        self, venue: Venue, build: Callable[[VenueSession], Any], complaints: tuple[type[Exception], ...]
    ) -> None:
        self._venue = venue
        self._build = build
        self._complaints = complaints
        self._by_session: dict[VenueSession, Any] = {}  # a session is used by one thread at a time

    def call(self, use: Callable[[Any], object], cost: Charge) -> Answer:
        session = self._venue.session()
        sdk = self._by_session.get(session)
        if sdk is None:
            sdk = self._by_session[session] = self._build(session)
        with session.charging(cost):
            try:
                use(sdk)
            except self._complaints:  # it was given an empty document: what it makes of an answer does not matter
                if session.answer is None:
                    raise
        if session.answer is None:
            raise IllegalTransition("an SDK call made no request: a defect")
        return session.answer


class CoingeckoSdk:
    """pycoingecko over our session; implements `Sdk`.

    The key travels as a header of the venue (`x-cg-demo-api-key` or `x-cg-pro-api-key`), never in the query.
    """

    def __init__(self, venue: Venue) -> None:
        from pycoingecko import CoinGeckoAPI  # noqa: PLC0415 - only where this source is enabled

        def build(session: VenueSession) -> Any:
            sdk = CoinGeckoAPI(retries=0)
            sdk.session.close()
            sdk.session = session
            sdk.api_base_url = venue.base_url + "/"
            return sdk

        self._objects = _SdkObjects(venue, build, (ValueError, LookupError, TypeError, AttributeError))

    def call(self, use: Callable[[Any], object], cost: Charge) -> Answer:
        """Run `use(CoinGeckoAPI)`, which makes exactly one request; return what came over the wire."""
        return self._objects.call(use, cost)


class BinanceSdk:
    """python-binance over our session, futures and spot paths on the venue's host; implements `Sdk`."""

    def __init__(self, venue: Venue) -> None:
        with warnings.catch_warnings():  # it imports names that websockets has deprecated
            warnings.simplefilter("ignore", DeprecationWarning)
            from binance.client import Client  # noqa: PLC0415 - 20 MB, only where this source is enabled
            from binance.exceptions import BinanceAPIException, BinanceRequestException  # noqa: PLC0415

        def build(session: VenueSession) -> Any:
            sdk = _without_event_loop(lambda: Client(ping=False))
            sdk.session.close()
            sdk.session = session
            sdk.API_URL = venue.base_url + "/api"
            sdk.FUTURES_URL = venue.base_url + "/fapi"
            sdk.FUTURES_DATA_URL = venue.base_url + "/futures/data"
            return sdk

        complaints = (BinanceRequestException, BinanceAPIException)
        self._objects = _SdkObjects(venue, build, (*complaints, ValueError, LookupError, TypeError, AttributeError))

    def call(self, use: Callable[[Any], object], cost: Charge) -> Answer:
        """Run `use(binance.Client)`, which makes exactly one request; return what came over the wire."""
        return self._objects.call(use, cost)


def _without_event_loop(build: Callable[[], Any]) -> Any:
    """Build an object that asks for the thread's event loop and never runs it.

    A real loop would be made for each thread and never closed: three open files each. The abstract one has none.
    """
    asyncio.set_event_loop(asyncio.AbstractEventLoop())  # type: ignore[abstract] # abstract for the checker only
    try:
        return build()
    finally:
        asyncio.set_event_loop(None)
