"""What goes over the socket between the processes of a store: frames of bounded length."""

from __future__ import annotations

import enum
import struct
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, cast

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.logger import Logger

from mailkit._typing import override
from mailkit.errors import LimitExceeded
from mailkit.sockets import send_now
from mailkit.store.sqlite.codec import Codec, NotUnderstood

#: Octets of one frame: a change of some million messages, or messages that are held in memory.
MAX_FRAME = 256 * 1024 * 1024
#: Pieces of octets in one frame.
MAX_BLOBS = 1_000_000
# Kind, number, octets of the text, number of blobs, octets of all blobs. The length of each blob follows.
_HEAD = struct.Struct("!BQIII")
_LENGTH = 4
_TOO_MUCH = "Too much for another process at once"


class Kind(enum.IntEnum):
    """What a frame is."""

    #: From the guest: fingerprint, process.
    HELLO = 1
    #: From the owner: it knows the guest now, and will tell it what is touched.
    WELCOME = 2
    #: From the guest: an operation whose answer must be durable, or one that may be lost.
    CHANGE = 3
    LAZY_CHANGE = 4
    #: From the guest: give back all space that can be given back.
    COMPACT = 5
    #: From the owner: what became of a request of that number; 0 for the guest itself.
    ANSWER = 6
    REFUSAL = 7
    #: From the owner: mailboxes and names that a transaction has changed.
    TOUCHED = 8
    #: Both ways: a topic and a message for whoever listens to it.
    MESSAGE = 9
    #: From the owner: it goes; what it has not answered, it has not done.
    GOODBYE = 10


_KINDS = {int(kind): kind for kind in Kind}


class Link(Protocol):
    """One end of a connection.

    :param codec: for the values in frames.
    """

    log = Logger()

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        # A frame that has not come as a whole yet.
        self._pieces: list[bytes] = []
        self._held = 0
        # Octets that must be there before there is anything to do.
        self._wanted = _HEAD.size
        self._broken = False

    def send(self, kind: Kind, number: int, value: object = None) -> None:
        """Send a frame.

        :raises LimitExceeded: it would be too long.
        :raises TypeError: the value cannot be sent.
        """
        self.send_frame(self.make_frame(kind, number, value))

    def make_frame(self, kind: Kind, number: int, value: object = None) -> bytes:
        """The octets of a frame.

        :raises LimitExceeded: it would be too long.
        :raises TypeError: the value cannot be sent.
        """
        text, blobs = self.codec.encode(value)
        if not blobs:
            if len(text) > MAX_FRAME:
                raise LimitExceeded(_TOO_MUCH)
            return _HEAD.pack(kind, number, len(text), 0, 0) + text
        lengths = list(map(len, blobs))
        octets = sum(lengths)
        if len(text) + octets > MAX_FRAME or len(blobs) > MAX_BLOBS:
            raise LimitExceeded(_TOO_MUCH)
        head = _HEAD.pack(kind, number, len(text), len(blobs), octets)
        return b"".join((head, struct.pack(f"!{len(lengths)}I", *lengths), text, *blobs))

    def send_frame(self, frame: bytes) -> None:
        """Send octets of whole frames, now if the system takes them."""
        transport: Any = self.transport
        sent = send_now(transport, frame)
        if sent < len(frame):
            transport.write(frame[sent:])

    @override
    def dataReceived(self, data: bytes) -> None:
        if self._pieces:
            self._pieces.append(data)
            self._held += len(data)
            if self._held < self._wanted:
                return
            data = b"".join(self._pieces)
            self._pieces.clear()
        position, end = 0, len(data)
        self._wanted = _HEAD.size
        while end - position >= _HEAD.size and not self._broken:
            kind, number, text, count, octets = _HEAD.unpack_from(data, position)
            if text + octets > MAX_FRAME or count > MAX_BLOBS:
                self._break_off("a frame is too long")
                return
            length = _HEAD.size + count * _LENGTH + text + octets
            if end - position < length:
                self._wanted = length
                break
            begin = position + _HEAD.size
            lengths = struct.unpack_from(f"!{count}I", data, begin) if count else ()
            if sum(lengths) != octets or kind not in _KINDS:
                self._break_off("a frame is malformed")
                return
            self._take(_KINDS[kind], number, data, begin + count * _LENGTH, text, lengths, length)
            position += length
        if position < end and not self._broken:
            self._pieces.append(data[position:] if position else data)
            self._held = end - position

    def _take(
        self,
        kind: Kind,
        number: int,
        data: bytes,
        start: int,
        text: int,
        lengths: Sequence[int],
        octets: int,
    ) -> None:
        begin = start + text
        encoded = data[start:begin]
        blobs = []
        for length in lengths:
            blobs.append(data[begin : begin + length])
            begin += length
        try:
            value = self.codec.decode(encoded, blobs)
        except NotUnderstood as error:
            self._break_off(str(error))
        else:
            self.received(kind, number, value, octets)

    def _break_off(self, reason: str) -> None:
        self._broken = True
        self.log.error("a process of this store sends what is not understood: {why}", why=reason)
        cast(ITCPTransport, self.transport).abortConnection()

    @abstractmethod
    def received(self, kind: Kind, number: int, value: object, octets: int) -> None:
        """A frame has come.

        :param octets: of the whole frame.
        """
