"""Commands after login (RFC 3501 section 6.3; RFC 2177, 2342, 5161, 6154)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import PermissionDenied
from mailkit.imap.grammar import Arguments, Command, SyntaxFault
from mailkit.imap.handlers.rev2 import tell_normalized
from mailkit.imap.handlers.table import AUTHENTICATED, Capability, Verb, Waiting, after_login
from mailkit.imap.notify import Event
from mailkit.interfaces import IAccessControl, IMailboxAdmin
from mailkit.model import NEW_ACCOUNT_MAILBOXES, SEPARATOR, OtherNamespaces
from mailkit.translation import DEFAULT_LANGUAGE, translate

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: What CREATE can make a mailbox for; \\All and \\Flagged would have to be views of others.
SPECIAL_USES = frozenset(
    ("\\Important", *(use for use in NEW_ACCOUNT_MAILBOXES.values() if use is not None))
)

#: What people call the mailboxes of other users, and those that are shared.
NAMESPACE_TITLES = ("Other users", "Shared folders")

#: Names that one ENABLE may have.
MAX_ENABLED = 200


def _admin(connection: IMAPProtocol) -> IMailboxAdmin:
    """The account as one whose mailboxes can be changed.

    :raises PermissionDenied: it is none.
    """
    account = connection.account
    if not IMailboxAdmin.providedBy(account):
        raise PermissionDenied("The mailboxes of this account cannot be changed")
    return account


# Mailboxes.


async def create(connection: IMAPProtocol, command: Command) -> None:
    """RFC 3501 section 6.3.3; with a special use RFC 6154 section 3."""
    arguments = command.arguments
    arguments.space()
    name = arguments.mailbox()
    uses: list[str] = []
    if not arguments.at_end() and connection.offers(b"CREATE-SPECIAL-USE"):
        arguments.space()
        uses = _read_uses(arguments)
    arguments.end()
    admin = _admin(connection)
    if len(name) > 1 and name.endswith(SEPARATOR):
        # RFC 3501 section 6.3.3: only says that mailboxes will be made below it.
        name = name[:-1]
    if len(uses) > 1 or not SPECIAL_USES.issuperset(uses):
        connection.no(f"A mailbox can have one of {' '.join(sorted(SPECIAL_USES))}", b"USEATTR")
        return
    info = await admin.create_mailbox(name=name, special_use=uses[0] if uses else None)
    connection.note_own(Event.MAILBOX_NAME, info.name)
    tell_normalized(connection, info.name, arguments.denormalized)
    code = b""
    if connection.offers(b"OBJECTID"):
        # RFC 8474 section 4.1
        code = b"MAILBOXID (%b)" % info.mailbox_id.encode("ascii")
    await connection.complete("CREATE completed", code)


def _read_uses(arguments: Arguments) -> list[str]:
    """``(USE (\\Sent))``"""
    arguments.expect(b"(")
    if arguments.word("A parameter") != b"USE":
        raise SyntaxFault("CREATE takes no parameter but USE")
    arguments.space()

    def attribute() -> str:
        arguments.expect(b"\\")
        return "\\" + arguments.atom("A special use").decode("ascii").capitalize()

    uses = arguments.parenthesized(attribute, empty=True)
    arguments.expect(b")")
    return uses


async def delete(connection: IMAPProtocol, command: Command) -> None:
    """RFC 3501 section 6.3.4"""
    name = _only_mailbox(command.arguments)
    selection = connection.selection
    # Asked before: one that is gone need not know how it was called last.
    is_selected = selection is not None and selection.mailbox.name == name
    await _admin(connection).delete_mailbox(name=name)
    connection.note_own(Event.MAILBOX_NAME, name)
    tell_normalized(connection, name, command.arguments.denormalized, ["\\NonExistent"])
    if is_selected:
        # The client's own doing: no reason to end the session.
        connection.unselect()
        connection.remark(b"* OK [CLOSED] The selected mailbox is gone\r\n")
    await connection.complete("DELETE completed")


async def rename(connection: IMAPProtocol, command: Command) -> None:
    """RFC 3501 section 6.3.5"""
    arguments = command.arguments
    arguments.space()
    old = arguments.mailbox()
    given = arguments.denormalized or old
    arguments.space()
    new = arguments.mailbox()
    arguments.end()
    await _admin(connection).rename_mailbox(name=old, new_name=new)
    connection.note_own(Event.MAILBOX_NAME, new)
    if arguments.denormalized is not None:
        tell_normalized(connection, new, given)
    await connection.complete("RENAME completed")


async def subscribe(connection: IMAPProtocol, command: Command) -> None:
    """RFC 3501 section 6.3.6"""
    name = _only_mailbox(command.arguments)
    await _admin(connection).subscribe(name=name)
    connection.note_own(Event.SUBSCRIPTION_CHANGE, name)
    await connection.complete("SUBSCRIBE completed")


async def unsubscribe(connection: IMAPProtocol, command: Command) -> None:
    """RFC 3501 section 6.3.7"""
    name = _only_mailbox(command.arguments)
    await _admin(connection).unsubscribe(name=name)
    connection.note_own(Event.SUBSCRIPTION_CHANGE, name)
    await connection.complete("UNSUBSCRIBE completed")


def _only_mailbox(arguments: Arguments) -> str:
    arguments.space()
    name = arguments.mailbox()
    arguments.end()
    return name


# Namespaces.


def namespace(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 2342 section 5: names that are not others' are the user's own."""
    command.arguments.end()
    tell_namespaces(connection)
    connection.ok("NAMESPACE completed")
    return None


def tell_namespaces(connection: IMAPProtocol) -> None:
    """The response of NAMESPACE, and of LANGUAGE too (RFC 5255 section 3.4)."""
    account = connection.account
    others = OtherNamespaces()
    if IAccessControl.providedBy(account):
        others = account.namespaces
    titles = zip(("", *others), ("", *NAMESPACE_TITLES), strict=True)
    parts = [_namespace(connection, beginning, title) for beginning, title in titles]
    connection.write(b"* NAMESPACE %b\r\n" % b" ".join(parts))


def _namespace(connection: IMAPProtocol, beginning: str | None, title: str) -> bytes:
    if beginning is None:
        return b"NIL"
    translation = b""
    if title and connection.language != DEFAULT_LANGUAGE:
        name = connection.mailbox_name(translate(title, connection.language) + SEPARATOR)
        translation = b' "TRANSLATION" (%b)' % name
    prefix = connection.mailbox_name(beginning)
    return b'((%b "%b"%b))' % (prefix, SEPARATOR.encode("ascii"), translation)


# Extensions.


def enable(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 5161 section 3.1: unknown names are ignored."""
    arguments = command.arguments
    names = []
    while not arguments.at_end():
        arguments.space()
        names.append(arguments.word("A capability"))
        if len(names) > MAX_ENABLED:
            raise SyntaxFault(f"ENABLE takes at most {MAX_ENABLED} names")
    if not names:
        raise SyntaxFault("ENABLE takes names of capabilities")
    known = {
        name.upper(): name
        for name in connection.factory.enableable
        if _may_enable(connection, name)
    }
    wanted = [known[name] for name in dict.fromkeys(names) if name in known]
    fresh = [name for name in wanted if name not in connection.enabled]
    connection.write(b"* ENABLED%b\r\n" % b"".join(b" " + name for name in fresh))
    for name in fresh:
        connection.factory.enableable[name](connection)
    connection.ok("ENABLE completed")
    return None


def _may_enable(connection: IMAPProtocol, name: bytes) -> bool:
    # RFC 6855 section 6: of UTF8=ONLY, too, a client says ENABLE UTF8=ACCEPT.
    return connection.offers(name) or (name == b"UTF8=ACCEPT" and connection.offers(b"UTF8=ONLY"))


async def idle(connection: IMAPProtocol, command: Command) -> None:
    """RFC 2177 section 3"""
    command.arguments.end()
    connection.write(b"+ idling\r\n")
    # Before the mark is looked at: from here on a change wakes the connection.
    connection.start_idling(_end_idle)
    await connection.announce()


def _end_idle(connection: IMAPProtocol, line: bytes | None) -> Waiting:
    connection.stop_idling()
    if line is None or line.upper() != b"DONE":
        raise SyntaxFault("IDLE is ended by DONE")
    return connection.complete("IDLE completed")


VERBS: Mapping[bytes, Verb] = {
    b"CREATE": Verb(AUTHENTICATED, create),
    b"DELETE": Verb(AUTHENTICATED, delete),
    b"RENAME": Verb(AUTHENTICATED, rename),
    b"SUBSCRIBE": Verb(AUTHENTICATED, subscribe),
    b"UNSUBSCRIBE": Verb(AUTHENTICATED, unsubscribe),
    b"NAMESPACE": Verb(AUTHENTICATED, namespace, extension=b"NAMESPACE"),
    b"ENABLE": Verb(AUTHENTICATED, enable, extension=b"ENABLE"),
    b"IDLE": Verb(AUTHENTICATED, idle, arrivals=True, extension=b"IDLE"),
}


CAPABILITIES: Sequence[Capability] = (
    Capability(b"ENABLE"),
    Capability(b"IDLE"),
    Capability(b"NAMESPACE", after_login),
    Capability(b"CREATE-SPECIAL-USE", provides=IMailboxAdmin),
)
