"""Documents zope.interface contracts: ``.. interfaces:: dotted.package.module``.

autodoc sees an interface as an instance and its methods as data without annotations, so this
directive reads the module's syntax tree instead: every class with its bases, attributes and
methods, in the order of the source, signatures as they are written.

It also keeps the backslashes that mail is full of (``\\Seen``) in every docstring, as
reStructuredText would swallow them, and names interfaces in signatures by their names.

A page that names something of ours which the reference does not have would just show it without a
link; here that is a warning. (Signatures in the reference may name what is not in it.)
"""

from __future__ import annotations

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.statemachine import StringList
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

_log = logging.getLogger(__name__)
_BACKSLASHES = re.compile(r"\\{1,2}")
_INTERFACE = re.compile(r"<InterfaceClass (?:\w+\.)*(\w+)>")


class Interfaces(SphinxDirective):
    """Documents all interfaces of a module, under the name of the package that they are imported from."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """The nodes that stand in place of the directive."""
        name = self.arguments[0]
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise self.error(f"no module {name}")
        self.env.note_dependency(spec.origin)
        module = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
        _WithModules(module).visit(module)
        lines = [f".. py:currentmodule:: {spec.parent}", ""]
        for statement in module.body:
            if isinstance(statement, ast.ClassDef):
                lines += _describe_interface(statement)
        return self._parse(lines, spec.origin)

    def _parse(self, lines: list[str], origin: str) -> list[nodes.Node]:
        """Parse generated reStructuredText where the directive stands."""
        container = nodes.Element()
        container.document = self.state.document
        self.state.nested_parse(StringList(lines, source=origin), 0, container)
        return container.children


class _WithModules(ast.NodeTransformer):
    """Puts before each of our names the module that it comes from, as others may have the same name."""

    def __init__(self, module: ast.Module) -> None:
        self._places = {
            alias.asname or alias.name: f"{node.module}.{alias.name}"
            for node in module.body
            if isinstance(node, ast.ImportFrom) and str(node.module).startswith("mailkit.")
            for alias in node.names
        }

    def visit_Name(self, node: ast.Name) -> ast.Name:
        return ast.Name(self._places.get(node.id, node.id))


def _describe_interface(node: ast.ClassDef) -> Iterator[str]:
    yield f".. py:class:: {node.name}"
    yield ""
    bases = [base.id for base in node.bases if isinstance(base, ast.Name)]
    if extended := [f":class:`{base}`" for base in bases if base != "Interface"]:
        yield f"   Extends {', '.join(extended)}."
        yield ""
    yield from _indented(ast.get_docstring(node), 1)
    for member in node.body:
        if isinstance(member, ast.FunctionDef):
            returned = f" -> {ast.unparse(member.returns)}" if member.returns else ""
            yield f"   .. py:method:: {member.name}({ast.unparse(member.args)}){returned}"
            yield ""
            yield from _indented(ast.get_docstring(member), 2)
        elif isinstance(member, ast.AnnAssign) and isinstance(member.target, ast.Name):
            yield f"   .. py:attribute:: {member.target.id}"
            yield f"      :type: {ast.unparse(member.annotation)}"
            yield ""
            yield from _indented(_attribute_text(member.value), 2)


def _attribute_text(value: ast.expr | None) -> str | None:
    """The text in ``Attribute("...")``."""
    if isinstance(value, ast.Call) and value.args and isinstance(value.args[0], ast.Constant):
        return inspect.cleandoc(str(value.args[0].value))
    return None


def _indented(text: str | None, depth: int) -> Iterator[str]:
    for line in (text or "").splitlines():
        yield "   " * depth + _keep_backslashes(line) if line else ""
    yield ""


def _keep_backslashes(line: str) -> str:
    """One backslash in a literal, two elsewhere, whether or not the source has it escaped."""
    parts = line.split("``")
    parts[::2] = [_BACKSLASHES.sub(r"\\\\", part) for part in parts[::2]]
    parts[1::2] = [_BACKSLASHES.sub(r"\\", part) for part in parts[1::2]]
    return "``".join(parts)


def _process_docstring(
    app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    # The docstring of a NamedTuple's field without one of its own.
    if lines and lines[0].startswith("Alias for field number"):
        lines.clear()
    lines[:] = [_keep_backslashes(line) for line in lines]


def _process_signature(
    app: Sphinx,
    what: str,
    name: str,
    obj: Any,
    options: Any,
    signature: str | None,
    return_annotation: str | None,
) -> tuple[str | None, str | None]:
    # An interface is an instance, whose representation is no name.
    return (
        signature and _INTERFACE.sub(r"\1", signature),
        return_annotation and _INTERFACE.sub(r"\1", return_annotation),
    )


def _warn_of_missing(
    app: Sphinx, env: BuildEnvironment, node: pending_xref, content: nodes.Node
) -> None:
    target = node.get("reftarget", "")
    if target.startswith("mailkit.") and not node["refdoc"].startswith("reference/"):
        _log.warning("not in docs/reference: %s", target, location=node)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    app.add_directive("interfaces", Interfaces)
    app.connect("autodoc-process-docstring", _process_docstring)
    app.connect("autodoc-process-signature", _process_signature)
    app.connect("missing-reference", _warn_of_missing)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
