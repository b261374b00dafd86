"""The clients that are not Python packages: Nodemailer, and Postfix's smtp-source."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from bench.samples import SAMPLES, SENDER, SENDER_NAME, WARM_UP

__all__ = ["Missing", "nodemailer_command", "smtp_source", "versions"]

_SCRIPT = Path(__file__).parent / "clients" / "nodemailer.js"


class Missing(Exception):
    """A client cannot run here; the text gives the reason."""


def smtp_source() -> str | None:
    """The path of Postfix's load generator. It is often only in root's PATH."""
    return shutil.which("smtp-source") or shutil.which("smtp-source", path="/usr/sbin")


def nodemailer_command(connections: int, directory: Path) -> list[str]:
    """The command that runs Nodemailer; its current release is installed into the cache.

    ``directory`` takes the messages, as files.

    Raises:
        Missing: node is not installed, or npm could not install Nodemailer.
    """
    node = shutil.which("node")
    if node is None:
        raise Missing("node is not installed")
    arguments = [_SCRIPT, _installed(), connections, _written(directory)]
    return [node, "--expose-gc", *map(str, arguments)]


@cache
def _installed() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    for place in (Path(cache), Path(tempfile.gettempdir())):
        folder = place / "mailbackends-benchmarks"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        break
    module = folder / "node_modules" / "nodemailer"
    npm = shutil.which("npm")
    if npm is None:
        raise Missing("npm is not installed, which is needed to get nodemailer")
    current = _answer([npm, "view", "nodemailer", "version"])
    if not current:
        raise Missing("npm could not find out the current version of nodemailer")
    if _version(module) != current:
        options = ["--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(folder)]
        try:
            done = subprocess.run(  # noqa: S603
                [npm, "install", *options, f"nodemailer@{current}"],
                capture_output=True,
                text=True,
                timeout=120,
            )
        except subprocess.TimeoutExpired as error:
            raise Missing("npm could not get nodemailer within two minutes") from error
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no reason was given"]
            raise Missing(f"npm could not get nodemailer: {last[0]}")
    return module


def _version(module: Path) -> str:
    """The version of an installed package of Node.js, or an empty string."""
    try:
        version: str = json.loads((module / "package.json").read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, KeyError):
        return ""
    return version


def versions(families: Collection[str]) -> dict[str, str]:
    """The versions of the clients that are not Python packages, if they can be found out.

    ``families`` are the families of the clients that run.
    """
    found: dict[str, str] = {}
    if "nodemailer" in families:
        found["Nodemailer"] = _version(_installed())
        found["Node.js"] = _answer(["node", "--version"]).removeprefix("v")
    if "postfix" in families:
        found["Postfix"] = _answer(["postconf", "-d", "-h", "mail_version"])
    return {name: version for name, version in found.items() if version}


def _answer(command: list[str]) -> str:
    """What the command prints, or an empty string if it fails."""
    program = shutil.which(command[0]) or shutil.which(command[0], path="/usr/sbin")
    if program is None:
        return ""
    try:
        done = subprocess.run(  # noqa: S603
            [program, *command[1:]], capture_output=True, text=True, timeout=20
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _written(directory: Path) -> Path:
    """The samples as JSON, and each attachment as a file beside it."""
    path = directory / "samples.json"
    if path.is_file():
        return path
    samples: dict[str, Any] = {}
    for sample in SAMPLES.values():
        samples[sample.name] = {
            "recipients": sample.recipients,
            "subject": sample.subject,
            "text": sample.text,
            "html": sample.html,
            "file_name": sample.file_name,
            "file_type": sample.file_type,
        }
        if sample.attachment_size:
            file = directory / sample.name
            file.write_bytes(sample.attachment)
            samples[sample.name]["attachment"] = str(file)
    sender = {"name": SENDER_NAME, "address": SENDER}
    written = {"sender": sender, "samples": samples, "warm_up": samples[WARM_UP.name]}
    path.write_text(json.dumps(written), encoding="utf-8")
    return path
