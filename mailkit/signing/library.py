"""dkimpy, which knows the forms of signatures; loaded when something is to be signed."""

from __future__ import annotations

from typing import Any

#: What to do without it.
MISSING = "signing mail needs another library: pip install 'twisted-mailkit[dkim]'"


class MissingLibrary(Exception):
    """dkimpy is not installed; the text says how it is."""


def load_dkim() -> Any:
    """The module ``dkim``.

    :raises MissingLibrary: it is not installed.
    """
    try:
        import dkim
    except ImportError as error:
        raise MissingLibrary(MISSING) from error
    return dkim
