"""The table of events, and the `eventsourcing` library's SQLite recorder on it.

The library's own table takes the implicit rowid for position, which is given out again after the last row
was deleted and which VACUUM may change. Here the position is a column, and is never given out twice.
"""

import threading
from collections.abc import Sequence
from typing import Any, Literal

from eventsourcing.persistence import ApplicationRecorder, Notification, StoredEvent, Subscription
from eventsourcing.sqlite import (
    SQLiteApplicationRecorder,
    SQLiteConnection,
    SQLiteConnectionPool,
    SQLiteDatastore,
    SQLiteFactory,
)
from eventsourcing.utils import Environment, EnvType

from apikeyrouter.limits import MOST_PAGE_EVENTS

Synchronous = Literal["FULL", "NORMAL"]
"""FULL survives a power cut; NORMAL the death of the process, while a power cut may take the last commits."""

APPLICATION_ID = 0x414B524C  # "AKRL" in the header of the file: tells our logs from other databases

CREATE_EVENTS_TABLE = """
CREATE TABLE IF NOT EXISTS stored_events (
    notification_id INTEGER PRIMARY KEY AUTOINCREMENT,
    originator_id TEXT NOT NULL,
    originator_version INTEGER NOT NULL,
    topic TEXT NOT NULL,
    state BLOB NOT NULL,
    UNIQUE (originator_id, originator_version)
)"""

SELECT_EVENTS = "SELECT notification_id, originator_id, originator_version, topic, state FROM stored_events"

_POLL_S = 0.1


class LogRecorder(SQLiteApplicationRecorder):
    """Records events in the table above; each has its position from the moment it is stored."""

    def __init__(self, datastore: SQLiteDatastore) -> None:
        super().__init__(datastore)
        self.insert_events_statement = (
            "INSERT INTO stored_events (originator_id, originator_version, topic, state) VALUES (?,?,?,?)"
        )
        self._subscriptions: set[LogSubscription] = set()

    def construct_create_table_statements(self) -> list[str]:
        """Return what makes an empty file a log."""
        return [CREATE_EVENTS_TABLE, f"PRAGMA application_id = {APPLICATION_ID}"]

    def insert_events(self, stored_events: Sequence[StoredEvent], **kwargs: Any) -> Sequence[int] | None:
        """Store events together, return their positions, and wake the subscribers."""
        positions = super().insert_events(stored_events, **kwargs)
        for subscription in tuple(self._subscriptions):
            subscription.wake()
        return positions

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        """Return events by position, from `start` to `stop`, of certain topics if any are given."""
        after = 0 if start is None else start - inclusive_of_start
        where, values = "notification_id > ?", [after, *topics, limit]
        if stop is not None:
            where, values = f"{where} AND notification_id <= ?", [after, stop, *topics, limit]
        if topics:
            where += f" AND topic IN ({','.join('?' * len(topics))})"
        with self.datastore.transaction(commit=False) as cursor:
            cursor.execute(f"{SELECT_EVENTS} WHERE {where} ORDER BY notification_id LIMIT ?", values)
            return [
                Notification(self.convert_originator_id(stream), version, topic, state, id=position)
                for position, stream, version, topic, state in cursor.fetchall()
            ]

    def subscribe(
        self, gt: int | None = None, topics: Sequence[str] = ()
    ) -> Subscription[ApplicationRecorder]:
        """Iterate over the events after a position, those that are still to come included."""
        subscription = LogSubscription(self, gt, topics)
        self._subscriptions.add(subscription)
        return subscription

    def unsubscribe(self, subscription: "LogSubscription") -> None:
        """Forget a subscription that was stopped."""
        self._subscriptions.discard(subscription)


class LogSubscription(Subscription[LogRecorder]):
    """Waits to be woken by its own recorder, and asks now and then what other writers have stored."""

    def __init__(self, recorder: LogRecorder, gt: int | None, topics: Sequence[str]) -> None:
        super().__init__(recorder, gt, topics)
        self._woken = threading.Event()
        self._page: list[Notification] = []

    def wake(self) -> None:
        """Look at once for new events."""
        self._woken.set()

    def stop(self) -> None:
        """End the iteration, also one that waits now."""
        super().stop()
        self._recorder.unsubscribe(self)
        self.wake()

    def __next__(self) -> Notification:
        while not self._has_been_stopped:
            if not self._page:
                self._turn_page()
            if self._page:
                return self._page.pop()
            self._woken.wait(_POLL_S)
        raise StopIteration

    def _turn_page(self) -> None:
        self._woken.clear()
        page = self._recorder.select_notifications(
            self._last_notification_id or 0, MOST_PAGE_EVENTS, topics=self._topics, inclusive_of_start=False
        )
        if page:
            self._last_notification_id = page[-1].id
            self._page = list(reversed(page))


class LogConnectionPool(SQLiteConnectionPool):
    """Opens connections whose commits are as durable as was asked for."""

    def __init__(self, *, synchronous: Synchronous, **options: Any) -> None:
        super().__init__(**options)
        self._synchronous = synchronous

    def _create_connection(self) -> SQLiteConnection:
        connection = super()._create_connection()
        connection.cursor().execute(f"PRAGMA synchronous = {self._synchronous}")
        return connection


class LogDatastore(SQLiteDatastore):
    """A file of events whose streams are named by text."""

    def __init__(self, db_name: str, *, synchronous: Synchronous = "FULL", **options: Any) -> None:
        super().__init__(db_name, originator_id_type="text", **options)
        self.pool = LogConnectionPool(
            db_name=db_name, synchronous=synchronous, lock_timeout=self.pool.lock_timeout
        )


class LogFactory(SQLiteFactory):
    """Lets the library's applications use the log: `PERSISTENCE_MODULE` names this class."""

    SQLITE_SYNCHRONOUS = "SQLITE_SYNCHRONOUS"
    application_recorder_class: type[SQLiteApplicationRecorder] = LogRecorder

    def __init__(self, env: Environment | EnvType | None) -> None:
        super().__init__(env)
        synchronous = self.env.get(self.SQLITE_SYNCHRONOUS, "FULL").upper()
        if synchronous not in {"FULL", "NORMAL"}:
            raise OSError(f"{self.SQLITE_SYNCHRONOUS} is {synchronous!r}, should be FULL or NORMAL")
        pool = self.datastore.pool
        self.datastore = LogDatastore(
            pool.db_name,
            synchronous="NORMAL" if synchronous == "NORMAL" else "FULL",
            lock_timeout=pool.lock_timeout,
        )
