"""The words in which policies are asked."""

from governor.policies.contract import PLAIN, Request


def test_a_plain_request_is_one_request_and_nothing_else() -> None:
    assert Request(1, None) == PLAIN


def test_a_unit_that_is_not_named_costs_nothing() -> None:
    assert [1, 0] == [PLAIN.amount(unit) for unit in (None, "tokens")]
    assert [2, 900, 0] == [Request(2, {"tokens": 900}).amount(unit) for unit in (None, "tokens", "images")]
