"""A producer in another world: pika, msgpack and PROTOCOL.md, nothing of the orchestrator's code.

    python producer.py amqp://guest:guest@localhost/ thumbs.add '{"a": 1, "b": 2}'

``submit_and_wait`` is all a producer must know: publish, have it confirmed, wait for results; and if anything breaks in
between, connect anew and submit again whatever has not been answered (section 4.2).
"""

from __future__ import annotations

import json
import secrets
import sys
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import msgpack
import pika
from pika.exceptions import AMQPError, ChannelClosedByBroker, NackError, UnroutableError

BODY_BYTES = 1024 * 1024
TASKS = 4096
PERSISTENT = 2


class Refused(Exception):
    """The broker will not have it, whatever we do."""


def task(type: str, args: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A task of ours: a map with the fields of section 10, ``Task``."""
    return {"id": str(uuid.uuid4()), "type": type, "args": msgpack.packb(args), **more}


def submit_and_wait(url: str, tasks: list[dict[str, Any]], timeout_s: float = 60) -> dict[str, dict[str, Any]]:
    """The results of ``tasks``, by id, each a map with the fields of section 10, ``Result``.

    Raises ``TimeoutError`` when some are still missing after ``timeout_s``; ``Refused`` when the broker lets us not.
    """
    deadline = time.monotonic() + timeout_s
    results: dict[str, dict[str, Any]] = {}
    wait_s = 0.05
    while True:
        missing = [one for one in tasks if one["id"] not in results]
        if not missing:
            return results
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(missing)} of {len(tasks)} tasks have no result after {timeout_s:g} s")
        before = len(results)
        try:
            _one_session(url, missing, results, deadline)
        except ChannelClosedByBroker as fault:
            if fault.reply_code != 404:  # 404: no coordinator has ever been here
                raise Refused(f"{fault.reply_code} {fault.reply_text}") from fault
        except (AMQPError, OSError):
            pass  # the connection is gone and our reply queue with it: all there is to do is to say it again
        wait_s = 0.05 if len(results) > before else min(2 * wait_s, 2.0)
        time.sleep(min(wait_s, max(0.0, deadline - time.monotonic())))


def _one_session(url: str, missing: list[dict[str, Any]], results: dict[str, dict[str, Any]], deadline: float) -> None:
    """Submit and listen on one connection, until everything is answered or time is up."""
    parameters = pika.URLParameters(url)
    parameters.heartbeat = 10
    connection = pika.BlockingConnection(parameters)
    try:
        queue = f"orchestrator.results.{secrets.token_hex(8)}"
        listening, publishing = connection.channel(), connection.channel()
        listening.queue_declare(queue, exclusive=True)
        listening.queue_bind(queue, "orchestrator.results", queue)
        listening.basic_consume(queue, lambda *delivery: _take(delivery[3], results), auto_ack=True)
        publishing.confirm_delivery()
        for service, body in _messages(missing):
            while not _publish(publishing, service, body, queue):
                if time.monotonic() > deadline:
                    return
                connection.process_data_events(time_limit=0.2)
        wanted = {one["id"] for one in missing}
        while not wanted <= results.keys() and (left := deadline - time.monotonic()) > 0:
            connection.process_data_events(time_limit=min(left, 1.0))
    finally:
        if connection.is_open:
            connection.close()


def _messages(tasks: list[dict[str, Any]]) -> Iterator[tuple[str, bytes]]:
    """Bodies of ``submit`` with their routing keys: one service each, not too many tasks, not too long."""
    by_service = defaultdict(list)
    for one in tasks:
        by_service[one["type"].partition(".")[0]].append(one)
    for service, its in by_service.items():
        batch: list[dict[str, Any]] = []
        size = 0
        for one in its:
            bytes_of_one = len(msgpack.packb(one))
            if batch and (len(batch) == TASKS or size + bytes_of_one > BODY_BYTES - 100):
                yield service, msgpack.packb({"kind": "submit", "tasks": batch})
                batch, size = [], 0
            batch.append(one)
            size += bytes_of_one
        yield service, msgpack.packb({"kind": "submit", "tasks": batch})


def _publish(channel: Any, service: str, body: bytes, reply_to: str) -> bool:
    """Whether the broker has confirmed it: then, and not before, it is accepted."""
    properties = pika.BasicProperties(delivery_mode=PERSISTENT, reply_to=reply_to, message_id=secrets.token_hex(8))
    try:
        channel.basic_publish("orchestrator.tasks", service, body, properties, mandatory=True)
    except (NackError, UnroutableError):
        return False  # the queue is full, or not there yet
    return True


def _take(body: bytes, results: dict[str, dict[str, Any]]) -> None:
    """Results come in batches, perhaps twice; what we do not know we ignore."""
    message = msgpack.unpackb(body)
    if message.get("kind") == "results" and message.get("v", 1) == 1:
        for result in message["items"]:
            if result.get("value") is not None:
                result["value"] = msgpack.unpackb(result["value"], timestamp=3)
            results.setdefault(result["task"], result)


if __name__ == "__main__":
    mine = task(sys.argv[2], json.loads(sys.argv[3]) if len(sys.argv) > 3 else {})
    print(submit_and_wait(sys.argv[1], [mine])[mine["id"]])
