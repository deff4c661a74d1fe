"""What the hooks of a listener say of one connection, and what becomes of it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, cast

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from mailkit._typing import override
from mailkit.coroutines import go_on
from mailkit.hooks import ChangeHeader, Edit, HeaderField, MailSession, Step, release
from mailkit.interfaces import IMessageDelivery
from mailkit.model import Envelope, Outcome, Recipient
from mailkit.smtp.content import ContentReader
from mailkit.smtp.edits import edit_envelope, edit_message
from mailkit.smtp.grammar import Refused
from mailkit.smtp.header import split_fields
from mailkit.smtp.hooks import HookRunner, HookSet
from mailkit.smtp.trace import HOOKS_FIELD, hooks_field

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from mailkit.smtp.protocol import SMTPProtocol

# An enumeration's own look-up takes as long as a short function.
_CONNECT, _EHLO, _MAIL, _RCPT = Step.CONNECT, Step.EHLO, Step.MAIL, Step.RCPT
_HEADER, _MESSAGE = Step.HEADER, Step.MESSAGE
_DELIVERED, _DISCONNECT = Step.DELIVERED, Step.DISCONNECT

_OUR_FIELD = re.compile(rb"^" + HOOKS_FIELD.lower().encode("ascii"), re.MULTILINE)


class ConnectionHooks(HookRunner):
    """Asks the hooks in each step of a connection."""

    log = Logger()

    def __init__(self, hooks: HookSet, connection: SMTPProtocol) -> None:
        self._connection = connection
        session = MailSession(
            connection.info(),
            connection.factory.hostname,
            client_name=connection.client_name,
            has_input=connection.has_input,
        )
        super().__init__(hooks, session)

    def greet(self) -> Coroutine[Any, Any, Refused | None] | None:
        """Before the greeting: what to say instead of it, if the client is not welcome.

        :returns: None for a client that is welcome at once.
        """
        asking = self.ask(_CONNECT)
        account = self._connection.session.account
        return None if asking is None and account is None else self._greet(asking, account)

    async def _greet(
        self, asking: Coroutine[Any, Any, None] | None, account: str | None
    ) -> Refused | None:
        try:
            if asking is not None:
                await asking
            if account is not None:
                # A trusted client has named the user.
                await self.auth(account, "XCLIENT")
        except Refused as refused:
            text = f"{self.session.hostname} {refused.reply.text}"
            if refused.reply.code < 500:
                return Refused(421, "", text, close=True)
            # RFC 5321 section 3.1. RFC 7504 section 3: 521 is not for particular clients.
            return Refused(554, "", text, close=refused.close)
        return None

    def hello(self, name: str, esmtp: bool) -> Coroutine[Any, Any, None] | None:
        """HELO, EHLO or LHLO; a refused one has not been said.

        :returns: None for one that is taken at once.
        :raises Refused: a hook has refused.
        """
        session = self.session
        self.forget_hello()
        before = session.helo, session.esmtp
        session.helo, session.esmtp = name, esmtp
        session.connection = self._connection.client
        _note_tls(session, self._connection)
        asking = self.ask(_EHLO)
        return None if asking is None else self._hello(asking, before)

    async def _hello(self, asking: Coroutine[Any, Any, None], before: tuple[str, bool]) -> None:
        try:
            await asking
        except BaseException as error:
            self.session.helo, self.session.esmtp = before
            if isinstance(error, Refused):
                # RFC 2034 section 4: no enhanced status code in the answer to EHLO.
                error.reply = error.reply._replace(enhanced="")
            raise

    async def auth(self, account: str | None, mechanism: str) -> None:
        """A login.

        :raises Refused: a hook has refused.
        """
        session = self.session
        session.account, session.auth_mechanism = account, mechanism
        try:
            if (asking := self.ask(Step.AUTH)) is not None:
                await asking
        except BaseException:
            session.account, session.auth_mechanism = None, ""
            raise

    @override
    def forget_client(self) -> None:
        """STARTTLS: forget what the client has said (RFC 3207 section 4.2).

        The hooks' own facts stay: connections to other servers may be among them.
        """
        super().forget_client()
        old = self.session
        self.session = MailSession(
            old.connection,
            old.hostname,
            client_name=old.client_name,
            messages=old.messages,
            errors=old.errors,
            has_input=old.has_input,
            facts=old.facts,
        )

    def mail(self, envelope: Envelope) -> Coroutine[Any, Any, None] | None:
        """MAIL.

        :returns: None for one that is taken at once.
        :raises Refused: a hook has refused.
        """
        self.begin(envelope)
        return self.ask(_MAIL, envelope)

    def rcpt(self, envelope: Envelope, recipient: Recipient) -> Coroutine[Any, Any, None] | None:
        """RCPT.

        :returns: None for one that is taken at once.
        :raises Refused: a hook has refused.
        """
        return self.ask(_RCPT, envelope, recipient=recipient)

    def watch(self, content: ContentReader) -> None:
        """A message begins: ask about its header as soon as that is there."""
        complete = self._ask_about_header if self.wants(_HEADER) else None
        content.watch_header(self.hooks.settings.max_header, complete)

    def _ask_about_header(self, content: ContentReader) -> None:
        envelope = self._connection.session.envelope
        assert envelope is not None
        asking = self._header(content, envelope, split_fields(content.read_header()))
        try:
            awaited = asking.send(None)
        except StopIteration:
            return
        content.header_step = Deferred.fromCoroutine(cast(Any, go_on(asking, awaited)))

    async def _header(
        self, content: ContentReader, envelope: Envelope, fields: Sequence[HeaderField]
    ) -> None:
        try:
            if (asking := self.ask(_HEADER, envelope, fields=fields)) is not None:
                await asking
        except Refused as refused:
            content.close_after = refused.close
            content.refuse(refused.reply)

    async def judge(
        self, delivery: IMessageDelivery, envelope: Envelope, content: ContentReader
    ) -> None:
        """All that is to be done between the end of a message and its delivery.

        :raises Refused: the message is refused.
        :raises MailError: the same.
        :raises OSError: the disk refuses.
        """
        try:
            if content.header_step is not None and content.refusal is None:
                await content.header_step
            if content.refusal is not None:
                raise Refused(*content.refusal, close=content.close_after)
            if (checking := self._connection.check_content(envelope, content)) is not None:
                await checking
            asking = self.ask(_MESSAGE, envelope, message=content.spool)
            if asking is not None:
                await asking
            if self.discard is None:
                await self._edit(delivery, envelope, content)
        finally:
            if self.edits:
                release([edit for _, edit in self.edits])
            if envelope.history or self.discard is not None:
                self._log_history(envelope)

    async def _edit(
        self, delivery: IMessageDelivery, envelope: Envelope, content: ContentReader
    ) -> None:
        edits: list[Edit] = []
        if self.edits:
            edits += [edit for _, edit in self.edits]
            await edit_envelope(envelope, delivery, self.edits)
            if not envelope.recipients:
                self.discard = "no recipients are left"
                return
        trace = self.hooks.settings.trace
        is_suspect = trace and content.is_remarkable
        header = content.read_header() if edits or is_suspect else b""
        if is_suspect and _has_our_field(header):
            # Only we say what our hooks have said.
            edits.insert(0, ChangeHeader(HOOKS_FIELD, None))
        if edits:
            connection = self._connection
            spool = await edit_message(
                content.spool,
                header,
                edits,
                connection.new_spool,
                connection.pause,
                binary=envelope.body == "BINARYMIME",
            )
            if spool is not content.spool:
                content.spool.close()
                content.spool = spool
        if trace and envelope.history and (field := hooks_field(envelope.history)):
            content.spool.prepend(field)

    def _log_history(self, envelope: Envelope) -> None:
        if envelope.history:
            self.log.info(
                "message {id} from <{sender}> at {peer} judged by hooks: {words}",
                id=envelope.transaction_id,
                sender=envelope.reverse_path,
                peer=envelope.connection.peer,
                words="; ".join(f"{r.hook} {r.step} {r.answer}" for r in envelope.history),
                hooks=envelope.history,
            )
        if self.discard is not None:
            self.log.info(
                "message {id} from <{sender}> thrown away: {reason}",
                id=envelope.transaction_id,
                sender=envelope.reverse_path,
                reason=self.discard,
            )

    def delivered(self, envelope: Envelope, outcomes: Sequence[Outcome]) -> None:
        """A delivery is done."""
        for outcome in outcomes:
            if outcome.error is None:
                self.session.messages += 1
                break
        if self.wants(_DELIVERED):
            self.hooks.notify(
                _DELIVERED, session=self.session, envelope=envelope, outcomes=outcomes
            )

    def disconnect(self) -> None:
        """The client is gone."""
        self.hooks.notify(_DISCONNECT, session=self.session)


def _has_our_field(header: bytes) -> bool:
    return _OUR_FIELD.search(header.lower()) is not None


def _note_tls(session: MailSession, connection: SMTPProtocol) -> None:
    """Tell hooks of TLS: what a proxy says, or what ends here."""
    if connection.told is not None and connection.told.tls:
        session.tls_version, session.tls_cipher = (
            connection.told.tls_version,
            connection.told.tls_cipher,
        )
        return
    facts = connection.tls_facts()
    session.tls_version, session.tls_cipher, session.tls_bits = facts[:3]
    session.certificate_subject, session.certificate_issuer = facts.subject, facts.issuer
