"""What the tests of ANNOTATE share."""

from __future__ import annotations

from mailkit._typing import override
from tests.imap.messages import NESTED, PLAIN
from tests.imap.support import Client, ServerTestCase


class AnnotateTestCase(ServerTestCase):
    """INBOX with three messages, selected by a client."""

    @override
    def setUp(self) -> None:
        self.server = self.make_server()
        self.server.add(PLAIN, NESTED, PLAIN)
        self.client = self.server.login("SELECT INBOX")

    def done(self, command: str | bytes, client: Client | None = None) -> list[bytes]:
        """Responses of a command that succeeds, without the tagged one."""
        lines = (client or self.client).command(command)
        self.assertTrue(lines[-1].startswith(b"OK "), lines)
        return lines[:-1]

    def refused(self, command: str | bytes, answer: bytes) -> None:
        """A command is refused by a tagged response that begins like this."""
        lines = self.client.command(command)
        self.assertEqual(len(lines), 1, lines)
        self.assertTrue(lines[0].startswith(answer), (command, lines))

    def fetched(self, items: str, numbers: str = "1", client: Client | None = None) -> list[bytes]:
        return self.done(f"FETCH {numbers} (ANNOTATION ({items}))", client)
