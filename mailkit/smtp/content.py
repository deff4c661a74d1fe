"""The octets after DATA or BDAT: decoded, judged and written to a spool as they come."""

from __future__ import annotations

from twisted.logger import Logger

from mailkit.smtp import replies
from mailkit.smtp.grammar import Reply
from mailkit.spool import Spool
from mailkit.wire.chunks import ChunkDecoder
from mailkit.wire.dotstuff import DotDecoder, has_bare_line_end, normalise_line_ends

_RECEIVED = b"\nreceived:"
# An end of the header or a field name may be cut between two pieces.
_OVERLAP = len(_RECEIVED) - 1


class ContentReader:
    """Takes the content of one message.

    Once the message cannot be accepted any more, :attr:`refusal` says why, its spool is given up
    and the rest is swallowed, so that the reply stands where the client expects it: after the end.

    :param spool: where the content goes; closed by this object's owner.
    :param max_size: octets of the content.
    :param max_received: Received fields in the header (RFC 5321 section 6.3: 100 at least).
    :param normalise: make a CR or LF that stands alone a CRLF, instead of refusing the message.
    """

    log = Logger()

    def __init__(
        self, spool: Spool, max_size: int, max_received: int, normalise: bool = False
    ) -> None:
        self.spool = spool
        self.refusal: Reply | None = None
        self._max_size = max_size
        self._max_received = max_received
        self._normalise = normalise
        self._decoder: DotDecoder | ChunkDecoder = DotDecoder()
        # Lines need not end with CRLF (RFC 3030 section 3).
        self._binary = False
        #: Octets so far.
        self.size = 0
        self._in_header = True
        self._received = 0
        # As if a line had ended before: the header may be empty, or begin with Received.
        self._before = b"\r\n"

    @property
    def finished(self) -> bool:
        """The whole message is here."""
        return self._decoder.finished

    @property
    def complete(self) -> bool:
        """Nothing more is to be read before the next command."""
        return self._decoder.complete

    def expect_chunks(self, binary: bool) -> None:
        """The message comes by BDAT.

        :param binary: it need not be text.
        """
        self._decoder = ChunkDecoder()
        self._binary = binary

    def begin_chunk(self, size: int, last: bool) -> None:
        """A chunk of so many octets follows."""
        assert isinstance(self._decoder, ChunkDecoder)
        self._decoder.begin(size, last)
        if self.refusal is None and self.size + size > self._max_size:
            self.refuse(replies.too_large(self._max_size))
        if not size:
            self.feed(b"")

    def feed(self, data: bytes) -> bytes:
        """Take octets from the client.

        :returns: what follows the final dot, or the chunk.
        """
        content, rest = self._decoder.feed(data)
        if self.refusal is None:
            try:
                if content:
                    self._take(content)
                if self.finished and self.refusal is None:
                    self.end()
            except OSError as error:
                self.log.error("cannot spool a message: {error}", error=error)
                self.refuse(replies.NO_SPACE)
        return rest

    def refuse(self, reply: Reply) -> None:
        """Give the message up."""
        self.refusal = reply
        self.spool.close()

    def write(self, content: bytes) -> None:
        """Add to the spool.

        :raises OSError: when the disk refuses.
        """
        self.spool.write(content)

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
        if end >= 0:
            self._in_header = False
            octets = octets[: end + 2]
        self._received += octets.lower().count(_RECEIVED)
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
