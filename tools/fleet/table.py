"""One table of all scanners, as text, JSON and a static HTML page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from html import escape
from typing import Final

from edge.errors import ExitCode
from tools.fleet.convergence import FleetState
from tools.fleet.mqtt_states import RetainedStates, describe_health
from tools.fleet.observation import Observation
from tools.fleet.plan import EXIT_CODES, Planned
from tools.push.rollout import worst
from tools.reports.html_page import page, table

_HEADS: Final = {
    "group": "group", "host": "scanner", "state": "state", "wanted": "wanted", "actual": "actual", "model": "model",
    "cardedge": "CardEdge", "hailort": "HailoRT", "last_seen": "last seen", "health": "health", "problem": "problem and what to do",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """One scanner. Everything is text, empty where it is not known; ``last_seen`` is a time in UTC. ``source`` is `ssh` or `mqtt`.

    ``to_push`` is what the next ``apply`` pushes; ``problem`` has it too.
    """

    group: str
    host: str
    state: str
    wanted: str
    actual: str
    model: str = ""
    cardedge: str = ""
    hailort: str = ""
    last_seen: str = ""
    health: str = ""
    problem: str = ""
    signers: str = ""
    counter: str = ""
    expires: str = ""
    source: str = ""
    exit_code: int = 0
    to_push: str = ""


def rows(state: FleetState, retained: dict[str, RetainedStates]) -> list[Row]:
    """Return a row for each scanner; one that SSH does not reach is described by the retained states of its topics, if there are any."""
    return [_row(one, state.seen[one.host], retained.get(one.host), state.to_push.get(one.host, "")) for one in state.planned]


def as_text(lines: Sequence[Row]) -> str:
    """Return the table as text, and below it the problems."""
    columns = [name for name in _HEADS if name != "problem"]
    cells = [[_HEADS[name] for name in columns], *([_short(getattr(row, name)) for name in columns] for row in lines)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    table_lines = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in cells]
    problems = [f"{row.host}: {row.problem}" for row in lines if row.problem]
    return "\n".join([*table_lines, *([""] if problems else []), *problems])


def as_json(lines: Sequence[Row]) -> str:
    """Return one JSON object per line."""
    return "\n".join(json.dumps(asdict(row), ensure_ascii=False) for row in lines)


def as_html(lines: Sequence[Row], name: str, now: datetime) -> str:
    """Return the table as a page without scripts."""
    current = sum(row.state == "current" for row in lines)
    body = [f"<h1>{escape(name)}</h1>\n<p>{current} of {len(lines)} scanners as wanted, {now:%Y-%m-%d %H:%M} UTC</p>\n"]
    cells = [[_short(getattr(row, column)) if column != "problem" else row.problem for column in _HEADS] for row in lines]
    return page(f"{name}: {current} of {len(lines)} as wanted", [*body, table(list(_HEADS.values()), cells)])


def exit_status(state: FleetState) -> ExitCode:
    """Return the exit status: the most severe of all scanners; waiting for a canary, a window or the counter is not a fault."""
    return worst([EXIT_CODES.get(one.state, ExitCode.OK) for one in state.planned])


def _row(one: Planned, seen: Observation, retained: RetainedStates | None, to_push: str) -> Row:
    facts = _from_ssh(seen) if seen.status is not None else retained.facts() if retained is not None else {}
    parts = [one.reason, one.next_step, f"to push: {to_push}" if to_push else "", facts.pop("problem", "")]
    actual = one.actual_id or facts.pop("actual", "")
    facts.pop("actual", None)
    known = {name: facts[name] for name in facts.keys() & {field.name for field in fields(Row)}}
    state, code = one.state.replace("_", " "), int(EXIT_CODES.get(one.state, ExitCode.OK))
    problem = "; ".join(filter(None, parts))
    return Row(one.group, one.host, state, one.wanted_id, actual, problem=problem, exit_code=code, to_push=to_push, **known)


def _from_ssh(seen: Observation) -> dict[str, str]:
    report, hello = seen.report, seen.hello
    facts = {"source": "ssh", "last_seen": _time(datetime.now(UTC)), "model": hello.model_id if hello else ""}
    facts["cardedge"] = hello.version if hello else ""
    if report is None:
        return {**facts, "problem": "its version does not report health or trust a list of signers; update CardEdge on it"}
    facts |= {"counter": str(report.counter or ""), "expires": _time(report.expires) if report.expires else ""}
    facts["signers"] = str(report.signers.version or "")
    problems = [report.signers.problem] if report.signers.problem else []
    if report.activity is None or not report.daemon_runs:
        problems.append("its daemon does not run; see `systemctl status cardedge` there")
        return {**facts, "health": "no daemon", "problem": "; ".join(problems)}
    health = describe_health(report.activity.health)
    return {**facts, **health, "problem": "; ".join(filter(None, [*problems, health["problem"]]))}


def _short(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"


def _time(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")
