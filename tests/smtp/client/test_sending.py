"""Messages on the wire: transactions with every extension and every refusal."""

from __future__ import annotations

from dataclasses import replace

from twisted.trial.unittest import SynchronousTestCase

from mailkit.model import Envelope
from mailkit.smtp.client import ClientSettings, SendResult, Status, make_envelope
from tests.smtp.client.fakes import (
    EVERYTHING,
    LOST,
    MESSAGE,
    SILENCE,
    Server,
    make_session,
    open_session,
    run,
    strip_size,
)

SENDER = "ann@example.net"
TWO = ["bob@example.org", "cat@example.org"]
DATA_ONLY = ClientSettings(helo="client.example", chunking=False)


def send(server: Server, *recipients: str, message: bytes = MESSAGE, **changes: int) -> SendResult:
    """Send a message over a connection of its own, by DATA."""
    settings = replace(DATA_ONLY, lmtp=server.lmtp, **changes)  # type: ignore[arg-type]
    session = open_session(server, settings)
    return run(session.send(make_envelope(SENDER, recipients or TWO), message))


def told(result: SendResult) -> list[tuple[str, int, str, str]]:
    """Status, code, enhanced code and command of each recipient."""
    return [(o.status.value, o.code, o.enhanced, o.command) for o in result.outcomes]


class PlainTests(SynchronousTestCase):
    """RFC 5321, command by command."""

    def test_one_by_one(self) -> None:
        server = Server()
        result = send(server)
        self.assertEqual(
            server.commands,
            ["MAIL FROM:<ann@example.net>", *(f"RCPT TO:<{each}>" for each in TWO), "DATA"],
        )
        self.assertEqual([len(group) for group in server.groups], [1, 1, 1, 1])
        self.assertEqual(server.messages, [MESSAGE])
        self.assertEqual(told(result), [("accepted", 250, "2.6.0", "end of data")] * 2)
        self.assertEqual(result.size, len(MESSAGE))

    def test_the_null_reverse_path(self) -> None:
        server = Server()
        run(open_session(server).send(make_envelope(None, TWO), MESSAGE))
        self.assertEqual(server.commands[0], "MAIL FROM:<>")

    def test_quoted_local_parts(self) -> None:
        server = Server()
        run(open_session(server).send(make_envelope('"a b"@example.org', TWO), MESSAGE))
        self.assertEqual(server.commands[0], 'MAIL FROM:<"a b"@example.org>')

    def test_every_code_at_every_step(self) -> None:
        for pipelining in ((), ("PIPELINING",)):
            for key, step in (
                ("MAIL", "MAIL"),
                ("RCPT", "RCPT"),
                ("DATA", "DATA"),
                ("END", "end of data"),
            ):
                for code in (421, 450, 451, 452, 454, 455, 500, 501, 503, 521, 550, 552, 554, 556):
                    server = Server(*pipelining, answers={key: f"{code} text"})
                    result = send(server)
                    kind = "temporary" if code < 500 else "permanent"
                    for outcome in result.outcomes:
                        self.assertEqual(
                            (outcome.status.value, outcome.code, outcome.command, outcome.text),
                            (kind, code, step, "text"),
                        )
                        self.assertEqual(outcome.enhanced[0], str(code)[0])
                    self.assertEqual(server.messages, [MESSAGE] if key == "END" else [])

    def test_every_split_of_the_replies(self) -> None:
        for keywords in ((), EVERYTHING):
            for piece in range(1, 30):
                server = Server(*keywords, answers={"RCPT TO:<bob": "550-5.1.1 a\r\n550 5.1.1 b"})
                session = open_session(server, piece=piece)
                result = run(session.send(make_envelope(SENDER, TWO), MESSAGE))
                self.assertEqual([o.code for o in result.outcomes], [550, 250])
                self.assertEqual(result.outcomes[0].text, "a\nb")

    def test_some_recipients_fail(self) -> None:
        server = Server(answers={"RCPT TO:<bob": "550 5.1.1 who?"})
        self.assertEqual(
            told(send(server)),
            [("permanent", 550, "5.1.1", "RCPT"), ("accepted", 250, "2.6.0", "end of data")],
        )
        self.assertEqual(server.messages, [MESSAGE])

    def test_codes_without_enhanced_ones(self) -> None:
        for key, reply, enhanced in (
            ("RCPT", "550 no", "5.1.1"),
            ("END", "550 no", "5.0.0"),
            ("RCPT", "452 full", "4.3.1"),
            ("RCPT", "552 full", "5.2.2"),
            ("RCPT", "556 none", "5.1.10"),
            ("MAIL", "571 no", "5.0.0"),
            # What is said of the message, or of its sender, is not about the recipient.
            ("MAIL", "450 no", "4.0.0"),
            ("MAIL", "552 too large", "5.3.4"),
            ("END", "552 too large", "5.3.4"),
            ("MAIL", "553 who", "5.1.7"),
            ("END", "553 no", "5.0.0"),
            ("MAIL", "556 no", "5.7.27"),
        ):
            result = send(Server(answers={key: reply}), "bob@example.org")
            self.assertEqual(result.outcomes[0].enhanced, enhanced, (key, reply))

    def test_251_is_good(self) -> None:
        self.assertTrue(send(Server(answers={"RCPT": "251 2.1.5 will forward"})).accepted)

    def test_a_reply_to_data_that_makes_no_sense(self) -> None:
        for reply in ("250 ok", "334 what"):
            server = Server(answers={"DATA": reply})
            result = send(server)
            self.assertEqual({o.status for o in result.outcomes}, {Status.TEMPORARY})
            self.assertEqual(server.messages, [])


class EndTests(SynchronousTestCase):
    """The connection ends, or says nothing."""

    def test_loss_and_silence_at_every_step(self) -> None:
        for pipelining in ((), ("PIPELINING",)):
            for key, step in (
                ("MAIL", "MAIL"),
                ("RCPT", "RCPT"),
                ("DATA", "DATA"),
                ("END", "end of data"),
            ):
                for ending, enhanced in ((LOST, "4.4.2"), (SILENCE, "4.4.2")):
                    server = Server(*pipelining, answers={key: ending})
                    if ending == SILENCE and pipelining and key != "END":
                        # The replies behind it would be taken for its own.
                        continue
                    self.assertEqual(
                        told(send(server)), [("temporary", 0, enhanced, step)] * 2, (key, ending)
                    )

    def test_time_outs_are_those_of_the_step(self) -> None:
        for key, seconds in (("MAIL", 300), ("RCPT", 300), ("DATA", 120), ("END", 600)):
            session, channel = make_session(Server(answers={key: SILENCE}), DATA_ONLY)
            run(session.open())
            before = channel.time
            run(session.send(make_envelope(SENDER, TWO[0]), MESSAGE))
            self.assertEqual(channel.time - before, seconds, key)
            self.assertTrue(channel.aborted and session.closed)

    def test_421_at_every_step_ends_everything(self) -> None:
        for key in ("MAIL", "RCPT TO:<cat", "DATA", "END"):
            server = Server("PIPELINING", answers={key: "421 4.3.2 going"})
            session, channel = make_session(server, DATA_ONLY)
            run(session.open())
            result = run(session.send(make_envelope(SENDER, TWO), MESSAGE))
            self.assertEqual(
                {(o.status.value, o.code) for o in result.outcomes}, {("temporary", 421)}
            )
            self.assertTrue(channel.aborted and session.closed)

    def test_a_refusal_before_the_connection_breaks_still_counts(self) -> None:
        server = Server(answers={"RCPT TO:<bob": "550 5.1.1 who?", "RCPT TO:<cat": LOST})
        self.assertEqual(
            told(send(server)),
            [("permanent", 550, "5.1.1", "RCPT"), ("temporary", 0, "4.4.2", "RCPT")],
        )

    def test_the_server_judges_before_the_end(self) -> None:
        for reply, outcome in (
            ("552 5.3.4 too large", ("permanent", 552, "5.3.4", "end of data")),
            ("421 4.3.2 going", ("temporary", 421, "4.3.2", "end of data")),
            ("250 what", ("temporary", 0, "4.5.0", "end of data")),
        ):
            server = Server(answers={"CONTENT": reply})
            session, channel = make_session(server, DATA_ONLY)
            run(session.open())
            message = MESSAGE + b"x" * 70 * 1024
            result = run(session.send(make_envelope(SENDER, TWO[0]), message))
            self.assertEqual(told(result), [outcome])
            self.assertTrue(channel.aborted and session.closed)

    def test_a_closed_session_fails_at_once(self) -> None:
        server = Server()
        session = open_session(server)
        run(session.quit())
        result = run(session.send(make_envelope(SENDER, TWO), MESSAGE))
        self.assertEqual({o.status for o in result.outcomes}, {Status.TEMPORARY})
        self.assertFalse(result.outcomes[0].attempted)

    def test_replies_out_of_step(self) -> None:
        result = send(Server(answers={"MAIL": "250 ok\r\n250 ok\r\n250 ok\r\n250 ok\r\n250 ok"}))
        self.assertEqual({o.status for o in result.outcomes}, {Status.TEMPORARY})

    def test_a_reply_too_many_is_no_acceptance(self) -> None:
        # It would be taken for the answer to the content, and the real one for nothing.
        two = "250 2.1.5 ok\r\n250 2.1.5 ok"
        for keywords in ((), EVERYTHING):
            for answers in ({"RCPT": two}, {"RCPT": [two, "250 ok"]}, {"DATA": "354 go\r\n250 ok"}):
                if "DATA" in answers and keywords:
                    continue
                for message in (MESSAGE, b""):
                    session, channel = make_session(Server(*keywords, answers=answers))
                    run(session.open())
                    envelope = make_envelope(SENDER, TWO[0])
                    result = run(session.send(envelope, message))
                    self.assertEqual([o.status for o in result.outcomes], [Status.TEMPORARY])
                    self.assertTrue(channel.aborted)

    def test_a_reply_too_many_after_the_content_ends_the_connection(self) -> None:
        server = Server(answers={"END": "250 ok\r\n250 ok"})
        session, channel = make_session(server, replace(DATA_ONLY, max_recipients=1))
        run(session.open())
        result = run(session.send(make_envelope(SENDER, TWO), MESSAGE))
        self.assertEqual([o.accepted for o in result.outcomes], [True, False])
        self.assertFalse(result.outcomes[1].attempted)
        self.assertTrue(channel.aborted)


class PipeliningTests(SynchronousTestCase):
    """RFC 2920."""

    def test_the_envelope_is_one_write(self) -> None:
        server = Server("PIPELINING")
        self.assertEqual(len(send(server).accepted), 2)
        self.assertEqual(len(server.groups), 1)
        self.assertEqual([c.split()[0] for c in server.commands], ["MAIL", "RCPT", "RCPT", "DATA"])

    def test_nobody_accepted_and_data_refused(self) -> None:
        server = Server("PIPELINING", answers={"RCPT": "550 5.1.1 who?"})
        session = open_session(server, DATA_ONLY)
        result = run(session.send(make_envelope(SENDER, TWO), MESSAGE))
        self.assertEqual(told(result), [("permanent", 550, "5.1.1", "RCPT")] * 2)
        self.assertFalse(session.closed)
        # The next transaction begins with a clean slate, in the same write.
        server.answers.clear()
        self.assertTrue(run(session.send(make_envelope(SENDER, TWO), MESSAGE)).accepted)
        self.assertEqual(server.groups[1][0], "RSET")

    def test_nobody_accepted_and_data_accepted(self) -> None:
        # RFC 2920 section 3.1: send a single dot.
        server = Server("PIPELINING", answers={"RCPT": "550 5.1.1 who?", "DATA": "354 go"})
        session = open_session(server, DATA_ONLY)
        result = run(session.send(make_envelope(SENDER, TWO), MESSAGE))
        self.assertEqual(told(result), [("permanent", 550, "5.1.1", "RCPT")] * 2)
        self.assertEqual(server.messages, [b""])
        self.assertFalse(session.closed)
        server.answers.clear()
        self.assertTrue(run(session.send(make_envelope(SENDER, TWO), MESSAGE)).accepted)
        self.assertEqual(server.groups[-1][0], "MAIL FROM:<ann@example.net>")

    def test_no_empty_message_after_mail_was_refused(self) -> None:
        server = Server("PIPELINING", answers={"MAIL": "550 5.7.1 no", "DATA": "354 go"})
        session, channel = make_session(server, DATA_ONLY)
        run(session.open())
        result = run(session.send(make_envelope(SENDER, TWO), MESSAGE))
        self.assertEqual(told(result), [("permanent", 550, "5.7.1", "MAIL")] * 2)
        self.assertEqual(server.messages, [])
        self.assertTrue(channel.aborted)

    def test_without_it_nothing_follows_a_refusal(self) -> None:
        server = Server(answers={"MAIL": "550 5.7.1 no"})
        send(server)
        self.assertEqual(len(server.commands), 1)
        server = Server(answers={"RCPT": "550 5.1.1 who?"})
        send(server)
        self.assertEqual([c.split()[0] for c in server.commands], ["MAIL", "RCPT", "RCPT"])


class RecipientTests(SynchronousTestCase):
    """Many recipients: RFC 5321 section 4.5.3.1.10, RFC 9422."""

    def recipients(self, count: int) -> list[str]:
        return [f"user{number}@d{number % 3}.example" for number in range(count)]

    def batches(self, server: Server, count: int, **changes: int) -> list[int]:
        result = send(server, *self.recipients(count), **changes)
        self.assertEqual(len(result.accepted), count)
        self.assertEqual(
            [o.recipient.path.local_part for o in result.outcomes][-1], f"user{count - 1}"
        )
        return [sum(c.startswith("RCPT") for c in group) for group in server.groups]

    def test_a_hundred_in_one_transaction(self) -> None:
        self.assertEqual(self.batches(Server("PIPELINING"), 250), [100, 100, 50])

    def test_our_own_limit(self) -> None:
        self.assertEqual(self.batches(Server("PIPELINING"), 5, max_recipients=2), [2, 2, 1])

    def test_rcptmax(self) -> None:
        server = Server("PIPELINING", "LIMITS RCPTMAX=4")
        self.assertEqual(self.batches(server, 9), [4, 4, 1])

    def test_rcptdomainmax(self) -> None:
        # RFC 9422 section 4: domains of the session, not only of one transaction.
        server = Server("PIPELINING", "LIMITS RCPTMAX=2 RCPTDOMAINMAX=2")
        session = open_session(server, DATA_ONLY)
        result = run(session.send(make_envelope(SENDER, self.recipients(7)), MESSAGE))
        domains = [
            [c.rpartition("@")[2] for c in group if c.startswith("RCPT")] for group in server.groups
        ]
        self.assertEqual(
            domains,
            [
                ["d0.example>", "d1.example>"],
                ["d0.example>", "d1.example>"],
                ["d0.example>"],
            ],
        )
        self.assertEqual(
            [(o.accepted, o.attempted) for o in result.outcomes],
            [(True, True), (True, True), (False, False)] * 2 + [(True, True)],
        )

    def test_rcptdomainmax_is_used_up(self) -> None:
        server = Server("PIPELINING", "LIMITS RCPTDOMAINMAX=1")
        session = open_session(server, DATA_ONLY)
        self.assertFalse(session.exhausted)
        for recipient, accepted in {
            "bob@d1.example": True,
            "eve@d2.example": False,
            "joe@D1.example": True,
        }.items():
            result = run(session.send(make_envelope(SENDER, [recipient]), MESSAGE))
            self.assertEqual(len(result.accepted), accepted, recipient)
            # Nobody knows of which domain the next one is: it is not for a pool.
            self.assertTrue(session.exhausted)
        self.assertEqual(sum(c.startswith("MAIL") for c in server.commands), 2)

    def test_verifying_keeps_the_limits(self) -> None:
        server = Server("LIMITS RCPTMAX=2 RCPTDOMAINMAX=1")
        session = open_session(server, DATA_ONLY)
        outcomes = run(session.verify(make_envelope(SENDER, self.recipients(7))))
        self.assertEqual([o.attempted for o in outcomes], [True, False, False] * 2 + [False])
        self.assertEqual(sum(c.startswith("RCPT") for c in server.commands), 2)
        outcomes = run(session.verify(make_envelope(SENDER, ["bob@d1.example"])))
        self.assertEqual([o.attempted for o in outcomes], [False])
        self.assertEqual(sum(c.startswith("MAIL") for c in server.commands), 1)

    def test_mailmax(self) -> None:
        server = Server("PIPELINING", "LIMITS MAILMAX=2 RCPTMAX=1")
        session = open_session(server, DATA_ONLY)
        result = run(session.send(make_envelope(SENDER, self.recipients(3)), MESSAGE))
        self.assertEqual([o.accepted for o in result.outcomes], [True, True, False])
        self.assertEqual(
            (result.outcomes[2].status, result.outcomes[2].attempted), (Status.TEMPORARY, False)
        )
        self.assertTrue(session.exhausted)
        self.assertFalse(run(session.check()))

    def test_too_many_for_the_server(self) -> None:
        for reply in ("452 4.5.3 too many", "452 too many", "552 5.5.3 too many"):
            answers = {"RCPT TO:<user0": "250 ok", "RCPT TO:<user1": [reply, "250 ok"]}
            server = Server(answers=answers)
            result = send(server, *self.recipients(2))
            self.assertEqual(len(result.accepted), 2, reply)
            self.assertEqual(len(server.messages), 2)

    def test_a_server_that_takes_nobody_is_asked_once(self) -> None:
        server = Server(answers={"RCPT": "452 4.5.3 too many"})
        result = send(server, *self.recipients(2))
        self.assertEqual({o.code for o in result.outcomes}, {452})
        self.assertEqual(sum(c.startswith("MAIL") for c in server.commands), 1)


class ReuseTests(SynchronousTestCase):
    """Several messages on one connection."""

    def test_no_reset_after_success(self) -> None:
        server = Server("PIPELINING")
        session = open_session(server, DATA_ONLY)
        for number in range(3):
            message = MESSAGE + b"%d\r\n" % number
            self.assertTrue(run(session.send(make_envelope(SENDER, TWO), message)).accepted)
        self.assertNotIn("RSET", server.commands)
        self.assertEqual(len(server.messages), 3)
        self.assertEqual(session.facts.transactions, 3)

    def test_reset_after_a_failure(self) -> None:
        for key in ("RCPT", "DATA"):
            server = Server(answers={key: ["450 4.2.0 not now", "450 4.2.0 not now"]})
            session = open_session(server, DATA_ONLY)
            run(session.send(make_envelope(SENDER, TWO), MESSAGE))
            server.answers.clear()
            server.commands.clear()
            self.assertTrue(run(session.send(make_envelope(SENDER, TWO), MESSAGE)).accepted)
            self.assertEqual(server.commands[0], "RSET")

    def test_a_reset_that_fails_ends_the_connection(self) -> None:
        server = Server("PIPELINING", answers={"RCPT": "450 no", "RSET": "500 5.5.1 what"})
        session, channel = make_session(server, DATA_ONLY)
        run(session.open())
        run(session.send(make_envelope(SENDER, TWO), MESSAGE))
        server.answers.pop("RCPT")
        result = run(session.send(make_envelope(SENDER, TWO), MESSAGE))
        self.assertEqual({o.command for o in result.outcomes}, {"RSET"})
        self.assertEqual(server.messages, [])
        self.assertTrue(channel.aborted)

    def test_one_operation_at_a_time(self) -> None:
        session, channel = make_session(Server(), DATA_ONLY)
        run(session.open())
        channel.on_write = lambda data: run(session.check())
        self.assertRaises(RuntimeError, run, session.quit())
        self.assertTrue(channel.aborted and session.closed)


class LMTPTests(SynchronousTestCase):
    """RFC 2033."""

    def test_a_reply_for_each_recipient(self) -> None:
        server = Server(
            "PIPELINING",
            lmtp=True,
            answers={"END0": "250 2.1.5 saved", "END1": "452 4.2.2 full", "END2": "550 5.7.1 no"},
        )
        result = send(server, "a@example.org", "b@example.org", "c@example.org")
        self.assertEqual([o.code for o in result.outcomes], [250, 452, 550])
        self.assertEqual([o.enhanced for o in result.outcomes], ["2.1.5", "4.2.2", "5.7.1"])

    def test_only_for_those_that_were_accepted(self) -> None:
        server = Server(
            lmtp=True, answers={"RCPT TO:<a": "550 5.1.1 who?", "END0": "250 2.1.5 b has it"}
        )
        result = send(server, "a@example.org", "b@example.org")
        self.assertEqual([o.code for o in result.outcomes], [550, 250])
        self.assertEqual(result.outcomes[1].text, "b has it")

    def test_the_connection_breaks_between_replies(self) -> None:
        server = Server(lmtp=True, answers={"END0": "250 2.1.5 saved", "END1": LOST})
        result = send(server)
        self.assertEqual([o.status for o in result.outcomes], [Status.ACCEPTED, Status.TEMPORARY])

    def test_by_bdat(self) -> None:
        server = Server(*EVERYTHING, lmtp=True, answers={"END1": "452 4.2.2 full"})
        session = open_session(server)
        result = run(session.send(make_envelope(SENDER, TWO), MESSAGE))
        self.assertEqual([o.code for o in result.outcomes], [250, 452])
        self.assertEqual(server.messages, [MESSAGE])

    def test_nobody_accepted_and_data_accepted(self) -> None:
        server = Server(
            "PIPELINING", lmtp=True, answers={"RCPT": "550 5.1.1 who?", "DATA": "354 go"}
        )
        session, channel = make_session(server, replace(DATA_ONLY, lmtp=True))
        run(session.open())
        run(session.send(make_envelope(SENDER, TWO), MESSAGE))
        self.assertTrue(channel.aborted)


class ChunkingTests(SynchronousTestCase):
    """RFC 3030."""

    def send(
        self, server: Server, message: bytes = MESSAGE, chunk_size: int = 10
    ) -> tuple[SendResult, Envelope]:
        settings = ClientSettings(helo="client.example", chunk_size=chunk_size)
        envelope = make_envelope(SENDER, TWO)
        return run(open_session(server, settings).send(envelope, message)), envelope

    def test_chunks(self) -> None:
        for keywords in (("CHUNKING",), EVERYTHING):
            for chunk_size in (1, 7, len(MESSAGE) - 1, len(MESSAGE), len(MESSAGE) + 1):
                server = Server(*keywords)
                result, _ = self.send(server, chunk_size=chunk_size)
                self.assertEqual(len(result.accepted), 2)
                self.assertEqual(server.messages, [MESSAGE])
                sizes = [len(chunk) for chunk in server.chunks]
                self.assertEqual(max(sizes), min(chunk_size, len(MESSAGE)))
                self.assertTrue(server.commands[-1].endswith(" LAST"))

    def test_nothing_waits_between_chunks_with_pipelining(self) -> None:
        server = Server(*EVERYTHING, answers={"BDAT": SILENCE})
        result, _ = self.send(server)
        # All of it was sent although no reply came.
        self.assertEqual(server.messages, [MESSAGE])
        self.assertEqual(len(result.failed), 2)

    def test_an_empty_message(self) -> None:
        server = Server(*EVERYTHING)
        self.send(server, b"")
        self.assertEqual(server.commands[-1], "BDAT 0 LAST")

    def test_a_large_message_in_pieces(self) -> None:
        message = MESSAGE + b"0123456789abcdef" * 20_000
        server = Server(*EVERYTHING)
        result, _ = self.send(server, message, chunk_size=100_000)
        self.assertEqual(server.messages, [message])
        self.assertEqual(len(server.chunks), 4)
        self.assertEqual(result.size, len(message))

    def test_a_chunk_is_refused(self) -> None:
        for keywords in (("CHUNKING",), EVERYTHING):
            server = Server(*keywords, answers={"BDAT": "552 5.3.4 too large"})
            settings = ClientSettings(helo="client.example", chunk_size=10)
            session = open_session(server, settings)
            result = run(session.send(make_envelope(SENDER, TWO), MESSAGE))
            self.assertEqual(told(result), [("permanent", 552, "5.3.4", "BDAT")] * 2)
            # RFC 3030 section 2: no more segments, and RSET.
            self.assertEqual(len(server.chunks), 1)
            server.answers.clear()
            self.assertTrue(run(session.send(make_envelope(SENDER, TWO), MESSAGE)).accepted)
            self.assertIn("RSET", server.commands)

    def test_reset_after_the_last_chunk_is_refused(self) -> None:
        server = Server(*EVERYTHING, answers={"END": ["451 4.3.0 not now", "250 ok"]})
        session = open_session(server)
        self.assertFalse(run(session.send(make_envelope(SENDER, TWO), MESSAGE)).accepted)
        self.assertTrue(run(session.send(make_envelope(SENDER, TWO), MESSAGE)).accepted)
        self.assertEqual(server.commands.count("RSET"), 1)

    def test_nobody_accepted(self) -> None:
        server = Server(*EVERYTHING, answers={"RCPT": "550 5.1.1 who?"})
        result, _ = self.send(server)
        self.assertEqual(told(result), [("permanent", 550, "5.1.1", "RCPT")] * 2)
        self.assertFalse(any(c.startswith("BDAT") for c in server.commands))

    def test_no_dots_are_added(self) -> None:
        server = Server(*EVERYTHING)
        self.send(server, b"Subject: a\r\n\r\n.\r\n..\r\n.\r\n", 1000)
        self.assertEqual(server.chunks, [b"Subject: a\r\n\r\n.\r\n..\r\n.\r\n"])

    def test_not_where_it_is_switched_off(self) -> None:
        server = Server(*EVERYTHING)
        send(server)
        self.assertEqual(strip_size(server.commands[-1]), "DATA")
