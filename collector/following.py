"""Keeps what is followed: stored lists, ranks and prices in, the decisions of universe back into the database."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from collector.clock import Clock
from collector.config import UniverseSettings
from collector.fallback import RANKING
from collector.indicators.service import Touched
from collector.log import get_logger
from collector.plan import Known, Task
from collector.records import Dataset, Instrument, InstrumentListing, Interval
from collector.sources.base import Shape
from collector.storage.reader import Reader
from collector.storage.stored import StoredInstrument
from collector.storage.writer import AssetStanding, InstrumentStanding, Writer
from collector.universe import (
    KnownMatch,
    Match,
    Matches,
    RankedAsset,
    choose_assets,
    choose_instruments,
    choose_most_traded,
    match_instruments,
)

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

    def uncomputed(self) -> Touched:
        """Return the bars that a process which died may have left without indicators."""
        return self._reader.uncomputed_spans()

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
        standings = [
            AssetStanding(asset_id=asset.asset_id, rank=asset.rank, followed=True) for asset in choice.followed
        ]
        notes = [*choice.notes, *chosen.notes]
        if all(asset.rank is None for asset in assets):
            followed |= self._without_ranking(stored, followed)
            standings += self._assets_before({item.asset_id for item in standings})
            notes.append(f"no ranking of assets is known ({RANKING}): what was followed goes on, or the most traded")
        else:
            standings += _ranked_only(assets, {item.asset_id for item in standings})
        self._save(standings, matches, followed, stored)
        self._say(notes)

    def _without_ranking(self, stored: Sequence[StoredInstrument], chosen: set[str]) -> set[str]:
        """Return what is followed beside `chosen` while no ranking is known: a missing one must not cost the venues.

        What was followed goes on; a venue of which nothing would be followed gives what it trades most.
        """
        listed = [row for row in stored if row.gone_at is None and row.tradable]
        excluded = set(self._settings.exclude_instruments)
        before = {row.instrument.id for row in listed if row.followed} - excluded
        served = {row.instrument.venue for row in listed if row.instrument.id in before | chosen}
        now = self._clock.now()
        most_traded = choose_most_traded(
            [_listing(row, now) for row in listed if row.instrument.venue not in served],
            self._reader.latest_turnovers(since=now - RANKS_AGE),
            self._settings.top,
            quotes=self._settings.quotes,
            exclude=self._settings.exclude_instruments,
        )
        return before.union(*most_traded.values())

    def _assets_before(self, chosen: set[str]) -> list[AssetStanding]:
        """Return the assets followed so far, beside `chosen`."""
        return [
            AssetStanding(asset_id=row.asset_id, rank=row.rank, followed=True)
            for row in self._reader.load_assets(followed=True, source=RANKING)
            if row.asset_id not in chosen and row.delisted_at is None
        ]

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
        if not assets:  # nothing to judge by: no listing came yet
            return Matches()
        listings = [_listing(row, self._clock.now()) for row in stored if row.gone_at is None]
        return match_instruments(listings, assets, prices, known=before, tolerance_pct=tolerance)

    def _save(
        self,
        assets: Sequence[AssetStanding],
        matches: Matches,
        followed: set[str],
        stored: Sequence[StoredInstrument],
    ) -> None:
        verdicts = {match.instrument.id: match for match in matches.items}
        standings = [_standing(row, verdicts.get(row.instrument.id), row.instrument.id in followed) for row in stored]
        changed = self._writer.save_universe(RANKING, assets, standings)
        if any(changed):
            self._log.info(
                "universe_changed",
                assets=sum(item.followed for item in assets),
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


def _ranked_only(assets: Sequence[RankedAsset], chosen: set[str]) -> list[AssetStanding]:
    """Return the assets that have a rank and are not followed."""
    return [
        AssetStanding(asset_id=asset.asset_id, rank=asset.rank, followed=False)
        for asset in assets
        if asset.rank is not None and asset.asset_id not in chosen
    ]


def _standing(row: StoredInstrument, verdict: Match | None, followed: bool) -> InstrumentStanding:
    """Return where an instrument stands now; without a verdict (delisted, or nothing to judge by) it stays known."""
    if verdict is None:
        return InstrumentStanding(
            instrument=row.instrument.id,
            asset_id=row.asset_id,
            asset_units=row.asset_units,
            match_state=row.match_state,
            match_detail=row.match_detail,
            followed=followed,
        )
    return InstrumentStanding(
        instrument=verdict.instrument.id,
        asset_id=verdict.asset_id,
        asset_units=verdict.asset_units,
        match_state=verdict.state.value,
        match_detail=verdict.detail,
        followed=followed,
    )
