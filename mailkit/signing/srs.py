"""The Sender Rewriting Scheme: reverse-paths of mail that is sent on (libsrs2's forms).

A server that gets mail from us compares our address with what the domain of the reverse-path
publishes (SPF, RFC 7208), and finds that we may not send for it. So a reverse-path elsewhere is
wrapped into one of ours. Reports about the message come back here, and go to the one inside. A keyed
hash keeps strangers from writing such addresses themselves, which would make an open relay. No I/O.

There is no RFC; the forms are those of Shevek's paper of 2004, as libsrs2 and postsrsd have them:
``SRS0=HASH=DAY=domain=user`` and, around one of those, ``SRS1=HASH=host==HASH=DAY=domain=user``.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from collections.abc import Callable, Sequence

from mailkit.errors import NoSuchRecipient
from mailkit.model import Path
from mailkit.wire.domains import canonical_domain

#: Characters of the hash; four are what others have.
HASH_LENGTH = 4
#: Days for which reports may come back.
MAX_DAYS = 21
#: Octets of a path that others take (RFC 5321 section 4.5.3.1.3), without the angle brackets.
MAX_PATH = 254

_DAYS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
_DAY = 86_400
#: After so many days the two letters of a day come again.
_CYCLE = len(_DAYS) ** 2

_WRAPPED = re.compile(r"SRS[01][-+=]", re.IGNORECASE)
_SRS0 = re.compile(r"SRS0[-+=]([^=]+)=([A-Z2-7]{2})=([^=]+)=(.+)", re.IGNORECASE | re.DOTALL)
_SRS1 = re.compile(r"SRS1[-+=]([^=]+)=([^=]+)=([-+=].+)", re.IGNORECASE | re.DOTALL)


class SRS:
    """Wraps reverse-paths, and takes them out again.

    :param domain: of the addresses that are made; mail for it must come here.
    :param secrets: the first one makes hashes; the others are good for hashes made before.
    :param seconds: tells the time since the epoch.
    :param hash_length: characters.
    :param max_days: for which an address is good.
    """

    def __init__(
        self,
        domain: str,
        secrets: Sequence[bytes],
        seconds: Callable[[], float],
        *,
        hash_length: int = HASH_LENGTH,
        max_days: int = MAX_DAYS,
    ) -> None:
        if not secrets or not all(secrets):
            raise ValueError("SRS needs a secret")
        if not 4 <= hash_length <= 27:
            raise ValueError("the hash has 4 to 27 characters")
        if not 1 <= max_days < _CYCLE // 2:
            raise ValueError(f"addresses are good for 1 to {_CYCLE // 2 - 1} days")
        self.domain = canonical_domain(domain)
        self._secrets = tuple(secrets)
        self._seconds = seconds
        self._hash_length = hash_length
        self._max_days = max_days

    def wrap(self, path: Path) -> Path:
        """The address under which a message from ``path`` is sent on.

        It is ``path`` itself where the new one would be longer than others take.
        """
        local, domain = path
        if not domain.isascii():
            # In a local part it would need SMTPUTF8, which a domain does not.
            domain = canonical_domain(domain)
        again = _SRS1.fullmatch(local)
        first = _SRS0.fullmatch(local)
        if again is not None:
            # Only the last server and the first one need to be known.
            new = self._second(again[2], again[3])
        elif first is not None:
            new = self._second(domain, local[4:])
        else:
            day = self._today()
            stamp = _DAYS[day >> 5] + _DAYS[day & 31]
            new = f"SRS0={self._hash(self._secrets[0], stamp, domain, local)}={stamp}={domain}={local}"
        wrapped = Path(new, self.domain)
        return wrapped if len(str(wrapped).encode()) <= MAX_PATH else path

    def _second(self, host: str, rest: str) -> str:
        return f"SRS1={self._hash(self._secrets[0], host, rest)}={host}={rest}"

    def is_wrapped(self, path: Path) -> bool:
        """Whether an address looks as if it was made here."""
        return (
            _WRAPPED.match(path.local_part) is not None
            and canonical_domain(path.domain) == self.domain
        )

    def unwrap(self, path: Path) -> Path:
        """The address inside.

        :raises NoSuchRecipient: it was not made here, or too long ago.
        """
        local = path.local_part
        if found := _SRS1.fullmatch(local):
            self._check(found[1], found[2], found[3])
            return Path("SRS0" + found[3], found[2])
        if found := _SRS0.fullmatch(local):
            stamp = found[2].upper()
            self._check(found[1], stamp, found[3], found[4])
            day = _DAYS.index(stamp[0]) * 32 + _DAYS.index(stamp[1])
            if (self._today() - day) % _CYCLE > self._max_days:
                raise NoSuchRecipient("This address was for reports, and is too old now")
            return Path(found[4], found[3])
        raise NoSuchRecipient("This is no address that was made here")

    def _check(self, given: str, *parts: str) -> None:
        """
        :raises NoSuchRecipient: the hash is wrong.
        """
        for secret in self._secrets:
            wanted = self._hash(secret, *parts)
            # lenient: servers on the way may have changed the case.
            if hmac.compare_digest(wanted.lower().encode(), given.lower().encode()):
                return
        raise NoSuchRecipient("This is no address that was made here")

    def _hash(self, secret: bytes, *parts: str) -> str:
        text = "".join(parts).lower().encode()
        # SHA-1, as the others have it: a keyed hash needs no more of it than it has.
        digest = hmac.new(secret, text, hashlib.sha1).digest()
        return base64.b64encode(digest).decode("ascii")[: self._hash_length]

    def _today(self) -> int:
        return int(self._seconds()) // _DAY % _CYCLE
