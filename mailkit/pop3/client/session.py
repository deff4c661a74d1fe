"""A connection to a server, for those who use it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

from mailkit.client.channel import DuplexChannel
from mailkit.client.content import Content
from mailkit.client.errors import ClientError, ProtocolError
from mailkit.client.security import TLSInfo
from mailkit.client.text import clean_text
from mailkit.pop3.client.commands import (
    make_command,
    message_number,
    read_size,
    read_stat,
    read_unique_id,
)
from mailkit.pop3.client.connection import Connection
from mailkit.pop3.client.errors import NotOffered, Refused
from mailkit.pop3.client.fetching import Contents, MessageStream
from mailkit.pop3.client.opening import capabilities, has, open_connection
from mailkit.pop3.client.settings import ClientSettings, ConnectionFacts
from mailkit.pop3.client.values import Farewell, Language, Retrieved, Stat

_Value = TypeVar("_Value")


class Session:
    """A connection to a server; :func:`~mailkit.pop3.client.connect` makes one that is open.

    Several coroutines may use it at once: their commands are sent one behind the other, without
    waiting for answers where the server announces PIPELINING.

    :param channel: the connection.
    :param tls: of a connection that is under TLS from the start.
    """

    def __init__(
        self, channel: DuplexChannel, settings: ClientSettings, tls: TLSInfo | None = None
    ) -> None:
        self._connection = Connection(channel, settings)
        self._connection.facts.tls = tls
        self._contents = Contents(self._connection)
        self._deleted = 0

    @property
    def facts(self) -> ConnectionFacts:
        """The connection as it stands now; a copy."""
        return replace(self._connection.facts)

    @property
    def closed(self) -> bool:
        """Nothing more can be sent."""
        return self._connection.closed

    def note_tls_failure(self, text: str) -> None:
        """Remember why there is no TLS."""
        self._connection.facts.tls_failure = text

    async def open(self) -> None:
        """Read the greeting, begin TLS, log in: what the settings ask for.

        :raises ClientError: the connection cannot be used; it is closed.
        """
        await open_connection(self._connection)

    # The maildrop.

    async def capa(self) -> Mapping[str, tuple[str, ...]]:
        """Ask for the capabilities as they are now: names in capitals, and their parameters.

        :raises NotOffered: the server does not know CAPA.
        """
        await capabilities(self._connection)
        if self._connection.facts.announced is None:
            raise NotOffered("The mail server does not tell what it can do", command="CAPA")
        return self._connection.facts.announced

    async def stat(self) -> Stat:
        """How many messages there are, and of how many octets."""
        status = await self._connection.run(make_command("STAT"))
        try:
            return Stat(*read_stat(status.text))
        except ProtocolError as error:
            raise self._broken(error, "STAT") from None

    async def list(self) -> dict[int, int]:
        """Octets of each message, by message number."""
        found: dict[int, int] = {}

        def collect(line: bytes) -> None:
            number, size = read_size(line)
            found[number] = size

        await self._collect("LIST", collect)
        return found

    async def size(self, number: int) -> int:
        """Octets of a message.

        :raises Refused: there is no such message.
        """
        return await self._ask("LIST", number, read_size)

    async def uidl(self) -> dict[int, str]:
        """What identifies each message, now and in later sessions, by message number."""
        found: dict[int, str] = {}

        def collect(line: bytes) -> None:
            number, unique_id = read_unique_id(line)
            found[number] = unique_id

        await self._collect("UIDL", collect)
        return found

    async def unique_id(self, number: int) -> str:
        """What identifies a message.

        :raises Refused: there is no such message.
        """
        return await self._ask("UIDL", number, read_unique_id)

    async def retr(self, number: int) -> Content:
        """A message: small in memory, large in a temporary file.

        :raises Refused: there is no such message.
        """
        return await self._contents.one("RETR", message_number(number))

    async def top(self, number: int, lines: int = 0) -> Content:
        """The header of a message and the first lines of its body.

        :raises Refused: there is no such message, or the server has no TOP.
        """
        if lines < 0:
            raise ValueError("a number of lines is not negative")
        return await self._contents.one("TOP", message_number(number), lines)

    def stream(self, number: int) -> AsyncIterator[bytes]:
        """The octets of a message as they come, without keeping them.

        Line ends may be cut apart between two pieces.

        :raises Refused: there is no such message.
        """
        return MessageStream(self._connection, number).read()

    def fetch(self, numbers: Iterable[int]) -> AsyncIterator[Retrieved]:
        """Messages one behind the other; those that follow are on their way meanwhile.

        One that the server refuses comes too, with the reason and without content.
        """
        return self._contents.many([message_number(number) for number in numbers])

    async def dele(self, *numbers: int) -> None:
        """Mark messages as deleted; only :meth:`quit` has them removed.

        :raises Refused: one of them does not exist; the others are marked all the same.
        """
        for refusal in (await self.dele_each(numbers)).values():
            raise refusal

    async def dele_each(self, numbers: Iterable[int]) -> Mapping[int, Refused]:
        """Mark messages as deleted, as :meth:`dele`; by their numbers, those that were refused."""
        connection = self._connection
        commands = {number: make_command("DELE", message_number(number)) for number in numbers}
        flights = {number: await connection.begin(each) for number, each in commands.items()}
        refusals: dict[int, Refused] = {}
        for number, flight in flights.items():
            try:
                await connection.finish(flight)
                self._deleted += 1
            except Refused as error:
                refusals[number] = error
        return refusals

    async def rset(self) -> None:
        """Unmark all messages."""
        await self._connection.run(make_command("RSET"))
        self._deleted = 0

    async def noop(self) -> None:
        """See whether the server is there, and have it know that we are."""
        await self._connection.run(make_command("NOOP"))

    # Languages.

    async def languages(self) -> Sequence[Language]:
        """Those that the server speaks (RFC 6856 section 3)."""
        self._need("LANG")
        found: list[Language] = []

        def collect(line: bytes) -> None:
            tag, _, name = clean_text(line).strip().partition(" ")
            found.append(Language(tag, name.strip()))

        await self._collect("LANG", collect)
        return found

    async def lang(self, language: str = "*") -> str:
        """Have the server speak a language.

        :param language: a tag; ``*`` for the server's choice.
        :returns: its text.
        :raises Refused: it does not.
        """
        self._need("LANG")
        command = make_command("LANG", language)
        command.alone = True
        status = await self._connection.run(command)
        self._connection.facts.language = language
        return status.text

    # The end.

    async def quit(self) -> Farewell:
        """Have the marked messages removed, say goodbye, and close; never fails."""
        connection = self._connection
        if connection.closed:
            return self._farewell(connection.failure)
        connection.leaving = True
        command = make_command("QUIT")
        command.alone, command.patience = True, connection.settings.timeouts.quit
        try:
            outcome = Farewell(True, (await connection.run(command)).text)
        except Refused as error:
            # RFC 1939 section 6: some or none of the messages are removed.
            outcome = Farewell(False, error.text)
        except ClientError as error:
            return self._farewell(error)
        await connection.channel.close()
        self.abort()
        return outcome

    def _farewell(self, error: ClientError | None) -> Farewell:
        text = error.text if error is not None else ""
        if not self._connection.leaving:
            # RFC 1939 section 6: without QUIT nothing is removed.
            return Farewell(not self._deleted, text)
        return Farewell(None if self._deleted else True, text)

    def abort(self) -> None:
        """Close at once; no message is removed."""
        self._connection.fail(ClientError("The connection is closed"))

    # What they share.

    def _need(self, name: str) -> None:
        if not has(self._connection, name):
            raise NotOffered(f"The mail server has no {name}", command=name)

    async def _collect(self, verb: str, collect: Callable[[bytes], object]) -> None:
        command = make_command(verb)
        command.collect = collect
        await self._connection.run(command)

    async def _ask(
        self, verb: str, number: int, read: Callable[[bytes], tuple[int, _Value]]
    ) -> _Value:
        """The answer about one message."""
        command = make_command(verb, message_number(number))
        text = (await self._connection.run(command)).text
        try:
            found, value = read(text.encode("utf-8"))
            if found != number:
                raise ProtocolError(f"The server answers for message {found}, not {number}")
        except ProtocolError as error:
            raise self._broken(error, verb) from None
        return value

    def _broken(self, error: ClientError, verb: str) -> ClientError:
        """Whoever answers that cannot be trusted with anything."""
        error.command = verb
        self._connection.fail(error)
        return error
