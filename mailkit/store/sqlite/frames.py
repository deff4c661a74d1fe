"""What goes over the socket between the processes of a store: frames of bounded length."""

from __future__ import annotations

import enum
import struct
from abc import abstractmethod
from collections.abc import Sequence
from typing import cast

from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol
from twisted.logger import Logger

from mailkit._typing import override
from mailkit.errors import LimitExceeded
from mailkit.store.sqlite.codec import Codec, NotUnderstood

#: Octets of one frame: a change of some million messages, or messages that are held in memory.
MAX_FRAME = 256 * 1024 * 1024
#: Pieces of octets in one frame.
MAX_BLOBS = 1_000_000
# Kind, number, octets of the text, number of blobs, octets of all blobs. The length of each blob follows.
_HEAD = struct.Struct("!BQIII")
_LENGTH = struct.Struct("!I")


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


_KINDS = frozenset(Kind)


class Link(Protocol):
    """One end of a connection.

    :param codec: for the values in frames.
    """

    log = Logger()

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self._buffer = bytearray()
        # Octets that must be there before there is anything to do.
        self._wanted = _HEAD.size

    def send(self, kind: Kind, number: int, value: object = None) -> None:
        """Send a frame.

        :raises LimitExceeded: it would be too long.
        :raises TypeError: the value cannot be sent.
        """
        text, blobs = self.codec.encode(value)
        octets = sum(map(len, blobs))
        if len(text) + octets > MAX_FRAME or len(blobs) > MAX_BLOBS:
            raise LimitExceeded("Too much for another process at once")
        lengths = b"".join(_LENGTH.pack(len(blob)) for blob in blobs)
        head = _HEAD.pack(kind, number, len(text), len(blobs), octets)
        cast(ITCPTransport, self.transport).write(b"".join((head, lengths, text, *blobs)))

    @override
    def dataReceived(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= self._wanted:
            kind, number, text, count, octets = _HEAD.unpack_from(buffer)
            if text + octets > MAX_FRAME or count > MAX_BLOBS:
                self._break_off("a frame is too long")
                return
            start = _HEAD.size + count * _LENGTH.size
            self._wanted = start + text + octets
            if len(buffer) < self._wanted:
                return
            frame = bytes(buffer[: self._wanted])
            del buffer[: self._wanted]
            self._wanted = _HEAD.size
            lengths = [length for (length,) in _LENGTH.iter_unpack(frame[_HEAD.size : start])]
            if sum(lengths) != octets or kind not in _KINDS:
                self._break_off("a frame is malformed")
                return
            self._take(Kind(kind), number, frame, start, text, lengths)

    def _take(
        self, kind: Kind, number: int, frame: bytes, start: int, text: int, lengths: Sequence[int]
    ) -> None:
        begin = start + text
        blobs = []
        for length in lengths:
            blobs.append(frame[begin : begin + length])
            begin += length
        try:
            value = self.codec.decode(frame[start : start + text], blobs)
        except NotUnderstood as error:
            self._break_off(str(error))
        else:
            self.received(kind, number, value, len(frame))

    def _break_off(self, reason: str) -> None:
        self.log.error("a process of this store sends what is not understood: {why}", why=reason)
        cast(ITCPTransport, self.transport).abortConnection()

    @abstractmethod
    def received(self, kind: Kind, number: int, value: object, octets: int) -> None:
        """A frame has come.

        :param octets: of the whole frame.
        """
