"""A connection to a server, for those who use it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace

from mailkit.client.channel import DuplexChannel
from mailkit.client.errors import ClientError
from mailkit.client.security import TLSInfo
from mailkit.imap.client.commands import Command, sort_keys
from mailkit.imap.client.connection import Connection
from mailkit.imap.client.converting import ConvertCommands
from mailkit.imap.client.criteria import search_keys
from mailkit.imap.client.errors import WrongState
from mailkit.imap.client.following import Following
from mailkit.imap.client.idle import Idling
from mailkit.imap.client.notify import EventGroup, Notifying
from mailkit.imap.client.opening import log_in_anew, open_connection
from mailkit.imap.client.responses import Typed
from mailkit.imap.client.selected import Selected
from mailkit.imap.client.settings import ClientSettings, ConnectionFacts
from mailkit.imap.client.values import Status
from mailkit.query import All, Query
from mailkit.wire.sasl_client import Credentials

_ALL = All()


class Session(ConvertCommands):
    """A connection to a server; :func:`~mailkit.imap.client.connect` makes one that is open.

    With ``async with`` it logs out at the end, or closes the connection where an error goes through.

    Several coroutines may use it at once: their commands are sent one behind the other, without
    waiting for answers where that is safe.

    :param channel: the connection.
    :param tls: of a connection that is under TLS from the start.
    """

    def __init__(
        self, channel: DuplexChannel, settings: ClientSettings, tls: TLSInfo | None = None
    ) -> None:
        self._connection = Connection(channel, settings)
        self._connection.facts.tls = tls

    async def __aenter__(self) -> Session:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *error: object) -> None:
        if kind is None:
            await self.logout()
        else:
            self.abort()

    @property
    def facts(self) -> ConnectionFacts:
        """The connection as it stands now; a copy."""
        return replace(self._connection.facts)

    @property
    def closed(self) -> bool:
        """Nothing more can be sent."""
        return self._connection.closed

    @property
    def selected(self) -> Selected | None:
        """The selected mailbox, as far as the server has told."""
        return self._connection.selected

    def note_tls_failure(self, text: str) -> None:
        """Remember why there is no TLS."""
        self._connection.facts.tls_failure = text

    def add_listener(self, listener: Callable[[Typed], None]) -> Callable[[], None]:
        """Have a function called with each response, once the state knows it; it must not raise.

        :returns: what ends that.
        """
        self._connection.listeners.append(listener)
        return lambda: self._connection.listeners.remove(listener)

    async def open(self) -> None:
        """Read the greeting, begin TLS, log in: what the settings ask for.

        :raises ClientError: the connection cannot be used; it is closed.
        """
        await open_connection(self._connection)

    # Mailboxes.

    async def select(
        self,
        name: str,
        *,
        read_only: bool = False,
        condstore: bool = False,
        annotate: bool = False,
    ) -> Selected:
        """Open a mailbox.

        Commands about messages must wait until this has returned: one that is called earlier may be
        about the mailbox that was open until then, and raise ``WrongState``.

        :param condstore: have modification sequences told (RFC 7162 section 3.1.8).
        :param annotate: have entries told whose annotations others change (RFC 5257 section 4.2).
        """
        parameters = []
        if condstore:
            self._need("CONDSTORE", "QRESYNC")
            parameters.append("CONDSTORE")
        if annotate:
            self._need("ANNOTATE-EXPERIMENT-1")
            parameters.append("ANNOTATE")
        text = f"({' '.join(parameters)})" if parameters else ""
        return await self.select_with(name, read_only, text)

    async def select_with(
        self,
        name: str,
        read_only: bool,
        parameters: str,
        collect: Callable[[Typed], bool] = lambda response: False,
    ) -> Selected:
        """Open a mailbox with parameters of an extension.

        :param parameters: as they are sent, such as ``(CONDSTORE)``, or nothing.
        :param collect: hears each response to the command; true for one that is for it.
        """
        connection = self._connection
        selected = Selected(name, read_only, connection.settings.limits)

        def sent() -> None:
            connection.selected = selected

        def done(status: Status) -> None:
            selected.opening = False
            if status.condition != "OK":
                # RFC 9051 section 6.3.2: then none is selected.
                connection.selected = None

        verb = "EXAMINE" if read_only else "SELECT"
        command = Command(verb, alone=True, sent=sent, done=done, collect=collect)
        command.add(self._mailbox(name))
        if parameters:
            command.add(parameters)
        await connection.run(command)
        return selected

    async def close_mailbox(self) -> None:
        """CLOSE: leave the mailbox; messages marked ``\\Deleted`` are removed unless it is read-only."""
        await self._leave("CLOSE")

    async def unselect(self) -> None:
        """Leave the mailbox as it is (RFC 3691)."""
        self._need("UNSELECT")
        await self._leave("UNSELECT")

    async def _leave(self, verb: str) -> None:
        def done(status: Status) -> None:
            if status.condition == "OK":
                self._connection.selected = None

        command = Command(verb, alone=True, selected=self._selected(), done=done)
        await self._connection.run(command)

    def idle(self) -> Idling:
        """Wait for changes; see :class:`~mailkit.imap.client.idle.Idling`."""
        self._connection.check()
        return Idling(self._connection, self.has("IDLE"))

    def notify(self, groups: Sequence[EventGroup], *, status: bool = False) -> Notifying:
        """Be told of changes while other things are done (RFC 5465).

        See :class:`~mailkit.imap.client.notify.Notifying`.

        :param status: be told first how the mailboxes are now.
        :raises NotOffered: the server has no NOTIFY.
        :raises ValueError: the groups make no sense.
        """
        self._connection.check()
        self._need("NOTIFY")
        return Notifying(self._connection, groups, status, self._mailbox)

    def follow(self, query: Query | str = _ALL, keys: str = "") -> Following:
        """Search, and be told how the result changes (RFC 5267).

        See :class:`~mailkit.imap.client.following.Following`.

        :param query: as :meth:`search` has it.
        :param keys: what to sort by, as :meth:`sort` has it; nothing for the order of the mailbox.
        :raises NotOffered: the server has no CONTEXT=SEARCH, or no CONTEXT=SORT.
        :raises ValueError: IMAP has no key for the query.
        """
        selected = self._selected()
        self._need("CONTEXT=SORT" if keys else "CONTEXT=SEARCH")
        command = self._search_command(selected, False, "SORT" if keys else "SEARCH")
        command.add("RETURN (UPDATE ALL)")
        if keys:
            command.add(*sort_keys(keys)).add("UTF-8")
        command.add(*search_keys(query, bool(keys) or self._utf8))
        return Following(self._connection, selected, command, self.has("IDLE"), bool(keys))

    # Another user.

    async def unauthenticate(self, credentials: Credentials) -> None:
        """Let somebody else have the connection (RFC 8437): no mailbox is selected then, and nothing
        enabled. Once the server has agreed, the connection is closed where the new login fails or is
        cancelled.

        :raises NotOffered: the server has no UNAUTHENTICATE.
        :raises WrongState: the connection is compressed.
        :raises AuthFailed: the server refuses the new user, or does not prove that it knows him.
        """
        self._need("UNAUTHENTICATE")
        connection = self._connection
        if connection.facts.compressed:
            # RFC 8437 section 4.1: that would have to end.
            raise WrongState("The connection is compressed")

        agreed = given_up = False

        def done(status: Status) -> None:
            nonlocal agreed
            if status.condition == "OK":
                agreed = True
                connection.selected = None
                connection.facts.account = None
                connection.facts.referrals = ()
                connection.facts.announced = connection.facts.enabled = frozenset()
                if given_up:
                    connection.fail(ClientError("The connection was given up"))

        patience = connection.settings.timeouts.login
        try:
            command = Command("UNAUTHENTICATE", alone=True, patience=patience, done=done)
            await connection.run(command)
        except BaseException:
            given_up = True
            if agreed:
                # Cancelled between the answer and its reading: nobody is logged in any more.
                connection.fail(ClientError("The connection was given up"))
            raise
        await connection.depend_on(log_in_anew(connection, credentials))

    # The end.

    async def logout(self) -> None:
        """Say goodbye and close; never fails."""
        connection = self._connection
        if connection.closed:
            return
        connection.leaving = True
        timeout = connection.settings.timeouts.logout
        try:
            with suppress(ClientError):
                await connection.run(Command("LOGOUT", alone=True, patience=timeout))
                await connection.channel.close()
        finally:
            # Cancelled, too: nobody else would close it.
            self.abort()

    def abort(self) -> None:
        """Close at once, whatever is under way."""
        self._connection.fail(ClientError("The connection is closed"))
