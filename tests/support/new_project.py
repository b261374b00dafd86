"""A project as ``startproject`` makes it, with settings from the documentation pasted into it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from support.server import MailServer

__all__ = ["new_project"]


def new_project(folder: Path, settings: str, server: MailServer) -> Callable[..., str]:
    """Make a project in the folder; the function returned runs Python with arguments there.

    The settings' smtp.example.com on port 587 is the server. The function returns what the command
    wrote, and raises AssertionError if it failed.
    """

    def run(*arguments: str) -> str:
        environment = {**os.environ, "SSL_CERT_FILE": server.cafile, "PYTHONSAFEPATH": ""}
        environment.pop("DJANGO_SETTINGS_MODULE", None)
        done = subprocess.run(  # noqa: S603
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout + done.stderr

    run("-m", "django", "startproject", "site_of_test", ".")
    pasted = settings.replace("smtp.example.com", server.host).replace("587", str(server.port))
    with (folder / "site_of_test" / "settings.py").open("a", encoding="utf-8") as file:
        file.write(f"\n{pasted}")
    return run
