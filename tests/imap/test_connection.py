"""Greeting, login, states, limits, time-outs, and ends of a connection."""

from __future__ import annotations

import base64
from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import StoreUnavailable
from mailkit.imap.protocol import IMAPFactory
from tests.imap.fakes import Slow
from tests.imap.support import USER, Client, Server, now, split_responses

CREDENTIALS = base64.b64encode(b"\0ann@example.org\0secret")


class GreetingTests(SynchronousTestCase):
    def test_greeting_has_the_capabilities(self) -> None:
        self.assertEqual(
            Server().connect().greeting,
            b"* OK [CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ ID LANGUAGE SASL-IR AUTH=PLAIN AUTH=LOGIN ENABLE IDLE]"
            b" mailkit is ready\r\n",
        )

    def test_no_passwords_in_clear_from_elsewhere(self) -> None:
        client = Server().connect("192.0.2.1")
        self.assertEqual(
            client.command("CAPABILITY")[0],
            b"* CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ ID LANGUAGE SASL-IR LOGINDISABLED ENABLE IDLE",
        )
        for command in (f"LOGIN {USER} secret", "AUTHENTICATE PLAIN"):
            self.assertEqual(client.command(command), [b"NO [PRIVACYREQUIRED] Use STARTTLS first"])

    def test_passwords_in_clear_where_the_operator_says_so(self) -> None:
        client = Server(allow_plaintext_passwords=True).connect("192.0.2.1")
        self.assertTrue(client.command(f"LOGIN {USER} secret")[0].startswith(b"OK "))

    def test_preauthenticated(self) -> None:
        server = Server()
        server.factory = IMAPFactory(account=server.account, clock=server.clock)
        client = server.connect()
        self.assertTrue(client.greeting.startswith(b"* PREAUTH [CAPABILITY IMAP4rev1 "))
        self.assertEqual(client.command("SELECT INBOX")[-1], b"OK [READ-WRITE] SELECT completed")
        self.assertEqual(
            client.command(f"LOGIN {USER} secret"),
            [b"BAD This command cannot be used in the selected state"],
        )

    def test_too_many_connections(self) -> None:
        server = Server(max_connections=1)
        server.connect()
        client = server.connect()
        self.assertTrue(client.greeting.startswith(b"* BYE [UNAVAILABLE] "))
        self.assertTrue(client.closed)

    def test_server_stops(self) -> None:
        client = Server().login()
        client.protocol.shut_down()
        self.assertEqual(client.take(), b"* BYE [UNAVAILABLE] The server is going down\r\n")
        self.assertTrue(client.closed)


class LoginTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.client = self.server.connect()

    def test_login(self) -> None:
        (response,) = self.client.command(f"LOGIN {USER} secret")
        capabilities, _ = self.client.command("CAPABILITY")
        self.assertEqual(
            response,
            b"OK [CAPABILITY %b] LOGIN completed" % capabilities.removeprefix(b"* CAPABILITY "),
        )
        self.assertTrue(
            capabilities.startswith(b"* CAPABILITY IMAP4rev1 IMAP4rev2 LITERAL+ "), capabilities
        )

    def test_login_with_quotes_and_literals(self) -> None:
        for command in (
            b'LOGIN "ann@example.org" "secret"',
            b"LOGIN {15+}\r\nann@example.org {6+}\r\nsecret",
            b'login {15+}\r\nann@example.org "secr\\et"'.replace(b"\\e", b"e"),
        ):
            client = self.server.connect()
            self.assertTrue(client.command(command)[0].startswith(b"OK "), command)

    def test_login_with_literals_that_wait(self) -> None:
        self.assertEqual(self.client.send(b"a LOGIN {15}\r\n"), b"+ OK\r\n")
        self.assertEqual(self.client.send(b"ann@example.org {6}\r\n"), b"+ OK\r\n")
        self.assertTrue(self.client.send(b"secret\r\n").startswith(b"a OK "))

    def test_wrong_password(self) -> None:
        expected = b"NO [AUTHENTICATIONFAILED] User name or password is not right"
        self.assertEqual(self.client.command(f"LOGIN {USER} wrong"), [expected])

    def test_wrong_password_from_elsewhere(self) -> None:
        client = Server(allow_plaintext_passwords=True).connect("192.0.2.1")
        # The answer comes after a pause.
        self.assertEqual(client.command(f"LOGIN {USER} wrong"), [])

    def test_too_many_wrong_passwords(self) -> None:
        for _ in range(5):
            self.assertFalse(self.client.closed)
            lines = self.client.command(f"LOGIN {USER} wrong")
        self.assertEqual(lines[-1], b"* BYE Too many failed logins")
        self.assertTrue(self.client.closed)

    def test_logout_is_told_to_the_realm(self) -> None:
        self.client.command(f"LOGIN {USER} secret")
        self.client.command("LOGOUT")
        self.client.lose()
        self.assertEqual(self.server.realm.logouts, 1)

    def test_second_login(self) -> None:
        self.client.command(f"LOGIN {USER} secret")
        self.assertEqual(
            self.client.command(f"LOGIN {USER} secret"),
            [b"BAD This command cannot be used in the authenticated state"],
        )

    def test_arguments(self) -> None:
        for command in ("LOGIN", "LOGIN a", "LOGIN a b c", 'LOGIN "a b', "LOGIN (a) b"):
            self.assertTrue(self.client.command(command)[0].startswith(b"BAD "), command)

    def test_authenticate_plain(self) -> None:
        self.assertEqual(self.client.send(b"a AUTHENTICATE PLAIN\r\n"), b"+ \r\n")
        self.assertTrue(self.client.send(CREDENTIALS + b"\r\n").startswith(b"a OK [CAPABILITY "))

    def test_authenticate_with_initial_response(self) -> None:
        (response,) = self.client.command(b"authenticate plain " + CREDENTIALS)
        self.assertTrue(response.startswith(b"OK "))

    def test_authenticate_login(self) -> None:
        self.assertEqual(self.client.send(b"a AUTHENTICATE LOGIN\r\n"), b"+ VXNlcm5hbWU6\r\n")
        name = base64.b64encode(USER.encode())
        self.assertEqual(self.client.send(name + b"\r\n"), b"+ UGFzc3dvcmQ6\r\n")
        password = base64.b64encode(b"secret")
        self.assertTrue(self.client.send(password + b"\r\n").startswith(b"a OK "))

    def test_authenticate_cancelled(self) -> None:
        self.client.send(b"a AUTHENTICATE PLAIN\r\n")
        self.assertEqual(self.client.send(b"*\r\n"), b"a BAD AUTHENTICATE cancelled\r\n")
        self.assertEqual(self.client.send(b"b NOOP\r\n"), b"b OK NOOP completed\r\n")

    def test_responses_that_are_wrong(self) -> None:
        for line, answer in [
            (b"???", b"a BAD "),
            (b"AAAA", b"a NO [AUTHENTICATIONFAILED] "),
            (b"x" * 20000, b"a BAD "),
        ]:
            self.client.send(b"a AUTHENTICATE PLAIN\r\n")
            self.assertTrue(self.client.send(line + b"\r\n").startswith(answer), line[:10])

    def test_nobody_acts_for_others(self) -> None:
        response = base64.b64encode(b"bob\0ann@example.org\0secret")
        (line,) = self.client.command(b"AUTHENTICATE PLAIN " + response)
        self.assertTrue(line.startswith(b"NO [AUTHORIZATIONFAILED] "), line)

    def test_unknown_mechanism(self) -> None:
        self.assertEqual(
            self.client.command("AUTHENTICATE GSSAPI"), [b"NO There is no such mechanism"]
        )

    def test_portal_is_down(self) -> None:
        async def fail(*arguments: object) -> None:
            raise StoreUnavailable

        self.server.factory.portal.login = fail  # type: ignore[union-attr, method-assign, assignment]
        (response,) = self.client.command(f"LOGIN {USER} secret")
        self.assertTrue(response.startswith(b"NO [UNAVAILABLE] "))


class StateTests(SynchronousTestCase):
    """Each command in each state (RFC 3501 section 6)."""

    ANY = ("CAPABILITY", "NOOP", "ID NIL")
    BEFORE = ("LOGIN a b", "AUTHENTICATE PLAIN", "STARTTLS")
    AFTER = (
        "SELECT INBOX", "EXAMINE INBOX", "CREATE x", "DELETE x", "RENAME x y", "SUBSCRIBE x",
        "UNSUBSCRIBE x", 'LIST "" *', 'LSUB "" *', "STATUS INBOX (UIDNEXT)", "NAMESPACE",
        "ENABLE X",
    )  # fmt: skip
    SELECTED = (
        "CHECK", "CLOSE", "UNSELECT", "EXPUNGE", "UID EXPUNGE 1", "SEARCH ALL", "UID SEARCH ALL",
        "FETCH 1 UID", "UID FETCH 1 UID", "STORE 1 FLAGS ()", "UID STORE 1 FLAGS ()",
        "COPY 1 Sent", "UID COPY 1 Sent", "MOVE 1 Sent", "UID MOVE 1 Sent",
    )  # fmt: skip

    def wrong(self, client: Client, command: str) -> bool:
        return b"BAD This command cannot be used in the" in client.command(command)[-1]

    def test_before_login(self) -> None:
        server = Server()
        for command in (*self.AFTER, "IDLE", *self.SELECTED):
            self.assertTrue(self.wrong(server.connect(), command), command)
        self.assertIn(
            b"a BAD This command", server.connect().send(b"a APPEND INBOX {3+}\r\nabc\r\n")
        )
        for command in self.ANY:
            self.assertEqual(server.connect().command(command)[-1][:3], b"OK ", command)

    def test_after_login(self) -> None:
        server = Server()
        client = server.login()
        client.protocol.max_errors = 1000
        for command in (*self.BEFORE, *self.SELECTED):
            self.assertTrue(self.wrong(client, command), command)
        for command in (*self.ANY, *self.AFTER):
            self.assertFalse(self.wrong(server.login(), command), command)

    def test_selected(self) -> None:
        server = Server()
        server.add(b"\r\n")
        client = server.login("SELECT INBOX")
        for command in self.BEFORE:
            self.assertTrue(self.wrong(client, command), command)
        for command in (*self.ANY, *self.AFTER, *self.SELECTED):
            client = server.login("CREATE x", "SELECT INBOX")
            self.assertNotIn(b"BAD ", client.command(command)[-1], command)

    def test_arguments_too_many_or_missing(self) -> None:
        server = Server()
        server.add(b"\r\n")
        for command in (*self.ANY, *self.AFTER, *self.SELECTED, "LOGOUT", "IDLE"):
            client = server.login("SELECT INBOX")
            self.assertIn(b"BAD ", client.command(command + " )")[-1], command)
            words = command.split(" ")
            if len(words) > (2 if words[0] == "UID" else 1):
                short = " ".join(words[:-1])
                self.assertIn(b"BAD ", client.command(short)[-1], short)
            self.assertFalse(client.closed)

    def test_a_bad_command_changes_nothing(self) -> None:
        server = Server()
        client = server.login("SELECT INBOX")
        client.command("SELECT INBOX x")
        self.assertEqual(client.command("CHECK"), [b"OK CHECK completed"])


class JunkTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.server = Server()
        self.client = self.server.connect()

    def test_untagged_bad_for_what_has_no_tag(self) -> None:
        for line in (b"", b" ", b"+", b"* OK", b"\x16\x03\x01\x00", b"\xff\xfe a"):
            self.assertEqual(
                self.server.connect().send(line + b"\r\n"),
                b"* BAD A command begins with a tag and a space\r\n",
                line,
            )

    def test_tagged_bad_for_what_has_one(self) -> None:
        for line in (b"a", b"a ", b"a FOO", b"a \xff", b"a  NOOP", b"a NOOP\r", b"a UID", b"a\tb"):
            response = self.server.connect().send(line + b"\r\n")
            self.assertIn(b" BAD ", response, line)

    def test_a_person_who_forgets_the_tag(self) -> None:
        for line, text in (
            ("hello", "A command stands behind its tag, as in: a1 NOOP"),
            ("hello ", "A command stands behind its tag, as in: a1 NOOP"),
            ("login me you", "There is no such command. Is its tag missing? As in: a1 NOOP"),
        ):
            response = self.client.send(f"{line}\r\n".encode()).decode()
            self.assertEqual(response, f"{line.split()[0]} BAD {text}\r\n")

    def test_every_octet_is_answered_and_none_breaks_the_connection(self) -> None:
        for octet in range(256):
            client = self.server.login("SELECT INBOX")
            for form in (b"%b NOOP\r\n", b"a %b\r\n", b"a SEARCH %b\r\n", b"a FETCH %b FLAGS\r\n"):
                client.send(form % bytes((octet,)))
            self.assertTrue(
                client.send(b"\r\nz NOOP\r\n").endswith(b"z OK NOOP completed\r\n"), octet
            )

    def test_too_many_errors(self) -> None:
        data = self.client.send(b"a FOO\r\n" * 30)
        self.assertTrue(data.endswith(b"* BYE [CLIENTBUG] Too many wrong commands\r\n"))
        self.assertEqual(data.count(b"\r\n"), 21)
        self.assertTrue(self.client.closed)

    def test_a_good_command_forgives_errors(self) -> None:
        for _ in range(5):
            self.client.send(b"a FOO\r\n" * 15)
            self.client.send(b"a NOOP\r\n")
        self.assertFalse(self.client.closed)

    def test_endless_line(self) -> None:
        for _ in range(100):
            self.assertEqual(self.client.send(b"x" * 65536), b"")
        self.assertEqual(
            self.client.send(b"\r\na NOOP\r\n"),
            b"* BAD The command line is too long\r\na OK NOOP completed\r\n",
        )
        self.assertLess(len(self.client.protocol.buffer), 1000)

    def test_literals_too_large(self) -> None:
        self.assertEqual(
            self.client.send(b"a LOGIN {65537}\r\n"), b"a BAD The literal is too large\r\n"
        )
        self.client.send(b"b LOGIN {65537+}\r\n")
        self.assertEqual(
            self.client.send(b"c NOOP\r\n".ljust(65537) + b" x\r\nd NOOP\r\n"),
            b"b BAD The literal is too large\r\nd OK NOOP completed\r\n",
        )

    def test_hopeless_literal(self) -> None:
        self.assertEqual(
            self.client.send(b"a LOGIN {999999999999+}\r\nb NOOP\r\n"),
            b"* BYE [TOOBIG] That literal is too large\r\n",
        )
        self.assertTrue(self.client.closed)

    def test_nul_in_a_literal(self) -> None:
        self.assertEqual(
            self.client.send(b"a LOGIN {3+}\r\na\0b x\r\n"),
            b"a BAD A literal must not contain NUL octets\r\n",
        )


class PipeliningTests(SynchronousTestCase):
    def test_replies_leave_in_one_write(self) -> None:
        client = Server().connect()
        client.transport.writes = 0
        client.send(b"".join(b"a%d NOOP\r\n" % number for number in range(50)))
        self.assertEqual(client.transport.writes, 1)

    def test_many_commands_at_once(self) -> None:
        server = Server()
        client = server.connect()
        data = client.send(b"".join(b"a%d NOOP\r\n" % number for number in range(5000)))
        while server.clock.getDelayedCalls() and b"a4999 " not in data:
            server.clock.advance(0)
            data += client.take()
        self.assertEqual(
            data, b"".join(b"a%d OK NOOP completed\r\n" % number for number in range(5000))
        )

    def dialogue(self, pieces: list[bytes]) -> bytes:
        server = Server()
        server.add(b"Subject: x\r\n\r\nbody\r\n")
        client = server.connect()
        return b"".join(client.send(piece) for piece in pieces)

    def test_every_split_gives_the_same_dialogue(self) -> None:
        data = (
            b"1 LOGIN ann@example.org {6+}\r\nsecret\r\n2 SELECT {5+}\r\ninbox\r\n"
            b"3 FETCH 1 (FLAGS BODY[])\r\n4 APPEND INBOX (\\Seen) {5+}\r\n\r\na\r\n\r\n"
            b"x\r\n5 IDLE\r\nDONE\r\n6 FOO {3+}\r\nabc\r\n7 STORE 2 +FLAGS (\\Deleted)\r\n"
            b"8 EXPUNGE\r\n9 LOGOUT\r\n10 NOOP\r\n"
        )
        expected = self.dialogue([data])
        self.assertEqual(expected.count(b" OK "), 16, expected)
        for position in range(1, len(data)):
            self.assertEqual(self.dialogue([data[:position], data[position:]]), expected, position)
        self.assertEqual(self.dialogue([bytes((octet,)) for octet in data]), expected)


class SlowBackendTests(SynchronousTestCase):
    """A command that waits, and others behind it."""

    def setUp(self) -> None:
        self.server = Server()
        self.server.add(b"one\r\n", b"two\r\n")
        self.slow = Slow(self.server.account)
        self.server.realm.account = self.slow
        self.client = self.server.login()
        self.slow.slow = True

    def test_select_then_fetch_and_list(self) -> None:
        """twisted.mail answers these out of order, and judges them in the old state."""
        self.client.send(b'a SELECT INBOX\r\nb FETCH 1 UID\r\nc LIST "" Sent\r\nd LOGOUT\r\n')
        self.assertEqual(self.client.take(), b"")
        self.assertEqual(self.slow.calls, ["open_mailbox"])
        self.slow.release_all()
        self.server.clock.advance(0)
        lines = split_responses(self.client.take())
        tagged = [line for line in lines if not line.startswith(b"*")]
        self.assertEqual([line[:4] for line in tagged], [b"a OK", b"b OK", b"c OK", b"d OK"])
        self.assertLess(lines.index(b"* 1 FETCH (UID 1)"), lines.index(tagged[1]))

    def test_every_call_slow(self) -> None:
        commands = [
            b"SELECT INBOX", b"FETCH 1:2 (FLAGS ENVELOPE)", b"FETCH 1 BODY[]", b"STORE 1 FLAGS (x)",
            b"SEARCH TEXT one", b"COPY 1 Sent", b"MOVE 2 Sent", b"STATUS Sent (RECENT)",
            b"APPEND INBOX {3+}\r\nabc", b"STORE 1 +FLAGS.SILENT (\\Deleted)", b"EXPUNGE",
            b"CREATE x", b"RENAME x y", b"DELETE y", b"SUBSCRIBE z", b"UNSUBSCRIBE z",
            b'LSUB "" *', b"CLOSE",
        ]  # fmt: skip
        for command in commands:
            self.client.send(b"tag " + command + b"\r\nnext NOOP\r\n")
            for _ in range(30):
                if not self.slow.calls:
                    break
                self.assertNotIn(b"next ", self.client.take(), command)
                self.slow.release()
            self.server.clock.advance(0)
            self.assertIn(b"next OK", self.client.take(), command)

    def test_connection_lost_while_a_command_waits(self) -> None:
        for command in (b"SELECT INBOX", b'LIST "" *', b"STATUS Sent (UIDNEXT)", b"CREATE x",
                        b"APPEND INBOX {3+}\r\nabc"):  # fmt: skip
            self.slow.slow = False
            client = self.server.login()
            self.slow.slow = True
            client.send(b"a " + command + b"\r\n")
            self.assertTrue(self.slow.calls, command)
            client.lose()
            self.slow.release_all()
            self.assertEqual(client.take(), b"")
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_connection_lost_at_every_step_of_a_session(self) -> None:
        self.slow.slow = False
        for command in (b"FETCH 1:2 (BODY[])", b"STORE 1:2 +FLAGS (\\Flagged)", b"SEARCH BODY x",
                        b"COPY 1 Sent", b"MOVE 1 Sent", b"EXPUNGE", b"CLOSE"):  # fmt: skip
            for step in range(6):
                client = self.server.login("SELECT INBOX")
                self.server.add(b"more\r\n", b"more\r\n")
                self.slow.slow = True
                client.send(b"a " + command + b"\r\n")
                for _ in range(step):
                    if self.slow.calls:
                        self.slow.release()
                client.lose()
                self.slow.release_all()
        self.assertEqual(self.flushLoggedErrors(), [])
        self.assertEqual(len(self.server.mailbox()._watchers), 0)

    def test_backend_refuses(self) -> None:
        self.slow.slow = False
        client = self.server.login("SELECT INBOX")
        self.slow.fail = StoreUnavailable("The disk is full")
        for command in (
            b"SELECT INBOX", b'LIST "" *', b'LSUB "" *', b"STATUS INBOX (UIDNEXT)", b"CREATE x",
            b"DELETE x", b"RENAME x y", b"SUBSCRIBE x", b"UNSUBSCRIBE x",
            b"APPEND INBOX {3+}\r\nabc",
        ):  # fmt: skip
            lines = client.command(command)
            self.assertEqual(lines[-1], b"NO [UNAVAILABLE] The disk is full", command)
            self.assertEqual(len(lines), 2 if command.startswith(b"SELECT") else 1, lines)

    def test_backend_refuses_in_a_mailbox(self) -> None:
        self.slow.slow = False
        for command in (
            b"FETCH 1 FLAGS", b"FETCH 1 ENVELOPE", b"FETCH 1 BODY.PEEK[]", b"FETCH 1 BODY[]",
            b"STORE 1 FLAGS ()", b"SEARCH SEEN", b"COPY 1 Sent", b"MOVE 1 Sent", b"EXPUNGE",
            b"UID EXPUNGE 1", b"CLOSE",
        ):  # fmt: skip
            client = self.server.login("SELECT INBOX")
            self.slow.fail = StoreUnavailable("The disk is full")
            self.assertEqual(
                client.command(command), [b"NO [UNAVAILABLE] The disk is full"], command
            )
            self.slow.fail = None
            self.assertEqual(client.command("CHECK"), [b"OK CHECK completed"])

    def test_a_bug_is_logged_and_answered(self) -> None:
        self.slow.slow = False
        client = self.server.login("SELECT INBOX")
        self.slow.fail = RuntimeError("boom")
        for command in (b"FETCH 1 FLAGS", b"STORE 1 FLAGS ()", b"STATUS INBOX (UIDNEXT)"):
            (response,) = client.command(command)
            self.assertTrue(response.startswith(b"NO [SERVERBUG] "), command)
            self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_a_bug_in_append_leaves_the_reader_in_step(self) -> None:
        self.slow.slow = False
        self.slow.fail = RuntimeError("boom")
        data = self.client.send(b"a APPEND INBOX {9+}\r\nx NOOP\r\n\r\r\nb NOOP\r\n")
        self.assertIn(b"a NO [SERVERBUG] ", data)
        self.assertTrue(data.endswith(b"b OK NOOP completed\r\n"))
        self.assertNotIn(b"x OK", data)
        self.flushLoggedErrors(RuntimeError)


class TimeTests(SynchronousTestCase):
    def test_before_login(self) -> None:
        server = Server()
        client = server.connect()
        server.clock.advance(179)
        self.assertFalse(client.closed)
        server.clock.advance(2)
        self.assertEqual(client.take(), b"* BYE [UNAVAILABLE] You were silent for too long\r\n")
        self.assertTrue(client.closed)

    def test_after_login(self) -> None:
        # RFC 3501 section 5.4: 30 minutes at least.
        server = Server()
        client = server.login("SELECT INBOX")
        for _ in range(3):
            server.clock.advance(1799)
            self.assertFalse(client.closed)
            client.command("NOOP")
        server.clock.advance(1801)
        self.assertTrue(client.take().startswith(b"* BYE "))
        self.assertTrue(client.closed)

    def test_idle(self) -> None:
        server = Server(quirks=())
        client = server.login("SELECT INBOX")
        client.send(b"a IDLE\r\n")
        server.clock.advance(1801)
        self.assertTrue(client.take().startswith(b"* BYE "))
        client.lose()
        self.assertEqual(len(server.mailbox()._watchers), 0)

    def test_client_that_never_reads(self) -> None:
        server = Server()
        server.add(b"x" * 5_000_000)
        client = server.login("SELECT INBOX")
        client.transport.limit = 1000
        sent = client.send(b"a FETCH 1 BODY[]\r\n")
        self.assertTrue(1000 < len(sent) < 200_000)
        client.send(b"b NOOP\r\n" * 10)
        server.clock.advance(1801)
        self.assertTrue(client.transport.aborting)
        client.lose()
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_client_that_reads_slowly(self) -> None:
        server = Server()
        server.add(b"x" * 1_000_000)
        client = server.login("SELECT INBOX")
        client.transport.limit = 1000
        data = client.send(b"a FETCH 1 BODY[]\r\n")
        for _ in range(20):
            client.transport.resume()
            piece = client.take()
            self.assertLess(len(piece), 200_000)
            data += piece
        self.assertTrue(data.endswith(b"a OK FETCH completed\r\n"))
        self.assertEqual(data.count(b"x"), 1_000_000)

    def test_nothing_is_left_behind(self) -> None:
        server = Server()
        client = server.login("SELECT INBOX")
        client.send(b"a IDLE\r\n", turn=False)
        client.lose()
        self.assertEqual(server.clock.getDelayedCalls(), [])
        self.assertEqual(len(server.factory.connections), 0)


class EndTests(SynchronousTestCase):
    def test_logout(self) -> None:
        client = Server().connect()
        self.assertEqual(
            client.send(b"a LOGOUT\r\nb NOOP\r\n"),
            b"* BYE Good bye\r\na OK LOGOUT completed\r\n",
        )
        self.assertTrue(client.closed)

    def test_client_ends_its_half(self) -> None:
        client = Server().connect()
        client.protocol.dataReceived(b"a NOOP\r\nb NOO")
        client.protocol.readConnectionLost()
        self.assertEqual(client.take(), b"a OK NOOP completed\r\n")
        self.assertTrue(client.closed)

    def test_connection_lost_in_the_middle_of_a_message(self) -> None:
        server = Server()
        client = server.login()
        client.send(b"a APPEND INBOX {1000}\r\n")
        client.send(b"x" * 999)
        append: Any = client.protocol.append
        client.lose()
        self.assertEqual(now(server.mailbox().get_info()).messages, 0)
        self.assertIsNone(client.protocol.append)
        self.assertEqual(append.spool.data, b"")


class IdentificationTests(SynchronousTestCase):
    def test_id(self) -> None:
        client = Server().connect()
        lines = client.command('ID ("name" "sodr" "version" "19.34" "vendor" NIL)')
        self.assertTrue(lines[0].startswith(b'* ID ("name" "mailkit" "version" "'), lines)
        self.assertEqual(lines[1], b"OK ID completed")

    def test_operator_tells_nothing(self) -> None:
        client = Server(identification={}).connect()
        self.assertEqual(client.command("ID NIL")[0], b"* ID NIL")

    def test_faults(self) -> None:
        client = Server().connect()
        many = " ".join(f'"k{number}" "v"' for number in range(31))
        for arguments in ('("a")', '("a" "b" "c")', "(NIL NIL)", '("a" "b"', f"({many})", "x",
                          f'("{"k" * 31}" "v")', f'("k" "{"v" * 1025}")'):  # fmt: skip
            self.assertTrue(client.command("ID " + arguments)[0].startswith(b"BAD "), arguments)
        self.assertEqual(client.command("ID ()")[-1], b"OK ID completed")

    def test_enable(self) -> None:
        client = Server().login()
        self.assertEqual(
            client.command("ENABLE X-GOOD-IDEA"), [b"* ENABLED", b"OK ENABLE completed"]
        )
