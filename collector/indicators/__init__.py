"""Technical indicators on closed candles: the arithmetic (pure) and the service that decides what to recompute.

TA-Lib's package imports pandas where it finds it, only to take its Series beside arrays: 33 MB of memory and 0.2 s at
every start of a daemon that hands it arrays. So it is imported here, before any module of this folder, with pandas out
of sight; afterwards pandas can be imported as usual, and its Series are handed over with `.to_numpy()`.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def _without_pandas() -> Iterator[None]:
    if "pandas" in sys.modules:  # somebody pays for it already
        yield
        return
    sys.modules["pandas"] = None  # type: ignore[assignment] # how Python spells: cannot be imported
    try:
        yield
    finally:
        del sys.modules["pandas"]


with _without_pandas():
    import talib  # noqa: F401 - found ready by the modules that use it
