"""A store and a directory, as far as delivery knows them."""

from __future__ import annotations

from collections.abc import Sequence

from zope.interface import implementer

from mailkit.errors import MailError, NoSuchRecipient, RelayDenied
from mailkit.interfaces import IDirectory, IMailStore, IQuotaDirectory, ISpooling
from mailkit.model import (
    ConnectionInfo,
    Envelope,
    LocalDelivery,
    LocalResult,
    Path,
    Quota,
    Recipient,
    Resolution,
)
from mailkit.spool import Spool

SENDER = Path("ann", "example.net")


@implementer(IDirectory)
class FakeDirectory:
    """Addresses of example.org by local part."""

    def __init__(self, **addresses: Resolution) -> None:
        self.addresses = addresses
        self.resolved: list[str] = []
        self.trouble: MailError | None = None

    async def resolve(self, path: Path) -> Resolution:
        self.resolved.append(str(path))
        if self.trouble is not None:
            raise self.trouble
        if path.domain not in ("example.org", ""):
            raise RelayDenied
        try:
            return self.addresses[path.local_part.lower()]
        except KeyError:
            raise NoSuchRecipient from None

    async def owns_address(self, account: str, path: Path) -> bool:
        return account == f"{path.local_part}@{path.domain}"

    async def find_account(self, login: str) -> str | None:
        raise NotImplementedError

    async def get_password_hash(self, account: str) -> str | None:
        raise NotImplementedError


@implementer(IQuotaDirectory)
class FakeQuotaDirectory(FakeDirectory):
    """The same with quotas."""

    def __init__(self, **addresses: Resolution) -> None:
        super().__init__(**addresses)
        self.quotas: dict[str, Quota] = {}

    async def get_quota(self, account: str) -> Quota:
        return self.quotas.get(account, Quota(0, 0))

    async def check_quota(self, account: str, octets: int) -> None:
        (await self.get_quota(account)).check(octets)

    async def set_quota(
        self, account: str | None, max_octets: int | None, max_messages: int | None
    ) -> None:
        raise NotImplementedError

    async def get_own_limits(
        self, account: str | None
    ) -> tuple[int | None, int | None, int | None]:
        raise NotImplementedError


@implementer(IMailStore)
class FakeStore:
    """Keeps what it gets."""

    def __init__(self) -> None:
        self.delivered: list[tuple[bytes, list[LocalDelivery]]] = []
        self.failing: dict[str, MailError] = {}
        self.trouble: Exception | None = None

    async def open_account(self, name: str) -> None:
        raise NotImplementedError

    async def deliver(
        self, message: Spool, deliveries: Sequence[LocalDelivery]
    ) -> Sequence[LocalResult]:
        if self.trouble is not None:
            raise self.trouble
        self.delivered.append((message.data or b"", list(deliveries)))
        return [LocalResult(1, 1, self.failing.get(d.account)) for d in deliveries]

    async def close(self) -> None:
        raise NotImplementedError


@implementer(ISpooling)
class SpoolingStore(FakeStore):
    """The same, with spools of its own."""

    def new_spool(self) -> Spool:
        return Spool(reserve=100)


def make_envelope(*addresses: str, sender: Path = SENDER, transaction: str = "t1") -> Envelope:
    """A transaction with these recipients."""
    recipients = [Recipient(Path(*address.rpartition("@")[::2])) for address in addresses]
    return Envelope(
        ConnectionInfo("smtp"), "client.example", sender, {}, recipients, transaction_id=transaction
    )
