"""Backends that can less, or take their time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import directlyProvides, implementer, providedBy

from mailkit.interfaces import IMailAccount, IMailbox, IWritableMailbox


@implementer(IMailbox)
class ReadOnlyMailbox:
    """The required methods of a mailbox alone."""

    METHODS = ("get_info", "list_uids", "get_messages", "open_message", "get_changes")

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox
        for name in self.METHODS:
            setattr(self, name, getattr(mailbox, name))

    @property
    def name(self) -> str:
        return str(self._mailbox.name)


@implementer(IWritableMailbox)
class PlainMailbox(ReadOnlyMailbox):
    """A mailbox that can be changed, without any optional ability."""

    METHODS = (*ReadOnlyMailbox.METHODS, "append", "store_flags", "expunge")


@implementer(IMailAccount)
class PlainAccount:
    """An account whose mailboxes cannot be made or renamed, and are of a plain class."""

    def __init__(self, account: Any, mailbox_class: Callable[[Any], Any] = PlainMailbox) -> None:
        self._account = account
        self._mailbox_class = mailbox_class
        self.name = account.name
        self.list_mailboxes = account.list_mailboxes

    async def open_mailbox(self, name: str) -> Any:
        return self._mailbox_class(await self._account.open_mailbox(name=name))


class LateWatch:
    """A mailbox that tells of changes only when the test says so."""

    def __init__(self, mailbox: Any) -> None:
        self._mailbox = mailbox
        self._late: list[Callable[[], None]] = []
        directlyProvides(self, providedBy(mailbox))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._mailbox, name)

    def watch(self, callback: Callable[[], None]) -> Callable[[], None]:
        end: Callable[[], None] = self._mailbox.watch(callback=lambda: self._late.append(callback))
        return end

    def tell(self) -> None:
        """Tell what was held back."""
        late, self._late = self._late, []
        for callback in late:
            callback()


class Slow:
    """Anything whose awaitable methods wait until :meth:`release`, once it is slow.

    :param after: they wait a second time with their result.
    :ivar calls: names of the methods that wait now.
    """

    PLAIN = frozenset(
        ("watch", "watch_metadata", "new_spool", "get_rights", "check_right", "get_version")
    )

    def __init__(self, inner: Any, parent: Slow | None = None, *, after: bool = False) -> None:
        self._inner = inner
        self.after = after
        #: Calls that are at work, rather than waiting to be let go on.
        self.busy = 0
        self._parent = parent
        self.slow = False
        self.fail: Exception | None = None
        self.calls: list[str] = []
        self._waiting: list[Deferred[None]] = []
        directlyProvides(self, providedBy(inner))

    @property
    def _root(self) -> Slow:
        return self if self._parent is None else self._parent._root

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._inner, name)
        if not callable(value) or name in self.PLAIN or name.startswith("_"):
            return value
        if name in ("read_fields", "read_ready"):
            # What takes a wait is not ready.
            return lambda **_: None

        async def call(**arguments: Any) -> Any:
            root = self._root
            await root._wait(name)
            if root.fail is not None:
                raise root.fail
            root.busy += 1
            try:
                result = await value(**arguments)
            finally:
                root.busy -= 1
            if root.after:
                await root._wait(name)
            return Slow(result, root) if name == "open_mailbox" else result

        return call

    async def _wait(self, name: str) -> None:
        if self.slow:
            done: Deferred[None] = Deferred()
            self.calls.append(name)
            self._waiting.append(done)
            await done

    def release(self, position: int = 0) -> None:
        """Let one of the waiting calls go on; the one that waits longest, if not told which."""
        self.calls.pop(position)
        self._waiting.pop(position).callback(None)

    def release_all(self) -> None:
        """Let everything go on, and be fast from now on."""
        self.slow = False
        while self._waiting:
            self.release()
