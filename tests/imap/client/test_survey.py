"""Many mailboxes by one command: with our own server, and with what others may say."""

from __future__ import annotations

from typing import Any

from mailkit.imap.client import (
    EventGroup,
    ExtendedSearch,
    MailboxStatus,
    NotOffered,
    ProtocolError,
    Scope,
    Surveyed,
)
from mailkit.imap.client.reader import Response
from mailkit.imap.client.responses import parse_response
from mailkit.imap.client.survey import NAMED_SCOPES, SCOPES
from tests.imap.client.support import SETTINGS, ClientTestCase, Script, Wire, login
from tests.imap.support import Server, now

MESSAGE = b"Subject: plan\r\n\r\nbody\r\n"
ODD = 'Gr\N{LATIN SMALL LETTER O WITH DIAERESIS}\N{LATIN SMALL LETTER SHARP S}e "x"'


class SurveyTestCase(ClientTestCase):
    def start(self, **settings: Any) -> None:
        self.server = Server(**settings)
        now(self.server.account.create_mailbox(name=ODD))
        now(self.server.account.create_mailbox(name="a/b"))
        self.server.add(MESSAGE, MESSAGE)
        self.server.add(MESSAGE, mailbox=ODD)
        self.client = login(self.server)
        self.session = self.client.session

    def survey(self, *patterns: str, **more: Any) -> dict[str, Surveyed]:
        found = self.run_it(self.session.survey(list(patterns) if patterns else "*", **more))
        return {each.listing.name: each for each in found}


class ListTests(SurveyTestCase):
    def test_status_and_entries(self) -> None:
        self.start()
        for name, value in ((ODD, b"\0\xff"), ("INBOX", b"here")):
            self.run_it(self.session.set_metadata(name, {"/private/comment": value}))
        entries = ["/private/comment", "/shared/comment"]
        found = self.survey(status=["messages", "UIDNEXT"], entries=entries)
        listed = self.run_it(self.session.list())
        self.assertEqual([each.listing for each in found.values()], listed)
        for name, messages, comment in (
            ("INBOX", 2, b"here"),
            (ODD, 1, b"\0\xff"),
            ("Sent", 0, None),
        ):
            self.assertEqual(found[name].status, {"MESSAGES": messages, "UIDNEXT": messages + 1})
            values = {"/private/comment": comment, "/shared/comment": None}
            self.assertEqual(found[name].entries, values, name)

    def test_one_of_them(self) -> None:
        self.start()
        found = self.survey("INBOX", "a/%", status=["MESSAGES"], options=["SUBSCRIBED"])
        self.assertEqual({name: each.status for name, each in found.items()},
                         {"INBOX": {"MESSAGES": 2}, "a/b": {"MESSAGES": 0}})  # fmt: skip
        self.assertEqual(found["a/b"].entries, {})
        (only,) = self.survey("%", reference="a/", entries=["/private/comment"]).values()
        self.assertEqual((only.listing.name, only.status), ("a/b", None))
        self.assertEqual(only.entries, {"/private/comment": None})
        self.assertEqual(set(self.survey("a")), set(self.survey("a", status=["MESSAGES"])))

    def test_a_name_that_cannot_be_opened_has_no_status(self) -> None:
        self.start()
        now(self.server.account.delete_mailbox(name="a"))
        found = self.survey("a*", status=["MESSAGES"])
        self.assertTrue(
            found["a"].listing.has("\\NonExistent") or found["a"].listing.has("\\Noselect")
        )
        self.assertEqual((found["a"].status, found["a/b"].status), (None, {"MESSAGES": 0}))

    def test_news_of_a_mailbox_are_no_answer(self) -> None:
        """The first STATUS with the items that were asked for is the answer; others are changes."""
        names = b"IMAP4rev1 LITERAL+ LIST-EXTENDED LIST-STATUS NOTIFY"
        answer = (
            b'* STATUS a (MESSAGES 1 UIDNEXT 2)\r\n* LIST () "/" a\r\n* STATUS a (MESSAGES 1)\r\n'
            b"* STATUS a (MESSAGES 2)\r\n* STATUS b (MESSAGES 9)\r\n"
        )
        wire = Wire(
            Script(
                (b"LOGIN ann@example.org secret", b"TAG OK [CAPABILITY %b] in\r\n" % names),
                (b"NOTIFY SET (personal (MessageNew MessageExpunge))", b"TAG OK set\r\n"),
                (b'LIST "" "*" RETURN (STATUS (MESSAGES))', answer + b"TAG OK done\r\n"),
                greeting=b"* OK [CAPABILITY %b] hello\r\n" % names,
            ),
            settings=SETTINGS,
        )
        heard: list[Any] = []

        async def ask() -> list[Surveyed]:
            await wire.session.open()
            changes = await wire.session.notify([EventGroup("personal")]).__aenter__()
            found = await wire.session.survey(status=["MESSAGES"])
            while (change := await changes.next(0)) is not None:
                heard.append(change)
            return list(found)

        (found,) = wire.run(ask())
        self.assertEqual((found.listing.name, found.status), ("a", {"MESSAGES": 1}))
        self.assertIn(MailboxStatus("a", {"MESSAGES": 2}), heard)
        self.assertIn(MailboxStatus("a", {"MESSAGES": 1, "UIDNEXT": 2}), heard)

    def told(self, answer: bytes) -> dict[str, Any]:
        """What is known of the mailboxes of some server."""
        names = b"IMAP4rev1 LIST-EXTENDED LIST-STATUS"
        wire = Wire(
            Script(
                (b"LOGIN ann@example.org secret", b"TAG OK [CAPABILITY %b] in\r\n" % names),
                (b'LIST "" "*" RETURN (STATUS (MESSAGES))', answer + b"TAG OK done\r\n"),
                greeting=b"* OK [CAPABILITY %b] hello\r\n" % names,
            ),
            settings=SETTINGS,
        )
        wire.run(wire.session.open())
        found = wire.run(wire.session.survey(status=["MESSAGES"]))
        return {each.listing.name: each.status for each in found}

    def test_a_separator_behind_the_name(self) -> None:
        answer = b'* LIST () "/" foo/\r\n* STATUS foo (MESSAGES 3)\r\n'
        self.assertEqual(self.told(answer), {"foo/": {"MESSAGES": 3}})

    def test_the_prefix_of_a_namespace(self) -> None:
        for listed, named in ((b"INBOX.a", b"INBOX.a"), (b"Inbox.a", b"INBOX.a")):
            answer = (
                b'* LIST () "." INBOX\r\n* STATUS INBOX (MESSAGES 1)\r\n'
                b'* LIST () "." %b\r\n* STATUS %b (MESSAGES 2)\r\n' % (listed, named)
            )
            expected = {"INBOX": {"MESSAGES": 1}, listed.decode(): {"MESSAGES": 2}}
            self.assertEqual(self.told(answer), expected)

    def test_names_that_are_nearly_the_same(self) -> None:
        """One that cannot be opened does not get what was told of the other."""
        answer = b'* LIST (\\NoSelect) "/" A\r\n* LIST () "/" a\r\n* STATUS a (MESSAGES 3)\r\n'
        self.assertEqual(self.told(answer), {"A": None, "a": {"MESSAGES": 3}})

    def test_servers_without_it(self) -> None:
        self.start(without=["LIST-METADATA"])
        self.survey(status=["MESSAGES"])
        self.fails(NotOffered, self.session.survey(entries=["/private/comment"]))
        self.start(without=["LIST-STATUS"])
        self.fails(NotOffered, self.session.survey(status=["MESSAGES"]))


class SearchTests(SurveyTestCase):
    def search(self, *scopes: Scope, query: str = "ALL", results: Any = ("ALL",)) -> Any:
        found = self.run_it(self.session.search_mailboxes(scopes, query, results))
        return {each.mailbox: each for each in found}

    def test_many_mailboxes(self) -> None:
        self.start()
        found = self.search(
            Scope("personal"), query="SUBJECT plan", results=["min", "COUNT", "ALL"]
        )
        self.assertEqual(set(found), {"INBOX", ODD})
        inbox, odd = found["INBOX"], found[ODD]
        self.assertEqual((inbox.minimum, inbox.total, inbox.all), (1, 2, ((1, 2),)))
        self.assertEqual((odd.minimum, odd.total, odd.all, odd.by_uid), (1, 1, ((1, 1),), True))
        for name, each in found.items():
            status = self.run_it(self.session.status(name, ["UIDVALIDITY"]))
            self.assertEqual(status.items["UIDVALIDITY"], each.uid_validity)

    def test_scopes(self) -> None:
        self.start()
        self.server.add(MESSAGE, mailbox="a/b")
        self.assertEqual(set(self.search(Scope("mailboxes", [ODD, "a/b"]))), {ODD, "a/b"})
        self.assertEqual(
            set(self.search(Scope("subtree", ["a"]), Scope("mailboxes", ["INBOX"]))),
            {"INBOX", "a/b"},
        )
        self.assertEqual(set(self.search(Scope("mailboxes", "a/b"))), {"a/b"})
        self.assertEqual(set(self.search(Scope("inboxes"))), {"INBOX", ODD, "a/b"})
        self.assertEqual(set(self.search(Scope("mailboxes", ["nowhere"]))), set())
        self.run_it(self.session.select(ODD))
        self.assertEqual(set(self.search(Scope("selected"))), {ODD})
        for scope in (
            Scope("everywhere"),
            *(Scope(where, ["a"]) for where in SCOPES),
            *(Scope(where) for where in NAMED_SCOPES),
        ):
            self.fails(ValueError, self.session.search_mailboxes([scope]))
        self.fails(ValueError, self.session.search_mailboxes([]))

    def test_beside_other_commands(self) -> None:
        self.start()
        self.run_it(self.session.select("INBOX"))
        many = self.client.start(self.session.search_mailboxes([Scope("mailboxes", [ODD])]))
        one = self.client.start(self.session.extended_search())
        self.assertEqual([each.mailbox for each in many[0]], [ODD])
        self.assertEqual((one[0].mailbox, one[0].all), (None, ((1, 2),)))

    def test_servers_without_it(self) -> None:
        self.start(without=["MULTISEARCH"])
        self.fails(NotOffered, self.session.search_mailboxes([Scope("personal")]))

    def test_responses(self) -> None:
        for octets, expected in (
            (
                b'(TAG "a" MAILBOX "f 1" UIDVALIDITY 7) UID ALL 4:5',
                ExtendedSearch(b"a", True, all=((4, 5),), mailbox="f 1", uid_validity=7),
            ),
            (
                b'(UIDVALIDITY 7 X-NEW ("y" 2) MAILBOX inbox TAG "a") UID COUNT 0',
                ExtendedSearch(b"a", True, total=0, mailbox="INBOX", uid_validity=7),
            ),
        ):
            response = parse_response(Response(b"* ESEARCH " + octets, {}))
            self.assertEqual(response, expected)
        for octets in (b"()", b'(TAG "a"', b"(TAG)", b'(TAG "a" MAILBOX)', b"(UIDVALIDITY x)"):
            wrong = Response(b"* ESEARCH " + octets, {})
            self.assertRaises(ProtocolError, parse_response, wrong)
