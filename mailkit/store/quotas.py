"""The part of an account that tells its user of limits (RFC 9208)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from mailkit.errors import NoSuchAccount, NoSuchQuotaRoot, PermissionDenied
from mailkit.model import Quota

#: Why somebody may not change what is not the account's own.
ONLY_ADMINISTRATORS = "That is for administrators to change"


class QuotaRootAccount(ABC):
    """Mixed into a store's account: each account is a quota root of the same name."""

    name: str
    #: Mailboxes that the store lets any account have.
    inherent_mailboxes: int

    @abstractmethod
    def is_others(self, name: str) -> bool:
        """Whether a name means a mailbox of somebody else."""

    @abstractmethod
    def is_administrator(self) -> bool:
        """Whether the user may look after the accounts of others."""

    @abstractmethod
    async def read_quota(self, account: str) -> Quota:
        """:raises NoSuchAccount: there is none."""

    @abstractmethod
    async def write_quota(
        self, account: str, max_octets: int, max_messages: int, max_mailboxes: int
    ) -> None:
        """Set limits, 0 for none.

        :raises NoSuchAccount: there is none.
        """

    async def get_quota_roots(self, mailbox: str) -> Sequence[str]:
        # How much somebody else has is not for this account to know.
        return [] if self.is_others(mailbox) else [self.name]

    async def get_quota_root(self, root: str) -> Quota:
        if root != self.name and not self.is_administrator():
            raise NoSuchQuotaRoot
        try:
            quota = await self.read_quota(root)
        except NoSuchAccount:
            raise NoSuchQuotaRoot from None
        most = self.inherent_mailboxes
        return quota._replace(max_mailboxes=min(quota.max_mailboxes or most, most))

    async def set_quota_root(
        self,
        root: str,
        max_octets: int | None,
        max_messages: int | None,
        max_mailboxes: int | None,
    ) -> None:
        if not self.is_administrator():
            raise PermissionDenied(ONLY_ADMINISTRATORS)
        await self.get_quota_root(root)
        try:
            await self.write_quota(root, max_octets or 0, max_messages or 0, max_mailboxes or 0)
        except NoSuchAccount:
            raise NoSuchQuotaRoot from None
