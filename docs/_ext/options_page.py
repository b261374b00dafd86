"""Write docs/reference/options.md from `mailbackends.Options` and the settings of both frameworks.

``python docs/_ext/options_page.py`` writes the page. A test compares the page with the code.
"""

from __future__ import annotations

from pathlib import Path

from mailbackends import Options

PAGE = Path(__file__).parents[1] / "reference" / "options.md"

GROUPS = {
    "The server": "host port security protocol socket_path local_hostname source_address",
    "Login": "username password auth_mechanisms allow_cleartext_auth",
    "OAuth 2.0": "oauth tenant client_id client_secret client_secret_file certificate_file "
    "managed_identity service_account_file token_url refresh_token refresh_token_file "
    "token_provider",
    "TLS": "ssl_cafile ssl_certfile ssl_keyfile ssl_context tls_minimum_version",
    "Time limits": "timeout connect_timeout content_timeout deadline",
    "The pool": "pool_size pool_timeout max_messages_per_connection max_lifetime max_idle min_idle",
    "Batches": "batch_connections batch_pipeline",
    "Signatures, and marks": "dkim auto_submitted",
    "Recipients who get no mail": "suppression",
    "Rate, and several servers": "rate rate_storage circuit_failures circuit_pause",
    "The dialogue": "pipelining chunking fast_paths",
}
# What the option is called in Django's EMAIL_ settings, and where Flask differs from MAIL_NAME.
DJANGO = {
    "host": "EMAIL_HOST",
    "port": "EMAIL_PORT",
    "username": "EMAIL_HOST_USER",
    "password": "EMAIL_HOST_PASSWORD",
    "timeout": "EMAIL_TIMEOUT",
    "ssl_keyfile": "EMAIL_SSL_KEYFILE",
    "ssl_certfile": "EMAIL_SSL_CERTFILE",
}
FLASK = {"host": "MAIL_SERVER"}
DETAILS = {
    "oauth": "../oauth.md",
    "min_idle": "../upkeep.md",
    "dkim": "../dkim.md",
    "suppression": "../suppression.md",
    "rate": "../rate-limit.md",
    "circuit_failures": "../failover.md",
    "batch_pipeline": "../mailer.md#many-messages",
    "deadline": "../mailer.md#how-long-a-call-may-take",
}

HEAD = """\
# Options

<!-- Written by `python docs/_ext/options_page.py` from mailbackends/mailer/option_table.py. -->

Each option has one name. It is an argument of `Mailer` and `AsyncMailer`, a field of
`mailbackends.Options`, and a parameter of a URL's query (`smtp://host?pool_size=8`).

- **Django**: the same name in `OPTIONS` of `MAILERS`, or in `MAILBACKENDS` beside the `EMAIL_`
  settings. Django's own `use_tls` and `use_ssl` (`EMAIL_USE_TLS`, `EMAIL_USE_SSL`) are the two
  values of `security`. What only Django has is listed in [its guide](../django.md#every-option).
- **Flask**: the name in capitals after `MAIL_`, such as `MAIL_POOL_SIZE`. `MAIL_SERVER` is the
  host; `MAIL_USE_TLS` and `MAIL_USE_SSL` are the two values of `MAIL_SECURITY`. What only Flask
  has is listed in [its guide](../flask.md#configuration).

Times are in seconds. Numbers and switches may be text, as environment variables are (`"8"`,
`"false"`). A mistyped name is an error that suggests the nearest one.
"""


def page() -> str:
    """Return the text of docs/reference/options.md."""
    options = Options.table()
    parts = [HEAD]
    for title, names in GROUPS.items():
        rows = ["| option | default | what it does |", "| --- | --- | --- |"]
        for name in names.split():
            option = options[name]
            text = option.text.replace("``", "`").replace("|", "\\|")
            if name in DETAILS:
                text += f" [More]({DETAILS[name]})."
            names_elsewhere = [known[name] for known in (DJANGO, FLASK) if name in known]
            if names_elsewhere:
                text += " Also " + ", ".join(f"`{other}`" for other in names_elsewhere) + "."
            rows.append(f"| `{name}` | `{option.default!r}` | {text} |")
        parts.append(f"## {title}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
