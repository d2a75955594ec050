"""Laws of the word of a server: false only by its own answers, and not for ever."""

from governor._units import HOUR, SECOND, Duration, Instant
from governor.policies.learning.server_word import DOUBT, MAX_BROKEN, ServerWord
from tests.support import tape as st
from tests.support.tape import given

#: For each denial: how long after the end of the wait before its call was granted, the next wait, and whether one succeeded.
DENIALS = st.lists(
    st.tuples(
        st.sampled_from([-2, 0, 0, 1, 599, 600]),
        st.sampled_from([None, 0, 1, 5, 30]),
        st.sampled_from([False, False, False, True]),
    ),
    min_size=1,
    max_size=20,
)


@given(DENIALS)
def test_only_waits_in_a_row_that_were_kept_and_prove_false_break_it(denials: list[tuple[int, int | None, bool]]) -> None:
    word, now = ServerWord(), Instant(HOUR)
    said: Instant | None = None
    row, ended = 0, None
    for late, wait, succeeded in denials:
        granted_at = Instant((now if said is None else max(now, said)) + late * SECOND)
        now = Instant(max(now, granted_at) + 1)
        kept = said is not None and granted_at >= said and not succeeded
        row = 0 if succeeded else row + kept
        before = word.holds(now)
        lost = word.deny(now, granted_at, None if wait is None else Duration(wait * SECOND), succeeded=succeeded)
        if wait is None:
            said = None
        else:
            until = Instant(now + wait * SECOND)
            # A call that was under way when the wait was asked for neither keeps nor shortens it.
            said = until if kept or succeeded or said is None else max(until, said)

        assert word.broken == row
        assert lost == (before and row >= MAX_BROKEN)
        assert word.repeated == (ended is not None and granted_at > ended and now < ended + DOUBT)
        ended = max(ended or now, Instant(now + (wait or 0) * SECOND))
        if row >= MAX_BROKEN:
            assert not word.holds(Instant(now + DOUBT - 1))
            assert word.holds(Instant(now + DOUBT))
