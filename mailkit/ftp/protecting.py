"""TLS of data connections, which says nothing that a client does not wait for."""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Factory, Protocol
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory

from mailkit._typing import override

_TLS_1_3 = 0x0304
# SSL_get_shutdown(3)
_SENT_SHUTDOWN = 1


class HeldOutput(ProtocolWrapper):
    """Stands between a socket and TLS, and can keep what TLS wants to send.

    After the handshake of TLS 1.3, a server sends session tickets. A client that only uploads may
    never read them, and close: its system then breaks the connection off, because there are octets
    unread, and throws away what it has not sent yet of the file.
    """

    transport: Any

    def __init__(self, factory: Any, protocol: Any) -> None:
        super().__init__(factory, protocol)
        self._held: list[bytes] | None = None

    def hold(self, connection: Any) -> None:
        """The handshake is over: keep what comes, as far as the client can do without.

        :param connection: that of OpenSSL. Older versions of TLS end the handshake with what the
            server sends.
        """
        if self._held is None and connection.get_protocol_version() >= _TLS_1_3:
            self._held = []

    def release(self) -> None:
        """Send what was kept, and whatever comes."""
        held, self._held = self._held, None
        if held:
            self.transport.write(b"".join(held))

    def end(self, connection: Any) -> None:
        """End the connection as soon as TLS has sent its own end, without waiting for the client's.

        The client need not answer that (RFC 8446 section 6.1), and may read our reply first.

        :param connection: that of OpenSSL.
        """
        if connection is not None and connection.get_shutdown() & _SENT_SHUTDOWN:
            self.loseConnection()

    @override
    def write(self, data: bytes) -> None:
        if self._held is None:
            self.transport.write(data)
        else:
            self._held.append(data)

    @override
    def loseConnection(self) -> None:
        self.release()
        super().loseConnection()  # type: ignore[no-untyped-call]


def put_under_tls(protocol: Protocol, context: Any, reactor: Any) -> HeldOutput:
    """What a transport talks to in place of a protocol; it is TLS's server.

    :param context: an ``IOpenSSLServerConnectionCreator`` or a context factory.
    """

    def build() -> Protocol:
        return protocol

    tls = TLSMemoryBIOFactory(context, False, Factory.forProtocol(build), reactor)
    tls.noisy = False
    return HeldOutput(WrappingFactory(tls), tls.buildProtocol(None))
