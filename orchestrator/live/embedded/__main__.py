"""Fetch a RabbitMQ if there is none, and say which one will be used. Exit status 1 when none can be had.

Used by the set-up commands, so that the first start of a broker does not surprise with a download.
"""

import sys

from . import container, distribution
from .distribution import NotHere


def _say(line: str) -> None:
    print(f"broker: {line}", file=sys.stderr, flush=True)


def main() -> int:
    """See the module's docstring."""
    reasons = []
    for source in (distribution.find, lambda: distribution.fetch(_say)):
        try:
            found = source()
        except NotHere as reason:
            reasons.append(str(reason))
        else:
            print(f"RabbitMQ {found.version_text}, {found.origin}")
            return 0
    try:
        print(f"{container.IMAGE} in {container.find_engine(_say)}")
    except NotHere as reason:
        reasons.append(str(reason))
        _say(f"no RabbitMQ could be found or fetched: {'; '.join(reasons)}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
