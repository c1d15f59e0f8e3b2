"""``fleet.toml``: which scanner should use which bundle, and how a new one gets there. ``docs/fleet.md`` explains every key."""

from __future__ import annotations

import tomllib
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field, PositiveFloat, PositiveInt, ValidationError, model_validator

from edge.errors import DataError
from edge.schema import Schema, first_problem
from tools.fleet.windows import Window, parse_window
from tools.push.inventory import check_host


def _host(text: str) -> str:
    check_host(text)
    return text


def _window(text: str) -> str:
    parse_window(text)
    return text


def _zone(text: str) -> str:
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError) as error:
        raise ValueError(f"{text!r} is not a time zone like 'Europe/Berlin'") from error
    return text


Host = Annotated[str, AfterValidator(_host)]
Share = Annotated[float, Field(ge=0, le=1)]


class GateRules(Schema):
    """When a bundle is bad: its canaries recognize worse than before. Fewer than ``min_cards`` decisions decide nothing.

    ``max_increase`` is for the shares of unknown and uncertain decisions, and of corrected ones among the identified. ``max_renamed`` is
    for the share of pictures that get another name. ``max_events_factor`` is for events per hour.
    """

    enabled: bool = True
    min_cards: PositiveInt = 20
    max_increase: Share = 0.10
    max_renamed: Share = 0.05
    max_events_factor: float = Field(5.0, gt=1)
    timeout_s: PositiveFloat = 86_400.0
    on_timeout: Literal["hold", "pass", "revert"] = "hold"


class Group(Schema):
    """Scanners that use the same bundle. ``canaries`` get it first; by default the first host, if there are several."""

    hosts: tuple[Host, ...] = Field(min_length=1)
    bundle: Path
    canaries: tuple[Host, ...] | None = None
    soak_s: float = Field(600.0, ge=0)
    windows: tuple[Annotated[str, AfterValidator(_window)], ...] = ()
    gate: GateRules = GateRules()

    @model_validator(mode="after")
    def _canaries_are_hosts(self) -> Self:
        others = sorted(set(self.canaries or ()) - set(self.hosts))
        if others:
            raise ValueError(f"canaries: {', '.join(others)} is not among the hosts of the group")
        return self

    @property
    def first_hosts(self) -> tuple[str, ...]:
        """The canaries."""
        return self.hosts[:1] if self.canaries is None else self.canaries

    def opens_at(self, now: datetime) -> datetime | None:
        """Return when bundles may be changed next; None if they may be changed ``now`` (local time)."""
        windows: list[Window] = [parse_window(text) for text in self.windows]
        if not windows or any(window.contains(now) for window in windows):
            return None
        return min(window.next_begin(now) for window in windows)


class Broker(Schema):
    """The broker whose retained states describe scanners that SSH does not reach. ``devices`` has device ids by host where they differ."""

    host: str
    port: int = Field(1883, ge=1, le=65535)
    prefix: str = "cardedge"
    username: str | None = None
    password_file: Path | None = None
    ca_file: Path | None = None
    devices: dict[str, str] = Field(default_factory=dict)

    def device_id(self, host: str) -> str:
        """Return the device id of a host: the listed one, otherwise its host name."""
        return self.devices.get(host, host.rpartition("@")[2])


class Fleet(Schema):
    """The wanted state. Paths are relative to the file."""

    signers: Path | None = None
    timezone: Annotated[str, AfterValidator(_zone)] | None = None
    parallel: PositiveInt = 4
    confirm_within_s: float = Field(120.0, gt=0, le=3600)
    need_daemon: bool = True
    broker: Broker | None = None
    groups: dict[str, Group] = Field(min_length=1)

    @model_validator(mode="after")
    def _each_host_once(self) -> Self:
        hosts = [host for group in self.groups.values() for host in group.hosts]
        twice = sorted({host for host in hosts if hosts.count(host) > 1})
        if twice:
            raise ValueError(f"groups: {', '.join(twice)} named twice; a scanner has one bundle")
        return self

    def local_time(self, now: datetime) -> datetime:
        """Return a time in the fleet's time zone, that of the workstation if it names none, without the zone."""
        return now.astimezone(ZoneInfo(self.timezone) if self.timezone else None).replace(tzinfo=None)


def read_fleet(path: Path) -> Fleet:
    """Return the fleet that a file describes, with absolute paths. Raises ``DataError`` that names the key."""
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error}); see docs/fleet.md") from error
    try:
        fleet = Fleet.model_validate(raw)
    except ValidationError as error:
        raise DataError(f"{path}: {first_problem(error, 'file')}; see docs/fleet.md") from error
    folder = path.parent.absolute()
    groups = {name: group.model_copy(update={"bundle": folder / group.bundle}) for name, group in fleet.groups.items()}
    broker = fleet.broker and fleet.broker.model_copy(
        update={"password_file": _below(folder, fleet.broker.password_file), "ca_file": _below(folder, fleet.broker.ca_file)}
    )
    return fleet.model_copy(update={"groups": groups, "signers": _below(folder, fleet.signers), "broker": broker})


def _below(folder: Path, path: Path | None) -> Path | None:
    return None if path is None else folder / path
