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
    segment: the ledger begins a new segment, with a note of the stream's own that nobody reads
    shorten ledger OFFSET: a policy of the broker drops what stands below it
    lose ledger [from]: deleted, or all from that offset on is lost in a power cut
    wait 5 | config backlog_max=3 | producer q | producer q leaves | blocked c1 | unblocked c1
    garbage | flood 9 (ticks of another writer) | failed t1 1#7 10 | ended t1 done text (facts of another writer)
    carried t1 thumbs.resize key=K start=5 (of another writer: it was accepted before all others)
    replay c1 | ticks | echoes
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from orchestrator.core import commands as c
from orchestrator.core import events as e
from orchestrator.core.config import Config
from orchestrator.vocabulary import Attempt, ns
from orchestrator.wire import facts as f
from orchestrator.wire.messages import (
    AnyMessage,
    Control,
    Dependency,
    Edge,
    Error,
    Handler,
    Note,
    Submit,
    Task,
)
from orchestrator.wire.values import NO_ARGUMENTS
from tests.core.actors import Job, Puppet
from tests.core.replay import differences
from tests.core.stage import START_NS, Evidence, Stage
from tests.core.wording import answered, delivery, edge, fact, fate, need, order, outcome

NOTED = (
    "hasty",
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
        self.stage.lose(node, late=fate(plain[1:]))
        node.reopen_ns = None

    def do_crash(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.crash(self.stage.nodes[plain[0]], late=fate(plain[1:]))

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

    def do_segment(self, plain: list[str], named: dict[str, str]) -> None:
        self.stage.write_note()

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
                name, plain[1], named.get("args", "").encode() or NO_ARGUMENTS, need(named.get("need", "")),
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
            after = [edge(parent) for parent in parents.split(",") if parent]
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

    def do_carried(self, plain: list[str], named: dict[str, str]) -> None:
        due_ns = self.stage.now_ns + ns(float(named["start"]))
        fact = f.Carried(Task(plain[0], plain[1], NO_ARGUMENTS, key=named["key"]), 0, 0, self.stage.now_ns, not_before_ns=due_ns)
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
                need=need(named.pop(f"need.{name}", "")),
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
                known = [name for handle in handles if (name := delivery(self._message(handle)))]
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
                return "answers " + answered(answer.value if answer.ok else answer.error, self.only)
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

    def _message(self, handle: int) -> AnyMessage:
        """What came with a delivery that is not settled yet."""
        return next(node.unsettled[handle].message for node in self.stage.nodes.values() if handle in node.unsettled)
