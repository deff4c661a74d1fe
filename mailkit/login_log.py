"""What the log tells of logins: one event each, whose text and names are kept for programs.

See docs/security.md. Nothing that was sent as a password stands there, nor a name that is no
account's: people type passwords where names belong.
"""

from __future__ import annotations

import time
from typing import NamedTuple

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import LogEvent, Logger, LogLevel

from mailkit.errors import AuthorizationFailed, PasswordExpired

#: What logins by commands of a protocol, without SASL, are called.
PASSWORD = "password"
#: Seconds for which successful logins wait to be written with others, and how many of them.
DELAY = 0.5
MAX_WAITING = 100
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
    _log.observer(_make_event(facts, outcome, account, reason, acting_for))


def _make_event(
    facts: LoginFacts,
    outcome: str,
    account: str,
    reason: str,
    acting_for: str,
    when: float = 0.0,
    count: int = 1,
) -> LogEvent:
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
    if count > 1:
        text += f" count={count}"
    return {
        "log_logger": _log,
        "log_level": LogLevel.info if outcome == "succeeded" else LogLevel.warn,
        "log_namespace": _log.namespace,
        "log_source": None,
        # Not to be put together by the observers: that takes as long as all the rest of a login.
        "log_format": text.replace("{", "{{").replace("}", "}}"),
        "log_time": when or time.time(),
        "outcome": outcome,
        "address": address,
        "port": port,
        "protocol": protocol,
        "mechanism": mechanism,
        "tls": tls,
        "cipher": cipher,
        "reason": reason,
        "account": account,
        "acting_for": _shown(acting_for),
        "count": count,
    }


class _Successes:
    """Logins that have succeeded and differ in nothing but the port."""

    __slots__ = ("account", "acting_for", "count", "facts", "when")

    def __init__(self, facts: LoginFacts, account: str, acting_for: str) -> None:
        self.facts = facts
        self.account = account
        self.acting_for = acting_for
        self.when = time.time()
        self.count = 1


class LoginLog:
    """What a server tells the log of its logins, in their order.

    To write one event takes as long as a good part of a login. So those that have succeeded wait a
    moment, with the time at which they were made, and a client that opens several connections at
    once is one event.
    """

    def __init__(self) -> None:
        self._waiting: dict[tuple[object, ...], _Successes] = {}
        self._timer: IDelayedCall | None = None

    def tell(
        self,
        clock: IReactorTime,
        facts: LoginFacts,
        outcome: str,
        account: str = "",
        reason: str = "",
        acting_for: str = "",
    ) -> None:
        """Tell of a login, as :func:`log_login` does."""
        if outcome != "succeeded":
            self.flush()
            log_login(facts, outcome, account, reason, acting_for)
            return
        key = account, acting_for, facts.address, facts[2:]
        same = self._waiting.get(key)
        if same is not None:
            same.count += 1
            return
        self._waiting[key] = _Successes(facts, account, acting_for)
        if len(self._waiting) >= MAX_WAITING:
            self.flush()
        elif self._timer is None:
            self._timer = clock.callLater(DELAY, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()
        waiting, self._waiting = self._waiting, {}
        for each in waiting.values():
            _log.observer(
                _make_event(
                    each.facts,
                    "succeeded",
                    each.account,
                    "",
                    each.acting_for,
                    each.when,
                    each.count,
                )
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
