"""NOTIFY (RFC 5465): what a client is told of, and when."""

from __future__ import annotations

import re

from mailkit.imap.handlers import notify
from mailkit.imap.notify import MAX_RENAMED
from mailkit.model import FlagOp
from mailkit.store.sqlite.transaction import DIRECTORY

from .support import Client, ServerTestCase, now

MESSAGE = (
    b"From: alice@example.org\r\nTo: bob@example.org\r\nSubject: Re: good morning\r\n\r\nb\r\n"
)
SELECTED = "(selected (MessageNew MessageExpunge FlagChange))"
PERSONAL = "(personal (MessageNew MessageExpunge FlagChange))"


class NotifyTestCase(ServerTestCase):
    def setUp(self) -> None:
        self.server = self.make_server()
        self.server.add(MESSAGE, MESSAGE)
        self.client = self.server.login()
        self.other = self.server.login()
        self.do("CREATE Lists", "CREATE Lists/Lemonade", "CREATE misc")

    def do(self, *commands: str) -> None:
        """Something that another session does."""
        for command in commands:
            answer = self.other.command(command)
            self.assertTrue(answer[-1].startswith(b"OK"), (command, answer))

    def told(self, client: Client | None = None) -> list[bytes]:
        """What a client is told without having asked."""
        for _ in range(5):
            self.server.clock.advance(0)
        return (client or self.client).take().split(b"\r\n")[:-1]

    def notify(self, text: str, *expected: bytes) -> None:
        answer = self.client.command(f"NOTIFY {text}")
        self.assertEqual(answer, [*expected, b"OK NOTIFY completed"])


class SyntaxTests(NotifyTestCase):
    def test_wrong(self) -> None:
        for text in (
            "", "FOO", "SET", "SET STATUS", "NONE x", "SET ()", "SET (personal)", "SET (foo NONE)",
            "SET (personal (MessageNew))", "SET (personal (MessageExpunge))",
            "SET (personal (FlagChange))", "SET (personal (FlagChange MessageNew))",
            "SET (personal (AnnotationChange))",
            "SET (selected (MailboxName))", "SET (selected (SubscriptionChange MailboxName))",
            "SET (selected NONE) (selected-delayed NONE)",
            "SET (personal (MessageNew (UID) MessageExpunge))", "SET (subtree (MessageNew))",
            "SET (mailboxes () NONE)", "SET (personal NONE)(personal NONE)",
            "SET (selected (MessageNew (FOO) MessageExpunge))",
            "SET" + " (personal NONE)" * 101, "SET (mailboxes (" + "a " * 1000 + "a) NONE)",
        ):  # fmt: skip
            client = self.server.login()
            answer = client.command(f"NOTIFY {text}")
            self.assertTrue(answer[-1].startswith(b"BAD "), (text, answer))

    def test_unsupported_events_are_named(self) -> None:
        names = (
            b"MessageNew MessageExpunge FlagChange AnnotationChange MailboxName SubscriptionChange"
            b" MailboxMetadataChange ServerMetadataChange"
        )
        for events in ("Foo", "MailboxName Foo", "MessageNew MessageExpunge FooChange"):
            answer = self.client.command(f"NOTIFY SET (personal ({events}))")
            self.assertTrue(answer[-1].startswith(b"NO [BADEVENT (%b)] " % names), answer)
        # What was asked for before still holds.
        self.assertIsNone(self.client.protocol.notifier)

    def test_metadata(self) -> None:
        # RFC 5465 sections 5.6 and 5.7
        self.notify("SET (mailboxes misc (MailboxMetadataChange ServerMetadataChange))")
        self.do(
            'SETMETADATA misc (/shared/comment "x")',
            'SETMETADATA INBOX (/shared/comment "x")',
            "SETMETADATA misc (/shared/comment NIL)",
        )
        self.assertEqual(self.told(), [b'* METADATA "misc" /shared/comment'] * 2)
        self.client.command('SETMETADATA misc (/private/comment "own")')
        self.assertEqual(self.told(), [])

    def test_no_metadata_without_the_capability(self) -> None:
        self.server = self.make_server(without=["METADATA", "METADATA-SERVER"])
        client = self.server.login()
        answer = client.command("NOTIFY SET (personal (MailboxMetadataChange))")
        self.assertTrue(answer[-1].startswith(b"NO [BADEVENT (MessageNew"), answer)
        self.assertNotIn(b"Metadata", answer[-1])

    def test_as_the_examples_have_it(self) -> None:
        self.notify("set (selected MessageNew (uid body.peek[header.fields (from to subject)])"
                    " MessageExpunge) (subtree Lists MessageNew MessageExpunge)")  # fmt: skip

    def test_states_and_switches(self) -> None:
        answer = self.server.connect().command("NOTIFY NONE")
        self.assertTrue(answer[-1].startswith(b"BAD This command cannot"), answer)
        self.assertIn(b" NOTIFY", self.client.command("CAPABILITY")[0])
        self.assertNotIn(b" NOTIFY", self.server.connect().greeting)

    def test_too_many_mailboxes(self) -> None:
        self.patch(notify, "MAX_WATCHED", 3)
        answer = self.client.command(f"NOTIFY SET {PERSONAL}")
        self.assertTrue(answer[-1].startswith(b"NO [NOTIFICATIONOVERFLOW]"), answer)
        self.notify("SET (mailboxes misc (MessageNew MessageExpunge MailboxName))")
        self.notify("SET (subtree (misc Lists) (MailboxName))")
        self.do("CREATE misc/a")
        self.assertEqual(
            self.told(), [b"* OK [NOTIFICATIONOVERFLOW] There are too many mailboxes to watch"]
        )
        self.do("CREATE misc/b")
        self.assertEqual(self.told(), [])


class SelectedTests(NotifyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.client.command("SELECT INBOX")
        self.do("SELECT INBOX")

    def test_between_commands(self) -> None:
        self.notify(f"SET {SELECTED}")
        self.do("STORE 1 +FLAGS (\\Flagged)")
        (line,) = self.told()
        self.assertRegex(line, rb"^\* 1 FETCH \(UID 1 FLAGS \((\\Recent )?\\Flagged\)\)$")
        self.do("STORE 1 +FLAGS (\\Deleted)", "EXPUNGE")
        self.assertEqual(next(line for line in self.told() if b"FETCH" not in line), b"* 1 EXPUNGE")
        self.server.add(MESSAGE)
        self.assertIn(b"* 2 EXISTS", self.told())

    def test_only_what_is_wanted(self) -> None:
        self.notify("SET (selected (MessageNew MessageExpunge))")
        self.do("STORE 1 +FLAGS (\\Flagged)")
        self.assertEqual(self.told(), [])
        self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])
        self.server.add(MESSAGE)
        self.assertIn(b"* 3 EXISTS", self.told())
        # RFC 5465 section 3.1: accumulated changes, when somebody wants them again.
        answer = self.client.command(f"NOTIFY SET {SELECTED}")
        self.assertEqual(len(answer), 2)
        self.assertIn(b"* 1 FETCH (UID 1 FLAGS (", answer[0])

    def test_nothing(self) -> None:
        for text in ("NONE", "SET (selected NONE)", "SET (mailboxes misc NONE)"):
            self.notify(text)
            before = self.client.command("UID SEARCH ALL")
            self.server.add(MESSAGE)
            self.do("STORE 1 +FLAGS (a)", "STORE 1 -FLAGS (a)")
            self.assertEqual(self.told(), [])
            self.assertEqual(self.client.command("NOOP"), [b"OK NOOP completed"])
            # The view stays as the client knows it.
            self.assertEqual(self.client.command("UID SEARCH ALL"), before)
        self.assertIn(b"* 5 EXISTS", self.client.command(f"NOTIFY SET {SELECTED}"))

    def test_own_expunge_is_answered(self) -> None:
        self.notify("NONE")
        self.client.command("STORE 2 +FLAGS (\\Deleted)")
        self.assertIn(b"* 2 EXPUNGE", self.client.command("EXPUNGE"))

    def test_own_replacement_is_answered(self) -> None:
        # RFC 8508 section 4.3
        self.notify("NONE")
        replace = f"REPLACE 2 misc {{{len(MESSAGE)}+}}\r\n{MESSAGE.decode()}"
        self.assertIn(b"* 2 EXPUNGE", self.client.command(replace))
        self.assertIn(b"* 1 EXPUNGE", self.client.command(f"UID {replace.replace('2', '1', 1)}"))

    def test_delayed(self) -> None:
        self.notify("SET (selected-delayed (MessageNew MessageExpunge FlagChange))")
        self.do("STORE 1 +FLAGS (\\Deleted)", "EXPUNGE")
        self.assertNotIn(b"* 1 EXPUNGE", self.told())
        self.assertNotIn(b"* 1 EXPUNGE", self.client.command("FETCH 2 UID"))
        self.assertIn(b"* 1 EXPUNGE", self.client.command("NOOP"))
        self.do("STORE 1 +FLAGS (\\Deleted)", "EXPUNGE")
        self.told()
        self.assertIn(b"* 1 EXPUNGE", self.client.send(b"i IDLE\r\n"))

    def test_idle_tells_the_same(self) -> None:
        self.notify("SET (selected (MessageNew MessageExpunge)) (mailboxes misc (MessageNew"
                    " MessageExpunge))")  # fmt: skip
        self.client.send(b"i IDLE\r\n")
        self.do("STORE 1 +FLAGS (\\Flagged)")
        self.assertEqual(self.told(), [])
        self.server.add(MESSAGE, mailbox="misc")
        self.assertEqual(self.told(), [b'* STATUS "misc" (UIDNEXT 2 MESSAGES 1)'])
        self.server.add(MESSAGE)
        self.assertIn(b"* 3 EXISTS", self.told())
        self.assertTrue(self.client.send(b"DONE\r\n").startswith(b"i OK"))

    def test_items_of_new_messages(self) -> None:
        self.notify(
            "SET (selected (MessageNew (UID BODY.PEEK[HEADER.FIELDS (From Subject)])"
            " MessageExpunge))"
        )
        self.server.add(MESSAGE, MESSAGE)
        told = b"\r\n".join(self.told())
        self.assertIn(b"* 4 EXISTS", told)
        self.assertLess(told.index(b"EXISTS"), told.index(b"FETCH"))
        for number in (3, 4):
            self.assertIn(b"* %d FETCH (UID %d BODY[HEADER.FIELDS" % (number, number), told)
        self.assertEqual(told.count(b"Subject: Re: good morning"), 2)

    def test_new_messages_tell_the_modification_sequence(self) -> None:
        self.client.command("ENABLE CONDSTORE")
        self.notify("SET (selected (MessageNew (FLAGS) MessageExpunge))")
        self.server.add(MESSAGE)
        self.assertRegex(
            b"\r\n".join(self.told()),
            rb"\* 3 FETCH \(UID 3 FLAGS \((\\Recent)?\) MODSEQ \(\d+\)\)\r\n",
        )

    def test_what_is_delayed_is_not_counted_as_known(self) -> None:
        self.other.command("SELECT INBOX")
        self.client.command("ENABLE QRESYNC")
        (known,) = re.findall(
            rb"HIGHESTMODSEQ (\d+)", b"".join(self.client.command("SELECT INBOX"))
        )
        self.notify("SET (selected-delayed (MessageNew MessageExpunge FlagChange))")
        self.server.add(MESSAGE)
        now(self.server.mailbox().expunge(uids=[1]))
        now(self.server.mailbox().store_flags(uids=[2], flags=frozenset(("a",)), op=FlagOp.ADD))
        told = self.told()
        self.assertIn(b"* 3 EXISTS", told)
        # RFC 7162 section 3.2: MODSEQ would let the client believe that it knows of 1's end.
        (fetch,) = [line for line in told if b"FETCH" in line]
        last = int(re.findall(rb"MODSEQ \((\d+)\)", fetch)[0])
        settled = re.findall(rb"\* OK \[HIGHESTMODSEQ (\d+)\]", told[-1])
        self.assertTrue(settled and int(known) <= int(settled[0]) < last, told)
        self.assertIn(b"* VANISHED 1", self.client.command("NOOP"))

    def test_the_next_mailbox_too(self) -> None:
        self.notify(f"SET {SELECTED}")
        self.client.command("SELECT misc")
        self.server.add(MESSAGE, mailbox="misc")
        self.assertIn(b"* 1 EXISTS", self.told())
        self.server.add(MESSAGE)
        self.assertEqual(self.told(), [])

    def test_pipelined_commands(self) -> None:
        self.notify(f"SET {SELECTED}")
        self.client.protocol.dataReceived(b"a NOO")
        self.server.add(MESSAGE)
        self.assertIn(b"* 3 EXISTS", self.told())
        self.assertEqual(self.client.send(b"P\r\n"), b"a OK NOOP completed\r\n")

    def test_mailbox_that_is_deleted(self) -> None:
        self.client.command("SELECT misc")
        self.notify(f"SET {SELECTED}")
        self.do("DELETE misc")
        self.assertIn(b"* BYE The selected mailbox has been deleted", self.told())
        self.assertTrue(self.client.closed)


class OtherMailboxTests(NotifyTestCase):
    def test_state_at_first(self) -> None:
        self.client.command("SELECT INBOX")
        self.server.add(MESSAGE, mailbox="misc")
        answer = self.client.command(
            "NOTIFY SET STATUS (mailboxes (INBOX misc nothing) (MessageNew MessageExpunge))"
        )
        self.assertEqual(len(answer), 2)
        self.assertRegex(answer[0], rb'^\* STATUS "misc" \(MESSAGES 1 UIDNEXT 2 UIDVALIDITY \d+\)$')
        answer = self.client.command(f"NOTIFY SET STATUS (subtree Lists {PERSONAL[10:]}")
        self.assertEqual(len(answer), 3)
        self.assertIn(b" HIGHESTMODSEQ ", answer[0])

    def test_new_messages(self) -> None:
        self.notify("SET (subtree Lists (MessageNew MessageExpunge))")
        self.server.add(MESSAGE, mailbox="Lists/Lemonade")
        self.server.add(MESSAGE, mailbox="Lists/Lemonade")
        self.server.add(MESSAGE, mailbox="misc")
        # Changes may be told one by one or together.
        self.assertEqual(self.told()[-1], b'* STATUS "Lists/Lemonade" (UIDNEXT 3 MESSAGES 2)')
        self.do("SELECT Lists/Lemonade", "STORE 1 +FLAGS (\\Seen)")
        self.assertEqual(self.told(), [])
        self.do("STORE 1 +FLAGS (\\Deleted)", "EXPUNGE")
        self.assertEqual(self.told(), [b'* STATUS "Lists/Lemonade" (UIDNEXT 3 MESSAGES 1)'])

    def test_flags(self) -> None:
        self.server.add(MESSAGE, mailbox="misc")
        self.notify(f"SET {PERSONAL}")
        self.do("SELECT misc", "STORE 1 +FLAGS (\\Seen)")
        self.assertEqual(self.told(), [b'* STATUS "misc" (UNSEEN 0)'])
        self.do("STORE 1 +FLAGS (\\Flagged)")
        self.assertEqual(self.told(), [])
        self.client.command("ENABLE CONDSTORE")
        self.do("STORE 1 -FLAGS (\\Flagged)")
        (line,) = self.told()
        self.assertRegex(line, rb'^\* STATUS "misc" \(HIGHESTMODSEQ \d+ UIDVALIDITY \d+\)$')
        self.server.add(MESSAGE, mailbox="misc")
        (line,) = self.told()
        self.assertIn(b"UIDNEXT 3 MESSAGES 2 HIGHESTMODSEQ ", line)

    def test_the_selected_one_is_left_out(self) -> None:
        self.client.command("SELECT misc")
        self.notify(f"SET {PERSONAL}")
        self.server.add(MESSAGE, mailbox="misc")
        self.assertEqual(self.told(), [])
        self.client.command("UNSELECT")
        self.server.add(MESSAGE, mailbox="misc")
        self.assertEqual(len(self.told()), 1)

    def test_subscribed_ones(self) -> None:
        self.notify("SET (subscribed (MessageNew MessageExpunge))")
        self.server.add(MESSAGE, mailbox="misc")
        self.assertEqual(self.told(), [])
        self.do("SUBSCRIBE misc")
        self.told()
        self.server.add(MESSAGE, mailbox="misc")
        self.assertEqual(self.told(), [b'* STATUS "misc" (UIDNEXT 3 MESSAGES 2)'])
        self.do("UNSUBSCRIBE misc")
        self.told()
        self.server.add(MESSAGE, mailbox="misc")
        self.assertEqual(self.told(), [])

    def test_several_groups(self) -> None:
        self.notify("SET (mailboxes misc (MessageNew MessageExpunge)) (inboxes (MailboxName))")
        self.server.add(MESSAGE, mailbox="misc")
        self.do("CREATE new")
        self.assertEqual(
            sorted(self.told()),
            [b'* LIST (\\HasNoChildren) "/" "new"', b'* STATUS "misc" (UIDNEXT 2 MESSAGES 1)'],
        )

    def test_a_client_that_does_not_read_costs_one_line(self) -> None:
        self.notify(f"SET {PERSONAL}")
        self.client.protocol.pauseProducing()
        for _ in range(50):
            self.server.add(MESSAGE, mailbox="misc")
            self.server.clock.advance(0)
        self.client.protocol.resumeProducing()
        self.assertEqual(len(self.told()), 1)

    def test_nothing_is_left_behind(self) -> None:
        self.notify(f"SET {PERSONAL} (personal (MailboxName))")
        self.server.add(MESSAGE, mailbox="misc")
        self.client.lose()
        self.server.clock.advance(0)
        self.assertIsNone(self.client.protocol.notifier)
        account = self.server.account
        if not self.sqlite:
            self.assertEqual(account._watchers, {})
            self.assertEqual(now(account.open_mailbox(name="misc"))._watchers, {})
        else:
            # The store itself watches its directory.
            self.assertEqual(set(account._core._watchers), {DIRECTORY})


class NameTests(NotifyTestCase):
    def setUp(self) -> None:
        super().setUp()
        self.notify("SET (personal (MailboxName))")

    def test_created_and_deleted(self) -> None:
        self.do("CREATE new")
        self.assertEqual(self.told(), [b'* LIST (\\HasNoChildren) "/" "new"'])
        self.do("DELETE new")
        self.assertEqual(self.told(), [b'* LIST (\\NonExistent \\HasNoChildren) "/" "new"'])

    def test_parents_are_affected(self) -> None:
        self.do("CREATE misc/below")
        self.assertEqual(
            self.told(),
            [b'* LIST (\\HasChildren) "/" "misc"', b'* LIST (\\HasNoChildren) "/" "misc/below"'],
        )
        self.do("DELETE misc")
        self.assertEqual(self.told(), [b'* LIST (\\Noselect \\HasChildren) "/" "misc"'])

    def test_renamed_with_children(self) -> None:
        self.do("RENAME Lists Groups")
        self.assertEqual(
            self.told(), [b'* LIST (\\HasChildren) "/" "Groups" ("OLDNAME" ("Lists"))']
        )

    def do_at_once(self, *commands: str) -> None:
        """Something that another session does before the client can be told anything."""
        self.client.protocol.pauseProducing()
        self.do(*commands)
        self.client.protocol.resumeProducing()

    def test_a_name_that_is_taken_again(self) -> None:
        self.do_at_once("RENAME misc other", "CREATE misc")
        self.assertEqual(
            self.told(),
            [
                b'* LIST (\\HasNoChildren) "/" "other" ("OLDNAME" ("misc"))',
                b'* LIST (\\HasNoChildren) "/" "misc"',
            ],
        )

    def test_two_that_change_their_names(self) -> None:
        self.do("CREATE also")
        self.told()
        self.do_at_once("RENAME misc x", "RENAME also misc", "RENAME x also")
        # The first of them overwrites the other's name.
        self.assertEqual(
            self.told(),
            [
                b'* LIST (\\HasNoChildren) "/" "misc" ("OLDNAME" ("also"))',
                b'* LIST (\\HasNoChildren) "/" "also"',
            ],
        )

    def test_a_name_that_moves_on(self) -> None:
        self.do("CREATE also")
        self.told()
        self.do_at_once("RENAME also x", "RENAME misc also")
        self.assertEqual(
            self.told(),
            [
                b'* LIST (\\HasNoChildren) "/" "x" ("OLDNAME" ("also"))',
                b'* LIST (\\HasNoChildren) "/" "also" ("OLDNAME" ("misc"))',
            ],
        )

    def test_a_child_that_does_not_go_with_its_parent(self) -> None:
        self.do_at_once("RENAME Lists/Lemonade alone", "RENAME Lists Groups")
        self.assertEqual(
            self.told(),
            [
                b'* LIST (\\HasNoChildren) "/" "alone" ("OLDNAME" ("Lists/Lemonade"))',
                b'* LIST (\\HasNoChildren) "/" "Groups" ("OLDNAME" ("Lists"))',
            ],
        )

    def test_many_new_names(self) -> None:
        count = MAX_RENAMED + 5
        self.do(*[f"CREATE {number:03}" for number in range(count)])
        self.told()
        self.do_at_once(*[f"RENAME {number:03} new{number:03}" for number in range(count)])
        lines = self.told()
        self.assertEqual(sum(b"OLDNAME" in line for line in lines), MAX_RENAMED)
        self.assertEqual(sum(b"NonExistent" in line for line in lines), 5)
        self.assertEqual(len(lines), MAX_RENAMED + 10)

    def test_names_in_utf8(self) -> None:
        self.client.command("ENABLE UTF8=ACCEPT")
        self.do("CREATE &AOQ-")
        self.assertEqual(self.told(), ['* LIST (\\HasNoChildren) "/" "ä"'.encode()])

    def test_deleted_and_made_again(self) -> None:
        self.do("DELETE misc", "CREATE misc")
        self.assertEqual(
            self.told(),
            [
                b'* LIST (\\NonExistent \\HasNoChildren) "/" "misc"',
                b'* LIST (\\HasNoChildren) "/" "misc"',
            ],
        )

    def test_own_changes_are_not_told(self) -> None:
        self.client.command("CREATE mine/below")
        self.client.command("RENAME misc other")
        self.client.command("DELETE other")
        self.assertEqual(self.told(), [])
        self.do("CREATE theirs")
        self.assertEqual(self.told(), [b'* LIST (\\HasNoChildren) "/" "theirs"'])

    def test_subscriptions(self) -> None:
        self.notify("SET (personal (SubscriptionChange))")
        self.do("SUBSCRIBE misc", "SUBSCRIBE not-there")
        self.assertEqual(
            self.told(),
            [
                b'* LIST (\\HasNoChildren \\Subscribed) "/" "misc"',
                b'* LIST (\\NonExistent \\HasNoChildren \\Subscribed) "/" "not-there"',
            ],
        )
        self.do("UNSUBSCRIBE misc", "CREATE quiet")
        self.assertEqual(self.told(), [b'* LIST (\\HasNoChildren) "/" "misc"'])
        self.client.command("SUBSCRIBE misc")
        self.assertEqual(self.told(), [])

    def test_none_ends_it(self) -> None:
        self.notify("NONE")
        self.do("CREATE new")
        self.assertEqual(self.told(), [])


class SQLiteSelectedTests(SelectedTests):
    sqlite = True


class SQLiteOtherMailboxTests(OtherMailboxTests):
    sqlite = True


class SQLiteNameTests(NameTests):
    sqlite = True
