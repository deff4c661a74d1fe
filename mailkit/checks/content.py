"""Messages that are built to do harm, or by something broken."""

from __future__ import annotations

import mmap
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from twisted.internet.threads import deferToThread

from mailkit._typing import override
from mailkit.checks.base import Action, Finding, shown
from mailkit.hooks import Answers, HeaderField, MailHook, MailSession
from mailkit.mime import Limits, Octets, Part, parse_message
from mailkit.model import Envelope
from mailkit.spool import Spool

#: RFC 5322 section 2.1.1: octets of a line, without its end.
MAX_LINE = 998

# RFC 5322 section 3.6: fields that stand once in a header at most.
_ONCE = frozenset(
    [
        "date",
        "from",
        "sender",
        "reply-to",
        "to",
        "cc",
        "bcc",
        "message-id",
        "in-reply-to",
        "references",
        "subject",
    ]
)
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
    def header(
        self, session: MailSession, envelope: Envelope, fields: Sequence[HeaderField]
    ) -> Answers:
        answers = []
        for action, text in self._look_at_header(fields):
            if (answer := _finding(action, text).answer()) is not None:
                answers.append(answer)
        # What refuses comes before what sets apart.
        return sorted(answers, key=lambda answer: not hasattr(answer, "code"))

    def _look_at_header(self, fields: Sequence[HeaderField]) -> Iterator[tuple[Action, str]]:
        size = sum(len(name) + len(value) + 3 for name, value in fields)
        if len(fields) > self._max_fields:
            yield self._action, f"it has more than {self._max_fields} header fields"
            return
        if size > self._max_header:
            yield self._action, f"its header has more than {self._max_header} octets"
        counts = Counter(name.lower() for name, _ in fields)
        if counts["from"] > 1:
            yield self._several_from, "it has more than one field From"
        for name in sorted(_ONCE - {"from"}):
            if counts[name] > 1:
                yield self._repeated, f"it has more than one field {name.title()}"
                break
        for name in ("From", "Date"):
            if not counts[name.lower()]:
                yield self._missing, f"it has no field {name} (RFC 5322 section 3.6)"
                break
        if counts[""]:
            line = next(value for name, value in fields if not name)
            yield self._malformed, f"a line of its header is no field: {shown(line[:60])}"

    @override
    async def message(self, session: MailSession, envelope: Envelope, message: Spool) -> Answers:
        data = message.data
        if data is not None:
            found = self._look_at_body(data, 0)
        else:
            # Not here: it may take long, and read from the disk.
            found = await deferToThread(self._look_at_file, message)
        answers = (_finding(action, text).answer() for action, text in found)
        return [answer for answer in answers if answer is not None]

    def _look_at_file(self, message: Spool) -> list[tuple[Action, str]]:
        with _mapped(message) as (octets, start):
            return self._look_at_body(octets, start)

    def _look_at_body(self, octets: Octets, start: int) -> list[tuple[Action, str]]:
        found: list[tuple[Action, str]] = []
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
    while end - position > MAX_LINE:
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
