"""Keeps what is followed: stored lists, ranks and prices in, the decisions of universe.py back into the database."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from collector.clock import Clock
from collector.config import UniverseSettings
from collector.log import get_logger
from collector.plan import Known, Task
from collector.records import Dataset, Instrument, InstrumentListing, Interval
from collector.sources.base import Shape
from collector.storage.reader import Reader
from collector.storage.stored import StoredInstrument
from collector.storage.writer import AssetStanding, InstrumentStanding, Writer
from collector.universe import (
    FollowedAsset,
    KnownMatch,
    Matches,
    RankedAsset,
    choose_assets,
    choose_instruments,
    choose_most_traded,
    match_instruments,
)

RANKING = "coingecko"  # the source whose ids, ranks and prices identify an asset
RANKS_AGE = timedelta(days=2)  # ranks and prices older than this say nothing about today


class DatabaseFollower:
    """Answers what is known and followed from the database; used by the thread that runs the cycles."""

    def __init__(self, settings: UniverseSettings, reader: Reader, writer: Writer, clock: Clock) -> None:
        self._settings = settings
        self._reader = reader
        self._writer = writer
        self._clock = clock
        self._log = get_logger("CryptoListingService")
        self._noted: set[str] = set()  # notes said already: they come back every cycle

    def last_ok(self) -> Mapping[tuple[str, Dataset], datetime]:
        """Return when each dataset was last fetched without a failure."""
        return self._reader.last_job_times()

    def known(self, tasks: Sequence[Task], now: datetime) -> Known:
        """Return what planning these tasks needs; nothing else is read."""
        venues = {task.source for task in tasks if task.shape in (Shape.BULK, Shape.EACH)}
        stored = {venue: self._reader.load_instruments(venue=venue) for venue in venues}
        followed = {venue: [row.instrument for row in rows if row.followed] for venue, rows in stored.items()}
        assets = [row.asset_id for row in self._reader.load_assets(followed=True, source=RANKING)]
        return Known(
            now=now,
            instruments={
                venue: [row.instrument for row in rows if row.tradable and row.gone_at is None]
                for venue, rows in stored.items()
            },
            followed=followed,
            assets=assets,
            last_opens=self._last_opens(tasks, followed),
            last_fundings=self._last_fundings(tasks, followed),
            asset_turns={
                (task.source, task.dataset): self._reader.last_asset_times(task.source, task.dataset)
                for task in tasks
                if task.shape is Shape.EACH_ASSET
            },
        )

    def _last_opens(
        self, tasks: Sequence[Task], followed: Mapping[str, Sequence[Instrument]]
    ) -> dict[tuple[str, Interval], datetime]:
        ids: dict[Interval, set[str]] = {}
        for task in tasks:
            if task.dataset is Dataset.CANDLES and task.shape is Shape.EACH:
                for interval in task.intervals:
                    ids.setdefault(interval, set()).update(item.id for item in followed[task.source])
        return {
            (name, interval): opened
            for interval, names in ids.items()
            for name, opened in self._reader.last_candle_opens(interval, names).items()
        }

    def _last_fundings(
        self, tasks: Sequence[Task], followed: Mapping[str, Sequence[Instrument]]
    ) -> Mapping[str, datetime]:
        ids = {item.id for task in tasks if task.dataset is Dataset.FUNDING for item in followed[task.source]}
        return self._reader.last_funding_times(ids) if ids else {}

    def refresh(self) -> None:
        """Match instruments to assets and choose what is followed, from stored ranks and prices."""
        assets = self._ranked_assets()
        if all(asset.rank is None for asset in assets):
            self._follow_without_ranks()
            return
        choice = choose_assets(assets, self._settings.top, self._settings.include, self._settings.exclude)
        stored = [row for row in self._reader.load_instruments() if row.source is not None]
        matches = self._match(stored, assets)
        chosen = choose_instruments(
            matches,
            choice.followed,
            quotes=self._settings.quotes,
            include=self._settings.include_instruments,
            exclude=self._settings.exclude_instruments,
        )
        followed = {name for names in chosen.by_venue.values() for name in names}
        self._save(assets, choice.followed, matches, followed, stored)
        self._say([*choice.notes, *chosen.notes])

    def _follow_without_ranks(self) -> None:
        """Keep what is followed; when that is nothing, follow what each venue trades most until a ranking comes.

        A missing ranking must not cost the venues their books and candles.
        """
        stored = [row for row in self._reader.load_instruments() if row.source is not None and row.gone_at is None]
        if not any(row.followed for row in stored):
            now = self._clock.now()
            chosen = choose_most_traded(
                [_listing(row, now) for row in stored],
                self._reader.latest_turnovers(since=now - RANKS_AGE),
                self._settings.top,
                quotes=self._settings.quotes,
                include=self._settings.include_instruments,
                exclude=self._settings.exclude_instruments,
            )
            followed = {name for names in chosen.values() for name in names}
            rows = [_followed_by_turnover(row) for row in stored if row.instrument.id in followed]
            self._writer.save_universe(RANKING, (), rows)
        self._say([f"no ranking of assets is known ({RANKING}): following the most traded instruments of each venue"])

    def _ranked_assets(self) -> list[RankedAsset]:
        """Return the whole listing; rank and price come from one snapshot, or are both unknown."""
        markets = self._reader.latest_markets(RANKING, since=self._clock.now() - RANKS_AGE)
        listed = {row.asset_id: row for row in self._reader.load_assets(source=RANKING) if row.delisted_at is None}
        return [
            RankedAsset(
                asset_id=name,
                symbol=row.symbol,
                name=row.name,
                rank=markets[name].rank if name in markets else None,
                price_usd=markets[name].price_usd if name in markets else None,
            )
            for name, row in listed.items()
        ]

    def _match(self, stored: Sequence[StoredInstrument], assets: Sequence[RankedAsset]) -> Matches:
        recent = self._reader.latest_prices(since=self._clock.now() - RANKS_AGE)
        prices = {name: found.price for name, found in recent.items()}
        before = {
            row.instrument.id: KnownMatch(asset_id=row.asset_id, asset_units=row.asset_units)
            for row in stored
            if row.asset_id is not None and row.asset_units is not None
        }
        tolerance = self._settings.price_tolerance_pct
        listings = [_listing(row, self._clock.now()) for row in stored if row.gone_at is None]
        return match_instruments(listings, assets, prices, known=before, tolerance_pct=tolerance)

    def _save(
        self,
        assets: Sequence[RankedAsset],
        choice: Sequence[FollowedAsset],
        matches: Matches,
        followed: set[str],
        stored: Sequence[StoredInstrument],
    ) -> None:
        chosen = {asset.asset_id for asset in choice}
        verdicts = [
            InstrumentStanding(
                instrument=match.instrument.id,
                asset_id=match.asset_id,
                asset_units=match.asset_units,
                match_state=match.state.value,
                match_detail=match.detail,
                followed=match.instrument.id in followed,
            )
            for match in matches.items
        ]
        gone = [_no_longer_followed(row) for row in stored if row.gone_at is not None and row.followed]
        ranks = [
            AssetStanding(asset_id=asset.asset_id, rank=asset.rank, followed=asset.asset_id in chosen)
            for asset in assets
            if asset.rank is not None or asset.asset_id in chosen
        ]
        changed = self._writer.save_universe(RANKING, ranks, [*verdicts, *gone])
        if any(changed):
            self._log.info(
                "universe_changed",
                assets=len(chosen),
                instruments=len(followed),
                changed_assets=changed[0],
                changed_instruments=changed[1],
            )

    def _say(self, notes: Sequence[str]) -> None:
        for note in notes:
            if note not in self._noted:
                self._log.warning("universe_note", note=note)
        self._noted = set(notes)


def _listing(row: StoredInstrument, now: datetime) -> InstrumentListing:
    return InstrumentListing(
        source=row.source or "",
        observed_at=row.last_seen_at,
        received_at=now,
        instrument=row.instrument,
        status=row.status or "",
        tradable=bool(row.tradable),
        listed_at=row.listed_at,
        delists_at=row.delists_at,
        tick_size=row.tick_size,
        lot_size=row.lot_size,
        category=row.category or "",
    )


def _followed_by_turnover(row: StoredInstrument) -> InstrumentStanding:
    return InstrumentStanding(
        instrument=row.instrument.id,
        asset_id=row.asset_id,
        asset_units=row.asset_units,
        match_state=row.match_state,
        match_detail=row.match_detail or "followed for its turnover: no ranking of assets is known",
        followed=True,
    )


def _no_longer_followed(row: StoredInstrument) -> InstrumentStanding:
    """Return the verdict on a delisted instrument: it keeps what it was and is not asked for any more."""
    units: Decimal | None = row.asset_units
    return InstrumentStanding(
        instrument=row.instrument.id,
        asset_id=row.asset_id,
        asset_units=units,
        match_state=row.match_state,
        match_detail=row.match_detail,
        followed=False,
    )
