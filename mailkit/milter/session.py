"""One client's mail as one milter is asked about it: which command is due, what its reply means."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailkit import __version__
from mailkit.hooks import Answer, Defer, Discard, MailSession, Quarantine, Reject
from mailkit.milter import packets
from mailkit.milter.connection import Milter, MilterConnection
from mailkit.milter.message import MilterMessage
from mailkit.milter.packets import MilterError, Stage, Step, Verdict
from mailkit.model import Envelope, Path, Recipient
from mailkit.spool import Spool
from mailkit.wire.lineends import ToNetwork

#: Pieces of a body that are sent before other connections get their turn.
PIECES_A_TURN = 4

_UNAVAILABLE = "Service unavailable - try again later"
_TLS_MACROS = (
    *(b"{tls_version}", b"{cipher}", b"{cipher_bits}"),
    *(b"{cert_subject}", b"{cert_issuer}"),
)
#: The macros of each stage where a milter has no wish, as Postfix has them.
_MACROS: Mapping[Stage, Sequence[bytes]] = {
    Stage.CONNECT: (
        *(b"j", b"{daemon_name}", b"{daemon_addr}", b"{daemon_port}", b"v", b"_"),
        *(b"{client_addr}", b"{client_name}", b"{client_port}", b"{client_ptr}"),
    ),
    Stage.HELO: _TLS_MACROS,
    Stage.MAIL: (
        *(b"i", b"{auth_type}", b"{auth_authen}", b"{auth_author}"),
        *(b"{mail_addr}", b"{mail_host}", b"{mail_mailer}"),
        *_TLS_MACROS,
    ),
    Stage.RCPT: (b"i", b"{rcpt_addr}", b"{rcpt_host}", b"{rcpt_mailer}"),
    Stage.DATA: (b"i",),
    Stage.END_OF_HEADERS: (b"i",),
    Stage.END_OF_MESSAGE: (b"i",),
}


class MilterSession:
    """What one milter has been told of one client.

    Answers are those of a hook; None to go on. A milter that fails is no more asked about this
    client until the next MAIL, which tries it again.
    """

    log = Logger()

    def __init__(self, milter: Milter, client: MailSession) -> None:
        self._milter = milter
        self._client = client
        self._connection: MilterConnection | None = None
        # It has been told HELO under this name.
        self._helo: str | None = None
        # It has accepted the client, or this message.
        self._accepted_client = False
        self._accepted = False
        # It has been told MAIL, and nothing has ended the message since.
        self._in_message = False
        # It cannot be asked about this message any more.
        self._failed = False
        self._envelope: Envelope | None = None
        self._recipient: Recipient | None = None

    # Steps.

    async def connect(self, client: MailSession) -> Answer | None:
        """A client has connected. A failure is told at MAIL."""
        self._client = client
        try:
            return await self._begin()
        except MilterError as error:
            self._give_up(error)
            return None

    async def helo(self, client: MailSession) -> Answer | None:
        """HELO, EHLO or LHLO. A failure is told at MAIL."""
        self._client = client
        if self._accepted_client or self._connection is None:
            return None
        try:
            # RFC 5321 section 4.1.4: EHLO ends a transaction.
            self._end_message_early(self._connection)
            return await self._say_helo()
        except MilterError as error:
            self._give_up(error)
            return None

    async def mail(self, client: MailSession, envelope: Envelope) -> Answer | None:
        """MAIL."""
        self._client, self._envelope, self._recipient = client, envelope, None
        self._accepted, self._failed = False, False
        if self._accepted_client:
            return None
        try:
            refused = await self._get_ready()
            if refused is not None or self._accepted_client:
                return refused
            self._in_message = True
            path = f"<{envelope.reverse_path}>".encode("utf-8", "replace")
            command = packets.mail(path, _parameters(envelope.parameters))
            flags = Step.NO_MAIL, Step.SILENT_MAIL
            return await self._ask(Stage.MAIL, command, *flags)
        except MilterError as error:
            return self._failure(error)

    async def rcpt(
        self, client: MailSession, envelope: Envelope, recipient: Recipient
    ) -> Answer | None:
        """RCPT."""
        self._client, self._envelope, self._recipient = client, envelope, recipient
        if self._failed:
            return self._unavailable()
        if not self._wants_message:
            return None
        path = f"<{recipient.path}>".encode("utf-8", "replace")
        command = packets.rcpt(path, _parameters(recipient.parameters))
        try:
            return await self._ask(Stage.RCPT, command, Step.NO_RCPT, Step.SILENT_RCPT)
        except MilterError as error:
            return self._failure(error)

    async def message(
        self, client: MailSession, envelope: Envelope, message: MilterMessage
    ) -> Answer | None:
        """The complete message. Its changes are made to ``message``."""
        self._client, self._envelope, self._recipient = client, envelope, None
        if self._failed:
            return self._unavailable()
        if not self._wants_message:
            return None
        try:
            return await self._send_message(message)
        except MilterError as error:
            return self._failure(error)

    @property
    def _wants_message(self) -> bool:
        return (
            self._connection is not None
            and self._in_message
            and not (self._accepted or self._accepted_client)
        )

    def end(self) -> None:
        """The client is gone."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        self._milter.release(connection)

    def give_up(self) -> None:
        """Nobody waits for the answer any more, and the milter may still be about to give it."""
        self._failed = True
        self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        self._in_message = False
        if connection is not None:
            connection.abort()

    # What a milter is told.

    async def _get_ready(self) -> Answer | None:
        """Whatever must come before MAIL."""
        connection = self._connection
        if connection is not None and not connection.alive:
            self._drop()
        if self._connection is None:
            refused = await self._begin()
            if refused is not None or self._accepted_client:
                return refused
        else:
            # After RSET, or a message that was refused elsewhere.
            self._end_message_early(self._connection)
        if self._helo != self._client.helo:
            return await self._say_helo()
        return None

    def _end_message_early(self, connection: MilterConnection) -> None:
        if self._in_message:
            self._in_message = False
            connection.send(packets.ABORT)

    async def _begin(self) -> Answer | None:
        self._connection = await self._milter.connect()
        if self._connection.used:
            try:
                return await self._say_connect()
            except MilterError:
                # It has closed a connection that it was not expected to close.
                self._drop()
                self._connection = await self._milter.connect(fresh=True)
        return await self._say_connect()

    async def _say_connect(self) -> Answer | None:
        self._helo, self._in_message = None, False
        info = self._client.connection
        name = (self._client.client_name or _literal(info.peer)).encode("utf-8", "replace")
        command = packets.connect(name, info.peer.partition("%")[0], info.peer_port)
        return await self._ask(Stage.CONNECT, command, Step.NO_CONNECT, Step.SILENT_CONNECT)

    async def _say_helo(self) -> Answer | None:
        self._helo = self._client.helo
        command = packets.helo(self._helo.encode("utf-8", "replace"))
        return await self._ask(Stage.HELO, command, Step.NO_HELO, Step.SILENT_HELO)

    async def _send_message(self, message: MilterMessage) -> Answer | None:
        connection, options = self._get()
        timeout = self._milter.settings.content_timeout
        if options.version >= 4:
            refused = await self._ask(Stage.DATA, packets.DATA, Step.NO_DATA, Step.SILENT_DATA)
            if refused is not None or self._accepted:
                return refused
        if not options.steps & Step.NO_HEADERS:
            for name, value in message.fields:
                if not name:
                    continue
                if not options.steps & Step.LEADING_SPACE:
                    value = value.removeprefix(b" ")
                connection.send(packets.header(name, value))
                if options.steps & Step.SILENT_HEADERS:
                    await connection.drain(timeout)
                    continue
                refused = await self._reply(timeout)
                if refused is not None or self._accepted:
                    return refused
        flags = Step.NO_END_OF_HEADERS, Step.SILENT_END_OF_HEADERS
        refused = await self._ask(Stage.END_OF_HEADERS, packets.END_OF_HEADERS, *flags)
        if refused is not None or self._accepted:
            return refused
        if not options.steps & Step.NO_BODY:
            refused = await self._send_body(message)
            if refused is not None or self._accepted:
                return refused
        return await self._end_message(message)

    async def _send_body(self, message: MilterMessage) -> Answer | None:
        connection, options = self._get()
        timeout = self._milter.settings.content_timeout
        count = 0
        with message.open_body() as file:
            while chunk := file.read(packets.MAX_CHUNK):
                connection.send(packets.body(chunk))
                count += 1
                if count % PIECES_A_TURN == 0:
                    await self._turn()
                if options.steps & Step.SILENT_BODY:
                    await connection.drain(timeout)
                    continue
                answer = await connection.receive(timeout)
                if answer.code == Verdict.SKIP.value:
                    return None
                refused = self._judge(answer)
                if refused is not None or self._accepted:
                    return refused
        return None

    async def _end_message(self, message: MilterMessage) -> Answer | None:
        connection, options = self._get()
        settings = self._milter.settings
        self._send_macros(Stage.END_OF_MESSAGE)
        connection.send(packets.END_OF_MESSAGE)
        changes: list[packets.Modification] = []
        body: Spool | None = None
        lines = ToNetwork()
        is_binary = self._envelope is not None and self._envelope.body == "BINARYMIME"
        try:
            while True:
                answer = await connection.receive(settings.content_timeout)
                if not packets.is_modification(answer.code):
                    break
                change = packets.parse_modification(answer, options.actions)
                if isinstance(change, packets.BodyPiece):
                    body = body or Spool()
                    if body.size + len(change.octets) > settings.max_body:
                        raise MilterError("it sends a body that is too large")
                    # For the milters behind this one, too, which may sign it.
                    body.write(change.octets if is_binary else lines.convert(change.octets))
                    continue
                changes.append(change)
                if len(changes) > settings.max_modifications:
                    raise MilterError("it makes too many changes")
            refused = self._judge(answer)
            self._in_message = False
            if refused is None:
                held = self._make_changes(message, changes)
                if body is not None:
                    message.replace_body(body)
                    body = None
                return held
            return refused
        except OSError as error:
            raise MilterError(f"cannot keep its body: {error}") from error
        finally:
            if body is not None:
                body.close()

    def _make_changes(
        self, message: MilterMessage, changes: Sequence[packets.Modification]
    ) -> Quarantine | None:
        held = None
        before = list(message.fields), list(message.edits)
        try:
            for change in changes:
                if isinstance(change, packets.Hold):
                    held = held or Quarantine(change.reason or self._milter.name)
                else:
                    message.change(change)
        except MilterError:
            # All of its changes, or none.
            message.fields, message.edits = before
            raise
        return held

    # Commands and replies.

    def _get(self) -> tuple[MilterConnection, packets.Options]:
        connection = self._connection
        if connection is None or connection.options is None:
            raise MilterError("there is no connection")
        return connection, connection.options

    async def _ask(
        self, stage: Stage, command: bytes, unwanted: Step, silent: Step
    ) -> Answer | None:
        """Send a command, if it is wanted, and judge the reply, if there is one."""
        connection, options = self._get()
        if options.steps & unwanted:
            return None
        self._send_macros(stage)
        connection.send(command)
        if options.steps & silent:
            return None
        settings = self._milter.settings
        content = stage in (Stage.END_OF_HEADERS, Stage.DATA)
        return await self._reply(settings.content_timeout if content else settings.command_timeout)

    async def _reply(self, timeout: float) -> Answer | None:
        connection, _ = self._get()
        return self._judge(await connection.receive(timeout))

    def _judge(self, answer: packets.Packet) -> Answer | None:
        """What a reply means.

        :raises MilterError: it is none.
        """
        try:
            verdict = Verdict(answer.code)
        except ValueError:
            raise MilterError(f"it answers by {answer.code!r}") from None
        name = self._milter.name
        if verdict is Verdict.ACCEPT:
            if self._in_message:
                self._accepted = True
            else:
                self._accepted_client = True
        elif verdict is Verdict.REJECT:
            return Reject("Command rejected", 550, "5.7.1")
        elif verdict is Verdict.TEMPFAIL:
            return Defer(_UNAVAILABLE, 451, "4.7.1")
        elif verdict is Verdict.DISCARD:
            if self._in_message:
                return Discard(f"{name} says so")
            self._accepted_client = True
        elif verdict is Verdict.REPLY_CODE:
            return _refusal(packets.parse_reply_text(answer.data))
        elif verdict is Verdict.SHUTDOWN:
            return Defer(_UNAVAILABLE, 421, "4.7.1", close=True)
        elif verdict is Verdict.CONNECTION_FAILURE:
            raise MilterError("it says that it has failed")
        return None

    def _send_macros(self, stage: Stage) -> None:
        connection, options = self._get()
        known = self._macro_values()
        names = options.macros.get(stage, _MACROS[stage])
        values = [(name, value) for name in names if (value := known.get(_macro(name)))]
        if values:
            connection.send(packets.macros(stage, values))

    def _macro_values(self) -> dict[bytes, bytes]:
        """What is known now, by names without braces."""
        client, envelope = self._client, self._envelope
        info = client.connection
        name = client.client_name or "unknown"
        values = {
            "j": client.hostname,
            "v": f"mailkit {__version__}",
            "_": f"{name} {_literal(info.peer)}" if info.peer else name,
            # As Postfix has it, not Sendmail: rspamd calls its results by that name (RFC 8601).
            "daemon_name": client.hostname,
            "daemon_addr": info.local,
            "daemon_port": str(info.local_port or ""),
            "client_addr": info.peer,
            "client_name": name,
            "client_ptr": name,
            "client_port": str(info.peer_port or ""),
            "tls_version": client.tls_version,
            "cipher": client.tls_cipher,
            "cipher_bits": str(client.tls_bits or ""),
            "cert_subject": client.certificate_subject,
            "cert_issuer": client.certificate_issuer,
            "auth_authen": client.account or "",
            "auth_type": client.auth_mechanism if client.account is not None else "",
        }
        if envelope is not None:
            values["i"] = envelope.transaction_id
            values["auth_author"] = envelope.submitter or ""
            values.update(_address_macros("mail", envelope.reverse_path))
        if self._recipient is not None:
            values.update(_address_macros("rcpt", self._recipient.path))
        return {k.encode(): v.encode("utf-8", "replace") for k, v in values.items()}

    # Failures.

    def _give_up(self, error: MilterError) -> None:
        self.give_up()
        self.log.warn("milter {name}: {error}", name=self._milter.name, error=error)

    def _failure(self, error: MilterError) -> Answer | None:
        self._give_up(error)
        return self._unavailable()

    def _unavailable(self) -> Answer | None:
        """What the client is told of a milter that cannot be asked."""
        failure = self._milter.settings.failure
        if failure == "accept":
            return None
        if failure == "reject":
            return Reject("Service unavailable", 550, "5.5.0")
        return Defer(_UNAVAILABLE, 451, "4.7.1")

    async def _turn(self) -> None:
        """Let others have their turn."""
        done: Deferred[None] = Deferred()
        call = self._milter.clock.callLater(0, done.callback, None)
        try:
            await done
        finally:
            if call.active():
                call.cancel()


def _literal(host: str) -> str:
    return f"[{host.partition('%')[0]}]" if host else "localhost"


def _macro(name: bytes) -> bytes:
    return name[1:-1] if name[:1] == b"{" else name


def _address_macros(kind: str, path: Path) -> dict[str, str]:
    return {
        f"{kind}_addr": str(path),
        f"{kind}_host": path.domain,
        f"{kind}_mailer": "local" if kind == "rcpt" else "smtp",
    }


def _parameters(parameters: Mapping[str, str | None]) -> list[bytes]:
    return [
        (name if value is None else f"{name}={value}").encode("utf-8", "replace")
        for name, value in parameters.items()
    ]


def _refusal(reply: packets.ReplyText) -> Answer:
    code, enhanced, text = reply
    text = " ".join(text.split()) or "Refused by policy"
    if code < 500:
        return Defer(text, code, enhanced or "4.7.1", close=code == 421)
    return Reject(text, code, enhanced or "5.7.1")
