"""CHUNKING and BINARYMIME (RFC 3030): the examples, and what clients get wrong."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import NoSuchRecipient
from mailkit.model import Ability
from mailkit.smtp.extensions.settings import ExtensionSettings
from mailkit.smtp.submission import SubmissionFactory
from tests.smtp.fakes import Server

BINARY = [Ability.BINARYMIME]
ENVELOPE = ("MAIL FROM:<ann@example.net>", "RCPT TO:<bob@example.org>")
BINARY_ENVELOPE = ("MAIL FROM:<ann@example.net> BODY=BINARYMIME", "RCPT TO:<bob@example.org>")


def ready(*lines: str, **settings: Any) -> Server:
    """A server that waits for content."""
    server = Server(**settings).greet()
    for line in lines or ENVELOPE:
        assert server.say(line)[0].startswith("250 "), line
    return server


def chunk(content: bytes, last: bool = False) -> bytes:
    """A BDAT command with its chunk."""
    return b"BDAT %d%b\r\n%b" % (len(content), b" LAST" if last else b"", content)


def codes(answer: bytes) -> list[str]:
    return [line[:9].strip() for line in answer.decode().splitlines()]


class ExampleTests(SynchronousTestCase):
    """RFC 3030 section 4."""

    def test_simple_chunking(self) -> None:
        content = (
            b"To: Susan@random.com\r\nFrom: Sam@random.com\r\n"
            b"Subject: This is a bodyless test message\r\n"
        )
        server = Server()
        self.assertIn("250-CHUNKING", server.say("EHLO ymir.claremont.edu"))
        server.say("MAIL FROM:<Sam@Random.com>", "RCPT TO:<Susan@Random.com>")
        self.assertEqual(codes(server.send(b"BDAT 86 LAST\r\n" + content)), ["250 2.0.0"])
        self.assertEqual(server.say("QUIT")[0][:3], "221")
        self.assertEqual(server.delivery.contents, [content])

    def test_pipelining_binarymime(self) -> None:
        server = Server(abilities=BINARY)
        self.assertIn("250-BINARYMIME", server.say("EHLO ymir.claremont.edu"))
        first, second = b"Subject: x\r\n\r\n" + bytes(range(256)) * 390, b"\n\r\0" * 108
        answer = server.send(
            b"MAIL FROM:<ned@ymir.claremont.edu> BODY=BINARYMIME\r\n"
            b"RCPT TO:<gvaudre@cnri.reston.va.us>\r\nRCPT TO:<jstewart@cnri.reston.va.us>\r\n"
            + chunk(first)
            + chunk(second)
            + b"BDAT 0 LAST\r\n"
        )
        self.assertEqual(codes(answer)[:3], ["250 2.1.0", "250 2.1.5", "250 2.1.5"])
        lines = answer.decode().splitlines()
        self.assertEqual(lines[3], f"250 2.0.0 {len(first)} octets received")
        self.assertEqual(lines[4], f"250 2.0.0 {len(second)} octets received")
        self.assertTrue(lines[5].startswith("250 2.0.0 OK, stored"))
        self.assertEqual(server.delivery.contents, [first + second])
        self.assertEqual(server.delivery.received[0][0].body, "BINARYMIME")


class SplitTests(SynchronousTestCase):
    """However the octets arrive, the dialogue is the same."""

    DIALOGUE = (
        b"EHLO a\r\nMAIL FROM:<a@b> BODY=BINARYMIME\r\nRCPT TO:<bob@example.org>\r\n"
        b"BDAT 5\r\nSub\r\nBDAT 0\r\nBDAT 6 last\r\n\n.\r\n\r\0"
        b"BDAT 3\r\nNOO"
        b"MAIL FROM:<a@b>\r\nRCPT TO:<bob@example.org>\r\nBDAT 3\r\na:\r"
        b"BDAT 5 LAST\r\n\n\r\n.\r"
        b"NOOP\r\nMAIL FROM:<a@b>\r\nRCPT TO:<bob@example.org>\r\nBDAT 7\r\nQUIT\r\n\r"
        b"RSET\r\nBDAT 4 LAST\r\nQUITQUIT\r\n"
    )

    def run_dialogue(self, *pieces: bytes) -> tuple[bytes, list[bytes]]:
        server = Server(abilities=BINARY)
        server.factory._id_prefix = "t"
        for piece in pieces:
            server.protocol.dataReceived(piece)
        self.assertTrue(server.closed)
        return server.answer(), server.delivery.contents

    def test_every_split(self) -> None:
        whole = self.DIALOGUE
        expected = self.run_dialogue(whole)
        answers = [line for line in expected[0].splitlines() if not line.startswith(b"250-")]
        self.assertEqual(
            " ".join(line[:3].decode() for line in answers),
            "220 250 250 250 250 250 250 503 250 250 250 550 250 250 250 250 250 503 221",
        )
        self.assertEqual(expected[1], [b"Sub\r\n\n.\r\n\r\0"])
        for cut in range(1, len(whole)):
            self.assertEqual(self.run_dialogue(whole[:cut], whole[cut:]), expected, cut)
        self.assertEqual(
            self.run_dialogue(*(whole[i : i + 1] for i in range(len(whole)))), expected
        )


class OrderTests(SynchronousTestCase):
    def test_a_chunk_that_is_refused_is_never_read_as_commands(self) -> None:
        content = b"RSET\r\nQUIT\r\n"
        for lines, code in (
            ([], "503 5.5.1"),
            (["EHLO a"], "503 5.5.1"),
            (["EHLO a", "MAIL FROM:<a@b>"], "554 5.5.1"),
        ):
            server = Server()
            for line in lines:
                server.say(line)
            self.assertEqual(codes(server.send(chunk(content) + b"NOOP\r\n")), [code, "250 2.0.0"])
            answer = server.send(chunk(content, last=True) + b"NOOP\r\n")
            self.assertEqual(codes(answer), [code, "250 2.0.0"])
            self.assertFalse(server.closed)

    def test_each_chunk_is_told_its_own_size(self) -> None:
        server = Server().greet()
        server.say(*ENVELOPE)
        # The CR waits for its LF, and counts all the same.
        answer = server.send(chunk(b"a\r") + chunk(b"\nbcd") + chunk(b""))
        expected = [f"250 2.0.0 {size} octets received" for size in (2, 4, 0)]
        self.assertEqual(answer.decode().splitlines(), expected)

    def test_pipelined_with_recipients_that_are_refused(self) -> None:
        server = Server().greet()
        server.delivery.unknown["bob"] = NoSuchRecipient()
        lines = "\r\n".join((*ENVELOPE, "")).encode()
        answer = server.send(lines + chunk(b"NOOP\r\n", last=True) + b"RSET\r\n")
        self.assertEqual(codes(answer), ["250 2.1.0", "550 5.1.1", "554 5.5.1", "250 2.0.0"])

    def test_data_after_bdat(self) -> None:
        server = ready()
        server.send(chunk(b"x\r\n"))
        for line in ("DATA", "RCPT TO:<eve@example.org>", "MAIL FROM:<a@b>"):
            self.assertEqual(server.say(line)[0][:9], "503 5.5.1", line)
        self.assertEqual(codes(server.send(chunk(b"y\r\n", last=True))), ["250 2.0.0"])
        self.assertEqual(server.delivery.contents, [b"x\r\ny\r\n"])

    def test_bdat_and_data_in_one_session(self) -> None:
        server = ready()
        server.send(chunk(b"x\r\n", last=True))
        server.say(*ENVELOPE, "DATA", "y", ".")
        self.assertEqual(server.delivery.contents, [b"x\r\n", b"y\r\n"])

    def test_bdat_after_the_last(self) -> None:
        server = ready()
        answer = server.send(chunk(b"x\r\n", last=True) + chunk(b"y\r\n", last=True))
        self.assertEqual(codes(answer), ["250 2.0.0", "503 5.5.1"])
        self.assertEqual(server.delivery.contents, [b"x\r\n"])

    def test_what_ends_a_transaction_forgets_the_chunks(self) -> None:
        for line in ("RSET", "EHLO a", "HELO a", "QUIT"):
            server = ready()
            server.send(chunk(b"first\r\n"))
            (spool,) = server.delivery.spools
            self.assertFalse(spool.closed)
            server.say(line)
            if line == "QUIT":
                server.lose()
            self.assertTrue(spool.closed, line)
            if line != "QUIT":
                server.say(*ENVELOPE)
                server.send(chunk(b"second\r\n", last=True))
                self.assertEqual(server.delivery.contents, [b"second\r\n"], line)

    def test_harmless_commands_between_chunks(self) -> None:
        server = ready()
        server.send(chunk(b"x\r\n"))
        self.assertEqual(server.say("NOOP", "HELP BDAT")[0][:3], "250")
        server.send(chunk(b"y\r\n", last=True))
        self.assertEqual(server.delivery.contents, [b"x\r\ny\r\n"])

    def test_starttls_between_chunks(self) -> None:
        server = ready(tls_context=object())
        server.send(chunk(b"x\r\n"))
        self.assertEqual(server.say("STARTTLS")[0][:3], "220")
        self.assertTrue(server.delivery.spools[0].closed)

    def test_connections_break(self) -> None:
        for octets in (b"BDAT 10\r\n12345", chunk(b"12345")):
            server = ready()
            server.send(octets)
            server.lose()
            self.assertTrue(server.delivery.spools[0].closed)
            self.assertEqual(server.delivery.received, [])

    def test_bad_arguments(self) -> None:
        for argument in ("", "x", "-1", "1 FIRST", "1 LAST x", "0x10", "1" * 21, "1LAST", "٣"):
            server = ready()
            self.assertEqual(server.say(f"BDAT {argument}")[0][:9], "501 5.5.4", argument)
            self.assertEqual(server.say("NOOP")[0][:3], "250")

    def test_switched_off(self) -> None:
        server = ready(extensions=ExtensionSettings(without=["chunking"]), abilities=BINARY)
        for keyword in ("CHUNKING", "BINARYMIME"):
            self.assertFalse(any(keyword in line for line in server.say("EHLO a")))
        # A client that sends it nevertheless cannot smuggle commands.
        answer = server.send(chunk(b"QUIT\r\n", last=True) + b"NOOP\r\n")
        self.assertEqual(codes(answer), ["502 5.5.1", "250 2.0.0"])
        self.assertNotIn("BDAT", "".join(server.say("HELP")))

    def test_empty_chunks_without_end(self) -> None:
        server = ready()
        server.factory.max_idle_commands = 20
        answer = server.send(b"BDAT 0\r\n" * 30)
        # As many as there may be, with EHLO, and the one that is too much.
        self.assertEqual([each[:3] for each in codes(answer)], ["250"] * 19 + ["421"])
        self.assertTrue(server.closed)

    def test_many_chunks_with_content(self) -> None:
        server = ready()
        server.factory.max_idle_commands = 3
        server.send(b"BDAT 0\r\n" * 2)
        answer = server.send(chunk(b"a") * 10 + chunk(b"\r\n") + chunk(b"", last=True))
        self.assertEqual({each[:3] for each in codes(answer)}, {"250"})
        self.assertEqual(server.delivery.contents, [b"a" * 10 + b"\r\n"])


class ContentTests(SynchronousTestCase):
    def test_bare_line_ends_of_text_are_refused(self) -> None:
        for content in (b"a\nb\r\n", b"a\rb\r\n", b"a\r", b"a\r\n\r"):
            server = ready()
            answer = server.send(chunk(content, last=True) + b"NOOP\r\n")
            self.assertEqual(answer[:10], b"550 5.5.2 ")
            self.assertEqual(server.delivery.received, [])
            self.assertEqual(server.say(*ENVELOPE)[0][:3], "250")

    def test_a_line_end_may_be_cut_between_chunks(self) -> None:
        server = ready()
        server.send(chunk(b"a\r") + chunk(b"\nb\r") + chunk(b"", last=False))
        self.assertEqual(codes(server.send(chunk(b"\n", last=True))), ["250 2.0.0"])
        self.assertEqual(server.delivery.contents, [b"a\r\nb\r\n"])

    def test_normalised_on_demand(self) -> None:
        server = ready(bare_line_ends="normalise")
        server.send(chunk(b"a\r") + chunk(b"\nb\nc\r", last=True))
        self.assertEqual(server.delivery.contents, [b"a\r\nb\r\nc\r\n"])

    def test_dots_are_content(self) -> None:
        content = b".\r\n..\r\n\r\n.\r\nMAIL FROM:<eve@b>\r\n"
        server = ready()
        self.assertEqual(codes(server.send(chunk(content, last=True))), ["250 2.0.0"])
        self.assertEqual(server.delivery.contents, [content])

    def test_binary_content_needs_a_promise_and_bdat(self) -> None:
        self.assertEqual(Server().greet().say(BINARY_ENVELOPE[0])[0][:9], "501 5.5.4")
        self.assertNotIn("BINARYMIME", "".join(Server().say("EHLO a")))
        server = ready(*BINARY_ENVELOPE, abilities=BINARY)
        self.assertEqual(server.say("DATA")[0][:9], "503 5.5.1")
        every = bytes(range(256)) * 3
        self.assertEqual(codes(server.send(chunk(every, last=True))), ["250 2.0.0"])
        self.assertEqual(server.delivery.contents, [every])

    def test_too_large_over_all_chunks(self) -> None:
        server = ready(max_size=1000)
        self.assertEqual(codes(server.send(chunk(b"x" * 998 + b"\r\n"))), ["250 2.0.0"])
        self.assertEqual(codes(server.send(chunk(b"y"))), ["552 5.3.4"])
        self.assertTrue(server.delivery.spools[0].closed)
        # The rest is swallowed, whatever it looks like.
        self.assertEqual(codes(server.send(chunk(b"QUIT\r\n"))), ["552 5.3.4"])
        answer = server.send(chunk(b"QUIT\r\n", last=True) + b"NOOP\r\n")
        self.assertEqual(codes(answer), ["552 5.3.4", "250 2.0.0"])
        self.assertEqual(server.delivery.received, [])
        self.assertEqual(server.say(*ENVELOPE)[0][:3], "250")

    def test_reset_after_a_chunk_was_refused(self) -> None:
        server = ready(max_size=10)
        server.send(chunk(b"x" * 11))
        self.assertEqual([line[:3] for line in server.say("RSET", *ENVELOPE)], ["250"] * 3)
        self.assertEqual(codes(server.send(chunk(b"ok\r\n", last=True))), ["250 2.0.0"])

    def test_a_huge_chunk_costs_no_memory(self) -> None:
        server = ready()
        server.send(b"BDAT 99999999999999999999 LAST\r\n")
        for _ in range(20):
            self.assertEqual(server.send(b"x" * 65536), b"")
        self.assertEqual(len(server.protocol.buffer), 0)
        self.assertTrue(server.delivery.spools[0].closed)

    def test_a_full_disk(self) -> None:
        server = ready()
        server.delivery.trouble["new_spool"] = OSError(28, "No space left on device")
        answer = server.send(chunk(b"QUIT\r\n") + b"RSET\r\n")
        self.assertEqual(codes(answer), ["452 4.3.1", "250 2.0.0"])

    def test_mail_loop(self) -> None:
        server = ready(max_received=2)
        server.send(chunk(b"Received: x\r\nRecei") + chunk(b"ved: x\r\n"))
        answer = server.send(chunk(b"received: x\r\n\r\n", last=True))
        self.assertEqual(codes(answer), ["554 5.4.6"])

    def test_silence_inside_of_a_chunk(self) -> None:
        server = ready(timeout=300.0, data_timeout=100.0)
        server.send(b"BDAT 10\r\nabc")
        server.clock.pump([50.0] * 3)
        self.assertTrue(server.answer().startswith(b"421 4.4.2"))
        self.assertTrue(server.closed)

    def test_a_slow_delivery_with_followers(self) -> None:
        server = ready()
        server.delivery.slow.add("deliver")
        answer = server.send(
            chunk(b"x\r\n", last=True)
            + "\r\n".join((*ENVELOPE, "")).encode()
            + chunk(b"y\r\n", last=True)
        )
        self.assertEqual(answer, b"")
        while server.delivery.waiting:
            server.delivery.go_on()
        expected = ["250 2.0.0", "250 2.1.0", "250 2.1.5", "250 2.0.0"]
        self.assertEqual(codes(server.answer()), expected)
        self.assertEqual(server.delivery.contents, [b"x\r\n", b"y\r\n"])


#: A command, with what follows it, and how many replies it gets in whatever state.
COMMANDS = st.one_of(
    st.sampled_from(
        [
            b"EHLO a\r\n",
            b"MAIL FROM:<a@b>\r\n",
            b"MAIL FROM:<a@b> BODY=BINARYMIME\r\n",
            b"RCPT TO:<bob@example.org>\r\n",
            b"RCPT TO:<nobody@example.org>\r\n",
            b"RSET\r\n",
            b"NOOP\r\n",
            b"VRFY bob\r\n",
            b"\xff\0\r\n",
            b"BDAT\r\n",
        ]
    ),
    st.builds(
        chunk,
        st.lists(st.sampled_from([b"\r", b"\n", b".", b"QUIT\r\n", b"BDAT 9\r\n", b"x"])).map(
            b"".join
        ),
        last=st.booleans(),
    ),
)


class StepTests(SynchronousTestCase):
    """Whatever is sent in whatever order, each command gets one reply: octets are never commands."""

    @given(st.lists(COMMANDS, max_size=30), st.lists(st.integers(1, 300), max_size=8))
    @settings(max_examples=200, deadline=None)
    def test_replies_stay_in_step(self, commands: list[bytes], cuts: list[int]) -> None:
        server = Server(abilities=BINARY)
        server.factory.max_errors = 100
        server.delivery.unknown["nobody"] = NoSuchRecipient()
        server.transport.clear()
        octets = b"".join(commands)
        for cut in cuts:
            server.protocol.dataReceived(octets[:cut])
            octets = octets[cut:]
        server.protocol.dataReceived(octets + b"NOOP end\r\n")
        finals = [line for line in server.answer().splitlines() if line[3:4] != b"-"]
        self.assertEqual(len(finals), len(commands) + 1, (commands, finals))
        self.assertEqual(finals[-1], b"250 2.0.0 OK")
        self.assertFalse(server.closed)
        server.lose()
        self.assertTrue(all(spool.closed for spool in server.delivery.spools))


class SubmissionTests(SynchronousTestCase):
    def test_the_header_is_completed(self) -> None:
        server = Server(
            factory_class=SubmissionFactory, tls=True, passwords={"ann": "x"}, check_from=False
        ).greet()
        server.users["ann"].owned.add("ann@example.org")
        server.say("AUTH PLAIN AGFubgB4", "MAIL FROM:<ann@example.org>")
        server.say("RCPT TO:<bob@example.org>")
        answer = server.send(
            chunk(b"Subject: x\r\nBcc: eve@exa")
            + chunk(b"mple.org\r\n\r")
            + chunk(b"\nbody\r\n")
            + chunk(b"", last=True)
        )
        self.assertEqual(codes(answer), ["250 2.0.0"] * 4)
        (content,) = server.users["ann"].contents
        self.assertTrue(content.startswith(b"Subject: x\r\nDate: "), content)
        self.assertTrue(content.endswith(b"\r\n\r\nbody\r\n"), content)
        self.assertNotIn(b"Bcc", content)
