"""The page of the protocol names every message and every field."""

import re
from pathlib import Path
from typing import Final, get_args

import msgspec
import pytest

from governor._actors.inbound.groups import MAX_ENDPOINTS, MAX_UNNAMED
from governor._actors.leases.lease import MAX_LEASED_TO_MEMBER
from governor._owner.admissions import MAX_IN_FLIGHT
from governor._owner.listener import MAX_BACKLOG
from governor._owner.members import MAX_MEMBERS, MAX_QUERIES
from governor._owner.places import MAX_HELD
from governor._owner.session import MAX_ASKS
from governor.protocol import MAX_BATCH, MAX_FRAME, VERSION, Exceeded, FromMember, FromOwner, LeaseUse, Left

PAGE: Final = (Path(__file__).resolve().parents[2] / "docs" / "reference" / "protocol.md").read_text(encoding="utf-8")


@pytest.mark.promise("R66")
@pytest.mark.parametrize(("title", "messages"), [("From a member", FromMember), ("From the owner", FromOwner)])
def test_each_side_is_described_message_by_message(title: str, messages: object) -> None:
    section = PAGE.split(f"## {title}")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| ([^|]*) \|", section, re.MULTILINE)
    described = {tag: re.findall(r"`(\w+)`", fields) for tag, fields in rows}

    assert described == {
        one.__struct_config__.tag: [field.encode_name for field in msgspec.structs.fields(one)] for one in get_args(messages)
    }


def test_the_fields_of_a_report_the_version_and_the_bounds_are_those_of_the_code() -> None:
    fields = PAGE.split("the fields of `LeaseUse`:")[1].split("\n")[0]

    assert [field.name for field in msgspec.structs.fields(LeaseUse)] == re.findall(r"`(\w+)`", fields)
    assert f"The version is {VERSION};" in PAGE
    for one in (Exceeded, Left):
        assert (
            ", ".join(f"`{field.name}`" for field in msgspec.structs.fields(one)).replace(
                "`retry_after`", "`retry_after` in seconds"
            )
            in PAGE
        )
    for bound in (
        MAX_FRAME,
        MAX_MEMBERS,
        MAX_BACKLOG,
        MAX_ASKS,
        MAX_HELD,
        MAX_LEASED_TO_MEMBER,
        MAX_QUERIES,
        MAX_BATCH,
        MAX_IN_FLIGHT,
        MAX_ENDPOINTS,
        MAX_UNNAMED,
    ):
        assert f"{bound:,}" in PAGE
