"""Annotations of messages with imaplib, imapclient and curl, over loopback."""

from __future__ import annotations

import imaplib
from typing import Any

import pytest

from mailkit.auth.portal import make_portal
from mailkit.imap.protocol import IMAPFactory
from tests.interop.support import ClientCase

try:
    import imapclient
except ImportError:  # pragma: no cover
    imapclient = None

pytestmark = pytest.mark.interop

ANN, PASSWORD = "ann@example.org", "secret"
MESSAGE = b"Subject: plan\r\nFrom: Ann <ann@example.org>\r\n\r\nLunch?\r\n"


class AnnotateCase(ClientCase):
    user = ANN

    async def setUp(self) -> None:
        await super().setUp()
        await self.add_account(ANN, PASSWORD)
        self.port = self.listen(IMAPFactory(make_portal(self.store)))


class ImaplibTests(AnnotateCase):
    def ok(self, answer: tuple[str, Any]) -> list[Any]:
        self.assertEqual(answer[0], "OK", answer)
        return list(answer[1])

    async def test_notes(self) -> None:
        await self.in_thread(self._take_notes)

    def _take_notes(self) -> None:
        client = imaplib.IMAP4("127.0.0.1", self.port, timeout=60)
        client.login(ANN, PASSWORD)
        for _ in range(2):
            self.ok(client.append("INBOX", "", "", MESSAGE))
        self.ok(client.select())
        self.ok(client.store("2", "ANNOTATION", '(/comment (value.priv "call back"))'))
        self.assertEqual(
            self.ok(client.fetch("1:2", "(ANNOTATION (/comment (value.priv size.priv)))")),
            [
                b'1 (ANNOTATION (/comment (value.priv NIL size.priv "0")))',
                b'2 (ANNOTATION (/comment (value.priv "call back" size.priv "9")))',
            ],
        )
        found = client.search(None, "ANNOTATION", "/comment", "value", '"CALL"')
        self.assertEqual(self.ok(found), [b"2"])
        ordered = client.sort("(REVERSE ANNOTATION /comment value.priv)", "UTF-8", "ALL")
        self.assertEqual(self.ok(ordered), [b"2 1"])
        client.logout()


class IMAPClientTests(AnnotateCase):
    if imapclient is None:
        skip = "imapclient is not installed"

    async def test_notes(self) -> None:
        await self.in_thread(self._take_notes)

    def _take_notes(self) -> None:
        client = imapclient.IMAPClient("127.0.0.1", self.port, ssl=False, timeout=60)
        client.login(ANN, PASSWORD)
        client.append("INBOX", MESSAGE)
        client.select_folder("INBOX")
        client._raw_command_untagged(
            b"STORE", [b"1", b"ANNOTATION", b'(/comment (value.priv "x" value.shared "y"))'],
            uid=True, unpack=True, response_name="FETCH",
        )  # fmt: skip
        # It sends the names of items in capitals, and entries are told apart by letter case.
        found = client.fetch([1], ["ANNOTATION (* value)"])
        self.assertEqual(
            found[1][b"ANNOTATION"],
            (b"/comment", (b"value.priv", b"x", b"value.shared", b"y")),
        )
        self.assertEqual(client.search(["ANNOTATION", "/comment", "value.shared", "Y"]), [1])
        client.logout()


class CurlTests(AnnotateCase):
    async def curl(self, request: str) -> bytes:
        done = await self.run_program(
            "curl", "--silent", "--show-error", "--max-time", "60", "--user", f"{ANN}:{PASSWORD}",
            "--request", request, f"imap://127.0.0.1:{self.port}/INBOX",
        )  # fmt: skip
        return done.stdout

    async def test_notes(self) -> None:
        await self.deliver(MESSAGE)
        await self.curl('STORE 1 ANNOTATION (/comment (value.shared "done"))')
        self.assertEqual(
            await self.curl("FETCH 1 (ANNOTATION (/* value))"),
            b'* 1 FETCH (ANNOTATION (/comment (value.priv NIL value.shared "done")))\r\n',
        )
