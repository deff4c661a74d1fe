"""Octets between a data connection in the clear and a file, moved by threads.

The reactor would carry 64 KiB at a time through Python. Here a thread moves what the socket takes
or has, in turns, and the reactor tells when there is more to do; so a slow client holds no thread,
and a slow disk not the reactor.
"""

from __future__ import annotations

import errno
import os
import select
import threading
import time
from collections.abc import Callable
from socket import socket
from typing import Any, NamedTuple

from twisted.internet.interfaces import IReactorFDSet, IReadDescriptor, IWriteDescriptor
from twisted.internet.tcp import Connection
from twisted.python.failure import Failure
from zope.interface import implementer

#: Octets that are moved by one call.
CHUNK = 1024 * 1024
#: Seconds that a thread works for one transfer before others have their turn.
TURN = 0.02
#: Milliseconds that a thread waits for a client which has kept up so far.
PATIENCE = 5
#: Octets that such a client has taken or sent since the last wait.
ENOUGH = 64 * 1024

# Some file systems cannot do sendfile.
_UNSUPPORTED = frozenset({errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP})
_of_thread = threading.local()


class Turn(NamedTuple):
    """What a thread has done."""

    octets: int = 0
    #: All has been moved.
    done: bool = False
    #: Nothing more can be moved until the socket is ready.
    blocked: bool = False
    #: The connection is gone.
    broken: bool = False
    #: The system cannot do this.
    unsupported: bool = False


@implementer(IReadDescriptor, IWriteDescriptor)
class DirectSocket:
    """The socket of a data connection, by a descriptor of its own, that threads use.

    :param ready: called when there may be something to do again, after :meth:`wait`.
    """

    def __init__(self, reactor: Any, transport: Any, ready: Callable[[], None]) -> None:
        # The transport may close its own while a thread is at work, and the number be given away.
        self._socket: socket = transport.getHandle().dup()
        self._reactor = reactor
        self._ready = ready
        self._lock = threading.Lock()
        self._stopped = False

    @staticmethod
    def is_possible(reactor: Any, transport: Any) -> bool:
        """Whether this works with that reactor and that transport, which is not under TLS."""
        return isinstance(transport, Connection) and bool(IReactorFDSet.providedBy(reactor))

    # In threads.

    def send(self, file: Any, offset: int) -> Turn:
        """Send what the socket takes of a file, from an octet on."""
        return self._in_turn(lambda: self._send(file, offset))

    def receive(self, file: Any) -> Turn:
        """Write what the socket has to a file.

        :raises OSError: the file takes no more.
        """
        return self._in_turn(lambda: self._receive(file))

    def _in_turn(self, move: Callable[[], Turn]) -> Turn:
        try:
            with self._lock:
                return move()
        finally:
            if self._stopped:
                self._close_unless_in_use()

    def _send(self, file: Any, offset: int) -> Turn:
        sent = 0
        waiting = _Patience(self._socket, select.POLLOUT)
        while not (self._stopped or waiting.is_over()):
            try:
                count = os.sendfile(self._socket.fileno(), file.fileno(), offset + sent, CHUNK)
            except BlockingIOError:
                if waiting.wait(sent):
                    continue
                return Turn(sent, blocked=True)
            except OSError as error:
                if error.errno == errno.EIO:
                    # The disk's.
                    raise
                unsupported = error.errno in _UNSUPPORTED
                return Turn(sent, broken=not unsupported, unsupported=unsupported)
            if not count:
                return Turn(sent, done=True)
            sent += count
        return Turn(sent)

    def _receive(self, file: Any) -> Turn:
        received = 0
        buffer = _buffer()
        waiting = _Patience(self._socket, select.POLLIN)
        while not (self._stopped or waiting.is_over()):
            try:
                count = self._socket.recv_into(buffer)
            except BlockingIOError:
                if waiting.wait(received):
                    continue
                return Turn(received, blocked=True)
            except OSError:
                return Turn(received, broken=True)
            if not count:
                return Turn(received, done=True)
            file.write(buffer[:count])
            received += count
        return Turn(received)

    # On the reactor's thread.

    def wait(self, *, to_read: bool) -> None:
        """Call :attr:`ready` once when octets can go through."""
        if to_read:
            self._reactor.addReader(self)
        else:
            self._reactor.addWriter(self)

    def stop_waiting(self) -> None:
        self._reactor.removeReader(self)
        self._reactor.removeWriter(self)

    def close(self) -> None:
        """Nothing more is to be moved; a thread at work ends soon."""
        self.stop_waiting()
        self._stopped = True
        self._close_unless_in_use()

    def _close_unless_in_use(self) -> None:
        # Whoever comes second closes it: the thread that ends its turn, or the reactor's.
        if self._lock.acquire(blocking=False):
            self._socket.close()
            self._lock.release()

    # Called by the reactor.

    def fileno(self) -> int:
        return self._socket.fileno()

    def logPrefix(self) -> str:
        return "FTP data"

    def doRead(self) -> None:
        self.stop_waiting()
        self._ready()

    doWrite = doRead  # noqa: N815

    def connectionLost(self, reason: Failure) -> None:
        # Moving will tell.
        self.stop_waiting()
        self._ready()


class _Patience:
    """How long a thread stays with a transfer."""

    def __init__(self, connection: socket, event: int) -> None:
        self._poll = select.poll()
        self._poll.register(connection, event)
        self._end = time.monotonic() + TURN
        self._moved = 0

    def is_over(self) -> bool:
        return time.monotonic() > self._end

    def wait(self, moved: int) -> bool:
        """Whether the socket is ready, after a moment perhaps.

        :param moved: octets in all of the turn.
        """
        enough, self._moved = moved - self._moved >= ENOUGH, moved
        return enough and bool(self._poll.poll(PATIENCE))


def _buffer() -> memoryview:
    """The thread's own: there are more transfers than threads."""
    found: memoryview | None = getattr(_of_thread, "buffer", None)
    if found is None:
        found = _of_thread.buffer = memoryview(bytearray(CHUNK))
    return found
