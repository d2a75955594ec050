"""The program of the demo, from the command line to the exit status."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

import anyio

from demo.contender import Contender
from demo.governed import Governed
from demo.launch import Provider, ProviderFailed
from demo.options import Options, parse
from demo.progress import Progress
from demo.report import Run, possible, spotless, table, verdict
from demo.rules import WRITE, Rules
from demo.traffic import Call, calls
from demo.ungoverned import Ungoverned
from demo.workload import THREADS, drive
from governor.errors import ConfigError

#: Calls arrive in this share of a run; what is left is for those that wait by then.
_BUSY: Final = 0.9


def main(arguments: Sequence[str]) -> int:
    """Runs the demo and prints its report.

    Returns 0; 1 if the provider denied or banned the governed client even once, or the demo itself failed; 2 for a mistake
    in the arguments or in the trace; 130 if interrupted.
    """
    try:
        options = parse(arguments)
        workload = calls(options.arrivals(), speed=options.speed, span=options.duration * _BUSY, seed=options.seed)
    except ConfigError as mistake:
        print(f"demo: {mistake}", file=sys.stderr)
        return 2
    try:
        return _show(options, workload)
    except ProviderFailed as failure:
        print(f"demo: {failure}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


def compare(options: Options, workload: Sequence[Call]) -> tuple[Run, Run]:
    """The run without a governor, and the one with it: each against a provider of its own, so that both begin alike."""
    rules = options.rules()
    contenders = (Ungoverned, partial(Governed, rules=rules))
    ungoverned, governed = (_run(contender, rules, workload, options.duration) for contender in contenders)
    return ungoverned, governed


def _show(options: Options, workload: Sequence[Call]) -> int:
    writes = sum(call.method == WRITE for call in workload)
    print("\n".join(_introduction(options, len(workload) - writes, writes)), flush=True)
    ungoverned, governed = compare(options, workload)
    best = possible(options.rules(), options.duration, writes)
    print("\n".join([*table((ungoverned, governed), best), "", *verdict(ungoverned, governed)]), flush=True)
    return 0 if spotless(governed) else 1


def _introduction(options: Options, reads: int, writes: int) -> list[str]:
    return [
        "The provider, a real HTTP server in a process of its own, documents:",
        *(f"  {line}" for line in options.rules().describe()),
        f"The same work twice, {options.duration:g} s each ({options.source()}):",
        f"  {reads} reads and {writes} writes, in tasks and in {THREADS} threads, and an endless loop.",
        "",
    ]


def _run(enter: Callable[[str], Contender], rules: Rules, workload: Sequence[Call], duration: float) -> Run:
    with Provider(rules) as provider:
        contender = enter(provider.base_url)
        progress = Progress(contender.title, duration)
        driven = anyio.run(partial(drive, contender, workload, duration=duration, watch=progress))
        progress.end()
        return Run(title=contender.title, driven=driven, log=provider.finish())
