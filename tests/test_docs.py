"""The documentation speaks of what is there: modules, tests, options, limits, examples."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
from twisted.trial.unittest import SynchronousTestCase

from mailkit.imap.handlers.registry import CAPABILITIES
from mailkit.tap.checks import CHECKS, Checks
from mailkit.tap.command import main as command_line

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"
EXAMPLES = ROOT / "examples"
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

UNITS = {"": 1, "s": 1, "octets": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def resolve(name: str) -> Any:
    """The object of a dotted name; raises LookupError when there is none."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:count]))
        except ModuleNotFoundError:
            continue
        for part in parts[count:]:
            if not hasattr(found, part):
                raise LookupError(name)
            found = getattr(found, part)
        return found
    raise LookupError(name)


def table_rows(page: Path) -> Iterator[list[str]]:
    """Cells of the rows of all tables, without their heads."""
    head = True
    for line in page.read_text(encoding="utf-8").splitlines():
        if not line.startswith("|"):
            head = True
        elif set(line) <= set("|-: "):
            head = False
        elif not head:
            yield [cell.strip() for cell in line.strip("|").split("|")]


def fenced_blocks(page: Path, language: str) -> list[tuple[str, str]]:
    """What stands before each block of that language, and the block."""
    text = page.read_text(encoding="utf-8")
    found = re.finditer(rf"^```{language}\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [(text[: block.start()], block[1]) for block in found]


class NameTests(SynchronousTestCase):
    def test_names_in_the_pages_exist(self) -> None:
        for page in PAGES:
            for name in set(re.findall(r"`~?(mailkit(?:\.\w+)+)", page.read_text("utf-8"))):
                try:
                    resolve(name)
                except LookupError:
                    self.fail(f"{page.name}: there is no {name}")

    def test_names_of_others_in_the_pages_exist(self) -> None:
        # What people come from; pymap is not among what tests need.
        text = (ROOT / "docs" / "migrating.md").read_text("utf-8")
        names = set(re.findall(r"`((?:twisted\.mail|aiosmtpd)\.[\w.]+)`", text))
        self.assertGreater(len(names), 30)
        for name in names:
            try:
                resolve(name)
            except LookupError:
                self.fail(f"there is no {name}")

    def test_paths_in_the_pages_exist(self) -> None:
        pattern = r"`((?:examples|tests|docs|benchmarks|mailkit)/[\w./]+\w)`"
        for page in PAGES:
            for path in re.findall(pattern, page.read_text("utf-8")):
                self.assertTrue((ROOT / path).exists(), f"{page.name}: {path}")


def classes_of(source: str) -> set[str]:
    """Those at the top level of a module."""
    return {node.name for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}


class PageTests(SynchronousTestCase):
    def test_no_page_has_marks_of_a_merge(self) -> None:
        for page in [*PAGES, ROOT / "NEWS.md", *(ROOT / "newsfragments").glob("*.rst")]:
            found = re.search(r"^(<{7}|>{7})( .*)?$", page.read_text("utf-8"), re.MULTILINE)
            self.assertIsNone(found, page.name)

    def test_links_to_files_and_pages_lead_somewhere(self) -> None:
        for page in PAGES:
            text = page.read_text("utf-8")
            for target in re.findall(r"\]\((?!https?:|mailto:)([^)#\s]+)[^)]*\)", text):
                self.assertTrue((page.parent / target).exists(), f"{page.name}: {target}")
            for target in re.findall(r"\{doc\}`(?:[^`<]*<)?/?([\w./-]+)>?`", text):
                beside, from_top = page.parent / target, ROOT / "docs" / target
                pages = [path.with_name(f"{path.name}.md") for path in (beside, from_top)]
                self.assertTrue(any(path.exists() for path in pages), f"{page.name}: {target}")


class StandardsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.rows = list(table_rows(ROOT / "docs" / "standards.md"))
        self.assertGreater(len(self.rows), 80)

    def test_every_row_has_a_module_and_a_test(self) -> None:
        for row in self.rows:
            self.assertEqual(len(row), 4, row)
            self.assertIn("`", row[2], row)
            self.assertIn("`", row[3], row)

    def test_modules_exist(self) -> None:
        for row in self.rows:
            for name in re.findall("`([^`]+)`", row[2]):
                self.assertTrue(inspect.ismodule(resolve(f"mailkit.{name}")), name)

    def test_tests_exist(self) -> None:
        classes: dict[str, set[str]] = {}
        for row in self.rows:
            for name in re.findall("`([^`]+)`", row[3]):
                path, _, case = name.partition("::")
                self.assertTrue((TESTS / path).is_file(), name)
                if case:
                    # Many rows name the same files.
                    if path not in classes:
                        classes[path] = classes_of((TESTS / path).read_text("utf-8"))
                    self.assertIn(case, classes[path], name)


class CapabilityTests(SynchronousTestCase):
    def test_docs_imap_md_has_a_row_for_each_capability(self) -> None:
        words = {
            word
            for row in table_rows(ROOT / "docs" / "imap.md")
            for word in re.split(r"[, ]+", row[0])
        }
        names = {capability.name.decode("ascii") for capability in CAPABILITIES}
        self.assertEqual(names - words, set())


class LimitTests(SynchronousTestCase):
    """docs/security.md names each limit with its default."""

    def value(self, place: str) -> Any:
        """``dotted.name`` of a constant, or ``dotted.name(parameter)`` of a default."""
        name, _, parameter = place.rstrip(")").partition("(")
        found = resolve(f"mailkit.{name}")
        return inspect.signature(found).parameters[parameter].default if parameter else found

    def test_defaults(self) -> None:
        rows = [row for row in table_rows(ROOT / "docs" / "security.md") if len(row) == 3]
        self.assertGreater(len(rows), 30)
        for what, default, places in rows:
            found = re.match(r"([\d,]+) ?(\w*)", default)
            assert found is not None, what
            number, unit = int(found[1].replace(",", "")), found[2]
            for place in re.findall("`([^`]+)`", places):
                self.assertEqual(self.value(place), number * UNITS[unit], f"{what}: {place}")


class CheckTests(SynchronousTestCase):
    """docs/checks.md names each setting of each check with its default."""

    #: Not settings: what a check works with, and what all of them share.
    OTHERS = frozenset({"resolver", "values", "verifier", "clock", "exempt", "spare_postmaster"})

    def test_the_settings_file_of_the_page(self) -> None:
        for _, block in fenced_blocks(ROOT / "docs" / "checks.md", "toml"):
            checks = Checks(tomllib.loads(block)["checks"])
            self.assertEqual(len(checks.names), 7)

    def test_settings(self) -> None:
        sections = (ROOT / "docs" / "checks.md").read_text("utf-8").split("\n## ")[1:]
        seen = set()
        for section in sections:
            (name,) = re.findall(r"^\{py:class\}`(mailkit\.checks[\w.]+)`", section, re.MULTILINE)
            parameters = inspect.signature(resolve(name)).parameters
            wanted = {
                key: str(parameter.default)
                for key, parameter in parameters.items()
                if key not in self.OTHERS
            }
            rows = re.findall(r"^\| `(\w+)` \| [^|]+ \| (?:([^|]+) )?\| ", section, re.MULTILINE)
            self.assertEqual(dict(rows), wanted, name)
            seen.add(name.rpartition(".")[0])
            self.assertIn(name, {place for place, _ in CHECKS.values()})
        modules = {f"mailkit.checks.{path.stem}" for path in (ROOT / "mailkit/checks").iterdir()}
        parts = {"__init__", "__pycache__", "base", "networks", "windows"}
        self.assertEqual(modules - {f"mailkit.checks.{part}" for part in parts}, seen)


class OptionTests(SynchronousTestCase):
    """Command lines in the pages use options that exist."""

    def options_of(self, command: str) -> set[str]:
        names = {"mailkit": "mail", "mailkit-relay": "relaying"}
        module = names.get(command, command.removeprefix("mailkit-"))
        options = resolve(f"mailkit.tap.{module}").Options()
        return {"--" + name.rstrip("=") for name in options.longOpt}

    def check(self, line: str) -> bool:
        """Check a line if it starts a server; whether it does."""
        words = shlex.split(line, comments=True)
        starts = [at for at, word in enumerate(words) if word.endswith("twistd")]
        for at, word in enumerate(words):
            if starts and at > starts[0] and re.fullmatch(r"mailkit(-[a-z0-9]+)?", word):
                used = {w.partition("=")[0] for w in words[at:] if w.startswith("--")}
                self.assertEqual(used - self.options_of(word), set(), line)
                return True
        return False

    def test_twistd(self) -> None:
        blocks = [block for page in PAGES for _, block in fenced_blocks(page, "sh")]
        lines = "".join(blocks).replace("\\\n", " ").splitlines()
        self.assertGreater(sum(map(self.check, lines)), 4)

    def test_systemd(self) -> None:
        unit = (EXAMPLES / "mailkit.service").read_text("utf-8")
        (command,) = re.findall("^ExecStart=(.+)$", unit, re.MULTILINE)
        self.assertTrue(self.check(command))

    def test_administration(self) -> None:
        blocks = [block for page in PAGES for _, block in fenced_blocks(page, "sh")]
        seen = 0
        for line in "".join(blocks).replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if "mailkit" not in words or {"cd", "git", "twistd", "systemctl"} & set(words):
                continue
            words = words[words.index("mailkit") + 1 :]
            command: Any = command_line
            options = {name for option in command.params for name in option.opts}
            for word in words:
                if word.startswith("--"):
                    self.assertIn(word, options, line)
                elif isinstance(command, click.Group) and ":" not in word:
                    self.assertIn(word, command.commands, line)
                    command = command.commands[word]
                    options |= {name for option in command.params for name in option.opts}
            self.assertFalse(isinstance(command, click.Group), line)
            seen += 1
        self.assertGreater(seen, 10)


class ExampleTests(SynchronousTestCase):
    """Pages show the examples as they are."""

    def test_included_files_exist(self) -> None:
        for page in PAGES:
            text = page.read_text(encoding="utf-8")
            for path in re.findall(r"\{(?:literal)?include\} (\S+)", text):
                self.assertTrue((page.parent / path).is_file(), f"{page.name}: {path}")

    def test_copies_are_exact(self) -> None:
        copies = 0
        for page in PAGES:
            for before, block in fenced_blocks(page, "python"):
                named = re.findall(r"examples/(\w+\.py)", before[before.rfind("\n```") + 1 :])
                if named:
                    text = (EXAMPLES / named[-1]).read_text("utf-8")
                    self.assertTrue(text.endswith(block), f"{page.name}: {named[-1]}")
                    copies += 1
        self.assertGreater(copies, 0)

    def test_every_example_is_shown(self) -> None:
        shown = "".join(page.read_text(encoding="utf-8") for page in PAGES)
        examples = {f"examples/{path.name}" for path in EXAMPLES.iterdir() if path.is_file()}
        self.assertEqual({name for name in examples if name not in shown}, set())

    def test_python_in_the_pages_is_python(self) -> None:
        for page in PAGES:
            for _, block in fenced_blocks(page, "python"):
                ast.parse(block, page.name)
