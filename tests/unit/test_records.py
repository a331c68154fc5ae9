"""The vocabulary refuses times that are not UTC and names instruments one way."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest

from collector.records import Dataset, GlobalMarket, Instrument, Job, Kind, Payload

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def global_market(**changes):
    values = {
        "source": "coingecko",
        "observed_at": NOW,
        "received_at": NOW,
        "market_cap_usd": Decimal(1),
        "volume_24h_usd": Decimal(1),
        "btc_dominance_pct": None,
        "eth_dominance_pct": None,
        "market_cap_change_24h_pct": None,
        "active_assets": None,
        "markets": None,
    }
    return GlobalMarket(**{**values, **changes})


@pytest.mark.parametrize("moment", [datetime(2026, 1, 1), datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1)))])  # noqa: DTZ001
def test_a_time_that_is_not_utc_is_refused(moment):
    with pytest.raises(ValueError, match="observed_at must be aware and UTC"):
        global_market(observed_at=moment)


def test_the_key_is_read_in_its_declared_order():
    assert global_market().key == ("coingecko", NOW)


def test_an_instrument_has_one_canonical_name():
    instrument = Instrument(venue="okx", base="BTC", quote="USDT", kind=Kind.PERP, venue_symbol="BTC-USDT-SWAP")
    assert instrument.id == "okx:BTC-USDT:perp"
    assert instrument.symbol == "BTC-USDT"


def test_a_payload_is_named_by_the_hash_of_its_bytes():
    job = Job(source="okx", dataset=Dataset.TICKERS)
    payload = Payload(job=job, status=200, body=b"abc", received_at=NOW)
    assert payload.sha256 == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_a_job_says_what_it_is_about():
    assert Job(source="okx", dataset=Dataset.TICKERS).subject == "all"
    assert Job(source="coingecko", dataset=Dataset.ASSET_DETAILS, assets=("bitcoin",)).subject == "bitcoin"
    assert Job(source="coingecko", dataset=Dataset.ASSET_DETAILS, assets=("a", "b")).subject == "2 items"
