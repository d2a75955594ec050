"""The program of the demo, from the command line to the exit status."""

import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import anyio
import msgspec

from demo.contender import Contender
from demo.daemon import daemon
from demo.governed import Governed, hints_only, policy
from demo.launch import Provider, ProviderFailed
from demo.options import Options, parse
from demo.progress import Progress
from demo.report import Run, footnotes, possible, spotless, table, verdict, verdict_on_workers
from demo.rules import WRITE, Rules
from demo.traffic import Call, calls
from demo.ungoverned import Ungoverned
from demo.workers import WORKERS, drive_workers
from demo.workload import THREADS, drive
from governor.errors import ConfigError

#: Calls arrive in this share of a run; what is left is for those that wait by then.
_BUSY: Final = 0.9


def main(arguments: Sequence[str]) -> int:
    """Runs the demo and prints its report.

    Returns 0; 1 if the provider denied or banned the governed client, or the governed processes, even once, or the demo itself
    failed; 2 for a mistake
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


def compare(options: Options, workload: Sequence[Call]) -> tuple[Run, Run, Run]:
    """Runs without a governor, with one, and with one that knows no limits: each against a provider of its own."""
    rules = options.rules()
    contenders = (
        Ungoverned,
        partial(Governed, title="with a governor", settings=policy(rules)),
        partial(Governed, title="with hints only", settings=hints_only()),
    )
    ungoverned, governed, unknown = (_run(contender, rules, workload, options.duration) for contender in contenders)
    return ungoverned, governed, unknown


def compare_workers(options: Options, workload: Sequence[Call]) -> tuple[Run, Run]:
    """Runs in two processes: each with a governor of its own, and then both with the one of the machine.

    The provider does not say what is left, from which a governor could guess that there is another one.
    """
    rules = msgspec.structs.replace(options.rules(), announces=False)
    settings = policy(rules)
    with TemporaryDirectory() as folder, daemon(Path(folder), settings) as socket:
        shared = settings | {"machine": {"socket": str(socket)}}
        apart = _run_workers("a governor for each", settings, rules, workload, options.duration)
        return apart, _run_workers("one for the machine", shared, rules, workload, options.duration)


def _show(options: Options, workload: Sequence[Call]) -> int:
    writes = sum(call.method == WRITE for call in workload)
    print("\n".join(_introduction(options, len(workload) - writes, writes)), flush=True)
    ungoverned, governed, unknown = compare(options, workload)
    best = possible(options.rules(), options.duration, writes)
    print("\n".join([*table((ungoverned, governed, unknown), best), "", *verdict(ungoverned, governed, unknown)]), flush=True)
    print(f"\nThe same work in {WORKERS} processes, each with half of it, and nothing said about what is left:\n", flush=True)
    apart, shared = compare_workers(options, workload)
    words = [*table((apart, shared), best, counted=False), "", *verdict_on_workers(apart, shared), "", *footnotes(best)]
    print("\n".join(words), flush=True)
    return 0 if spotless(governed) and spotless(shared) else 1


def _introduction(options: Options, reads: int, writes: int) -> list[str]:
    return [
        "The provider, a real HTTP server in a process of its own, documents:",
        *(f"  {line}" for line in options.rules().describe()),
        f"The same work, {options.duration:g} s each time ({options.source()}):",
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


def _run_workers(title: str, settings: dict[str, Any], rules: Rules, workload: Sequence[Call], duration: float) -> Run:
    with Provider(rules) as provider:
        driven = drive_workers(provider.base_url, settings, workload, duration)
        return Run(title=title, driven=driven, log=provider.finish())
