"""From the greeting to the TRANSACTION state: USER, PASS, AUTH, STLS, CAPA, the lock."""

from __future__ import annotations

import base64

from twisted.cred.error import UnauthorizedLogin
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import NoSuchAccount, StoreUnavailable
from mailkit.pop3.protocol import POP3Factory
from tests.pop3.fakes import Client, FakeWritableMailbox, Server

PLAIN = base64.b64encode(b"\0ann\0secret")


class LoginCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.mailbox = FakeWritableMailbox(b"x" * 120, b"y" * 200)
        self.server = Server(self.mailbox)

    def assert_in(self, client: Client) -> None:
        self.assertEqual(client.ask(b"STAT"), b"+OK 2 320\r\n")

    def assert_out(self, client: Client) -> None:
        self.assertEqual(client.ask(b"STAT"), b"-ERR Log in first\r\n")


class GreetingTests(LoginCase):
    def test_greeting_is_one_line_and_offers_no_apop(self) -> None:
        self.assertEqual(self.server.connect().read(), b"+OK POP3 server ready\r\n")
        odd = Server(self.mailbox, greeting="<1@x> hello").connect().read()
        self.assertEqual(odd, b"+OK (1@x) hello\r\n")

    def test_too_many_connections(self) -> None:
        server = Server(self.mailbox, max_connections=1)
        server.connect()
        refused = server.connect()
        self.assertTrue(refused.read().startswith(b"-ERR [SYS/TEMP] Too many connections"))
        self.assertTrue(refused.closed)


class PasswordTests(LoginCase):
    def test_user_and_pass(self) -> None:
        client = self.server.connect()
        self.assertEqual(client.ask(b"USER ann"), b"+OK Now send PASS\r\n")
        self.assertEqual(client.ask(b"PASS secret"), b"+OK Logged in, 2 messages (320 octets)\r\n")
        self.assert_in(client)
        self.assertEqual(self.server.realm.minds[0].protocol, "pop3")

    def test_the_answer_to_user_does_not_tell_who_exists(self) -> None:
        client = self.server.connect()
        self.assertEqual(client.ask(b"USER nobody"), client.ask(b"USER ann"))

    def test_wrong_user_and_wrong_password_look_alike(self) -> None:
        replies = set()
        for lines in (b"USER ann\r\nPASS wrong\r\n", b"USER nobody\r\nPASS secret\r\n"):
            client = self.server.connect()
            client.read()
            client.send(lines)
            replies.add(client.read())
            self.assert_out(client)
        wrong = b"-ERR [AUTH] User name or password is not right\r\n"
        self.assertEqual(replies, {b"+OK Now send PASS\r\n" + wrong})

    def test_after_a_wrong_password_the_client_begins_again(self) -> None:
        client = self.server.connect()
        client.send(b"USER ann\r\nPASS wrong\r\nPASS secret\r\nUSER ann\r\nPASS secret\r\n")
        self.server.clock.advance(1)
        lines = client.read().splitlines()
        self.assertEqual(
            [line.split()[0] for line in lines], [b"+OK", b"+OK", b"-ERR", b"-ERR", b"+OK", b"+OK"]
        )
        self.assertEqual(lines[3], b"-ERR Send USER first")
        self.assert_in(client)

    def test_too_many_failures_close_the_connection(self) -> None:
        client = self.server.connect()
        client.read()
        for _ in range(POP3Factory.max_failed_logins):
            self.assertFalse(client.closed)
            client.send(b"USER ann\r\nPASS wrong\r\n")
            self.server.clock.advance(60)
        self.assertTrue(client.closed)
        self.assertEqual(client.read().count(b"[AUTH]"), POP3Factory.max_failed_logins)

    def test_pass_may_contain_spaces(self) -> None:
        self.server.checker.addUser(b"ann", b" two  words ")
        client = self.server.connect()
        client.send(b"USER ann\r\nPASS  two  words \r\n")
        self.assert_in(client)

    def test_arguments_are_required(self) -> None:
        client = self.server.connect()
        self.assertEqual(client.ask(b"USER"), b"-ERR USER takes a user name\r\n")
        self.assertEqual(client.ask(b"PASS x"), b"-ERR Send USER first\r\n")
        client.ask(b"USER ann")
        self.assertEqual(client.ask(b"PASS"), b"-ERR PASS takes a password\r\n")

    def test_the_account_is_gone(self) -> None:
        def refuse(*_: object) -> None:
            raise NoSuchAccount

        self.patch(self.server.realm, "requestAvatar", refuse)
        client = self.server.connect()
        client.send(b"USER ann\r\nPASS secret\r\n")
        self.assertIn(b"-ERR [AUTH] No such account\r\n", client.read())

    def test_the_store_is_away(self) -> None:
        for method in ("get_info", "list_uids", "get_messages"):
            self.mailbox.trouble = {method: StoreUnavailable()}
            client = self.server.connect()
            client.send(b"USER ann\r\nPASS secret\r\n")
            self.assertIn(b"-ERR [SYS/TEMP] The mail store", client.read())
            self.assert_out(client)
            # The lock and the avatar are given back.
            self.mailbox.trouble = {}
            client.send(b"USER ann\r\nPASS secret\r\n")
            self.assert_in(client)
            client.lose()
        self.assertEqual(self.server.realm.logouts, 6)

    def test_a_bug_at_login_leaves_no_lock(self) -> None:
        self.mailbox.trouble = {"list_uids": ZeroDivisionError()}
        client = self.server.connect()
        client.send(b"USER ann\r\nPASS secret\r\n")
        self.assertIn(b"-ERR [SYS/TEMP] Internal error", client.read())
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.mailbox.trouble = {}
        client.send(b"USER ann\r\nPASS secret\r\n")
        self.assert_in(client)

    def test_no_inbox(self) -> None:
        client = self.server.connect()
        client.send(b"USER bob\r\nPASS hunter2\r\n")
        self.assertIn(b"-ERR [SYS/PERM] No such mailbox\r\n", client.read())


class PlaintextTests(LoginCase):
    ELSEWHERE = "192.0.2.1"

    def test_no_passwords_without_tls_from_elsewhere(self) -> None:
        client = self.server.connect(self.ELSEWHERE)
        refusal = b"-ERR [AUTH] Passwords are taken under TLS only\r\n"
        for line in (b"USER ann", b"PASS secret", b"AUTH PLAIN " + PLAIN, b"AUTH LOGIN", b"AUTH"):
            self.assertEqual(client.ask(line), refusal)
        capabilities = client.ask(b"CAPA").split(b"\r\n")
        self.assertNotIn(b"USER", capabilities)
        self.assertNotIn(b"SASL PLAIN LOGIN", capabilities)
        self.assertEqual(self.server.realm.minds, [])

    def test_stls_is_the_way(self) -> None:
        client = Server(self.mailbox, tls_context=object()).connect(self.ELSEWHERE)
        self.assertEqual(
            client.ask(b"USER ann"),
            b"-ERR [AUTH] Passwords are taken under TLS only: send STLS first\r\n",
        )
        client.ask(b"STLS")
        client.send(b"USER ann\r\nPASS secret\r\n")
        self.assert_in(client)

    def test_the_operator_may_allow_them(self) -> None:
        client = Server(self.mailbox, allow_plaintext_passwords=True).connect(self.ELSEWHERE)
        client.send(b"USER ann\r\nPASS secret\r\n")
        self.assert_in(client)


class AuthTests(LoginCase):
    def test_plain_with_initial_response(self) -> None:
        client = self.server.connect()
        self.assertEqual(
            client.ask(b"AUTH PLAIN " + PLAIN), b"+OK Logged in, 2 messages (320 octets)\r\n"
        )
        self.assert_in(client)

    def test_plain_without_initial_response(self) -> None:
        client = self.server.connect()
        # RFC 5034 section 4: an empty challenge is a plus sign and a space.
        self.assertEqual(client.ask(b"auth plain"), b"+ \r\n")
        self.assertTrue(client.ask(PLAIN).startswith(b"+OK"))
        self.assert_in(client)

    def test_login(self) -> None:
        client = self.server.connect()
        self.assertEqual(base64.b64decode(client.ask(b"AUTH LOGIN")[2:]), b"Username:")
        self.assertEqual(base64.b64decode(client.ask(base64.b64encode(b"ann"))[2:]), b"Password:")
        self.assertTrue(client.ask(base64.b64encode(b"secret")).startswith(b"+OK"))
        self.assert_in(client)

    def test_pipelined_responses_are_not_taken_for_commands(self) -> None:
        client = self.server.connect()
        client.read()
        client.send(b"AUTH PLAIN\r\n" + PLAIN + b"\r\nSTAT\r\n")
        self.assertEqual(
            client.read(), b"+ \r\n+OK Logged in, 2 messages (320 octets)\r\n+OK 2 320\r\n"
        )

    def test_cancelled(self) -> None:
        client = self.server.connect()
        client.ask(b"AUTH PLAIN")
        self.assertEqual(client.ask(b"*"), b"-ERR Authentication was cancelled\r\n")
        self.assert_out(client)
        self.assertTrue(client.ask(b"AUTH PLAIN " + PLAIN).startswith(b"+OK"))

    def test_what_is_not_base64(self) -> None:
        for line in (b"=AAA", b"AAA=BBB=", b"AA!A", b"A", b"\xff\xff\xff\xff", PLAIN + b" "):
            client = self.server.connect()
            client.ask(b"AUTH PLAIN")
            self.assertEqual(client.ask(line), b"-ERR The response is not valid base64\r\n")
            self.assert_out(client)

    def test_what_is_not_plain(self) -> None:
        client = self.server.connect()
        for response in (b"=", base64.b64encode(b"ann"), base64.b64encode(b"\0ann\0")):
            self.assertTrue(client.ask(b"AUTH PLAIN " + response).startswith(b"-ERR PLAIN wants"))
        self.assert_out(client)

    def test_wrong_password(self) -> None:
        client = self.server.connect()
        reply = client.ask(b"AUTH PLAIN " + base64.b64encode(b"\0ann\0wrong"))
        self.assertEqual(reply, b"-ERR [AUTH] User name or password is not right\r\n")

    def test_acting_for_somebody_else_is_refused(self) -> None:
        client = self.server.connect()
        reply = client.ask(b"AUTH PLAIN " + base64.b64encode(b"bob\0ann\0secret"))
        self.assertEqual(reply, b"-ERR [AUTH] You may not act for that user\r\n")
        self.assertTrue(
            client.ask(b"AUTH PLAIN " + base64.b64encode(b"ann\0ann\0secret")).startswith(b"+OK")
        )

    def test_unknown_mechanism(self) -> None:
        reply = self.server.connect().ask(b"AUTH CRAM-MD5")
        self.assertEqual(reply, b"-ERR That mechanism is not known here; see CAPA\r\n")

    def test_bare_auth_lists_the_mechanisms(self) -> None:
        reply = self.server.connect().ask(b"AUTH")
        self.assertEqual(reply, b"+OK Mechanisms follow\r\nPLAIN\r\nLOGIN\r\n.\r\n")

    def test_not_after_login(self) -> None:
        client = self.server.login()
        for line in (b"AUTH PLAIN " + PLAIN, b"USER ann", b"PASS secret", b"STLS"):
            self.assertEqual(client.ask(line), b"-ERR You are logged in already\r\n")

    def test_a_response_longer_than_a_command_line(self) -> None:
        client = self.server.connect()
        client.ask(b"AUTH PLAIN")
        client.send(base64.b64encode(b"\0ann\0" + b"x" * 1000) + b"\r\n")
        self.server.clock.advance(1)
        self.assertEqual(client.read(), b"-ERR [AUTH] User name or password is not right\r\n")

    def test_an_endless_response(self) -> None:
        client = self.server.connect()
        client.ask(b"AUTH PLAIN")
        for _ in range(100):
            client.send(b"QUJD" * 1000)
        self.assertEqual(client.ask(b""), b"-ERR That line is too long\r\n")
        self.assert_out(client)


class StlsTests(LoginCase):
    def setUp(self) -> None:
        super().setUp()
        self.context = object()
        self.server = Server(self.mailbox, tls_context=self.context)

    def test_begins_tls_and_forgets_what_came_before(self) -> None:
        client = self.server.connect()
        client.read()
        # RFC 2595 section 4; the USER and the commands sent with STLS came from anybody.
        client.send(b"USER ann\r\nSTLS\r\nUSER eve\r\nCAPA\r\n")
        self.assertEqual(client.read(), b"+OK Now send PASS\r\n+OK Begin TLS negotiation\r\n")
        self.assertEqual(client.transport.tls, [self.context])
        self.assertEqual(client.ask(b"PASS secret"), b"-ERR Send USER first\r\n")
        client.send(b"USER ann\r\nPASS secret\r\n")
        self.assert_in(client)
        self.assertTrue(self.server.realm.minds[0].tls)

    def test_not_twice(self) -> None:
        client = self.server.connect()
        client.ask(b"STLS")
        self.assertEqual(client.ask(b"STLS"), b"-ERR TLS is active already\r\n")

    def test_not_without_a_certificate(self) -> None:
        client = Server(self.mailbox).connect()
        self.assertEqual(client.ask(b"STLS"), b"-ERR TLS is not available here\r\n")
        self.assertNotIn(b"STLS", client.ask(b"CAPA"))

    def test_takes_no_argument(self) -> None:
        client = self.server.connect()
        self.assertEqual(client.ask(b"STLS now"), b"-ERR This command takes no argument\r\n")
        self.assertEqual(client.transport.tls, [])


class CapaTests(LoginCase):
    BEFORE = (
        b"+OK Capability list follows\r\nTOP\r\nUIDL\r\nUSER\r\nSASL PLAIN LOGIN\r\n%b"
        b"UTF8 USER\r\nLANG\r\nRESP-CODES\r\nAUTH-RESP-CODE\r\nPIPELINING\r\n%bEXPIRE NEVER\r\n"
        b"IMPLEMENTATION mailkit\r\n.\r\n"
    )

    def test_before_and_after_login(self) -> None:
        client = self.server.connect()
        self.assertEqual(client.ask(b"CAPA"), self.BEFORE % (b"", b""))
        client.ask(b"AUTH PLAIN " + PLAIN)
        self.assertEqual(client.ask(b"capa"), self.BEFORE % (b"", b""))

    def test_stls_only_where_it_is_permitted(self) -> None:
        client = Server(self.mailbox, tls_context=object()).connect()
        self.assertEqual(client.ask(b"CAPA"), self.BEFORE % (b"STLS\r\n", b""))
        client.ask(b"STLS")
        self.assertEqual(client.ask(b"CAPA"), self.BEFORE % (b"", b""))
        plain = Server(self.mailbox, tls_context=object()).login()
        self.assertEqual(plain.ask(b"CAPA"), self.BEFORE % (b"", b""))

    def test_login_delay(self) -> None:
        client = Server(self.mailbox, login_delay=60).connect()
        self.assertEqual(client.ask(b"CAPA"), self.BEFORE % (b"", b"LOGIN-DELAY 60\r\n"))

    def test_takes_no_argument(self) -> None:
        reply = self.server.connect().ask(b"CAPA x")
        self.assertEqual(reply, b"-ERR This command takes no argument\r\n")


class LockTests(LoginCase):
    IN_USE = b"-ERR [IN-USE] Another session has this maildrop open\r\n"

    def refused(self, client: Client) -> None:
        client.ask(b"USER ann")
        self.assertEqual(client.ask(b"PASS secret"), self.IN_USE)

    def test_a_second_session_is_refused_and_may_try_again(self) -> None:
        first, second = self.server.login(), self.server.connect()
        self.refused(second)
        self.assert_out(second)
        self.assert_in(first)
        self.assertEqual(self.server.realm.logouts, 1)
        first.lose()
        second.send(b"USER ann\r\nPASS secret\r\n")
        self.assert_in(second)

    def test_refused_does_not_count_as_a_wrong_password(self) -> None:
        self.server.login()
        second = self.server.connect()
        for _ in range(20):
            self.refused(second)
        self.assertFalse(second.closed)

    def test_another_account_is_free(self) -> None:
        self.server.realm.mailboxes["bob"] = FakeWritableMailbox()
        self.server.login()
        other = self.server.connect()
        other.send(b"USER bob\r\nPASS hunter2\r\n")
        self.assertEqual(other.ask(b"STAT"), b"+OK 0 0\r\n")

    def test_released_before_the_reply_to_quit(self) -> None:
        client = self.server.login()
        client.ask(b"DELE 1")
        self.mailbox.slow.add("expunge")
        client.send(b"QUIT\r\n")
        self.refused(self.server.connect())
        self.mailbox.go_on()
        self.assertIn(b"+OK", client.read())
        # The first connection still lingers.
        second = self.server.connect()
        second.send(b"USER ann\r\nPASS secret\r\n")
        self.assertEqual(second.ask(b"STAT"), b"+OK 1 200\r\n")
        client.lose()
        self.refused(self.server.connect())

    def test_a_dead_client_loses_it_when_the_timeout_has_passed(self) -> None:
        client = self.server.login()
        client.ask(b"DELE 1")
        self.server.clock.advance(599)
        self.refused(self.server.connect())
        self.server.clock.advance(1)
        self.assertTrue(client.closed)
        # RFC 1939 section 3: without any response, and nothing is removed.
        self.assertEqual(client.read(), b"")
        client.lose()
        self.assert_in(self.server.login())

    def test_the_timeout_cannot_be_shorter_than_the_standard_allows(self) -> None:
        server = Server(self.mailbox, timeout=30)
        client = server.login()
        server.clock.advance(599)
        self.assertFalse(client.closed)

    def test_lost_while_the_mailbox_opens(self) -> None:
        for method in ("get_info", "list_uids", "get_messages"):
            self.mailbox.slow = {method}
            client = self.server.connect()
            client.send(b"USER ann\r\nPASS secret\r\n")
            client.lose()
            self.mailbox.slow.clear()
            self.mailbox.waiting.clear()
            again = self.server.login()
            self.assert_in(again)
            again.lose()

    def test_lost_while_the_password_is_checked(self) -> None:
        asked: Deferred[bytes] = Deferred()
        self.patch(self.server.checker, "requestAvatarId", lambda _: asked)
        client = self.server.connect()
        client.send(b"USER ann\r\nPASS secret\r\n")
        client.lose()
        asked.callback(b"ann")
        self.assertFalse(self.server.factory.locks._held)

    def test_login_delay(self) -> None:
        server = Server(self.mailbox, login_delay=60)
        server.login().lose()
        server.clock.advance(59)
        client = server.connect()
        client.ask(b"USER ann")
        self.assertEqual(
            client.ask(b"PASS secret"),
            b"-ERR [LOGIN-DELAY] Please wait 60 seconds between logins\r\n",
        )
        server.clock.advance(1)
        client.send(b"USER ann\r\nPASS secret\r\n")
        self.assert_in(client)


class SlowCheckerTests(LoginCase):
    def test_what_follows_a_slow_login_waits(self) -> None:
        asked: Deferred[bytes] = Deferred()
        self.patch(self.server.checker, "requestAvatarId", lambda _: asked)
        client = self.server.connect()
        client.read()
        client.send(b"USER ann\r\nPASS secret\r\nSTAT\r\nQUIT\r\n")
        self.assertEqual(client.read(), b"+OK Now send PASS\r\n")
        asked.callback(b"ann")
        self.assertEqual(
            client.read(),
            b"+OK Logged in, 2 messages (320 octets)\r\n"
            b"+OK 2 320\r\n+OK Goodbye (2 messages left)\r\n",
        )

    def test_and_is_judged_in_the_state_that_it_leaves(self) -> None:
        asked: Deferred[bytes] = Deferred()
        self.patch(self.server.checker, "requestAvatarId", lambda _: asked)
        client = self.server.connect()
        client.send(b"USER ann\r\nPASS wrong\r\nSTAT\r\n")
        client.read()
        asked.errback(UnauthorizedLogin())
        self.server.clock.advance(1)
        self.assertEqual(
            client.read(),
            b"-ERR [AUTH] User name or password is not right\r\n-ERR Log in first\r\n",
        )
