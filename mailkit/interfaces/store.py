"""The contracts of a store that keeps the mail of many accounts."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from zope.interface import Interface

from mailkit.interfaces.account import IMailAccount
from mailkit.model import LocalDelivery, LocalResult
from mailkit.spool import Spool


class IMailStore(Interface):
    """Keeps the mail of many accounts."""

    def open_account(name: str) -> Awaitable[IMailAccount]:
        """The account of that canonical name.

        :raises NoSuchAccount: there is none.
        """

    def deliver(
        message: Spool, deliveries: Sequence[LocalDelivery]
    ) -> Awaitable[Sequence[LocalResult]]:
        """Put one message into several mailboxes, keeping its octets once; durable on return.

        A mailbox that is missing is replaced by INBOX. Failures are told by recipient.
        """

    def close() -> Awaitable[None]:
        """Finish what was accepted, flush, and release the files. No call may follow."""


class IKeyValueStore(Interface):
    """A store that also remembers small things for a time, such as whom greylisting has seen.

    Nothing of it is worth a flush of its own: values are missing after a crash, and when there are
    too many of their kind.
    """

    def get_value(kind: str, key: str) -> Awaitable[str | None]:
        """The value of a key, or None when there is none (any more).

        :param kind: what the values are about; keys of different kinds are apart.
        """

    def set_value(kind: str, key: str, value: str, seconds: float) -> Awaitable[None]:
        """Keep a value for so long, instead of the one that the key had; readable on return.

        :param key: some hundred characters at most.
        :raises StoreUnavailable: it cannot be kept just now.
        """


class IProcessChannel(Interface):
    """A store through which the processes that have it open tell each other short things.

    For what should be known soon everywhere and need not be kept, such as that an address has
    failed to log in: a message is lost where a process is just starting, or where the one that passes
    messages on has just ended. A store of one process may leave this out.
    """

    def send_message(topic: str, message: Any) -> None:
        """Tell all other processes, not this one.

        :param topic: a name that nobody else uses, such as that of the module.
        :param message: what JSON can hold, 64 KiB of it at most.
        :raises ValueError: it is longer.
        """

    def listen(topic: str, callback: Callable[[Any], None]) -> Callable[[], None]:
        """Call ``callback(message)`` with messages of other processes, on the reactor's thread.

        :returns: a function that ends that.
        """


class IProcessLocks(Interface):
    """A store that several processes may have open, with names that one of them has at a time.

    For what must not be done twice at once, such as sending what is queued. A store of one process
    leaves this out.
    """

    def try_lock(name: str) -> Callable[[], None] | None:
        """Take a name. When the process ends, however that happens, the name is free again.

        :returns: a function that gives it back; None when somebody has it.
        """

    def when_shared(callback: Callable[[], None]) -> Callable[[], None]:
        """Call a function once, at once or as soon as another process has the store open, too.

        For names that are taken so often that they are to cost nothing before. All that are had then
        must be taken in the call.

        :returns: a function that ends the waiting.
        """

    def others_know() -> bool:
        """Whether the other processes have been told of this one, as ``when_shared`` has it; false again
        while it has lost them.

        Before, a name that is free may be had by one that saw no need to take it.
        """
