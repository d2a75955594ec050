"""What befalls the processes of a machine: each kind of fault as a function, which says until when it lasts and for whom."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from tests.simulation.machine.scenario import MS, Fault
from tests.simulation.machine.world import SECOND, Process

if TYPE_CHECKING:
    from tests.simulation.machine.run import Machine


def befall(machine: "Machine", fault: Fault) -> None:
    """Has it happen now."""
    begun = machine.world.now
    machine.world.note("fault", f"{fault.kind}, member {fault.who}, {fault.lasts} ms, {fault.inside}")
    until = KINDS[fault.kind](machine, fault, begun + fault.lasts * MS)
    machine.fault_times.append((begun, until))


def _kill_member(machine: "Machine", fault: Fault, until: int) -> int:
    machine.members[fault.who].process.kill()
    machine.forget(machine.members[fault.who])
    machine.world.at(until, lambda: machine.start_member(fault.who))
    return until


def _kill_owner(machine: "Machine", fault: Fault, until: int) -> int:
    if machine.owner.ends:
        return until  # Another one is on its way.
    machine.owner.ends = True
    machine.owner.process.kill()
    machine.world.at(until, machine.start_owner)
    return until


def _restart_owner(machine: "Machine", fault: Fault, until: int) -> int:
    owner = machine.owner
    if owner.ends or owner.exit is None:
        return until
    owner.ends = True
    owner.life.call_soon_threadsafe(owner.exit.set)

    def start() -> None:
        if owner.process.dead:
            machine.start_owner()
        else:  # A state folder belongs to one process.
            machine.world.after(10 * MS, start)

    machine.world.at(until, start)
    return max(until, owner.process.stopped_until + 20 * MS)


def _stop(machine: "Machine", process: Process, fault: Fault, until: int) -> int:
    if "inside" in fault.kind:
        process.stops_inside = fault.inside, until - machine.world.now
        return until + SECOND  # Until then it has read its clock often enough.
    process.stop(until - machine.world.now)
    return until


def _stop_member(machine: "Machine", fault: Fault, until: int) -> int:
    return _stop(machine, machine.members[fault.who].process, fault, until)


def _stop_owner(machine: "Machine", fault: Fault, until: int) -> int:
    # Sometimes for so long that its members count it as gone.
    return _stop(machine, machine.owner.process, fault, until + (5 * SECOND if fault.inside > 30 else 0))


def _cut(machine: "Machine", fault: Fault, until: int) -> int:
    for one in tuple(machine.members[fault.who].process.sockets.values()):
        one.cut()
    return machine.world.now


def _hold(machine: "Machine", fault: Fault, until: int) -> int:
    for one in tuple(machine.members[fault.who].process.sockets.values()):
        one.hold(until - machine.world.now, incoming=fault.kind != "mute", outgoing=fault.kind != "deaf")
    return until


def _rush(machine: "Machine", fault: Fault, until: int) -> int:
    machine.members[fault.who].rush(until, 0.0003 if fault.kind == "rush" else 0.017)
    return machine.world.now


def _outage(machine: "Machine", fault: Fault, until: int) -> int:
    machine.provider.fails_until = max(machine.provider.fails_until, until)
    return until + SECOND  # Until the breaker lets calls through again.


def _wall_clock(machine: "Machine", fault: Fault, until: int) -> int:
    machine.world.wall_error += fault.lasts * (-60 if fault.inside % 2 else 60)
    return machine.world.now


KINDS: Final[Mapping[str, Callable[["Machine", Fault, int], int]]] = {
    "kill member": _kill_member,
    "kill owner": _kill_owner,
    "restart owner": _restart_owner,
    "stop member": _stop_member,
    "stop member inside": _stop_member,
    "stop owner": _stop_owner,
    "stop owner inside": _stop_owner,
    "cut": _cut,
    "deaf": _hold,
    "mute": _hold,
    "cut off": _hold,
    "rush": _rush,
    "trickle": _rush,
    "outage": _outage,
    "wall clock": _wall_clock,
}
