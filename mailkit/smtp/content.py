"""The octets after DATA or BDAT: decoded, judged and written to a spool as they come."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailkit.mime.headers import MAX_HEADER_OCTETS
from mailkit.smtp import replies
from mailkit.smtp.grammar import Reply
from mailkit.smtp.header import SOLICITATION, VALID_SINCE, HeaderWatch
from mailkit.smtp.trace import HOOKS_FIELD
from mailkit.spool import Spool
from mailkit.wire.chunks import ChunkDecoder
from mailkit.wire.dotstuff import DotDecoder, has_bare_line_end, normalise_line_ends

_RECEIVED = b"\nreceived:"
_REMARKABLE = tuple(
    b"\n" + name.lower().encode("ascii") for name in (SOLICITATION, VALID_SINCE, HOOKS_FIELD)
)
# An end of the header or a field name may be cut between two pieces.
_OVERLAP = max(map(len, (_RECEIVED, *_REMARKABLE))) - 1


class ContentReader:
    """Takes the content of one message.

    Once the message cannot be accepted any more, :attr:`refusal` says why, its spool is given up
    and the rest is swallowed, so that the reply stands where the client expects it: after the end.

    :param spool: where the content goes; closed by this object's owner.
    :param max_size: octets of the content.
    :param max_received: Received fields in the header (RFC 5321 section 6.3: 100 at least).
    :param normalise: make a CR or LF that stands alone a CRLF, instead of refusing the message.
    :param header_limit: octets up to the first empty line.
    """

    log = Logger()

    def __init__(
        self,
        spool: Spool,
        max_size: int,
        max_received: int,
        normalise: bool = False,
        header_limit: int = MAX_HEADER_OCTETS,
    ) -> None:
        self.spool = spool
        self.refusal: Reply | None = None
        #: The connection ends after the refusal.
        self.close_after = False
        #: Hooks that judge the header while the body still comes.
        self.header_step: Deferred[None] | None = None
        self._watch: HeaderWatch | None = None
        self._max_header = 0
        self._header_complete: Callable[[ContentReader], None] | None = None
        self._max_size = max_size
        self._max_received = max_received
        self._normalise = normalise
        self._header_limit = header_limit
        self._decoder: DotDecoder | ChunkDecoder = DotDecoder()
        #: The whole message is here.
        self.finished = False
        #: Nothing more is to be read before the next command.
        self.complete = False
        # Lines need not end with CRLF (RFC 3030 section 3).
        self._binary = False
        #: Octets so far, and of the chunk that was begun last.
        self.size = self.chunk_size = 0
        #: The header may have a field that asks something of us, or that nobody else may add.
        self.is_remarkable = False
        self._in_header = True
        self._received = 0
        # As if a line had ended before: the header may be empty, or begin with Received.
        self._before = b"\r\n"

    def expect_chunks(self, binary: bool) -> None:
        """The message comes by BDAT.

        :param binary: it need not be text.
        """
        self._decoder = ChunkDecoder()
        self.complete = True
        self._binary = binary

    def begin_chunk(self, size: int, last: bool) -> None:
        """A chunk of so many octets follows."""
        assert isinstance(self._decoder, ChunkDecoder)
        self._decoder.begin(size, last)
        self.complete = False
        self.chunk_size = size
        if self.refusal is None and self.size + size > self._max_size:
            self.refuse(replies.too_large(self._max_size))
        if not size:
            self.feed(b"")

    def feed(self, data: bytes) -> bytes:
        """Take octets from the client.

        :returns: what follows the final dot, or the chunk.
        """
        decoder = self._decoder
        content, rest = decoder.feed(data)
        self.finished, self.complete = decoder.finished, decoder.complete
        if self.refusal is None:
            try:
                if content:
                    self._take(content)
                if self.finished and self.refusal is None:
                    self.end()
                    if self._watch is not None:
                        self._end_header(self._watch)
            except OSError as error:
                self.log.error("cannot spool a message: {error}", error=error)
                self.refuse(replies.NO_SPACE)
        return rest

    def refuse(self, reply: Reply) -> None:
        """Give the message up."""
        self.refusal = reply
        self.spool.close()

    def close(self) -> None:
        """Nobody wants the content any more."""
        self.spool.close()
        step, self.header_step = self.header_step, None
        if step is not None:
            step.addErrback(lambda _: None)
            step.cancel()

    def watch_header(
        self, limit: int, complete: Callable[[ContentReader], None] | None = None
    ) -> None:
        """Find the end of the header, and refuse a message with a larger one.

        :param limit: octets of the header.
        :param complete: called when the header is in the spool.
        """
        self._watch = HeaderWatch()
        self._max_header = limit
        self._header_complete = complete

    def read_header(self) -> bytes:
        """The header with its empty line, if there is one, as it stands in the spool.

        Only of a reader that watches it.
        """
        assert self._watch is not None
        return self.spool.read_first(self._watch.size)

    def write(self, content: bytes) -> None:
        """Add to the spool.

        :raises OSError: when the disk refuses.
        """
        self.spool.write(content)
        watch = self._watch
        if watch is not None and not watch.complete:
            watch.feed(content)
            if watch.size > self._max_header:
                self.refuse(replies.header_too_large(self._max_header))
            elif watch.complete:
                self._tell_of_header()

    def _end_header(self, watch: HeaderWatch) -> None:
        """A message without a body may lack the empty line."""
        if not watch.complete and self.refusal is None:
            watch.complete = True
            self._tell_of_header()

    def _tell_of_header(self) -> None:
        if self._header_complete is not None:
            self._header_complete(self)

    def end(self) -> None:
        """The content is complete."""

    def _take(self, content: bytes) -> None:
        # RFC 5321 section 2.3.8: CR and LF only occur together.
        if not self._binary and has_bare_line_end(content):
            if not self._normalise:
                self.refuse(replies.BARE_LINE_END)
                return
            content = normalise_line_ends(content)
        self.size += len(content)
        if self.size > self._max_size:
            self.refuse(replies.too_large(self._max_size))
            return
        if self._in_header:
            self._look_at_header(content)
        if self.refusal is None:
            self.write(content)

    def _look_at_header(self, content: bytes) -> None:
        octets = self._before + content
        end = octets.find(b"\r\n\r\n")
        size = self.size
        if end >= 0:
            self._in_header = False
            size -= len(octets) - (end + 4)
            octets = octets[: end + 2]
        if size > self._header_limit:
            self.refuse(replies.header_too_large(self._header_limit))
            return
        lower = octets.lower()
        # Those that end in this piece.
        self._received += lower.count(_RECEIVED, max(0, len(self._before) - len(_RECEIVED) + 1))
        for name in _REMARKABLE:
            # "in" asks whether it is a number first, which costs an exception.
            if lower.find(name) >= 0:
                self.is_remarkable = True
        self._before = octets[-_OVERLAP:]
        if self._received > self._max_received:
            self.refuse(replies.MAIL_LOOP)


class DiscardedChunk:
    """A chunk that is of no use: swallowed, and then refused (RFC 3030 section 2)."""

    def __init__(self, size: int, refusal: Reply | None) -> None:
        self.refusal = refusal
        self._left = size

    @property
    def complete(self) -> bool:
        """All of it is here."""
        return not self._left

    def feed(self, data: bytes) -> bytes:
        """Take octets; gives what follows the chunk."""
        taken = min(len(data), self._left)
        self._left -= taken
        return data[taken:]
