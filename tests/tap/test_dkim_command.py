"""``mailkit dkim``: keys by hand."""

from __future__ import annotations

import os
import re
import time

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from mailkit.signing.keys import KeyDirectory
from mailkit.tap.command import main


class DKIMCommandTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.directory = os.path.abspath(self.mktemp())
        self.runner = CliRunner()
        result = self.runner.invoke(
            main, ["--store", f"sqlite:{self.directory}", "domain", "add", "example.org"]
        )
        self.assertEqual(result.exit_code, 0, result.output)
        self.month = time.strftime("%Y%m")

    def run_command(self, *arguments: str, input: str | None = None) -> Result:
        return self.runner.invoke(
            main, ["--store", f"sqlite:{self.directory}", "dkim", *arguments], input=input
        )

    def output(self, *arguments: str, input: str | None = None) -> str:
        result = self.run_command(*arguments, input=input)
        self.assertEqual(result.exit_code, 0, result.output)
        return result.output

    def states(self) -> list[str]:
        return [line.rpartition(" ")[0] for line in self.output("list").splitlines()]

    def test_generate_shows_the_record(self) -> None:
        text = self.output("generate", "example.org", "--bits", "1024")
        self.assertTrue(text.startswith(f"rsa{self.month}._domainkey.example.org. IN TXT ("), text)
        self.assertEqual(self.output("show", "Example.ORG"), text)
        self.assertEqual(self.states(), [f"example.org rsa{self.month} rsa active"])
        self.assertNotIn("PRIVATE", text)
        self.assertEqual(os.listdir(os.path.join(self.directory, "dkim")).count("keys.json"), 1)

    def test_names_of_choice(self) -> None:
        self.output("generate", "example.org", "--algorithm", "ed25519", "--selector", "ed")
        self.assertEqual(self.states(), ["example.org ed ed25519 active"])
        self.assertIn("k=ed25519", self.output("show", "example.org", "--selector", "ed"))
        result = self.run_command("show", "example.org", "--selector", "other")
        self.assertEqual(result.exit_code, 1)
        result = self.run_command("generate", "example.org", "--selector", "ed")
        self.assertIn("has a key with the selector ed", result.output)

    def test_rotation(self) -> None:
        for algorithm in "rsa", "ed25519":
            self.output("generate", "example.org", "--algorithm", algorithm, "--bits", "1024")
        text = self.output("rotate", "example.org", "--bits", "1024")
        self.assertEqual(len(re.findall(r"-2\._domainkey\.example\.org\. IN TXT", text)), 2)
        self.assertEqual(len([state for state in self.states() if state.endswith("active")]), 4)
        orders = re.findall(r"mailkit dkim (retire .*)", text)
        self.assertEqual(len(orders), 2)
        for order in orders:
            self.output(*order.split())
        active = [state.split()[1] for state in self.states() if state.endswith("active")]
        self.assertEqual(active, [f"rsa{self.month}-2", f"ed25519{self.month}-2"])
        # Still to be published.
        self.assertEqual(len(self.output("show", "example.org").splitlines()), 4)
        self.output("remove", "example.org", f"rsa{self.month}", input="y\n")
        self.output("remove", "example.org", f"ed25519{self.month}", "--yes")
        self.assertEqual(len(self.states()), 2)

    def test_what_is_not_there(self) -> None:
        for arguments in (
            ("rotate", "example.org"),
            ("retire", "example.org", "x"),
            ("remove", "example.org", "x", "--yes"),
            ("show", "example.org"),
            ("generate", "../x"),
            ("generate", "example.org", "--selector", "a/b"),
            ("generate", "example.org", "--bits", "12"),
        ):
            result = self.run_command(*arguments)
            self.assertEqual(result.exit_code, 1, arguments)
            self.assertTrue(result.output.startswith("Error: "), result.output)

    def test_remove_asks(self) -> None:
        self.output("generate", "example.org", "--selector", "s", "--bits", "1024")
        self.assertEqual(self.run_command("remove", "example.org", "s", input="n\n").exit_code, 1)
        self.assertEqual(len(self.states()), 1)

    def test_damage_is_told_without_a_traceback(self) -> None:
        self.output("generate", "example.org", "--selector", "s", "--bits", "1024")
        directory = KeyDirectory(os.path.join(self.directory, "dkim"))
        os.unlink(os.path.join(directory.path, "example.org.s.pem"))
        result = self.run_command("show", "example.org")
        self.assertEqual(result.exit_code, 1)
        self.assertIn("cannot read", result.output)
