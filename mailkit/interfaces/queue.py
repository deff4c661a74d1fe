"""The contract of the outbound queue: what waits to be sent, recipient by recipient."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import BinaryIO

from zope.interface import Attribute, Interface

from mailkit.model import LocalDelivery, Path
from mailkit.queue.values import (
    Attempt,
    NewMessage,
    Order,
    Postponement,
    Queued,
    QueuedMessage,
    QueueEvent,
    Report,
    Update,
)
from mailkit.spool import Spool


class IQueue(Interface):
    """Keeps messages until they are delivered or given up. It sends nothing by itself.

    All changes are durable on return. Recipients belong to the domain of their address, in lower
    case and with A-labels; a domain is due when one of its recipients is.
    """

    def enqueue(
        message: Spool, new: Sequence[NewMessage], deliveries: Sequence[LocalDelivery] = ()
    ) -> Awaitable[Queued]:
        """Queue a message, and put it into mailboxes in the same step.

        The octets are kept once, also where several envelopes share them. The caller closes the
        spool afterwards. A mailbox that fails does not keep the message from being queued. What has
        a key that is known is not queued again, and gets the id that it has.

        :raises StoreUnavailable: nothing was queued.
        """

    def find_due(now: int, limit: int, exclude: Collection[str] = ()) -> Awaitable[Sequence[str]]:
        """Domains that are due, those first that have been for longest.

        :param now: seconds since the epoch.
        :param exclude: some hundred domains that are not wanted.
        """

    def list_due(domain: str, now: int, limit: int) -> Awaitable[Sequence[QueuedMessage]]:
        """Messages that are due, each with its recipients in the domain that are.

        Those of a higher priority come first among those that have been due for longest. Whoever is
        ``ATTEMPTING`` is still due: the caller knows which of them it is at work on.

        :param limit: of recipients; a message is given whole or not at all, and one in any case.
        """

    def get_next_time() -> Awaitable[int | None]:
        """When the next domain is due, in seconds since the epoch; None with nothing that waits."""

    def open_message(id: str) -> Awaitable[BinaryIO]:
        """The octets as they are to be sent, as a seekable binary file that the caller closes.

        :raises NoSuchMessage: there is none, or nobody waits for it any more.
        """

    def record(updates: Sequence[Update], reports: Sequence[Report] = ()) -> Awaitable[None]:
        """Put down what became of recipients, and queue what reports it, in one step.

        A recipient whose state does not allow the new one (``become`` of
        :class:`~mailkit.queue.values.RecipientState` says so) stays as it is, without the attempt.
        When all of a message are
        final, its octets are given up; what is known of it stays until :meth:`forget`. The caller
        closes the spools of the reports.
        """

    def end_attempts() -> Awaitable[int]:
        """Let nobody be ``ATTEMPTING``: whoever had begun these attempts is gone.

        Such recipients are due, as they were. It is no event.

        :returns: how many there were.
        """

    def get_message(id: str) -> Awaitable[QueuedMessage]:
        """A message with all of its recipients.

        :raises NoSuchMessage: there is none.
        """

    def find_messages(
        message_id: str = "", limit: int = 100, envid: str = "", sender: Path | None = None
    ) -> Awaitable[Sequence[QueuedMessage]]:
        """Messages with a Message-ID, or an ENVID where no Message-ID is given, the last one first.

        :param message_id: with its angle brackets.
        :param envid: decoded.
        :param sender: only those with this reverse-path, whatever its letter case.
        :returns: nothing where neither is given.
        """

    def get_attempts(id: str) -> Awaitable[Sequence[tuple[int, Attempt]]]:
        """All attempts for a message, the first one first, each with its recipient's id."""

    def list_messages(
        after: str = "", limit: int = 100, finished: bool = False
    ) -> Awaitable[Sequence[QueuedMessage]]:
        """Messages in the order in which they were queued.

        :param after: the last id that the caller has seen.
        :param finished: those too for which nothing more will happen.
        """

    def order(order: Order, id: str, now: int) -> Awaitable[int]:
        """Do something with all recipients of a message that are not final.

        Nothing lets a message be sent before the ``hold_until`` of its envelope.

        :returns: how many recipients that changed.
        :raises NoSuchMessage: there is no such message.
        """

    def flush(
        now: int, domain: str = "", subdomains: bool = False, ahead: bool = False
    ) -> Awaitable[int]:
        """Let what has failed before be due now; what is due, scheduled or held stays as it is.

        What was tried before the ``hold_until`` of its envelope, by a clock that was ahead, is scheduled
        for then.

        :param domain: only what goes there; nothing for all domains.
        :param subdomains: what goes to its subdomains too.
        :param ahead: only those whose last attempt lies more than a minute in the future, and new
            ones that were due at once then: the clock was ahead, so that they would wait for too
            long. Those too that were queued then and may be taken back: a minute of that stays.
        :returns: how many recipients that changes, some thousand at most; then there may be more for
            another call.
        """

    def get_size() -> Awaitable[tuple[int, int]]:
        """How many messages somebody waits for, and how many octets they have."""

    def count(limit: int, account: str = "", domain: str = "") -> Awaitable[int]:
        """How many messages of an account, or recipients in a domain, somebody waits for.

        :param limit: where counting ends.
        :param domain: in canonical form; where there is none, an account is counted.
        """

    def forget(before: int) -> Awaitable[int]:
        """Remove what is known of messages that were finished before a time.

        :returns: how many there were, at most some thousand; more are left for another call.
        """

    def watch(callback: Callable[[str], None]) -> Callable[[], None]:
        """Call ``callback(domain)`` on the reactor's thread when something is new in a domain.

        Calls may be merged. Changes by another process may not be told.

        :returns: a function that ends the watch.
        """


class IPostponingQueue(Interface):
    """What a queue may also do: put down in one step that a domain cannot be reached.

    Without it there is a step for each recipient.
    """

    def postpone(domain: str, postponement: Postponement, limit: int) -> Awaitable[int]:
        """Let all who are due in a domain be ``DEFERRED``, with one more attempt.

        Left alone are recipients of messages that have expired or wait for longer than the
        postponement says, or that have a time by which they are to be delivered (RFC 2852): each of
        these needs a judgement of its own.

        :param domain: in canonical form.
        :param limit: of recipients.
        :returns: how many there were.
        """

    def list_tried(limit: int) -> Awaitable[Sequence[str]]:
        """Domains with recipients who wait after an attempt has failed, in any order."""


class IQueueEvents(Interface):
    """What a queue may also do: keep what happens until others have heard of it.

    Nothing is kept while there are no listeners.
    """

    def list_listeners() -> Awaitable[Sequence[str]]:
        """Those who are to hear of events."""

    def change_listeners(
        add: Collection[str] = (), remove: Collection[str] = ()
    ) -> Awaitable[None]:
        """Name some who are to hear of events, and others who are not any more.

        Who is new hears of what happens from now on.
        """

    def list_events(listener: str, limit: int) -> Awaitable[Sequence[QueueEvent]]:
        """The oldest events that a listener has not acknowledged."""

    def get_last_event() -> Awaitable[int]:
        """The number of the last event that was kept; 0 before the first."""

    def acknowledge(listener: str, through: int) -> Awaitable[None]:
        """A listener has heard of all events up to one."""


class IQueueingStore(Interface):
    """A store with an outbound queue, which takes a message together with the mailboxes."""

    queue: IQueue = Attribute("""The queue; always the same.""")
