"""PREVIEW (RFC 8970)."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.imap.support import Server


class PreviewTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        large = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nlarge\r\n--b\r\n\r\n"
        self.server.add(
            b"Subject: x\r\n\r\nPreview text!\r\n",
            b"Content-Type: text/html\r\n\r\n<p>" + "Grüße".encode(),
            b"Content-Type: image/png\r\n\r\nx",
            large + b"x" * 300_000 + b"\r\n--b--\r\n",
        )
        self.client = self.server.login("SELECT INBOX")

    def test_fetch(self) -> None:
        *lines, done = self.client.command("FETCH 1:4 PREVIEW")
        self.assertEqual(
            lines,
            [
                b'* 1 FETCH (PREVIEW "Preview text!")',
                b"* 2 FETCH (PREVIEW {7}\r\n" + "Grüße)".encode(),
                # Section 3.2: there is none.
                b'* 3 FETCH (PREVIEW "")',
                b'* 4 FETCH (PREVIEW "large")',
            ],
        )
        self.assertEqual(done, b"OK FETCH completed")

    def test_lazy(self) -> None:
        lines = self.client.command("FETCH 1,4 (RFC822.SIZE PREVIEW (LAZY))")
        self.assertEqual(lines[0], b'* 1 FETCH (RFC822.SIZE 29 PREVIEW "Preview text!")')
        self.assertTrue(lines[1].endswith(b" PREVIEW NIL)"))
        (line, _) = self.client.command("FETCH 4 (PREVIEW (lazy) BODYSTRUCTURE)")
        self.assertTrue(line.startswith(b"* 4 FETCH (PREVIEW NIL BODYSTRUCTURE ("), line)
        self.assertEqual(
            self.client.command("FETCH 4 PREVIEW (LAZY)")[0], b"* 4 FETCH (PREVIEW NIL)"
        )

    def test_seen_is_not_set(self) -> None:
        self.client.command("FETCH 1 PREVIEW")
        self.assertEqual(self.client.command("SEARCH SEEN")[0], b"* SEARCH")

    def test_beside_modifiers_of_the_command(self) -> None:
        (line, _) = self.client.command("UID FETCH 1:4 PREVIEW (PARTIAL 1:1)")
        self.assertEqual(line, b'* 1 FETCH (UID 1 PREVIEW "Preview text!")')
        (line, _) = self.client.command("UID FETCH 1:4 PREVIEW (LAZY) (PARTIAL 4:4)")
        self.assertEqual(line, b"* 4 FETCH (UID 4 PREVIEW NIL)")

    def test_wrong_commands(self) -> None:
        for items in (
            "(PREVIEW (FOO))",
            "(PREVIEW ())",
            "PREVIEW[]",
            "(PREVIEW (LAZY FOO))",
            "PREVIEWS",
        ):
            (line,) = self.client.command(f"FETCH 1 {items}")
            self.assertTrue(line.startswith(b"BAD "), (items, line))

    def test_without(self) -> None:
        server = Server(without=["PREVIEW"])
        server.add(b"\r\n")
        client = server.login("SELECT INBOX")
        self.assertNotIn(b"PREVIEW", client.command("CAPABILITY")[0].split())
        self.assertTrue(client.command("FETCH 1 PREVIEW")[0].startswith(b"BAD "))
