"""Everything that may happen to two coordinators, two agents and a producer, as small acts on the stage.

Chosen by Hypothesis (``test_any_story``) or by dice (``test_rules_matter``). Each act moves one thing or breaks one thing;
nothing else happens on its own, so whatever can overtake something else will. In the end ``heal`` lets a fair world go on,
and everything must come to an end.
"""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.core import events as e
from orchestrator.core.config import Config
from orchestrator.vocabulary import NS_PER_S, Attempt, Nanos
from orchestrator.wire.messages import Control, Edge, Error, Handler, Note, Notes, Range, Submit, Task
from tests.core.actors import RealAgent
from tests.core.replay import differences
from tests.core.stage import Evidence, Stage

MS = 1_000_000
HANDLERS = [Handler("resize", retries=1, backoff_ns=NS_PER_S), Handler("crop", timeout_ns=2 * NS_PER_S)]
PRODUCERS = ("p", "q")
GRAPHS: list[list[tuple[str, str, list[tuple[str, str, str]]]]] = [
    [("a", "thumbs.resize", []), ("b", "thumbs.crop", [("a", "fail", "x")]), ("c", "thumbs.resize", [("b", "fail", "")])],
    [
        ("d", "thumbs.resize", [("b", "skip", "x"), ("c", "continue", "y")]),
        ("b", "thumbs.crop", [("a", "fail", "")]),
        ("c", "thumbs.resize", [("a", "continue", "x"), ("a", "skip", "y")]),
        ("a", "thumbs.resize", []),
    ],
    [("a", "thumbs.crop", []), ("b", "thumbs.crop", []), ("c", "thumbs.resize", [("a", "continue", ""), ("b", "continue", "x")])],
]
"""Name, type, and edges: parent, what its failure means, the argument that takes its value."""


class World:
    """The stage with its cast."""

    def __init__(self, config: Config | None = None) -> None:
        self.stage = Stage(config)
        for name in PRODUCERS:
            self.stage.replies[name] = []
        self.asked: dict[str, tuple[Task, str]] = {}
        """Tasks of which the broker has confirmed a submission, and where the producer waits last."""
        self.stage.coordinator("c1")
        self.stage.coordinator("c2")
        beat_ns = self.stage.config.beat_ns
        self.agents = [RealAgent(self.stage, name, "thumbs", HANDLERS, {"slots": 2.0, "cpu": 4.0}, beat_ns) for name in "ab"]
        self.stage.actors += self.agents
        self.stage.pump()

    # --- producers and operators ------------------------------------------------------------------------------------------

    def submit(self, number: int, kind: int, reply_to: str) -> None:
        """A task, or one that is known again; what it asks follows from its number, so that the same is the same."""
        name = f"t{number}"
        task = self.asked[name][0] if name in self.asked else self._task(name, kind)
        self.asked[name] = (task, reply_to)
        self.stage.durable("intake", Submit([task]), reply_to)

    def _task(self, name: str, kind: int) -> Task:
        now = self.stage.now_ns
        match kind % 6:
            case 1:
                return Task(name, "thumbs.crop", need={"cpu": Range(1, 3)}, retries=0)
            case 2:
                return Task(name, "thumbs.resize", overlap="never")
            case 3:
                return Task(name, "thumbs.resize", deadline_ns=now + 3 * NS_PER_S)
            case 4:
                return Task(name, "thumbs.resize", start_ns=now + 2 * NS_PER_S, priority=3)
            case 5:
                return Task(name, "thumbs.crop", overlap="never", deadline_ns=now + 5 * NS_PER_S, need={"cpu": 2})
            case _:
                return Task(name, "thumbs.resize")

    def graph(self, number: int, kind: int, reply_to: str) -> None:
        """A workflow, or one that is known again."""
        if f"g{number}.a" in self.asked:
            tasks = [task for name, (task, _) in self.asked.items() if name.startswith(f"g{number}.")]
        else:
            tasks = [
                Task(
                    f"g{number}.{name}",
                    type_,
                    after=tuple(Edge(f"g{number}.{parent}", what, into) for parent, what, into in parents),
                )  # type: ignore[arg-type]
                for name, type_, parents in GRAPHS[kind % len(GRAPHS)]
            ]
        self.asked |= {task.id: (task, reply_to) for task in tasks}
        self.stage.durable("intake", Submit(tasks), reply_to)

    def keyed(self, number: int, kind: int, reply_to: str) -> None:
        """A task under one of two keys, or by its arguments; under the first key some have other arguments."""
        name = f"k{number}"
        now = self.stage.now_ns
        tasks = [
            Task(name, "thumbs.resize", key="one"),
            Task(name, "thumbs.resize", key="one", retries=0, overlap="never"),
            Task(name, "thumbs.resize", b"other", key="one"),
            Task(name, "thumbs.crop", key="two", deadline_ns=now + 5 * NS_PER_S),
            Task(name, "thumbs.crop", key="two", cache_ns=5 * NS_PER_S),
            Task(name, "thumbs.resize", cache_ns=2 * NS_PER_S),
        ]
        task = self.asked[name][0] if name in self.asked else tasks[kind % len(tasks)]
        self.asked[name] = (task, reply_to)
        self.stage.durable("intake", Submit([task]), reply_to)

    def clash(self, number: int) -> None:
        """Another task under a known id."""
        if f"t{number}" in self.asked:
            self.stage.durable("intake", Submit([Task(f"t{number}", "thumbs.resize", b"other")]), "p")

    def unknown(self, number: int) -> None:
        """A handler that nobody has."""
        self.asked.setdefault(f"u{number}", (Task(f"u{number}", "thumbs.paint"), "p"))
        self.stage.durable("intake", Submit([Task(f"u{number}", "thumbs.paint")]), "p")

    def cancel(self, number: int) -> None:
        self.stage.durable("control", Control("q", "cancel", {"task": f"t{number}"}), "o")

    def cancel_in_graph(self, number: int, which: int) -> None:
        self.stage.durable("control", Control("q", "cancel", {"task": f"g{number}.{'abcd'[which % 4]}"}), "o")

    def control(self, number: int) -> None:
        """An operator looks, or wants something."""
        asked: list[tuple[str, dict[str, object]]] = [
            ("why", {"task": f"t{number}"}),
            ("priority", {"task": f"t{number}", "priority": 7}),
            ("policy", {"ordering": "fifo", "placement": "round_robin"}),
            ("policy", {"ordering": "priority", "allocation": "mra"}),
            ("status", {}),
            ("tasks", {}),
        ]
        self.stage.durable("control", Control("q", *asked[number % len(asked)]), "o")

    def limit(self, number: int) -> None:
        """An operator sets a limit, changes it, or takes it away. None of them keeps a task from ever running."""
        wanted: list[dict[str, object]] = [
            {"name": "one", "set": {"on": "thumbs.crop", "at_once": 1}},
            {"name": "one", "set": {"on": "thumbs.*", "at_once": 2, "key": "priority"}},
            {"name": "cap", "set": {"on": "*", "capacity": 4, "of": "cpu", "key": "type"}},
            {"name": "pace", "set": {"on": "thumbs.resize", "rate": 2}},
            {"name": "one", "remove": True},
            {"name": "cap", "remove": True},
        ]
        self.stage.durable("control", Control("q", "limit", wanted[number % len(wanted)]), "o")

    # --- wires and time ----------------------------------------------------------------------------------------------------

    def move(self, which: int, times: int = 1) -> None:
        """Something that is under way arrives."""
        for _ in range(times):
            wires = sorted(self.stage.busy())
            if not wires:
                return
            self.stage.move(wires[which % len(wires)])

    def lose_word(self, which: int) -> None:
        """A soft word of an agent, or an echo, is lost."""
        names = {actor.incarnation for actor in self.stage.actors}
        wires = sorted(wire for wire in self.stage.busy() if wire[0] in names)
        if wires:
            self.stage.wire(wires[which % len(wires)]).popleft()

    def pump(self) -> None:
        self.stage.pump()
        self.replay()

    def replay(self) -> None:
        """Whoever has read everything: a fresh reader would have the same books."""
        for node in self.stage.nodes.values():
            if node.nonce and node.cursor == len(self.stage.ledger):
                found = differences(self.stage, node)
                assert not found, self.stage.witness.tell(f"replayed for {node.name}:\n  " + "\n  ".join(found))

    def tick(self, span_ns: Nanos, pump: bool) -> None:
        self.stage.wait(span_ns, pump=pump)

    # --- coordinators ---------------------------------------------------------------------------------------------------------

    def node(self, which: int) -> str:
        """One of the two; a process that died amid a step is started again now."""
        name = ("c1", "c2")[which % 2]
        if name not in self.stage.nodes:
            self.stage.coordinator(name)
        return name

    def cut(self, which: int, late: bool | None) -> None:
        """A session is lost."""
        self.stage.lose(self.stage.nodes[self.node(which)], late=late)

    def crash(self, which: int, late: bool | None) -> None:
        """A process dies and is started again."""
        name = self.node(which)
        if self.stage.nodes[name].nonce:
            self.stage.crash(self.stage.nodes[name], late=late)
            self.stage.coordinator(name)

    def crash_amid(self, commands: int) -> None:
        """Whoever steps next dies after so many commands."""
        self.stage.crash_after = commands

    def token(self, which: int) -> None:
        """The broker believes that nobody leads, and is wrong."""
        node = self.stage.nodes[self.node(which)]
        if node.nonce:
            self.stage.give_token(node)

    def land(self) -> None:
        """An append of a lost session lands after all."""
        if self.stage.strays:
            self.stage.land_stray()

    def alarm(self, blocked: bool) -> None:
        for node in list(self.stage.nodes.values()):
            if node.nonce:
                self.stage.step(node, e.BrokerBlocked(blocked))

    # --- agents -------------------------------------------------------------------------------------------------------------

    def jobs(self) -> Sequence[tuple[RealAgent, Attempt]]:
        return [(agent, attempt) for agent in self.agents if not agent.paused for attempt in agent.jobs]

    def finish(self, which: int) -> None:
        if jobs := self.jobs():
            agent, attempt = jobs[which % len(jobs)]
            agent.finish(attempt, agent.jobs[attempt].task.encode())

    def fail(self, which: int, retry: bool) -> None:
        if jobs := self.jobs():
            agent, attempt = jobs[which % len(jobs)]
            agent.fail(attempt, Error("Boom", "it went boom"), retry=retry)

    def checkpoint(self, which: int) -> None:
        if jobs := self.jobs():
            agent, attempt = jobs[which % len(jobs)]
            agent.checkpoint(attempt, b"half")

    def start_agent(self, which: int) -> None:
        agent = self.agents[which % 2]
        if not agent.lives:
            agent.begin()

    def drop(self, which: int, evidence: Evidence) -> None:
        """The broker drops an agent's connection; the agent has not noticed yet."""
        self.agents[which % 2].drop(evidence=evidence)

    def mislead(self, which: int) -> None:
        """A node of the broker wakes up, believes that all others are gone, and says so of an agent that lives."""
        if incarnation := self.agents[which % 2].incarnation:
            for node in self.stage.nodes.values():
                if node.nonce:
                    self.stage.wire((node.name, "confirm")).append(e.QueueDeleted(incarnation, "swept"))

    def higher_epoch(self, which: int) -> None:
        """The ledger was made anew, or an agent lies: it refuses in the name of an epoch that nobody here has seen."""
        incarnation = self.agents[which % 2].incarnation
        if incarnation:
            for node in self.stage.nodes.values():
                if node.machine.desk.leading:
                    note = Note("sync", Attempt(1, 0), "refused", text="epoch", epoch=node.machine.desk.epoch + 3)
                    self.stage.wire((incarnation, node.name)).append(e.Arrived(Notes(incarnation, [note])))

    def notice(self, which: int) -> None:
        self.agents[which % 2].notice()

    def kill(self, which: int, evidence: Evidence) -> None:
        agent = self.agents[which % 2]
        if agent.lives:
            agent.kill(evidence=evidence)

    def pause(self, which: int) -> None:
        self.agents[which % 2].pause()

    def resume(self, which: int) -> None:
        if self.agents[which % 2].paused:
            self.agents[which % 2].resume()

    # --- and in the end --------------------------------------------------------------------------------------------------------

    def heal(self) -> None:
        """All faults end and a fair world goes on: every task ends, every producer hears how, nothing is left over."""
        stage = self.stage
        stage.crash_after = None
        stage.held.clear()
        for name in ("c1", "c2"):
            if name not in stage.nodes:
                stage.coordinator(name)
        while stage.strays:
            stage.land_stray()
        self.alarm(False)
        for agent in self.agents:
            if agent.paused:
                agent.resume()
            if not agent.lives:
                agent.begin()
            agent.notice()
        for name in self.asked:
            if name.startswith("u"):  # taken while nobody of the service was known; it waits for one that can, and says so
                self.stage.durable("control", Control("q", "cancel", {"task": name}), "o")
        for _ in range(120):
            stage.wait(NS_PER_S // 2)
            for agent, attempt in list(self.jobs()):
                if attempt in agent.jobs:
                    agent.finish(attempt, agent.jobs[attempt].task.encode())
            for agent in self.agents:
                agent.notice()
            stage.pump()
            if not (why := self.pending()):
                break
        assert not why, stage.witness.tell("not at rest:\n  " + "\n  ".join(why))
        self.judge()

    def pending(self) -> list[str]:
        """Why this is not the end."""
        stage = self.stage
        leader = stage.leader()
        if leader is None:
            return ["nobody leads"]
        desk = leader.machine.desk
        why = [f"{record.id} is {record.state}, live {record.live}" for record in desk.custody.live.values()]
        why += [f"{task} is owed to {list(owed.queues)}" for task, owed in desk.custody.owed.items()]
        why += [f"{len(things)} wait on {wire}" for wire, things in stage.wires.items() if things]
        why += [f"{node.name} has not settled {delivery}" for node in stage.nodes.values() for delivery in node.unsettled.values()]
        why += [f"{agent.name} is not ready" for agent in self.agents if not self._ready(desk.registry.instances, agent)]
        for agent in self.agents:
            why += [f"{agent.name} keeps {attempt}" for attempt in agent.machine.work.outbox.kept]
        for instance in desk.registry.instances.values():
            why += [f"{instance.incarnation} holds {attempt}" for attempt in instance.holdings]
        return why

    @staticmethod
    def _ready(instances: object, agent: RealAgent) -> bool:
        assert isinstance(instances, dict)
        instance = instances.get(agent.incarnation)
        return instance is not None and instance.state == "ready"

    def judge(self) -> None:
        """Every task ended once, and its producer was told so where it waited last."""
        witness = self.stage.witness
        for name, (task, reply_to) in self.asked.items():
            if (task.key or task.cache_ns is not None) and name not in witness.ended:
                told_of = [result for result in self.stage.replies[reply_to] if result.task == name]
                assert told_of, witness.tell(f"nobody told {reply_to} of {name}, which has a key")
                continue
            assert name in witness.ended, witness.tell(f"{name} never ended")
            if witness.taken.get(name, task) != task:
                continue  # another task came first under this id
            outcome = witness.ended[name][1].outcome
            told = {result.outcome for result in self.stage.replies[reply_to] if result.task == name and not _clashed(result.error)}
            assert told, witness.tell(f"nobody told {reply_to} how {name} ended")
            assert len(told) == 1 or outcome in told, witness.tell(f"{reply_to} was told {told} of {name}")
            buried = sum(letter["task"] == name and letter["error"]["kind"] != "id_taken" for letter in self.stage.dead)
            assert outcome != "failed" or buried or witness.ended[name][1].first, witness.tell(
                f"{name} failed and is not in the dead letters"
            )
        for node in self.stage.nodes.values():
            live = node.machine.desk.custody.live
            assert not node.nonce or not live, witness.tell(f"{node.name} believes that {list(live)} live")


def _clashed(error: Error | None) -> bool:
    return error is not None and error.kind == "id_taken"
