"""The command line, ``mailbackends``. Needs ``pip install "mailbackends[cli]"``."""

from __future__ import annotations

import sys
from importlib.util import find_spec

__all__ = ["main"]


def main() -> None:
    """Run the command line of this process, and exit with its status."""
    missing = [name for name in ("click", "rich") if find_spec(name) is None]
    if missing:
        sys.exit(
            f"The command line needs {' and '.join(missing)}: "
            'python -m pip install "mailbackends[cli]"'
        )
    # Imported only now: without the extra it would raise instead of the error above.
    from mailbackends.cli.commands import mailbackends

    mailbackends(prog_name="mailbackends")
