"""The command line, ``mailbackends``. Needs ``pip install "mailbackends[cli]"``."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run the command that the process was started with; ends with its exit status."""
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        sys.exit(
            f"The command line needs {' and '.join(missing)}: "
            'python -m pip install "mailbackends[cli]"'
        )
    # Not before: without the extra this would be a traceback in place of the line above.
    from mailbackends.cli.commands import mailbackends

    mailbackends(prog_name="mailbackends")
