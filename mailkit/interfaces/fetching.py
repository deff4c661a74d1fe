"""What an account remembers of the servers that mail is fetched from."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence

from zope.interface import Interface

from mailkit.model import AppendResult, FetchedBefore, FetchedMessage


class IFetchMemory(Interface):
    """An account that takes each message of another server's maildrop once.

    A source is a text that names a maildrop: the same one for the same maildrop, always. What is
    remembered does not go when the messages are moved or removed.
    """

    def append_fetched(
        mailbox: str, source: str, messages: Sequence[FetchedMessage]
    ) -> Awaitable[AppendResult]:
        """Add messages to a mailbox and remember them: all of that, durably, or nothing.

        Messages of the source that are remembered already are left out. One that is remembered as
        gone is another message if its digest is another one, and takes its place; otherwise it has
        not gone. It has not gone either if one of its ``others`` is gone and has its digest: they
        change places, and it keeps its time. The caller keeps the spools and closes them afterwards.

        :returns: the UIDs of those that were added.
        :raises NoSuchMailbox: there is no such mailbox in this account.
        """

    def list_fetched(source: str) -> Awaitable[Mapping[str, FetchedBefore]]:
        """The messages of a source that were taken, by their unique-ids."""

    def mark_gone(source: str, unique_ids: Collection[str]) -> Awaitable[None]:
        """Remember, durably, that messages are gone from the source, or about to be deleted there.

        Unknown ones mean nothing.
        """

    def forget_fetched(source: str, unique_ids: Collection[str]) -> Awaitable[None]:
        """Forget messages that are not at the source any more; unknown ones mean nothing."""
