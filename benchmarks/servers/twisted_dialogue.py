"""A protocol of Twisted's that answers the dialogue of SMTP, looks at nothing and keeps nothing."""

from __future__ import annotations

import sys

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol


class Dialogue(Protocol):
    """Takes each line for a command until DATA, and then all up to the final dot."""

    _content = False
    _tail = b""

    def connectionMade(self) -> None:
        self.transport.setTcpNoDelay(True)
        self.transport.write(b"220 floor\r\n")

    def dataReceived(self, data: bytes) -> None:
        if self._content:
            self._tail = (self._tail + data[-5:])[-5:]
            if self._tail == b"\r\n.\r\n":
                self._content = False
                self.transport.write(b"250 taken\r\n")
            return
        replies = []
        for line in data.split(b"\r\n")[:-1]:
            verb = line[:4]
            if verb == b"EHLO":
                replies.append(b"250-floor\r\n250 PIPELINING\r\n")
            elif verb == b"DATA":
                self._content, self._tail = True, b""
                replies.append(b"354 go on\r\n")
            elif verb == b"QUIT":
                self.transport.write(b"221 bye\r\n")
                self.transport.loseConnection()
                return
            else:
                replies.append(b"250 yes\r\n")
        self.transport.write(b"".join(replies))


if __name__ == "__main__":
    reactor.listenTCP(
        int(sys.argv[1]), Factory.forProtocol(Dialogue), backlog=100, interface="127.0.0.1"
    )
    reactor.run()
