"""`governor schema`: prints the JSON Schema of the policy file."""

import argparse
import json
from typing import TYPE_CHECKING, Final

from governor.config.json_schema import json_schema

if TYPE_CHECKING:
    from governor.cli.completion import Commands

_DESCRIPTION: Final = (
    "Prints the JSON Schema of the policy file. Save it beside the policy file, and begin that with "
    "`#:schema ./governor.schema.json`: editors with a TOML language server then complete and check the settings."
)


def add_to(commands: "Commands") -> None:
    """Adds the command to the parser."""
    parser = commands.add_parser("schema", help="print the JSON Schema of the policy file", description=_DESCRIPTION)
    parser.set_defaults(run=_run)


def text() -> str:
    """The schema as JSON, with a newline at its end."""
    return json.dumps(json_schema(), indent=2) + "\n"


def _run(said: argparse.Namespace) -> int:
    print(text(), end="")
    return 0
