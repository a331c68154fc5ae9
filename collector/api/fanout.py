"""New rows for many readers: read once per commit, encoded once per wish, handed to each reader's bounded queue.

One thread hears the database and reads; everything about readers happens in the event loop. A reader that does not
keep up is let go: it comes back and says where it was.
"""

import asyncio
import threading
from collections import Counter

from collector.api.events import Edition, Wish, frame
from collector.errors import CollectorError
from collector.log import get_logger
from collector.storage.database import Database
from collector.storage.news import KINDS, Announcement, Listener, News, NewsReader, Position

QUEUE = 16  # editions that may wait for one reader
A_CLIENT = 4  # readers of one client at once
LOOK_EVERY_S = 10.0  # a connection that was cut without a word is found out after this
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 15.0  # between tries to reach the database again


class Reader:
    """One open stream; used in the event loop only."""

    def __init__(self, client: str, wish: Wish) -> None:
        self.client, self.wish = client, wish
        self.queue: asyncio.Queue[tuple[Position | None, bytes] | None] = asyncio.Queue(QUEUE)
        self.over = asyncio.Event()
        self.reason = ""

    def give(self, edition: Edition) -> None:
        """Put what it wishes of an edition into its queue; a reader whose queue is full is let go."""
        text = edition.frames(self.wish)
        if not text or self.over.is_set():
            return
        if self.queue.full():
            self.end("slow: 16 commits were waiting; reconnect with Last-Event-ID to get what is missing")
        else:
            self.queue.put_nowait((edition.position, text))

    def end(self, reason: str) -> None:
        """Let it go; what waits for it is dropped, and the last thing it hears is the reason."""
        if self.over.is_set():
            return
        self.reason = reason
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)
        self.over.set()


class Fanout:
    """All open streams of this process. `open` and `close` it in the event loop that serves them."""

    def __init__(self, database: Database, *, most: int, simulated: bool) -> None:
        self.reader = NewsReader(database)
        self.position: Position | None = None  # everything up to here has been handed out
        self.listening = False
        self._database = database
        self._most = most
        self._simulated = simulated
        self._readers: dict[int, Reader] = {}
        self._wishes: Counter[Wish] = Counter()
        self._lock = threading.Lock()  # of the wishes, which the thread reads
        self._stop = threading.Event()
        self._listener: Listener | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, name="news", daemon=True)

    # ------------------------------------------------------------------ in the event loop

    def open(self) -> None:
        """Begin to hear the database."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def close(self) -> None:
        """End every stream and stop hearing; returns at once."""
        self._stop.set()
        with self._lock:
            if self._listener is not None:
                self._listener.wake()
        for reader in list(self._readers.values()):
            reader.end("the server stops; reconnect with Last-Event-ID")

    async def closed(self) -> None:
        """Wait until nothing is heard any more."""
        if self._thread.is_alive():
            await asyncio.to_thread(self._thread.join)

    @property
    def streams(self) -> int:
        """Return how many streams are open."""
        return len(self._readers)

    def room(self, client: str) -> str:
        """Return why this client cannot open one more stream; empty when it can."""
        if self._stop.is_set():
            return "the server stops"
        if sum(reader.client == client for reader in self._readers.values()) >= A_CLIENT:
            return f"a client may have {A_CLIENT} streams"
        return f"{self._most} streams are open" if len(self._readers) >= self._most else ""

    def join(self, client: str, wish: Wish) -> Reader:
        """Return a new reader, which gets every edition from now on. Call `leave` in the end."""
        reader = Reader(client, wish)
        self._readers[id(reader)] = reader
        with self._lock:
            self._wishes[wish] += 1
        if self._stop.is_set():
            reader.end("the server stops; reconnect with Last-Event-ID")
        return reader

    def leave(self, reader: Reader) -> None:
        """Forget a reader."""
        if self._readers.pop(id(reader), None) is not None:
            with self._lock:
                self._wishes[reader.wish] -= 1
                self._wishes += Counter()  # drops those that nobody has

    async def missed(self, place: Position, wish: Wish) -> Edition | None:
        """Return what came after a place; None when that is too long ago or too much. Raises StorageError."""
        news = await asyncio.to_thread(self.reader.since, place, [name for name in KINDS if name in wish.kinds])
        return None if news is None else Edition(news, simulated=self._simulated)

    def _hand_out(self, edition: Edition) -> None:
        self.position = edition.position if self.position is None else edition.position.later(self.position)
        for reader in list(self._readers.values()):
            reader.give(edition)

    def _all_again(self, position: Position) -> None:
        """Tell every reader that rows were missed which cannot be made up for."""
        self.position = position
        text = frame("reset", {"reason": "the database was away for too long; read what you need anew"}, position)
        for reader in list(self._readers.values()):
            if not reader.over.is_set() and not reader.queue.full():
                reader.queue.put_nowait((position, text))

    # ------------------------------------------------------------------ in the thread

    def _run(self) -> None:
        pause, said = FIRST_PAUSE_S, False
        while not self._stop.is_set():
            try:
                with Listener(self._database) as listener:
                    self._catch_up()
                    with self._lock:
                        self._listener = listener
                    if said:
                        get_logger("Api").info("stream_is_back")
                    self.listening, pause, said = True, FIRST_PAUSE_S, False
                    self._hear(listener)
            except CollectorError as error:
                if not said:
                    get_logger("Api").warning("stream_away", reason=str(error))
                said = True
                self._stop.wait(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
            finally:
                self.listening = False
                with self._lock:
                    self._listener = None

    def _hear(self, listener: Listener) -> None:
        while not self._stop.is_set():
            for announcement in listener.hear(LOOK_EVERY_S):
                self._tell(announcement)

    def _tell(self, announcement: Announcement) -> None:
        wishes = self._wanted()
        wanted = {name for wish in wishes for name in wish.kinds}
        kinds = [name for name in KINDS if name in wanted and KINDS[name].table in announcement.tables]
        if kinds:
            self._publish(self.reader.of_announcement(announcement, kinds), wishes)
        else:
            self._publish(News(position=announcement.position), ())

    def _catch_up(self) -> None:
        """Begin here, or make up for what was committed while the database was away."""
        if self.position is None:
            self._call(self._begin_at, self.reader.position())
            return
        wishes = self._wanted()
        kinds = [name for name in KINDS if any(name in wish.kinds for wish in wishes)]
        place = self.reader.position()
        news = self.reader.since(self.position, kinds)
        if news is None:
            self._call(self._all_again, place)
        else:
            self._publish(News(position=news.position.later(self.position), found=news.found), wishes)

    def _publish(self, news: News, wishes: tuple[Wish, ...]) -> None:
        edition = Edition(news, simulated=self._simulated)
        for wish in wishes:
            edition.frames(wish)  # here, so that the event loop need not
        self._call(self._hand_out, edition)

    def _begin_at(self, position: Position) -> None:
        self.position = position

    def _wanted(self) -> tuple[Wish, ...]:
        with self._lock:
            return tuple(self._wishes)

    def _call(self, function: object, value: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, value)  # type: ignore[arg-type]
