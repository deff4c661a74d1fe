"""Codes of a device as a second factor (TOTP, RFC 6238), for protocols that have but one field.

The code stands right behind the password: ``secret123456``. pyotp does the arithmetic.
"""

from __future__ import annotations

import base64
import hmac
import os
import re
import time
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from twisted.logger import Logger

from mailkit.auth.secret_texts import ALPHABET, grouped, is_kept, keep, new_text
from mailkit.errors import TemporaryFailure
from mailkit.interfaces import ISecondFactorDirectory
from mailkit.model import SecondFactor

#: Seconds of a step in time, and digits of a code: what all devices know (RFC 6238 section 4.1).
STEP = 30
DIGITS = 6
#: Codes before and after the one of now that may be taken (RFC 6238 section 5.2).
MAX_WINDOW = 10
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


class SplitPassword(NamedTuple):
    """What a user has typed who needs a second factor."""

    password: bytes | str
    #: Let the code be used no more; ``AuthenticationFailed`` where somebody was faster.
    use: Callable[[], Awaitable[None]]


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
        self._nobodys = SecondFactor(base64.b32encode(os.urandom(20)).decode("ascii"))

    async def split(self, account: str, password: bytes | str) -> SplitPassword | None:
        """The password without the code that is right; None where there is no right code.

        A password is not looked at before the code is right, so that nobody learns anything about it
        without the device. Whoever has found the password right calls ``use``.

        :raises NoSuchAccount: there is none.
        :raises TemporaryFailure: the code cannot be judged.
        """
        typed = password.encode("utf-8", "surrogatepass") if isinstance(password, str) else password
        directory = self._directory
        factor = await directory.get_second_factor(account=account)
        if factor is None:
            self.pretend(typed)
            return SplitPassword(typed, use_nothing)
        if (found := _ends_with_code(typed)) is not None:
            step = self._find_step(factor, found[2].decode("ascii"))
            if step is None:
                return None
            return SplitPassword(found[1], lambda: directory.use_step(account=account, step=step))
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
        self._find_step(self._nobodys, found[2].decode("ascii"))

    def _find_step(self, factor: SecondFactor, code: str) -> int | None:
        """The step in time of a code that may be used."""
        try:
            totp = load_pyotp().TOTP(factor.secret, digits=DIGITS, interval=STEP)
            now = int(self._seconds()) // STEP
            # Always all of them: the time tells nothing.
            matching = [
                step
                for step in range(max(0, now - factor.window), now + factor.window + 1)
                if hmac.compare_digest(totp.generate_otp(step), code)
            ]
        except (MissingLibrary, ValueError) as error:
            # ValueError: the secret is no base32.
            self.log.error("a second factor cannot be judged: {error}", error=str(error))
            raise TemporaryFailure from error
        # RFC 6238 section 5.2: a code is taken once.
        return next((step for step in matching if step > factor.last_step), None)


async def use_nothing() -> None:
    """Nothing was asked for."""
