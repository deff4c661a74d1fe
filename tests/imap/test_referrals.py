"""Users and mailboxes of other servers (RFC 2221, RFC 2193)."""

from __future__ import annotations

from typing import Any

from twisted.cred.portal import Portal
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import alsoProvides, implementer

from mailkit.errors import Referral
from mailkit.imap.protocol import IMAPFactory
from mailkit.interfaces import IReferringRealm, IRemoteMailboxes
from tests.imap.support import PASSWORD, USER, Realm, Server, ServerTestCase

URL = "imap://ann;AUTH=*@server2.example.org/"
LOGIN = f"LOGIN {USER} {PASSWORD.decode()}"


@implementer(IReferringRealm)
class ReferringRealm(Realm):
    """Sends everybody elsewhere."""

    def requestAvatar(self, avatar_id: object, mind: object, *interfaces: object) -> Any:
        raise Referral("Your mail is on server2", [URL])


class LoginTests(SynchronousTestCase):
    def server(self, realm: Any, **settings: Any) -> Server:
        server = Server()
        portal = Portal(realm)
        assert server.factory.portal is not None
        portal.checkers = server.factory.portal.checkers
        server.factory = IMAPFactory(portal, clock=server.clock, **settings)
        return server

    def test_a_user_of_another_server(self) -> None:
        client = self.server(ReferringRealm(None)).connect()
        self.assertIn(b" LOGIN-REFERRALS ", client.greeting)
        answer = b"NO [REFERRAL %b] Your mail is on server2" % URL.encode()
        self.assertEqual(client.command(LOGIN), [answer])
        self.assertEqual(
            client.command("AUTHENTICATE PLAIN AGFubkBleGFtcGxlLm9yZwBzZWNyZXQ="), [answer]
        )
        # It is still there, for another user.
        self.assertEqual(client.command("NOOP"), [b"OK NOOP completed"])

    def test_who_has_a_wrong_password_learns_nothing(self) -> None:
        server = self.server(ReferringRealm(None))
        client = server.connect()
        (answer,) = client.command(f"LOGIN {USER} wrong")
        self.assertTrue(answer.startswith(b"NO [AUTHENTICATIONFAILED] "), answer)

    def test_realms_that_send_nobody_away(self) -> None:
        self.assertNotIn(b"REFERRALS", Server().connect().greeting)

    def test_switched_off(self) -> None:
        client = self.server(ReferringRealm(None), without=["LOGIN-REFERRALS"]).connect()
        self.assertNotIn(b"REFERRALS", client.greeting)
        self.assertEqual(client.command(LOGIN), [b"NO [CANNOT] Your mail is on server2"])

    def test_what_is_no_url(self) -> None:
        for url in ("imap://x/a b", "imap://x/]", "imap://x/\r\n", "imap://\u00fc/", ""):
            with self.assertRaises(ValueError):
                Referral(urls=[url])


REMOTE = ("Bread", "Meat", "Meat/Ham")


class MailboxTests(ServerTestCase):
    """The hierarchy of RFC 5258 section 5, examples 4 to 6."""

    def setUp(self) -> None:
        self.server = self.make_server()
        account = self.server.account

        async def list_remote_mailboxes() -> tuple[str, ...]:
            return REMOTE

        def referring(method: Any, *names: str) -> Any:
            async def call(**arguments: Any) -> Any:
                for argument in names:
                    if arguments[argument] in REMOTE:
                        raise Referral(urls=[URL + arguments[argument]])
                return await method(**arguments)

            return call

        account.list_remote_mailboxes = list_remote_mailboxes
        for name in ("open_mailbox", "create_mailbox", "delete_mailbox"):
            setattr(account, name, referring(getattr(account, name), "name"))
        account.rename_mailbox = referring(account.rename_mailbox, "name", "new_name")
        alsoProvides(account, IRemoteMailboxes)
        self.client = self.server.login("SUBSCRIBE Bread")
        for name in ("Archive", "Drafts", "Junk", "Sent", "Trash"):
            self.client.command(f"UNSUBSCRIBE {name}")
            self.client.command(f"DELETE {name}")
        self.client.command("CREATE Tofu")

    def list(self, command: str) -> list[bytes]:
        lines = self.client.command(command)
        self.assertTrue(lines[-1].startswith(b"OK "), lines)
        return [line.partition(b" ")[2].partition(b" ")[2] for line in lines[:-1]]

    def test_announced(self) -> None:
        self.assertIn(b" MAILBOX-REFERRALS ", self.client.command("CAPABILITY")[0])
        self.assertNotIn(b"MAILBOX-REFERRALS", Server().login().command("CAPABILITY")[0])

    LOCAL = [b'(\\HasNoChildren) "/" "INBOX"', b'(\\HasNoChildren) "/" "Tofu"']

    def test_list_tells_of_them_where_it_is_asked_to(self) -> None:
        self.assertEqual(self.list('LIST "" *'), self.LOCAL)
        remote = [b'(\\Remote \\HasNoChildren) "/" "Bread"', b'(\\Remote \\HasChildren) "/" "Meat"']
        ham = b'(\\Remote \\HasNoChildren) "/" "Meat/Ham"'
        self.assertEqual(self.list('LIST (REMOTE) "" %'), [*self.LOCAL, *remote])
        self.assertEqual(self.list('RLIST "" %'), [*self.LOCAL, *remote])
        self.assertEqual(self.list('RLIST "" *'), [*self.LOCAL, *remote, ham])

    def test_subscriptions(self) -> None:
        inbox = b'(\\HasNoChildren \\Subscribed) "/" "INBOX"'
        bread = b'(\\Remote \\HasNoChildren \\Subscribed) "/" "Bread"'
        self.assertEqual(self.list('LIST (SUBSCRIBED) "" *'), [inbox])
        self.assertEqual(self.list('LIST (REMOTE SUBSCRIBED) "" *'), [inbox, bread])
        self.assertIn(bread, self.list('LIST (REMOTE) "" * RETURN (SUBSCRIBED)'))
        self.assertEqual(self.list('LSUB "" *'), [b'(\\HasNoChildren) "/" "INBOX"'])
        self.assertEqual(
            sorted(self.list('RLSUB "" *')),
            [b'(\\HasNoChildren) "/" "INBOX"', b'(\\Remote \\HasNoChildren) "/" "Bread"'],
        )

    def test_whoever_opens_one_is_sent_there(self) -> None:
        self.server.add(b"Subject: x\r\n\r\n")
        for command in (
            "SELECT Bread",
            "EXAMINE Bread",
            "STATUS Bread (MESSAGES)",
            "CREATE Bread",
            "DELETE Bread",
            "RENAME Bread x",
            "RENAME Tofu Bread",
            "APPEND Bread {1+}\r\nx",
        ):
            lines = self.client.command(command)
            answer = b"NO [REFERRAL %bBread] That is on another server" % URL.encode()
            self.assertEqual(lines[-1], answer, command)

    def test_status_of_what_is_listed_leaves_them_out(self) -> None:
        lines = self.client.command('RLIST "" Bread')
        self.assertEqual(len(lines), 2)
        lines = self.client.command('LIST (REMOTE) "" Bread RETURN (STATUS (MESSAGES))')
        self.assertEqual(len(lines), 2)

    def test_switched_off(self) -> None:
        client = Server(self.server.account, without=["MAILBOX-REFERRALS"]).login()
        for command in ('RLIST "" *', 'RLSUB "" *'):
            self.assertTrue(client.command(command)[-1].startswith(b"BAD "), command)
        self.assertEqual(len(client.command('LIST (REMOTE) "" *')), 3)
        self.assertEqual(client.command("SELECT Bread"), [b"NO [CANNOT] That is on another server"])


class SQLiteMailboxTests(MailboxTests):
    sqlite = True
