"""Codes of a device as a second factor (TOTP, RFC 6238), for protocols that have but one field.

The code stands right behind the password: ``secret123456``. pyotp does the arithmetic.

A code is one of a million, so whoever has the password must not try many (RFC 6238 section 5.2, RFC 4226
section 7.3). Wrong codes count behind the right password alone: nobody who does not know it can keep
the user out.
"""

from __future__ import annotations

import base64
import hmac
import math
import os
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from twisted.logger import Logger

from mailkit.auth.refusals import WrongPassword
from mailkit.auth.secret_texts import ALPHABET, grouped, is_kept, keep, new_text
from mailkit.coroutines import run
from mailkit.errors import TemporaryFailure
from mailkit.hiding import hiding
from mailkit.identity import SecondFactor
from mailkit.interfaces import ISecondFactorDirectory

#: Seconds of a step in time, and digits of a code: what all devices know (RFC 6238 section 4.1).
STEP = 30
DIGITS = 6
#: Codes before and after the one of now that may be taken (RFC 6238 section 5.2).
MAX_WINDOW = 10
#: Wrong codes behind the right password that may come at once; after them, one at a time is judged.
WRONG_CODES = 10
#: The chance, in a million, to guess a code within a day by those that come later.
CHANCE = 500
#: Devices of which it is remembered that the store could not count a wrong code.
MAX_UNCOUNTED = 10_000
#: Codes that work without the device, and characters of each: 80 bits.
RECOVERY_CODES = 10
_RECOVERY_LENGTH = 16
#: Octets of a secret: as many as the hash has (RFC 4226 section 4, R6).
_SECRET_LENGTH = 32

MISSING = "codes of devices need another library: pip install 'twisted-mailkit[totp]'"

_ends_with_code = re.compile(rb"(.*?)([0-9]{%d})" % DIGITS, re.DOTALL).fullmatch
_ends_with_recovery = re.compile(
    rb"(.*?)((?:[%b]{4}-){3}[%b]{4})" % (ALPHABET.encode(), ALPHABET.encode()), re.DOTALL
).fullmatch


class MissingLibrary(Exception):
    """pyotp is not installed; the text says how it is."""


def load_pyotp() -> Any:
    """The module ``pyotp``.

    :raises MissingLibrary: it is not installed.
    """
    try:
        import pyotp
    except ImportError as error:
        raise MissingLibrary(MISSING) from error
    return pyotp


def new_second_factor(window: int = 1) -> tuple[SecondFactor, list[str]]:
    """A new one, and its recovery codes, which are not kept.

    :raises MissingLibrary: pyotp is not installed.
    """
    codes = [new_text(_RECOVERY_LENGTH) for _ in range(RECOVERY_CODES)]
    secret = str(load_pyotp().random_base32(_SECRET_LENGTH))
    kept = SecondFactor(secret, window, 0, frozenset(map(keep, codes)))
    return kept, [grouped(code) for code in codes]


def device_uri(factor: SecondFactor, account: str, issuer: str) -> str:
    """What a device reads, mostly as a QR code: an ``otpauth:`` URI, with the secret in it.

    :raises MissingLibrary: pyotp is not installed.
    """
    totp = load_pyotp().TOTP(factor.secret)
    return str(totp.provisioning_uri(name=account, issuer_name=issuer))


@hiding("password")
class SplitPassword(NamedTuple):
    """What a user has typed who needs a second factor."""

    password: bytes | str
    #: To be called once the password is found to be right. Lets the code be used no more;
    #: ``AuthenticationFailed`` where somebody was faster, ``WrongPassword`` where the code is not right.
    use: Callable[[], Awaitable[None]]
    #: The code is not right, so that the time must not tell that the password is.
    hidden: bool = False


def wrong_code_seconds(window: int) -> int:
    """How long a wrong code counts: as many as there may be in a day have :data:`CHANCE`."""
    return math.ceil(86_400 * (2 * window + 1) * 1_000_000 / (10.0**DIGITS * CHANCE))


class SecondFactors:
    """Judges what stands behind passwords.

    :param seconds: tells the time.
    """

    log = Logger()

    def __init__(
        self, directory: ISecondFactorDirectory, seconds: Callable[[], float] = time.time
    ) -> None:
        self._directory = directory
        self._seconds = seconds
        # By account: wrong codes that are not counted yet.
        self._noting: Counter[str] = Counter()
        # By account and secret: until when wrong codes count, some of which the store could not count.
        self._uncounted: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._nobodys = SecondFactor(base64.b32encode(os.urandom(20)).decode("ascii"))

    async def split(self, account: str, password: bytes | str) -> SplitPassword | None:
        """The password without its code; None where none stands there, or none that could be one.

        Whoever has found the password right calls ``use``, which refuses codes that are not right:
        the answer is that to a wrong password, and so is its time, so that nobody learns anything about
        the password without the device.

        :raises NoSuchAccount: there is none.
        :raises TemporaryFailure: the code cannot be judged.
        """
        typed = password.encode("utf-8", "surrogatepass") if isinstance(password, str) else password
        directory = self._directory
        factor = await self._find(account)
        if factor is None:
            self.pretend(typed)
            return SplitPassword(typed, use_nothing)
        if (found := _ends_with_code(typed)) is not None:
            matching = self._find_steps(factor, found[2].decode("ascii"))
            if not matching:
                return SplitPassword(found[1], lambda: self._refuse(account), True)
            # RFC 6238 section 5.2: a code is taken once.
            step = next((step for step in matching if step > factor.last_step), None)
            if step is None:
                return None
            used = step
            return SplitPassword(
                found[1], lambda: self._use_step(account, used), self._is_full(factor)
            )
        if (found := _ends_with_recovery(typed.lower())) is not None:
            text = found[2].decode("ascii").replace("-", "")
            for kept in factor.recovery:
                if is_kept(kept, text):
                    return SplitPassword(
                        typed[: len(found[1])],
                        lambda kept=kept: directory.use_recovery_code(  # type: ignore[misc]
                            account=account, kept=kept
                        ),
                    )
        return None

    def _is_full(self, factor: SecondFactor) -> bool:
        """So many were wrong that no code is judged now."""
        seconds = wrong_code_seconds(factor.window)
        left = factor.forgotten - self._seconds()
        # More than can come together: the clock was wrong then.
        return (WRONG_CODES - 1) * seconds < left <= WRONG_CODES * seconds

    async def _find(self, account: str) -> SecondFactor | None:
        """What the directory knows, and what it is about to know."""
        factor: SecondFactor | None = await self._directory.get_second_factor(account=account)
        if factor is None:
            return None
        noting, uncounted = self._noting[account], self._uncounted.get((account, factor.secret), 0)
        if not noting and not uncounted:
            return factor
        now, seconds = int(self._seconds()), wrong_code_seconds(factor.window)
        most = now + WRONG_CODES * seconds
        if not now < uncounted <= most:
            # It is over, or the clock was wrong then.
            self._uncounted.pop((account, factor.secret), None)
            uncounted = 0
        forgotten = max(factor.forgotten, uncounted, now if noting else 0) + noting * seconds
        return factor._replace(forgotten=min(forgotten, most) if noting else forgotten)

    async def _refuse(self, account: str) -> None:
        """A wrong code stands behind the right password."""
        # The answer does not wait for the disk: its time would tell that the password is right.
        run(self._note(account)).addErrback(
            lambda failure: self.log.failure("a wrong code could not be counted", failure)
        )
        raise WrongPassword(account)

    async def _note(self, account: str) -> None:
        """Count a wrong code."""
        factor = await self._find(account)
        if factor is None or self._is_full(factor):
            return
        now, seconds = int(self._seconds()), wrong_code_seconds(factor.window)
        most = (WRONG_CODES - 1) * seconds
        counted, device = max(factor.forgotten, now) + seconds, (account, factor.secret)
        self._noting[account] += 1
        try:
            await self._directory.note_wrong_code(
                account=account, now=now, seconds=seconds, most=most
            )
        except Exception:
            self._remember(device, counted)
            raise
        else:
            if device in self._uncounted:
                self._remember(device, counted)
        finally:
            self._noting[account] -= 1
            if not self._noting[account]:
                del self._noting[account]
        if factor.forgotten - now + seconds > most:
            self.log.warn(
                "{account}: {count} codes were wrong behind the right password, so none is judged"
                " for {seconds} seconds",
                account=account,
                count=WRONG_CODES,
                seconds=seconds,
            )

    def _remember(self, device: tuple[str, str], counted: int) -> None:
        """What the store does not know, as it cannot write."""
        self._uncounted[device] = max(counted, self._uncounted.pop(device, 0))
        if len(self._uncounted) > MAX_UNCOUNTED:
            self._uncounted.popitem(last=False)

    async def _use_step(self, account: str, step: int) -> None:
        """A right code stands behind the right password."""
        # Of many that are tried together, those that were wrong may be known by now.
        factor = await self._find(account)
        if factor is not None and self._is_full(factor):
            raise WrongPassword(account)
        await self._directory.use_step(account=account, step=step)

    def pretend(self, password: bytes | str) -> None:
        """Take as long as for a user who needs a code, so that the time does not tell who does."""
        typed = password.encode("utf-8", "surrogatepass") if isinstance(password, str) else password
        found = _ends_with_code(typed)
        if found is None:
            return
        try:
            load_pyotp()
        except MissingLibrary:
            # Then nobody's codes are judged.
            return
        self._find_steps(self._nobodys, found[2].decode("ascii"))

    def _find_steps(self, factor: SecondFactor, code: str) -> list[int]:
        """The steps in time whose code it is, of those that may be used."""
        try:
            totp = load_pyotp().TOTP(factor.secret, digits=DIGITS, interval=STEP)
            now = int(self._seconds()) // STEP
            # Always all of them: the time tells nothing.
            return [
                step
                for step in range(max(0, now - factor.window), now + factor.window + 1)
                if hmac.compare_digest(totp.generate_otp(step), code)
            ]
        except (MissingLibrary, ValueError) as error:
            # ValueError: the secret is no base32.
            self.log.error("a second factor cannot be judged: {error}", error=str(error))
            raise TemporaryFailure from error


async def use_nothing() -> None:
    """Nothing was asked for."""
