"""PAM: settings. Whom it lets in is in tests/interop/test_pam.py."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest import mock

from twisted.trial.unittest import SynchronousTestCase

from mailkit.auth import pam_users


class SettingTests(SynchronousTestCase):
    def setUp(self) -> None:
        try:
            import pam

            pam.PamAuthenticator()
        except (ImportError, OSError, AttributeError) as error:
            self.skipTest(f"PAM cannot be used: {error}")
        self.services = Path(self.mktemp()).resolve()
        self.services.mkdir(parents=True)
        (self.services / "mailkit").write_text("auth required pam_permit.so\n")
        self.patch(pam_users, "DIRECTORIES", (str(self.services), "/nonexistent"))

    def test_what_is_wrong(self) -> None:
        for service, settings, part in (
            ("nosuch", {}, "there is no"),
            ("", {}, "no name"),
            ("../mailkit", {}, "no name"),
            ("mailkit", {"threads": 0}, "threads"),
        ):
            error = self.assertRaises(ValueError, pam_users.make, service, **settings)
            self.assertIn(part, str(error))
        pam_users.make("mailkit")

    def test_a_library_that_is_missing_names_its_extra(self) -> None:
        with mock.patch.dict(sys.modules, {"pam": None}):
            error = self.assertRaises(ImportError, pam_users.make, "mailkit")
        self.assertIn("twisted-mailkit[pam]", str(error))
