"""How an IMAP connection answers: tagged responses, BYE, and long responses (RFC 3501 section 7.1)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from mailkit.connection import CHUNK, SECONDS_A_TURN, CommandConnection
from mailkit.errors import AuthenticationFailed, MailError, Referral
from mailkit.imap import render
from mailkit.imap.replies import response_code
from mailkit.query import Collation
from mailkit.translation import DEFAULT_LANGUAGE, translate

# An untagged OK or NO, up to its text, and the text.
_STATUS = re.compile(rb"^(\* (?:OK|NO) (?:\[[^\]\r\n]*\] )?)([^\[\r\n][^\r\n]*)", re.MULTILINE)


class AnsweringConnection(CommandConnection):
    """Answers the command at work.

    :ivar language: tag of the language of texts (RFC 5255).
    :ivar collation: how texts compare.
    """

    __slots__ = ("_errors", "_tag", "_unsent", "collation", "language")

    #: Commands in a row that may be wrong before the connection is closed.
    max_errors = 20

    def __init__(self) -> None:
        CommandConnection.__init__(self)
        self._tag = b""
        self._errors = 0
        self._unsent = 0
        self.reset_language()

    def reset_language(self) -> None:
        """Language and collation are as with a new client (RFC 8437 section 4.1)."""
        self.language = DEFAULT_LANGUAGE
        self.collation = Collation.UNICODE_CASEMAP

    def ok(self, text: str, code: bytes = b"") -> None:
        """The tagged OK of the command at work."""
        self._errors = 0
        self._finish(b"OK", text, code)

    def no(self, text: str, code: bytes = b"") -> None:
        """The tagged NO of the command at work."""
        self._finish(b"NO", text, code)

    def _finish(self, kind: bytes, text: str, code: bytes) -> None:
        if self._closing:
            # BYE was the last word.
            return
        self.tell_news()
        prefix = b"%b " % self._tag if self._tag else b"* "
        bracketed = b"[%b] " % code if code else b""
        self.write(b"%b%b %b%b\r\n" % (prefix, kind, bracketed, self.line(text)))

    def tell_news(self) -> None:
        """Write what may be told at any time, and waits for the end of a command."""

    def bad(self, text: str, code: bytes = b"") -> None:
        """The tagged BAD; untagged when the tag could not be read (RFC 3501 section 7.1.3)."""
        self._finish(b"BAD", text, code)
        self._errors += 1
        if self._errors >= self.max_errors:
            self.bye("Too many wrong commands", b"CLIENTBUG")
            self.close()

    def bye(self, text: str, code: bytes = b"") -> None:
        """Announce the end of the connection; the caller closes it."""
        bracketed = b"[%b] " % code if code else b""
        self.write(b"* BYE %b%b\r\n" % (bracketed, self.line(text)))

    def line(self, text: str) -> bytes:
        """Text for a person, fit for one response line, in the language of this client."""
        if self.language == DEFAULT_LANGUAGE:
            return render.line(text)
        return render.utf8_line(translate(text, self.language))

    def remark(self, responses: bytes) -> None:
        """Write untagged responses, among them OK and NO with texts in English."""
        if self.language != DEFAULT_LANGUAGE:
            responses = _STATUS.sub(
                lambda found: found[1] + self.line(found[2].decode("ascii", "replace")), responses
            )
        self.write(responses)

    @property
    def refers(self) -> bool:
        """The client may be told that something is on another server."""
        return True

    def refuse_command(self, error: MailError) -> None:
        """The tagged NO for an error."""
        # A login that fails is logged as such.
        if error.__cause__ is not None and not isinstance(error, AuthenticationFailed):
            self.log.warn("{protocol}: {text}: {cause}", protocol=self.protocol_name,
                          text=error.text, cause=error.__cause__)  # fmt: skip
        code = response_code(error)
        if isinstance(error, Referral) and not self.refers:
            # Whoever left the extension out wants no such code.
            code = b"CANNOT"
        self.no(error.text, code)

    async def send(self, data: bytes) -> None:
        """Write part of a long response, waiting for the client as often as necessary."""
        self._unsent += len(data)
        self.write(data)
        await self._drain_sometimes()

    async def send_all(self, pieces: Sequence[bytes]) -> None:
        """The same for many pieces."""
        self._unsent += self.write_all(pieces)
        await self._drain_sometimes()

    async def _drain_sometimes(self) -> None:
        late = self.factory.deadlines.seconds() - self._turn_started > SECONDS_A_TURN
        if late or self._unsent >= CHUNK:
            self._unsent = 0
            await self.drain()
