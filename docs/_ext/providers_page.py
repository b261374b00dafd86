"""Write docs/providers.md from mailbackends/providers.toml.

``python docs/_ext/providers_page.py`` writes the page. A test compares the page with the data.
"""

from __future__ import annotations

from pathlib import Path

from mailbackends.providers import Provider, providers

PAGE = Path(__file__).parents[1] / "providers.md"

HEAD = """\
# Providers

<!-- Written by `python docs/_ext/providers_page.py` from mailbackends/providers.toml. -->

For each provider: the host and ports of its SMTP service, how to log in, and its limits.
`Options.preset` fills in host, port and TLS:

```python
# preset.py
from mailbackends import Mailer, Options

mailer = Mailer(Options.preset("postmark", username="server-token", password="server-token"))
amazon = Mailer(
    Options.preset("ses", region="eu-west-1", username="AKIA...", password="smtp-password")
)
```

In Django and Flask write host, port and TLS as they are listed. The doctor
(`manage.py mail_doctor`, `flask mail doctor`, `mailbackends doctor`) knows the same facts: it names
the provider's ports where a connection fails, and what the user name and password have to be where
a login is refused.

*From its documentation* means that we have no account there: the facts are the provider's own,
read in the given month. Corrections are welcome.
"""


def page() -> str:
    """Return the text of docs/providers.md."""
    return "\n".join([HEAD, *map(section, providers().values())])


def section(provider: Provider) -> str:
    tls = {"starttls": "STARTTLS", "tls": "TLS from the first byte", "none": "no TLS"}
    host = provider.host.replace("{region}", "REGION").replace("{host}", "your host")
    ports = [
        *(f"{port} (STARTTLS)" for port in provider.starttls_ports),
        *(f"{port} (TLS from the first byte)" for port in provider.tls_ports),
    ]
    seen = f"tried here: {provider.tried}" if provider.tried else "from its documentation"
    rows = {
        "host": f"`{host}`" if " " not in host else host,
        "preset": f"`{provider.key}`: port {provider.port}, {tls[provider.security]}",
        "ports": ", ".join(ports),
        "login": provider.login,
        "limits": provider.limits,
        "to know": provider.quirks,
        "source": f"[{seen}]({provider.source}), read in {provider.read}",
    }
    table = "\n".join(f"| {name} | {text} |" for name, text in rows.items())
    return f"## {provider.name}\n\n| | |\n| --- | --- |\n{table}\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
