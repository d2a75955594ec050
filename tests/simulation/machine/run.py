"""One run of a machine in virtual time: an owner, four processes and a provider, whatever befalls them, and what is judged.

    python -m tests.simulation.machine.run FIRST [LAST]

plays the seeds from the first to the last one, and says of each that fails what happened and which faults are needed for it.
"""

import asyncio
import logging
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from random import Random

import anyio

from governor import Config, Governor, Permit, PermitDenied
from governor._member.permits import AskedOwner
from governor._owner.members import Members
from tests.simulation.machine.befalling import befall
from tests.simulation.machine.disk import disk
from tests.simulation.machine.judging import judge, judge_now
from tests.simulation.machine.provider import Call, Provider
from tests.simulation.machine.scenario import CALLERS, MEMBERS, MS, SCOPES, SHARE, SOCKET, Scenario
from tests.simulation.machine.sockets import Network
from tests.simulation.machine.world import SECOND, Process, World


class Program:
    """One process with a governor."""

    def __init__(self, machine: "Machine", process: Process) -> None:
        self.machine = machine
        self.process = process
        self.life = process.thread()
        self.governor: Governor
        self.exit: anyio.Event | None = None
        self.task: asyncio.Task[object] | None = None

    def backend(self) -> object:
        return self.governor._access.backend


class OwnerProgram(Program):
    """`governor serve`, as far as it concerns other processes."""

    members: Members | None = None
    #: Whether it is told to end, or killed.
    ends = False

    def start(self) -> None:
        scenario = self.machine.scenario
        machine: dict[str, object] = {"state": str(self.machine.folder)} if scenario.state else {}
        config = Config.from_mapping({**scenario.policy, "machine": machine})
        self.governor = Governor(config, clock=self.machine.world.system_clock, random=Random(scenario.seed))
        self.task = self.process.run(self.life, self._main(), "owner")

    async def _main(self) -> None:
        self.exit = anyio.Event()
        await self.governor._lives.begin(self.governor.config.logging)
        async with self.governor.listen(self.machine.network.listen(SOCKET)) as self.members:  # type: ignore[arg-type] # as a socket
            self.machine.world.note(self.process, "listens")
            await self.exit.wait()
        await self.governor.aclose()
        self.machine.ended(self.process)


class MemberProgram(Program):
    """A process that calls the provider. Its governor lives on a thread of its own, and its callers on another one."""

    def __init__(self, machine: "Machine", process: Process, number: int) -> None:
        super().__init__(machine, process)
        self.number = number
        self.callers = process.thread()
        self.stops = False
        self.at_work = 0

    def start(self) -> None:
        scenario = self.machine.scenario
        settings = {"socket": SOCKET, "on_daemon_loss": scenario.away, "share": SHARE, "name": self.process.name}
        seed = scenario.seed * 1000 + len(self.machine.world.processes)
        config = Config.from_mapping({**scenario.policy, "machine": settings})
        self.governor = Governor(config, clock=self.machine.world.system_clock, random=Random(seed))
        self.task = self.process.run(self.life, self._main(), "life")

    async def _main(self) -> None:
        self.exit = anyio.Event()
        await self.governor._lives.begin(self.governor.config.logging)
        for number in range(CALLERS):
            random = Random(self.machine.world.random.randrange(2**32))
            self.process.run(self.callers, self._call_again_and_again(random), f"caller {number}")
        await self.exit.wait()
        await self.governor.aclose()
        self.machine.ended(self.process)

    async def _call_again_and_again(self, random: Random) -> None:
        scope = random.choice(SCOPES)
        self.at_work += 1
        while not self.stops:
            if random.random() < 0.2:
                scope = random.choice(SCOPES)
            timeout = random.choice([0.0, 0.0, 0.2, 0.5, 1.5, None])
            leaves_after = random.choice([0.0, 0.003, 1.0]) if timeout is None else None
            permitted = await self._ask(scope, timeout, leaves_after)
            if permitted is not None and random.random() < 0.05:
                permitted[0].give_back()
            elif permitted is not None:
                await self._make(*permitted)
            await anyio.sleep(random.uniform(0, self.machine.scenario.thinks) / 1000)
        self.at_work -= 1

    def rush(self, until: int, pause: float) -> None:
        """Calls again and again, with so many seconds between two calls, without waiting for answers."""
        if not self.process.dead:
            self.process.run(self.callers, self._rush(until, pause), "rush")

    async def _rush(self, until: int, pause: float) -> None:
        self.at_work += 1
        while self.machine.world.now < until and not self.stops:
            permitted = await self._ask("bucket:get", 0.0, None)
            if permitted is not None:
                self.process.run(self.callers, self._make(*permitted), "rushed")
            else:
                await anyio.sleep(0.02)
            await anyio.sleep(pause)
        self.at_work -= 1

    async def _ask(self, scope: str, timeout: float | None, leaves_after: float | None) -> tuple[Permit, Call] | None:
        """A permit, and what is known of the call."""
        machine = self.machine
        call = Call(self.process.name, scope, timeout, leaves_after, machine.world.now)
        machine.asking[id(call)] = self, call
        permit: Permit | None = None
        try:
            with anyio.move_on_after(leaves_after) as patience:
                permit = await self.governor.permit(*scope.split(":"), timeout=timeout).__aenter__()
                patience.deadline = float("inf")
        except PermitDenied as denied:
            call.denied = denied.reason.value
        finally:
            call.answered_at = machine.world.now
            if machine.asking.pop(id(call), None) is not None:
                machine.answered.append(call)
        if permit is None:
            return None
        owner, now = permit._owner, machine.world.now
        call.by = "lease" if not isinstance(owner, AskedOwner) else "alone" if owner.behind is not None else "owner"
        call.granted_at = machine.owner.process.at(permit.grant().granted_at * 1000) if call.by == "owner" else now
        call.held_up = self.process.was_stopped(call.granted_at, now)
        return permit, call

    async def _make(self, permit: Permit, call: Call) -> None:
        """Makes the call."""
        self.machine.provider.calls.append(call)
        permit.record(status=await self.machine.provider.answer(call, self.callers))


@dataclass
class Machine:
    """The machine and all that is known of a run."""

    scenario: Scenario
    folder: Path
    world: World
    network: Network
    provider: Provider
    owner: OwnerProgram = field(init=False)
    members: list[MemberProgram] = field(default_factory=list)
    #: Asks without an answer.
    asking: dict[int, tuple[MemberProgram, Call]] = field(default_factory=dict)
    #: Asks that were answered, or whose callers have gone.
    answered: list[Call] = field(default_factory=list)
    #: When something was wrong.
    fault_times: list[tuple[int, int]] = field(default_factory=list)
    exits: set[Process] = field(default_factory=set)
    #: When owners were started.
    starts: list[int] = field(default_factory=list)

    def process(self, name: str) -> Process:
        """The process of this name."""
        return next(one for one in self.world.processes if one.name == name)

    def start_owner(self) -> None:
        self.owner = OwnerProgram(self, Process(self.world, f"owner {len(self.world.processes)}"))
        self.owner.start()
        self.starts.append(self.world.now)

    def start_member(self, number: int) -> MemberProgram:
        random = self.world.random
        drift = random.choice([-0.08, -0.08, -0.04, 0.0, 0.08]) if self.scenario.drifts else random.uniform(-5e-5, 5e-5)
        name = f"member {number} ({len(self.world.processes)})"
        process = Process(self.world, name, drift=drift, offset=random.randrange(10**12))
        member = MemberProgram(self, process, number)
        self.members[number : number + 1] = [member]
        member.start()
        return member

    def ended(self, process: Process) -> None:
        """A process has ended in order."""
        self.exits.add(process)
        self.world.after(0, process.kill)

    def look(self) -> None:
        """Again and again: what must hold at every instant."""
        judge_now(self)
        self.world.after(20 * MS, self.look)

    def forget(self, member: MemberProgram) -> None:
        """Its callers are gone."""
        self.asking = {key: one for key, one in self.asking.items() if one[0] is not member}


@contextmanager
def machine(scenario: Scenario) -> Iterator[Machine]:
    """A machine that has begun."""
    world = World(scenario.seed)
    folder = Path(tempfile.mkdtemp(prefix="governor-simulation-"))
    network = Network(world)
    logging.getLogger("governor").addFilter(_quiet)
    try:
        with world.in_force(), network.in_force(), disk(world):
            made = Machine(scenario, folder, world, network, Provider(world))
            made.start_owner()
            world.run_until(50 * MS)
            for number in range(MEMBERS):
                made.start_member(number)
            for fault in scenario.faults:
                world.at(fault.at * MS, partial(befall, made, fault))
            made.look()
            yield made
    finally:
        logging.getLogger("governor").removeFilter(_quiet)
        shutil.rmtree(folder, ignore_errors=True)


def _quiet(record: logging.LogRecord) -> bool:
    return False


def play(scenario: Scenario) -> Machine:
    """Plays a scenario to its end, and judges it. Raises `AssertionError` with the diary."""
    with machine(scenario) as made:
        try:
            made.world.run_until(max([scenario.lasts * MS, *(fault.ends for fault in scenario.faults)]))
            judge(made)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{story(made)}") from error
        return made


def story(made: Machine) -> str:
    """What has happened, in order."""
    scenario = made.scenario
    calls = Counter((call.scope, call.by) for call in made.provider.calls)
    lines = [
        f"seed {scenario.seed}: {scenario}",
        f"{dict(calls)}",
        *(f"{at / SECOND:10.6f} {who}: {what}" for at, who, what in made.world.diary),
    ]
    return "\n".join(lines)


def needed(scenario: Scenario) -> Scenario:
    """A scenario that fails, without the faults that it does not need for that."""
    for fault in scenario.faults:
        less = replace(scenario, faults=tuple(one for one in scenario.faults if one is not fault))
        try:
            play(less)
        except AssertionError:
            scenario = less
    return scenario


def main(first: int, last: int) -> None:
    """Plays all seeds from the first to the last one. A single one is told, whatever comes of it."""
    for seed in range(first, last + 1):
        try:
            made = play(Scenario.drawn(seed))
        except AssertionError as error:
            sys.stdout.write(f"{error}\nneeded for it: {needed(Scenario.drawn(seed))}\n")
        else:
            sys.stdout.write(story(made) + "\n" if first == last else f"{seed} is well\n")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[-1]))
