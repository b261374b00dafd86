"""A root file system for one server that expects its files at fixed paths."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from interop.install import ROOT, USERS, furnish, make_skeleton
from interop.servers.base import Process

__all__ = ["PrivateRoot"]


class PrivateRoot:
    """A folder in which programs find their configuration, queue and sockets where they expect.

    The programs and libraries are hard links to those that were installed. So several runs of
    the tests, each with its own servers, do not disturb one another.
    """

    def __init__(self, name: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=ROOT / "srv"))
        self.folder.chmod(0o755)
        make_skeleton(self.folder)
        furnish(self.folder)
        shutil.copytree(
            ROOT / "usr", self.folder / "usr", symlinks=True, dirs_exist_ok=True,
            copy_function=_link,
        )  # fmt: skip

    def make_folder(self, path: str, user: str = "root", mode: int = 0o755) -> Path:
        """Create a folder, given as seen from inside, and return where it is outside."""
        folder = self.folder / path.lstrip("/")
        folder.mkdir(parents=True, exist_ok=True)
        os.chown(folder, USERS[user], USERS[user])
        folder.chmod(mode)
        return folder

    def write(self, path: str, text: str, user: str = "root", mode: int = 0o644) -> None:
        """Write a file, given as seen from inside."""
        file = self.folder / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        os.chown(file, USERS[user], USERS[user])
        file.chmod(mode)

    def run(self, *command: str, stdin: str = "") -> str:
        """Run a program to its end, and return what it printed.

        Raises:
            OSError: it failed; with what it printed as errors.
        """
        done = subprocess.run(  # noqa: S603
            ["chroot", str(self.folder), *command],  # noqa: S607
            input=stdin, capture_output=True, text=True, check=False,
        )  # fmt: skip
        if done.returncode:
            raise OSError(f"{' '.join(command)} failed: {done.stderr}")
        return done.stdout

    def start(self, *command: str) -> Process:
        """Start a program that runs until it is ended."""
        return Process("chroot", str(self.folder), *command, log=self.folder / "output")

    def remove(self) -> None:
        """Delete the folder and all that is in it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def _link(source: str, target: str) -> None:
    if os.path.islink(source):
        if not os.path.lexists(target):
            os.symlink(os.readlink(source), target)
    else:
        os.link(source, target)
