"""Rights, quotas, SORT and THREAD, Gmail's labels, referrals: as servers' documents show them."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.client import (
    AuthFailed,
    LoginRefused,
    NotOffered,
    ProtocolError,
    Quota,
    Refused,
    ResourceUse,
    ServiceRefused,
)
from mailkit.imap.client.values import MAX_REFERRALS, ResponseCode, Unknown
from mailkit.model import FlagOp
from mailkit.query import And, HasFlag, HeaderContains, Not
from tests.imap.client.support import Script, Wire, login
from tests.imap.client.test_pipelining import SELECTED, Manual
from tests.imap.support import Server

GREETING = (
    b"* OK [CAPABILITY IMAP4rev1 ACL QUOTA SORT THREAD=REFERENCES X-GM-EXT-1 LITERAL+] hello\r\n"
)


class ScriptedTestCase(SynchronousTestCase):
    def ask(self, work: Any, command: bytes, answer: bytes) -> Any:
        """What comes of it when it sends this and hears that."""
        results = self.wire.start(work)
        sent = b"\r\n".join(self.wire.take())
        tag, _, rest = sent.partition(b" ")
        self.assertEqual(rest, command)
        self.wire.say(answer.replace(b"TAG", tag))
        self.assertEqual(len(results), 1)
        return results[0]

    def setUp(self) -> None:
        self.wire = Manual(GREETING)
        self.session = self.wire.session

    def select(self) -> None:
        self.wire.start(self.session.select("INBOX"))
        self.wire.say(SELECTED)
        self.wire.take()


class RightsTests(ScriptedTestCase):
    """RFC 4314 sections 3 and 4."""

    def test_list(self) -> None:
        rights = self.ask(
            self.session.get_acl("INBOX/Drafts"),
            b"GETACL INBOX/Drafts",
            b'* ACL INBOX/Drafts Fred rwipslxetad "-a b" lrswi \r\nTAG OK x\r\n',
        )
        self.assertEqual(rights, {"Fred": "rwipslxetad", "-a b": "lrswi"})
        self.assertEqual(
            self.ask(self.session.get_acl("x"), b"GETACL x", b"* ACL x\r\nTAG OK x\r\n"), {}
        )

    def test_change(self) -> None:
        self.ask(self.session.set_acl("x", "b b", "+lr"), b'SETACL x "b b" +lr', b"TAG OK x\r\n")
        self.ask(self.session.delete_acl("x", "bob"), b"DELETEACL x bob", b"TAG OK x\r\n")
        self.assertEqual(
            self.ask(
                self.session.my_rights("x"),
                b"MYRIGHTS x",
                b"* MYRIGHTS y lr\r\n* MYRIGHTS x rwiptsldaex\r\n* MYRIGHTS z l\r\nTAG OK x\r\n",
            ),
            "rwiptsldaex",
        )

    def test_nothing_is_told(self) -> None:
        self.ask(self.session.my_rights("x"), b"MYRIGHTS x", b"TAG OK x\r\n").trap(ProtocolError)

    def test_not_offered(self) -> None:
        session = Manual().session
        for work in (session.get_acl("x"), session.get_quota(), session.sort("DATE")):
            self.wire.start(work)[0].trap(NotOffered)


class QuotaTests(ScriptedTestCase):
    """RFC 9208 section 4."""

    def test_use(self) -> None:
        found = self.ask(
            self.session.get_quota(),
            b"GETQUOTAROOT INBOX",
            b'* QUOTAROOT INBOX "" "My Root"\r\n* QUOTA "" (STORAGE 10 512 MESSAGE 3 100)\r\n'
            b'* QUOTA "My Root" ()\r\n* QUOTA other (STORAGE 1 1)\r\nTAG OK x\r\n',
        )
        uses = {"STORAGE": ResourceUse(10, 512), "MESSAGE": ResourceUse(3, 100)}
        self.assertEqual(found, [Quota("", uses), Quota("My Root", {})])

    def test_change(self) -> None:
        self.ask(
            self.session.set_quota("", {"storage": 512, "MESSAGE": 5}),
            b'SETQUOTA "" (STORAGE 512 MESSAGE 5)',
            b'* QUOTA "" (STORAGE 10 512)\r\nTAG OK x\r\n',
        )
        self.ask(self.session.set_quota("a", {}), b"SETQUOTA a ()", b"TAG OK x\r\n")


class OddTests(ScriptedTestCase):
    """Odd answers are no reason to end a connection, asked for or not."""

    LINES = (
        b"* QUOTA",
        b'* QUOTA "" (STORAGE x 1)',
        b'* QUOTA "" (STORAGE 1 123456789012345678901)',
        b"* QUOTAROOT",
        b'* QUOTAROOT INBOX ("")',
        b"* MYRIGHTS INBOX",
        b"* ACL INBOX bob",
        b"* THREAD (x)",
    )

    def test_what_nobody_asked_for(self) -> None:
        heard: list[Any] = []
        self.session.add_listener(heard.append)
        self.wire.say(b"\r\n".join(self.LINES) + b"\r\n")
        self.assertFalse(self.session.closed)
        self.assertEqual(heard[0], Unknown("QUOTA", b""))
        self.assertEqual(heard[6], Unknown("ACL", b"INBOX bob"))

    def test_answers(self) -> None:
        for line in self.LINES[:-1]:
            self.setUp()
            session = self.session
            name = line.split()[1]
            asked = {b"ACL": session.get_acl, b"MYRIGHTS": session.my_rights}
            results = self.wire.start(asked.get(name, session.get_quota)("INBOX"))
            self.wire.say(line + b"\r\nm1 OK x\r\n")
            results[0].trap(ProtocolError)
            self.assertFalse(session.closed)

    def test_amounts(self) -> None:
        """2^64-1, -1 and no list at all are written for no limit."""
        for list_, expected in (
            (b" (STORAGE 1 18446744073709551615)", {"STORAGE": ResourceUse(1, 2**64 - 1)}),
            (b' ("storage" -1 5 MESSAGE 1 -1)', {"STORAGE": ResourceUse(0, 5)}),
            (b"", {}),
        ):
            self.setUp()
            (quota,) = self.ask(
                self.session.get_quota(),
                b"GETQUOTAROOT INBOX",
                b"* QUOTAROOT INBOX a\r\n* QUOTA a%b\r\nTAG OK x\r\n" % list_,
            )
            self.assertEqual(quota.resources, expected)


class OrderTests(ScriptedTestCase):
    """RFC 5256 sections 3 and 4."""

    def test_sort(self) -> None:
        self.select()
        found = self.ask(
            self.session.sort("reverse DATE", HeaderContains("Subject", "Größe")),
            b"UID SORT (REVERSE DATE) UTF-8 SUBJECT {7+}\r\nGr\xc3\xb6\xc3\x9fe\r\n".rstrip(),
            b"* SEARCH 9\r\n* SORT 5 3 4 1 2\r\nTAG OK x\r\n",
        )
        self.assertEqual(found, [5, 3, 4, 1, 2])

    def test_threads(self) -> None:
        self.select()
        found = self.ask(
            self.session.thread(query=Not(HasFlag("\\Seen"))),
            b"UID THREAD REFERENCES UTF-8 NOT SEEN",
            b"* THREAD (2)(3 6 (4 23)(44 7 96))((5)(8))\r\nTAG OK x\r\n",
        )
        self.assertEqual(found, [[2], [3, 6, [4, 23], [44, 7, 96]], [[5], [8]]])

    def test_threads_that_are_none(self) -> None:
        for answer in (
            b"* THREAD 2",
            b"* THREAD (a)",
            b"* THREAD (2",
            b"* THREAD (1) (12345678901)",
        ):
            self.setUp()
            self.select()
            results = self.wire.start(self.session.thread())
            self.wire.say(answer + b"\r\nm2 OK x\r\n")
            results[0].trap(ProtocolError)
            self.assertFalse(self.session.closed)

    def test_text_in_written_keys(self) -> None:
        self.select()
        self.ask(
            self.session.search('OR FROM "a\\"b" SUBJECT "Größe"'),
            b'UID SEARCH CHARSET UTF-8 OR FROM "a\\"b" SUBJECT {7+}\r\nGr\xc3\xb6\xc3\x9fe',
            b"TAG OK x\r\n",
        )
        for keys in ("SUBJECT Größe", 'SUBJECT "a\r\n"', 'SUBJECT "Größe'):
            self.wire.start(self.session.search(keys))[0].trap(ValueError)


class GmailTests(ScriptedTestCase):
    """https://developers.google.com/workspace/gmail/imap/imap-extensions"""

    def test_fetch(self) -> None:
        self.select()
        (message,) = self.ask(
            _wait(self.session.fetch(1, ["X-GM-MSGID", "X-GM-THRID", "X-GM-LABELS"])),
            b"UID FETCH 1 (X-GM-MSGID X-GM-THRID X-GM-LABELS)",
            b"* 1 FETCH (X-GM-THRID 1278455344230334865 X-GM-MSGID 18446744073709551615 X-GM-LABELS"
            b' (\\Inbox "\\\\Sent" Important "Muy Importante" &AOQ-) UID 1)\r\nTAG OK x\r\n',
        )
        self.assertEqual(message.gmail_thread, 1278455344230334865)
        self.assertEqual(message.gmail_id, 18446744073709551615)
        labels = {"\\Inbox", "\\Sent", "Important", "Muy Importante", "ä"}
        self.assertEqual(message.labels, labels)

    def test_change(self) -> None:
        self.select()
        self.ask(
            self.session.store_labels(1, FlagOp.ADD, ["\\Inbox", "foo bar", "ä"]),
            b'UID STORE 1 +X-GM-LABELS (\\Inbox "foo bar" &AOQ-)',
            b"TAG OK x\r\n",
        )
        self.ask(
            self.session.store_labels(1, FlagOp.REPLACE, []),
            b"UID STORE 1 X-GM-LABELS ()",
            b"TAG OK x\r\n",
        )

    def test_search(self) -> None:
        self.select()
        found = self.ask(
            self.session.search('X-GM-RAW "has:attachment in:unread"'),
            b'UID SEARCH X-GM-RAW "has:attachment in:unread"',
            b"* SEARCH 4 2\r\nTAG OK x\r\n",
        )
        self.assertEqual(found, [2, 4])


async def _wait(awaitable: Any) -> Any:
    return await awaitable


class ReferralTests(ScriptedTestCase):
    def test_of_a_login(self) -> None:
        """RFC 2221 section 4.1"""
        url = "imap://ann;AUTH=*@server2.example.org/"
        greeting = b"* OK [CAPABILITY IMAP4rev1 LOGIN-REFERRALS AUTH=PLAIN SASL-IR] x\r\n"
        for code, referrals, temporary in (
            (b"[REFERRAL %b] " % url.encode(), (url,), False),
            (b"[UNAVAILABLE] ", (), True),
            (b"", (), False),
        ):
            script = Script((b"*", b"TAG NO %bno\r\n" % code), greeting=greeting)
            wire = Wire(script)
            failure = wire.start(wire.session.open())[0]
            failure.trap(AuthFailed)
            error = failure.value
            assert isinstance(error, LoginRefused)
            self.assertEqual((error.referrals, error.temporary), (referrals, temporary))

    def test_of_a_login_that_is_taken(self) -> None:
        greeting = b"* OK [CAPABILITY IMAP4rev1 LOGIN-REFERRALS AUTH=PLAIN SASL-IR] x\r\n"
        for code, referrals in ((b"[REFERRAL imap://x/] ", ("imap://x/",)), (b"", ())):
            script = Script(
                (b"*", b"TAG OK %bx\r\n" % code), (b"*", b"TAG OK\r\n"), greeting=greeting
            )
            wire = Wire(script)
            wire.run(wire.session.open())
            self.assertEqual(wire.session.facts.referrals, referrals)

    def test_more_than_anybody_follows(self) -> None:
        code = ResponseCode("REFERRAL", b"imap://x/\t " * 1000)
        self.assertEqual(code.referrals, ("imap://x/",) * MAX_REFERRALS)

    def test_of_a_server_that_says_bye(self) -> None:
        """RFC 2221 section 4.2: in its greeting, or later."""
        wire = Wire(Script(greeting=b"* BYE [REFERRAL imap://x/] there\r\n"))
        failures = wire.start(wire.session.open())
        results = self.wire.start(self.session.noop())
        self.wire.say(b"* BYE [REFERRAL imap://x/] there\r\n")
        self.wire.lose()
        for failure in (*failures, *results):
            failure.trap(ServiceRefused)
            self.assertEqual(failure.value.referrals, ("imap://x/",))
            self.assertEqual(failure.value.text, "there")

    def test_of_a_mailbox(self) -> None:
        """RFC 2193 section 3"""
        failure = self.ask(
            self.session.delete("SHARED/FOO"),
            b"DELETE SHARED/FOO",
            b"TAG NO [REFERRAL IMAP://user;AUTH=*@SERVER2/SHARED/FOO IMAP://user@SERVER3/x] x\r\n",
        )
        failure.trap(Refused)
        self.assertEqual(
            failure.value.referrals,
            ("IMAP://user;AUTH=*@SERVER2/SHARED/FOO", "IMAP://user@SERVER3/x"),
        )


class OurServerTests(SynchronousTestCase):
    def test_sorted_and_in_threads(self) -> None:
        server = Server()
        server.add(
            b"Subject: b\r\nMessage-ID: <1@x>\r\n\r\n",
            b"Subject: a\r\nMessage-ID: <2@x>\r\nReferences: <1@x>\r\n\r\n",
            b"Subject: c\r\n\r\n",
        )
        client = login(server)
        client.run(client.session.select("INBOX"))
        self.assertEqual(client.run(client.session.sort("SUBJECT")), [2, 1, 3])
        query = And((Not(HasFlag("\\Seen")),))
        self.assertEqual(client.run(client.session.sort("REVERSE SUBJECT", query)), [3, 1, 2])
        self.assertEqual(client.run(client.session.thread()), [[1, 2], [3]])

    def test_leaving_a_mailbox(self) -> None:
        server = Server()
        server.add(b"one", b"two")
        session = (client := login(server)).session
        for leave, left in ((session.unselect, 2), (session.close_mailbox, 1)):
            client.run(session.select("INBOX"))
            client.run(session.store(1, FlagOp.ADD, ["\\Deleted"]))
            client.run(leave())
            self.assertIsNone(session.selected)
            status = client.run(session.status("INBOX", ["MESSAGES"]))
            self.assertEqual(status.items, {"MESSAGES": left})
