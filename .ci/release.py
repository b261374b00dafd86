"""Build the files of a release into dist/, twice, and check them: ``python -m tox -e release``."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
PACKAGES = {"mailbackends", "django_integration", "flask_integration"}
IN_SDIST = {*PACKAGES, "tests", "docs", "examples", "benchmarks", "README.md", "LICENSE", "tox.ini"}


def main() -> int:
    """Return the exit status: 0 if the files are the same twice and complete."""
    with tempfile.TemporaryDirectory() as folder:
        first, second = Path(folder, "first"), Path(folder, "second")
        for target in (first, second):
            print(f"Building into {target.name} ...", flush=True)
            build(ROOT, "sdist", target)
            build(unpacked(next(target.glob("*.tar.gz")), target / "source"), "wheel", target)
        hashes = [
            {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files(target)}
            for target in (first, second)
        ]
        if hashes[0] != hashes[1]:
            print(f"The two builds differ: {hashes[0]} {hashes[1]}", file=sys.stderr)
            return 1
        if missing := absent(files(first)):
            print(f"Missing or unexpected: {', '.join(sorted(missing))}", file=sys.stderr)
            return 1
        DIST.mkdir(exist_ok=True)
        for path in files(first):
            DIST.joinpath(path.name).write_bytes(path.read_bytes())
    built = [DIST / name for name in hashes[0]]
    run("twine", "check", "--strict", *map(str, built))
    print("Writing the SBOM ...", flush=True)
    bill_of_materials(next(path for path in built if path.suffix == ".whl"))
    for name, digest in hashes[0].items():
        print(f"{digest}  dist/{name}")
    return 0


def run(module: str, *arguments: str) -> None:
    subprocess.run([sys.executable, "-m", module, *arguments], check=True)


def build(source: Path, kind: str, target: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", str(target)]
    subprocess.run(command, cwd=source, check=True, stdout=subprocess.DEVNULL)


def unpacked(archive: Path, target: Path) -> Path:
    with tarfile.open(archive) as opened:
        opened.extractall(target, filter="data")
    return next(target.iterdir())


def files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("*.tar.gz"), *folder.glob("*.whl")])


def absent(built: list[Path]) -> set[str]:
    """Return what a file of the release lacks, or contains without need."""
    source, wheel = sorted(built, key=lambda path: path.suffix == ".whl")
    with tarfile.open(source) as opened:
        in_sdist = {Path(name).parts[1] for name in opened.getnames() if len(Path(name).parts) > 1}
    in_wheel = {Path(name).parts[0] for name in zipfile.ZipFile(wheel).namelist()}
    unexpected = {name for name in in_wheel - PACKAGES if not name.endswith(".dist-info")}
    return (IN_SDIST - in_sdist) | (PACKAGES - in_wheel) | unexpected


def bill_of_materials(wheel: Path) -> None:
    """Write the SBOM (CycloneDX) of the wheel, installed with both frameworks."""
    with tempfile.TemporaryDirectory() as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder, "Scripts" if os.name == "nt" else "bin", "python")
        install = [str(python), "-m", "pip", "install", "--quiet", f"{wheel}[django,flask]"]
        subprocess.run(install, check=True)
        target = DIST / f"{wheel.name.split('-py3')[0]}.cdx.json"
        run("cyclonedx_py", "environment", str(python), "--output-file", str(target))


if __name__ == "__main__":
    sys.exit(main())
