"""Changes of the status, and its pieces."""

import json
from collections.abc import Mapping
from typing import Final

import msgspec
import pytest
from hypothesis import settings

from governor.conditions import conditions
from governor.cooperative import finish
from governor.daemon.changes import changes
from governor.daemon.documents import About, Changes, Status
from governor.daemon.encoding import encoded
from governor.daemon.reports import status
from tests.support import tape as st
from tests.support.merging import merged
from tests.support.tape import given
from tests.unit.daemon.statuses import Scope, groups, scopes, statistics

#: Few names, so that two statuses have some in common.
KEYED: Final[st.SearchStrategy[dict[str, Scope]]] = st.builds(
    lambda outbound, inbound: {**outbound, **inbound},
    st.dictionaries(st.sampled_from("abcde").map("outbound:{}".format), scopes),
    st.dictionaries(st.sampled_from("fg").map("inbound:{}".format), groups),
)
PIECES: Final = st.integers(1, 4)


def document(known: Mapping[str, Scope], *, acts: bool, policy_file: str | None) -> Status:
    seen = statistics(known)
    about = About(version="0.1.0", pid=7, host="here", policy_file=policy_file)
    return finish(status(seen, conditions(seen), about=about, recent=dict.fromkeys(known, 1), acts=acts))


STATUSES: Final = st.builds(document, KEYED, acts=st.booleans(), policy_file=st.sampled_from([None, "one", "two"]))


@st.composite
def successions(draw: st.DrawFn) -> tuple[Status, Status]:
    """Two statuses, of which the second has some of the records of the first."""
    before, other = draw(STATUSES), draw(KEYED)
    stay = draw(st.sets(st.sampled_from(sorted(before.scopes)))) if before.scopes else set[str]()
    known: dict[str, Scope] = {**other, **{key: before.scopes[key] for key in stay}}
    return before, document(known, acts=draw(st.booleans()), policy_file=draw(st.sampled_from([None, "one"])))


def as_json(one: Status | Changes) -> dict[str, object]:
    return dict(json.loads(msgspec.json.encode(one)))


@pytest.mark.promise("R30")
@given(successions())
def test_a_status_with_the_changes_merged_into_it_is_the_later_one(pair: tuple[Status, Status]) -> None:
    before, after = pair
    found = finish(changes(before, after))

    assert as_json(after) == merged(as_json(before), as_json(found))
    assert {key for key, one in after.scopes.items() if before.scopes.get(key) != one} == set(found.scopes)


@given(STATUSES)
def test_nothing_has_changed_since_the_same_status(one: Status) -> None:
    found = as_json(finish(changes(one, one)))

    assert {"global": as_json(one)["global"], "labels": {}, "gone": [], "scopes": {}} == found


@settings(max_examples=50)
@given(successions(), PIECES)
def test_the_pieces_of_a_document_are_the_document(pair: tuple[Status, Status], scopes_in_piece: int) -> None:
    for one in (pair[1], finish(changes(*pair))):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("governor.cooperative.MAX_IN_STEP", scopes_in_piece)
            pieces = list(encoded(one))

        assert msgspec.json.encode(one) == b"".join(pieces)
        assert max(1, -(-len(one.scopes) // scopes_in_piece)) == len(pieces)
