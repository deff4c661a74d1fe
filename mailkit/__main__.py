"""``python -m mailkit`` is the command ``mailkit``."""

from __future__ import annotations

from mailkit.tap.command import main

if __name__ == "__main__":
    main(prog_name="mailkit")
