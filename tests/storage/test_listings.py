"""Listings: what is new, renamed, gone or back is noted once, and a list that may have holes marks nobody as gone."""

import dataclasses
from datetime import timedelta
from decimal import Decimal

import pytest

from collector.records import Dataset, Instrument, Job, Kind, Reject, RejectReason
from collector.storage.writer import AssetStanding, InstrumentStanding
from tests.storage.samples import BTC, NOON, RECEIVED, asset, batch, candle, listing, perp

DAY = timedelta(days=1)
CHANGES = "SELECT subject, change, old, new FROM listing_changes ORDER BY change_id"


def assets(*records, **changes):
    return batch(*records, dataset=Dataset.LISTING, source="coingecko", **changes)


def instruments(*records, **changes):
    return batch(*records, dataset=Dataset.INSTRUMENTS, **changes)


def test_the_first_listing_is_no_change(writer, cycle, rows):
    (result,) = writer.write(cycle, [assets(asset(), asset("ether", "ETH", "Ethereum"))])
    assert result.written == {"assets": 2}
    assert rows(CHANGES) == []
    assert rows("SELECT asset_id, symbol, name, rank, followed, first_seen_at, delisted_at FROM assets ORDER BY 1") == [
        ("bitcoin", "BTC", "Bitcoin", None, False, RECEIVED, None),
        ("ether", "ETH", "Ethereum", None, False, RECEIVED, None),
    ]


def test_new_renamed_gone_and_returned_assets_are_noted(writer, cycle, rows):
    later = [RECEIVED + DAY * number for number in range(4)]
    writer.write(cycle, [assets(asset(), asset("matic", "MATIC", "Polygon"))])
    renamed, new = asset("matic", "POL", "POL (ex-MATIC)", later[1]), asset("new", "N", "New", later[1])
    (second,) = writer.write(cycle, [assets(asset(at=later[1]), renamed, new)])
    assert second.written == {"assets": 2}
    assert second.unchanged == 1
    (third,) = writer.write(cycle, [assets(asset(at=later[2]))])
    assert (third.written, third.unchanged) == ({"assets": 2}, 1)
    writer.write(cycle, [assets(asset(at=later[3]), asset("new", "N", "New", later[3]))])
    assert rows(CHANGES) == [
        ("matic", "renamed", "Polygon", "POL (ex-MATIC)"),
        ("matic", "symbol", "MATIC", "POL"),
        ("new", "listed", None, "New"),
        ("matic", "delisted", "POL (ex-MATIC)", None),
        ("new", "delisted", "New", None),
        ("new", "relisted", None, "New"),
    ]
    assert rows("SELECT asset_id, first_seen_at, last_seen_at, delisted_at FROM assets ORDER BY 1") == [
        ("bitcoin", RECEIVED, later[3], None),
        ("matic", RECEIVED, later[1], later[2]),
        ("new", later[1], later[3], None),
    ]


def test_the_same_listing_again_rewrites_nothing(writer, cycle, rows):
    given = assets(asset(), asset("ether", "ETH", "Ethereum"))
    writer.write(cycle, [given])
    before = rows("SELECT xmin, * FROM assets")
    (again,) = writer.write(cycle, [given])
    assert rows("SELECT xmin, * FROM assets") == before
    assert (again.written, again.unchanged) == ({}, 2)


def test_an_empty_listing_marks_nobody_as_gone(writer, cycle, rows):
    writer.write(cycle, [assets(asset())])
    writer.write(cycle, [assets()])
    assert rows("SELECT delisted_at FROM assets") == [(None,)]


@pytest.mark.parametrize("change", ["failed", "reject", "other dataset"])
def test_a_list_that_may_have_holes_marks_nobody_as_gone(writer, cycle, rows, change):
    writer.write(cycle, [assets(asset(), asset("ether", "ETH", "Ethereum"))])
    job = Job(source="coingecko", dataset=Dataset.LISTING)
    changes = {
        "failed": {"state": "failed", "error": "cut off"},
        "reject": {"rejects": (Reject(job=job, row="{}", reason=RejectReason.INCONSISTENT, detail="?"),)},
        "other dataset": {"job": Job(source="coingecko", dataset=Dataset.MARKETS)},
    }[change]
    writer.write(cycle, [assets(asset(at=RECEIVED + DAY), **changes)])
    assert rows("SELECT count(*) FROM assets WHERE delisted_at IS NULL") == [(2,)]


def test_an_asset_the_database_refuses_is_not_gone(writer, cycle, rows):
    writer.write(cycle, [assets(asset(), asset("ether", "ETH", "Ethereum"))])
    writer.write(cycle, [assets(asset(at=RECEIVED + DAY), asset("ether", "ETH", "bad \x00", RECEIVED + DAY))])
    assert rows("SELECT asset_id, name, delisted_at FROM assets ORDER BY 1") == [
        ("bitcoin", "Bitcoin", None),
        ("ether", "Ethereum", None),
    ]


def test_one_source_s_listing_does_not_touch_another_s(writer, cycle, rows):
    spot = Instrument(venue="binance", base="BTC", quote="USDT", kind=Kind.SPOT, venue_symbol="BTCUSDT")
    writer.write(cycle, [instruments(listing(BTC), listing(perp("ETH")))])
    writer.write(cycle, [instruments(listing(spot))])  # of another kind: says nothing about perpetuals
    assert rows("SELECT instrument FROM instruments WHERE gone_at IS NOT NULL") == []


def test_changes_of_an_instrument_are_noted(writer, cycle, rows):
    end = NOON + DAY * 30
    moved = dataclasses.replace(BTC, venue_symbol="XBT-USDT-SWAP", contract_size=Decimal("0.1"))
    writer.write(cycle, [instruments(listing(), listing(perp("ETH")))])
    writer.write(cycle, [instruments(listing(moved, RECEIVED + DAY, status="suspend", tradable=False, delists_at=end))])
    assert rows(CHANGES) == [
        (BTC.id, "contract_size", "0.01", "0.1"),
        (BTC.id, "end_announced", None, "2026-03-02 12:00:00+00"),
        (BTC.id, "renamed", "BTC-USDT-SWAP", "XBT-USDT-SWAP"),
        (BTC.id, "status", "live", "suspend"),
        ("okx:ETH-USDT:perp", "delisted", "ETH-USDT-SWAP", None),
    ]
    assert rows("SELECT venue_symbol, contract_size, status, tradable FROM instruments WHERE gone_at IS NULL") == [
        ("XBT-USDT-SWAP", Decimal("0.1"), "suspend", False)
    ]


def test_an_instrument_seen_in_data_before_its_listing_is_listed_then(writer, cycle, rows):
    writer.write(cycle, [instruments(listing())])
    writer.write(cycle, [batch(candle(instrument=perp("NEW")))])
    assert rows("SELECT status, tradable, source FROM instruments WHERE base = 'NEW'") == [(None, None, None)]
    writer.write(cycle, [instruments(listing(at=RECEIVED + DAY), listing(perp("NEW"), RECEIVED + DAY))])
    assert rows(CHANGES) == [("okx:NEW-USDT:perp", "listed", None, "NEW-USDT-SWAP")]
    assert rows("SELECT status, source FROM instruments WHERE base = 'NEW'") == [("live", "okx")]


def test_a_complete_list_says_nothing_about_instruments_that_were_never_listed(writer, cycle, rows):
    writer.write(cycle, [batch(candle(instrument=perp("OLD"))), instruments(listing())])
    assert rows("SELECT gone_at FROM instruments WHERE base = 'OLD'") == [(None,)]


def test_the_universe_is_saved_and_saving_it_again_changes_nothing(writer, cycle, rows):
    listed = assets(asset(), asset("ether", "ETH", "Ethereum"))
    writer.write(cycle, [listed, instruments(listing(), listing(perp("X")))])
    chosen = [AssetStanding(asset_id="bitcoin", rank=1, followed=True)]
    match = InstrumentStanding(
        instrument=BTC.id,
        asset_id="bitcoin",
        asset_units=Decimal(1),
        match_state="matched",
        match_detail="price within 0.1 %",
        followed=True,
    )
    assert writer.save_universe("coingecko", chosen, [match]) == (1, 1)
    assert writer.save_universe("coingecko", chosen, [match]) == (0, 0)
    assert rows("SELECT asset_id, rank, followed FROM assets ORDER BY 1") == [
        ("bitcoin", 1, True),
        ("ether", None, False),
    ]
    assert rows("SELECT base, asset_id, asset_units, match_state, followed FROM instruments ORDER BY 1") == [
        ("BTC", "bitcoin", 1, "matched", True),
        ("X", None, None, None, False),
    ]
    assert writer.save_universe("coingecko", [], []) == (1, 0)
    assert rows("SELECT asset_id FROM assets WHERE followed OR rank IS NOT NULL") == []


def test_a_new_listing_keeps_what_the_universe_decided(writer, cycle, rows):
    writer.write(cycle, [assets(asset()), instruments(listing())])
    writer.save_universe("coingecko", [AssetStanding(asset_id="bitcoin", rank=1, followed=True)], [])
    writer.write(cycle, [assets(asset(name="Bitcoin!", at=RECEIVED + DAY))])
    assert rows("SELECT name, rank, followed FROM assets") == [("Bitcoin!", 1, True)]
