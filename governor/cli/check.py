"""`governor check`: validates a policy file, and prints what it changes."""

import argparse
import sys
from typing import TYPE_CHECKING, Final

from governor.cli.presets import in_use
from governor.config import Config, show
from governor.config.differences import differences
from governor.config.variable_names import unread_policy_file

if TYPE_CHECKING:
    from governor.cli.completion import Commands

_DESCRIPTION: Final = (
    "Reads the built-in defaults, the policy file, .env and the environment. If they are valid, prints OK and the settings "
    "that differ from the defaults, as a policy file, with the sources of the presets in use. If not, prints every mistake and "
    "exits with status 2."
)


def add_to(commands: "Commands") -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("check", help="validate a policy file and show what it changes", description=_DESCRIPTION)
    parser.add_argument("file", nargs="?", metavar="FILE", help="the policy file; default: the one in GOVERNOR_CONFIG, if any")
    parser.add_argument("--all", action="store_true", help="print every setting, defaults included")
    parser.set_defaults(run=_run)


def _run(said: argparse.Namespace) -> int:
    config = Config.load(said.file)
    lines = show(config) if said.all else differences(config)
    name = f" {config.policy_file}" if config.policy_file else ""
    if not name and (advice := unread_policy_file()):
        print(f"{advice}, or name it to this command", file=sys.stderr)
    if said.all:
        # Nothing but the settings, so that the output is a policy file.
        print("\n".join(lines[:-1]))
    elif lines:
        print("\n".join([f"OK{name}", "", *in_use(config), *lines[:-1]]))
    else:
        print(f"OK{name}: every setting has its default")
    return 0
