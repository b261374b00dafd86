"""Measure for docs/performance.md and benchmarks/TARGETS.md, and write both pages and the plots.

    python benchmarks/measure.py --optimised /usr/bin/python3.11 --core 1

Each interpreter gets a virtual environment with this checkout and what the benchmarks need. Without
``--optimised`` only this interpreter is measured, and the tables of the other stay as they are.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
# The cases without a delay: with one, every interpreter waits for the same time.
NEAR = ("text-0-plain", "text-0-tls", "5mb-0-plain")


def main() -> None:
    """Measure with each interpreter, and write the pages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--optimised", type=Path, metavar="PYTHON", help="a second interpreter")
    parser.add_argument("--core", metavar="N", help="run everything on this core")
    parser.add_argument("--rounds", metavar="N", help="default: 7")
    parser.add_argument("--quick", action="store_true", help="a trial: few messages in few cases")
    given = parser.parse_args()
    options = [f"--core={given.core}"] if given.core else []
    options += ["--quick"] if given.quick else []
    options += [f"--rounds={given.rounds}"] if given.rounds else []
    with tempfile.TemporaryDirectory() as folder:
        own = environment(Path(sys.executable), Path(folder, "own"))
        shown = ["--json", str(DOCS / "performance" / "results.json")]
        shown += ["--plots", str(DOCS / "performance")]
        shown += ["--document", str(DOCS / "performance.md"), str(ROOT / "benchmarks/TARGETS.md")]
        if given.optimised:
            other = environment(given.optimised, Path(folder, "optimised"))
            results = str(Path(folder, "optimised.json"))
            measure(other, *options, "--cases", *NEAR, "--json", results)
            shown += ["--optimised", results]
        measure(own, *options, "--profile", *shown)


def environment(python: Path, folder: Path) -> Path:
    """Make a virtual environment with this checkout; return its interpreter."""
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["dependency-groups"]
    made = folder / "bin" / "python"
    subprocess.run([python, "-m", "venv", "--without-pip", folder], check=True)  # noqa: S603
    # The pip of this interpreter: distributions leave it out of theirs.
    pip = [sys.executable, "-m", "pip", "--python", str(made), "install", "--quiet"]
    subprocess.run([*pip, f"{ROOT}[django,flask]", *groups["bench"]], check=True)  # noqa: S603
    return made


def measure(python: Path, *arguments: str) -> None:
    """Run the benchmarks with this interpreter."""
    subprocess.run([python, ROOT / "benchmarks", *arguments], check=True, cwd=ROOT)  # noqa: S603


if __name__ == "__main__":
    main()
