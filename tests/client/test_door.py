"""What ``import orchestrator.client`` gives, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import orchestrator.client


def test_the_import_is_light() -> None:
    """The package alone loads no AMQP library, no msgpack, no asyncio: a service imports it for free."""
    code = (
        "import sys; before = set(sys.modules); import orchestrator.client;"
        "print(sorted(set(sys.modules) - before & {'asyncio', 'aiormq', 'aio_pika', 'msgspec', 'msgpack', 'yarl', 'ssl'}))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for heavy in ("aiormq", "aio_pika", "msgspec", "msgpack", "asyncio", "yarl"):
        assert f"'{heavy}'" not in loaded


def test_every_name_of_the_door_is_there() -> None:
    """Each is loaded when it is first named; a name that is not there is an AttributeError as anywhere."""
    for name in orchestrator.client.__all__:
        assert getattr(orchestrator.client, name) is not None
    assert not hasattr(orchestrator.client, "Nonsense")
