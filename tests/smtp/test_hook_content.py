"""Hooks and content: by BDAT, quarantined into a store, over TLS."""

from __future__ import annotations

import re
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.hooks import (
    Accept,
    AddHeader,
    ChangeHeader,
    Defer,
    Discard,
    Quarantine,
    Reject,
    ReplaceBody,
)
from mailkit.model import Ability
from mailkit.spool import Spool
from tests.smtp.hooked import HookedServer, ScriptedHook, codes, encrypt

ENVELOPE = "MAIL FROM:<ann@example.net>", "RCPT TO:<bob@example.org>"
BINARY = "MAIL FROM:<ann@example.net> BODY=BINARYMIME", "RCPT TO:<bob@example.org>"


class ChunkTests(SynchronousTestCase):
    """BDAT (RFC 3030)."""

    def server(self, hook: ScriptedHook, *lines: str) -> HookedServer:
        server = HookedServer(hook, trace=False, abilities=[Ability.BINARYMIME])
        server.greet().say(*(lines or ENVELOPE))
        return server

    def test_header_in_several_chunks(self) -> None:
        hook = ScriptedHook(message=AddHeader("X", "y"))
        server = self.server(hook)
        answer = server.send(
            b"BDAT 4\r\nA: 1BDAT 7\r\n\r\nB: 2\rBDAT 4\r\n\n\r\nbBDAT 3 LAST\r\n\r\nc"
        )
        self.assertEqual(codes(answer), ["250 2.0.0"] * 4)
        self.assertEqual(hook.seen["fields"], [("A", " 1"), ("B", " 2")])
        self.assertEqual(server.delivery.contents, [b"X: y\r\nA: 1\r\nB: 2\r\n\r\nb\r\nc"])

    def test_a_refused_header(self) -> None:
        hook = ScriptedHook(header=Reject("No"))
        server = self.server(hook)
        self.assertEqual(codes(server.send(b"BDAT 8\r\nA: 1\r\n\r\n")), ["550 5.7.1"])
        self.assertTrue(server.delivery.spools[0].closed)
        self.assertEqual(codes(server.send(b"BDAT 3 LAST\r\nabc")), ["550 5.7.1"])
        self.assertEqual(server.delivery.received, [])

    def test_a_refused_header_that_ends_the_connection(self) -> None:
        server = self.server(ScriptedHook(header=Reject("No", close=True)))
        answer = codes(server.send(b"BDAT 8\r\nA: 1\r\n\r\nNOOP\r\n"))
        self.assertEqual(answer, ["550 5.7.1", "421 4.7.0"])
        self.assertTrue(server.closed)

    def test_a_slow_hook_between_chunks(self) -> None:
        hook = ScriptedHook()
        gate = hook.wait("header")
        server = self.server(hook)
        self.assertEqual(codes(server.send(b"BDAT 8\r\nA: 1\r\n\r\n")), ["250 2.0.0"])
        self.assertEqual(server.send(b"BDAT 3 LAST\r\nabcNOOP\r\n"), b"")
        gate.callback(Reject("No"))
        self.assertEqual(codes(server.answer()), ["550 5.7.1", "250 2.0.0"])

    def test_rset_between_chunks_cancels_the_hook(self) -> None:
        hook = ScriptedHook()
        gate = hook.wait("header")
        server = self.server(hook)
        server.send(b"BDAT 8\r\nA: 1\r\n\r\n")
        self.assertEqual(codes(server.send(b"RSET\r\n")), ["250 2.0.0"])
        self.assertTrue(gate.called)
        hook.answers.clear()
        self.assertEqual(codes(server.whole())[-2], "250 2.0.0")

    def test_binary_content(self) -> None:
        for content, becomes in (
            (b"A: 1\n\nb\0", b"A: 1\nX: y\r\n\nb\0"),
            (b"A: 1", b"A: 1\r\nX: y\r\n"),
            (b"\n\n", b"X: y\r\n\n\n"),
        ):
            hook = ScriptedHook(message=AddHeader("X", "y", None))
            server = self.server(hook, *BINARY)
            answer = server.send(b"BDAT %d LAST\r\n%b" % (len(content), content))
            self.assertEqual(codes(answer), ["250 2.0.0"])
            self.assertEqual(server.delivery.contents, [becomes])
            self.assertEqual(hook.calls.count("header"), 1)

    def test_an_empty_message(self) -> None:
        edits = [ChangeHeader("X", "y"), ReplaceBody(Spool.from_bytes(b"new"))]
        hook = ScriptedHook(message=edits)
        server = self.server(hook)
        self.assertEqual(codes(server.send(b"BDAT 0 LAST\r\n")), ["250 2.0.0"])
        self.assertEqual(hook.seen["fields"], [])
        self.assertEqual(server.delivery.contents, [b"X: y\r\n\r\nnew"])


class SplitTests(SynchronousTestCase):
    """However the octets arrive, hooks are asked the same and the dialogue is the same."""

    WIRE = (
        b"EHLO a.example\r\nMAIL FROM:<a@b.example>\r\nRCPT TO:<bob@example.org>\r\nDATA\r\n"
        b"A: 1\r\n\tx\r\n\r\n..b\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<bob@example.org>\r\n"
        b"BDAT 7\r\nA: 1\r\n\rBDAT 2 LAST\r\n\nbNOOP\r\n"
    )

    def dialogue(self, answers: dict[str, Any], *pieces: bytes) -> list[Any]:
        hook = ScriptedHook(**answers)
        server = HookedServer(hook, trace=False)
        answer = b"".join(map(server.send, pieces))
        ids = re.compile(rb"stored as \w+")
        return [ids.sub(b"stored", answer), hook.calls, server.delivery.contents]

    def test_every_split(self) -> None:
        for answers in (
            {},
            {"header": Reject("No")},
            {"header": AddHeader("X", "y"), "message": ChangeHeader("A", None)},
            {"mail": Discard("dull"), "message": Reject("never asked")},
            {"message": Defer("Later")},
        ):
            whole = self.dialogue(answers, self.WIRE)
            self.assertTrue(whole[0].endswith(b"250 2.0.0 OK\r\n"))
            for split in range(1, len(self.WIRE)):
                pieces = self.WIRE[:split], self.WIRE[split:]
                self.assertEqual(self.dialogue(answers, *pieces), whole)
            octets = [self.WIRE[i : i + 1] for i in range(len(self.WIRE))]
            self.assertEqual(self.dialogue(answers, *octets), whole)


class TLSTests(SynchronousTestCase):
    """What hooks see of TLS."""

    def session(self, server: HookedServer) -> Any:
        return server.protocol.hooks.session  # type: ignore[union-attr]

    def test_parameters(self) -> None:
        server = HookedServer(ScriptedHook(), tls_context=object())
        server.greet()
        session = self.session(server)
        self.assertEqual((session.tls_version, session.tls_cipher, session.tls_bits), ("", "", 0))
        encrypt(server)
        session = self.session(server)
        self.assertEqual(
            (session.tls_version, session.tls_cipher, session.tls_bits),
            ("TLSv1.3", "TLS_AES_256_GCM_SHA384", 256),
        )
        self.assertEqual((session.certificate_subject, session.certificate_issuer), ("", ""))
        self.assertEqual(session.helo, "client.example")

    def test_certificate_of_a_client(self) -> None:
        server = HookedServer(ScriptedHook(), tls_context=object())
        server.greet()
        issuer = encrypt(server, "ann")
        session = self.session(server)
        self.assertEqual((session.certificate_subject, session.certificate_issuer), ("ann", issuer))


class RecordTests(SynchronousTestCase):
    """A client cannot crowd out what hooks say of its message."""

    def steps(self, server: HookedServer) -> list[str]:
        envelope, _ = server.delivery.received[-1]
        return [record.step for record in envelope.history]

    def test_many_hellos(self) -> None:
        server = HookedServer(
            ScriptedHook(mail=Quarantine("odd")), ScriptedHook(ehlo=Accept()), max_records=4
        )
        for _ in range(9):
            server.greet()
        server.whole()
        self.assertEqual(self.steps(server), ["ehlo", "mail"])

    def test_many_recipients(self) -> None:
        hook = ScriptedHook(rcpt=Reject("no"), message=Quarantine("odd"))
        server = HookedServer(hook, max_records=4)
        server.greet().say(*ENVELOPE, *ENVELOPE[1:] * 9)
        hook.answers["rcpt"] = None
        server.say(ENVELOPE[1], "DATA")
        server.send_message()
        self.assertEqual(self.steps(server), ["rcpt", "rcpt", "message"])
