"""Providers that misbehave on purpose: a script says which answers go wrong, and how; the same seed, the same faults.

A fault replaces an answer (a refusal, an error page), changes what it says (prices, times, rows), or spoils how it is
delivered (drips, cuts, silence). Every fault that was applied is counted by its kind.
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from collector.simulator import spoiling
from collector.simulator.noise import pick
from collector.simulator.wire import Manner, Request, Response

Spoil = Callable[[str, Response], Response]
_PARTS = 1_000_000  # how finely a probability is drawn


@dataclasses.dataclass(frozen=True, slots=True)
class Fault:
    """One line of a script: which answers of which venue and path go wrong, and how.

    `venue` and `path` are shell patterns. Of the matching requests, numbered from 1, those from `first` on are hit:
    `count` of them (None: all), only each `every`-th, and each with `probability`. Raises ValueError for an unknown
    kind, so that a script with a slip does not pass for good health.
    """

    kind: str
    venue: str = "*"
    path: str = "*"
    first: int = 1
    count: int | None = None
    every: int = 1
    probability: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"{self.kind!r} is no kind of fault; use one of {', '.join(KINDS)}")

    def matches(self, venue: str, path: str) -> bool:
        """Return whether the fault is about this place."""
        return fnmatch.fnmatchcase(venue, self.venue) and fnmatch.fnmatchcase(path, self.path)

    def hits(self, number: int, seed: int) -> bool:
        """Return whether the matching request of this number goes wrong."""
        after = number - self.first
        if after < 0 or after % self.every or (self.count is not None and after // self.every >= self.count):
            return False
        return self.probability >= 1 or pick(seed, number, _PARTS) < self.probability * _PARTS


class Faults:
    """Stands between the simulated venues and the network; the first line of the script that hits counts."""

    def __init__(self, script: Sequence[Fault], seed: int = 1) -> None:
        self._script = tuple(script)
        self._seed = seed
        self._seen: Counter[int] = Counter()
        self._counts: Counter[str] = Counter()

    @classmethod
    def named(cls, name: str, seed: int = 1) -> Faults:
        """Return a ready script. Raises ValueError for an unknown name."""
        if name not in SCRIPTS:
            raise ValueError(f"{name!r} is no script of faults; use one of {', '.join(SCRIPTS)}")
        return cls(SCRIPTS[name], seed)

    def before(self, venue: str, path: str, request: Request) -> None:
        """Let the venue answer: a call that goes wrong counts against its limits like any other."""
        del venue, path, request

    def after(self, venue: str, path: str, request: Request, response: Response) -> Response:
        """Return the answer, spoiled if the script says so."""
        del request
        for place, fault in enumerate(self._script):
            if not fault.matches(venue, path):
                continue
            self._seen[place] += 1
            if fault.hits(self._seen[place], self._seed + place):
                self._counts[fault.kind] += 1
                return KINDS[fault.kind](venue, response)
        return response

    def counts(self) -> dict[str, int]:
        """Return how many answers went wrong, by kind."""
        return dict(self._counts)


def _status(status: int, retry_after: str | None = None) -> Spoil:
    def spoil(_venue: str, response: Response) -> Response:
        told = {} if retry_after is None else {"Retry-After": retry_after}
        body = b'{"error": "the simulated provider refuses"}'
        return replace(response, status=status, body=body, headers={**response.headers, **told})

    return spoil


def _refused_until(_venue: str, response: Response) -> Response:
    """Refuse for two seconds, written as a date."""
    refused = _status(429)("", response)
    return replace(refused, headers={**refused.headers, "Retry-After": spoiling.later_date(response, seconds=2)})


def _page(body: bytes, content_type: str = "application/json", status: int = 200) -> Spoil:
    return lambda _venue, response: replace(response, status=status, body=body, content_type=content_type)


def _manner(manner: Manner) -> Spoil:
    return lambda _venue, response: replace(response, manner=manner)


def _document(change: Callable[[object], object]) -> Spoil:
    """Change what a good answer says; an answer that is no JSON of status 200 stays."""
    return lambda _venue, response: spoiling.rewritten(response, change)


def _truncated(_venue: str, response: Response) -> Response:
    return replace(response, body=response.body[: len(response.body) * 2 // 3])


def _redirected(_venue: str, response: Response) -> Response:
    elsewhere = {**response.headers, "Location": "http://elsewhere.invalid/answer"}
    return replace(response, status=302, body=b"", headers=elsewhere)


def _bomb(_venue: str, response: Response) -> Response:
    headers = {**response.headers, "Content-Encoding": "gzip"}
    return replace(response, body=spoiling.gzip_bomb(), headers=headers)


def _delisted(venue: str, response: Response) -> Response:
    status, body = _UNKNOWN_SYMBOL.get(venue, (404, b'{"error": "not found"}'))
    return replace(response, status=status, body=body)


_BINANCE_UNKNOWN = (400, b'{"code":-1121,"msg":"Invalid symbol."}')
_UNKNOWN_SYMBOL: Mapping[str, tuple[int, bytes]] = {
    "coingecko": (404, b'{"error":"coin not found"}'),
    "binance_futures": _BINANCE_UNKNOWN,
    "binance_spot": _BINANCE_UNKNOWN,
    "okx": (200, b'{"code":"51001","msg":"Instrument ID doesn\'t exist.","data":[]}'),
    "kraken": (200, b'{"error":["EQuery:Unknown asset pair"]}'),
}

KINDS: Mapping[str, Spoil] = {
    "refused_for_seconds": _status(429, "2"),
    "refused_until_date": _refused_until,
    "refused_negative": _status(429, "-5"),
    "refused_for_ages": _status(429, "1000000000"),
    "refused_garbage": _status(429, "soon, perhaps"),
    "refused": _status(429),
    "banned_for_seconds": _status(418, "180"),
    "banned": _status(418),
    "forbidden": _status(403),
    "geo_blocked": _status(451),
    "not_found": _status(404),
    "error_500": _status(500),
    "error_502": _status(502),
    "error_503": _status(503),
    "error_504": _status(504),
    "silence": _manner(Manner.SILENT),
    "hang_up": _manner(Manner.HANG_UP),
    "reset_after_head": _manner(Manner.RESET_AFTER_HEAD),
    "cut_body": _manner(Manner.CUT_BODY),
    "drip_body": _manner(Manner.DRIP_BODY),
    "drip_head": _manner(Manner.DRIP_HEAD),
    "truncated_json": _truncated,
    "empty_body": _page(b""),
    "null": _page(b"null"),
    "empty_list": _page(b"[]"),
    "empty_object": _page(b"{}"),
    "html": _page(b"<html><body>Checking your browser</body></html>", "text/html"),
    "wrong_content_type": lambda _venue, response: replace(response, content_type="text/plain"),
    "wrong_types": _document(spoiling.wrap_numbers),
    "nan_literal": _document(spoiling.put_for_numbers("NaN", quoted=False)),
    "infinity_literal": _document(spoiling.put_for_numbers("Infinity", quoted=False)),
    "nan_text": _document(spoiling.put_for_numbers("NaN", quoted=True)),
    "infinity_text": _document(spoiling.put_for_numbers("Infinity", quoted=True)),
    "huge_exponent": _document(spoiling.put_for_numbers("1e400", quoted=False)),
    "thirty_digits": _document(spoiling.lengthen),
    "absurd_numbers": _document(spoiling.put_for_numbers("123456789012345678901234567890.123456789")),
    "negative_prices": _document(spoiling.negate),
    "zero_prices": _document(spoiling.put_for_numbers("0.0")),
    "duplicate_rows": _document(spoiling.change_rows(spoiling.doubled)),
    "missing_rows": _document(spoiling.change_rows(spoiling.thinned)),
    "shuffled_rows": _document(spoiling.change_rows(spoiling.shuffled)),
    "future": _document(spoiling.move_to_tomorrow),
    "delisted": _delisted,
    "redirect": _redirected,
    "gzip_bomb": _bomb,
    "nested_brackets": _page(b"[" * 5_000_000),
}
"""Every kind of fault by name; each makes a spoiled answer of a venue's good one."""

SCRIPTS: Mapping[str, Sequence[Fault]] = {
    "storm": (
        Fault("refused_for_seconds", "coingecko*", first=3, every=20, count=2),
        Fault("error_503", "coingecko*", probability=0.08),
        Fault("truncated_json", "coingecko*", probability=0.04),
        Fault("error_500", "binance_futures", "/fapi/v1/klines", probability=0.15),
        Fault("delisted", "binance_futures", "/fapi/v1/klines", probability=0.08),
        Fault("missing_rows", "binance_futures", "/fapi/v1/klines", probability=0.1),
        Fault("negative_prices", "binance_futures", "/fapi/v1/depth", probability=0.1),
        Fault("refused_until_date", "okx", first=30, every=60, count=2),
        Fault("hang_up", "okx", probability=0.05),
        Fault("duplicate_rows", "okx", "*candles", probability=0.1),
        Fault("wrong_types", "okx", "*candles", probability=0.08),
        Fault("reset_after_head", probability=0.02),
        Fault("drip_body", first=40, count=1),
        Fault("nan_text", probability=0.02),
        Fault("html", probability=0.02),
    ),
}
"""Ready scripts by name. "storm" is bad weather at every provider at once; a short demo survives it."""
