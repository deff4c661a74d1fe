"""A connection to a milter.

Each client of ours has one of its own, for all its messages. Where a milter is known to bear
SMFIC_QUIT_NC, by which another client follows, connections are kept for further clients; libmilter
does not answer any more after it.

Ordering: one exchange at a time. Whoever has the connection sends commands and waits for the reply
to each, unless the milter has said that it gives none.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple, cast

from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TookTooLong
from twisted.internet.error import ConnectError, ConnectionClosed
from twisted.internet.interfaces import IPushProducer, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from mailkit._typing import override
from mailkit.milter import packets
from mailkit.milter.packets import MilterError, Options, Packet

MilterFailure = Literal["tempfail", "accept", "reject"]

#: Connections to one milter that are kept for further clients, and for how many seconds each.
MAX_IDLE = 20
IDLE_TIMEOUT = 30.0
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
    #: Keep connections for further clients: for milters that bear SMFIC_QUIT_NC (rspamd does, what
    #: is made with libmilter does not).
    reuse: bool = False


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
        #: It has had a client before.
        self.used = False

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

    def next_client(self) -> None:
        """The client is gone, and another one may follow."""
        self.used = True
        self.send(packets.QUIT_NC)

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
        # What waits for another client, each with the call that ends it.
        self._idle: dict[MilterConnection, Any] = {}

    def release(self, connection: MilterConnection) -> None:
        """A client is gone: end its connection, or keep it for another one."""
        options = connection.options
        if (
            not self.settings.reuse
            or not connection.alive
            or options is None
            or options.version < 6
            or len(self._idle) >= MAX_IDLE
        ):
            connection.quit()
            return
        connection.next_client()
        call = self.clock.callLater(IDLE_TIMEOUT, self._end_idle, connection)
        self._idle[connection] = call

    def _end_idle(self, connection: MilterConnection) -> None:
        del self._idle[connection]
        connection.quit()

    def close(self) -> None:
        """End the connections that wait for another client."""
        while self._idle:
            connection, call = self._idle.popitem()
            call.cancel()
            connection.quit()

    async def connect(self, fresh: bool = False) -> MilterConnection:
        """A connection, its options agreed on.

        :param fresh: none that has had a client before.
        :raises MilterError: there is none in time.
        """
        while self._idle and not fresh:
            # The youngest: a milter may have tired of the others.
            idle, call = self._idle.popitem()
            call.cancel()
            if idle.alive:
                return idle
            idle.quit()
        timeout = self.settings.connect_timeout
        factory: Any = Factory.forProtocol(lambda: MilterConnection(self.clock))
        # Each client of ours has a connection of its own: the log is not for that.
        factory.noisy = False
        connecting: Deferred[Any] = self.endpoint.connect(factory)
        connecting.addTimeout(timeout, self.clock)
        try:
            connection: MilterConnection = await connecting
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
