"""What the log tells of logins: one event each, whose text and names are kept for programs.

See docs/security.md. Nothing that was sent as a password stands there, nor a name that is no
account's: people type passwords where names belong.
"""

from __future__ import annotations

from typing import NamedTuple

from twisted.logger import Logger, LogLevel

from mailkit.errors import AuthorizationFailed, PasswordExpired

#: What logins by commands of a protocol, without SASL, are called.
PASSWORD = "password"
#: Characters of a name that is shown.
MAX_NAME = 320

_log = Logger("mailkit.login")


class LoginFacts(NamedTuple):
    """What is known of a login, however it ends."""

    address: str
    port: int
    protocol: str
    #: Name of the SASL mechanism, or :data:`PASSWORD`.
    mechanism: str
    #: ``TLSv1.3``; ``proxy`` where a proxy ends it; empty without.
    tls: str
    cipher: str


def log_login(
    facts: LoginFacts, outcome: str, account: str = "", reason: str = "", acting_for: str = ""
) -> None:
    """Tell of a login.

    :param outcome: ``succeeded``, ``failed`` or ``blocked``: that one was not judged.
    :param account: its account, if there is one of the name.
    :param acting_for: another account, as which that one acts.
    """
    level = LogLevel.info if outcome == "succeeded" else LogLevel.warn
    address, port, protocol, mechanism, tls, cipher = facts
    address, tls, cipher = address or "-", tls or "-", cipher or "-"
    account, reason = _shown(account), reason or "-"
    # What the client has chosen comes last, so that a pattern for the beginning is never deceived.
    text = (
        f"login {outcome}: address={address} port={port} protocol={protocol} mechanism={mechanism}"
        f" tls={tls} cipher={cipher} reason={reason} account={account}"
    )
    if acting_for:
        text += f" acting-for={_shown(acting_for)}"
    # Not to be put together by the observers: that takes as long as all the rest of a login.
    _log.emit(
        level,
        text.replace("{", "{{").replace("}", "}}"),
        outcome=outcome,
        address=address,
        port=port,
        protocol=protocol,
        mechanism=mechanism,
        tls=tls,
        cipher=cipher,
        reason=reason,
        account=account,
        acting_for=_shown(acting_for),
    )


def reason_of(error: Exception) -> str:
    """Why a login has failed, in a word."""
    if isinstance(error, PasswordExpired):
        return "password-expired"
    if isinstance(error, AuthorizationFailed):
        return "not-authorized"
    if getattr(error, "account", None):
        return "wrong-password"
    # Nobody of that name, or a user base that does not tell.
    return "refused"


def account_of(avatar: object) -> str:
    """Canonical name of the account that an avatar is for; empty where it does not tell."""
    for attribute in ("name", "account"):
        name = getattr(avatar, attribute, None)
        if isinstance(name, str):
            return name
    return ""


def _shown(name: str) -> str:
    if not name:
        return "-"
    shown = name[:MAX_NAME]
    if shown.isprintable() and " " not in shown:
        return shown
    return "".join(c if c.isprintable() and c != " " else f"\\x{ord(c):02x}" for c in shown)
