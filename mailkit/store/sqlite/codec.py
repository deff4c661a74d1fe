"""Changes of a store, and their answers, as octets: for processes that share one store.

What is sent is an :class:`~mailkit.store.sqlite.writer.Operation` with the values that it was made
of, and back comes its answer or its :class:`~mailkit.errors.MailError`. A value is JSON with tags,
its octets apart from it. Nothing is read but plain values and the classes in our own tables, whose
fields are set and whose code is not run; a function is only ever one of ours that changes the
directory (see :data:`~mailkit.store.sqlite.directory.Change`).

Both sides must be of the same kind: :func:`fingerprint` tells.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import importlib
import inspect
import itertools
import json
import operator
import os
import re
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import FunctionType
from typing import Any, NamedTuple

from mailkit import __version__, errors
from mailkit.errors import MailError, TemporaryFailure
from mailkit.store.sqlite.migrations import MIGRATIONS
from mailkit.store.sqlite.transaction import Content
from mailkit.store.sqlite.writer import Operation

#: Is raised with each change of the format.
FORMAT = 3
#: Where the values of operations and answers are defined: all their named tuples, data classes and
#: enumerations.
_VALUE_MODULES = (
    "mailkit.annotations",
    "mailkit.identity",
    "mailkit.model",
    "mailkit.quiet",
    "mailkit.rights",
    "mailkit.queue.values",
    "mailkit.store.sharing.records",
    "mailkit.store.sqlite.conversations",
    "mailkit.store.sqlite.making",
    "mailkit.store.sqlite.transaction",
)
#: Where operations are that only the writer's own process needs.
_OWN_MODULES = frozenset(
    f"mailkit.store.sqlite.{name}" for name in ("compact", "ends", "snapshot", "writer")
)
_PACKAGE = "mailkit.store.sqlite."
#: A spool of another process: its directory and its name.
_SPOOL = re.compile(r"[A-Za-z0-9_-]+/[A-Za-z0-9_-]+")
_OCTETS = frozenset((bytes,))
_SCALARS = frozenset((str, int, float, bool, type(None)))
#: Values of one kind from which on they are sent by columns.
_MIN_ROWS = 4
# json.dumps and json.loads make, or find out, more for each call.
_to_json = json.JSONEncoder(separators=(",", ":")).encode
_from_json = json.JSONDecoder().raw_decode


class NotUnderstood(Exception):
    """The octets are no value of ours."""


class Encoded(NamedTuple):
    """A value that can be sent."""

    text: bytes
    blobs: Sequence[bytes]


def _slots(kind: type) -> list[str]:
    names: list[str] = []
    for each in reversed(kind.__mro__):
        found = each.__dict__.get("__slots__", ())
        names.extend([found] if isinstance(found, str) else found)
    return names


def _subclasses(kind: Any) -> Iterator[Any]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


class _Tables:
    """The classes that may be sent, by name."""

    def __init__(self) -> None:
        self.tuples: dict[str, Any] = {}
        self.records: dict[str, tuple[Any, list[str]]] = {}
        self.enums: dict[str, Any] = {}
        self.operations: dict[str, tuple[Any, list[str]]] = {}
        for module in map(importlib.import_module, _VALUE_MODULES):
            for name, value in vars(module).items():
                if isinstance(value, type) and value.__module__ == module.__name__:
                    self._add(name, value)
        for operation in _subclasses(Operation):
            module_name = operation.__module__
            if module_name.startswith(_PACKAGE) and module_name not in _OWN_MODULES:
                self.operations[operation.__name__] = operation, _slots(operation)

    def _add(self, name: str, value: Any) -> None:
        if issubclass(value, tuple) and hasattr(value, "_fields"):
            self.tuples[name] = value
        elif dataclasses.is_dataclass(value):
            self.records[name] = value, [each.name for each in dataclasses.fields(value)]
        elif issubclass(value, enum.Enum):
            self.enums[name] = value

    @functools.cached_property
    def fingerprint(self) -> str:
        """Differs where the other side may understand something else."""
        told: list[Any] = [
            [FORMAT, __version__, len(MIGRATIONS)],
            sorted((name, kind._fields) for name, kind in self.tuples.items()),
            sorted((name, names) for name, (_, names) in self.records.items()),
            sorted((name, list(kind.__members__)) for name, kind in self.enums.items()),
            sorted((name, names) for name, (_, names) in self.operations.items()),
        ]
        return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


@functools.cache
def _tables() -> _Tables:
    # Operations are found when their modules are loaded, which those of a store are by now.
    importlib.import_module("mailkit.store.sqlite.store")
    return _Tables()


def fingerprint() -> str:
    """What both sides must have in common: release, index, classes and their fields."""
    return _tables().fingerprint


class Codec:
    """Turns values to octets and back.

    :param spools: directory with the directories of spools of all processes.
    """

    def __init__(self, spools: str) -> None:
        self._spools = spools
        self._tables = _tables()
        self._encoders: dict[type, Callable[[Any, list[bytes]], Any]] = {
            bytes: self._encode_octets,
            bytearray: self._encode_octets,
            list: lambda value, blobs: self._encode_sequence("l", value, blobs),
            tuple: lambda value, blobs: self._encode_sequence("t", value, blobs),
            frozenset: lambda value, blobs: self._encode_sequence("f", value, blobs),
            set: lambda value, blobs: self._encode_sequence("s", value, blobs),
            range: lambda value, _: ["r", value.start, value.stop, value.step],
            dict: self._encode_mapping,
            array: self._encode_array,
            functools.partial: self._encode_change,
            Content: self._encode_content,
        }
        self._decoders: dict[str, Callable[[list[Any], Iterator[bytes]], Any]] = {
            "b": lambda _, blobs: next(blobs),
            "o": self._decode_octets,
            "p": self._decode_plain,
            "l": lambda plain, blobs: self._decode_items(plain, blobs),
            "t": lambda plain, blobs: tuple(self._decode_items(plain, blobs)),
            "f": lambda plain, blobs: frozenset(self._decode_items(plain, blobs)),
            "s": lambda plain, blobs: set(self._decode_items(plain, blobs)),
            "L": lambda plain, _: plain[1:],
            "T": lambda plain, _: tuple(plain[1:]),
            "F": lambda plain, _: frozenset(plain[1:]),
            "S": lambda plain, _: set(plain[1:]),
            "r": lambda plain, _: range(*plain[1:]),
            "d": self._decode_mapping,
            "a": self._decode_array,
            "m": self._decode_rows,
            "u": self._decode_distinct,
            "c": self._decode_change,
            "e": self._decode_error,
        }

    def encode(self, value: object) -> Encoded:
        """:raises TypeError: there is something in it that cannot be sent."""
        blobs: list[bytes] = []
        plain = self._encode(value, blobs)
        return Encoded(_to_json(plain).encode("ascii"), blobs)

    def decode(self, text: bytes, blobs: Sequence[bytes]) -> Any:
        """:raises NotUnderstood: these are no octets of :meth:`encode`."""
        try:
            plain, end = _from_json(text.decode("ascii"))
            if end != len(text):
                raise ValueError("something behind the value")
            return self._decode(plain, iter(blobs))
        except (
            *(ValueError, TypeError, KeyError, IndexError, AttributeError),
            *(StopIteration, RecursionError, ImportError),
        ) as error:
            raise NotUnderstood(f"{type(error).__name__}: {error}") from error

    # Octets from values.

    def _encode(self, value: Any, blobs: list[bytes]) -> Any:
        kind = type(value)
        if kind in _SCALARS:
            return value
        encoder = self._encoders.get(kind)
        if encoder is None:
            encoder = self._encoders[kind] = self._find_encoder(kind)
        return encoder(value, blobs)

    def _encode_items(
        self, encoded: list[Any], values: Iterable[Any], blobs: list[bytes]
    ) -> list[Any]:
        """Add values to what is encoded already."""
        for value in values:
            encoded.append(value if type(value) in _SCALARS else self._encode(value, blobs))
        return encoded

    def _find_encoder(self, kind: Any) -> Callable[[Any, list[bytes]], Any]:
        name, tables = kind.__name__, self._tables
        if tables.tuples.get(name) is kind:
            return lambda value, blobs: self._encode_items([name], value, blobs)
        for found in (tables.records.get(name), tables.operations.get(name)):
            if found is not None and found[0] is kind:
                by_fields = self._by_fields(name, found[1])
                return self._plainly(name, by_fields) if hasattr(kind, "to_plain") else by_fields
        if tables.enums.get(name) is kind:
            return lambda value, _: [name, value.name]
        if issubclass(kind, MailError):
            return self._encode_error
        if issubclass(kind, (str, int)):
            # Such as a name that carries more along, for its own process.
            base = str if issubclass(kind, str) else int
            return lambda value, _: base(value)
        if issubclass(kind, Mapping):
            return self._encode_mapping
        if issubclass(kind, Sequence):
            return lambda value, blobs: self._encode_sequence("l", list(value), blobs)
        raise TypeError(f"{kind.__qualname__} cannot be sent to another process")

    def _by_fields(
        self, name: str, fields: Sequence[str]
    ) -> Callable[[Any, list[bytes]], list[Any]]:
        if len(fields) < 2:
            return lambda value, blobs: self._encode_items(
                [name], [getattr(value, field) for field in fields], blobs
            )
        values = operator.attrgetter(*fields)
        return lambda value, blobs: self._encode_items([name], values(value), blobs)

    @staticmethod
    def _plainly(
        name: str, by_fields: Callable[[Any, list[bytes]], list[Any]]
    ) -> Callable[[Any, list[bytes]], list[Any]]:
        """For a class that has a shorter way to be sent, most of the time."""

        def encode(value: Any, blobs: list[bytes]) -> list[Any]:
            plain = value.to_plain(blobs)
            return by_fields(value, blobs) if plain is None else ["p", name, *plain]

        return encode

    @staticmethod
    def _encode_octets(value: bytes, blobs: list[bytes]) -> list[Any]:
        blobs.append(value)
        return ["b"]

    def _encode_sequence(self, tag: str, values: Any, blobs: list[bytes]) -> list[Any]:
        kinds = set(map(type, values))
        if kinds <= _SCALARS:
            return [tag.upper(), *values]
        if kinds == _OCTETS and tag == "t":
            blobs.extend(values)
            return ["o", len(values)]
        if tag == "l" and len(kinds) == 1 and len(values) >= _MIN_ROWS:
            (kind,) = kinds
            if kind is not Content and self._tables.tuples.get(kind.__name__) is kind:
                columns = zip(*values, strict=True)
                return ["m", kind.__name__, *(self._column(each, blobs) for each in columns)]
        return self._encode_items([tag], values, blobs)

    def _column(self, values: tuple[Any, ...], blobs: list[bytes]) -> list[Any]:
        """Flags of many messages are few different ones."""
        if type(values[0]) is frozenset and set(map(type, values)) == {frozenset}:
            numbers: dict[Any, int] = {}
            indexes = [numbers.setdefault(each, len(numbers)) for each in values]
            return ["u", self._encode_sequence("t", tuple(numbers), blobs), indexes]
        return self._encode_sequence("t", values, blobs)

    def _encode_mapping(self, value: Mapping[Any, Any], blobs: list[bytes]) -> list[Any]:
        items = [each for item in value.items() for each in item]
        return self._encode_items(["d"], items, blobs)

    @staticmethod
    def _encode_array(value: array[Any], blobs: list[bytes]) -> list[Any]:
        blobs.append(value.tobytes())
        return ["a", value.typecode]

    def _encode_content(self, value: Content, blobs: list[bytes]) -> list[Any]:
        if value.path:
            value = value._replace(path=os.path.relpath(value.path, self._spools))
        return self._encode_items(["Content"], value, blobs)

    def _encode_change(self, value: functools.partial[Any], blobs: list[bytes]) -> list[Any]:
        function = _checked_change(value.func)
        arguments = self._encode_sequence("t", value.args, blobs)
        named = self._encode_mapping(value.keywords, blobs)
        return ["c", function.__module__, function.__qualname__, arguments, named]

    def _encode_error(self, error: MailError, blobs: list[bytes]) -> list[Any]:
        known = [each for each in type(error).__mro__ if each.__module__ == errors.__name__]
        return ["e", known[0].__name__, self._encode_mapping(vars(error), blobs)]

    # Values from octets.

    def _decode(self, plain: Any, blobs: Iterator[bytes]) -> Any:
        if type(plain) is not list:
            return plain
        tag = plain[0]
        decoder = self._decoders.get(tag)
        if decoder is None:
            decoder = self._decoders[tag] = self._find_decoder(tag)
        return decoder(plain, blobs)

    def _find_decoder(self, tag: str) -> Callable[[list[Any], Iterator[bytes]], Any]:
        tables = self._tables
        if tag == "Content":
            return self._decode_content
        if tag in tables.tuples:
            make = tables.tuples[tag]
            return lambda plain, blobs: make(*self._decode_items(plain, blobs))
        if tag in tables.records:
            record, fields = tables.records[tag]
            return lambda plain, blobs: record(
                **dict(zip(fields, self._decode_items(plain, blobs), strict=True))
            )
        if tag in tables.operations:
            return self._decode_operation
        members = tables.enums[tag]
        return lambda plain, _: members[plain[1]]

    def _decode_items(self, plain: list[Any], blobs: Iterator[bytes]) -> list[Any]:
        return [
            self._decode(each, blobs) if type(each) is list else each
            for each in itertools.islice(plain, 1, None)
        ]

    @staticmethod
    def _decode_octets(plain: list[Any], blobs: Iterator[bytes]) -> tuple[bytes, ...]:
        found = tuple(itertools.islice(blobs, plain[1]))
        if len(found) != plain[1]:
            raise ValueError("fewer octets than there should be")
        return found

    def _decode_plain(self, plain: list[Any], blobs: Iterator[bytes]) -> Operation[Any]:
        kind, _ = self._tables.operations[plain[1]]
        operation: Operation[Any] = kind.from_plain(plain[2:], blobs)
        return operation

    def _decode_operation(self, plain: list[Any], blobs: Iterator[bytes]) -> Operation[Any]:
        kind, names = self._tables.operations[plain[0]]
        operation: Operation[Any] = kind.__new__(kind)
        for name, value in zip(names, self._decode_items(plain, blobs), strict=True):
            setattr(operation, name, value)
        return operation

    def _decode_mapping(self, plain: list[Any], blobs: Iterator[bytes]) -> dict[Any, Any]:
        items = self._decode_items(plain, blobs)
        return dict(zip(items[::2], items[1::2], strict=True))

    @staticmethod
    def _decode_array(plain: list[Any], blobs: Iterator[bytes]) -> array[Any]:
        found: array[Any] = array(plain[1])
        found.frombytes(next(blobs))
        return found

    def _decode_rows(self, plain: list[Any], blobs: Iterator[bytes]) -> list[Any]:
        kind = self._tables.tuples[plain[1]]
        columns = [self._decode(each, blobs) for each in plain[2:]]
        return list(map(kind._make, zip(*columns, strict=True)))

    def _decode_distinct(self, plain: list[Any], blobs: Iterator[bytes]) -> tuple[Any, ...]:
        values = self._decode(plain[1], blobs)
        return tuple(values[index] for index in plain[2])

    def _decode_content(self, plain: list[Any], blobs: Iterator[bytes]) -> Content:
        content = Content(*self._decode_items(plain, blobs))
        if not content.path:
            return content
        if not _SPOOL.fullmatch(content.path):
            raise ValueError("not a spool's name")
        return content._replace(path=os.path.join(self._spools, content.path))

    def _decode_change(self, plain: list[Any], blobs: Iterator[bytes]) -> functools.partial[Any]:
        _, module, name, arguments, named = plain
        if not module.startswith(_PACKAGE):
            raise ValueError("not a module of the store")
        function = _checked_change(getattr(importlib.import_module(module), name))
        if function.__module__ != module:
            raise ValueError("not a function of that module")
        values = self._decode(arguments, blobs)
        return functools.partial(function, *values, **self._decode(named, blobs))

    def _decode_error(self, plain: list[Any], blobs: Iterator[bytes]) -> MailError:
        _, name, encoded = plain
        kind = getattr(errors, name)
        if not (isinstance(kind, type) and issubclass(kind, MailError)):
            raise ValueError("not an error of ours")
        values = self._decode(encoded, blobs)
        # Some classes ask for more than a text; what they made of it is in the values.
        error: MailError = kind.__new__(kind)
        Exception.__init__(error, values.get("text", ""))
        vars(error).update(values)
        return error


def _checked_change(function: Any) -> FunctionType:
    """A function that changes the directory, and nothing else that can be called.

    :raises TypeError: it is none.
    """
    if (
        not isinstance(function, FunctionType)
        or not function.__module__.startswith(_PACKAGE)
        or "." in function.__qualname__
        or list(inspect.signature(function).parameters)[-2:] != ["connection", "now"]
    ):
        raise TypeError(f"{function!r} is no change of the directory")
    return function


def as_mail_error(error: BaseException) -> MailError:
    """What another process is told of a failure: of a bug, that there was one."""
    if isinstance(error, MailError):
        return error
    return TemporaryFailure()
