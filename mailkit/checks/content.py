"""Messages that are built to do harm, or by something broken."""

from __future__ import annotations

import mmap
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple

from twisted.internet.threads import deferToThread

from mailkit._typing import override
from mailkit.checks.base import Action, Finding, shown
from mailkit.hooks import Answers, Defer, MailHook, MailSession, Reject, Result
from mailkit.mime import Limits, Octets, Part, mapped, parse_message
from mailkit.mime.headers import find_blank_line
from mailkit.model import Envelope
from mailkit.spool import MEMORY_LIMIT, Spool

#: RFC 5322 section 2.1.1: octets of a line, without its end.
MAX_LINE = 998

# RFC 5322 section 3.6: fields that stand once in a header at most.
_ONCE = frozenset(
    (
        *(b"date", b"sender", b"reply-to", b"to", b"cc", b"bcc", b"message-id"),
        *(b"in-reply-to", b"references", b"subject"),
    )
)
# A field, or what stands in a field's place: the first line of it.
_FIELD = re.compile(rb"\n([^ \t\r\n][^\r\n]*)")
# RFC 5322 section 4.5: white space may stand before the colon.
_FROM = re.compile(rb"\nfrom[ \t]*:", re.IGNORECASE)
_ACTIONS = ("reject", "defer", "quarantine", "none")


class ContentLimits(MailHook):
    """Limits of what a message may be made of, and what of RFC 5322 it must keep.

    It concerns everybody. Loops are found without it: see ``max_received`` of the factories.

    :param max_fields: header fields.
    :param max_header: octets of the header.
    :param max_depth: multiparts and messages inside each other.
    :param max_parts: MIME parts.
    :param action: for what is above these limits.
    :param several_from: there is more than one field From: programs show one or the other.
    :param repeated: another field stands twice that may stand once.
    :param missing: there is no From, or no Date.
    :param malformed: a line of the header is no field.
    :param long_lines: a line has more than 998 octets.
    :raises ValueError: an action is none.
    """

    name = "content-limits"

    def __init__(
        self,
        *,
        max_fields: int = 500,
        max_header: int = 131_072,
        max_depth: int = 50,
        max_parts: int = 2000,
        action: Action = "reject",
        several_from: Action = "reject",
        repeated: Action = "none",
        missing: Action = "none",
        malformed: Action = "none",
        long_lines: Action = "none",
    ) -> None:
        for each in (action, several_from, repeated, missing, malformed, long_lines):
            if each not in _ACTIONS:
                raise ValueError(f"an action is one of {', '.join(_ACTIONS)}, not {each!r}")
        self._max_fields = max_fields
        self._max_header = max_header
        self._max_depth = max_depth
        self._max_parts = max_parts
        self._action: Action = action
        self._several_from: Action = several_from
        self._repeated: Action = repeated
        self._missing: Action = missing
        self._malformed: Action = malformed
        self._long_lines: Action = long_lines

    @override
    def message(self, session: MailSession, envelope: Envelope, message: Spool) -> Result:
        if message.size <= MEMORY_LIMIT and (data := message.data) is not None:
            return _answers(self._look(data, 0))
        if self._long_lines == "none":
            header = _header_in(message.read_start(self._max_header + 4))
            if header.is_whole and not header.has_parts:
                return _answers(self._look_at_start(header))
        return self._look_in_thread(message)

    async def _look_in_thread(self, message: Spool) -> Answers:
        # It may take long, and read from the disk.
        if (data := message.data) is not None:
            return _answers(await deferToThread(self._look, data, 0))
        return _answers(await deferToThread(self._look_at_file, message))

    def _look_at_file(self, message: Spool) -> list[tuple[Action, str]]:
        with _mapped(message) as (octets, start):
            return self._look(octets, start)

    def _look(self, octets: Octets, start: int) -> list[tuple[Action, str]]:
        """What is wrong with a message."""
        header = _header_in(octets[start : start + self._max_header + 4])
        found = self._look_at_start(header)
        if self._may_have_many(octets, header):
            # One more than may be, to see whether there is.
            limits = Limits(self._max_depth + 1, self._max_parts + 1)
            depth, parts = _measure(parse_message(octets, start, None, limits))
            if depth > self._max_depth:
                found.append((self._action, f"it has more than {self._max_depth} levels of parts"))
            elif parts > self._max_parts:
                found.append((self._action, f"it has more than {self._max_parts} parts"))
        if self._long_lines != "none" and has_long_line(octets, start):
            found.append((self._long_lines, f"it has a line of more than {MAX_LINE} octets"))
        return found

    def _look_at_start(self, found: _Header) -> list[tuple[Action, str]]:
        """What is wrong with the header of a message."""
        if len(found.octets) - found.is_whole > self._max_header:
            return [(self._action, f"its header has more than {self._max_header} octets")]
        return list(self._look_at_header(found))

    def _look_at_header(self, found: _Header) -> Iterator[tuple[Action, str]]:
        header = found.octets
        if header.count(b"\n") > self._max_fields:
            count = sum(1 for _ in _FIELD.finditer(header))
            if count > self._max_fields:
                yield self._action, f"it has more than {self._max_fields} header fields"
                return
        if found.lower.count(b"\nfrom") > 1 and len(_FROM.findall(header)) > 1:
            yield self._several_from, "it has more than one field From"
        if self._repeated == self._missing == self._malformed == "none":
            return
        fields = [match[1] for match in _FIELD.finditer(header)]
        names = Counter(
            name.rstrip(b" \t").lower() for name, colon, _ in map(_parted, fields) if colon
        )
        for name in sorted(_ONCE):
            if names[name] > 1:
                title = name.decode("ascii").title()
                yield self._repeated, f"it has more than one field {title}"
                break
        for name in (b"From", b"Date"):
            if not names[name.lower()]:
                title = name.decode("ascii")
                yield self._missing, f"it has no field {title} (RFC 5322 section 3.6)"
                break
        for field in fields:
            if b":" not in field:
                line = field[:60].decode("ascii", "replace")
                yield self._malformed, f"a line of its header is no field: {shown(line)}"
                break

    def _may_have_many(self, octets: Octets, header: _Header) -> bool:
        """Whether the structure must be read: most messages lack the words for so much of it."""
        if header.is_whole and not header.has_parts:
            return False
        if not isinstance(octets, bytes):
            return True
        lower = octets.lower()
        # RFC 2046 section 5.1.5: what is in a digest is a message without a word about it.
        levels = sum(map(lower.count, (b"multipart", b"message", b"digest")))
        return levels > self._max_depth or levels + lower.count(b"\n--") >= self._max_parts


class _Header(NamedTuple):
    """The header at the start of a message, as far as it was read."""

    #: As if a line had ended before, for the header may be empty; the empty line is left out.
    octets: bytes
    lower: bytes
    #: The empty line has been found.
    is_whole: bool

    @property
    def has_parts(self) -> bool:
        """It may be that of a multipart or of a message in a message."""
        lower = self.lower
        # "in" asks whether it is a number first, which costs an exception.
        return lower.find(b"multipart") >= 0 or lower.count(b"message") > lower.count(b"message-id")


def _header_in(start: bytes) -> _Header:
    """The header of a message, of which these are the first octets."""
    head = b"\n" + start
    place, _ = find_blank_line(head)
    octets = head if place < 0 else head[: place + 1]
    return _Header(octets, octets.lower(), place >= 0)


def _answers(found: Sequence[tuple[Action, str]]) -> Answers:
    if not found:
        return None
    answers = (_finding(action, text).answer() for action, text in found)
    # What refuses comes before what sets apart.
    return sorted(
        (answer for answer in answers if answer is not None),
        key=lambda answer: not isinstance(answer, (Reject, Defer)),
    )


def _parted(line: bytes) -> tuple[bytes, bytes, bytes]:
    return line.partition(b":")


def _finding(action: Action, text: str) -> Finding:
    # RFC 3463 X.6.0: the content of the message.
    text = f"The message is not accepted: {text}"
    return Finding(text, action, detail="6.0", reject_code=554, defer_code=451)


def _measure(root: Part) -> tuple[int, int]:
    """How deep a tree is, and how many parts it has, without recursion."""
    deepest = count = 0
    level = [root]
    while level:
        count += len(level)
        inside = [child for part in level for child in part.children]
        deepest += bool(inside)
        level = inside
    return deepest, count


def has_long_line(octets: Octets, start: int = 0) -> bool:
    """Whether there is a line of more than :data:`MAX_LINE` octets, looking at few of them."""
    position, end = start, len(octets)
    seen = start
    while end - position > MAX_LINE:
        if position - seen >= mapped.CHUNK:
            if not isinstance(octets, bytes):
                mapped.let_go(octets, seen, position)
            seen = position
        # The last line that ends near enough: short ones are passed over all at once.
        found = octets.rfind(b"\n", position, position + MAX_LINE + 2)
        if found < 0:
            return True
        position = found + 1
    return False


@contextmanager
def _mapped(message: Spool) -> Iterator[tuple[mmap.mmap, int]]:
    """A spooled file's octets, and where the message begins in them."""
    if message.prefix:
        # What stands before the file's content is not in the file.
        with message.open() as reader, tempfile.TemporaryFile() as copy:
            shutil.copyfileobj(reader, copy)
            copy.flush()
            with mmap.mmap(copy.fileno(), 0, access=mmap.ACCESS_READ) as octets:
                yield octets, 0
        return
    assert message.path is not None
    with (
        open(message.path, "rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as octets,
    ):
        yield octets, message.start
