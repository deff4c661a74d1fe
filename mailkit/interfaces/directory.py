"""The contracts of a directory, which knows domains, accounts and aliases."""

from __future__ import annotations

from collections.abc import Awaitable, Collection, Sequence

from zope.interface import Attribute, Interface

from mailkit.identity import Login
from mailkit.model import Path, Quota, Resolution


class IDirectory(Interface):
    """Knows which domains, accounts and aliases are ours."""

    def resolve(path: Path) -> Awaitable[Resolution]:
        """Who gets mail for that address: account, sub-address, alias, catch-all.

        Domains compare without regard to case, local parts as well. ``Postmaster`` without domain
        is accepted (RFC 5321 section 4.5.1).

        :raises RelayDenied: the domain is not ours.
        :raises NoSuchRecipient: the domain is ours, the local part is nobody's.
        """

    def owns_address(account: str, path: Path) -> Awaitable[bool]:
        """Whether the account may send as that address: its own, a sub-address, an alias, or one
        that was delegated to it (:class:`IDelegateAdmin`)."""

    def find_account(login: str) -> Awaitable[str | None]:
        """Canonical account name for what a user typed as user name, or None.

        The bare local part is enough where only one domain is served.
        """

    def get_password_hash(account: str) -> Awaitable[str | None]:
        """The account's password hash in PHC string format; None without account or password."""


class IVouchedUser(Interface):
    """Credentials of a user for whom somebody vouches whom the operator trusts: a name alone.

    A portal whose checkers know them lets trusted clients name users (LOGIN of XCLIENT).
    """

    username: str = Attribute("""What the user has typed as user name, or the account's name.""")


class ILoginDirectory(IDirectory):
    """A directory that answers both questions of a login at once."""

    def find_login(login: str) -> Awaitable[Login | None]:
        """What ``find_account`` finds, and its password hash; None when it finds nothing."""


class IAccountHistory(Interface):
    """A directory that knows how long accounts have been somebody's (RFC 7293)."""

    def get_creation_time(account: str) -> Awaitable[int | None]:
        """Seconds since the epoch: the account is not older; None without such an account."""


class IDirectoryAdmin(Interface):
    """A directory that can be changed."""

    def list_domains() -> Awaitable[Sequence[str]]:
        """The domains, sorted."""

    def add_domain(domain: str) -> Awaitable[None]:
        """:raises AccountExists: it is there already."""

    def remove_domain(domain: str) -> Awaitable[None]:
        """:raises NoSuchAccount: it is not there.
        :raises PermissionDenied: accounts or aliases are still in it.
        """

    def list_accounts() -> Awaitable[Sequence[str]]:
        """Canonical account names, sorted."""

    def add_account(name: str, password_hash: str | None = None) -> Awaitable[None]:
        """Make an account with the mailboxes of :data:`mailkit.model.NEW_ACCOUNT_MAILBOXES`.

        A domain that is not served yet is added.

        :raises AccountExists: it is there already.
        """

    def remove_account(name: str) -> Awaitable[None]:
        """Remove an account with all its mail and the aliases that name only it."""

    def set_password_hash(account: str, password_hash: str | None) -> Awaitable[None]:
        """:raises NoSuchAccount: there is none."""

    def list_aliases() -> Awaitable[Sequence[tuple[str, Sequence[str]]]]:
        """Aliases with their targets, sorted."""

    def add_alias(alias: str, targets: Sequence[str]) -> Awaitable[None]:
        """Send mail for ``alias`` to the targets; ``@example.org`` is the domain's catch-all.

        A target ``@example.org`` of such a catch-all stands for the same local part there: the one
        domain is an alias of the other.

        :raises AccountExists: an account has that address.
        """

    def remove_alias(alias: str) -> Awaitable[None]:
        """:raises NoSuchAccount: there is none."""


class IQuotaDirectory(Interface):
    """A directory that limits how much mail an account may have. The store enforces the limits."""

    def get_quota(account: str) -> Awaitable[Quota]:
        """What the account has and may have, from kept counters: cheap to ask for.

        :raises NoSuchAccount: there is none.
        """

    def check_quota(account: str, octets: int) -> Awaitable[None]:
        """Whether the account has room for a message of so many octets; asked at each RCPT.

        :raises OverQuota: it has not.
        :raises NoSuchAccount: there is none.
        """

    def set_quota(
        account: str | None,
        max_octets: int | None,
        max_messages: int | None,
        max_mailboxes: int | None = None,
    ) -> Awaitable[None]:
        """Limit an account. What is there already stays, however much it is.

        :param account: None for all accounts that have no limit of their own.
        :param max_octets: 0 for no limit, None for that of all accounts.
        :param max_messages: the same for the number of messages.
        :param max_mailboxes: the same for the number of mailboxes.
        :raises NoSuchAccount: there is none.
        """

    def get_own_limits(
        account: str | None,
    ) -> Awaitable[tuple[int | None, int | None, int | None]]:
        """What ``set_quota`` was given last: ``max_octets``, ``max_messages``, ``max_mailboxes``.

        Each is 0 for no limit, None for that of all accounts.

        :param account: None for the limits of all accounts that have none of their own.
        :raises NoSuchAccount: there is none.
        """


class IAdministratorDirectory(Interface):
    """A directory that knows accounts whose users may look after the accounts of others.

    They may log in as any of them, and change their quotas by IMAP.
    """

    def list_administrators() -> Awaitable[Sequence[str]]:
        """Their accounts, sorted."""

    def set_administrator(account: str, administrator: bool) -> Awaitable[None]:
        """Make somebody an administrator, or not any more.

        :raises NoSuchAccount: there is none.
        """


class IMaskDirectory(Interface):
    """A directory that says what clients of an account are not offered.

    Its accounts provide :class:`~mailkit.interfaces.ICapabilityMask`.
    """

    def get_imap_without(account: str) -> Awaitable[Sequence[str]]:
        """Names of IMAP capabilities, in capitals, sorted.

        :raises NoSuchAccount: there is none.
        """

    def set_imap_without(account: str, names: Collection[str]) -> Awaitable[None]:
        """Leave these capabilities out, and no others any more; holds from the next login on.

        :param names: in any letter case; the store does not ask whether they exist.
        :raises NoSuchAccount: there is none.
        :raises LimitExceeded: there are too many, or one of them is too long.
        """


class IDelegateAdmin(Interface):
    """A directory in which accounts may be allowed to send as somebody else."""

    def list_delegates() -> Awaitable[Sequence[tuple[str, str]]]:
        """Accounts, each with an address as which it may send, sorted."""

    def add_delegate(account: str, address: str) -> Awaitable[None]:
        """Let an account send as an address, or with ``@example.org`` as all of that domain.

        :raises NoSuchAccount: there is none.
        :raises AccountExists: it may do so already.
        """

    def remove_delegate(account: str, address: str) -> Awaitable[None]:
        """:raises NoSuchAccount: there is no such account, or it has not been allowed that."""
