"""dkimpy and OpenDKIM verify generated messages as they arrive at servers of several kinds.

MAILBACKENDS_TESTS_DKIM_MESSAGES is how many messages there are; the gate has 1,000.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from mailbackends import DKIM, Mailer, Receipt
from support.dkim import ED25519, FORMS, RSA, key_for, records, verify
from support.generated import generated
from support.sink import EXTENSIONS, Sink

COUNT = int(os.environ.get("MAILBACKENDS_TESTS_DKIM_MESSAGES", "120"))
# Several files in one call of OpenDKIM: it is started once for all of them.
AT_ONCE = 200
SERVERS = {
    "all extensions": EXTENSIONS,
    "8BITMIME and DATA": ("8BITMIME", "SMTPUTF8", "PIPELINING"),
    "7 bits": ("PIPELINING", "CHUNKING", "SMTPUTF8"),
    "nothing": (),
}


def keys() -> list[DKIM]:
    return [
        key_for(selector=f"{name}{number}", algorithm=algorithm, canonicalization=form)
        for name, algorithm in (("rsa", RSA), ("ed", ED25519))
        for number, form in enumerate(FORMS)
    ]


def arrived(seed: int, folder: Path) -> Iterator[bytes]:
    """The messages as each server got them: each by one RSA and one Ed25519 key, in turn."""
    pairs = [(key, other) for key in keys()[:4] for other in keys()[4:]]
    share = max(1, COUNT // (len(SERVERS) * len(pairs)))
    for number, extensions in enumerate(SERVERS.values()):
        with Sink(extensions=extensions) as sink:
            for place, pair in enumerate(pairs):
                with Mailer(sink.url, dkim=pair) as mailer:
                    messages = list(generated(seed * 1000 + number * 100 + place, share, folder))
                    for outcome in mailer.send_messages(messages):
                        assert isinstance(outcome, Receipt), outcome
            contents = [each.content for each in sink.messages]
        assert len(contents) == share * len(pairs)
        yield from contents


@pytest.fixture(scope="module")
def contents(tmp_path_factory: pytest.TempPathFactory) -> list[bytes]:
    pytest.importorskip("cryptography", reason="DKIM needs the extra dkim")
    return list(arrived(1, tmp_path_factory.mktemp("files")))


def test_dkimpy_verifies_each_signature(contents: Sequence[bytes]) -> None:
    published = records(*keys())
    failed = [content for content in contents if verify(content, published) != [True, True]]
    assert len(contents) >= min(COUNT, 64)
    assert failed == []


def test_opendkim_verifies_each_message(contents: Sequence[bytes], tmp_path: Path) -> None:
    program = shutil.which("opendkim", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    if program is None:
        assert not os.environ.get("MAILBACKENDS_TESTS_OPENDKIM"), "opendkim is not installed"
        pytest.skip("opendkim is not installed here")
    known = "".join(f"{name} {text}\n" for name, text in records(*keys()).items())
    (tmp_path / "keys").write_text(known)
    (tmp_path / "conf").write_text(
        f"Mode v\nTestPublicKeys {tmp_path}/keys\nMinimumKeyBits 1024\nSyslog no\n"
    )
    for start in range(0, len(contents), AT_ONCE):
        names = []
        for place, content in enumerate(contents[start : start + AT_ONCE]):
            path = tmp_path / f"{place}.eml"
            path.write_bytes(content)
            names.append(str(path))
        done = subprocess.run(  # noqa: S603
            [program, "-x", str(tmp_path / "conf"), "-vv", "-t", ",".join(names)],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=300,
        )
        results = re.findall(r"\bdkim=(\w+).*header\.s=(\w+)", done.stdout)
        assert len(results) == 2 * len(names), done.stdout[-2000:]
        # Its test mode trims the white space after the colons: `simple` headers are verified
        # behind Postfix, in tests/interop.
        failed = [key for result, key in results if result != "pass" and key[-1] in "01"]
        assert failed == [], done.stdout[-2000:]


def test_a_changed_byte_is_noticed_by_the_judge(contents: Sequence[bytes]) -> None:
    published = records(*keys())
    content = next(each for each in contents if each.rstrip().endswith(b"=="))
    assert verify(content.replace(b"\r\n\r\n", b"\r\n\r\nx", 1), published) == [False, False]
