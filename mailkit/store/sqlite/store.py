"""The embedded store, ``sqlite:DIR``.

::

    store = SQLiteStore("/var/lib/mail")     # does nothing yet
    store.open()                             # or by the first use; starts threads
    ...
    await store.close()                      # finishes what was accepted

A server calls :meth:`SQLiteStore.open` when it starts, not before: threads and locks do not survive
the ``fork`` of a daemon. When another process has the directory open, this one becomes its guest (see
:mod:`~mailkit.store.sqlite.guest`). Administration beside a running server goes through
:class:`~mailkit.store.sqlite.SQLiteDirectory`.

In the directory are ``index.sqlite``, ``log/`` with the bodies, ``tmp/`` with what each process is
receiving, ``changes/`` by which commands tell a running server of what they change, ``lock``, ``socket``
where the owner's guests come in, and ``locks/``: names that only one process has at a time.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Any, cast

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from mailkit._typing import override
from mailkit.errors import MailError, RelayDenied, StoreUnavailable
from mailkit.identity import Login
from mailkit.interfaces import (
    IKeyValueStore,
    IProcessChannel,
    IProcessLocks,
    IQueueingStore,
    IRecallingDirectory,
    IRecallingStore,
    ISpooling,
)
from mailkit.model import LocalDelivery, LocalResult, Path, Resolution
from mailkit.spool import Spool
from mailkit.store.sharing.names import SharingSettings
from mailkit.store.sqlite.access import SQLiteAccess
from mailkit.store.sqlite.account import SQLiteAccount, new_spool
from mailkit.store.sqlite.changes import Change
from mailkit.store.sqlite.content import SpooledFile, prepare, take_spool
from mailkit.store.sqlite.core import Core, Reactor
from mailkit.store.sqlite.directory import (
    ChangeDirectory,
    DirectoryBase,
    KnownAccount,
    QuotaLimits,
)
from mailkit.store.sqlite.disk import flush_file
from mailkit.store.sqlite.operations import Deliver
from mailkit.store.sqlite.queue import SQLiteQueue
from mailkit.store.sqlite.settings import StoreSettings

#: Remembered of a user name that is nobody's.
_NOBODY = object()


@implementer(
    IRecallingStore,
    ISpooling,
    IRecallingDirectory,
    IKeyValueStore,
    IProcessChannel,
    IProcessLocks,
    IQueueingStore,
)
class SQLiteStore(DirectoryBase):
    """A store in a directory of this machine.

    :param directory: made if it is missing.
    :param reactor: the one whose thread all calls come from; Twisted's own when None.
    :param clock: source of time; the system's when None.
    :param separator: between user and detail of a sub-address; empty for none.
    :param sharing: how mailboxes are shown that accounts share.
    :param flush: makes a file of the log durable, given its descriptor.
    """

    def __init__(
        self,
        directory: str,
        *,
        reactor: Reactor | None = None,
        clock: IReactorTime | None = None,
        separator: str = "+",
        sharing: SharingSettings = SharingSettings(),  # noqa: B008
        settings: StoreSettings = StoreSettings(),  # noqa: B008
        flush: Callable[[int], None] = flush_file,
    ) -> None:
        self.directory = os.path.abspath(directory)
        self.separator = separator
        self._access = SQLiteAccess(self, sharing)
        self._reactor = reactor
        self._seconds = time.time if clock is None else clock.seconds
        self._settings = settings
        self._flush = flush
        self._core: Core | None = None
        self._closed = False
        self.queue = SQLiteQueue(lambda: self.core, self.apply)

    def open(self) -> None:
        """Take the directory. What is open already stays open.

        :raises StoreUnavailable: a command has it for itself, or a server of another version; it
            can't be written, or it was closed.
        :raises StoreCorrupt: index and log do not fit together.
        """
        if self._closed:
            raise StoreUnavailable("The mail store is closed")
        if self._core is None:
            reactor = self._reactor
            if reactor is None:
                from twisted.internet import reactor as default

                reactor = cast(Reactor, default)
            self._core = Core(self.directory, reactor, self._seconds, self._settings, self._flush)

    @property
    def core(self) -> Core:
        """The insides, opened now if they are not yet."""
        if self._core is None:
            self.open()
        assert self._core is not None
        return self._core

    async def open_account(self, name: str) -> SQLiteAccount:
        known = self.recall_account(name)
        if known is not None:
            return known
        core = self.core
        core.accounts_opened += 1
        return SQLiteAccount(core, self._access, name, *core.reader.find_account(name))

    def recall_account(self, name: str) -> SQLiteAccount | None:
        core = self._core or self.core
        if type(name) is not KnownAccount or name.connection is not core.reader.connection:
            return None
        core.accounts_opened += 1
        # Found for the login that opens the account now.
        account: SQLiteAccount | None = name.opened
        if account is None:
            account = SQLiteAccount(core, self._access, str(name), name.id, name.imap_without)
            name.opened = account
        account.know_maildrop(name.maildrop)
        return account

    async def deliver(
        self, message: Spool, deliveries: Sequence[LocalDelivery]
    ) -> Sequence[LocalResult]:
        core = self.core
        try:
            content = take_spool(core, message)
            if isinstance(content, SpooledFile):
                content = await prepare(core, content)
        except MailError as error:
            return [LocalResult(error=error) for _ in deliveries]
        return await core.submit(Deliver(content, deliveries))

    async def close(self) -> None:
        self._closed = True
        core, self._core = self._core, None
        if core is not None:
            await core.close()

    async def compact(self) -> None:
        """Give the space of removed messages back now; it also happens by itself."""
        await self.core.compact()

    def new_spool(self) -> Spool:
        return new_spool(self.core)

    # IKeyValueStore

    async def get_value(self, kind: str, key: str) -> str | None:
        return self.core.values.get(kind, key)

    async def set_value(self, kind: str, key: str, value: str, seconds: float) -> None:
        await self.core.values.set(kind, key, value, seconds)

    # IProcessChannel

    def send_message(self, topic: str, message: Any) -> None:
        self.core.channel.send_message(topic, message)

    def listen(self, topic: str, callback: Callable[[Any], None]) -> Callable[[], None]:
        return self.core.channel.listen(topic, callback)

    # IProcessLocks

    def try_lock(self, name: str) -> Callable[[], None] | None:
        return self.core.names.try_lock(name)

    def when_shared(self, callback: Callable[[], None]) -> Callable[[], None]:
        return self.core.when_shared(callback)

    def others_know(self) -> bool:
        return self.core.is_known

    # The directory.

    @override
    def connection(self) -> sqlite3.Connection:
        return self.core.reader.connection

    @override
    async def apply(self, change: Change) -> None:
        core = self.core
        try:
            await core.submit(ChangeDirectory(change))
        finally:
            core.recent.clear()

    @override
    async def find_login(self, login: str) -> Login | None:
        found: Any = self._remembered(login)
        if found is None:
            found = await super().find_login(login) or _NOBODY
            # Nobody as well: else the time would tell who exists.
            self.core.recent.add(login, found)
        return None if found is _NOBODY else found

    def recall_login(self, login: str) -> Login | None:
        found: Any = self._remembered(login)
        return None if found is _NOBODY else found

    @override
    async def resolve(self, path: Path) -> Resolution:
        found: Resolution | None = self._remembered(path)
        if found is None:
            # Not to be taken for a path or a login.
            question = "domain", "of", path.domain
            if self.core.recent.get(question):
                raise RelayDenied
            try:
                found = await super().resolve(path)
            except RelayDenied:
                self.core.recent.add(question, True)
                raise
            self.core.recent.add(path, found)
        return found

    @override
    def quota_limits(self, account: str) -> QuotaLimits:
        # Not to be taken for a path, which has two parts.
        question = "quota", "of", account
        found: QuotaLimits | None = self._remembered(question)
        if found is None:
            found = super().quota_limits(account)
            self.core.recent.add(question, found)
        return found

    def _remembered(self, question: Hashable) -> Any:
        core = self._core or self.core
        core.check_open()
        return core.recent.get(question)
