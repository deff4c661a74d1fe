"""Keys that sign mail: made, kept in files, and published in DNS (RFC 6376 section 3.6.1, RFC 8463).

No key is ever printed. A directory of keys has the mode 0700 and each key the mode 0600; the index
beside them, ``keys.json``, says which of them sign. All belong to whom the directory above belongs: root
makes keys that the server can read, which has another user, and with no more rights than that one has.
"""

from __future__ import annotations

import base64
import enum
import fcntl
import json
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed

from mailkit.ownership import acting_as_owner
from mailkit.wire.domains import canonical_domain

#: Bits of an RSA key: what RFC 8301 section 3.2 allows for signing, and what fits into answers of
#: name servers.
MIN_BITS = 1024
MAX_BITS = 4096
DEFAULT_BITS = 2048
#: Octets of a file with a key, and of the index.
MAX_KEY_FILE = 64 * 1024
MAX_INDEX = 4 * 1024 * 1024
#: Octets of one string of a TXT record (RFC 1035 section 3.3).
MAX_STRING = 255

_LABEL = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?")


class SigningKeyError(Exception):
    """A key or the directory of keys cannot be used; the text says why."""


class Algorithm(enum.Enum):
    """Of a signature; the values are those of the tag ``k=`` (RFC 6376 section 3.6.1)."""

    RSA = "rsa"
    ED25519 = "ed25519"

    @property
    def signature(self) -> bytes:
        """The value of the tag ``a=``."""
        return self.value.encode("ascii") + b"-sha256"


class KeyState(enum.Enum):
    """What is done with a key."""

    #: It signs.
    ACTIVE = "active"
    #: It signs no more, and stays in DNS for the mail that is still on its way.
    RETIRED = "retired"


@dataclass(frozen=True)
class SigningKey:
    """A private key under the name by which others find its public half."""

    #: With A-labels.
    domain: str
    selector: str
    private: RSAPrivateKey | Ed25519PrivateKey

    @property
    def algorithm(self) -> Algorithm:
        """What kind of key it is."""
        return Algorithm.RSA if isinstance(self.private, RSAPrivateKey) else Algorithm.ED25519

    @property
    def name(self) -> str:
        """Where the public half stands in DNS (RFC 6376 section 3.6.2.1)."""
        return f"{self.selector}._domainkey.{self.domain}"

    @property
    def record(self) -> str:
        """The text of the TXT record there."""
        encoding, format = serialization.Encoding.DER, serialization.PublicFormat
        public = self.private.public_key()
        if isinstance(self.private, RSAPrivateKey):
            octets = public.public_bytes(encoding, format.SubjectPublicKeyInfo)
        else:
            # RFC 8463 section 4: the 32 octets alone.
            octets = public.public_bytes(serialization.Encoding.Raw, format.Raw)
        data = base64.b64encode(octets).decode("ascii")
        return f"v=DKIM1; k={self.algorithm.value}; p={data}"

    def sign_digest(self, digest: bytes) -> bytes:
        """The signature of a SHA-256 digest (RFC 8301 section 3.1, RFC 8463 section 3)."""
        if isinstance(self.private, RSAPrivateKey):
            return self.private.sign(digest, padding.PKCS1v15(), Prehashed(hashes.SHA256()))
        return self.private.sign(digest)


def zone_line(key: SigningKey) -> str:
    """The record of a key as a zone file has it, in strings of at most 255 octets."""
    text = key.record
    strings = " ".join(f'"{text[at : at + MAX_STRING]}"' for at in range(0, len(text), MAX_STRING))
    return f"{key.name}. IN TXT ( {strings} )"


def make_key(
    domain: str, selector: str, algorithm: Algorithm = Algorithm.RSA, bits: int = DEFAULT_BITS
) -> SigningKey:
    """A new key.

    :param bits: of an RSA key.
    :raises SigningKeyError: domain or selector is none, or the key would be too short or too long.
    """
    domain = canonical_domain(domain)
    for text, kind in (domain, "domain"), (selector, "selector"):
        # They become names of files, too.
        if not all(_LABEL.fullmatch(label) for label in text.split(".")):
            raise SigningKeyError(f"{text!r} is no {kind}")
    private: RSAPrivateKey | Ed25519PrivateKey
    if algorithm is Algorithm.ED25519:
        private = Ed25519PrivateKey.generate()
    elif not MIN_BITS <= bits <= MAX_BITS:
        raise SigningKeyError(f"an RSA key has {MIN_BITS} to {MAX_BITS} bits")
    else:
        private = generate_private_key(65537, bits)
    return SigningKey(domain, selector, private)


def read_key(domain: str, selector: str, path: str) -> SigningKey:
    """The key in a PEM file.

    :raises SigningKeyError: it cannot be read, or cannot sign mail.
    """
    try:
        with open(path, "rb") as file:
            octets = file.read(MAX_KEY_FILE)
        private = serialization.load_pem_private_key(octets, None)
    except OSError as error:
        raise SigningKeyError(f"cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise SigningKeyError(f"{path} is no private key in PEM without a password") from error
    if not isinstance(private, (RSAPrivateKey, Ed25519PrivateKey)):
        raise SigningKeyError(f"{path}: only RSA and Ed25519 keys sign mail")
    if isinstance(private, RSAPrivateKey) and private.key_size < MIN_BITS:
        raise SigningKeyError(f"{path}: an RSA key has at least {MIN_BITS} bits")
    return SigningKey(canonical_domain(domain), selector, private)


class KeyEntry(NamedTuple):
    """A key in a directory."""

    domain: str
    selector: str
    algorithm: Algorithm
    state: KeyState
    #: Seconds since the epoch.
    created: int


class KeyDirectory:
    """Keys in a directory, which commands may change while a server runs.

    :param path: made when the first key is.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._index = os.path.join(path, "keys.json")

    def version(self) -> object:
        """Something that is another one after each change."""
        try:
            found = os.stat(self._index)
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_ino, found.st_size

    def list_keys(self) -> Sequence[KeyEntry]:
        """All keys, by domain and age; those of one second as they were added.

        :raises SigningKeyError: the index is damaged, or not ours to read.
        """
        try:
            with open(self._index, encoding="utf-8") as file:
                found = json.loads(file.read(MAX_INDEX))["keys"]
            entries = [
                KeyEntry(
                    str(each["domain"]),
                    str(each["selector"]),
                    Algorithm(each["algorithm"]),
                    KeyState(each["state"]),
                    int(each["created"]),
                )
                for each in found
            ]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise SigningKeyError(f"cannot read {self._index}: {error.strerror}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise SigningKeyError(f"{self._index} is damaged: {error}") from error
        return sorted(entries, key=lambda each: (each.domain, each.created))

    def open_key(self, entry: KeyEntry) -> SigningKey:
        """The key itself.

        :raises SigningKeyError: it cannot be read.
        """
        return read_key(entry.domain, entry.selector, self._file(entry))

    def add(self, keys: Sequence[SigningKey], created: int) -> None:
        """Keep new keys, which sign from now on.

        :raises SigningKeyError: one of their names is taken, or the disk refuses.
        """
        with self._change() as entries:
            # Dots are in both halves of a file's name, and DNS makes no difference between cases.
            taken = {self._file(each).lower() for each in entries}
            for key in keys:
                entry = KeyEntry(
                    key.domain, key.selector, key.algorithm, KeyState.ACTIVE, int(created)
                )
                if self._file(entry).lower() in taken:
                    raise SigningKeyError(
                        f"{key.domain} has a key with the selector {key.selector}, or another key has"
                        " the same name"
                    )
                taken.add(self._file(entry).lower())
                pem = key.private.private_bytes(
                    serialization.Encoding.PEM,
                    serialization.PrivateFormat.PKCS8,
                    serialization.NoEncryption(),
                )
                _write(self._file(entry), pem)
                entries.append(entry)

    def retire(self, domain: str, selector: str) -> None:
        """Sign no more with a key.

        :raises SigningKeyError: there is none of that name.
        """
        with self._change() as entries:
            at = _find(entries, domain, selector)
            entries[at] = entries[at]._replace(state=KeyState.RETIRED)

    def remove(self, domain: str, selector: str) -> None:
        """Forget a key for good.

        :raises SigningKeyError: there is none of that name.
        """
        with self._change() as entries:
            gone = entries.pop(_find(entries, domain, selector))
        # After the index: what it names is there.
        with acting_as_owner(self.path):
            os.unlink(self._file(gone))

    def _file(self, entry: KeyEntry) -> str:
        return os.path.join(self.path, f"{entry.domain}.{entry.selector}.pem")

    @contextmanager
    def _change(self) -> Iterator[list[KeyEntry]]:
        """Change the list of keys; only one process at a time does."""
        try:
            above = os.path.dirname(os.path.abspath(self.path))
            os.makedirs(above, exist_ok=True)
            with ExitStack() as stack:
                stack.enter_context(acting_as_owner(above))
                os.makedirs(self.path, mode=0o700, exist_ok=True)
                lock = stack.enter_context(
                    open(os.path.join(self.path, "lock"), "w", opener=_private)
                )
                fcntl.flock(lock, fcntl.LOCK_EX)
                entries = list(self.list_keys())
                yield entries
                text = json.dumps({"keys": [_dump(each) for each in entries]}, indent=1)
                _write(self._index, text.encode("utf-8"))
        except OSError as error:
            raise SigningKeyError(f"cannot change the keys in {self.path}: {error}") from error


def _find(entries: Sequence[KeyEntry], domain: str, selector: str) -> int:
    wanted = canonical_domain(domain), selector
    for at, entry in enumerate(entries):
        if entry[:2] == wanted:
            return at
    raise SigningKeyError(f"{domain} has no key with the selector {selector}")


def _dump(entry: KeyEntry) -> dict[str, Any]:
    fields = entry._asdict()
    return fields | {"algorithm": entry.algorithm.value, "state": entry.state.value}


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _write(path: str, octets: bytes) -> None:
    """Replace a file as a whole, durably."""
    temporary = f"{path}.new"
    with open(temporary, "wb", opener=_private) as file:
        file.write(octets)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    folder = os.open(os.path.dirname(path), os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@dataclass(frozen=True)
class _Loaded:
    version: object = None
    keys: tuple[SigningKey, ...] = ()


class KeyRing:
    """The keys that sign, by domain.

    :param directory: read again after each change.
    :param named: keys from elsewhere; they come first.
    :param complain: is told why the directory cannot be read again; what was read before stays.
    """

    def __init__(
        self,
        directory: KeyDirectory | None = None,
        named: Sequence[SigningKey] = (),
        complain: Callable[[str], None] = lambda text: None,
    ) -> None:
        self._directory = directory
        self._named = tuple(named)
        self._complain = complain
        # Replaced as a whole: several threads look.
        self._loaded = _Loaded()

    def load(self) -> Sequence[SigningKey]:
        """All keys that sign.

        :raises SigningKeyError: one of them cannot be read.
        """
        directory = self._directory
        if directory is not None:
            version = directory.version()
            if version != self._loaded.version:
                # Also after a failure: once is enough to be told.
                self._loaded = replace(self._loaded, version=version)
                active = [e for e in directory.list_keys() if e.state is KeyState.ACTIVE]
                keys = tuple(directory.open_key(entry) for entry in active)
                self._loaded = _Loaded(version, keys)
        return self._named + self._loaded.keys

    def _look(self) -> Sequence[SigningKey]:
        try:
            return self.load()
        except SigningKeyError as error:
            self._complain(str(error))
            return self._named + self._loaded.keys

    @property
    def may_have_keys(self) -> bool:
        """Whether :meth:`find` may find one: no key is read for this, as a thread should do it."""
        directory, loaded = self._directory, self._loaded
        if self._named or loaded.keys:
            return True
        return directory is not None and directory.version() != loaded.version

    def find(self, domain: str) -> Sequence[SigningKey]:
        """The keys of a domain, or else of the closest domain above it that has some.

        Named ones first, then the oldest.
        """
        keys = self._look()
        name = canonical_domain(domain)
        while name:
            found = [key for key in keys if key.domain == name]
            if found:
                return found
            name = name.partition(".")[2]
        return []

    def find_signers(self, domain: str, most: int) -> Sequence[SigningKey]:
        """Those of the keys of :meth:`find` that sign a message, at most so many: the newest.

        The newest key of each algorithm goes before the second of any, and named keys count as newest.
        """
        found = self.find(domain)
        newest = [key for key in found if key in self._named]
        newest += [key for key in reversed(found) if key not in self._named]
        seen: Counter[Algorithm] = Counter()
        ranked: list[tuple[int, SigningKey]] = []
        for key in newest:
            ranked.append((seen[key.algorithm], key))
            seen[key.algorithm] += 1
        ranked.sort(key=lambda each: each[0])
        chosen = [key for _, key in ranked[:most]]
        return [key for key in found if key in chosen]
