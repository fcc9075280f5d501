"""Scenarios as text: events in, what the coordinators want done out, to be read aloud by somebody who knows the rules.

A block is one or more lines of what happens, ``----``, and what follows from it; ``#`` starts prose. After each line
everything that is under way arrives, except on wires that are held. Agents are puppets: they answer a sync, start what
they get and beat, unless their strings are cut.

    coordinator c1 | token c2 | unreached c1 (gets no more deliveries) | cut c1 [lost|late] | crash c1 [lost|late] | land
    hold c1 append | free c1 append | move c1 append | miss a.1 c1 (loses the first)                           wires (see stage.py)
    agent a thumbs.resize,crop slots=2 [devices.gpu=G0,G1] [need.crop=cpu:1..4] [retries.crop=1] [needs=db:start]
          [preemptible=resize]
    a dies|cut [unseen|closed|swept] (closed: by a handshake, swept: with its broker's node) | misjudged (as if swept)
    a vanishes | returns | leaves | beats | drains | announces
    a starts t1 | finishes t1 [text] | fails t1 kind [fatal] | checkpoints t1 text | repeats t1 | stopped t1
    a refuses t1 why [epoch=9] | claims t1 1#1 running | forgets t1 | denies t1
    a lazy | silent | deaf | stubborn | unanswering | fearless | willing
    submit t1,t2 thumbs.resize [reply=p|-] [priority=1] [deadline=5] [start=5] [timeout=5] [retries=0] [overlap=never]
           [need=cpu:1..4,mem:2] [args=text] [tenant=x] [affinity=x] [estimate=5]
    graph t1 t2<t1 t3*5@thumbs.crop<t1:skip,t2:continue>rows [reply=p|-] [workflow=w] [retries=0] [deadline=5] [overlap=never]
          (child *seconds it is guessed to take @type < parent :what its failure means >argument that takes its value, …)
    ask why t1 [late] | ask cancel t1 | ask cancel workflow=w | ask priority t1 5 | ask policy ordering=fifo | ask drain a
    ask status live,waiting
    limit api on=pay.* at_once=5 rate=50 key=tenant ... | limit api remove | limit (which there are)
    shorten ledger OFFSET: a policy of the broker drops what stands below it
    lose ledger [from]: deleted, or all from that offset on is lost in a power cut
    wait 5 | config backlog_max=3 | producer q | producer q leaves | blocked c1 | unblocked c1
    garbage | flood 9 (ticks of another writer) | failed t1 1#7 10 | ended t1 done text (facts of another writer)
    replay c1 | ticks | echoes
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.core.config import Config
from orchestrator.vocabulary import Attempt, ns
from orchestrator.wire import facts as f
from orchestrator.wire.messages import (
    Control,
    Dependency,
    Edge,
    Error,
    Handler,
    Need,
    Note,
    Orders,
    Parent,
    Range,
    Result,
    Submit,
    Task,
)
from tests.core.actors import Job, Puppet
from tests.core.replay import differences
from tests.core.stage import START_NS, Evidence, Stage

NOTED = (
    "unyielding",
    "checkpoint_missing",
    "missing",
    "instance_gone",
    "instance_left",
    "deaf",
    "retry",
    "draining",
    "refused",
    "resigned",
    "full",
    "circle",
    "circle_open",
    "ledger_lost",
    "ledger_short",
    "ledger_long",
    "restored",
    "unknown_task",
)
EVIDENCE: dict[tuple[str, ...], Evidence] = {
    (): "broken",
    ("unseen",): False,
    ("closed",): "closed",
    ("swept",): "swept",
}
STRINGS = {
    "lazy": "starts",
    "silent": "beats",
    "deaf": "reads",
    "stubborn": "stops",
    "unanswering": "answers",
    "fearless": "fences",
}


def split(text: str) -> list[tuple[str, list[str], str]]:
    """The blocks of a script: prose, lines of what happens, expected output."""
    blocks = []
    for block in text.strip().split("\n\n"):
        head, _, expected = block.partition("----\n")
        lines = head.splitlines()
        prose = "\n".join(line for line in lines if line.startswith("#"))
        blocks.append((prose, [line for line in lines if line and not line.startswith("#")], expected.strip("\n")))
    return blocks


def play(text: str) -> tuple[str, Stage]:
    """The script as it should read: its own events with the output that they have now, and the stage as it ends."""
    script = Script()
    told = []
    for prose, lines, _ in split(text):
        output = [said for line in lines for said in script.line(line)]
        parts = [prose] if prose else []
        if lines:
            parts.append("\n".join([*lines, "----", *(output or ["nothing"])]))
        told.append("\n".join(parts))
    return "\n\n".join(told) + "\n", script.stage


class Script:
    """One scenario under way."""

    def __init__(self) -> None:
        self.stage = Stage()
        self.stage.heard = self._heard
        self.stage.replies["p"] = []
        self.agents: dict[str, Puppet] = {}
        self.shown: set[str] = set()
        self.out: list[str] = []
        self.waiting = False
        self.only: list[str] | None = None
        """Of the last question's answer only this is told."""

    def line(self, line: str) -> list[str]:
        """Do one line; gives what the coordinators said."""
        self.out = []
        words = line.split()
        verb, rest = words[0], words[1:]
        plain = [word for word in rest if "=" not in word]
        named = dict(word.split("=", 1) for word in rest if "=" in word)
        self.stage.witness.story.append(("==", line))
        if verb in self.agents:
            self._agent(self.agents[verb], plain[0], plain[1:], named)
        else:
            getattr(self, f"do_{verb}")(plain, named)
        self.stage.pump()
        return self.out

    # --- processes and wires --------------------------------------------------------------------------------------------

    def do_config(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.config = replace(Config(), **{name: int(value) if value.isdecimal() else value for name, value in named.items()})  # type: ignore[arg-type]

    def do_coordinator(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.coordinator(plain[0])

    def do_token(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.give_token(self.stage.nodes[plain[0]])

    def do_open(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.open(self.stage.nodes[plain[0]])

    def do_cut(self, plain: list[str], named: dict[str, str]) -> None:
        node = self.stage.nodes[plain[0]]
        self.stage.lose(node, late=_fate(plain[1:]))
        node.reopen_ns = None

    def do_crash(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.crash(self.stage.nodes[plain[0]], late=_fate(plain[1:]))

    def do_unreached(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.nodes[plain[0]].consuming = False

    def do_land(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.land_stray()

    def do_hold(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.held.add((plain[0], plain[1]))

    def do_free(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.held.discard((plain[0], plain[1]))

    def do_move(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.move((plain[0], plain[1]))

    def do_drop(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.wire((plain[0], plain[1])).clear()

    def do_miss(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.wire((plain[0], plain[1])).popleft()

    def do_replay(self, plain: list[str], named: dict[str, str]) -> None:
        node = self.stage.nodes[plain[0]]
        start = node.machine.desk.keeping.replay_from(node.machine.desk.custody)
        found = differences(self.stage, node)
        self.out += [f"replayed from {start} of {len(self.stage.ledger)}: {'not ' if found else ''}the same books", *found]

    def do_shorten(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.shorten_ledger(int(plain[1]))

    def do_lose(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.lose_ledger(int(plain[1]) if plain[1:] else 0)

    def do_wait(self, plain: list[str], named: dict[str, str]) -> None:
        self.waiting = True
        self.stage.wait(ns(float(plain[0])))
        self.waiting = False

    def do_blocked(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.step(self.stage.nodes[plain[0]], e.BrokerBlocked(True))

    def do_unblocked(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.step(self.stage.nodes[plain[0]], e.BrokerBlocked(False))

    def do_ticks(self, plain: list[str], named: dict[str, str]) -> None:
        self.shown.add("ticks")

    def do_echoes(self, plain: list[str], named: dict[str, str]) -> None:
        self.shown.add("echoes")

    # --- producers and operators ------------------------------------------------------------------------------------------

    def do_producer(self, plain: list[str], named: dict[str, str]) -> None:
        if plain[1:] == ["leaves"]:
            del self.stage.replies[plain[0]]
        else:
            self.stage.replies[plain[0]] = []

    def do_submit(self, plain: list[str], named: dict[str, str]) -> None:
        at = {key: self.stage.now_ns + ns(float(named[key])) for key in ("deadline", "start") if key in named}
        tasks = [
            Task(
                name, plain[1], named.get("args", "").encode() or b"\x80", _need(named.get("need", "")),
                int(named.get("priority", 0)), named.get("tenant", ""), at.get("deadline"), at.get("start"),
                ns(float(named["timeout"])) if "timeout" in named else None,
                int(named["retries"]) if "retries" in named else None,
                overlap=named.get("overlap", "lease"),  # type: ignore[arg-type]
                after=(Edge(named["after"]),) if "after" in named else (),
                affinity=named.get("affinity", ""),
                estimate_ns=ns(float(named["estimate"])) if "estimate" in named else None,
                key=named.get("key", ""),
                cache_ns=ns(float(named["cache"])) if "cache" in named else None,
            )
            for name in plain[0].split(",")
        ]  # fmt: skip
        reply_to = named.get("reply", "p")
        self.stage.durable("intake", Submit(tasks), "" if reply_to == "-" else reply_to)

    def do_graph(self, plain: list[str], named: dict[str, str]) -> None:
        due = {"deadline_ns": self.stage.now_ns + ns(float(named["deadline"]))} if "deadline" in named else {}
        rest = {
            "retries": int(named.get("retries", 2)),
            "workflow": named.get("workflow"),
            "overlap": named.get("overlap", "lease"),
        }
        tasks = []
        for word in plain:
            head, _, parents = word.partition("<")
            head, _, type_ = head.partition("@")
            name, _, guess = head.partition("*")
            guessed = {"estimate_ns": ns(float(guess))} if guess else {}
            after = [_edge(parent) for parent in parents.split(",") if parent]
            tasks.append(Task(name, type_ or "thumbs.resize", after=after, **guessed, **due, **rest))  # type: ignore[arg-type]
        reply_to = named.get("reply", "p")
        self.stage.durable("intake", Submit(tasks), "" if reply_to == "-" else reply_to)

    def do_flood(self, plain: list[str], named: dict[str, str]) -> None:
        for number in range(int(plain[0])):
            self.stage.land(f.Entry("a deposed leader", number + 1))

    def do_failed(self, plain: list[str], named: dict[str, str]) -> None:
        attempt, retry_ns = Attempt(*map(int, plain[1].split("#"))), self.stage.now_ns + ns(float(plain[2]))
        fact = f.Failed(plain[0], attempt, "error", Error("boom", "boom it was"), self.stage.now_ns, "x", 2, retry_ns)
        self.stage.land(f.Entry("a deposed leader", 1, facts=[fact]))

    def do_ended(self, plain: list[str], named: dict[str, str]) -> None:
        value = plain[2].encode() if plain[2:] else None
        fact = f.Ended(plain[0], plain[1], self.stage.now_ns, value=value)  # type: ignore[arg-type]
        self.stage.land(f.Entry("a deposed leader", 1, facts=[fact]))

    def do_garbage(self, plain: list[str], named: dict[str, str]) -> None:
        node = next(node for node in self.stage.nodes.values() if node.consuming)
        delivery = self.stage.durable("intake", Submit([Task("none", "none.none")]))
        self.stage.wire(("intake", "durable")).remove(delivery)
        delivery.message = Control("garbage", "")
        node.unsettled[delivery.number] = delivery
        self.stage.step(node, e.Garbled("orchestrator.tasks", "kind is missing", b"\x80", delivery.number))

    def do_ask(self, plain: list[str], named: dict[str, str]) -> None:
        args: dict[str, Any] = dict(named)
        if plain[0] in ("why", "task", "cancel", "priority") and plain[1:]:
            args["task"] = plain[1]
        if plain[0] == "priority":
            args["priority"] = int(plain[2])
        if plain[0] == "drain":
            args["instance"] = plain[1]
        if plain[0] == "hand_over":
            args["epoch"] = int(plain[1])
        late = plain[-1:] == ["late"]
        known = len(self.stage.answers) - late
        self.only = plain[1].split(",") if plain[0] in ("status", "services") and plain[1:] else None
        self.stage.durable("control", Control("q", plain[0], args), "operator")
        self.stage.pump()
        assert len(self.stage.answers) == known + 1 or plain[0] == "hand_over" or self.stage.held, "nobody answered"

    def do_limit(self, plain: list[str], named: dict[str, str]) -> None:
        args: dict[str, Any] = {"name": plain[0]} if plain else {}
        if plain[1:] == ["remove"]:
            args["remove"] = True
        elif plain:
            args["set"] = {name: float(value) if value.replace(".", "").isdigit() else value for name, value in named.items()}
            if "at_once" in named:
                args["set"]["at_once"] = int(named["at_once"])
        self.only = None
        self.stage.durable("control", Control("q", "limit", args), "operator")

    # --- agents -----------------------------------------------------------------------------------------------------------

    def do_agent(self, plain: list[str], named: dict[str, str]) -> None:
        service, _, handlers = plain[1].partition(".")
        preemptible = named.pop("preemptible", "").split(",")
        offers = [
            Handler(
                name,
                preemptible=name in preemptible,
                retries=int(named.pop(f"retries.{name}", 2)),
                need=_need(named.pop(f"need.{name}", "")),
                timeout_ns=ns(float(span)) if (span := named.pop(f"timeout.{name}", "")) else None,
            )
            for name in handlers.split(",")
        ]
        needs = [word.split(":") for word in named.pop("needs", "").split(",") if word]
        depends_on = [Dependency(needed, at) for needed, at in needs]  # type: ignore[arg-type]
        devices = {name[8:]: named.pop(name).split(",") for name in list(named) if name.startswith("devices.")}
        capacity = {name: float(amount) for name, amount in named.items()} or {"slots": 1.0}
        agent = Puppet(self.stage, plain[0], service, offers, capacity, depends_on, devices)
        self.agents[plain[0]] = agent
        self.stage.actors.append(agent)
        agent.connect()

    def _agent(self, agent: Puppet, verb: str, plain: list[str], named: dict[str, str]) -> None:
        if verb in STRINGS:
            setattr(agent, STRINGS[verb], False)
        elif verb == "willing":
            for string in STRINGS.values():
                setattr(agent, string, True)
        elif verb == "dies":
            agent.die(evidence=EVIDENCE[*plain])
        elif verb == "cut":
            self.stage.delete_queue(agent, evidence=EVIDENCE[*plain])
        elif verb == "misjudged":
            for node in self.stage.nodes.values():
                self.stage.wire((node.name, "confirm")).append(e.QueueDeleted(agent.incarnation, "swept"))
        elif verb == "vanishes":
            agent.alive = False
        elif verb == "returns":
            agent.connect()
        elif verb == "drains":
            agent.beat(draining=True)
        elif verb == "has":
            agent.capacity = {name: float(amount) for name, amount in named.items()}
            agent.announce()
        elif verb in ("leaves", "beats", "announces"):
            {"leaves": agent.leave, "beats": agent.beat, "announces": agent.announce}[verb]()
        elif verb == "refuses":
            job = agent.job(plain[0])
            del agent.jobs[job.attempt]
            agent.note(Note(job.task, job.attempt, "refused", text=plain[1], epoch=int(named.get("epoch", 0))))
        elif verb == "claims":
            attempt = Attempt(*map(int, plain[1].split("#")))
            agent.jobs[attempt] = Job(plain[0], attempt, {"slots": 1.0}, plain[2])
        else:
            self._work(agent, verb, agent.job(plain[0]), plain[1:])

    def _work(self, agent: Puppet, verb: str, job: Job, plain: list[str]) -> None:
        match verb:
            case "starts":
                agent.start(job.attempt)
            case "finishes":
                agent.finish(job, " ".join(plain).encode() or b"\x01")
            case "fails":
                agent.fail(job, Error(plain[0], f"{plain[0]} it was"), retry="fatal" not in plain)
            case "checkpoints":
                agent.checkpoint(job, plain[0].encode())
            case "repeats":
                assert job.report is not None
                agent.report(job.report)
            case "forgets":
                del agent.jobs[job.attempt]
            case "denies":
                agent.note(Note(job.task, job.attempt, "stopped"))
            case "stopped":
                del agent.jobs[job.attempt]
                agent.note(Note(job.task, job.attempt, "stopped"))
            case _:
                raise ValueError(f"an agent cannot {verb}")

    # --- hearing ------------------------------------------------------------------------------------------------------------

    def _heard(self, name: str, command: c.Command) -> None:
        said = self._tell(command)
        if said:
            at = f"{(self.stage.now_ns - START_NS) / 1e9:.1f} s  " if self.waiting else ""
            self.out.append(f"{at}{name} {said}")

    def _tell(self, command: c.Command) -> str:
        match command:
            case c.Append(entry=entry):
                tick = f" (replay from {entry.replay_from}, answered to {entry.answered_to})" if "ticks" in self.shown else ""
                return f"writes {'; '.join(map(fact, entry.facts)) or 'a tick'}{tick}" if entry.facts or tick else ""
            case c.Settle(handles=handles):
                known = [name for handle in handles if (name := self._delivery(handle))]
                return f"settles {', '.join(known)}" if known else ""
            case c.Send(orders=orders):
                return f"-> {orders.incarnation}: {', '.join(order(orders))}"
            case c.Broadcast(echo=echo):
                return f"echoes {', '.join(sorted(echo.heard))}" if "echoes" in self.shown else ""
            case c.SendResults(reply_to=reply_to, results=results):
                return f"-> {reply_to}: {', '.join(map(outcome, results))}"
            case c.Bury(letter=letter):
                story = " and ".join(f"{one['cause']} on {one['instance']}" for one in letter.get("story", ()))
                return f"buries {letter['task'] or 'bytes'}: {letter['error']['kind']}{', after ' + story if story else ''}"
            case c.Reply(answer=answer):
                return "answers " + self._answer(answer.value if answer.ok else answer.error)
            case c.OpenIntake(service=service):
                return f"opens the intake of {service}"
            case c.Flow(intake=intake):
                return "takes tasks in again" if intake else "takes no more tasks in"
            case c.Lead(epoch=epoch):
                return f"leads, epoch {epoch}"
            case c.Resign(why=why, wait_ns=wait_ns):
                return f"resigns for {wait_ns / 1e9:g} s: {why}"
            case c.Noted(what=what, fields=fields) if what in NOTED and what != "resigned":
                return f"notes {what}: " + ", ".join(f"{key}={value}" for key, value in fields.items() if key != "incarnation")
            case _:
                return ""

    def _delivery(self, handle: int) -> str:
        node = next(node for node in self.stage.nodes.values() if handle in node.unsettled)
        message = node.unsettled[handle].message
        match message:
            case Submit(tasks=tasks):
                return f"the submission of {' '.join(task.id for task in tasks)}"
            case Control(op=op):
                return f"the question {op!r}" if op else "the garbage"
            case _:
                about = [*message.items, *message.checkpoints]  # type: ignore[union-attr]
                return f"the report of {' '.join(one.task for one in about)}" if about else ""  # the mark of a new leader

    def _answer(self, value: Any) -> str:
        if isinstance(value, Error):
            return f"{value.kind}: {value.message}"
        if isinstance(value, dict) and "reason" in value:
            lines = [f"{value.get('state')}, ahead {value.get('ahead')}: {value['reason']}"]
            return "\n    ".join([*lines, *(f"{one['instance']}: {one['reason']}" for one in value["refusals"])])
        if isinstance(value, dict) and "known" in value:  # of the policies there are new ones come now and then
            value = {name: value[name] for name in ("now", "services") if value[name]}
        if isinstance(value, dict) and self.only:
            value = {name: value[name] for name in self.only}
        elif self.only:
            value = [{name: one[name] for name in self.only} for one in value]
        return json.dumps(value, default=str)


def _fate(words: list[str]) -> bool | None:
    """What becomes of the append under way: written (the default), lost, or late."""
    return {"": False, "lost": None, "late": True}["".join(words)]


def _edge(text: str) -> Edge:
    head, _, into = text.partition(">")
    parent, _, on_failure = head.partition(":")
    return Edge(parent, on_failure or "fail", into)  # type: ignore[arg-type]


def _need(text: str) -> Need:
    need: Need = {}
    for part in filter(None, text.split(",")):
        name, _, amount = part.partition(":")
        low, _, high = amount.partition("..")
        need[name] = Range(float(low), float(high)) if high else float(low)
    return need


# --- facts, orders, results in words --------------------------------------------------------------------------------------


def fact(one: f.AnyFact) -> str:
    """A fact of the ledger."""
    match one:
        case f.Accepted(tasks=tasks):
            return f"accepted {' '.join(task.id for task in tasks)}"
        case f.Failed():
            return f"failed {one.task} {one.attempt} ({one.cause}: {one.error.kind})"
        case f.Ended():
            like = f" as {one.first}" if one.first else ""
            return f"ended {one.task} {one.outcome}{like}{f' ({one.error.kind})' if one.error else ''}"
        case f.Checkpointed():
            return f"checkpointed {one.task} {one.attempt}"
        case f.Preempted():
            return f"preempted {one.task} {one.attempt}"
        case f.Asked():
            about = f" {one.task}" if one.task else ""
            return f"asked {one.what}{about}{f' {one.value}' if one.value is not None else ''}"
        case f.Joined():
            return f"joined {one.incarnation}"
        case f.Parted():
            return f"parted {one.incarnation}"
        case f.Served():
            return f"served {one.service}"
        case f.Claim():
            return f"claim{f' above {one.floor}' if one.floor else ''}"
        case f.Carried():
            return f"carried {one.task.id}{f' as {one.first}' if one.first else ''}"
        case f.Tombstone():
            holds = f" which holds {one.hold.key}" if one.hold else ""
            return f"tombstone {one.task}{' whole' if one.whole else ''}{holds}"
        case f.Restored():
            return f"restored {one.live} living, {one.ended} ended, up to {one.up_to} of epoch {one.known_epoch}"


def order(orders: Orders) -> list[str]:
    """What orders say."""
    words = ["sync"] if orders.sync else []
    for item in orders.assign:
        named = {name: f" on {','.join(devices)}" for name, devices in item.devices.items()}
        grant = " ".join(f"{name}={amount:g}{named.get(name, '')}" for name, amount in item.grant.items())
        number = f", try {item.number}" if item.number > 1 else ""
        left = f", from {item.checkpoint.decode()!r}" if item.checkpoint else ""
        left += f" after {item.ran_ns / 1e9:g} s" if item.ran_ns else ""
        given = "".join(f"; {_parent(parent)}" for parent in item.parents)
        words.append(f"run {item.task} as {Attempt(orders.epoch, item.n)} ({grant}{number}{left}{given})")
    words += [f"{'ask' if stop.preempt else 'stop'} {stop.task} {stop.attempt} ({stop.reason})" for stop in orders.stop]
    words += [f"release {' '.join(map(str, orders.release))}"] if orders.release else []
    words += [f"no work: {orders.notice}"] if orders.notice else []
    return words + (["drain"] if orders.drain else [])


def _parent(parent: Parent) -> str:
    """What a child is given of a parent."""
    value = f" {parent.value.decode()!r}" if parent.value not in (None, b"\x01") else ""  # type: ignore[union-attr]
    why = f" ({parent.error.kind})" if parent.error else ""
    return f"{parent.task} {parent.outcome}{value}{why}" + "".join(f" as {name}" for name in parent.into)


def outcome(result: Result) -> str:
    """A result."""
    if result.outcome == "done":
        value = "" if result.value == b"\x01" else f" {(result.value or b'').decode()!r}"
        how = f"as {result.first}" if result.first else f"{result.attempts} tried"
        return f"{result.task} done{value}, {how}"
    error = result.error
    return f"{result.task} {result.outcome}{f' ({error.kind}: {error.message})' if error else ''}"
