"""Typing names that Python 3.10 does not have yet."""

from typing_extensions import override

__all__ = ["override"]
