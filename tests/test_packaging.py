"""What a wheel holds. It is built from a copy, so nothing is left behind."""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
import unittest
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest
from twisted.trial.unittest import SynchronousTestCase

from mailkit import __version__
from tests.support import ROOT

NEEDED_SETUPTOOLS = 77


def has_setuptools() -> bool:
    try:
        return int(version("setuptools").partition(".")[0]) >= NEEDED_SETUPTOOLS
    except ImportError:
        return False


@pytest.mark.slow
@unittest.skipUnless(
    has_setuptools(), f"needs setuptools {NEEDED_SETUPTOOLS} (pip install .[test])"
)
class WheelTests(SynchronousTestCase):
    """``pip install .`` brings everything that runs, and nothing else."""

    def build(self) -> zipfile.ZipFile:
        source = Path(self.mktemp()).resolve()
        source.mkdir()
        for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
            shutil.copy(ROOT / name, source)
        ignored = shutil.ignore_patterns("__pycache__", "dropin.cache", "*.egg-info")
        for name in ("mailkit", "twisted", "tests", "examples"):
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, ignore=ignored)
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"),
                *("--no-build-isolation", "--wheel-dir", "dist", "."),
            ],
            cwd=source,
            capture_output=True,
            text=True,
            timeout=120,
        )
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        (wheel,) = (source / "dist").glob("*.whl")
        self.assertEqual(wheel.name, f"twisted_mailkit-{__version__}-py3-none-any.whl")
        archive = zipfile.ZipFile(wheel)
        self.addCleanup(archive.close)
        return archive

    def test_contents(self) -> None:
        archive = self.build()
        names = set(archive.namelist())
        modules = {
            str(path.relative_to(ROOT))
            for folder in ("mailkit", "twisted")
            for path in (ROOT / folder).rglob("*.py")
        }
        self.assertEqual(modules - names, set())
        self.assertIn("mailkit/py.typed", names)
        self.assertIn("twisted/plugins/mailkit_plugins.py", names)
        tops = {name.partition("/")[0] for name in names}
        info = f"twisted_mailkit-{__version__}.dist-info"
        self.assertEqual(tops, {"mailkit", "twisted", info})

        metadata = email.message_from_bytes(archive.read(f"{info}/METADATA"))
        self.assertEqual(metadata["Name"], "twisted-mailkit")
        self.assertEqual(metadata["Version"], __version__)
        self.assertIn(
            "mailkit = mailkit.tap.command:main", archive.read(f"{info}/entry_points.txt").decode()
        )
        self.assertTrue(any(name.startswith(f"{info}/") and "LICENSE" in name for name in names))


class ReadmeTests(SynchronousTestCase):
    """The first page tells the truth."""

    def setUp(self) -> None:
        self.text = (ROOT / "README.md").read_text("utf-8")

    def test_the_embedding_shown_is_the_example_that_is_tested(self) -> None:
        example = (ROOT / "examples" / "embed_imap.py").read_text("utf-8")
        code = example.partition('"""\n\n')[2].strip()
        self.assertTrue(code)
        self.assertIn(f"```python\n{code}\n```", self.text)
        self.assertLessEqual(len([line for line in code.splitlines() if line]), 15)

    def test_the_backend_has_at_most_sixty_lines(self) -> None:
        example = (ROOT / "examples" / "backend.py").read_text("utf-8")
        self.assertLessEqual(len(example.splitlines()), 60)
        self.assertIn("examples/backend.py", self.text)

    def test_nobody_is_sent_to_the_other_project_of_our_name(self) -> None:
        pages = [
            ROOT / "README.md",
            *(ROOT / "docs").rglob("*.md"),
            *(ROOT / "docs").rglob("*.rst"),
        ]
        for page in pages:
            words = re.findall(r"pip install ([\w.-]+)", page.read_text("utf-8"))
            self.assertNotIn("mailkit", words, page)

    def test_links_lead_somewhere(self) -> None:
        links = re.findall(r"\]\(([^):#]+)\)", self.text)
        self.assertTrue(links)
        self.assertEqual([link for link in links if not (ROOT / link).exists()], [])
