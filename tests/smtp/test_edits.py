"""What hooks change in a message and its envelope."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import NoSuchRecipient, TemporaryFailure
from mailkit.hooks import (
    Accept,
    AddHeader,
    AddRecipient,
    ChangeHeader,
    ChangeSender,
    Quarantine,
    Reject,
    RemoveRecipient,
    ReplaceBody,
)
from mailkit.mime.headers import parse_header
from mailkit.model import Ability, Path
from mailkit.smtp.edits import COPIED_AT_ONCE, edit_header
from mailkit.smtp.lmtp import LMTPFactory
from mailkit.smtp.submission import SubmissionFactory
from mailkit.spool import Spool
from tests.smtp.hooked import MESSAGE, HookedServer, ScriptedHook, codes

HEADER = b"A: 1\r\nB: 2\r\n folded\r\na: 3\r\n\r\n"


class HeaderTests(SynchronousTestCase):
    def check(
        self, *edits: AddHeader | ChangeHeader, becomes: bytes, header: bytes = HEADER
    ) -> None:
        self.assertEqual(edit_header(header, edits), becomes)

    def test_add(self) -> None:
        self.check(AddHeader("X", "y"), becomes=b"X: y\r\n" + HEADER)
        self.check(AddHeader("X", "y", None), becomes=HEADER[:-2] + b"X: y\r\n\r\n")
        self.check(AddHeader("X", "y", 99), becomes=HEADER[:-2] + b"X: y\r\n\r\n")
        self.check(AddHeader("X", "y", -1), becomes=b"X: y\r\n" + HEADER)
        self.check(
            AddHeader("X", "y", 2), becomes=b"A: 1\r\nB: 2\r\n folded\r\nX: y\r\na: 3\r\n\r\n"
        )

    def test_in_order(self) -> None:
        self.check(
            AddHeader("X", "1"),
            AddHeader("X", "2"),
            ChangeHeader("X", "3", 2),
            becomes=b"X: 2\r\nX: 3\r\n" + HEADER,
        )

    def test_change(self) -> None:
        self.check(
            ChangeHeader("A", "x"),
            becomes=HEADER.replace(b"A: 1", b"A: x").replace(b"a: 3", b"A: x"),
        )
        self.check(ChangeHeader("a", "x", 2), becomes=HEADER.replace(b"a: 3", b"a: x"))
        self.check(ChangeHeader("b", "x"), becomes=HEADER.replace(b"B: 2\r\n folded", b"b: x"))

    def test_change_what_is_not_there(self) -> None:
        added = HEADER[:-2] + b"C: x\r\n\r\n"
        self.check(ChangeHeader("C", "x"), becomes=added)
        self.check(ChangeHeader("A", "x", 3), becomes=HEADER[:-2] + b"A: x\r\n\r\n")
        self.check(ChangeHeader("A", "x", 0), becomes=HEADER[:-2] + b"A: x\r\n\r\n")
        self.check(ChangeHeader("C", None), becomes=HEADER)

    def test_remove(self) -> None:
        self.check(ChangeHeader("A", None), becomes=b"B: 2\r\n folded\r\n\r\n")
        self.check(ChangeHeader("A", None, 1), becomes=HEADER[6:])
        self.check(ChangeHeader("A", None, 3), becomes=HEADER)

    def test_shapes(self) -> None:
        add = AddHeader("X", "y", None)
        for header, becomes in (
            (b"", b"X: y\r\n"),
            (b"\r\n", b"X: y\r\n\r\n"),
            (b"A: 1\r\n", b"A: 1\r\nX: y\r\n"),
            (b"A: 1", b"A: 1\r\nX: y\r\n"),
            (b"A: 1\n\n", b"A: 1\nX: y\r\n\n"),
            (b"no field\r\n\r\n", b"no field\r\nX: y\r\n\r\n"),
            (b"A : 1\r\n\r\n", b"A : 1\r\nX: y\r\n\r\n"),
        ):
            self.check(add, header=header, becomes=becomes)
        self.check(ChangeHeader("a", None), header=b"A \t: 1\r\n\r\n", becomes=b"\r\n")

    def test_octets(self) -> None:
        self.check(AddHeader("X", "\u00e9\udcff"), header=b"", becomes=b"X: \xc3\xa9\xff\r\n")
        self.assertRaises(ValueError, AddHeader, "X", "\ud800")

    @given(st.binary(max_size=60), st.sampled_from([0, 1, None]))
    def test_what_is_not_edited_stays(self, noise: bytes, position: int | None) -> None:
        header = noise[: parse_header(noise).body_start]
        self.assertEqual(edit_header(header, []).rstrip(b"\r\n"), header.rstrip(b"\r\n"))
        edited = edit_header(header, [AddHeader("X-New", "1", position)])
        removed = edit_header(edited, [ChangeHeader("X-New", None)])
        if not header.startswith((b" ", b"\t")):
            self.assertEqual(removed.rstrip(b"\r\n"), header.rstrip(b"\r\n"))


class WireTests(SynchronousTestCase):
    """Edits in the dialogue, on messages in memory and in a file."""

    def deliver(self, *hooks: object, content: bytes = MESSAGE, **settings: Any) -> HookedServer:
        server = HookedServer(*hooks, trace=False, **settings)
        self.assertEqual(codes(server.whole(content))[-2:], ["250 2.0.0", "250 2.0.0"])
        return server

    def test_edits_of_several_hooks_and_steps(self) -> None:
        server = self.deliver(
            ScriptedHook(mail=AddHeader("X-Mail", "1", None), message=ChangeHeader("X-Loop", None)),
            ScriptedHook(
                rcpt=ChangeSender(Path("list", "example.net")),
                header=[AddHeader("X-Header", "2"), AddHeader("X-Header", "3")],
                message=[ChangeHeader("Subject", "bye"), AddHeader("X-Last", "4", None)],
            ),
        )
        self.assertEqual(
            server.delivery.contents,
            [
                b"X-Header: 3\r\nX-Header: 2\r\nSubject: bye\r\nX-Mail: 1\r\nX-Last: 4\r\n"
                b"\r\nbody\r\n"
            ],
        )
        envelope, _ = server.delivery.received[0]
        self.assertEqual(str(envelope.reverse_path), "list@example.net")

    def test_nothing_of_a_message_reaches_the_next(self) -> None:
        hook = ScriptedHook(mail=AddHeader("X", "1"))
        server = self.deliver(hook)
        hook.answers.clear()
        server.whole()
        self.assertEqual(server.delivery.contents[1], MESSAGE)

    def test_an_aborted_transaction_leaves_no_edits(self) -> None:
        hook = ScriptedHook(rcpt=AddHeader("X", "1"))
        server = HookedServer(hook, trace=False).greet()
        server.say("MAIL FROM:<>", "RCPT TO:<bob@example.org>", "RSET")
        hook.answers.clear()
        server.whole()
        self.assertEqual(server.delivery.contents, [MESSAGE])

    def test_large_messages_are_edited_without_being_copied(self) -> None:
        directory = self.mktemp()
        os.mkdir(directory)
        body = b"0123456789abcde\r\n" * 40_000
        hook = ScriptedHook(message=[AddHeader("X", "y" * 500), ChangeHeader("X-Loop", None)])
        server = HookedServer(hook, trace=False).begin()
        spool = server.protocol._content.spool  # type: ignore[union-attr]
        spool._directory = directory
        server.send(b"Subject: hello\r\nX-Loop: one\r\n\r\n")
        for start in range(0, len(body), 50_000):
            server.send(body[start : start + 50_000])
        self.assertEqual(len(os.listdir(directory)), 1)
        self.assertEqual(codes(server.send(b".\r\n")), ["250 2.0.0"])
        expected = b"X: " + b"y" * 500 + b"\r\nSubject: hello\r\n\r\n" + body
        self.assertTrue(server.delivery.contents == [expected])
        self.assertEqual(len(server.delivery.spools), 1)
        self.assertEqual(os.listdir(directory), [])

    def test_replace_body(self) -> None:
        for content, becomes in (
            (MESSAGE, b"X: y\r\nSubject: hello\r\nX-Loop: one\r\n\r\nnew\r\n"),
            (b"A: b\r\n", b"X: y\r\nA: b\r\n\r\nnew\r\n"),
            (b"\r\nold\r\n", b"X: y\r\n\r\nnew\r\n"),
            (b"", b"X: y\r\n\r\nnew\r\n"),
        ):
            first, last = Spool.from_bytes(b"not this\r\n"), Spool(memory_limit=1)
            last.write(b"new\r\n")
            path = last.path
            assert path is not None
            edits = [ReplaceBody(first), AddHeader("X", "y"), ReplaceBody(last)]
            server = self.deliver(ScriptedHook(message=edits), content=content)
            self.assertEqual(server.delivery.contents, [becomes])
            self.assertTrue(all(spool.closed for spool in server.delivery.spools))
            self.assertFalse(os.path.exists(path))

    def test_line_ends_of_a_new_body_are_those_of_mail(self) -> None:
        for memory in (1, 1000):
            body = Spool(memory_limit=memory)
            body.write(b"a\nb\r\n.\nc\n")
            server = self.deliver(ScriptedHook(message=ReplaceBody(body)), content=b"A: b\r\n\r\n")
            self.assertEqual(server.delivery.contents, [b"A: b\r\n\r\na\r\nb\r\n.\r\nc\r\n"])

    def test_a_line_end_between_two_pieces_of_a_new_body(self) -> None:
        body = b"x" * (COPIED_AT_ONCE - 1) + b"\r\ny\n"
        server = HookedServer(
            ScriptedHook(message=ReplaceBody(Spool.from_bytes(body))), trace=False
        )
        server.whole()
        server.clock.pump([0] * 5)
        self.assertTrue(server.delivery.contents[0].endswith(b"x\r\ny\r\n"))

    def test_a_new_binary_body_stays_as_it_is(self) -> None:
        hook = ScriptedHook(message=ReplaceBody(Spool.from_bytes(b"a\nb\r")))
        server = HookedServer(hook, trace=False, abilities=[Ability.BINARYMIME])
        server.greet()
        server.say("MAIL FROM:<a@b.example> BODY=BINARYMIME", "RCPT TO:<bob@example.org>")
        server.send(b"BDAT 8 LAST\r\nA: b\r\n\r\n")
        self.assertEqual(server.delivery.contents, [b"A: b\r\n\r\na\nb\r"])

    def test_a_large_new_body_lets_others_have_their_turn(self) -> None:
        body = b"x" * 600_000 + b"\r\n"
        hook = ScriptedHook(message=ReplaceBody(Spool.from_bytes(body)))
        server = HookedServer(hook, trace=False)
        server.whole()
        self.assertFalse(server.answer().endswith(b"250 2.0.0 OK\r\n"))
        server.clock.pump([0] * 5)
        self.assertTrue(server.answer().endswith(b"250 2.0.0 OK\r\n"))
        self.assertTrue(server.delivery.contents == [MESSAGE[: -len(b"body\r\n")] + body])

    def test_a_client_that_goes_while_a_body_is_replaced(self) -> None:
        hook = ScriptedHook(message=ReplaceBody(Spool.from_bytes(b"x" * 600_000)))
        server = HookedServer(hook)
        server.whole()
        server.lose()
        self.assertEqual(len(server.delivery.spools), 2)
        self.assertTrue(all(spool.closed for spool in server.delivery.spools))
        self.assertEqual((server.delivery.received, hook.calls[-1]), ([], "disconnect"))

    def test_bodies_that_nobody_wants_are_closed(self) -> None:
        for refusing in (ScriptedHook(message=Reject()), ScriptedHook(message="nonsense")):
            spool = Spool(memory_limit=1)
            spool.write(b"new\r\n")
            path = spool.path
            assert path is not None
            server = HookedServer(ScriptedHook(message=ReplaceBody(spool)), refusing)
            server.whole()
            self.assertEqual(server.delivery.received, [])
            self.assertFalse(os.path.exists(path))
        self.flushLoggedErrors(TypeError)

    def test_a_full_disk(self) -> None:
        hook = ScriptedHook(message=ReplaceBody(Spool.from_bytes(b"new\r\n")))
        server = HookedServer(hook).begin()
        server.delivery.trouble["new_spool"] = OSError(28, "No space left on device")
        self.assertEqual(codes(server.send_message()), ["452 4.3.1"])
        self.assertEqual(server.delivery.received, [])


class RecipientTests(SynchronousTestCase):
    def recipients(self, server: HookedServer) -> list[str]:
        envelope, _ = server.delivery.received[0]
        return [str(recipient.path) for recipient in envelope.recipients]

    def test_add_and_remove(self) -> None:
        hook = ScriptedHook(
            message=[
                AddRecipient(Path("eve", "example.org"), {"NOTIFY": "NEVER"}),
                AddRecipient(Path("bob", "EXAMPLE.org")),
                AddRecipient(Path("joe", "example.org")),
                RemoveRecipient(Path("joe", "Example.Org")),
                RemoveRecipient(Path("nobody", "example.org")),
                AddRecipient(Path("zoe", "bücher.example")),
                RemoveRecipient(Path("zoe", "xn--bcher-kva.example")),
            ]
        )
        server = HookedServer(hook)
        self.assertEqual(codes(server.whole())[-2], "250 2.0.0")
        self.assertEqual(self.recipients(server), ["bob@example.org", "eve@example.org"])
        envelope, _ = server.delivery.received[0]
        self.assertEqual(envelope.recipients[1].parameters, {"NOTIFY": "NEVER"})
        self.assertEqual(server.delivery.calls.count("check_recipient"), 4)

    def test_without_recipients_the_message_is_thrown_away(self) -> None:
        hook = ScriptedHook(message=RemoveRecipient(Path("bob", "example.org")))
        server = HookedServer(hook)
        self.assertEqual(codes(server.whole())[-2:], ["250 2.0.0", "250 2.0.0"])
        self.assertEqual(server.delivery.received, [])
        self.assertTrue(server.delivery.spools[0].closed)

    def test_a_recipient_whom_the_delivery_refuses(self) -> None:
        hook = ScriptedHook("archive", message=AddRecipient(Path("eve", "example.org")))
        server = HookedServer(hook)
        server.delivery.unknown["eve"] = NoSuchRecipient()
        with capturedLogs() as events:
            self.assertEqual(codes(server.whole())[-2], "250 2.0.0")
        self.assertEqual(self.recipients(server), ["bob@example.org"])
        (warning,) = [event for event in events if "who is refused" in event["log_format"]]
        self.assertEqual((warning["hook"], str(warning["path"])), ("archive", "eve@example.org"))
        server.delivery.unknown["eve"] = TemporaryFailure()
        self.assertEqual(codes(server.whole())[-2], "451 4.3.0")
        self.assertEqual(len(server.delivery.received), 1)

    def test_lmtp_answers_for_those_whom_the_client_named(self) -> None:
        hook = ScriptedHook(
            message=[
                RemoveRecipient(Path("bob", "example.org")),
                AddRecipient(Path("zoe", "example.org")),
            ]
        )
        server = HookedServer(hook, factory_class=LMTPFactory)
        server.delivery.failing["joe"] = NoSuchRecipient()
        server.say("LHLO client.example", "MAIL FROM:<ann@example.net>")
        server.say("RCPT TO:<bob@example.org>", "RCPT TO:<joe@example.org>", "DATA")
        self.assertEqual(codes(server.send_message()), ["250 2.0.0", "550 5.1.1"])
        self.assertEqual(self.recipients(server), ["joe@example.org", "zoe@example.org"])
        hook.answers["message"] = Reject("Spam")
        server.say("MAIL FROM:<>", "RCPT TO:<bob@example.org>", "RCPT TO:<joe@example.org>", "DATA")
        self.assertEqual(codes(server.send_message()), ["550 5.7.1"] * 2)


class SubmissionTests(SynchronousTestCase):
    """Hooks see the completed message, after it was judged as the user's."""

    def server(self, hook: ScriptedHook) -> HookedServer:
        server = HookedServer(
            hook,
            factory_class=SubmissionFactory,
            passwords={"ann": "secret"},
            tls=True,
            trace=False,
        ).greet()
        server.send(b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\n")
        server.users["ann"].owned = {"ann@example.org"}
        server.say("MAIL FROM:<ann@example.org>", "RCPT TO:<bob@example.org>", "DATA")
        return server

    def test_completed(self) -> None:
        hook = ScriptedHook(message=AddHeader("X", "y"))
        server = self.server(hook)
        answer = server.send(b"From: ann@example.org\r\nBcc: eve@example.org\r\n\r\nhi\r\n.\r\n")
        self.assertEqual(codes(answer), ["250 2.0.0"])
        self.assertEqual(
            [field.name for field in hook.seen["fields"]], ["From", "Date", "Message-ID"]
        )
        self.assertTrue(hook.seen["message"].startswith(b"From: ann@example.org\r\nDate: "))
        self.assertTrue(server.users["ann"].contents[0].startswith(b"X: y\r\nFrom: "))

    def test_in_pieces(self) -> None:
        hook = ScriptedHook()
        server = self.server(hook)
        for octet in b"From: ann@example.org\r\n\r\nhi\r\n.\r\n":
            server.send(bytes([octet]))
        self.assertEqual(hook.calls.count("header"), 1)
        self.assertEqual(len(server.users["ann"].received), 1)

    def test_what_is_not_the_users_is_refused_first(self) -> None:
        hook = ScriptedHook()
        server = self.server(hook)
        answer = server.send(b"From: eve@example.org\r\n\r\nhi\r\n.\r\n")
        self.assertEqual(codes(answer), ["550 5.7.1"])
        self.assertNotIn("message", hook.calls)


class TraceTests(SynchronousTestCase):
    """X-Mailkit-Hooks, and the log."""

    def field(self, *hooks: object, content: bytes = MESSAGE, **settings: Any) -> bytes:
        server = HookedServer(*hooks, **settings)
        self.assertEqual(codes(server.whole(content))[-2], "250 2.0.0")
        (message,) = server.delivery.contents
        self.assertTrue(message.endswith(MESSAGE), message)
        return message[: -len(MESSAGE)]

    def test_answers_with_reasons_and_times(self) -> None:
        hook = ScriptedHook("score")
        gate = hook.wait("message")
        server = HookedServer(hook, ScriptedHook("names", mail=AddHeader("X-Loop", "one")))
        server.whole()
        server.clock.advance(0.0124)
        gate.callback(Accept("looks (very) good\r\nX: y\u00e9"))
        (message,) = server.delivery.contents
        self.assertEqual(
            message[: message.index(b"X-Loop: one")],
            b"X-Mailkit-Hooks: names mail add-header (X-Loop) 0ms;\r\n"
            b"\tscore message accept (looks ?very? good??X: y?) 12ms\r\n",
        )

    def test_the_first_and_the_last_of_many(self) -> None:
        # The verdict comes last; answers to many recipients do not keep it out.
        hook = ScriptedHook("a", rcpt=Accept(), message=Quarantine("odd"))
        for count in (49, 99):
            server = HookedServer(hook).greet()
            server.say("MAIL FROM:<>", *["RCPT TO:<bob@example.org>"] * count, "DATA")
            server.send_message()
            (message,) = server.delivery.contents
            answers = [b"a rcpt accept 0ms"] * 49 + [b"a message quarantine (odd) 0ms"]
            if count > 49:
                answers.insert(25, b"...")
            field = b"X-Mailkit-Hooks: " + b";\r\n\t".join(answers) + b"\r\n"
            self.assertEqual(message[: len(field)], field)

    def test_silent_hooks_leave_no_trace(self) -> None:
        self.assertEqual(self.field(ScriptedHook()), b"")
        self.assertEqual(self.field(ScriptedHook(mail=Accept()), trace=False), b"")

    def test_others_cannot_speak_for_our_hooks(self) -> None:
        forged = b"x-mailkit-HOOKS: score message accept (fine)\r\n 1ms\r\n"
        self.assertEqual(self.field(ScriptedHook(), content=forged + MESSAGE), b"")
        self.assertEqual(
            self.field(ScriptedHook("a", mail=Accept()), content=forged + forged + MESSAGE),
            b"X-Mailkit-Hooks: a mail accept 0ms\r\n",
        )
        self.assertEqual(self.field(ScriptedHook(), content=forged + MESSAGE, trace=False), forged)

    def test_nobody_reads_of_other_recipients(self) -> None:
        hook = ScriptedHook("a", message=AddRecipient(Path("eve", "example.org")))
        hook.answers["rcpt"] = Reject("no bob here")
        server = HookedServer(hook).greet()
        server.say("MAIL FROM:<>", "RCPT TO:<bob@example.org>")
        hook.answers["rcpt"] = None
        server.say("RCPT TO:<joe@example.org>", "DATA")
        server.send_message()
        envelope, message = server.delivery.received[0]
        self.assertIn(b"X-Mailkit-Hooks: a message add-recipient 0ms\r\n", message)
        self.assertNotIn(b"bob", message)
        self.assertEqual(
            [record.answer for record in envelope.history], ["reject", "add-recipient"]
        )

    def test_records_are_bounded(self) -> None:
        hook = ScriptedHook("a", message=[AddHeader("X", "y", None)] * 300)
        server = HookedServer(hook)
        server.whole()
        envelope, message = server.delivery.received[0]
        self.assertEqual(len(envelope.history), 200)
        self.assertEqual(message.count(b" add-header "), 50)
        self.assertEqual(message.count(b"\r\nX: y"), 300)

    def test_the_log(self) -> None:
        hook = ScriptedHook("a", mail=AddHeader("X", "y"), message=Reject("Spam"))
        with capturedLogs() as events:
            HookedServer(hook).whole()
        (refusal,) = [e for e in events if e["log_format"].startswith("hook {hook} refused")]
        self.assertEqual(
            (refusal["hook"], refusal["step"], refusal["code"], refusal["text"]),
            ("a", "message", 550, "Spam"),
        )
        (line,) = [e for e in events if "judged by hooks" in e["log_format"]]
        self.assertEqual(line["words"], "a mail add-header; a message reject")
        self.assertEqual(
            [record[:3] for record in line["hooks"]],
            [("a", "mail", "add-header"), ("a", "message", "reject")],
        )
