"""``mailkit scram``, and ``--scram`` of commands that set passwords, over a store in SQLite."""

from __future__ import annotations

from tests.tap.test_command import ANN, CommandTestCase

BOB = "bob@example.org"


class ScramCommandTests(CommandTestCase):
    def status(self) -> list[str]:
        return self.succeed("scram", "status").splitlines()

    def passwd(self, *options: str, password: str = "secret") -> None:
        self.succeed(
            "account", "passwd", ANN, "--password-stdin", "--scheme", "plain", *options,
            input=password + "\n",
        )  # fmt: skip

    def test_no_keys_unless_asked_for(self) -> None:
        self.add()
        self.assertEqual(
            self.status(), ["keys are made for: nothing", "clients are offered: nothing"]
        )

    def test_on_and_off(self) -> None:
        self.add()
        self.add(BOB)
        self.assertEqual(
            self.succeed("scram", "on").splitlines(),
            [
                "keys are made for: SCRAM-SHA-256",
                "clients are offered: nothing",
                f"no keys for SCRAM-SHA-256: {ANN}",
                f"no keys for SCRAM-SHA-256: {BOB}",
            ],
        )
        self.passwd()
        self.succeed("account", "remove", BOB, "--yes")
        self.assertEqual(self.status()[1:], ["clients are offered: SCRAM-SHA-256"])
        self.add(BOB)
        self.assertEqual(self.status()[1:], ["clients are offered: SCRAM-SHA-256"])
        self.succeed("scram", "on", "--mechanism", "SCRAM-SHA-1", "--mechanism", "SCRAM-SHA-512")
        self.assertEqual(len(self.status()), 6)
        self.assertEqual(self.succeed("scram", "off").splitlines()[0], "keys are made for: nothing")

    def test_for_one_password(self) -> None:
        self.add()
        self.passwd("--scram")
        self.assertEqual(self.status()[1:], ["clients are offered: SCRAM-SHA-256"])
        self.passwd("--no-scram")
        self.assertEqual(self.status()[1:], ["clients are offered: nothing"])
        self.succeed("scram", "on")
        self.passwd("--no-scram")
        self.assertIn(f"no keys for SCRAM-SHA-256: {ANN}", self.status())

    def test_it_says_who_keeps_it_from_being_offered(self) -> None:
        self.add()
        self.add(BOB)
        self.succeed("scram", "on")
        self.passwd()
        no_keys = f"no keys for SCRAM-SHA-256: {BOB}"
        for begin, end, why in (
            (
                ("main-password", ANN, "--only-for", "web"),
                ("main-password", ANN, "--everywhere"),
                "a password that is not taken everywhere",
            ),
            (("totp", "enable", ANN), ("totp", "disable", ANN), "codes of a device"),
            (("app-password", "add", ANN), ("list",), "app passwords"),
        ):
            self.succeed("account", *begin)
            lines = self.status()[1:]
            self.assertEqual(lines[:2], ["clients are offered: nothing", no_keys])
            self.assertRegex(lines[2], f"^not offered to anybody: {ANN} (has|needs) {why}")
            self.assertEqual(len(lines), 3)
            self.succeed("account", *end)
