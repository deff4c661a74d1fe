"""From the octets of one response to its values (RFC 9051 section 7). No I/O."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import TypeAlias

from mailkit.client.errors import ProtocolError
from mailkit.imap.client.converted import read_conversion, read_converted
from mailkit.imap.client.errors import too_large
from mailkit.imap.client.fetched import read_fetch
from mailkit.imap.client.names import find_old_name
from mailkit.imap.client.reader import RESPONSE_LIMITS, Response, ResponseLimits
from mailkit.imap.client.text import Text, words
from mailkit.imap.client.values import (
    AccessList,
    AuthorizedURLs,
    Branch,
    Capabilities,
    Continuation,
    Conversion,
    Converted,
    Enabled,
    Exists,
    Expunge,
    ExtendedSearch,
    FetchedURLs,
    Identification,
    Listing,
    MailboxFlags,
    MailboxStatus,
    Message,
    Metadata,
    MetadataChanged,
    MyRights,
    Namespace,
    Namespaces,
    PassedOver,
    Quota,
    QuotaRoots,
    Ranges,
    Recent,
    ResourceUse,
    ResponseCode,
    ResultChange,
    SearchNumbers,
    Status,
    Tagged,
    ThreadNode,
    Threads,
    Unknown,
    Vanished,
)
from mailkit.imap.grammar import SyntaxFault

#: One response.
Typed: TypeAlias = (
    AccessList
    | AuthorizedURLs
    | Capabilities
    | Continuation
    | Conversion
    | Converted
    | Enabled
    | Exists
    | Expunge
    | ExtendedSearch
    | FetchedURLs
    | Identification
    | Listing
    | MailboxFlags
    | MailboxStatus
    | Message
    | Metadata
    | MetadataChanged
    | MyRights
    | Namespaces
    | PassedOver
    | Quota
    | QuotaRoots
    | Recent
    | SearchNumbers
    | Status
    | Tagged
    | Threads
    | Unknown
    | Vanished
)

_CONDITIONS = frozenset((b"OK", b"NO", b"BAD", b"BYE", b"PREAUTH"))
_WORD = re.compile(rb"[^ \r\n]+")
_THREAD_MARK = re.compile(rb"[()]|\d{1,10}(?!\d)")
# lenient: of more than 63 bits, or less than nothing.
_AMOUNT = re.compile(rb"-?\d{1,20}(?!\d)")
# Of what is passed over. Messages that come or go must be counted, and "+" is waited for.
_TOO_LARGE = re.compile(
    rb"(?:\* (?:(?P<number>\d{1,10}) (?=(?:(?:UID)?FETCH|CONVERTED) )|(?!\d|VANISHED (?!\(EARLIER\))))"
    rb"|(?P<tag>[^ *+]+) (?=(?:OK|NO|BAD) ))(?P<name>[A-Z0-9-]+)[ \r\n]",
    re.IGNORECASE,
)
_ANSWERED = re.compile(rb'\* ESEARCH \(TAG "?(?P<tag>[A-Z0-9]+)"?[ )]', re.IGNORECASE)
_PAGE = re.compile(rb"-?\d{1,20}:-?\d{1,20}")
_CODE_NAME = re.compile(rb"[^ \]\r\n]+")
_CODES_OF_WORDS = frozenset(("CAPABILITY", "PERMANENTFLAGS"))
# What matters on the way to the end of a response code.
_CODE_MARK = re.compile(rb"[\"\]]|\\.", re.DOTALL)


def parse_response(
    response: Response, limits: ResponseLimits = RESPONSE_LIMITS, *, greeting: bool = False
) -> Typed:
    """
    :raises ResponseTooLarge: it exceeds a limit.
    :raises ProtocolError: it is none.
    """
    if response.excess:
        raise too_large(f"more than {getattr(limits, response.excess)}", response.excess)
    text = Text(response, limits)
    typed: Typed
    try:
        if text.accept(b"+"):
            text.accept(b" ")
            typed = Continuation(text.rest())
        elif text.accept(b"* "):
            typed = _untagged(text)
        else:
            tag = text.match(_WORD, "A tag")
            text.expect(b" ")
            status = _status(text)
            if status.condition in ("BYE", "PREAUTH"):
                raise SyntaxFault("Not the end of a command")
            typed = Tagged(tag, status)
    except (SyntaxFault, ValueError) as fault:
        reason = fault.text if isinstance(fault, SyntaxFault) else str(fault)
        begin = response.octets[:60].decode("utf-8", "replace")
        raise ProtocolError(
            f"The mail server's response cannot be read: {reason}: {begin!r}"
        ) from (fault)
    if greeting and not (isinstance(typed, Status) and typed.condition in ("OK", "PREAUTH", "BYE")):
        raise ProtocolError("The server does not greet as an IMAP server does")
    return typed


def pass_over(octets: bytes) -> PassedOver:
    """What can be said of a response that is too large.

    :param octets: how it begins, or all of it.
    :raises ProtocolError: the client cannot go on without it.
    """
    found = _TOO_LARGE.match(octets)
    if found is None:
        raise ProtocolError("A response that cannot be done without is too large")
    answered = _ANSWERED.match(octets)
    return PassedOver(
        found["name"].decode("ascii").upper(),
        int(found["number"] or 0),
        found["tag"] or (answered and answered["tag"]),
    )


def _status(text: Text) -> Status:
    condition = text.word("OK, NO or BAD")
    if condition not in _CONDITIONS:
        raise SyntaxFault("OK, NO or BAD is missing")
    text.accept(b" ")
    code = None
    if text.accept(b"["):
        name = text.match(_CODE_NAME, "A response code").decode("utf-8", "replace").upper()
        end = _end_of_code(text)
        code = ResponseCode(name, text.data[text.position : end].strip(b" "))
        if name in _CODES_OF_WORDS:
            # Whoever takes them over cannot pass them over any more.
            words(code.arguments, text.limits)
        text.position = end + 1
        text.accept(b" ")
    return Status(condition.decode("ascii"), code, text.rest().decode("utf-8", "replace"))


def _end_of_code(text: Text) -> int:
    """Where the bracket closes: not within a quoted string (BADCHARSET, METADATA, REFERRAL)."""
    quoted = False
    position = text.position
    left = text.limits.quotes
    while mark := _CODE_MARK.search(text.data, position):
        left -= 1
        if left < 0:
            raise too_large("too many quotes in its code", "quotes")
        position = mark.end()
        if mark[0] == b'"':
            quoted = not quoted
        elif not quoted:
            # A backslash means something in a string alone.
            if mark[0] == b"]":
                return mark.start()
            position = mark.start() + 1
    # lenient: a quote that stands alone.
    end = text.data.find(b"]", text.position)
    if end < 0:
        raise SyntaxFault("A response code has no end")
    return end


def _untagged(text: Text) -> Typed:
    if text.data[text.position : text.position + 1].isdigit():
        return _numbered(text)
    word = text.match(_WORD, "A response")
    name = word.upper()
    if name in _CONDITIONS:
        text.position -= len(word)
        return _status(text)
    reader = _NAMED.get(name)
    if reader is None:
        text.accept(b" ")
        return Unknown(name.decode("utf-8", "replace"), text.rest())
    if name not in _LENIENT:
        return reader(text)
    start = text.position
    try:
        return reader(text)
    except (SyntaxFault, ValueError):
        return Unknown(name.decode("ascii"), text.data[start:].removeprefix(b" "))


def _numbered(text: Text) -> Typed:
    number = text.number()
    text.space()
    name = text.word("A response")
    if name == b"EXISTS":
        return Exists(number)
    if name == b"RECENT":
        return Recent(number)
    if name == b"EXPUNGE":
        return Expunge(number)
    if name == b"FETCH" and number:
        text.space()
        return read_fetch(text, number)
    if name == b"UIDFETCH" and number:
        # RFC 9586 section 3.3
        text.space()
        message = read_fetch(text, 0)
        message.uid = number
        message.items.add("UID")
        return message
    if name == b"CONVERTED" and number:
        text.space()
        return read_converted(text, number)
    return Unknown(name.decode("ascii"), b"%d %b" % (number, text.rest()))


def _names(text: Text) -> frozenset[str]:
    return words(text.rest().upper(), text.limits)


def _capabilities(text: Text) -> Capabilities:
    return Capabilities(_names(text))


def _enabled(text: Text) -> Enabled:
    return Enabled(_names(text))


def _flags(text: Text) -> MailboxFlags:
    text.space()
    return MailboxFlags(text.any_flags())


def _vanished(text: Text) -> Vanished:
    text.space()
    earlier = text.accept(b"(EARLIER) ")
    return Vanished(text.ranges(), earlier)


def _search(text: Text) -> SearchNumbers:
    numbers = text.numbers()
    modseq = None
    text.accept(b" ")
    if text.accept(b"(MODSEQ "):
        modseq = text.number64()
        text.expect(b")")
    text.end()
    return SearchNumbers(numbers, modseq)


def _esearch(text: Text) -> ExtendedSearch:
    result = ExtendedSearch(None, False)
    changes: list[ResultChange] = []
    left = text.limits.ranges
    if text.accept(b" ("):
        result = _correlated(text, result)
    while text.accept(b" "):
        if text.at_end():
            break
        text.count()
        name = text.word("A search result")
        if name == b"UID":
            result = result._replace(by_uid=True)
            continue
        text.space()
        if name == b"MIN":
            result = result._replace(minimum=text.number64())
        elif name == b"MAX":
            result = result._replace(maximum=text.number64())
        elif name == b"COUNT":
            result = result._replace(total=text.number64())
        elif name == b"MODSEQ":
            result = result._replace(modseq=text.number64())
        elif name == b"ALL":
            result = result._replace(all=text.ranges())
        elif name == b"PARTIAL":
            result = result._replace(partial=_page(text))
        elif name in (b"ADDTO", b"REMOVEFROM"):
            found = _changes(text, name == b"ADDTO", left)
            left -= _ranges_of(found)
            changes += found
        else:
            text.value()
    return result._replace(changes=tuple(changes))


def _correlated(text: Text, result: ExtendedSearch) -> ExtendedSearch:
    """``(TAG "a" MAILBOX "b" UIDVALIDITY 1)``, in any order (RFC 7377 section 4)."""
    while True:
        text.count()
        name = text.word("What a search result belongs to")
        text.space()
        if name == b"TAG":
            result = result._replace(tag=text.any_string())
        elif name == b"MAILBOX":
            result = result._replace(mailbox=text.mailbox_name())
        elif name == b"UIDVALIDITY":
            result = result._replace(uid_validity=text.number())
        else:
            text.value()
        if text.accept(b")"):
            return result
        text.space()


def _page(text: Text) -> Ranges:
    """``(1:100 2,5:9)``, or NIL for an empty page (RFC 9394 section 3.1)."""
    text.expect(b"(")
    text.match(_PAGE, "A range of results")
    text.space()
    found = () if text.accept_word(b"NIL") else text.ranges()
    text.expect(b")")
    return found


def _changes(text: Text, added: bool, left: int) -> list[ResultChange]:
    """``(0 32768:32769)``: pairs of a place and of what comes or goes there (RFC 5267 section 4.3).

    :param left: ranges that all their sets together may have.
    :raises ResponseTooLarge: they have more.
    """
    found: list[ResultChange] = []

    def one() -> None:
        position = text.number()
        text.space()
        found.append(ResultChange(added, position, text.ranges()))

    text.in_parentheses(one)
    if _ranges_of(found) > left:
        raise too_large("too many ranges", "ranges")
    return found


def _ranges_of(changes: list[ResultChange]) -> int:
    return sum(max(1, len(change.uids)) for change in changes)


def _list(text: Text, lsub: bool = False) -> Listing:
    text.space()
    attributes = text.any_flags()
    text.space()
    separator = text.separator()
    text.space()
    name = text.mailbox_name()
    # What else extensions add (RFC 5258 section 6) is passed over.
    extended = text.value() if text.accept(b" ") and text.looking_at(b"(") else None
    return Listing(name, attributes, separator, lsub, find_old_name(extended))


def _mailbox_status(text: Text) -> MailboxStatus:
    text.space()
    name = text.mailbox_name()
    text.space()
    items: dict[str, int | str] = {}

    def item() -> None:
        key = text.word("A status item").decode("ascii")
        text.space()
        if text.looking_at(b"("):
            # MAILBOXID (RFC 8474 section 4.3)
            text.position += 1
            items[key] = text.any_string().decode("utf-8", "replace")
            text.expect(b")")
        elif not text.accept_word(b"NIL"):
            items[key] = text.number64()

    text.in_parentheses(item)
    return MailboxStatus(name, items)


def _namespaces(text: Text) -> Namespaces:
    groups = []
    for _ in range(3):
        text.space()
        found: list[Namespace] = []

        def one(found: list[Namespace] = found) -> None:
            text.count(3)
            text.expect(b"(")
            prefix = text.mailbox_name()
            text.space()
            found.append(Namespace(prefix, text.separator()))
            while not text.accept(b")"):
                text.space()
                text.value()

        if not text.accept_word(b"NIL"):
            text.in_parentheses(one)
        groups.append(tuple(found))
    return Namespaces(*groups)


def _access_list(text: Text) -> AccessList:
    text.space()
    name = text.mailbox_name()
    rights: dict[str, str] = {}
    text.skip_spaces()
    while not text.at_end():
        text.count()
        identifier = text.any_string().decode("utf-8", "replace")
        text.space()
        rights[identifier] = text.any_string().decode("utf-8", "replace")
        text.skip_spaces()
    return AccessList(name, rights)


def _my_rights(text: Text) -> MyRights:
    text.space()
    name = text.mailbox_name()
    text.space()
    return MyRights(name, text.any_string().decode("utf-8", "replace"))


def _quota(text: Text) -> Quota:
    text.space()
    root = text.any_string().decode("utf-8", "replace")
    text.skip_spaces()
    resources: dict[str, ResourceUse] = {}

    def resource() -> None:
        # lenient: quoted, too.
        name = text.any_string().decode("utf-8", "replace").upper()
        text.space()
        used = int(text.match(_AMOUNT, "A number"))
        text.space()
        limit = int(text.match(_AMOUNT, "A number"))
        # lenient: -1 is what some say for a resource without a limit, which is not named.
        if limit >= 0:
            resources[name] = ResourceUse(max(used, 0), limit)

    # lenient: no list at all where nothing is limited.
    if not text.at_end():
        text.in_parentheses(resource)
    return Quota(root, resources)


def _quota_roots(text: Text) -> QuotaRoots:
    text.space()
    name = text.mailbox_name()
    roots: list[str] = []
    text.skip_spaces()
    while not text.at_end():
        text.count()
        roots.append(text.any_string().decode("utf-8", "replace"))
        text.skip_spaces()
    return QuotaRoots(name, tuple(roots))


def _metadata(text: Text) -> Metadata | MetadataChanged:
    text.space()
    mailbox = text.mailbox_name() or None
    text.space()
    if text.looking_at(b"("):
        entries: dict[str, bytes | None] = {}

        def entry() -> None:
            text.count()
            name = text.any_string().decode("utf-8", "replace")
            text.space()
            entries[name] = text.nil_or_string()

        text.in_parentheses(entry)
        return Metadata(mailbox, entries)
    names: list[str] = []
    while not text.at_end():
        text.count()
        names.append(text.any_string().decode("utf-8", "replace"))
        text.skip_spaces()
    return MetadataChanged(mailbox, tuple(names))


def _authorized(text: Text) -> AuthorizedURLs:
    urls: list[str] = []
    text.skip_spaces()
    while not text.at_end():
        text.count()
        urls.append(text.any_string().decode("utf-8", "replace"))
        text.skip_spaces()
    return AuthorizedURLs(tuple(urls))


def _fetched_urls(text: Text) -> FetchedURLs:
    contents: dict[str, bytes | None] = {}
    text.skip_spaces()
    while not text.at_end():
        text.count(2)
        url = text.any_string().decode("utf-8", "replace")
        text.space()
        contents[url] = text.nil_or_string()
        text.skip_spaces()
    return FetchedURLs(contents)


def _threads(text: Text) -> Threads:
    """Read without recursion: how deep a thread is, is up to those who write to each other."""
    threads: list[Sequence[ThreadNode]] = []
    # Those that have begun and not ended.
    open_lists: list[Branch] = []
    lists = numbers = 0
    text.skip_spaces()
    while open_lists or not text.at_end():
        mark = text.match(_THREAD_MARK, "A thread")
        if mark == b"(":
            lists += 1
            open_lists.append(Branch())
        elif not open_lists:
            raise SyntaxFault("A thread is missing")
        elif mark == b")":
            ended = open_lists.pop()
            (open_lists[-1] if open_lists else threads).append(ended)
        else:
            numbers += 1
            open_lists[-1].append(int(mark))
        if max(lists, numbers) > text.limits.numbers:
            raise too_large("too many numbers", "numbers")
        text.skip_spaces()
    return Threads(threads)


def _identification(text: Text) -> Identification:
    text.space()
    fields: dict[str, str | None] = {}

    def one() -> None:
        text.count(2)
        name = text.decoded() or ""
        text.space()
        fields[name] = text.decoded()

    if not text.accept_word(b"NIL"):
        text.in_parentheses(one)
    return Identification(fields)


# They change nothing for others than those who ask, so the connection goes on where they cannot be
# read.
_LENIENT = frozenset((b"ACL", b"MYRIGHTS", b"QUOTA", b"QUOTAROOT", b"THREAD"))
_NAMED: dict[bytes, Callable[[Text], Typed]] = {
    b"CAPABILITY": _capabilities,
    b"ENABLED": _enabled,
    b"FLAGS": _flags,
    b"VANISHED": _vanished,
    b"SEARCH": _search,
    b"SORT": lambda text: _search(text)._replace(sorted=True),
    b"THREAD": _threads,
    b"ACL": _access_list,
    b"MYRIGHTS": _my_rights,
    b"QUOTA": _quota,
    b"QUOTAROOT": _quota_roots,
    b"ESEARCH": _esearch,
    b"LIST": _list,
    b"LSUB": lambda text: _list(text, True),
    b"STATUS": _mailbox_status,
    b"NAMESPACE": _namespaces,
    b"ID": _identification,
    b"METADATA": _metadata,
    b"CONVERSION": read_conversion,
    b"GENURLAUTH": _authorized,
    b"URLFETCH": _fetched_urls,
}
