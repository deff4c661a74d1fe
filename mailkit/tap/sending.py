"""A program's own way to send mail: a durable queue, without any server.

::

    sending = SendingService("sqlite:/var/lib/tickets/mail", Relay("mx"), hostname="tickets.example.org")
    sending.setServiceParent(application)
    ...
    id = await sending.submit(make_envelope("tickets@example.org", customer), octets)
    async for event in sending.events():
        print(event.recipient.path, event.state.value)
"""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import Deferred

from mailkit._typing import override
from mailkit.errors import MailError
from mailkit.interfaces import IMailStore, ISpooling
from mailkit.model import Envelope
from mailkit.queue.bounces import take_report
from mailkit.queue.events import EventReader, end_reader, forget_passing_readers
from mailkit.queue.outcomes import Event
from mailkit.spool import Spool
from mailkit.tap.errors import SettingError, StartError
from mailkit.tap.outbound import Outbound
from mailkit.tap.programs import submit_as_user
from mailkit.tap.relay import Relay
from mailkit.tap.routes import Deliveries
from mailkit.tap.stores import parse_store


class SendingService(Service):
    """Keeps what the program submits until it is delivered or given up, also across restarts.

    :param store: what ``--store`` takes, opened and closed with the service, and open in no other
        process; or an ``IMailStore`` with a queue, which stays the caller's to close.
    :param relay: where mail goes.
    :param hostname: what we call ourselves; the machine's name when empty.
    :raises SettingError: the store's name or the relay is wrong.
    """

    def __init__(
        self, store: str | IMailStore, relay: Relay, *, hostname: str = "", reactor: Any = None
    ) -> None:
        if reactor is None:
            from twisted.internet import reactor
        self._name = store if isinstance(store, str) else repr(store)
        self._reactor = reactor
        self._opener = parse_store(store) if isinstance(store, str) else None
        self._outbound = Outbound(relay, hostname or socket.gethostname(), reactor)
        self._deliveries = Deliveries()
        #: The store, while the service runs.
        self.store: Any = None if self._opener else store

    @override
    def startService(self) -> None:
        """Open the store and begin to send.

        :raises StartError: that cannot be done.
        """
        try:
            if self._opener is not None:
                self.store = self._opener()
        except (MailError, SettingError, OSError) as error:
            raise StartError("store", self._name, str(error)) from error
        self._deliveries.open(self.store)
        Deferred.fromCoroutine(forget_passing_readers(self.store.queue))
        self._outbound.open(self.store, self._deliveries)
        super().startService()  # type: ignore[no-untyped-call]

    @override
    def stopService(self) -> Deferred[None]:
        """Let what is under way end, and close the store."""
        super().stopService()  # type: ignore[no-untyped-call]
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._outbound.close()
        if self._opener is not None and self.store is not None:
            store, self.store = self.store, None
            await store.close()

    async def submit(
        self, envelope: Envelope, message: bytes | Spool, *, key: str | None = None
    ) -> str:
        """Queue a message; durable on return.

        The sender is told by mail what fails, as everybody who has logged in to a server.

        :param key: names the submission; what is submitted again under it is not sent again, as long
            as the message is known.
        :returns: the queue's name for it.
        :raises MailError: it was not queued.
        :raises ValueError: a time in the envelope is none; it was not queued.
        """
        if isinstance(message, Spool):
            return await submit_as_user(self._outbound.manager, envelope, message, key)
        spool = self.store.new_spool() if ISpooling.providedBy(self.store) else Spool()
        try:
            spool.write(message)
            return await submit_as_user(self._outbound.manager, envelope, spool, key)
        finally:
            spool.close()

    async def take_report(self, octets: bytes) -> int:
        """Put down what another server reports of messages that were sent from here.

        For programs that get their bounces and complaints by themselves, as from a mailbox.
        Messages are found by Message-ID and recipient, which proves nothing: whoever has seen the
        message can write such a report.

        :param octets: the report, as it came.
        :returns: how many recipients are ``bounced`` or ``complained`` now that were not.
        """
        manager = self._outbound.manager
        return await take_report(self.store.queue, octets, int(time.time()), manager.outcomes.tell)

    def events(self, name: str | None = None) -> AsyncIterator[Event]:
        """What becomes of each recipient: queued, deferred, delivered, held, cancelled and so on.

        :param name: of a reader that sees what happened since it was here last, too, each event at least
            once, even after a crash; one at a time under each name. Without a name: what happens from
            this call on.
        :raises TypeError: the store keeps no events.
        """
        manager = self._outbound.manager
        return EventReader(self.store.queue, manager.outcomes, self._reactor, name).read()

    async def end_events(self, name: str) -> None:
        """Keep no more events for a reader with a name, which will not come again."""
        await end_reader(self.store.queue, name)
