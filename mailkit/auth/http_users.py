"""Users whom a program of the administrator's knows, which is asked by HTTP.

It gets a POST with JSON, ``{"action": "login", "user": "ann@example.org", "password": "..."}``, and
answers with ``{"ok": true, "account": "ann@example.org"}``, where the account may be missing when it
is called as the user, or with ``{"ok": false}``, to which ``"reason": "expired"`` or ``"disabled"`` may
be added. Who only gets mail is asked for by ``{"action": "find", "user": "..."}``.
"""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from twisted.internet.defer import DeferredSemaphore
from twisted.logger import Logger
from zope.interface import alsoProvides, implementer

from mailkit.auth.located import NotAsked
from mailkit.auth.names import canonical_name, complete_name
from mailkit.errors import AccountDisabled, PasswordExpired, TemporaryFailure
from mailkit.https import HTTPSClient, HTTPSFailed
from mailkit.identity import Login
from mailkit.interfaces import IPasswordVerifier, IUserLookup

#: Seconds until there must be an answer.
TIMEOUT = 15.0
#: Questions at the same time, and with those that wait for their turn.
MAX_REQUESTS = 16
MAX_PENDING = 256
#: Characters of an account's name in an answer.
MAX_ACCOUNT = 320
#: Octets of the file with the secret.
MAX_SECRET = 4096

_REFUSALS = frozenset({401, 403, 404})
_REASONS = {"expired": PasswordExpired, "disabled": AccountDisabled}


class _BadAnswer(Exception):
    """It is not what was asked for. The text contains nothing of it."""


@implementer(IPasswordVerifier)
class HTTPUsers:
    """Users whom a program knows.

    200 with ``ok`` is an answer, and so are 401, 403 and 404 with ``"ok": false``. Everything else means
    that nobody can tell just now: those three are also what a server says whose path or secret is wrong.

    :param client: makes the requests.
    :param url: where the program is.
    :param secret: goes along as a bearer token, so that the program knows who asks; empty for none.
    :param finds: the program can be asked who gets mail.
    :param domains: the first is that of users without one.
    """

    log = Logger()

    def __init__(
        self,
        client: HTTPSClient,
        url: str,
        *,
        secret: str = "",
        finds: bool = False,
        domains: Sequence[str] = (),
    ) -> None:
        self._client = client
        self._url = url
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if secret:
            self._headers["Authorization"] = f"Bearer {secret}"
        self._domains = tuple(domains)
        self.at_once = MAX_REQUESTS
        self._turns = DeferredSemaphore(MAX_REQUESTS)
        self._pending = 0
        if finds:
            alsoProvides(self, IUserLookup)

    async def verify_password(self, login: str, password: bytes) -> str | None:
        try:
            text = password.decode("utf-8")
        except UnicodeDecodeError:
            # JSON has no place for it.
            raise NotAsked from None
        name = self._name(login)
        return await self._ask(name, {"action": "login", "user": name, "password": text})

    async def find_login(self, login: str) -> Login | None:
        name = self._name(login)
        account = await self._ask(name, {"action": "find", "user": name})
        return None if account is None else Login(account, None)

    def _name(self, login: str) -> str:
        return complete_name(canonical_name(login), self._domains)

    async def _ask(self, name: str, question: Mapping[str, str]) -> str | None:
        """The account, None for nobody.

        :raises MailError: there is no answer; or the user is known, and is not to come in.
        """
        if self._pending >= MAX_PENDING:
            self.log.warn(
                "{count} questions to {url} wait already", count=MAX_PENDING, url=self._url
            )
            raise TemporaryFailure
        body = json.dumps(question).encode("utf-8")
        self._pending += 1
        try:
            await self._turns.acquire()
            try:
                response = await self._client.request("POST", self._url, self._headers, body)
            finally:
                self._turns.release()
            answer = _read(response.code, response.body)
            if question["action"] == "login" and not answer["ok"]:
                refusal = _REASONS.get(str(answer.get("reason")))
                if refusal is not None:
                    raise refusal
            return self._account(name, answer)
        except (HTTPSFailed, _BadAnswer) as error:
            self.log.error("{url} cannot be asked: {reason}", url=self._url, reason=str(error))
            raise TemporaryFailure from None
        finally:
            self._pending -= 1

    def _account(self, name: str, answer: Mapping[str, Any]) -> str | None:
        if not answer["ok"]:
            return None
        account = answer.get("account") or name
        if not isinstance(account, str) or len(account) > MAX_ACCOUNT or not account.isprintable():
            raise _BadAnswer("the account that it names is none")
        return complete_name(canonical_name(account), self._domains)


def _read(code: int, body: bytes) -> Mapping[str, Any]:
    if code != 200 and code not in _REFUSALS:
        raise _BadAnswer(f"it answers {code}")
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    ok = answer.get("ok") if isinstance(answer, dict) else None
    if code != 200 and ok is not False:
        raise _BadAnswer(f'it answers {code} without "ok": false; are URL and secret right?')
    if not isinstance(answer, dict) or not isinstance(ok, bool):
        raise _BadAnswer('its answer is no JSON object with "ok"')
    return answer


def make(
    url: str,
    secret_file: str = "",
    find: bool = False,
    ca_file: str | None = None,
    timeout: float = TIMEOUT,
    domains: Sequence[str] = (),
    reactor: Any = None,
) -> HTTPUsers:
    """What ``--auth http:URL`` stands for.

    :raises ValueError: a setting is wrong.
    """
    if reactor is None:
        from twisted.internet import reactor
    _check_url(url)
    if ca_file is not None and not os.path.exists(ca_file):
        raise ValueError(f"ca-file: there is no {ca_file}")
    client = HTTPSClient(None, reactor, ca_file=ca_file, timeout=timeout, allow_clear=True)
    secret = _read_secret(secret_file) if secret_file else ""
    return HTTPUsers(client, url, secret=secret, finds=find, domains=domains)


def _check_url(url: str) -> None:
    """
    :raises ValueError: it is none, or passwords would cross a network in the clear.
    """
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname or not url.isascii():
        raise ValueError(f"{url!r} is no URL such as https://example.org/users")
    if parts.username is not None or not url.isprintable() or " " in url:
        raise ValueError("the URL must have no user name, and no characters that must be escaped")
    # Raises ValueError for a port that is none.
    _ = parts.port
    try:
        is_local = ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        is_local = parts.hostname == "localhost"
    if parts.scheme == "http" and not is_local:
        raise ValueError(f"{url} would carry passwords in the clear")


def _read_secret(path: str) -> str:
    try:
        with open(path, encoding="ascii") as file:
            secret = file.read(MAX_SECRET).strip()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "it is not ASCII"
        raise ValueError(f"secret-file: cannot read {path}: {reason}") from error
    if not secret or not secret.isprintable():
        raise ValueError(f"secret-file: {path} holds no secret of one line")
    return secret
