"""Every mistake and every denial says what its reader needs."""

import pickle

import pytest

from governor import (
    BanBudgetSpent,
    BudgetSpent,
    CircuitOpen,
    ConcurrencyExceeded,
    ConfigError,
    CostExceedsCapacity,
    DegradedMode,
    Denied,
    GovernorError,
    LoopDetected,
    Overloaded,
    PermitDenied,
    Problem,
    ProviderCooldown,
    RateLimited,
    Reason,
    RequestCapExceeded,
    RetryBudgetSpent,
    ShuttingDown,
    UsageError,
)

LEAVES = [
    (Reason.RATE_LIMIT, "rate_limit_exceeded", RateLimited),
    (Reason.CIRCUIT_OPEN, "circuit_breaker_open", CircuitOpen),
    (Reason.DEGRADED, "degraded_mode_active", DegradedMode),
    (Reason.BUDGET, "budget_spent", BudgetSpent),
    (Reason.COOLDOWN, "provider_cooldown_active", ProviderCooldown),
    (Reason.REQUEST_CAP, "global_request_cap_exceeded", RequestCapExceeded),
    (Reason.BAN_BUDGET, "ban_budget_spent", BanBudgetSpent),
    (Reason.RETRY_BUDGET, "retry_budget_spent", RetryBudgetSpent),
    (Reason.LOOP, "loop_detected", LoopDetected),
    (Reason.CONCURRENCY, "concurrency_exceeded", ConcurrencyExceeded),
    (Reason.COST, "cost_exceeds_capacity", CostExceedsCapacity),
    (Reason.OVERLOADED, "overloaded", Overloaded),
    (Reason.SHUTTING_DOWN, "shutting_down", ShuttingDown),
]


@pytest.mark.promise("R10")
@pytest.mark.parametrize(("reason", "word", "leaf"), LEAVES)
def test_every_reason_has_its_word_and_its_leaf(reason: Reason, word: str, leaf: type[PermitDenied]) -> None:
    refusal = Denied("github:get", reason, 1.5).exception()

    assert word == reason.value
    assert leaf is type(refusal)
    assert ("github:get", reason, 1.5) == (refusal.scope, refusal.reason, refusal.retry_after)


@pytest.mark.promise("R10")
def test_no_reason_is_without_a_leaf() -> None:
    assert set(Reason) == {reason for reason, _, _ in LEAVES}


@pytest.mark.parametrize(
    ("retry_after", "sentence"),
    [
        (1.5, "github:get was denied: overloaded; try again in 1.500 s"),
        (None, "github:get was denied: overloaded; waiting does not help"),
    ],
)
def test_a_refusal_is_a_sentence_with_its_values(retry_after: float | None, sentence: str) -> None:
    assert sentence == str(Overloaded("github:get", Reason.OVERLOADED, retry_after))
    assert '[outbound."github:get"]' in str(LoopDetected("github:get", Reason.LOOP, retry_after))


def test_a_mistake_in_a_setting_names_field_value_and_range() -> None:
    mistake = ConfigError("timeout", -1, "0 or more")

    assert ("timeout", -1, "0 or more") == (mistake.field, mistake.value, mistake.allowed)
    assert "timeout is -1; expected 0 or more" == str(mistake)


@pytest.mark.parametrize("leaf", [ConfigError, UsageError, PermitDenied, *(leaf for _, _, leaf in LEAVES)])
def test_there_is_one_base_for_all_and_it_is_a_runtime_error(leaf: type[Exception]) -> None:
    assert issubclass(leaf, GovernorError)
    assert issubclass(leaf, RuntimeError)


def test_a_mistake_in_a_setting_is_a_value_error_for_those_who_know_no_governor() -> None:
    assert issubclass(ConfigError, ValueError)
    assert [ConfigError, GovernorError, RuntimeError, ValueError] == ConfigError.mro()[:4]


def test_several_mistakes_have_a_line_each() -> None:
    mistakes = ConfigError.of(
        [Problem("a.b", 1, "2", "a.b is 1; expected 2", "governor.toml", 3, 7), Problem("c", 1, "2", "c is 1; expected 2")]
    )

    assert ("a.b", 1, "2") == (mistakes.field, mistakes.value, mistakes.allowed)
    assert "2 mistakes in the settings:\n  governor.toml:3:7: a.b is 1; expected 2\n  c is 1; expected 2" == str(mistakes)


@pytest.mark.parametrize(
    "error",
    [
        ConfigError("a", 1, "2"),
        ConfigError.of(2 * ConfigError("a", 1, "2").problems),
        RateLimited("github", Reason.RATE_LIMIT, 2.0),
    ],
)
def test_errors_survive_the_way_to_another_process(error: Exception) -> None:
    there = pickle.loads(pickle.dumps(error))

    assert (type(error), error.args, str(error)) == (type(there), there.args, str(there))
