"""Critical path first: what is worth starting early within a workflow, and how much of it remains.

Law: soft. A rank moves a task among those that may go, never into them. The upward rank of a task is its expected run and the
longest path of expected runs below it (Topcuoglu 2002, HEFT's rank without communication); of the tasks of one workflow that are
ready the highest goes first, under every ordering. Among workflows the ordering decides, and where it asks for a size it is told
the work that *remains* of the whole, so that workflows that are nearly finished finish. Ranks are reckoned when a graph is first
placed, and anew when half of its work is done: O(V + E) each time, O(log) times.
"""

from __future__ import annotations

from orchestrator.core.desk import Desk
from orchestrator.core.tasks.families import Graph
from orchestrator.vocabulary import Nanos, TaskId


def reckon(desk: Desk) -> None:
    """Reckon what is not up to date, and place anew those that wait."""
    families = desk.custody.families
    while families.stale:
        graph = next(iter(families.stale))
        del families.stale[graph]
        _rank(desk, graph)
        for record in [one for one in graph.members.values() if one.place is not None]:
            assert record.place is not None
            aside = record.place.aside
            desk.backlog.remove(record)
            desk.backlog.add(record, aside=aside)
            desk.stir(record.service)


def _rank(desk: Desk, graph: Graph) -> None:
    """From the last tasks upwards, each once all its children are reckoned."""
    families = desk.custody.families
    open_children = {name: len(families.children.get(name, ())) for name in graph.members}
    below: dict[TaskId, Nanos] = dict.fromkeys(graph.members, 0)
    todo = [record for name, record in graph.members.items() if not open_children[name]]
    graph.work_ns = 0
    while todo:
        record = todo.pop()
        node = record.node
        assert node is not None
        node.work_ns = desk.estimates.expect(record).mean_ns
        node.rank_ns = node.work_ns + below[record.id]
        graph.work_ns += node.work_ns
        for parent in dict.fromkeys(edge.task for edge in record.task.after):
            if parent in open_children:
                below[parent] = max(below[parent], node.rank_ns)
                open_children[parent] -= 1
                if not open_children[parent]:
                    todo.append(graph.members[parent])
    graph.keyed_ns = graph.work_ns
