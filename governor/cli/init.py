"""`governor init`: writes a commented policy file, from flags or from answers on the terminal."""

import argparse
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from governor.cli import schema
from governor.config import Config, describe, parse_limit
from governor.config.model import built_in_config
from governor.config.names import check_name, join, provider_name, quoted
from governor.config.variable_names import USUAL_POLICY_FILE
from governor.errors import ConfigError

if TYPE_CHECKING:
    from governor.cli.completion import Commands

_DESCRIPTION: Final = (
    "Writes a commented policy file, and its JSON Schema beside it for editors. Without flags it asks on the terminal, if "
    "standard input is a terminal. `governor check FILE` accepts the result."
)
_SCHEMA: Final = "governor.schema.json"
_CAP: Final = 1000

Answer = TypeVar("Answer")
#: Limits by provider, and paths by group.
Sections = Mapping[str, str]


def add_to(commands: "Commands") -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("init", help="write a commented policy file", description=_DESCRIPTION)
    parser.add_argument("file", nargs="?", default=USUAL_POLICY_FILE, metavar="FILE", help="the file (default: %(default)s)")
    parser.add_argument(
        "--outbound",
        action="append",
        default=[],
        metavar="NAME=LIMIT",
        help="a provider that the program calls, and its limit, as in 'github=4900 per hour strict'; may be repeated",
    )
    parser.add_argument(
        "--inbound",
        action="append",
        default=[],
        metavar="NAME=PATH",
        help="a group of endpoints that the program serves, and its path, as in 'chat=/api/v1/chat'; may be repeated",
    )
    parser.add_argument("--cap", metavar="N", help=f"requests per minute over all providers, or 'off' (default: {_CAP})")
    parser.add_argument("--force", action="store_true", help="replace existing files")
    parser.add_argument("--no-schema", action="store_true", help="do not write the JSON Schema")
    parser.set_defaults(run=_run)


def _run(said: argparse.Namespace) -> int:
    if said.file == "-":
        raise ConfigError("FILE", "-", "the path of a file; './-' is one of that name")
    file = Path(said.file)
    files = [file] if said.no_schema else [file, file.parent / _SCHEMA]
    existing = [str(one) for one in files if one.exists()]
    if existing and not said.force:
        verb, them = ("exist", "them") if len(existing) > 1 else ("exists", "it")
        print(f"governor init: {' and '.join(existing)} {verb} already; --force replaces {them}", file=sys.stderr)
        return 2
    if said.outbound or said.inbound or said.cap is not None or not sys.stdin.isatty():
        cap = _cap(said.cap or str(_CAP))
        outbound, inbound = _pairs("--outbound", said.outbound), _pairs("--inbound", said.inbound)
    else:
        try:
            cap, outbound, inbound = _ask()
        except EOFError:
            print("\ngovernor init: the answers ended early; nothing was written", file=sys.stderr)
            return 2
    text = policy_file(cap=cap, outbound=outbound, inbound=inbound, schema=not said.no_schema)
    try:
        file.write_text(text, encoding="utf-8")
        if not said.no_schema:
            (file.parent / _SCHEMA).write_text(schema.text(), encoding="utf-8")
    except OSError as error:
        print(f"governor init: cannot write {error.filename}: {error.strerror}", file=sys.stderr)
        return 2
    print(f"Wrote {' and '.join(map(str, files))}. Check it with: governor check {file}")
    print(f"Programs read it with GOVERNOR_CONFIG={file} in their environment, or in .env.")
    return 0


def policy_file(*, cap: int | str, outbound: Sections, inbound: Sections, schema: bool) -> str:
    """The text of the file. Raises `ConfigError` for names, limits and paths that are not valid."""
    text = "\n".join(_lines(cap, outbound, inbound, schema=schema)) + "\n"
    limits = {name: {"limits": [limit]} for name, limit in outbound.items()}
    groups = {name: {"paths": [path]} for name, path in inbound.items()}
    Config.from_mapping({"global": {"requests_per_minute": cap}, "outbound": limits, "inbound": groups})
    return text


def _lines(cap: int | str, outbound: Sections, inbound: Sections, *, schema: bool) -> Iterator[str]:
    if schema:
        yield f"#:schema ./{_SCHEMA}"
        yield ""
    yield "# Policy file of traffic-governor. `governor check` validates it. A setting that is not here keeps its default."
    yield ""
    yield "[global]"
    yield '# At most this many requests in any 60 seconds, over all providers together; "off" for no cap.'
    yield f"requests_per_minute = {cap if isinstance(cap, int) else quoted(cap)}"
    yield "# Providers that continue in degraded mode."
    yield '# degraded_exempt = ["payments"]'
    yield ""
    yield "[outbound.default]"
    yield "# Every provider without a section of its own. A token bucket: 10 requests per second, and 100 at once."
    yield '# limits = ["10/s burst 100"]'
    yield "# The circuit breaker of each scope opens after 5 failures in a row, for a minute."
    yield '# breaker = { failures = 5, open_for = "1m" }'
    yield "# An operation makes at most 3 attempts."
    yield "# retry = { attempts = 3 }"
    for name, limit in outbound.items():
        yield ""
        yield f"[{join('outbound', name)}]"
        yield '# All limits in the list hold at once. "strict" windows are exact; buckets allow bursts.'
        yield f"limits = [{quoted(limit)}]"
    yield ""
    for name, path in inbound.items():
        yield f"[{join('inbound', name)}]"
        yield f"paths = [{quoted(path)}]"
        yield "# Per client: 20 requests per second, and 200 at once."
        yield '# limits = ["20/s burst 200"]'
        yield ""
    if not inbound:
        yield "# Limits for the API that this program serves, for each client. See `TrafficControlMiddleware`."
        yield "# [inbound.chat]"
        yield '# paths = ["/api/v1/chat"]'
        yield '# limits = ["20/s burst 200"]'
        yield ""
    yield "[logging]"
    yield "# Writes events as JSON lines to a private folder, for three days."
    yield "# enabled = true"


def _pairs(option: str, said: list[str]) -> dict[str, str]:
    pairs = {}
    for one in said:
        name, separator, value = (part.strip() for part in one.partition("="))
        if not (name and separator and value):
            raise ConfigError(option, one, "a name and a value, as in NAME=VALUE")
        pairs[name] = value
    return pairs


def _cap(text: str) -> int | str:
    if text != "off" and not (text.isdecimal() and int(text) > 0):
        raise ConfigError("--cap", text, "a whole number of at least 1, or 'off'")
    return "off" if text == "off" else int(text)


def _ask() -> tuple[int | str, dict[str, str], dict[str, str]]:
    """Cap, limits by provider and paths by group, from answers on the terminal. A wrong answer is asked for again."""
    print("An empty answer takes the value in brackets.")
    outbound, inbound = {}, {}
    for name in _answer("Providers that the program calls, separated by spaces", "", _providers):
        default = describe(built_in_config().for_scope(name).limits[0])
        outbound[name] = _answer(f"  Limit of {name}, for instance '5000 per hour strict'", default, _limit)
    cap = _answer("Requests per minute over all providers together, or off", str(_CAP), _cap)
    for name in _answer("Groups of endpoints that the program serves, separated by spaces", "", _names):
        inbound[name] = _answer(f"  Path of {name}", f"/api/v1/{name}", _path)
    return cap, outbound, inbound


def _answer(question: str, default: str, read: Callable[[str], Answer]) -> Answer:
    while True:
        said = input(f"{question} [{default or 'none'}]: ").strip()
        try:
            return read(said or default)
        except ConfigError as mistake:
            print(f"  {mistake}")


def _providers(text: str) -> list[str]:
    return [provider_name(name) for name in text.replace(",", " ").split()]


def _names(text: str) -> list[str]:
    names = text.replace(",", " ").split()
    for name in names:
        check_name(name, field="name")
    return names


def _limit(text: str) -> str:
    parse_limit(text)
    return text


def _path(text: str) -> str:
    if not text.startswith("/"):
        raise ConfigError("path", text, "a path that begins with '/'")
    return text
