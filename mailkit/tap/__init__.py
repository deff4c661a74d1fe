"""mailkit as programs: twistd's commands, the ``mailkit`` command, and services for other programs."""
