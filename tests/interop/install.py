"""Installs the servers of `tests/interop`, into a folder of its own::

    python tests/interop/install.py

Debian's packages are downloaded and unpacked, not installed: no service starts, no user is
made, and no file outside the folder is written. They get the shape of a small root, in which
the tests run them by chroot(2), under users that exist only there. Nodemailer's smtp-server
comes by npm. The folder is ``~/.cache/mailbackends-interop``, or what
``MAILBACKENDS_INTEROP_CACHE`` says; removing it removes everything.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

__all__ = ["CACHE", "NODE", "ROOT", "USERS", "install", "is_installed", "missing_tools"]

CACHE = Path(
    os.environ.get("MAILBACKENDS_INTEROP_CACHE") or Path.home() / ".cache/mailbackends-interop"
)
ROOT = CACHE / "root"
NODE = CACHE / "node"

_PACKAGES = ("postfix", "dovecot-core", "dovecot-lmtpd", "dovecot-submissiond")
_NPM_PACKAGES = ("smtp-server@3",)
_SHAPE = "1"
"""What a stamp must say for the folder to be as this program makes it."""

USERS = {"root": 0, "nobody": 65534, "postfix": 61001, "dovecot": 61003, "dovenull": 61004,
         "mail": 61005}  # fmt: skip
_GROUPS = {**USERS, "postdrop": 61002}

_PROGRAMS = ("usr/lib/postfix", "usr/lib/dovecot", "usr/sbin", "usr/bin")
_DEVICES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9)}


def missing_tools() -> str | None:
    """Why the servers can be neither installed nor run here, or None where they can."""
    tools = ("apt-get", "dpkg-deb", "ldd", "chroot", "node", "npm", "openssl")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        return f"{', '.join(missing)} not found: the servers are those of Debian and of npm"
    if os.geteuid() != 0:
        return "only root may run mail servers under several users in a root of their own"
    return None


def is_installed() -> bool:
    """True once `install` came to its end."""
    stamp = CACHE / "stamp"
    return stamp.is_file() and stamp.read_text().partition("\n")[0] == _SHAPE


def install() -> None:
    """Download and unpack what is missing.

    Raises:
        OSError, subprocess.CalledProcessError: something could not be had.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_installed():
            return
        shutil.rmtree(ROOT, ignore_errors=True)
        versions = _unpack()
        _borrow_libraries()
        _furnish()
        for package in _NPM_PACKAGES:
            _run("npm", "install", "--prefix", str(NODE), "--no-audit", "--no-fund",
                 "--ignore-scripts", "--loglevel=error", package)  # fmt: skip
        (CACHE / "stamp").write_text("\n".join([_SHAPE, *versions, ""]))


def _unpack() -> list[str]:
    """Debian's packages into `ROOT`; with lists and a cache of our own, as no others are ours."""
    state = {
        "Dir::State::lists": CACHE / "apt/lists",
        "Dir::Cache": CACHE / "apt/cache",
        "Debug::NoLocking": "1",
    }
    for name in ("lists/partial", "cache/archives/partial"):
        (CACHE / "apt" / name).mkdir(parents=True, exist_ok=True)
    apt = ["apt-get", "--quiet=2", *(f"-o{name}={value}" for name, value in state.items())]
    # root may not hand its downloads over to a user who cannot reach this folder.
    apt.append("-oAPT::Sandbox::User=root")
    _run(*apt, "update")
    simulated = _run(*apt, "-s", "install", "--no-install-recommends", *_PACKAGES)
    needed = {*_PACKAGES, *re.findall(r"(?m)^Inst (\S+)", simulated)}
    archives = CACHE / "apt/archives"
    shutil.rmtree(archives, ignore_errors=True)
    archives.mkdir(parents=True)
    _run(*apt, "download", *sorted(needed), cwd=archives)
    _make_skeleton()
    for archive in sorted(archives.glob("*.deb")):
        with subprocess.Popen(  # noqa: S603
            ["dpkg-deb", "--fsys-tarfile", str(archive)],  # noqa: S607
            stdout=subprocess.PIPE,
        ) as unpacked:
            # Through the links lib -> usr/lib, which these packages expect.
            subprocess.run(  # noqa: S603
                ["tar", "-x", "--keep-directory-symlink", "-C", str(ROOT)],  # noqa: S607
                stdin=unpacked.stdout,
                check=True,
            )
    return [archive.stem for archive in sorted(archives.glob("*.deb"))]


def _make_skeleton() -> None:
    for name in ("dev", "etc", "run", "srv", "tmp", "usr/bin", "usr/sbin", "usr/lib", "usr/lib64"):
        (ROOT / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (ROOT / name).symlink_to(f"usr/{name}")


def _borrow_libraries() -> None:
    """Copy what the programs are linked to and this machine has anyway."""
    folders = [*ROOT.glob("usr/lib/*-linux-gnu"), *(ROOT / name for name in _PROGRAMS)]
    search = ":".join(map(str, [*folders, ROOT / "usr/lib/dovecot/modules"]))
    binaries = [
        path
        for folder in (*_PROGRAMS, "usr/lib")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and not path.is_symlink() and _is_elf(path)
    ]
    listed = _run(
        "ldd", *map(str, binaries), env={**os.environ, "LD_LIBRARY_PATH": search}, check=False
    )
    for found in sorted(set(re.findall(r"(?m)(?:=> |^\s+)(/\S+) \(0x", listed))):
        source = Path(found)
        if source.is_relative_to(ROOT) or (ROOT / found[1:]).exists():
            continue
        target = ROOT / found[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def _furnish() -> None:
    """Users, names and devices: what is there in any root."""
    (ROOT / "etc/passwd").write_text(
        "".join(f"{name}:x:{uid}:{uid}::/:/bin/false\n" for name, uid in USERS.items())
    )
    (ROOT / "etc/group").write_text("".join(f"{name}:x:{gid}:\n" for name, gid in _GROUPS.items()))
    (ROOT / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    (ROOT / "etc/hosts").write_text("127.0.0.1 localhost\n")
    for name, numbers in _DEVICES.items():
        path = ROOT / "dev" / name
        path.unlink(missing_ok=True)
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(*numbers))
        path.chmod(0o666)
    (ROOT / "tmp").chmod(0o1777)


def _run(
    *command: str, cwd: Path | None = None, env: dict[str, str] | None = None, check: bool = True
) -> str:
    done = subprocess.run(  # noqa: S603
        command, cwd=cwd, env=env, capture_output=True, text=True, check=False
    )
    if check and done.returncode:
        raise OSError(f"{' '.join(command)} failed: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


def main() -> None:
    """Install, or say why not."""
    if reason := missing_tools():
        sys.exit(reason)
    install()
    print(f"The servers of tests/interop are in {CACHE}:")
    print((CACHE / "stamp").read_text().partition("\n")[2], end="")


if __name__ == "__main__":
    main()
