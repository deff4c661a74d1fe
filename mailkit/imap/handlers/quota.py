"""GETQUOTA, GETQUOTAROOT and SETQUOTA (RFC 9208; RFC 2087 for old clients)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from mailkit.imap import render
from mailkit.imap.grammar import Arguments, Command, SyntaxFault
from mailkit.imap.handlers.table import AUTHENTICATED, Capability, Verb
from mailkit.interfaces import IQuotaAccount, IQuotaAdmin
from mailkit.model import Quota

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: RFC 9208 section 5.1: STORAGE is told in units of so many octets.
STORAGE_UNIT = 1024
#: The highest limit that can be set: a store counts octets in 63 bits.
MAX_LIMIT = 2**63 // STORAGE_UNIT - 1


class Resource(NamedTuple):
    """What a quota root limits (RFC 9208 section 5)."""

    name: bytes
    #: Octets or pieces of it that a usage or limit of 1 stands for.
    unit: int = 1

    def read(self, quota: Quota) -> tuple[int, int | None]:
        """Usage and limit, in units; what has been begun of a unit is used."""
        used, limit = {
            b"STORAGE": (quota.octets, quota.max_octets),
            b"MESSAGE": (quota.messages, quota.max_messages),
            b"MAILBOX": (quota.mailboxes, quota.max_mailboxes),
        }[self.name]
        return -(-used // self.unit), None if limit is None else limit // self.unit

    @property
    def capability(self) -> bytes:
        """What announces it."""
        return b"QUOTA=RES-" + self.name


RESOURCES = (Resource(b"STORAGE", STORAGE_UNIT), Resource(b"MESSAGE"), Resource(b"MAILBOX"))


def _account(connection: IMAPProtocol) -> IQuotaAccount:
    account = connection.account
    if not IQuotaAccount.providedBy(account):
        raise SyntaxFault("There are no quotas for this account")
    return account


def _root(arguments: Arguments) -> str:
    arguments.space()
    return arguments.text(arguments.astring("A quota root"), "The name of a quota root")


def _resources(connection: IMAPProtocol) -> list[Resource]:
    """Those that the client is offered."""
    return [resource for resource in RESOURCES if connection.offers(resource.capability)]


def _render(connection: IMAPProtocol, root: str, quota: Quota) -> bytes:
    """The QUOTA response; RFC 9208 section 4.2.1: what it does not name is not limited."""
    triplets = []
    for resource in _resources(connection):
        used, limit = resource.read(quota)
        if limit is not None:
            triplets.append(b"%b %d %d" % (resource.name, used, limit))
    name = render.astring(root.encode("utf-8"))
    return b"* QUOTA %b (%b)\r\n" % (name, b" ".join(triplets))


async def get_quota(connection: IMAPProtocol, command: Command) -> None:
    """RFC 9208 section 4.1.1"""
    account = _account(connection)
    root = _root(command.arguments)
    command.arguments.end()
    connection.write(_render(connection, root, await account.get_quota_root(root=root)))
    await connection.complete("GETQUOTA completed")


async def get_quota_root(connection: IMAPProtocol, command: Command) -> None:
    """RFC 9208 section 4.1.2"""
    account = _account(connection)
    command.arguments.space()
    mailbox = command.arguments.mailbox()
    command.arguments.end()
    roots = await account.get_quota_roots(mailbox=mailbox)
    quotas = [(root, await account.get_quota_root(root=root)) for root in roots]
    names = b"".join(b" " + render.astring(root.encode("utf-8")) for root in roots)
    connection.write(b"* QUOTAROOT %b%b\r\n" % (connection.mailbox_name(mailbox), names))
    for root, quota in quotas:
        connection.write(_render(connection, root, quota))
    await connection.complete("GETQUOTAROOT completed")


async def set_quota(connection: IMAPProtocol, command: Command) -> None:
    """RFC 9208 section 4.1.3: whatever is not named is not limited any more."""
    account = _account(connection)
    arguments = command.arguments
    root = _root(arguments)
    arguments.space()
    limits = _read_limits(arguments)
    arguments.end()
    known = {resource.name: resource for resource in _resources(connection)}
    for name, limit in limits.items():
        text = name.decode("ascii")
        if name not in known:
            connection.no(f"{text} cannot be limited here", b"CANNOT")
            return
        if not 0 < limit <= MAX_LIMIT:
            connection.no(f"{text} can be limited to 1 at least and {MAX_LIMIT} at most", b"LIMIT")
            return
    if not IQuotaAdmin.providedBy(account):
        raise SyntaxFault("The quotas of this account cannot be changed")
    octets = limits.get(b"STORAGE")
    await account.set_quota_root(
        root=root,
        max_octets=None if octets is None else octets * STORAGE_UNIT,
        max_messages=limits.get(b"MESSAGE"),
        max_mailboxes=limits.get(b"MAILBOX"),
    )
    connection.write(_render(connection, root, await account.get_quota_root(root=root)))
    await connection.complete("SETQUOTA completed")


def _read_limits(arguments: Arguments) -> dict[bytes, int]:
    """``(STORAGE 512 MESSAGE 1000)``"""
    limits: dict[bytes, int] = {}

    def read() -> None:
        name = arguments.word("A resource")
        arguments.space()
        if name in limits:
            raise SyntaxFault(f"{name.decode('ascii')} is given twice")
        limits[name] = arguments.number64()

    arguments.parenthesized(read, empty=True)
    return limits


VERBS: Mapping[bytes, Verb] = {
    b"GETQUOTA": Verb(AUTHENTICATED, get_quota, extension=b"QUOTA"),
    b"GETQUOTAROOT": Verb(AUTHENTICATED, get_quota_root, extension=b"QUOTA"),
    b"SETQUOTA": Verb(AUTHENTICATED, set_quota, extension=b"QUOTASET"),
}

CAPABILITIES: Sequence[Capability] = (
    Capability(b"QUOTA", provides=IQuotaAccount),
    *(Capability(r.capability, needs=b"QUOTA", provides=IQuotaAccount) for r in RESOURCES),
    Capability(b"QUOTASET", needs=b"QUOTA", provides=IQuotaAdmin),
)
