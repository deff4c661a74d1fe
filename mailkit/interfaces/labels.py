"""The contracts of labels: in which mailboxes of an account a message is besides."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Mapping, Sequence

from zope.interface import Interface

from mailkit.interfaces.account import IObjectIdentifiers
from mailkit.model import FlagOp, Flags, StoreResult


class ILabellingAccount(IObjectIdentifiers):
    """An account whose own mailboxes provide :class:`ILabelledMailbox`.

    Its identifiers are numbers from 1 to 2**63-1: an ``email_id`` is ``M`` and hexadecimal digits in
    lower case that begin with no 0, a ``thread_id`` is ``T`` and the like.
    """


class ILabelledMailbox(Interface):
    """A mailbox that knows which others of its account hold copies of its messages.

    Copies are messages with the same ``email_id``.
    """

    def get_labels(uids: Sequence[int]) -> Awaitable[Mapping[int, Sequence[str]]]:
        """Names of the other mailboxes that hold a copy, sorted, by UID; none is no entry.

        Callers ask for at most some hundred at a time.

        :param uids: ascending.
        """

    def find_labelled(name: str) -> Awaitable[Sequence[int]]:
        """UIDs of the messages of which another mailbox holds a copy, ascending.

        :param name: of that mailbox in canonical form; it need not exist.
        """

    def change_labels(
        uids: Sequence[int], op: FlagOp, names: Collection[str], flags: Flags
    ) -> Awaitable[StoreResult]:
        """Copy messages into other mailboxes, or remove the copies there, all or none, durably.

        Where there is a copy already no other is made; a mailbox that does not exist is. The messages
        themselves stay in any case, so that no step removes the last copy. UIDs that do not exist are
        left out of the result. What COPY counts is checked against the quota.

        :param names: of mailboxes of the account; with ``FlagOp.REPLACE`` they become all that
            hold copies. Its own adds nothing.
        :param flags: of :data:`mailkit.model.LABEL_FLAGS`: changed likewise in this mailbox,
            before anything is copied.
        :raises PermissionDenied: ``FlagOp.REMOVE`` names the mailbox itself, or a name is that of
            somebody else's mailbox.
        :raises InvalidMailboxName: a mailbox cannot be made under that name.
        """
