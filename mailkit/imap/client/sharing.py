"""Who may do what with a mailbox (RFC 4314), and how much room there is (RFC 9208), for
:class:`~mailkit.imap.client.session.Session`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mailkit.client.errors import ProtocolError
from mailkit.imap.client.commands import Command, Part, astring, atom
from mailkit.imap.client.mailboxes import MailboxCommands
from mailkit.imap.client.responses import Typed
from mailkit.imap.client.values import AccessList, MyRights, Quota, QuotaRoots, Unknown
from mailkit.imap.grammar import canonical


class SharingCommands(MailboxCommands):
    """Commands about rights and quotas; none needs a selected mailbox."""

    # Rights. Letters are passed on as they are: servers may have more than RFC 4314 names.

    async def get_acl(self, name: str) -> Mapping[str, str]:
        """Rights by identifier, such as ``{"bob": "lrs", "anyone": "lr"}``.

        :raises NotOffered: the server has no ACL.
        """
        self._need("ACL")
        found: list[AccessList] = []

        def collect(response: Typed) -> bool:
            if isinstance(response, AccessList):
                found.append(response)
                return True
            return False

        command = Command("GETACL", answers=frozenset(("ACL",)), collect=collect)
        await self._connection.run(command.add(self._mailbox(name)))
        if not found:
            raise ProtocolError("The mail server names no rights", command="GETACL")
        return found[-1].rights

    async def set_acl(self, name: str, identifier: str, rights: str) -> None:
        """Give rights to somebody.

        :param identifier: an account, ``anyone``, or with ``-`` before it who loses the rights.
        :param rights: ``lrs`` instead of those that there are, ``+w`` besides, ``-t`` no longer.
        """
        self._need("ACL")
        command = Command("SETACL").add(self._mailbox(name))
        await self._connection.run(command.add(astring(identifier)).add(astring(rights)))

    async def delete_acl(self, name: str, identifier: str) -> None:
        """Take somebody off the list."""
        self._need("ACL")
        command = Command("DELETEACL").add(self._mailbox(name)).add(astring(identifier))
        await self._connection.run(command)

    async def my_rights(self, name: str) -> str:
        """What we may do with a mailbox."""
        self._need("ACL")
        found: list[MyRights] = []

        def collect(response: Typed) -> bool:
            if isinstance(response, MyRights):
                found.append(response)
                return True
            return False

        command = Command("MYRIGHTS", answers=frozenset(("MYRIGHTS",)), collect=collect)
        await self._connection.run(command.add(self._mailbox(name)))
        if not found:
            raise ProtocolError("The mail server names no rights", command="MYRIGHTS")
        # LIST may bring those of others, where LIST-MYRIGHTS was asked for.
        wanted = canonical(name)
        return next((each.rights for each in found if each.mailbox == wanted), found[-1].rights)

    # Quotas.

    async def get_quota(self, name: str = "INBOX") -> Sequence[Quota]:
        """The quotas that a mailbox counts for; none where it is not limited.

        :raises NotOffered: the server has no QUOTA.
        """
        self._need("QUOTA")
        roots: list[QuotaRoots] = []
        quotas: dict[str, Quota] = {}
        strange: list[Unknown] = []

        def collect(response: Typed) -> bool:
            if isinstance(response, QuotaRoots):
                roots.append(response)
                return True
            if isinstance(response, Quota):
                quotas[response.root] = response
                return True
            if isinstance(response, Unknown) and response.name in ("QUOTA", "QUOTAROOT"):
                strange.append(response)
                return True
            return False

        command = Command("GETQUOTAROOT", answers=frozenset(("QUOTA",)), collect=collect)
        await self._connection.run(command.add(self._mailbox(name)))
        if strange:
            raise ProtocolError("The mail server's quotas cannot be read", command="GETQUOTAROOT")
        named = {root for each in roots for root in each.roots}
        return [quota for root, quota in quotas.items() if root in named]

    async def set_quota(self, root: str, limits: Mapping[str, int]) -> None:
        """Limit a quota root; for administrators.

        :param limits: by resource: ``STORAGE`` in KiB, ``MESSAGE``, ``MAILBOX``; others are unlimited.
        """
        self._need("QUOTASET", "QUOTA")
        parts: list[Part] = []
        for resource, limit in limits.items():
            parts += [b" " if parts else b"(", atom(resource.upper()), b" %d" % limit]
        command = Command("SETQUOTA", answers=frozenset(("QUOTA",))).add(astring(root))
        await self._connection.run(command.add(*(parts or [b"("]), b")"))
