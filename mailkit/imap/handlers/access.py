"""Access control lists (RFC 4314), and MYRIGHTS as an option of LIST (RFC 8440)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mailkit.errors import PermissionDenied
from mailkit.imap import render
from mailkit.imap.grammar import Arguments, Command, SyntaxFault
from mailkit.imap.handlers.table import AUTHENTICATED, Capability, ReturnOption, Verb
from mailkit.interfaces import IAccessControl
from mailkit.model import MailboxInfo
from mailkit.rights import NEGATIVE, Rights, RightsOp, UnknownRight, format_rights, parse_rights
from mailkit.wire.saslprep import Unprepared, saslprep

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

_OPERATIONS = {"+": RightsOp.ADD, "-": RightsOp.REMOVE}


def _account(connection: IMAPProtocol) -> IAccessControl:
    """The account as one that shares mailboxes.

    :raises PermissionDenied: it is none.
    """
    account: Any = connection.account
    if not IAccessControl.providedBy(account):
        raise PermissionDenied("The mailboxes of this account cannot be shared")
    shared: IAccessControl = account
    return shared


def _read_mailbox(arguments: Arguments) -> str:
    arguments.space()
    return arguments.mailbox()


def _read_identifier(arguments: Arguments) -> tuple[bytes, str]:
    """An identifier as it was sent, and prepared (RFC 4314 section 3)."""
    arguments.space()
    octets = arguments.astring("The identifier")
    text = arguments.text(octets, "The identifier")
    try:
        prepared = saslprep(text)
    except Unprepared as error:
        raise SyntaxFault(f"The identifier contains {error}") from None
    if not prepared.removeprefix(NEGATIVE):
        raise SyntaxFault("The identifier is empty")
    return octets, prepared


def _read_rights(arguments: Arguments) -> tuple[RightsOp, Rights]:
    """``+lr``: the third argument of SETACL (RFC 4314 section 3.1)."""
    arguments.space()
    text = arguments.text(arguments.astring("The rights"), "The rights")
    op = _OPERATIONS.get(text[:1], RightsOp.REPLACE)
    try:
        return op, parse_rights(text if op is RightsOp.REPLACE else text[1:])
    except UnknownRight as error:
        raise SyntaxFault(str(error)) from None


def _rights(rights: Rights) -> bytes:
    return render.astring(format_rights(rights, obsolete=True).encode("ascii"))


async def set_acl(connection: IMAPProtocol, command: Command) -> None:
    """RFC 4314 section 3.1"""
    arguments = command.arguments
    name = _read_mailbox(arguments)
    _, identifier = _read_identifier(arguments)
    op, rights = _read_rights(arguments)
    arguments.end()
    await _account(connection).set_acl(name=name, identifier=identifier, rights=rights, op=op)
    await connection.complete("SETACL completed")


async def delete_acl(connection: IMAPProtocol, command: Command) -> None:
    """RFC 4314 section 3.2"""
    name = _read_mailbox(command.arguments)
    _, identifier = _read_identifier(command.arguments)
    command.arguments.end()
    await _account(connection).delete_acl(name=name, identifier=identifier)
    await connection.complete("DELETEACL completed")


async def get_acl(connection: IMAPProtocol, command: Command) -> None:
    """RFC 4314 section 3.3"""
    name = _read_mailbox(command.arguments)
    command.arguments.end()
    parts = [b"* ACL", connection.mailbox_name(name)]
    for identifier, rights in await _account(connection).get_acl(name=name):
        parts += (render.astring(identifier.encode("utf-8")), _rights(rights))
    await connection.send(b" ".join(parts) + b"\r\n")
    await connection.complete("GETACL completed")


async def list_rights(connection: IMAPProtocol, command: Command) -> None:
    """RFC 4314 section 3.4"""
    name = _read_mailbox(command.arguments)
    octets, identifier = _read_identifier(command.arguments)
    command.arguments.end()
    listed = await _account(connection).list_rights(name=name, identifier=identifier)
    # The same form of the identifier as the client's; each right can be had without the others.
    parts = [
        b"* LISTRIGHTS",
        connection.mailbox_name(name),
        render.astring(octets),
        _rights(listed.required),
        *(letter.encode("ascii") for letter in format_rights(listed.optional, obsolete=True)),
    ]
    await connection.send(b" ".join(parts) + b"\r\n")
    await connection.complete("LISTRIGHTS completed")


async def my_rights(connection: IMAPProtocol, command: Command) -> None:
    """RFC 4314 section 3.5"""
    name = _read_mailbox(command.arguments)
    command.arguments.end()
    rights = await _account(connection).my_rights(name=name)
    await connection.send(_my_rights_line(connection, name, rights))
    await connection.complete("MYRIGHTS completed")


def _my_rights_line(connection: IMAPProtocol, name: str, rights: Rights) -> bytes:
    return b"* MYRIGHTS %b %b\r\n" % (connection.mailbox_name(name), _rights(rights))


async def _answer_my_rights(connection: IMAPProtocol, info: MailboxInfo, _: Any) -> bytes:
    return _my_rights_line(
        connection, info.name, await _account(connection).my_rights(name=info.name)
    )


VERBS: Mapping[bytes, Verb] = {
    b"SETACL": Verb(AUTHENTICATED, set_acl, extension=b"ACL"),
    b"DELETEACL": Verb(AUTHENTICATED, delete_acl, extension=b"ACL"),
    b"GETACL": Verb(AUTHENTICATED, get_acl, extension=b"ACL"),
    b"LISTRIGHTS": Verb(AUTHENTICATED, list_rights, extension=b"ACL"),
    b"MYRIGHTS": Verb(AUTHENTICATED, my_rights, extension=b"ACL"),
}

CAPABILITIES: Sequence[Capability] = (
    Capability(b"ACL", provides=IAccessControl),
    # RFC 4314 section 5.1.1: the rights that RFC 2086 does not know.
    Capability(b"RIGHTS=texkn", needs=b"ACL", provides=IAccessControl),
    Capability(b"LIST-MYRIGHTS", needs=(b"ACL", b"LIST-EXTENDED"), provides=IAccessControl),
)

LIST_OPTIONS: Mapping[bytes, ReturnOption] = {
    b"MYRIGHTS": ReturnOption(b"LIST-MYRIGHTS", answer=_answer_my_rights),
}
