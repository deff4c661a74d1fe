"""Commands after login (RFC 3501 section 6.3; RFC 2177, 2342, 5161, 6154)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from mailkit.errors import PermissionDenied
from mailkit.imap.grammar import Arguments, Command, SyntaxFault
from mailkit.imap.handlers.table import AUTHENTICATED, Capability, Verb, Waiting, after_login
from mailkit.imap.listing import Listed, Listing, list_subscribed
from mailkit.interfaces import IMailAccount, IMailboxAdmin
from mailkit.model import NEW_ACCOUNT_MAILBOXES, SEPARATOR

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Patterns of one LIST.
MAX_PATTERNS = 100

#: What CREATE can make a mailbox for; \\All and \\Flagged would have to be views of others.
SPECIAL_USES = frozenset(use for use in NEW_ACCOUNT_MAILBOXES.values() if use is not None)

#: Extensions that ENABLE can switch on (RFC 5161).
ENABLEABLE: frozenset[bytes] = frozenset((b"CONDSTORE", b"QRESYNC"))


def _account(connection: IMAPProtocol) -> IMailAccount:
    account = connection.account
    assert account is not None
    return account


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
    if not arguments.at_end():
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
    await _admin(connection).delete_mailbox(name=name)
    selection = connection.selection
    if selection is not None and selection.mailbox.name == name:
        # The client's own doing: no reason to end the session.
        connection.unselect()
        connection.write(b"* OK [CLOSED] The selected mailbox is gone\r\n")
    await connection.complete("DELETE completed")


async def rename(connection: IMAPProtocol, command: Command) -> None:
    """RFC 3501 section 6.3.5"""
    arguments = command.arguments
    arguments.space()
    old = arguments.mailbox()
    arguments.space()
    new = arguments.mailbox()
    arguments.end()
    await _admin(connection).rename_mailbox(name=old, new_name=new)
    await connection.complete("RENAME completed")


async def subscribe(connection: IMAPProtocol, command: Command) -> None:
    """RFC 3501 section 6.3.6"""
    name = _only_mailbox(command.arguments)
    await _admin(connection).subscribe(name=name)
    await connection.complete("SUBSCRIBE completed")


async def unsubscribe(connection: IMAPProtocol, command: Command) -> None:
    """RFC 3501 section 6.3.7"""
    name = _only_mailbox(command.arguments)
    await _admin(connection).unsubscribe(name=name)
    await connection.complete("UNSUBSCRIBE completed")


def _only_mailbox(arguments: Arguments) -> str:
    arguments.space()
    name = arguments.mailbox()
    arguments.end()
    return name


# Listing.


async def list_mailboxes(connection: IMAPProtocol, command: Command) -> None:
    """RFC 3501 section 6.3.8; with options as far as RFC 6154 wants them (RFC 5258 syntax)."""
    arguments = command.arguments
    arguments.space()
    select_special = False
    if arguments.looking_at(b"("):
        select_special = bool(_options(arguments, frozenset((b"SPECIAL-USE",))))
        arguments.space()
    reference = arguments.list_reference()
    arguments.space()
    if arguments.looking_at(b"("):
        patterns = arguments.parenthesized(arguments.list_pattern)
        if len(patterns) > MAX_PATTERNS:
            raise SyntaxFault(f"LIST takes at most {MAX_PATTERNS} patterns")
    else:
        patterns = [arguments.list_pattern()]
    wanted: set[bytes] = set()
    if not arguments.at_end():
        arguments.space()
        if not arguments.accept_word(b"RETURN"):
            raise SyntaxFault("There is more behind the command than belongs there")
        arguments.space()
        wanted = _options(arguments, frozenset((b"SPECIAL-USE", b"CHILDREN", b"SUBSCRIBED")))
    arguments.end()
    if patterns == [""]:
        # RFC 3501 section 6.3.8: asks for the separator and the root of the reference.
        lines = [Listed("", ["\\Noselect"])]
    else:
        listing = Listing(await _account(connection).list_mailboxes())
        lines = await _collect(connection, listing.list(reference, patterns))
        if select_special:
            lines = [line for line in lines if _has_special_use(listing, line.name)]
        if b"SUBSCRIBED" in wanted:
            lines = [_with_subscription(listing, line) for line in lines]
    await _send_lines(connection, b"LIST", lines)
    await connection.complete("LIST completed")


def _options(arguments: Arguments, known: frozenset[bytes]) -> set[bytes]:
    options = arguments.parenthesized(lambda: arguments.word("An option"), empty=True)
    for option in options:
        if option not in known:
            raise SyntaxFault(f"{option.decode('ascii')} is not an option here")
    return set(options)


def _has_special_use(listing: Listing, name: str) -> bool:
    info = listing.mailboxes.get(name)
    return info is not None and info.special_use is not None


def _with_subscription(listing: Listing, line: Listed) -> Listed:
    info = listing.mailboxes.get(line.name)
    if info is None or not info.subscribed:
        return line
    return Listed(line.name, [*line.attributes, "\\Subscribed"])


async def list_subscriptions(connection: IMAPProtocol, command: Command) -> None:
    """LSUB (RFC 3501 section 6.3.9)"""
    arguments = command.arguments
    arguments.space()
    reference = arguments.list_reference()
    arguments.space()
    pattern = arguments.list_pattern()
    arguments.end()
    account = _account(connection)
    lines: Sequence[Listed]
    if not pattern:
        lines = [Listed("", ["\\Noselect"])]
    else:
        listing = Listing(await account.list_mailboxes())
        names: Sequence[str]
        if IMailboxAdmin.providedBy(account):
            names = await account.list_subscriptions()
        else:
            names = [info.name for info in listing.mailboxes.values() if info.subscribed]
        found = list_subscribed(names, listing, reference, pattern)
        lines = await _collect(connection, found)
    await _send_lines(connection, b"LSUB", lines)
    await connection.complete("LSUB completed")


async def _collect(connection: IMAPProtocol, found: Iterator[Listed | None]) -> list[Listed]:
    lines = []
    for line in found:
        if line is not None:
            lines.append(line)
        await connection.drain()
    return lines


async def _send_lines(connection: IMAPProtocol, response: bytes, lines: Sequence[Listed]) -> None:
    for line in lines:
        await connection.send(line.render(response))


def namespace(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 2342 section 5: personal mailboxes alone, and every name is one."""
    command.arguments.end()
    connection.write(b'* NAMESPACE (("" "%b")) NIL NIL\r\n' % SEPARATOR.encode("ascii"))
    connection.ok("NAMESPACE completed")
    return None


# Extensions.


def enable(connection: IMAPProtocol, command: Command) -> Waiting:
    """RFC 5161 section 3.1: unknown names are ignored."""
    arguments = command.arguments
    names = []
    while not arguments.at_end():
        arguments.space()
        names.append(arguments.word("A capability"))
    if not names:
        raise SyntaxFault("ENABLE takes names of capabilities")
    fresh = [
        name
        for name in dict.fromkeys(names)
        if name in ENABLEABLE & connection.factory.extensions and name not in connection.enabled
    ]
    connection.write(b"* ENABLED%b\r\n" % b"".join(b" " + name for name in fresh))
    if b"QRESYNC" in fresh:
        connection.enable_qresync()
    elif fresh:
        connection.enable_condstore()
    connection.ok("ENABLE completed")
    return None


async def idle(connection: IMAPProtocol, command: Command) -> None:
    """RFC 2177 section 3"""
    command.arguments.end()

    def done(line: bytes | None) -> Waiting:
        connection.stop_idling()
        if line is None or line.upper() != b"DONE":
            raise SyntaxFault("IDLE is ended by DONE")
        return connection.complete("IDLE completed")

    connection.write(b"+ idling\r\n")
    # Before the mark is looked at: from here on a change wakes the connection.
    connection.start_idling(done)
    await connection.announce()


VERBS: Mapping[bytes, Verb] = {
    b"CREATE": Verb(AUTHENTICATED, create),
    b"DELETE": Verb(AUTHENTICATED, delete),
    b"RENAME": Verb(AUTHENTICATED, rename),
    b"SUBSCRIBE": Verb(AUTHENTICATED, subscribe),
    b"UNSUBSCRIBE": Verb(AUTHENTICATED, unsubscribe),
    b"LIST": Verb(AUTHENTICATED, list_mailboxes),
    b"LSUB": Verb(AUTHENTICATED, list_subscriptions),
    b"NAMESPACE": Verb(AUTHENTICATED, namespace, extension=b"NAMESPACE"),
    b"ENABLE": Verb(AUTHENTICATED, enable, extension=b"ENABLE"),
    b"IDLE": Verb(AUTHENTICATED, idle, extension=b"IDLE"),
}


CAPABILITIES: Sequence[Capability] = (
    Capability(b"ENABLE"),
    Capability(b"IDLE"),
    Capability(b"NAMESPACE", after_login),
    Capability(b"CHILDREN", after_login),
    Capability(b"SPECIAL-USE", after_login),
    Capability(b"CREATE-SPECIAL-USE", provides=IMailboxAdmin),
)
