"""A connection whose two sides may agree to compress."""

from __future__ import annotations

from mailkit.output import CHUNK, OutputConnection
from mailkit.wire.buffer import InputBuffer
from mailkit.wire.deflate import Deflate, DeflateError

#: Commands that a piece of compressed input counts as, before other connections get their turn.
COMMANDS_A_PIECE = 10


class CompressingConnection(OutputConnection):
    """Puts DEFLATE (RFC 1951) between the input buffer, the output and the transport.

    What is sent together is compressed together. What comes in is inflated when somebody wants
    more input, :data:`~mailkit.output.CHUNK` octets at a time.

    :ivar buffer: octets to be read.
    :ivar source: takes what the transport gives.
    """

    __slots__ = ("_deflate", "buffer", "source")

    def __init__(self) -> None:
        OutputConnection.__init__(self)
        self._deflate: Deflate | None = None
        self.buffer = InputBuffer()
        self.source: InputBuffer | Deflate = self.buffer

    @property
    def deflating(self) -> bool:
        """Both sides compress."""
        return self._deflate is not None

    def start_deflate(self) -> None:
        """From here on both sides compress; the reply to the command is written."""
        self.flush()
        self.source = self._deflate = Deflate()
        self._encode = self._deflate.compress
        # lenient: the client had to wait for the reply, but perhaps it knew it.
        self._deflate.feed(self.buffer.take_all())

    def stop_deflate(self) -> None:
        """From here on nobody compresses; the reply to the command is written."""
        deflate = self._deflate
        assert deflate is not None
        self.flush()
        self._deflate = self._encode = None
        self.source = self.buffer
        self.write(deflate.finish())
        try:
            if len(self.buffer):
                raise DeflateError("the compressed data goes on")
            self.buffer.feed(deflate.end())
        except DeflateError:
            self.not_compressed()

    def rest_deflate(self, resting: bool) -> None:
        """Nothing will be sent for a while: keep as little memory as possible."""
        if self._deflate is not None:
            if resting:
                self._deflate.rest()
            self._deflate.resting = resting

    @property
    def unread(self) -> int:
        """Octets that nobody has read yet."""
        return len(self.buffer) + (0 if self._deflate is None else self._deflate.waiting)

    def inflate(self) -> bool:
        """Bring compressed input into the buffer; false when there is none."""
        if self._deflate is None:
            return False
        try:
            data = self._deflate.read(CHUNK)
        except DeflateError:
            self.not_compressed()
            return False
        self.buffer.feed(data)
        return bool(data)

    def not_compressed(self) -> None:
        """What the client sends cannot be inflated: the connection ends."""
        self.transport.abortConnection()
