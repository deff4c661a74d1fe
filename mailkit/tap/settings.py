"""The settings of a mail service, by what they are about."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from twisted.cred.checkers import ICredentialsChecker

from mailkit.auth.certificates import CertificateNames
from mailkit.auth.checkers import AuthRule
from mailkit.auth.kerberos import KerberosSettings
from mailkit.guard import GuardSettings, LoginGuard
from mailkit.interfaces import IMessageDelivery
from mailkit.sasl import Mechanism
from mailkit.tap.hooks import Hooks

#: Octets of a message that is taken unless a setting says otherwise.
MAX_MESSAGE_SIZE = 50 * 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Limits of each protocol."""

    #: Octets of one message.
    max_message_size: int = MAX_MESSAGE_SIZE
    #: Connections of one protocol at the same time, and from one address.
    max_connections: int = 10_000
    max_connections_per_address: int = 200
    #: IMAP connections that are logged in to one account.
    max_sessions_per_account: int = 100


@dataclass(frozen=True)
class LoginSettings:
    """Who may log in, and how."""

    #: Who may log in, besides or instead of the store's own accounts; in an ``AuthRule``, the users
    #: of its domains.
    checkers: Sequence[ICredentialsChecker | AuthRule] = ()
    #: The store's own accounts may log in too; always so without checkers.
    store_accounts: bool = False
    #: A user whom a checker knows gets an account at the first login, or with the first mail if the
    #: checker can be asked for users, where the store can make one.
    create_accounts: bool = True
    #: Names of the SASL mechanisms that clients may be offered, or classes of others; None for all
    #: of ours.
    mechanisms: Sequence[Mechanism] | None = None
    #: Take passwords over connections without TLS from other machines too.
    allow_plaintext_passwords: bool = False
    #: What stands between account and administrator in a user name; empty for no such form.
    master_separator: str = ""
    #: How wrong passwords slow down logins, or what does that; None for the defaults.
    guard: GuardSettings | LoginGuard | None = None
    #: What makes a certificate an account's, where clients are asked for certificates; None for the
    #: e-mail addresses in it.
    certificates: CertificateNames | None = None
    #: Whose tickets are taken; None for nobody's.
    kerberos: KerberosSettings | None = None
    #: What ``--anonymous`` takes.
    anonymous: Collection[str] = ()


@dataclass(frozen=True)
class DeliverySettings:
    """Where mail goes that is for the domains served here."""

    #: Mail for ann+lists@ goes to Ann's mailbox lists where there is one.
    detail_to_mailbox: bool = False
    #: The same, where the sender has the right to post there.
    detail_by_acl: bool = False
    #: What a user sends is also put into the user's mailbox for sent mail.
    sent_copy: bool = False
    #: Seconds in which a mailbox gets no message of the same Message-ID and Date again; 0 for never.
    suppress_duplicates: float = 0
    #: What ``--route`` takes, or deliveries, by domain. A delivery that provides
    #: ``IClosableDelivery`` is closed with the service.
    routes: Mapping[str, str | IMessageDelivery] = field(default_factory=dict)
    #: Signs what routes send by HTTP.
    route_secret: bytes | None = field(default=None, repr=False)


@dataclass(frozen=True)
class FilterSettings:
    """What judges mail while it is received: the checks, then the hooks, then the milters."""

    #: What the table ``[checks]`` of a settings file takes: see
    #: :data:`mailkit.tap.checks.CHECKS`.
    checks: Mapping[str, Any] = field(default_factory=dict)
    #: Hooks and names of hooks as ``--hook`` takes them, for all services that take mail; or lists
    #: of them by service (``smtp``, ``lmtp``, ``submission``) and named listener.
    hooks: Hooks = ()
    #: A :class:`~mailkit.smtp.hooks.HookSettings`; None for its defaults.
    hook_settings: Any = None
    #: What ``--milter``, ``--milter-failure`` and ``--milter-reuse`` take.
    milters: Collection[str] = ()
    milter_failure: str | None = None
    milter_reuse: Collection[str] = ()
    #: What the table ``[milter-settings]`` takes.
    milter_settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SMTPSettings:
    """What SMTP, LMTP and submission offer and allow."""

    #: What ``--without-extension`` takes.
    without_extensions: Collection[str] = ()
    #: Who gets answers to VRFY, and to EXPN: ``never`` (None), ``authenticated`` or ``everyone``.
    vrfy: str | None = None
    expn: str | None = None
    #: What ``--no-soliciting`` takes.
    no_soliciting: str | None = None
    #: What ``--xclient-from`` takes.
    xclient_from: Collection[str] = ()
    #: What ``--bare-line-ends`` takes; each service has its own way where nothing is said.
    bare_line_ends: Collection[str] = ()
    #: Users who submit mail may write any address into From and Sender.
    any_from: bool = False
    #: What the table ``[smtp-extensions]`` takes: see
    #: :func:`mailkit.tap.extensions.parse_extension_table`. It goes before the fields above.
    extensions: Mapping[str, Any] = field(default_factory=dict)
    #: What the table ``[smtp-limits]`` takes: see :func:`mailkit.tap.smtp_limits.parse_smtp_limits`.
    limits: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class IMAPSettings:
    """What IMAP offers, and to whom."""

    #: What ``--without-capability`` takes.
    without_capabilities: Collection[str] = ()
    #: What ``--imap-quirk`` takes.
    quirks: Collection[str] = ()
    #: What the table ``[imap-clients]`` takes: see :func:`mailkit.tap.capabilities.parse_clients`.
    clients: Mapping[str, Any] = field(default_factory=dict)
    #: Further parameters of :class:`~mailkit.imap.protocol.IMAPFactory`.
    parameters: Mapping[str, Any] = field(default_factory=dict)
