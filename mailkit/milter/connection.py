"""A connection to a milter.

Each client of ours has one of its own, for all its messages: libmilter does not answer any more
after SMFIC_QUIT_NC, by which another client would follow.

Ordering: one exchange at a time. Whoever has the connection sends commands and waits for the reply
to each, unless the milter has said that it gives none.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.endpoints import connectProtocol
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IPushProducer, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailkit._typing import override
from mailkit.milter import packets
from mailkit.milter.packets import MilterError, Options, Packet

MilterFailure = Literal["tempfail", "accept", "reject"]

#: Packets that a milter may send ahead before it must wait.
MAX_AHEAD = 100


class MilterSettings(NamedTuple):
    """How milters are asked; time in seconds, with the defaults of Postfix."""

    #: Until the connection stands and the options are agreed on.
    connect_timeout: float = 30.0
    #: Until the reply to a command of the envelope.
    command_timeout: float = 30.0
    #: Until the reply to a piece of content, and between two replies at its end.
    content_timeout: float = 300.0
    #: What a milter that cannot be asked counts as.
    failure: MilterFailure = "tempfail"
    #: Changes that a milter may make to one message.
    max_modifications: int = 1000
    #: Octets of a body that a milter puts in the place of another one.
    max_body: int = 100 * 1024 * 1024


#: The settings where nothing else is said.
SETTINGS = MilterSettings()


@implementer(IPushProducer)
class MilterConnection(Protocol):
    """One connection to a milter."""

    transport: Any

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._decoder = packets.Decoder()
        self._packets: list[Packet] = []
        self._waiting: Deferred[Packet] | None = None
        self._gate: Deferred[None] | None = None
        self._paused = False
        self._error: Exception | None = None
        #: What was agreed on.
        self.options: Options | None = None

    @property
    def alive(self) -> bool:
        """It can be spoken to, and has said nothing that nobody has asked for."""
        return self._error is None and not self._packets

    @override
    def connectionMade(self) -> None:
        self.transport.registerProducer(self, True)

    @override
    def dataReceived(self, data: bytes) -> None:
        try:
            self._packets += self._decoder.feed(data)
        except MilterError as error:
            self._fail(error)
            self.abort()
            return
        if self._waiting is not None and self._packets:
            waiting, self._waiting = self._waiting, None
            waiting.callback(self._packets.pop(0))
        if len(self._packets) > MAX_AHEAD:
            self.transport.pauseProducing()

    @override
    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._fail(MilterError("the connection was closed"))

    def _fail(self, error: Exception) -> None:
        self._error = self._error or error
        waiting, self._waiting = self._waiting, None
        gate, self._gate = self._gate, None
        for each in (waiting, gate):
            if each is not None:
                each.errback(self._error)

    def send(self, octets: bytes) -> None:
        """Send packets.

        :raises MilterError: the connection is gone.
        """
        if self._error is not None:
            raise MilterError(str(self._error))
        self.transport.write(octets)

    async def drain(self, timeout: float) -> None:
        """Wait until the milter has read what was sent.

        :raises MilterError: it does not.
        """
        if self._paused and self._error is None:
            self._gate = Deferred()
            await self._in_time(self._gate, timeout)

    async def receive(self, timeout: float) -> Packet:
        """The next packet that is not about progress.

        :raises MilterError: there is none in time.
        """
        while True:
            if self._packets:
                found = self._packets.pop(0)
                if not self._packets:
                    self.transport.resumeProducing()
            elif self._error is not None:
                raise MilterError(str(self._error))
            else:
                self._waiting = Deferred()
                found = await self._in_time(self._waiting, timeout)
            if found.code != packets.PROGRESS:
                return found

    async def _in_time(self, waiting: Deferred[Any], timeout: float) -> Any:
        waiting.addTimeout(timeout, self._clock)
        try:
            return await waiting
        except TookTooLong:
            raise MilterError(f"no answer in {timeout:g} seconds") from None
        finally:
            self._waiting = self._gate = None

    async def negotiate(self, timeout: float) -> Options:
        """Agree on options.

        :raises MilterError: that is not possible.
        """
        self.send(packets.options())
        answer = await self.receive(timeout)
        if answer.code != b"O":
            raise MilterError(f"it answers the options by {answer.code!r}")
        self.options = packets.parse_options(answer.data)
        return self.options

    def quit(self) -> None:
        """End the connection in order."""
        if self._error is None:
            self.transport.write(packets.QUIT)
            self._error = MilterError("the connection was ended")
            self.transport.unregisterProducer()
            self.transport.loseConnection()

    def abort(self) -> None:
        """End the connection at once: nobody knows what the milter thinks."""
        self._error = self._error or MilterError("the connection was ended")
        self.transport.abortConnection()

    def pauseProducing(self) -> None:
        """The milter does not read as fast as it is written to."""
        self._paused = True

    def resumeProducing(self) -> None:
        """It has read all."""
        self._paused = False
        gate, self._gate = self._gate, None
        if gate is not None:
            gate.callback(None)

    def stopProducing(self) -> None:
        """The connection is gone."""


class Milter:
    """Where a milter listens, and how it is asked.

    :param endpoint: where it listens.
    :param name: what the log calls it.
    :param clock: source of time; the global reactor when None.
    """

    def __init__(
        self,
        endpoint: IStreamClientEndpoint,
        name: str = "milter",
        settings: MilterSettings = SETTINGS,
        clock: IReactorTime | None = None,
    ) -> None:
        if settings.failure not in ("tempfail", "accept", "reject"):
            raise ValueError("the failure of a milter counts as 'tempfail', 'accept' or 'reject'")
        if clock is None:
            from twisted.internet import reactor

            clock = cast(IReactorTime, reactor)
        self.endpoint = endpoint
        self.name = name
        self.settings = settings
        self.clock = clock

    async def connect(self) -> MilterConnection:
        """A new connection, its options agreed on.

        :raises MilterError: there is none in time.
        """
        timeout = self.settings.connect_timeout
        connection = MilterConnection(self.clock)
        connecting: Deferred[Any] = connectProtocol(self.endpoint, connection)
        connecting.addTimeout(timeout, self.clock)
        try:
            await connecting
        except TookTooLong:
            raise MilterError(f"no connection in {timeout:g} seconds") from None
        except (ConnectError, ConnectionClosed, OSError) as error:
            raise MilterError(f"no connection: {error}") from None
        try:
            await connection.negotiate(timeout)
        except BaseException:
            connection.abort()
            raise
        return connection
