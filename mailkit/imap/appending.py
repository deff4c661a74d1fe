"""What stands between the literals of APPEND and REPLACE. No I/O.

RFC 3501 section 6.3.11, RFC 3502 (MULTIAPPEND), RFC 3516 section 7 (literal8), RFC 4469 section 5
(CATENATE), RFC 5257 section 4.7 (ANNOTATE), RFC 6855 section 4 (UTF8).
"""

from __future__ import annotations

import enum
import re
from collections.abc import Sequence, Set
from typing import NamedTuple

from mailkit.annotations import Annotation
from mailkit.errors import LimitExceeded
from mailkit.imap.annotate import CAPABILITY, read_values
from mailkit.imap.grammar import Arguments, SyntaxFault
from mailkit.imap.messagelimit import TooManyMessages
from mailkit.mime.dates import parse_imap_datetime
from mailkit.model import Flags

#: Messages of one APPEND.
MAX_MESSAGES = 1000
#: Parts of one message that is put together by CATENATE.
MAX_PARTS = 500
#: Octets of all annotations that come with one APPEND, with what stands between them.
MAX_ANNOTATIONS = 256 * 1024

# What most messages have before their literal: flags and a date, or neither.
_USUAL = re.compile(rb' (?:(\([^()]*\)) )?(?:"([^"\\]*)" )?\Z')


class Next(enum.Enum):
    """What comes behind some octets of the command."""

    MESSAGE = enum.auto()
    #: Octets of a message that is put together.
    TEXT = enum.auto()
    #: A URL as a literal.
    URL = enum.auto()
    #: A string of an annotation as a literal.
    VALUE = enum.auto()
    #: The command ends.
    NOTHING = enum.auto()


class NewMessage(NamedTuple):
    """A message begins."""

    flags: Flags
    #: Seconds since the epoch; None for now.
    internal_date: int | None
    annotations: tuple[Annotation, ...] = ()


class _LiteralMissing(Exception):
    """What is read goes on in a literal that has not come yet."""


class PartURL(NamedTuple):
    """What the URL names belongs to the message here."""

    url: bytes


class Between(NamedTuple):
    """What is to be done before the next literal."""

    steps: Sequence[NewMessage | PartURL]
    next: Next
    #: The literal is a literal8, which may hold NUL.
    binary: bool


_PLAIN = Between((NewMessage(frozenset(), None),), Next.MESSAGE, False)
_END = Between((), Next.NOTHING, False)


class AppendGrammar:
    """Reads the arguments behind the mailbox's name, as far as they are here.

    :param offered: names of the capabilities that the client is offered.
    :param verb: name of the command.
    :param utf8: the client has enabled UTF8=ACCEPT.
    :param message_limit: messages that one command works on (RFC 9738); 0 for any number.
    """

    def __init__(
        self,
        offered: Set[bytes],
        verb: bytes,
        utf8: bool = False,
        message_limit: int = 0,
    ) -> None:
        self._message_limit = message_limit
        self._takes_binary = b"BINARY" in offered
        self._takes_parts = b"CATENATE" in offered
        self._verb = verb.decode("ascii")
        # RFC 8508 section 4.7: REPLACE takes one message.
        self._several = verb == b"APPEND" and b"MULTIAPPEND" in offered
        self._messages = 0
        # Parts of the message that is being put together; None outside of CATENATE.
        self._parts: int | None = None
        self._utf8 = utf8
        # The literal stands in parentheses: ``UTF8 (~{3}...)``.
        self._wrapped = False
        self._takes_annotations = CAPABILITY in offered
        # What has come of a message's options; none if they are not interrupted by a literal.
        self._options = b""
        self._annotation_octets = 0
        # Lists of flags, as they are written: many messages have the same.
        self._flags: dict[bytes, Flags] = {}

    def add_value(self, octets: bytes) -> None:
        """A string of an annotation is here."""
        self._options += b"{%d}\r\n%b" % (len(octets), octets)

    def read(self, arguments: Arguments, has_literal: bool) -> Between:
        """Read up to the next literal.

        :param has_literal: one follows; else it is the end of the command.
        """
        if self._parts is None and not (self._wrapped or self._options):
            between = self._read_usual(arguments, has_literal)
            if between is not None:
                return between
        if self._options:
            # From the message's beginning.
            arguments, self._options = Arguments(self._options + arguments.data), b""
        steps: list[NewMessage | PartURL] = []
        if self._wrapped and not arguments.accept(b")"):
            raise SyntaxFault("')' is missing behind the literal")
        self._wrapped = False
        while True:
            if self._parts is None:
                if self._messages and not has_literal and arguments.at_end():
                    return Between(steps, Next.NOTHING, False)
                begin = arguments.position
                try:
                    following = self._read_message(arguments, steps, has_literal)
                except _LiteralMissing:
                    self._options = arguments.data[begin:]
                    return Between(steps, Next.VALUE, arguments.data.endswith(b"~"))
            else:
                following = self._read_part(arguments, steps)
            if following is None:
                continue
            binary = following is not Next.URL and self._read_binary(arguments)
            if arguments.position < len(arguments.data):
                raise SyntaxFault(
                    f"{self._verb} takes {'text' if self._parts else 'a message'} as a literal"
                )
            if not has_literal:
                raise SyntaxFault("A literal is missing")
            return Between(steps, following, binary)

    def _read_binary(self, arguments: Arguments) -> bool:
        """Whether the literal may hold NUL."""
        # RFC 3516 section 7: literal8 = "~{" number "}" CRLF *OCTET
        if not self._wrapped:
            return self._takes_binary and arguments.accept(b"~")
        arguments.space()
        arguments.expect(b"(")
        arguments.expect(b"~")
        return self._takes_binary

    def _read_usual(self, arguments: Arguments, has_literal: bool) -> Between | None:
        """What most clients send, in fewer steps; None for all else, whether it is right or not."""
        if not has_literal:
            return _END if self._messages and not arguments.data else None
        if self._messages and not self._several:
            return None
        found = _USUAL.match(arguments.data, arguments.position)
        if found is None:
            return None
        written, date = found.groups()
        internal_date = None if date is None else parse_imap_datetime(date)
        if date is not None and internal_date is None:
            return None
        flags: Flags = frozenset()
        if written is not None:
            if written not in self._flags:
                self._flags[written] = Arguments(written).flag_list()
            flags = self._flags[written]
        self._count_message()
        if not flags and internal_date is None:
            return _PLAIN
        return Between((NewMessage(flags, internal_date),), Next.MESSAGE, False)

    def _count_message(self) -> None:
        if self._message_limit and self._messages >= self._message_limit:
            raise TooManyMessages(self._message_limit)
        if self._messages >= MAX_MESSAGES:
            raise LimitExceeded(f"APPEND takes at most {MAX_MESSAGES} messages at once")
        self._messages += 1

    def _read_message(
        self, arguments: Arguments, steps: list[NewMessage | PartURL], has_literal: bool
    ) -> Next | None:
        """Flags and date of a message, and how it comes; None for CATENATE.

        :raises _LiteralMissing: more has to come before it can be told.
        """
        if self._messages and not self._several:
            raise SyntaxFault(f"{self._verb} takes one message, and nothing behind it")
        if self._messages and not arguments.looking_at(b" "):
            raise SyntaxFault("Behind a message comes a space and another one, or nothing")
        arguments.space()
        flags: Flags = frozenset()
        internal_date = None
        if arguments.looking_at(b"("):
            flags = arguments.flag_list()
            arguments.space()
        if arguments.looking_at(b'"'):
            internal_date = arguments.date_time()
            arguments.space()
        annotations: tuple[Annotation, ...] = ()
        if self._takes_annotations and arguments.accept_word(b"ANNOTATION"):
            arguments.space()
            annotations = self._read_annotations(arguments, has_literal)
            arguments.space()
        self._count_message()
        steps.append(NewMessage(flags, internal_date, annotations))
        if self._takes_parts and arguments.accept_word(b"CATENATE"):
            arguments.space()
            arguments.expect(b"(")
            self._parts = 0
            return None
        # RFC 6855 section 4. RFC 9755 has done without it, but clients send it. lenient: from a client
        # that has not enabled UTF8=ACCEPT, section 4 wants 8-bit octets in a header refused; but there
        # is old mail that has them, and what moves mailboxes from server to server would lose it.
        self._wrapped = self._utf8 and arguments.accept_word(b"UTF8")
        return Next.MESSAGE

    def _read_annotations(self, arguments: Arguments, has_literal: bool) -> tuple[Annotation, ...]:
        def before() -> None:
            if has_literal and arguments.data[arguments.position :] in (b"", b"~"):
                raise _LiteralMissing

        start = arguments.position
        over = LimitExceeded(f"The annotations of an APPEND have at most {MAX_ANNOTATIONS} octets")
        if self._annotation_octets + len(arguments.data) - start > MAX_ANNOTATIONS:
            raise over
        annotations = read_values(arguments, before)
        self._annotation_octets += arguments.position - start
        return annotations

    def _read_part(self, arguments: Arguments, steps: list[NewMessage | PartURL]) -> Next | None:
        """A part; None when it is here or there are no more."""
        if self._parts:
            if arguments.accept(b")"):
                self._parts = None
                return None
            arguments.space()
        assert self._parts is not None
        if self._parts >= MAX_PARTS:
            raise LimitExceeded(f"CATENATE takes at most {MAX_PARTS} parts")
        self._parts += 1
        word = arguments.word("TEXT or URL")
        self._wrapped = self._utf8 and word == b"UTF8"
        if self._wrapped:
            return Next.TEXT
        if word not in (b"TEXT", b"URL"):
            raise SyntaxFault("CATENATE takes TEXT and URL")
        arguments.space()
        if word == b"TEXT":
            return Next.TEXT
        if arguments.position == len(arguments.data):
            return Next.URL
        steps.append(PartURL(arguments.astring("A URL")))
        return None
