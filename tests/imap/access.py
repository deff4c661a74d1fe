"""A server whose users share mailboxes."""

from __future__ import annotations

from typing import Any

from mailkit.interfaces import IMailAccount
from mailkit.rights import RightsOp
from tests.imap.support import PASSWORD, USER, Client, Server, ServerTestCase, now

BOB, EVE = "bob@example.org", "eve@example.net"
MESSAGE = b"Subject: x\r\n\r\nbody\r\n"
OTHERS = f"Other Users/{USER}"


class _Realm:
    """Gives everybody an account of their own."""

    def __init__(self, store: Any) -> None:
        self.store = store

    def requestAvatar(self, avatar_id: bytes, mind: object, *interfaces: object) -> Any:
        account = now(self.store.open_account(name=avatar_id.decode()))
        return IMailAccount, account, lambda: None


class AccessTestCase(ServerTestCase):
    def start(self, **settings: Any) -> Server:
        """A server with three users, of whom Ann has a mailbox with three messages."""
        self.server = self.make_server(**settings)
        for name in (BOB, EVE):
            now(self.server.store.add_account(name=name))
        portal: Any = self.server.factory.portal
        portal.realm = _Realm(self.server.store)
        (checker,) = set(portal.checkers.values())
        for name in (BOB, EVE):
            checker.addUser(name.encode(), PASSWORD)
        now(self.server.account.create_mailbox(name="Plans"))
        self.server.add(MESSAGE, MESSAGE, mailbox="Plans")
        self.server.add(MESSAGE, mailbox="Plans", flags="\\Deleted \\Seen Mine")
        # \Recent is not what these tests are about.
        self.server.login("SELECT Plans").command("LOGOUT")
        return self.server

    def grant(self, rights: str, name: str = "Plans", identifier: str = BOB) -> None:
        now(
            self.server.account.set_acl(
                name=name, identifier=identifier, rights=frozenset(rights), op=RightsOp.REPLACE
            )
        )

    def bob(self, *commands: str, user: str = BOB) -> Client:
        client = self.server.connect()
        (*_, tagged) = client.command(f"LOGIN {user} {PASSWORD.decode()}")
        assert tagged.startswith(b"OK"), tagged
        for command in commands:
            (*_, tagged) = client.command(command)
            assert tagged.startswith(b"OK"), (command, tagged)
        return client

    def flags(self, name: str = "Plans") -> list[set[str]]:
        box = self.server.mailbox(name)
        return [set(info.flags) for info in now(box.get_messages(uids=now(box.list_uids())))]
