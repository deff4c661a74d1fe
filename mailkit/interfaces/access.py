"""The contracts of shared mailboxes: who may do what in somebody else's (RFC 4314)."""

from __future__ import annotations

from collections.abc import Awaitable, Sequence

from zope.interface import Attribute, Interface

from mailkit.interfaces.mailbox import IMailbox
from mailkit.model import OtherNamespaces
from mailkit.rights import Grant, ListedRights, Rights, RightsOp


class IAccessControl(Interface):
    """An account that shares mailboxes with others, and sees those that others share with it.

    All methods of the account take and give the names of others' mailboxes, which begin as
    :attr:`namespaces` says, and obey the rights that were granted. A mailbox of somebody else in
    which the account has no right to know of is one that does not exist (:exc:`NoSuchMailbox`);
    otherwise what it may not do is refused (:exc:`PermissionDenied`). Rights hold from the moment
    they are changed, for mailboxes that are open too.

    The owner of a mailbox always has all rights.
    """

    namespaces: OtherNamespaces = Attribute("""Where the mailboxes of others are.""")

    def get_acl(name: str) -> Awaitable[Sequence[Grant]]:
        """The access control list, the owner's entry first (RFC 4314 section 3.3).

        :raises PermissionDenied: the account lacks the right ``a``.
        """

    def set_acl(name: str, identifier: str, rights: Rights, op: RightsOp) -> Awaitable[None]:
        """Change the rights of an identifier; an entry without rights goes (RFC 4314 3.1).

        A login name is as good as the account's name.

        :raises NoSuchAccount: the identifier means nobody.
        :raises PermissionDenied: the account lacks the right ``a``; the identifier is the owner,
            who keeps all rights; or it means many accounts, and only an administrator may share
            with those.
        :raises LimitExceeded: there are too many entries.
        """

    def delete_acl(name: str, identifier: str) -> Awaitable[None]:
        """Remove the entry of an identifier, if there is one (RFC 4314 section 3.2).

        :raises PermissionDenied: as for :meth:`set_acl`.
        """

    def list_rights(name: str, identifier: str) -> Awaitable[ListedRights]:
        """What an identifier can be granted (RFC 4314 section 3.4).

        :raises PermissionDenied: the account lacks the right ``a``.
        """

    def my_rights(name: str) -> Awaitable[Rights]:
        """What the account may do in a mailbox (RFC 4314 section 3.5)."""


class IRestrictedMailbox(IMailbox):
    """A mailbox of somebody else: each of its methods obeys the rights of who has opened it.

    It provides :class:`IWritableMailbox` if there was a right to change something when it was opened.
    Flags that may not be changed stay as they are, in ``store_flags`` as in ``append`` and in
    copies; ``store_flags`` refuses when none of those that are named may be changed.
    """

    def get_rights() -> Rights:
        """The rights now; not awaitable.

        :raises NoSuchMailbox: it has been deleted.
        """

    def check_right(right: str) -> None:
        """Refuse what needs a right, before it is begun; not awaitable.

        :raises NoSuchMailbox: there is neither this right nor ``l``.
        :raises PermissionDenied: there is not this right.
        """


class IAccessDirectory(Interface):
    """A directory in which an administrator decides who may use whose mailboxes."""

    def get_acl(account: str, mailbox: str) -> Awaitable[Sequence[Grant]]:
        """The access control list of an account's mailbox, without the owner.

        :raises NoSuchAccount: there is no such account.
        :raises NoSuchMailbox: it has no such mailbox.
        """

    def set_acl(
        account: str, mailbox: str, identifier: str, rights: Rights, op: RightsOp
    ) -> Awaitable[None]:
        """Change the rights of an identifier; an entry without rights goes.

        :raises NoSuchAccount: there is no such account, or the identifier means nobody.
        :raises NoSuchMailbox: it has no such mailbox.
        :raises LimitExceeded: there are too many entries.
        """

    def list_public() -> Awaitable[Sequence[str]]:
        """Accounts whose mailboxes are in the shared namespace, sorted."""

    def set_public(account: str, public: bool) -> Awaitable[None]:
        """Put the mailboxes of an account into the shared namespace, or back to other users'.

        It grants nothing by itself, but lets those with the right ``a`` share with everybody.

        :raises NoSuchAccount: there is none.
        """
