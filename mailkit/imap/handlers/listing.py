"""LIST and LSUB (RFC 3501 sections 6.3.8, 6.3.9; RFC 5258, 5819, 6154)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from mailkit.errors import MailError, NoSuchMailbox
from mailkit.imap.grammar import Arguments, Command, SyntaxFault
from mailkit.imap.handlers.status import read_items, render_status
from mailkit.imap.handlers.table import AUTHENTICATED, Capability, ReturnOption, Verb, after_login
from mailkit.imap.listing import Criteria, Listed, Listing, list_subscribed
from mailkit.interfaces import IMailboxAdmin, IRemoteMailboxes
from mailkit.model import MailboxInfo

if TYPE_CHECKING:
    from mailkit.imap.connection import IMAPProtocol

#: Patterns of one LIST.
MAX_PATTERNS = 100
#: Options of one LIST.
MAX_OPTIONS = 20


class _Request(NamedTuple):
    """The arguments of one LIST."""

    reference: str
    patterns: Sequence[str]
    criteria: Criteria
    #: What is to be returned: arguments by name of the option.
    wanted: Mapping[bytes, Any]
    #: It is more than RFC 3501 knows.
    extended: bool

    @property
    def asks_for_root(self) -> bool:
        # RFC 3501 section 6.3.8: the separator. RFC 5258 section 3: not of an extended LIST.
        return self.patterns == [""] and not self.extended


async def list_mailboxes(connection: IMAPProtocol, command: Command) -> None:
    """LIST"""
    request = _read_request(connection, command.arguments)
    command.arguments.end()
    if command.verb == b"RLIST":
        # RFC 2193 section 5.1
        request = request._replace(criteria=request.criteria._replace(remote=True))
    if request.asks_for_root:
        await connection.send(Listed("", ["\\Noselect"]).render(b"LIST", connection.utf8))
    else:
        patterns = [pattern for pattern in request.patterns if pattern or not request.extended]
        listing = await _open_listing(connection, request)
        if patterns:
            await _tell(
                connection,
                listing.list(request.reference, patterns, request.criteria),
                listing,
                request.wanted,
            )
    await connection.complete("LIST completed")


def _read_request(connection: IMAPProtocol, arguments: Arguments) -> _Request:
    knows_extended = connection.offers(b"LIST-EXTENDED")
    criteria = Criteria()
    wanted: Mapping[bytes, Any] = {}
    arguments.space()
    extended = knows_extended and arguments.looking_at(b"(")
    if extended:
        criteria = _read_criteria(connection, arguments)
        arguments.space()
    reference = arguments.list_reference()
    arguments.space()
    if knows_extended and arguments.looking_at(b"("):
        extended = True
        patterns = arguments.parenthesized(arguments.list_pattern)
        if len(patterns) > MAX_PATTERNS:
            raise SyntaxFault(f"LIST takes at most {MAX_PATTERNS} patterns")
    else:
        patterns = [arguments.list_pattern()]
    if not arguments.at_end():
        arguments.space()
        if not knows_extended or not arguments.accept_word(b"RETURN"):
            raise SyntaxFault("There is more behind the command than belongs there")
        arguments.space()
        extended = True
        wanted = _read_wanted(connection, arguments)
    return _Request(reference, patterns, criteria, wanted, extended)


def _read_criteria(connection: IMAPProtocol, arguments: Arguments) -> Criteria:
    """``(SUBSCRIBED RECURSIVEMATCH)``"""
    known = {b"SUBSCRIBED", b"REMOTE", b"RECURSIVEMATCH"}
    if connection.offers(b"SPECIAL-USE"):
        known.add(b"SPECIAL-USE")

    def read() -> bytes:
        name = arguments.word("An option")
        if name not in known:
            raise SyntaxFault(f"{name.decode('ascii')} is not a selection option here")
        return name

    options = arguments.parenthesized(read, empty=True)
    if len(options) > MAX_OPTIONS:
        raise SyntaxFault(f"LIST takes at most {MAX_OPTIONS} options")
    criteria = Criteria(
        b"SUBSCRIBED" in options,
        b"SPECIAL-USE" in options,
        b"REMOTE" in options,
        b"RECURSIVEMATCH" in options,
    )
    # lenient: by the grammar of RFC 6154 section 6 SPECIAL-USE is no company for RECURSIVEMATCH,
    # but it has a sense, and RFC 5258 section 3.1 forbids RECURSIVEMATCH alone or with REMOTE.
    if criteria.recursive and not criteria.names:
        raise SyntaxFault("RECURSIVEMATCH needs another option, such as SUBSCRIBED")
    return criteria


def _read_wanted(connection: IMAPProtocol, arguments: Arguments) -> Mapping[bytes, Any]:
    """``(CHILDREN STATUS (MESSAGES))``"""
    options = connection.factory.list_options
    wanted: dict[bytes, Any] = {}
    count = 0

    def read() -> None:
        nonlocal count
        count += 1
        name = arguments.word("An option")
        option = options.get(name)
        if option is None or not connection.offers(option.extension):
            raise SyntaxFault(f"{name.decode('ascii')} is not a return option here")
        if count > MAX_OPTIONS:
            raise SyntaxFault(f"LIST takes at most {MAX_OPTIONS} options")
        # RFC 5258 section 3: an option that is given twice counts once.
        wanted[name] = option.read(connection, arguments) if option.read is not None else None

    arguments.parenthesized(read, empty=True)
    return wanted


async def _open_listing(connection: IMAPProtocol, request: _Request) -> Listing:
    account = connection.account
    assert account is not None
    mailboxes = await account.list_mailboxes()
    subscriptions: Sequence[str] | None = None
    # RFC 5258 section 3.1: selecting by a property implies returning it.
    if request.criteria.subscribed or b"SUBSCRIBED" in request.wanted:
        subscriptions = await read_subscriptions(connection, mailboxes)
    extensions = connection.extensions
    return Listing(
        mailboxes,
        subscriptions,
        remote=await _remote_names(connection),
        shows_remote=request.criteria.remote,
        extended=request.extended or connection.rev2,
        special_use=b"SPECIAL-USE" in extensions,
        children=b"CHILDREN" in extensions or b"CHILDREN" in request.wanted,
    )


async def _remote_names(connection: IMAPProtocol) -> Sequence[str]:
    """Names of mailboxes on other servers, where the client can be told of them (RFC 2193)."""
    account = connection.account
    if not IRemoteMailboxes.providedBy(account) or not connection.offers(b"MAILBOX-REFERRALS"):
        return ()
    return await account.list_remote_mailboxes()


async def read_subscriptions(
    connection: IMAPProtocol, mailboxes: Sequence[MailboxInfo]
) -> Sequence[str]:
    """The names that the account has subscribed."""
    account = connection.account
    if IMailboxAdmin.providedBy(account):
        return await account.list_subscriptions()
    return [info.name for info in mailboxes if info.subscribed]


async def _tell(
    connection: IMAPProtocol,
    found: Iterator[Listed | None],
    listing: Listing,
    wanted: Mapping[bytes, Any],
) -> None:
    """Send LIST responses, each with what the return options bring."""
    options = connection.factory.list_options
    answering = [
        (answer, value)
        for name, value in wanted.items()
        if (answer := options[name].answer) is not None
    ]
    for line in found:
        if line is None:
            await connection.drain()
        else:
            info = listing.mailboxes.get(line.name)
            answers: list[bytes] = []
            # RFC 5819 section 3: nothing of a name that is there only for those below it.
            if info is not None and line.selected:
                for answer, value in answering:
                    try:
                        answers.append(await answer(connection, info, value))
                    except NoSuchMailbox:
                        if "\\Noselect" not in line.attributes:
                            line = line._replace(attributes=["\\Noselect", *line.attributes])
                    except MailError as error:
                        connection.log.warn("LIST of {name}: {error}", name=info.name, error=error)
            await connection.send(b"".join((line.render(b"LIST", connection.utf8), *answers)))


async def list_subscriptions(connection: IMAPProtocol, command: Command) -> None:
    """LSUB (RFC 3501 section 6.3.9)"""
    arguments = command.arguments
    arguments.space()
    reference = arguments.list_reference()
    arguments.space()
    pattern = arguments.list_pattern()
    arguments.end()
    account = connection.account
    assert account is not None
    if not pattern:
        await connection.send(Listed("", ["\\Noselect"]).render(b"LSUB", connection.utf8))
    else:
        mailboxes = await account.list_mailboxes()
        extensions = connection.extensions
        remote = await _remote_names(connection)
        # RFC 2193 section 5.2: RLSUB
        shows_remote = command.verb == b"RLSUB"
        listing = Listing(
            mailboxes,
            remote=remote,
            shows_remote=shows_remote,
            special_use=b"SPECIAL-USE" in extensions,
            children=b"CHILDREN" in extensions,
        )
        names = await read_subscriptions(connection, mailboxes)
        if not shows_remote:
            names = [name for name in names if name not in remote]
        for line in list_subscribed(names, listing, reference, pattern):
            if line is None:
                await connection.drain()
            else:
                await connection.send(line.render(b"LSUB", connection.utf8))
    await connection.complete("LSUB completed")


# RFC 5819: STATUS as a return option.


def _read_status(connection: IMAPProtocol, arguments: Arguments) -> Sequence[bytes]:
    arguments.space()
    items = read_items(connection, arguments)
    if b"HIGHESTMODSEQ" in items:
        connection.enable_condstore()
    return items


async def _answer_status(
    connection: IMAPProtocol, info: MailboxInfo, items: Sequence[bytes]
) -> bytes:
    return await render_status(connection, info, items) if info.selectable else b""


VERBS: Mapping[bytes, Verb] = {
    b"LIST": Verb(AUTHENTICATED, list_mailboxes),
    b"LSUB": Verb(AUTHENTICATED, list_subscriptions),
    b"RLIST": Verb(AUTHENTICATED, list_mailboxes, extension=b"MAILBOX-REFERRALS"),
    b"RLSUB": Verb(AUTHENTICATED, list_subscriptions, extension=b"MAILBOX-REFERRALS"),
}

CAPABILITIES: Sequence[Capability] = (
    Capability(b"CHILDREN", after_login),
    Capability(b"LIST-EXTENDED", after_login),
    Capability(b"MAILBOX-REFERRALS", provides=IRemoteMailboxes),
    Capability(b"LIST-STATUS", after_login, needs=b"LIST-EXTENDED"),
    Capability(b"SPECIAL-USE", after_login, needs=b"LIST-EXTENDED"),
)

LIST_OPTIONS: Mapping[bytes, ReturnOption] = {
    b"SUBSCRIBED": ReturnOption(b"LIST-EXTENDED"),
    b"CHILDREN": ReturnOption(b"LIST-EXTENDED"),
    b"SPECIAL-USE": ReturnOption(b"SPECIAL-USE"),
    b"STATUS": ReturnOption(b"LIST-STATUS", _read_status, _answer_status),
}
