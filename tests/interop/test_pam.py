"""PAM with services of our own: files of users (pam_pwdfile), and others that refuse in their ways."""

from __future__ import annotations

import glob
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import TestCase

from mailkit.auth import pacing, pam_users
from mailkit.auth.bases import UserBaseChecker
from mailkit.auth.located import NotAsked
from mailkit.auth.pam_users import PAMUsers
from mailkit.errors import AccountDisabled, PasswordExpired, TemporaryFailure
from mailkit.testing import UserBaseContract
from tests.interop.test_user_bases import JOE, UserBaseServerCase

SERVICES = "/etc/pam.d"
ANN = "ann@example.org"


def missing() -> str | None:
    """Why PAM cannot be tried."""
    if not glob.glob("/lib/*/security/pam_pwdfile.so"):
        return "libpam-pwdfile is not installed"
    if not os.access(SERVICES, os.W_OK):
        return f"{SERVICES} cannot be written"
    try:
        import pam
        import passlib.hash
    except ImportError as error:
        return f"a library is missing: {error}"
    del pam, passlib
    return None


class Service:
    """A service of PAM's that is there for one test.

    :param lines: its file, with ``{users}`` for a file of users and their passwords.
    """

    def __init__(self, case: TestCase, lines: str, users: Mapping[str, str] | None = None) -> None:
        directory = tempfile.mkdtemp(prefix="mailkit-pam-")
        case.addCleanup(shutil.rmtree, directory, True)
        self.users = Path(directory, "users")
        self.content = "".join(f"{user}:{_hash(users[user])}\n" for user in users or ())
        self.users.write_text(self.content)
        handle, path = tempfile.mkstemp(prefix="mailkit-test-", dir=SERVICES)
        case.addCleanup(os.unlink, path)
        with os.fdopen(handle, "w") as file:
            file.write(lines.format(users=self.users))
        self.name = os.path.basename(path)


def _hash(password: str) -> str:
    from passlib.hash import sha512_crypt

    return str(sha512_crypt.using(rounds=1000).hash(password))


FILE = "auth required pam_pwdfile.so nodelay pwdfile={users}\naccount required pam_permit.so\n"


class PAMContractTests(UserBaseContract, TestCase):
    skip = missing()

    async def make_checker(self, users: Mapping[str, str]) -> UserBaseChecker:
        self.patch(pacing, "STEP", 0.01)
        self.patch(pacing, "LONGEST", 0.0)
        self.service = Service(self, FILE, users)
        return UserBaseChecker(pam_users.make(self.service.name))

    async def break_base(self) -> None:
        self.service.users.unlink()

    async def mend_base(self) -> None:
        self.service.users.write_text(self.service.content)


class PAMTests(TestCase):
    skip = missing()

    def make(
        self, lines: str, users: Mapping[str, str] | None = None, **settings: object
    ) -> PAMUsers:
        base = pam_users.make(Service(self, lines, users).name, **settings)
        self.addCleanup(base.close)
        return base

    async def test_users_of_the_domains_are_known_without_them(self) -> None:
        base = self.make(FILE, {"ann": "secret"}, domains=("example.org",))
        for login in ("ann", "Ann@example.org"):
            self.assertEqual(await base.verify_password(login=login, password=b"secret"), ANN)
        self.assertIsNone(await base.verify_password(login="ann@example.net", password=b"secret"))
        with self.assertRaises(NotAsked):
            await base.verify_password(login="a:nn", password=b"secret")

    async def test_all_are_let_in_or_none(self) -> None:
        permit = self.make("auth required pam_permit.so\naccount required pam_permit.so\n")
        self.assertEqual(await permit.verify_password(login=ANN, password=b"x"), ANN)
        deny = self.make("auth required pam_deny.so\naccount required pam_permit.so\n")
        self.assertIsNone(await deny.verify_password(login=ANN, password=b"x"))
        # The password is right, and still.
        closed = self.make("auth required pam_permit.so\naccount required pam_deny.so\n")
        self.assertIsNone(await closed.verify_password(login=ANN, password=b"x"))

    async def test_expired_passwords_and_accounts(self) -> None:
        for returned, error in (
            ("new_authtok_reqd", PasswordExpired),
            ("acct_expired", AccountDisabled),
        ):
            base = self.make(
                f"auth required pam_debug.so auth=success\naccount required pam_debug.so acct={returned}\n"
            )
            with self.assertRaises(error):
                await base.verify_password(login=ANN, password=b"x")

    async def test_trouble_is_logged_without_the_password(self) -> None:
        base = self.make("auth required pam_debug.so auth=authinfo_unavail\n")
        with capturedLogs() as logs, self.assertRaises(TemporaryFailure):
            await base.verify_password(login=ANN, password=b"s3cr3t!")
        self.assertIn("fails", formatEvent(logs[-1]))
        self.assertNotIn("s3cr3t!", " ".join(map(formatEvent, logs)))


class PAMServerTests(UserBaseServerCase):
    """``twistd`` with PAM, which knows no addresses: users get mail after their first login."""

    skip = missing()

    def test_a_service(self) -> None:
        service = Service(self, FILE, {"joe": "s3cr3t"})
        self.serve_base(f"example.test=pam:{service.name}")
        self.assertEqual(self.send_to(JOE), 550)
        self.assertEqual(self.log_in("joe", "s3cr3t"), "OK")
        self.check_joe("s3cr3t")
