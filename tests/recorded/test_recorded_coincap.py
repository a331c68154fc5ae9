"""CoinCap over recorded answers; expected values are read off the recordings by eye."""

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from collector.errors import AccessDenied
from collector.records import Answer, Dataset, Job, Payload
from collector.sources.coincap import CoincapCollector

RECEIVED = datetime(2026, 7, 31, tzinfo=UTC)
MARKETS = Job(source="coincap", dataset=Dataset.MARKETS, limit=1)


def parsed(body):
    CoincapCollector.check(Answer(status=200, headers={}, body=body, received_at=RECEIVED))
    return CoincapCollector.parsers[Dataset.MARKETS](Payload(job=MARKETS, status=200, body=body, received_at=RECEIVED))


def test_a_recorded_list_gives_the_coin_with_all_its_digits(recorded):
    named, row = parsed(recorded("coincap", "rec2021_v2_assets_list_1.json"))
    assert (named.asset_id, named.symbol, named.name) == ("bitcoin", "BTC", "Bitcoin")
    assert row.observed_at == datetime(2021, 4, 16, 19, 46, 7, 803_000, tzinfo=UTC)
    assert (row.rank, row.price_usd) == (1, Decimal("61728.6194330367734010"))
    assert (row.market_cap_usd, row.volume_24h_usd) == (
        Decimal("1152624930304.1240977121428560"),
        Decimal("33833128575.7846446188964901"),
    )
    assert (row.circulating_supply, row.max_supply) == (Decimal(18_672_456), Decimal(21_000_000))
    assert row.change_24h_pct == Decimal("-2.5350684458562683")


@pytest.mark.parametrize(
    ("file", "asset_id", "price", "most"),
    [
        ("rec2025_v3_assets_bitcoin.json", "bitcoin", "119753.3173109070855685", Decimal(21_000_000)),
        ("rec2022_v2_assets_dogecoin_null_maxsupply.json", "dogecoin", "0.1428200923470607", None),
    ],
)
def test_a_recorded_asset_is_read_like_a_row_of_a_list(recorded, file, asset_id, price, most):
    document = json.loads(recorded("coincap", file))
    document["data"] = [document["data"]]  # one asset comes without the list around it
    _, row = parsed(json.dumps(document).encode())
    assert (row.asset_id, row.price_usd, row.max_supply) == (asset_id, Decimal(price), most)


def test_the_recorded_end_of_version_2_is_no_limit_that_passes(recorded):
    body = recorded("coincap", "rec2025_v2_retired_429.json")
    with pytest.raises(AccessDenied, match=r"We are deprecating this version of the CoinCap API on March 31, 2025"):
        CoincapCollector.check(Answer(status=429, headers={}, body=body, received_at=RECEIVED))
