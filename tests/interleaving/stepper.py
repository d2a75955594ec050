"""Real threads that run one at a time and take turns between any two bytecodes.

CPython changes from one thread to another between bytecodes only. Here every task is a thread of its own that is traced,
bytecode by bytecode, through the files that count; before each of them the turn may go to another task, as often, and to
whom, as a `Random` says. So the code that runs is the code that ships, and the same seed brings the same order again.
"""

from collections.abc import Callable
from random import Random
from threading import Lock, Thread
from types import FrameType
from typing import Final

from tests.interleaving.bytecodes import stepping

#: How many bytecodes a turn takes. Most races need few turns in the right places, so some are short and some are long.
TURNS: Final = (1, 1, 2, 3, 5, 10, 30, 100, 400, 2000)
_CLOSE: Final = 4


class Stuck(AssertionError):
    """No task can go on, and no time that passes will change that."""


class _Abandoned(BaseException):
    """Ends a task when another one has failed."""


class _Task:
    def __init__(self, name: str, work: Callable[[], None]) -> None:
        self.name = name
        self.work = work
        self.turn = Lock()
        self.turn.acquire()
        #: What it waits for, if it waits.
        self.until: Callable[[], bool] | None = None
        self.done = False
        self.told_to_end = False

    def can_go_on(self) -> bool:
        return not self.done and (self.until is None or self.until())


class Stepper:
    """Tasks that take turns. `between` is called whenever the turn changes, `rest` when no task can go on.

    In functions whose names begin with one of `closely` a turn ends at one bytecode in `_CLOSE`: for races of a few bytecodes.

    `rest` lets time pass and returns whether there was a reason to; if not, the run fails with `Stuck`.
    """

    def __init__(
        self, random: Random, *, between: Callable[[], None], rest: Callable[[], bool], closely: tuple[str, ...] = ()
    ) -> None:
        self._random = random
        self._closely = closely
        self._between = between
        self._rest = rest
        self._tasks: list[_Task] = []
        self._left = 0
        self._failure: BaseException | None = None
        self._over = Lock()
        self._turn: _Task

    def add(self, name: str, work: Callable[[], None]) -> None:
        """One more task."""
        self._tasks.append(_Task(name, work))

    def run(self) -> None:
        """Runs all tasks to their ends; raises what one of them raised."""
        self._over.acquire()
        threads = [Thread(target=self._live, args=(task,), name=task.name, daemon=True) for task in self._tasks]
        for thread in threads:
            thread.start()
        self._give_turn()
        self._over.acquire()
        for thread in threads:
            thread.join()
        if self._failure is not None:
            raise self._failure

    def wait(self, until: Callable[[], bool]) -> None:
        """The task whose turn it is goes on when it is so."""
        task = self._turn
        task.until = until
        self._switch(task)
        task.until = None

    @property
    def left(self) -> int:
        """How many tasks have not come to their ends."""
        return sum(not task.done for task in self._tasks)

    def _live(self, task: _Task) -> None:
        task.turn.acquire()
        try:
            if self._failure is None:
                with stepping(self._step):
                    task.work()
        except _Abandoned:
            pass
        except BaseException as error:
            error.add_note(f"in {task.name}")
            self._failure = self._failure or error
        finally:
            task.done = True
            self._give_turn()

    def _step(self, frame: FrameType, offset: int) -> None:
        self._left -= 1
        close = bool(self._closely) and frame.f_code.co_name.startswith(self._closely)
        if self._left <= 0 or (close and self._random.randrange(_CLOSE) == 0):
            self._switch(self._turn)

    def _switch(self, task: _Task) -> None:
        self._give_turn()
        task.turn.acquire()
        if self._failure is not None and not task.told_to_end:
            task.told_to_end = True
            raise _Abandoned

    def _give_turn(self) -> None:
        left = [task for task in self._tasks if not task.done]
        if not left:
            self._over.release()
            return
        self._turn = self._next(left)
        self._left = self._random.choice(TURNS)
        self._turn.turn.release()

    def _next(self, left: list[_Task]) -> _Task:
        try:
            while self._failure is None:
                self._between()
                ready = [task for task in left if task.can_go_on()]
                if ready:
                    return self._random.choice(ready)
                if not self._rest():
                    raise Stuck([task.name for task in left])
        except Exception as error:
            self._failure = error
        return left[0]


class SteppedLock:
    """A lock whose waiting is a turn given away. `time` is in seconds."""

    def __init__(self, stepper: Stepper, time: Callable[[], float]) -> None:
        self._stepper = stepper
        self._time = time
        self._held = False

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """Takes it, when it is free; False if it is not by then."""
        deadline = self._time() + timeout if timeout >= 0 else float("inf")
        if self._held:
            self._stepper.wait(lambda: not self._held or self._time() >= deadline)
        if self._held:
            return False
        self._held = True
        return True

    def release(self) -> None:
        """Frees it."""
        self._held = False
