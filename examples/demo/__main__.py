"""Both example applications send mail to a server on loopback; the terminal shows the result.

    python examples/demo [--requests 10] [--delay 20]

Exit status: 0 on success, 1 on failure, 2 if the command line is wrong.
"""

from __future__ import annotations

import argparse
import sys

try:
    from demonstration import Demonstration, DemonstrationFailed
    from report import Report
except ModuleNotFoundError as error:
    sys.exit(
        f"The module {error.name!r} is not installed. "
        "`python -m tox -e demo` installs what is needed and runs this."
    )


def main() -> int:
    """Run the demonstration. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python examples/demo", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--requests",
        type=_at_least(3),
        default=10,
        metavar="N",
        help="the number of requests to each application (default: 10)",
    )
    parser.add_argument(
        "--delay",
        type=_at_least(0),
        default=20,
        metavar="MS",
        help="the delay of each reply of the mail server, in milliseconds (default: 20)",
    )
    arguments = parser.parse_args()
    report = Report()
    try:
        Demonstration(report, arguments.requests, arguments.delay / 1000).run()
    except DemonstrationFailed as error:
        report.error(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


class _at_least:
    def __init__(self, least: int) -> None:
        self.least = least

    def __call__(self, text: str) -> int:
        number = int(text) if text.isdecimal() else -1
        if number < self.least:
            raise argparse.ArgumentTypeError(f"must be an integer from {self.least}, got {text!r}")
        return number


if __name__ == "__main__":
    sys.exit(main())
