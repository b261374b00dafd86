"""Downloads the servers of `tests/interop` into one folder::

    python tests/interop/install.py

Debian's packages are downloaded and unpacked, not installed: no service is started, no user
is created, and no file outside the folder is written. Unpacked, they form a small root file
system in which the tests run the servers by chroot(2), as users that exist only there.
Haraka and Nodemailer's smtp-server are installed by npm. The folder is
``~/.cache/mailbackends-interop`` unless ``MAILBACKENDS_INTEROP_CACHE`` names another one;
removing it removes everything.
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

__all__ = [
    "CACHE", "NODE", "ROOT", "USERS", "furnish", "install", "is_installed", "make_skeleton",
    "missing_tools",
]  # fmt: skip

_LAYOUT = "2"
"""Counted up when the folder's contents change: versions of this program do not disturb others."""
CACHE = Path(
    os.environ.get("MAILBACKENDS_INTEROP_CACHE") or Path.home() / ".cache/mailbackends-interop",
    f"layout-{_LAYOUT}",
)
ROOT = CACHE / "root"
NODE = CACHE / "node"

# Debian's mail servers exclude one another: each group could be installed together.
_PACKAGES = (
    ("postfix", "dovecot-core", "dovecot-lmtpd", "dovecot-submissiond"),
    ("exim4-daemon-light",),
    ("opensmtpd",),
    ("sendmail-bin", "m4", "sasl2-bin", "libsasl2-modules", "libsasl2-modules-db"),
)
# Haraka's other plugins are optional dependencies, and most need a database.
_NPM_PACKAGES = ("smtp-server@3", "Haraka@3", "haraka-plugin-limit@1")

USERS = {
    "root": 0, "nobody": 65534, "postfix": 61001, "dovecot": 61003, "dovenull": 61004,
    "mail": 61005, "Debian-exim": 61006, "opensmtpd": 61007, "opensmtpq": 61008,
    "smmta": 61009, "smmsp": 61010,
}  # fmt: skip
_GROUPS = {**USERS, "postdrop": 61002}

_PROGRAMS = (
    "usr/lib/postfix", "usr/lib/dovecot", "usr/lib/exim4", "usr/libexec", "usr/sbin", "usr/bin",
)  # fmt: skip
_DEVICES = {"null": (1, 3), "zero": (1, 5), "random": (1, 8), "urandom": (1, 9)}
_NOT_UNPACKED = ("doc", "man", "locale", "bug", "lintian", "examples")


def missing_tools() -> str | None:
    """Why the servers can be neither installed nor run here, or None if they can."""
    tools = ("apt-get", "dpkg-deb", "ldd", "chroot", "node", "npm", "openssl")
    missing = [tool for tool in tools if not shutil.which(tool)]
    if missing:
        return f"{', '.join(missing)} not found: the servers are those of Debian and of npm"
    if os.geteuid() != 0:
        return "only root may run the mail servers by chroot(2) and as several users"
    return None


def is_installed() -> bool:
    """True once `install` has completed."""
    return (CACHE / "stamp").is_file()


def install() -> None:
    """Download and unpack what is missing.

    Raises:
        OSError, subprocess.CalledProcessError: a download or a command failed.
    """
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if is_installed():
            return
        shutil.rmtree(ROOT, ignore_errors=True)
        versions = _unpack()
        _copy_libraries()
        furnish(ROOT)
        _run("npm", "install", "--prefix", str(NODE), "--no-audit", "--no-fund", "--omit=optional",
             "--ignore-scripts", "--loglevel=error", *_NPM_PACKAGES)  # fmt: skip
        (CACHE / "stamp").write_text("\n".join([*versions, ""]))


def _unpack() -> list[str]:
    """Unpack Debian's packages in `ROOT`, with package lists and a cache used by nobody else."""
    state = {
        "Dir::State::lists": CACHE / "apt/lists",
        "Dir::Cache": CACHE / "apt/cache",
        "Debug::NoLocking": "1",
    }
    for name in ("lists/partial", "cache/archives/partial"):
        (CACHE / "apt" / name).mkdir(parents=True, exist_ok=True)
    apt = ["apt-get", "--quiet=2", *(f"-o{name}={value}" for name, value in state.items())]
    # apt's own user cannot write to this folder.
    apt.append("-oAPT::Sandbox::User=root")
    _run(*apt, "update")
    needed = set()
    for group in _PACKAGES:
        simulated = _run(*apt, "-s", "install", "--no-install-recommends", *group)
        needed |= {*group, *re.findall(r"(?m)^Inst (\S+)", simulated)}
    archives = CACHE / "apt/archives"
    shutil.rmtree(archives, ignore_errors=True)
    archives.mkdir(parents=True)
    _run(*apt, "download", *sorted(needed), cwd=archives)
    make_skeleton(ROOT)
    unwanted = [f"--exclude=./usr/share/{name}" for name in _NOT_UNPACKED]
    for archive in sorted(archives.glob("*.deb")):
        with subprocess.Popen(  # noqa: S603
            ["dpkg-deb", "--fsys-tarfile", str(archive)],  # noqa: S607
            stdout=subprocess.PIPE,
        ) as unpacked:
            # Through the links lib -> usr/lib, which these packages expect.
            subprocess.run(  # noqa: S603
                ["tar", "-x", "--keep-directory-symlink", *unwanted, "-C", str(ROOT)],  # noqa: S607
                stdin=unpacked.stdout,
                check=True,
            )
    return [archive.stem for archive in sorted(archives.glob("*.deb"))]


def make_skeleton(root: Path) -> None:
    """Create the folders that every root file system has."""
    for name in (
        "dev", "etc", "run", "srv", "tmp",
        "usr/bin", "usr/sbin", "usr/lib", "usr/lib64", "var/spool",
    ):  # fmt: skip
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    (root / "var/run").symlink_to("../run")


def _copy_libraries() -> None:
    """Copy the libraries that the programs need and that this machine already has."""
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
    for found in sorted({"/bin/sh", *re.findall(r"(?m)(?:=> |^\s+)(/\S+) \(0x", listed)}):
        source = Path(found)
        if source.is_relative_to(ROOT) or (ROOT / found[1:]).exists():
            continue
        target = ROOT / found[1:]
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, target)


def _is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def furnish(root: Path) -> None:
    """Write the users, host names and devices that programs expect in any root file system."""
    (root / "etc/passwd").write_text(
        "".join(f"{name}:x:{uid}:{uid}::/:/bin/false\n" for name, uid in USERS.items())
    )
    (root / "etc/group").write_text("".join(f"{name}:x:{gid}:\n" for name, gid in _GROUPS.items()))
    (root / "etc/nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n")
    for name, numbers in _DEVICES.items():
        path = root / "dev" / name
        path.unlink(missing_ok=True)
        os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(*numbers))
        path.chmod(0o666)
    (root / "tmp").chmod(0o1777)


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
    """Install the servers, or exit with the reason why not."""
    if reason := missing_tools():
        sys.exit(reason)
    install()
    print(f"The servers of tests/interop are in {CACHE}:")
    print((CACHE / "stamp").read_text(), end="")


if __name__ == "__main__":
    main()
