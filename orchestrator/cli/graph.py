"""Which service needs which: drawn as text, as Mermaid, or told as data.

Law: drawn from what ``services`` answers and nothing else. A service that is needed and has never announced itself is drawn
too: that is what one looks for. In the text each service's needs are drawn once; where it comes up again, or a circle would go
on for ever, it says so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.tree import Tree

FORMATS = ("text", "mermaid")


class Need(NamedTuple):
    """One arrow."""

    service: str
    needs: str
    at: str
    """``start`` or ``dispatch``."""
    met: bool
    """Whether the needed one has a ready instance."""


class Graph(NamedTuple):
    """All services and what they need."""

    services: dict[str, dict[str, Any]]
    """By name, as ``services`` answers them; empty for one that is needed and unknown."""
    needs: list[Need]
    circles: list[list[str]]
    """Circles of needs at start that somebody would close, each from a service to itself; who would is not made ready."""

    def of(self, service: str) -> list[Need]:
        """What this service needs."""
        return [need for need in self.needs if need.service == service]

    def plain(self) -> dict[str, Any]:
        """As data."""
        return {
            "services": [
                {
                    "service": name,
                    "ready": known.get("ready", 0),
                    "instances": len(known.get("instances", ())),
                    "waits_for": waits_for(known),
                }
                for name, known in self.services.items()
            ],
            "needs": [need._asdict() for need in self.needs],
            "circles": self.circles,
        }


def graph(found: Sequence[dict[str, Any]]) -> Graph:
    """The graph of what ``services`` answered."""
    needs = [Need(one["service"], each["service"], each["at"], each["ready"]) for one in found for each in one["needs"]]
    known = {one["service"]: one for one in found}
    names = sorted({*known, *(need.needs for need in needs)})
    circles = {tuple(each["circle"]): None for one in found for each in one["instances"] if each["circle"]}
    return Graph({name: known.get(name, {}) for name in names}, needs, [list(circle) for circle in circles])


def waits_for(service: dict[str, Any]) -> list[str]:
    """What instances of this service wait for now."""
    return sorted({name for one in service.get("instances", ()) for name in one["waits_for"]})


# --- text ---------------------------------------------------------------------------------------------------------------


def text(drawn: Graph) -> list[RenderableType]:
    """For people: what nobody needs stands at the margin, what it needs below it."""
    from orchestrator.cli.show import cell

    if not drawn.services:
        return [cell("No service has announced itself yet. Start one: workers run MODULE:SERVICE")]
    told: set[str] = set()
    trees = [_tree(drawn, root, told) for root in _roots(drawn)]
    return [*trees, *(cell(line) for line in _remarks(drawn))]


def _roots(drawn: Graph) -> Iterator[str]:
    """Services that nobody needs; then, of what only needs itself in a circle, the first."""
    reached: set[str] = set()

    def reach(name: str) -> None:
        if name not in reached:
            reached.add(name)
            for need in drawn.of(name):
                reach(need.needs)

    needed = {need.needs for need in drawn.needs}
    for name in sorted(drawn.services, key=lambda name: (name in needed, name)):
        if name not in needed or name not in reached:
            reach(name)
            yield name


def _tree(drawn: Graph, root: str, told: set[str]) -> Tree:
    from rich.tree import Tree

    def grow(branch: Tree, name: str, above: tuple[str, ...]) -> None:
        told.add(name)
        for need in drawn.of(name):
            again = need.needs in told and drawn.of(need.needs)
            where = "round again" if need.needs in (*above, name) else "as above" if again else ""
            below = branch.add(_label(drawn, need.needs, need, where))
            if not where:
                grow(below, need.needs, (*above, name))

    tree = Tree(_label(drawn, root))
    if root not in told:
        grow(tree, root, ())
    return tree


def _label(drawn: Graph, name: str, need: Need | None = None, where: str = "") -> Any:
    from rich.text import Text

    from orchestrator.cli.show import clean

    label = Text()
    if need is not None:
        label.append(f"{need.at} ", style="dim")
    mark, colour, state = condition(drawn.services[name])
    label.append(f"{mark} {clean(name)}", style=colour)
    label.append(f"  {clean(state)}", style="dim")
    return label.append(f"  ({where})", style="dim") if where else label


def condition(service: dict[str, Any]) -> tuple[str, str, str]:
    """How a service is: a mark, a colour, a few words."""
    members = service.get("instances", [])
    ready = service.get("ready", 0)
    if any(one["circle"] for one in members) and not ready:
        return "↺", "red", "not made ready: it would close a circle"
    if not members:
        return "✗", "red", "no instance"
    if not ready:
        return "✗", "red", f"none of {len(members)} instances ready"
    if waiting := waits_for(service):
        stuck = sum(bool(one["waits_for"]) for one in members)
        return "…", "yellow", f"{stuck} of {len(members)} wait for {', '.join(waiting)}"
    return "✓", "green", f"{ready} ready"


def _remarks(drawn: Graph) -> Iterator[str]:
    for circle in drawn.circles:
        yield (
            f"{' → '.join(circle)}: nobody in this circle could start first. What closes it ({circle[0]}) is not made ready and "
            "gets no work. Take one of these needs out, or make it a need at dispatch."
        )


# --- Mermaid ------------------------------------------------------------------------------------------------------------


def mermaid(drawn: Graph) -> str:
    """A Mermaid flow chart: a solid arrow is a need at start, a dotted one at dispatch, a crossed one is not met."""
    lines = ["flowchart LR"]
    numbers = {name: f"s{number}" for number, name in enumerate(drawn.services)}  # names may be Mermaid's own words, like `end`
    for name, service in drawn.services.items():
        _, colour, state = condition(service)
        lines.append(f'    {numbers[name]}["{name}<br/>{state}"]:::{colour}')
    for need in drawn.needs:
        arrow = "-->" if need.at == "start" else "-.->"
        lines.append(f"    {numbers[need.service]} {arrow}|{need.at}{'' if need.met else ' ✗'}| {numbers[need.needs]}")
    lines += [
        f"    classDef {colour} stroke:{stroke}" for colour, stroke in (("green", "#2a2"), ("yellow", "#c90"), ("red", "#c22"))
    ]
    return "\n".join(lines)
