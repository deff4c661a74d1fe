"""The contracts of limits, as a user sees them who is logged in (RFC 9208)."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from zope.interface import Interface

from mailkit.model import DeletedCount, Quota


class IQuotaAccount(Interface):
    """An account that tells how much room there is."""

    def get_quota_roots(mailbox: str) -> Awaitable[Sequence[str]]:
        """Names of the quota roots that count a mailbox, which need not exist.

        :raises PermissionDenied: that is not for this account to know.
        """

    def get_quota_root(root: str) -> Awaitable[Quota]:
        """What there is under a quota root and may be, inherent limits of the store included.

        :raises NoSuchQuotaRoot: there is none, or it is somebody else's.
        """


class IQuotaAdmin(IQuotaAccount):
    """An account whose user may perhaps change limits."""

    def set_quota_root(
        root: str, max_octets: int | None, max_messages: int | None, max_mailboxes: int | None
    ) -> Awaitable[None]:
        """Change all limits of a quota root; None takes a limit away, 0 is none that can be.

        :raises PermissionDenied: the user is no administrator.
        :raises NoSuchQuotaRoot: there is none.
        """


class IDeletedCounter(Interface):
    """A mailbox that counts its messages with \\Deleted faster than by looking at all."""

    def count_deleted() -> Awaitable[DeletedCount]:
        """How many there are, and their octets."""
