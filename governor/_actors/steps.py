"""Steps of an actor: one handler at a time, from reading the mailbox to performing the effects.

A step begins by reading what the holder of the lease and other threads have reported, runs its handlers to completion, and ends
in one place, `_end`: effects are performed there, what the hot path reads is copied, and only then does the caller go on.

A step may be asked for while another one runs: by a signal handler, a finalizer, or an effect that comes back. Then it is
denied, or posted to the loop, and never begun.

A step may be interrupted before its end, by Ctrl-C or by a signal handler that raises. The loop finds that when it calls next,
where no step runs, and restarts the actor as after a crash. Until then the actor seems to run a step. A nearly full stack could
interrupt it anywhere, and keep it from waking those that wait, so no step begins there.
"""

import math
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Final, final

from governor._actors.alarm import Alarm
from governor._actors.common import Common
from governor._actors.effects import Crashed, Performer
from governor._actors.leases.lease import LOOK_INTERVAL
from governor._actors.ledger import Ledger
from governor._actors.lifecycle import Event, Lifecycle
from governor._actors.mailbox import NOMINAL_WAIT, Mailbox
from governor._actors.permit import Permit
from governor._actors.queue import Waiter
from governor._actors.scope import ScopeLogic
from governor._units import Instant, to_seconds
from governor.errors import Reason
from governor.messages import Acquire, Denied
from governor.policies.pipeline import Pipeline
from governor.policies.retry import Retry

#: Seconds. A clock that stands still must not turn the alarm into a busy loop.
_STILL_CLOCK_NAP: Final = 0.01
#: A step begins only if this part of the stack is left.
_LEFT_OF_STACK: Final = 5


def _is_stack_full() -> bool:
    """Whether hardly any calls may be nested further. Costs 0.4 µs, which is a thirtieth of a step."""
    limit = sys.getrecursionlimit()
    try:
        sys._getframe(limit - limit // _LEFT_OF_STACK)
    except ValueError:
        return False
    return True


@final
class Steps:
    """The mailbox, the state, the alarm and the decisions of one actor, and the order in which they are used.

    The owner copies what calls read, at the end of each step.

    Belongs to the actors' thread, but for `mailbox.send` and `mailbox.deliver`.
    """

    __slots__ = (
        "_failures",
        "_hearing",
        "_owner",
        "_rang_at",
        "_watch",
        "alarm",
        "life",
        "logic",
        "mailbox",
        "portal",
    )

    def __init__(
        self,
        ledger: Ledger,
        life: Lifecycle,
        *,
        owner: Performer,
        common: Common,
        retry: Retry,
    ) -> None:
        self.life = life
        self.alarm = Alarm(common.parent.alarms, self)
        self.mailbox = Mailbox(
            ledger.scope, portal=common.portal, failures=common.failures, max_waiting=common.max_waiting, reader=self
        )
        self.logic = ScopeLogic(
            ledger,
            owner=owner,
            retry=retry,
            random=common.random,
            max_waiting=common.max_waiting,
            alarm=self.alarm,
            time=common.portal.time,
            surroundings=common.parent,
            steps=self,
        )
        self.portal = common.portal
        self._owner = owner
        self._failures = common.failures
        self._watch = common.watch
        #: Whether the step that runs is between two messages, where outcomes may be read on behalf of another actor.
        self._hearing = False
        self._rang_at = Instant(-1)

    # Steps.

    def acquire(self, acquire: Acquire, waiter: Waiter | None) -> Permit | Denied | None:
        """An ask on the actor's own loop. None means that the waiter has joined the queue and will be woken."""
        if self.life.busy:
            self.mailbox.notify()
            return self.logic.denied(Reason.OVERLOADED, NOMINAL_WAIT)
        if _is_stack_full():
            raise RecursionError("the stack has no room left to decide on a call")
        self.life.apply(Event.BEGIN)
        try:
            try:
                self._drain()
                self._hear_failures()
                return self._ask(acquire, waiter)
            except Exception as error:
                return self.crashed(error)
            finally:
                self.end()
        except BaseException:
            self.mailbox.notify()
            raise

    def acquire_all(self, asks: Iterable[tuple[Acquire, Waiter]]) -> None:
        """Asks that have come together, on the actor's own loop, in one step. Each waiter is woken, at once or later."""
        if self.life.busy:
            self.mailbox.notify()
            for _, waiter in asks:
                waiter.give(self.logic.denied(Reason.OVERLOADED, NOMINAL_WAIT))
            return
        self.life.apply(Event.BEGIN)
        now = Instant(0)
        try:
            try:
                self._drain()
                self._hear_failures()
                now = self.logic.ledger.clock()
                self.logic.serve_before(now)
            except Exception as error:
                self.crashed(error)
            for acquire, waiter in asks:
                try:
                    self._take_ask(acquire, waiter, now)
                except Exception as error:
                    self.crashed(error)  # Those that follow find that it is down.
        finally:
            self.end()

    def read_soon(self) -> None:
        """Reads the mailbox: at once, unless a step runs, the loop cannot wake its tasks here, or the stack is nearly full."""
        if self.life.state & 1 or self.portal.must_post() or _is_stack_full():  # It is `busy`, without the call.
            self.mailbox.notify()
        else:
            self.run(self._drain, self._serve)

    def read(self) -> None:
        """Reads the mailbox, as a callback of the loop."""
        self.run(self._drain, self._serve)

    def ring(self) -> None:
        """The alarm rings: reads the mailbox, looks after the lease, and serves the queue."""
        self.run(self._drain, self._ring)

    def hear(self) -> bool:
        """Reads the outcomes there are, and no asks. False if a step runs that does not expect it."""
        if self._hearing:
            self._hearing = False
            self.mailbox.hear(self.logic.learn)
            self._hearing = True
            return True
        if self.life.busy:
            return False
        self.run(partial(self.mailbox.hear, self.logic.learn))
        return True

    def change(self, part: Callable[[], object]) -> None:
        """Reads the mailbox, changes the policies, and serves the queue by them: soon, if a step runs."""
        if self.life.busy:
            self.mailbox.notify()
            self.portal.post(partial(self.change, part))
        else:
            self.run(self._drain, part, self._serve)

    def within(self, part: Callable[[], object]) -> None:
        """Runs a part of a step: within the step that runs, or else as a step of its own."""
        if self.life.busy:
            part()
        else:
            self.run(part)

    def run(self, *parts: Callable[[], object]) -> None:
        """Runs a step. One that raises takes the actor down."""
        if self.life.state & 1:  # It is `busy`, without the call.
            self.crashed(RuntimeError("a step was interrupted before its end"))
            self.end()
        self.life.apply(Event.BEGIN)
        try:
            try:
                for part in parts:
                    part()
            except Exception as error:
                self.crashed(error)
            finally:
                self.end()
        except BaseException:
            self.mailbox.notify()  # What is left is read, and served.
            raise

    def end(self) -> None:
        """Ends a step: performs its effects, copies what the hot path reads, and lets the next step begin, in this order."""
        try:
            self.logic.settle()
        except Exception as error:
            self.crashed(error)
        finally:
            self._owner.copy()
            self.life.apply(Event.END)
        self.logic.standing.move_on()

    # Parts of steps.

    def _drain(self) -> None:
        self.logic.leasing.catch_up()
        self.mailbox.hear(self.logic.learn)
        self.mailbox.drain(self._take_ask, self.logic.leave)

    def _take_ask(self, acquire: Acquire, waiter: Waiter | None, served_at: Instant | None = None) -> None:
        """Decides on an ask of the inbox, or on one of another process, after the queue has been `served_at`."""
        try:
            if served_at is None:
                self._hear_failures()
            answer = self._ask(acquire, waiter, served_at)
        except Exception:
            # It has left the inbox, and a waiter in the queue will be answered there: each is answered once.
            if waiter is not None:
                self.logic.leave(waiter)
            self.logic.answer(waiter, self.logic.ledger.deny(self.logic.denied(Reason.OVERLOADED, NOMINAL_WAIT)))
            raise
        if answer is not None:
            self.logic.answer(waiter, answer)
        if served_at is None and self.life.live and acquire.suits_lease:
            self.logic.leasing.missed()

    def _hear_failures(self) -> None:
        """Reads what the caller may have reported before it asked: to this actor, or a failure to another one."""
        self.mailbox.hear(self.logic.learn)
        if not self._failures:
            return
        self._hearing = True
        try:
            self._failures.read()
        finally:
            self._hearing = False

    def _ask(self, acquire: Acquire, waiter: Waiter | None, served_at: Instant | None = None) -> Permit | Denied | None:
        if self.life.passive:
            self._resume()
        ledger = self.logic.ledger
        denied = self.life.answer(ledger.clock)
        if denied is None and acquire.watched is not None and self._watch is not None:
            # Before anything is spent.
            denied = self._watch.denial(ledger.clock(), ledger.scope, self._owner.loops, acquire, self.logic.stopped)
            if denied is not None and denied.again:
                return denied
        return self.logic.decide(acquire, waiter, served_at) if denied is None else ledger.deny(denied)

    def _serve(self) -> None:
        if self.life.live and self.logic.serve():
            self._look_soon()

    def _ring(self) -> None:
        now = self.logic.ledger.clock()
        still = now == self._rang_at
        self._rang_at = now
        if self.life.live and self.logic.on_alarm(now):
            self._look_soon()
        if still:
            self.alarm.at = max(self.alarm.at, self.portal.time() + _STILL_CLOCK_NAP)

    def _look_soon(self) -> None:
        self.alarm.set(min(self.alarm.at, self.portal.time() + to_seconds(LOOK_INTERVAL)))

    # The life of the actor.

    def _resume(self) -> None:
        self.life.apply(Event.RESUME)
        self.logic.resumed()

    # Both in this order: publish the answer, close the mailbox, answer the calls that wait. A call that looks in between finds
    # the answer, or is among those that wait; none is forgotten.

    def stop(self, answer: Denied, *, until: Instant | None = None) -> None:
        """Takes the actor down: until it is reopened every ask is answered so."""
        self.life.stop(answer, until=until)
        self.halt()
        self.mailbox.deny_all(answer)
        self._dismiss(answer)

    def close(self, answer: Denied) -> None:
        """Every ask is answered so for good: the life of the actor is over."""
        self.halt()
        self.mailbox.close(answer)
        self._dismiss(answer)

    def _dismiss(self, answer: Denied) -> None:
        self.logic.dismiss(answer)
        if not self.life.busy:
            self.logic.standing.move_on()

    def halt(self) -> None:
        """Learns and recalls what is granted ahead, and ends the alarm."""
        self.logic.leasing.catch_up()
        self.logic.leasing.recall()
        self._owner.copy()
        self.alarm.set(math.inf)

    def reopen(self, pipeline: Pipeline) -> None:
        """Lets a down actor decide again, by these policies."""
        self.life.reopen()
        before = self.logic.ledger.pipeline
        self.run(partial(self.logic.ledger.use, pipeline), partial(self.logic.leasing.follow, before))

    def crashed(self, error: Exception) -> Denied:
        """A handler has raised: answers all calls that wait, and tells the supervisor."""
        denied = self.life.answer(self.logic.ledger.clock)
        if denied is None:
            if self.life.passive:
                self._resume()
            denied = self.logic.denied(Reason.OVERLOADED, NOMINAL_WAIT)
            self._owner.perform(Crashed(error))  # First: one that is down and not restarted would stay down.
            self.stop(denied)
        return self.logic.ledger.deny(denied)
