"""Brings the scanners that can be reached to the wanted state, one step at a time, and can be run again at any moment."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final, TypeAlias

from edge.errors import EdgeError
from edge.receiving.messages import Completed, RejectRequest
from tools.fleet.file import Fleet
from tools.fleet.observation import Observation, observe, observe_all
from tools.fleet.passed import Passed
from tools.fleet.plan import Planned, State, Wish, failed_state, plan
from tools.push.connection import SshOptions, request_one
from tools.push.host_push import HostPush, PushOptions
from tools.push.local_bundle import LocalBundle, read_bundle
from tools.push.rollout import status_of
from tools.push.signer_list import push_signers, read_list

Say: TypeAlias = Callable[[str, str], None]
"""Called with a host and a line of progress."""

_ACTED_ON: Final = ("outdated", "unconfirmed", "bad")


@dataclass(frozen=True, slots=True, eq=False)
class FleetState:
    """What is wanted and what is known: the state of every scanner, what it reported, and what is to be pushed to it now, in words."""

    planned: tuple[Planned, ...]
    seen: dict[str, Observation]
    to_push: dict[str, str]


class Convergence:
    """One run of ``apply``. Each step is taken at most once with each scanner, so that a bad one cannot keep the run busy.

    ``accepted`` are groups whose bundle a person accepts whatever the gate says, and also where it was reverted.
    """

    def __init__(self, fleet: Fleet, passed: Passed, ssh: SshOptions, say: Say, accepted: Collection[str] = ()) -> None:
        self._fleet = fleet
        self._passed = passed
        self._ssh = ssh
        self._say = say
        self._bundles = {name: read_bundle(group.bundle, check=False) for name, group in fleet.groups.items()}
        self._signers = read_list(fleet.signers) if fleet.signers else None
        self._accepted = accepted
        self._groups = {host: name for name, group in fleet.groups.items() for host in group.hosts}
        self._canaries = {host for group in fleet.groups.values() for host in group.first_hosts}
        self._failed: dict[str, Planned] = {}
        self._done: set[tuple[str, State]] = set()

    def look(self) -> FleetState:
        """Ask every scanner and return what is to be done; nothing is changed."""
        return self._state(self._observe(self._groups))

    def run(self) -> FleetState:
        """Do what can be done now, and return the state after it."""
        for name in self._accepted:
            self._passed.add(name, self._bundles[name].manifest.bundle_id)
        state = self.look()
        signers, without = self._fleet.signers, [seen for seen in state.seen.values() if self._lacks_signers(seen)]
        if signers is not None and without:
            self._failed = self._install_signers(signers, without)
            # a revoked key also ends the trial of what it has signed
            state = self._state(state.seen | self._observe(seen.host for seen in without))
        while steps := [one for one in state.planned if self._is_due(one)]:
            self._done |= {(one.host, one.state) for one in steps}
            with ThreadPoolExecutor(max_workers=self._fleet.parallel) as pool:
                self._failed |= {failed.host: failed for failed in pool.map(self._act, steps) if failed is not None}
            state = self._state(state.seen | self._observe(one.host for one in steps))
        return self._state(state.seen)

    def _is_due(self, one: Planned) -> bool:
        is_wanted = one.state in _ACTED_ON or (one.state == "stopped" and one.group in self._accepted)
        return is_wanted and one.host not in self._failed and (one.host, one.state) not in self._done

    def _observe(self, hosts: Iterable[str]) -> dict[str, Observation]:
        def one(host: str) -> Observation:
            compare = host in self._canaries and not self._passed.has(self._groups[host], self._wanted(host))
            return observe(host, self._ssh, compare=compare)

        return observe_all(tuple(hosts), one, self._fleet.parallel)

    def _state(self, seen: dict[str, Observation]) -> FleetState:
        """Plan every group, and record which bundles have passed."""
        now = datetime.now(UTC)
        planned = []
        for name, group in self._fleet.groups.items():
            manifest = self._bundles[name].manifest
            bundle_id = manifest.bundle_id
            wish = Wish(name, group, bundle_id, self._passed.has(name, bundle_id), self._fleet.local_time(now), now, manifest.counter)
            states = plan(wish, seen)
            if not wish.passed and all(one.state == "current" for one in states[: len(group.first_hosts)]):
                self._passed.add(name, bundle_id)
                states = plan(replace(wish, passed=True), seen)
            planned += [one if one.state == "waiting_for_counter" else self._failed.get(one.host, one) for one in states]
        to_push = {one.host: self._to_push(one, seen[one.host]) for one in planned}
        return FleetState(tuple(planned), seen, {host: what for host, what in to_push.items() if what})

    def _to_push(self, one: Planned, seen: Observation) -> str:
        """Return what is pushed to a scanner now, empty if nothing is."""
        parts = []
        if self._signers is not None and self._lacks_signers(seen):
            parts.append(f"version {self._signers.version} of the list of signers")
        if one.state == "outdated":
            folder = self._fleet.groups[one.group].bundle.name
            what = "the new signature of bundle" if one.actual_id == one.wanted_id else "bundle"
            parts.append(f"{what} {one.wanted_id} ({folder})")
        return " and ".join(parts)

    def _lacks_signers(self, seen: Observation) -> bool:
        """Return whether the wanted list of signers is newer than that of a scanner, which is known and supports one."""
        return self._signers is not None and seen.report is not None and (seen.report.signers.version or 0) < self._signers.version

    def _install_signers(self, path: Path, outdated: Iterable[Observation]) -> dict[str, Planned]:
        """Push the list of signers to scanners, before anything else; return those that do not accept it."""
        with ThreadPoolExecutor(max_workers=self._fleet.parallel) as pool:
            return {failed.host: failed for failed in pool.map(partial(self._push_signers, path), outdated) if failed is not None}

    def _push_signers(self, path: Path, seen: Observation) -> Planned | None:
        try:
            installed = push_signers(seen.host, self._ssh, path)
        except EdgeError as error:
            return Planned(self._groups[seen.host], seen.host, "unchecked", self._wanted(seen.host), seen.active_id, str(error))
        self._say(seen.host, f"trusts version {installed.version} of the list of signers")
        return None

    def _act(self, one: Planned) -> Planned | None:
        """Push and confirm the bundle, or revert it; return the state with its reason if that failed."""
        try:
            if one.state != "bad":
                return self._push(one)
            self._say(one.host, f"reverting {one.wanted_id}: {one.reason}")
            request_one(one.host, self._ssh, RejectRequest(bundle_id=one.wanted_id, reason=one.reason), Completed)
        except EdgeError as error:
            return replace(one, state=failed_state(status_of(error)), reason=str(error))
        return None

    def _push(self, one: Planned) -> Planned | None:
        bundle: LocalBundle = self._bundles[one.group]
        options = PushOptions(confirm_within_s=self._fleet.confirm_within_s, need_daemon=self._fleet.need_daemon)
        report = HostPush(one.host, bundle, self._ssh, options, partial(self._say, one.host)).run()
        if report.result in ("activated", "unchanged", "reverted"):
            return None  # a revert is on record on the scanner
        state: State = "unreachable" if report.result == "unreachable" else failed_state(report.exit_code)
        return replace(one, state=state, actual_id=report.after or one.actual_id, reason=report.reason or "")

    def _wanted(self, host: str) -> str:
        return self._bundles[self._groups[host]].manifest.bundle_id
