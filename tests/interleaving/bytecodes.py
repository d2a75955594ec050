"""Calls a function before each bytecode of the code under test, on the threads that ask for it.

CPython 3.11 calls a trace function for each frame. From 3.12 on, tracing rewrites the code object itself, and a thread that
begins to trace a function while another one is inside it makes that one lose its place, with a segmentation fault
(python/cpython#118415, mended in 3.13). So there all code is rewritten once, before the threads start, by `sys.monitoring`.
"""

import gc
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import get_ident
from types import CodeType, FrameType, FunctionType
from typing import Any, Final

import governor
import governor_client

_PACKAGES: Final = (str(Path(package.__file__ or "").parent) for package in (governor, governor_client))
_TRACED: Final = (*_PACKAGES, str(Path(__file__).with_name("faults.py")))


#: What is called, with the frame and the place of the bytecode in its code.
Step = Callable[[FrameType, int], object]


def _is_traced(code: CodeType) -> bool:
    return code.co_filename.startswith(_TRACED)


if sys.version_info >= (3, 12):
    _monitoring: Final = sys.monitoring
    #: One that no tool of the standard library uses.
    _TOOL: Final = 4
    _steps: Final[dict[int, Step]] = {}

    def _on_instruction(code: CodeType, offset: int) -> None:
        step = _steps.get(get_ident())
        if step is not None:
            step(sys._getframe(1), offset)

    def _code_under_test() -> set[CodeType]:
        functions = [found for found in gc.get_objects() if isinstance(found, FunctionType)]
        codes = {function.__code__ for function in functions if _is_traced(function.__code__)}
        new = codes
        while new:
            new = {inner for code in new for inner in code.co_consts if isinstance(inner, CodeType)} - codes
            codes |= new
        return codes

    @contextmanager
    def instrumented() -> Iterator[None]:
        """Bytecodes of the code under test can be stepped through inside.

        At the beginning and at the end no other thread may be in that code.
        """
        codes = _code_under_test()
        _monitoring.use_tool_id(_TOOL, "interleaving")
        _monitoring.register_callback(_TOOL, _monitoring.events.INSTRUCTION, _on_instruction)
        for code in codes:
            _monitoring.set_local_events(_TOOL, code, _monitoring.events.INSTRUCTION)
        try:
            yield
        finally:
            for code in codes:
                _monitoring.set_local_events(_TOOL, code, _monitoring.events.NO_EVENTS)
            _monitoring.free_tool_id(_TOOL)

    @contextmanager
    def stepping(step: Step) -> Iterator[None]:
        """Calls `step` before each bytecode of the code under test that this thread runs inside."""
        _steps[get_ident()] = step
        try:
            yield
        finally:
            stop_stepping()

    def stop_stepping() -> None:
        """Lets this thread go on without steps."""
        _steps.pop(get_ident(), None)

else:

    @contextmanager
    def instrumented() -> Iterator[None]:
        """Bytecodes of the code under test can be stepped through inside."""
        yield

    @contextmanager
    def stepping(step: Step) -> Iterator[None]:
        """Calls `step` before each bytecode of the code under test that this thread runs inside."""

        def begin(frame: FrameType, event: str, _: Any) -> Any:
            if not _is_traced(frame.f_code):
                return None
            frame.f_trace_lines = False
            frame.f_trace_opcodes = True
            return within

        def within(frame: FrameType, event: str, _: Any) -> Any:
            if event == "opcode":
                step(frame, frame.f_lasti)
            return within

        sys.settrace(begin)
        try:
            yield
        finally:
            stop_stepping()

    def stop_stepping() -> None:
        """Lets this thread go on without steps."""
        sys.settrace(None)
