"""LIST with options: RFC 5258 with all of its examples, RFC 5819, RFC 6154."""

from __future__ import annotations

from collections.abc import Sequence

from twisted.trial.unittest import SynchronousTestCase

from mailkit.errors import NoSuchMailbox, PermissionDenied
from mailkit.imap.handlers.table import ReturnOption
from mailkit.imap.listing import Criteria, Listing
from mailkit.model import MailboxInfo
from tests.imap.fakes import PlainAccount
from tests.imap.support import Client, Server, ServerTestCase

MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
NEW = ("Archive", "Drafts", "Junk", "Sent", "Trash")


def remove_new(client: Client) -> None:
    """Leave nothing but INBOX."""
    for name in NEW:
        client.command(f"UNSUBSCRIBE {name}")
        client.command(f"DELETE {name}")


class FruitTests(ServerTestCase):
    """Examples 1 to 6 of RFC 5258 section 5."""

    def setUp(self) -> None:
        self.client = self.make_server().login()
        remove_new(self.client)
        for name in ("Fruit", "Fruit/Apple", "Fruit/Banana", "Tofu"):
            self.client.command(f"CREATE {name}")
        for name in ("Vegetable", "Vegetable/Broccoli", "Vegetable/Corn"):
            self.client.command(f"CREATE {name}")
        subscribed = ("INBOX", "Fruit/Banana", "Fruit/Peach", "Vegetable", "Vegetable/Broccoli")
        for name in subscribed:
            self.client.command(f"SUBSCRIBE {name}")

    def list(self, arguments: str) -> list[bytes]:
        lines = self.client.command("LIST " + arguments)
        self.assertEqual(lines[-1], b"OK LIST completed")
        return [line[len(b"* LIST ") :] for line in lines[:-1]]

    def test_1_all(self) -> None:
        self.assertEqual(
            self.list('"" "*"'),
            [
                b'(\\HasNoChildren) "/" "INBOX"',
                b'(\\HasChildren) "/" "Fruit"',
                b'(\\HasNoChildren) "/" "Fruit/Apple"',
                b'(\\HasNoChildren) "/" "Fruit/Banana"',
                b'(\\HasNoChildren) "/" "Tofu"',
                b'(\\HasChildren) "/" "Vegetable"',
                b'(\\HasNoChildren) "/" "Vegetable/Broccoli"',
                b'(\\HasNoChildren) "/" "Vegetable/Corn"',
            ],
        )

    SUBSCRIBED = [
        b'(\\HasNoChildren \\Subscribed) "/" "INBOX"',
        b'(\\HasNoChildren \\Subscribed) "/" "Fruit/Banana"',
        b'(\\HasChildren \\Subscribed) "/" "Vegetable"',
        b'(\\HasNoChildren \\Subscribed) "/" "Vegetable/Broccoli"',
        b'(\\NonExistent \\HasNoChildren \\Subscribed) "/" "Fruit/Peach"',
    ]

    def test_2_subscribed(self) -> None:
        self.assertEqual(self.list('(SUBSCRIBED) "" "*"'), self.SUBSCRIBED)

    TOP = [
        b'(\\HasNoChildren) "/" "INBOX"',
        b'(\\HasChildren) "/" "Fruit"',
        b'(\\HasNoChildren) "/" "Tofu"',
        b'(\\HasChildren) "/" "Vegetable"',
    ]

    def test_3_children(self) -> None:
        self.assertEqual(self.list('() "" "%" RETURN (CHILDREN)'), self.TOP)

    def test_4_remote_there_are_none(self) -> None:
        self.assertEqual(self.list('(REMOTE) "" "%" RETURN (CHILDREN)'), self.TOP)

    def test_5_remote_and_subscribed(self) -> None:
        self.assertEqual(self.list('(REMOTE SUBSCRIBED) "" "*"'), self.SUBSCRIBED)

    def test_6_subscriptions_are_told_of_existing_names_alone(self) -> None:
        self.assertEqual(
            self.list('(REMOTE) "" "*" RETURN (SUBSCRIBED)'),
            [
                b'(\\HasNoChildren \\Subscribed) "/" "INBOX"',
                b'(\\HasChildren) "/" "Fruit"',
                b'(\\HasNoChildren) "/" "Fruit/Apple"',
                b'(\\HasNoChildren \\Subscribed) "/" "Fruit/Banana"',
                b'(\\HasNoChildren) "/" "Tofu"',
                b'(\\HasChildren \\Subscribed) "/" "Vegetable"',
                b'(\\HasNoChildren \\Subscribed) "/" "Vegetable/Broccoli"',
                b'(\\HasNoChildren) "/" "Vegetable/Corn"',
            ],
        )

    def test_subscribed_is_not_lsub(self) -> None:
        # RFC 3501 section 6.3.9: LSUB marks with \Noselect what is not subscribed itself.
        self.assertEqual(self.list('(SUBSCRIBED) "" "%"'), [self.SUBSCRIBED[0], self.SUBSCRIBED[2]])
        self.assertIn(b'* LSUB (\\Noselect) "/" "Fruit"', self.client.command('LSUB "" %'))


class SQLiteFruitTests(FruitTests):
    sqlite = True


class FooTests(ServerTestCase):
    """Examples 7, 8 and 10 of RFC 5258 section 5."""

    def setUp(self) -> None:
        self.client = self.make_server().login()
        remove_new(self.client)
        self.client.command("UNSUBSCRIBE INBOX")
        for name in ("Foo", "Foo/Bar", "Foo/Baz", "Moo"):
            self.client.command(f"CREATE {name}")

    def list(self, arguments: str) -> list[bytes]:
        lines = self.client.command("LIST " + arguments)
        self.assertEqual(lines[-1], b"OK LIST completed")
        return [line[len(b"* LIST ") :] for line in lines[:-1]]

    def test_7_several_patterns(self) -> None:
        for name in ("Drafts", "Sent/March2004", "Sent/December2003", "Sent/August2004"):
            self.client.command(f"CREATE {name}")
        lines = self.list('"" ("INBOX" "Drafts" "Sent/%" "D*")')
        self.assertEqual(
            [line.split(b'"')[3] for line in lines],
            [b"INBOX", b"Drafts", b"Sent/August2004", b"Sent/December2003", b"Sent/March2004"],
        )

    def test_8_children_are_not_childinfo(self) -> None:
        recursive = '(SUBSCRIBED RECURSIVEMATCH) "" "%"'
        # B
        self.assertEqual(self.list(recursive), [])
        # A
        self.client.command("SUBSCRIBE Foo/Baz")
        self.assertEqual(
            self.list('(SUBSCRIBED) "" "*"'), [b'(\\HasNoChildren \\Subscribed) "/" "Foo/Baz"']
        )
        self.assertEqual(self.list('(SUBSCRIBED) "" "%"'), [])
        self.assertEqual(
            self.list(recursive), [b'(\\HasChildren) "/" "Foo" ("CHILDINFO" ("SUBSCRIBED"))']
        )
        # A1
        self.client.command("SUBSCRIBE Foo")
        self.assertEqual(
            self.list(recursive),
            [b'(\\HasChildren \\Subscribed) "/" "Foo" ("CHILDINFO" ("SUBSCRIBED"))'],
        )
        # C
        self.client.command("UNSUBSCRIBE Foo/Baz")
        self.client.command("SUBSCRIBE Moo")
        self.assertEqual(
            self.list(recursive + " RETURN (CHILDREN)"),
            [
                b'(\\HasChildren \\Subscribed) "/" "Foo"',
                b'(\\HasNoChildren \\Subscribed) "/" "Moo"',
            ],
        )

    def test_8_a_parent_that_does_not_exist(self) -> None:
        # A2
        self.client.command("SUBSCRIBE Gone/Baz")
        self.assertEqual(
            self.list('(SUBSCRIBED RECURSIVEMATCH) "" "%"'),
            [b'(\\NonExistent \\HasNoChildren) "/" "Gone" ("CHILDINFO" ("SUBSCRIBED"))'],
        )

    def test_10_a_subscribed_child_that_does_not_exist(self) -> None:
        self.client.command("SUBSCRIBE Moo/Bar")
        self.assertEqual(self.list('"" ("Moo" "Moo/*")'), [b'(\\HasNoChildren) "/" "Moo"'])
        self.assertEqual(
            self.list('(SUBSCRIBED) "" "Moo/*"'),
            [b'(\\NonExistent \\HasNoChildren \\Subscribed) "/" "Moo/Bar"'],
        )
        self.assertEqual(
            self.list('(SUBSCRIBED RECURSIVEMATCH) "" Moo RETURN (CHILDREN)'),
            [b'(\\HasNoChildren) "/" "Moo" ("CHILDINFO" ("SUBSCRIBED"))'],
        )


class SQLiteFooTests(FooTests):
    sqlite = True


def mailbox(name: str, special_use: str | None = None) -> MailboxInfo:
    return MailboxInfo(name, "", 1, 1, 1, 0, 0, 0, 1, special_use)


class LevelTests(SynchronousTestCase):
    """Examples 9 and 11: levels that are no mailboxes, which the stores here do not leave."""

    def list(self, listing: Listing, pattern: str, criteria: Criteria) -> list[str]:
        lines = [line.render(b"LIST") for line in listing.list("", [pattern], criteria) if line]
        return [line[len(b"* LIST ") : -2].decode() for line in lines]

    def test_9_childinfo_of_what_the_pattern_hides(self) -> None:
        names = ["INBOX", "baz2", "baz2/bar2", "baz2/bar22", "baz2/bar222", "eps2", "eps2/mamba"]
        names += ["foo2", "foo2/bar1", "foo2/bar2", "qux2/bar2"]
        subscribed = set(names) - {"INBOX", "baz2", "foo2"}
        infos = [mailbox(name) for name in names]
        listing = Listing(infos, subscribed, extended=True, children=False)
        criteria = Criteria(subscribed=True)
        self.assertEqual(
            self.list(listing, "*", criteria),
            [f'(\\Subscribed) "/" "{name}"' for name in names if name in subscribed],
        )
        criteria = Criteria(subscribed=True, recursive=True)
        self.assertEqual(
            self.list(listing, "*2", criteria),
            [
                '(\\Subscribed) "/" "baz2/bar2"',
                '(\\Subscribed) "/" "baz2/bar22"',
                '(\\Subscribed) "/" "baz2/bar222"',
                '(\\Subscribed) "/" "eps2" ("CHILDINFO" ("SUBSCRIBED"))',
                '(\\Subscribed) "/" "foo2/bar2"',
                '(\\Subscribed) "/" "qux2/bar2"',
                '() "/" "foo2" ("CHILDINFO" ("SUBSCRIBED"))',
            ],
        )
        # The example lists foo2 and baz2 here too, against the rules of sections 3.3 and 3.5.
        self.assertEqual(
            self.list(listing, "*", criteria),
            [
                '(\\Subscribed) "/" "baz2/bar2"',
                '(\\Subscribed) "/" "baz2/bar22"',
                '(\\Subscribed) "/" "baz2/bar222"',
                '(\\Subscribed) "/" "eps2" ("CHILDINFO" ("SUBSCRIBED"))',
                '(\\Subscribed) "/" "eps2/mamba"',
                '(\\Subscribed) "/" "foo2/bar1"',
                '(\\Subscribed) "/" "foo2/bar2"',
                '(\\Subscribed) "/" "qux2/bar2"',
            ],
        )

    def test_11_levels_are_told_without_recursivematch(self) -> None:
        listing = Listing([mailbox("music/rock")], extended=True)
        self.assertEqual(
            self.list(listing, "%", Criteria()), ['(\\NonExistent \\HasChildren) "/" "music"']
        )
        self.assertEqual(
            self.list(listing, "*", Criteria()), ['(\\HasNoChildren) "/" "music/rock"']
        )
        # To clients that know RFC 3501 alone.
        plain = Listing([mailbox("music/rock")])
        self.assertEqual(
            self.list(plain, "%", Criteria()), ['(\\Noselect \\HasChildren) "/" "music"']
        )

    def test_special_uses_below(self) -> None:
        listing = Listing([mailbox("a/b", "\\Sent"), mailbox("c")], extended=True)
        self.assertEqual(
            self.list(listing, "%", Criteria(special_use=True, recursive=True)),
            ['(\\NonExistent \\HasChildren) "/" "a" ("CHILDINFO" ("SPECIAL-USE"))'],
        )
        self.assertEqual(self.list(listing, "%", Criteria(special_use=True)), [])

    def test_both_criteria_have_to_be_satisfied(self) -> None:
        infos = [mailbox("a", "\\Sent"), mailbox("b"), mailbox("c", "\\Junk")]
        listing = Listing(infos, ["a", "b", "gone"], extended=True, children=False)
        self.assertEqual(
            self.list(listing, "*", Criteria(subscribed=True, special_use=True)),
            ['(\\Sent \\Subscribed) "/" "a"'],
        )


class SyntaxTests(ServerTestCase):
    def setUp(self) -> None:
        self.server = self.make_server()
        self.client = self.server.login()

    def test_faults(self) -> None:
        faults = (
            '(FOO) "" *',
            '(RECURSIVEMATCH) "" *',
            '(REMOTE RECURSIVEMATCH) "" *',
            '(SUBSCRIBED  REMOTE) "" *',
            '(SUBSCRIBED "" *',
            '(CHILDREN) "" *',
            '(SUBSCRIBED)"" *',
            '"" ()',
            '"" (a b',
            '"" * RETURN',
            '"" * RETURN ',
            '"" * RETURN CHILDREN',
            '"" * RETURN (FOO)',
            '"" * RETURN (RECURSIVEMATCH)',
            '"" * RETURN (STATUS)',
            '"" * RETURN (STATUS ())',
            '"" * RETURN (STATUS (FOO))',
            '"" * RETURN (STATUS(MESSAGES))',
            '"" * RETURN (STATUS (MESSAGES)CHILDREN)',
            '"" * RETURN (CHILDREN) x',
            '"" * FOO',
            f'({" ".join(["SUBSCRIBED"] * 21)}) "" *',
            f'"" * RETURN ({" ".join(["CHILDREN"] * 21)})',
            f'"" ({" ".join(["a"] * 101)})',
        )
        for arguments in faults:
            # A client of its own: one that makes many faults is sent away.
            lines = self.server.login().command("LIST " + arguments)
            self.assertEqual(len(lines), 1, arguments)
            self.assertTrue(lines[0].startswith(b"BAD "), (arguments, lines))

    def test_wrong_state(self) -> None:
        client = self.server.connect()
        self.assertTrue(client.command('LIST (SUBSCRIBED) "" *')[-1].startswith(b"BAD "))

    def test_options_count_once_in_any_case(self) -> None:
        once = self.client.command('LIST (SUBSCRIBED) "" * RETURN (STATUS (MESSAGES))')
        twice = self.client.command(
            'LIST (subscribed SUBSCRIBED) "" * return (status (messages) STATUS (MESSAGES))'
        )
        self.assertEqual(once, twice)

    def test_empty_patterns_match_nothing(self) -> None:
        for arguments in ('() "" ""', '"" ("")', '"" "" RETURN (CHILDREN)', '() "x/" ""'):
            self.assertEqual(self.client.command("LIST " + arguments), [b"OK LIST completed"])
        lines = self.client.command('LIST "" ("" Sent)')
        self.assertEqual(len(lines), 2)
        # RFC 3501 section 6.3.8: but of the plain command it asks for the separator.
        self.assertEqual(self.client.command('LIST "" ""')[0], b'* LIST (\\Noselect) "/" ""')

    def test_account_without_administration(self) -> None:
        client = Server(PlainAccount(self.server.account)).login()
        lines = client.command('LIST (SUBSCRIBED) "" INBOX')
        self.assertEqual(lines[0], b'* LIST (\\HasNoChildren \\Subscribed) "/" "INBOX"')


class SpecialUseTests(ServerTestCase):
    def test_examples(self) -> None:
        # RFC 6154 section 5.2
        client = self.make_server().login("CREATE ToDo")
        lines = client.command('LIST "" "%" RETURN (SPECIAL-USE)')
        self.assertIn(b'* LIST (\\HasNoChildren \\Sent) "/" "Sent"', lines)
        self.assertIn(b'* LIST (\\HasNoChildren) "/" "ToDo"', lines)
        lines = client.command('LIST (SPECIAL-USE) "" "*"')
        self.assertEqual(len(lines), 6)
        self.assertIn(b'* LIST (\\HasNoChildren \\Sent) "/" "Sent"', lines)
        self.assertNotIn(b'* LIST (\\HasNoChildren) "/" "ToDo"', lines)


class SQLiteSpecialUseTests(SpecialUseTests):
    sqlite = True


class ListStatusTests(ServerTestCase):
    """RFC 5819"""

    def setUp(self) -> None:
        self.server = self.make_server()
        self.client = self.server.login()
        remove_new(self.client)
        for name in ("foo", "foo/a", "bar/b"):
            self.client.command(f"CREATE {name}")
        self.server.add(*[MESSAGE] * 3, flags="\\Seen")
        self.server.add(MESSAGE)
        self.server.add(MESSAGE, mailbox="foo")
        # It has one below, so the name stays.
        self.client.command("DELETE bar")

    def test_first_example(self) -> None:
        self.assertEqual(
            self.client.command('LIST "" % RETURN (STATUS (MESSAGES UNSEEN))'),
            [
                b'* LIST (\\HasNoChildren) "/" "INBOX"',
                b'* STATUS "INBOX" (MESSAGES 4 UNSEEN 1)',
                b'* LIST (\\Noselect \\HasChildren) "/" "bar"',
                b'* LIST (\\HasChildren) "/" "foo"',
                b'* STATUS "foo" (MESSAGES 1 UNSEEN 1)',
                b"OK LIST completed",
            ],
        )

    def test_second_example(self) -> None:
        self.client.command("SUBSCRIBE foo/a")
        self.assertEqual(
            self.client.command('LIST (SUBSCRIBED RECURSIVEMATCH) "" % RETURN (STATUS (MESSAGES))'),
            [
                b'* LIST (\\HasNoChildren \\Subscribed) "/" "INBOX"',
                b'* STATUS "INBOX" (MESSAGES 4)',
                b'* LIST (\\HasChildren) "/" "foo" ("CHILDINFO" ("SUBSCRIBED"))',
                b"OK LIST completed",
            ],
        )

    def test_every_item_is_what_status_says(self) -> None:
        items = (
            "(MESSAGES RECENT UIDNEXT UIDVALIDITY UNSEEN SIZE HIGHESTMODSEQ MAILBOXID APPENDLIMIT)"
        )
        for name in ("INBOX", "foo"):
            single = self.client.command(f"STATUS {name} {items}")[0]
            self.assertTrue(single.startswith(b"* STATUS "), single)
            lines = self.client.command(f'LIST "" {name} RETURN (STATUS {items} CHILDREN)')
            self.assertEqual(lines[1], single)

    def test_highestmodseq_switches_condstore_on(self) -> None:
        # RFC 7162 section 3.1
        self.client.command("SELECT INBOX")
        lines = self.client.command('LIST "" foo RETURN (STATUS (HIGHESTMODSEQ))')
        self.assertTrue(lines[0].startswith(b"* OK [HIGHESTMODSEQ "), lines)

    def test_a_subscribed_name_without_a_mailbox_has_no_status(self) -> None:
        self.client.command("SUBSCRIBE gone")
        self.assertEqual(
            self.client.command('LIST (SUBSCRIBED) "" gone RETURN (STATUS (MESSAGES))'),
            [
                b'* LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" "gone"',
                b"OK LIST completed",
            ],
        )


class SQLiteListStatusTests(ListStatusTests):
    sqlite = True


class OptionTests(SynchronousTestCase):
    """What other modules bring as return options."""

    def list_with(self, answer: object) -> Sequence[bytes]:
        server = Server()
        server.factory.list_options = {
            **server.factory.list_options,
            b"COLOUR": ReturnOption(b"LIST-EXTENDED", None, answer),  # type: ignore[arg-type]
        }
        return server.login().command('LIST "" INBOX RETURN (COLOUR CHILDREN)')

    def test_an_answer_follows_its_mailbox(self) -> None:
        async def answer(connection: object, info: MailboxInfo, value: object) -> bytes:
            return b"* COLOUR %b red\r\n" % info.name.encode()

        self.assertEqual(
            self.list_with(answer)[:2],
            [b'* LIST (\\HasNoChildren) "/" "INBOX"', b"* COLOUR INBOX red"],
        )

    def test_a_mailbox_that_this_user_cannot_select(self) -> None:
        async def answer(connection: object, info: MailboxInfo, value: object) -> bytes:
            raise NoSuchMailbox

        self.assertEqual(
            self.list_with(answer),
            [b'* LIST (\\Noselect \\HasNoChildren) "/" "INBOX"', b"OK LIST completed"],
        )

    def test_an_answer_that_fails_is_left_out(self) -> None:
        async def answer(connection: object, info: MailboxInfo, value: object) -> bytes:
            raise PermissionDenied

        self.assertEqual(
            self.list_with(answer),
            [b'* LIST (\\HasNoChildren) "/" "INBOX"', b"OK LIST completed"],
        )


class SwitchTests(SynchronousTestCase):
    def test_without_list_extended(self) -> None:
        server = Server(without=["LIST-EXTENDED"])
        (words, _) = server.login().command("CAPABILITY")
        for name in (b"LIST-EXTENDED", b"LIST-STATUS", b" SPECIAL-USE"):
            self.assertNotIn(name, words)
        for arguments in ('(SUBSCRIBED) "" *', '"" (a b)', '"" * RETURN (CHILDREN)'):
            lines = server.login().command("LIST " + arguments)
            self.assertTrue(lines[-1].startswith(b"BAD "), lines)
        self.assertEqual(len(server.login().command('LIST "" *')), 7)

    def test_without_one_of_the_others(self) -> None:
        client = Server(without=["LIST-STATUS"]).login()
        self.assertIn(b"LIST-EXTENDED", client.command("CAPABILITY")[0])
        lines = client.command('LIST "" * RETURN (STATUS (MESSAGES))')
        self.assertTrue(lines[-1].startswith(b"BAD "), lines)
        client = Server(without=["SPECIAL-USE", "CHILDREN"]).login()
        self.assertIn(b'* LIST () "/" "Sent"', client.command('LIST "" *'))
        for arguments in ('(SPECIAL-USE) "" *', '"" * RETURN (SPECIAL-USE)'):
            lines = client.command("LIST " + arguments)
            self.assertTrue(lines[-1].startswith(b"BAD "), lines)
        # RFC 5258 section 3.2: CHILDREN belongs to LIST-EXTENDED too.
        lines = client.command('LIST "" Sent RETURN (CHILDREN)')
        self.assertEqual(lines[0], b'* LIST (\\HasNoChildren) "/" "Sent"')

    def test_without_create_special_use(self) -> None:
        client = Server(without=["CREATE-SPECIAL-USE"]).login()
        self.assertTrue(client.command("CREATE x (USE (\\Sent))")[-1].startswith(b"BAD "))
