"""A delivery whose speed and mood the tests decide, and a server without a network."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, cast

from twisted.cred.checkers import AllowAnonymousAccess, InMemoryUsernamePasswordDatabaseDontUse
from twisted.cred.portal import IRealm, Portal
from twisted.internet.address import IPv4Address, UNIXAddress
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import ISSLTransport
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import alsoProvides, implementer

from mailkit.errors import MailError
from mailkit.interfaces import IDeliveryAbilities, IMessageDelivery, ISenderPolicy, ISpooling
from mailkit.model import Ability, ConnectionInfo, Envelope, Outcome, Path, Recipient
from mailkit.smtp.protocol import SMTPFactory, SMTPProtocol
from mailkit.spool import Spool


@implementer(IMessageDelivery, ISpooling, ISenderPolicy, IDeliveryAbilities)
class FakeDelivery:
    """Keeps what it gets. ``trouble`` by method name is raised; ``slow`` methods wait."""

    def __init__(self, account: str | None = None) -> None:
        self.account = account
        self.abilities: frozenset[Ability] = frozenset()
        self.received: list[tuple[Envelope, bytes]] = []
        self.trouble: dict[str, Exception] = {}
        #: Errors of recipients, by local part: at RCPT, and after the content.
        self.unknown: dict[str, MailError] = {}
        self.failing: dict[str, MailError] = {}
        self.slow: set[str] = set()
        self.waiting: list[Deferred[None]] = []
        self.calls: list[str] = []
        self.spools: list[Spool] = []
        self.owned: set[str] = set()
        self.forgetful = False

    async def _enter(self, method: str) -> None:
        self.calls.append(method)
        if method in self.slow:
            gate: Deferred[None] = Deferred()
            self.waiting.append(gate)
            await gate
        if method in self.trouble:
            raise self.trouble[method]

    def go_on(self) -> None:
        waiting, self.waiting = self.waiting, []
        for gate in waiting:
            gate.callback(None)

    async def check_sender(self, envelope: Envelope) -> None:
        await self._enter("check_sender")

    async def check_recipient(self, envelope: Envelope, recipient: Recipient) -> None:
        await self._enter("check_recipient")
        if recipient.path.local_part in self.unknown:
            raise self.unknown[recipient.path.local_part]

    async def deliver(self, envelope: Envelope, message: Spool) -> Sequence[Outcome]:
        await self._enter("deliver")
        with message.open() as reader:
            self.received.append((envelope, reader.read()))
        if self.forgetful:
            return []
        return [Outcome(r, self.failing.get(r.path.local_part)) for r in envelope.recipients]

    async def owns_address(self, path: Path) -> bool:
        await self._enter("owns_address")
        return str(path) in self.owned

    def new_spool(self) -> Spool:
        if "new_spool" in self.trouble:
            raise self.trouble["new_spool"]
        spool = CountedSpool()
        self.spools.append(spool)
        return spool

    @property
    def contents(self) -> list[bytes]:
        """The messages without the Received field."""
        return [strip_trace(message) for _, message in self.received]


class CountedSpool(Spool):
    """Knows whether it was closed, and can fail."""

    closed = False
    trouble: OSError | None = None

    def write(self, data: bytes) -> None:
        if self.trouble is not None:
            raise self.trouble
        super().write(data)

    def close(self) -> None:
        self.closed = True
        super().close()


def make_envelope(*recipients: str, **settings: object) -> Envelope:
    """A transaction with recipients in example.org, by local part."""
    client = ConnectionInfo("smtp", "192.0.2.7")
    envelope = Envelope(client, "client.example", Path("ann", "example.net"), transaction_id="t1")
    envelope.recipients = [Recipient(Path(name, "example.org")) for name in recipients]
    for name, value in settings.items():
        setattr(envelope, name, value)
    return envelope


def strip_trace(message: bytes) -> bytes:
    """A message without its first field, which must be Received."""
    assert message.startswith(b"Received: "), message[:80]
    position = message.index(b"\r\n") + 2
    while message[position : position + 1] in (b" ", b"\t"):
        position = message.index(b"\r\n", position) + 2
    return message[position:]


@implementer(IRealm, IDeliveryAbilities)
class FakeRealm:
    """One delivery for anybody, one for each user."""

    def __init__(self, anonymous: FakeDelivery, users: dict[str, FakeDelivery]) -> None:
        self.anonymous = anonymous
        self.users = users
        self.logins: list[Any] = []
        self.logouts: list[Any] = []
        self.slow: Deferred[None] | None = None

    @property
    def abilities(self) -> frozenset[Ability]:
        return self.anonymous.abilities

    def requestAvatar(self, avatar_id: Any, mind: Any, *interfaces: Any) -> Deferred[Any]:
        return Deferred.fromCoroutine(self._avatar(avatar_id, mind))

    async def _avatar(self, avatar_id: Any, mind: Any) -> Any:
        if self.slow is not None:
            await self.slow
        name = avatar_id.decode() if isinstance(avatar_id, bytes) else avatar_id
        self.logins.append((name, mind))
        avatar = self.users[name] if name else self.anonymous
        return IMessageDelivery, avatar, lambda: self.logouts.append(name)


class Transport(StringTransport):
    """A StringTransport with a peer, that can pretend TLS."""

    def __init__(self, peer: str = "192.0.2.7") -> None:
        local: Any = IPv4Address("TCP", "192.0.2.1", 25)
        remote: Any = IPv4Address("TCP", peer, 40000)
        if not peer:
            # As over a UNIX socket.
            local, remote = UNIXAddress("/run/server"), UNIXAddress(None)
        super().__init__(local, remote, lenient=True)
        self.tls_begun = 0
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(data)
        super().write(data)

    def startTLS(self, context: Any, normal: bool = True) -> None:  # noqa: N802
        self.tls_begun += 1
        alsoProvides(self, ISSLTransport)


class Server:
    """A factory, one connection to it, and everything behind."""

    factory_class: type[SMTPFactory] = SMTPFactory

    def __init__(
        self,
        *,
        peer: str = "192.0.2.7",
        tls: bool = False,
        passwords: dict[str, str] | None = None,
        anonymous: bool = True,
        portal: bool = True,
        abilities: Iterable[Ability] = (),
        factory_class: type[SMTPFactory] | None = None,
        **settings: Any,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.delivery = FakeDelivery()
        self.users = {name: FakeDelivery(f"{name}@example.org") for name in passwords or {}}
        for delivery in (self.delivery, *self.users.values()):
            delivery.abilities = frozenset(abilities)
        self.realm = FakeRealm(self.delivery, self.users)
        self.portal = Portal(cast(Any, self.realm))
        if anonymous:
            self.portal.registerChecker(AllowAnonymousAccess())
        if passwords:
            checker = InMemoryUsernamePasswordDatabaseDontUse()
            for name, password in passwords.items():
                checker.addUser(name.encode(), password.encode())
            self.portal.registerChecker(cast(Any, checker))
        settings.setdefault("hostname", "mx.example.org")
        self.factory = (factory_class or self.factory_class)(
            self.portal if portal else None, clock=cast(Any, self.clock), **settings
        )
        self.peer = peer
        self.tls = tls
        self.connect()

    def connect(self) -> None:
        """Another connection, instead of the first."""
        self.transport = Transport(self.peer)
        if self.tls:
            alsoProvides(self.transport, ISSLTransport)
        self.protocol = cast(SMTPProtocol, self.factory.buildProtocol(None))
        self.protocol.makeConnection(cast(Any, self.transport))

    def send(self, data: bytes) -> bytes:
        """Send octets in one piece; what the server says to them."""
        self.transport.clear()
        self.protocol.dataReceived(data)
        return self.transport.value()

    def say(self, *lines: str) -> list[str]:
        """Send lines one by one; the lines of all replies."""
        return b"".join(self.send(f"{line}\r\n".encode()) for line in lines).decode().splitlines()

    def answer(self) -> bytes:
        """What the server has said since the last send."""
        return self.transport.value()

    def greet(self) -> Server:
        """Say EHLO."""
        assert self.say("EHLO client.example")[0].startswith("250-")
        return self

    def begin(self, *recipients: str, sender: str = "ann@example.net") -> Server:
        """A transaction up to the 354 of DATA."""
        self.greet()
        replies = self.say(
            f"MAIL FROM:<{sender}>", *(f"RCPT TO:<{r}>" for r in recipients or ("bob@example.org",))
        )
        assert all(reply.startswith("250 ") for reply in replies), replies
        assert self.say("DATA")[0].startswith("354 ")
        return self

    def lose(self) -> None:
        """The connection breaks."""
        self.protocol.connectionLost(Failure(ConnectionDone()))

    @property
    def closed(self) -> bool:
        """The server has closed the connection."""
        return bool(self.transport.disconnecting)
