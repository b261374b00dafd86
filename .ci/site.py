"""Put a built documentation site beside those of other versions.

    python .ci/site.py .tox/docs/html SITE VERSION

SITE is the folder that a web server publishes: one folder for each version, ``versions.json`` with
their names, and an ``index.html`` that leads to the newest release, or to ``dev``.
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from pathlib import Path

_VERSION = re.compile(r"\d+\.\d+")
_INDEX = """<!doctype html>
<meta charset="utf-8">
<title>mailbackends</title>
<meta http-equiv="refresh" content="0; url={0}/">
<link rel="canonical" href="{0}/">
<a href="{0}/">The documentation of mailbackends</a>
"""


def publish(built: Path, site: Path, version: str) -> list[str]:
    """Copy the build to ``site/version``, and return all versions, the newest first.

    ``version`` is ``"dev"`` or a tag such as ``"v0.1.0"``, which replaces the site of 0.1.
    """
    if version != "dev":
        found = _VERSION.match(version.removeprefix("v"))
        if found is None:
            raise SystemExit(f"the version must be dev or a tag such as v0.1.0, got {version!r}")
        version = found[0]
    site.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(site / version, ignore_errors=True)
    shutil.copytree(built, site / version)
    # Without this, GitHub Pages leaves out folders that begin with an underscore.
    site.joinpath(".nojekyll").touch()
    names = [path.name for path in site.iterdir() if path.joinpath("objects.inv").exists()]
    releases = [name for name in names if name != "dev"]
    releases.sort(key=lambda name: tuple(map(int, name.split("."))), reverse=True)
    versions = [*(["dev"] if "dev" in names else []), *releases]
    site.joinpath("versions.json").write_text(json.dumps(versions) + "\n", encoding="utf-8")
    first = releases[0] if releases else "dev"
    site.joinpath("index.html").write_text(_INDEX.format(first), encoding="utf-8")
    return versions


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    print(*publish(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]))
