"""Settings of budgets, `[budget.NAME]`, and of prices, `[prices.MODEL]`, as frozen records."""

import re
from collections.abc import Iterable, Mapping
from math import ceil
from typing import Annotated, Final, Self

import msgspec

from governor._callers import MAX_LABEL, check_label
from governor._units import MAX_DURATION, MICROSECOND
from governor.config.mistakes import Mistakes
from governor.errors import ConfigError
from governor.policies._checks import MAX_AMOUNT
from governor.policies._rate_text import parse_rate
from governor.policies.budget import USD, Budget, BudgetLimit

#: The units that a budget may count.
UNITS: Final = ("requests", "tokens", "input_tokens", "output_tokens", USD)
_MILLION: Final = 1_000_000
#: What labels of callers consist of, and patterns of them: a bracket must be closed, or it would match nothing.
_PART: Final = r"[A-Za-z0-9*?]|\[!?[A-Za-z0-9._:/@+-]+\]"
_PATTERN: Final = rf"({_PART})({_PART}|[._:/@+-])*"
_MAX_PATTERN: Final = 200
_LABELS: Final = "a label, such as 'agent-7', or a pattern, such as 'agent-*'; labels have letters, digits and '._:/@+-'"
#: What an amount is, for messages.
AMOUNT_FORMS: Final = "text such as '2000000 per day' or '60 per 10m'"

#: The text of an amount.
Amount = Annotated[str, "amount"]


class BudgetSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Settings of a budget, `[budget.NAME]`: what callers may use in any window, over all providers. Raises `ConfigError`.

    `labels` are those of the callers, or patterns such as `agent-*`; without them, the label is the name of the budget. `each`
    label has the amounts for itself, or, with `each = false`, all of them together. An amount is text such as
    `2000000 per day`, of requests, tokens (input and output), input tokens, output tokens, or dollars (up to 6 decimals); `off`
    for no bound. A budget whose amounts are all `off` is switched off.
    """

    labels: tuple[str, ...] = ()
    each: bool = True
    requests: Amount | None = None
    tokens: Amount | None = None
    input_tokens: Amount | None = None
    output_tokens: Amount | None = None
    usd: Amount | None = None

    def __post_init__(self) -> None:
        mistakes = Mistakes()
        for index, label in enumerate(self.labels):
            with mistakes:
                longest = _MAX_PATTERN if re.search(r"[*?[]", label) else MAX_LABEL
                if len(label) > longest or not re.fullmatch(_PATTERN, label):
                    raise ConfigError(f"labels[{index}]", label, _LABELS)
        for unit in UNITS:
            with mistakes:
                _limit(unit, getattr(self, unit))
        mistakes.report()

    def budget(self, name: str) -> Budget:
        """The parameters of the budget of this name."""
        limits = (_limit(unit, getattr(self, unit)) for unit in UNITS)
        return Budget(self.labels or (name,), tuple(limit for limit in limits if limit is not None), self.each)

    def scaled(self, share: float) -> Self:
        """The budget that allows this share of it in the long run, above 0 and at most 1, and at least one unit at a time."""
        limits = {unit: _limit(unit, getattr(self, unit)) for unit in UNITS}
        return msgspec.structs.replace(self, **{unit: _scaled(one, share) for unit, one in limits.items() if one is not None})


class PriceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """The price of a model, `[prices.MODEL]`, in dollars for a million tokens, 0 to 1,000,000. Raises `ConfigError`.

    `cached_input` is for input that is read from a cache, and `cache_write` for input that is written to one, each by default
    the price of other input. MODEL is the name that requests say, or a pattern with `*`; the longest one that matches counts.
    """

    input: float = 0.0
    output: float = 0.0
    cached_input: float | None = None
    cache_write: float | None = None

    def __post_init__(self) -> None:
        for field in self.__struct_fields__:
            price = getattr(self, field)
            if price is not None and not 0 <= price <= _MILLION:
                raise ConfigError(field, price, "a number of dollars from 0 to 1,000,000")

    @property
    def write(self) -> float:
        """The price of input that is written to a cache."""
        return self.input if self.cache_write is None else self.cache_write

    def micro_usd(self, taken: int, output: int, cached: int = 0, written: int = 0) -> int:
        """What so many tokens cost, in millionths of a dollar, rounded up. Of those `taken`, some are `written` to a cache."""
        cached_input = self.input if self.cached_input is None else self.cached_input
        return ceil((taken - written) * self.input + written * self.write + cached * cached_input + output * self.output)


def in_force(budgets: Mapping[str, BudgetSettings], said: Iterable[tuple[str, str, object]]) -> dict[str, BudgetSettings]:
    """The budgets, without those whose amounts are all switched off. `said` has the name, the path and the table of each.

    Raises `ConfigError` for a budget without an amount, and for one whose name is no label and that names no others.
    """
    kept: dict[str, BudgetSettings] = {}
    mistakes = Mistakes()
    for name, path, table in said:
        settings = budgets[name]
        with mistakes:
            if any(getattr(settings, unit) is not None for unit in UNITS):
                _check_labels(name, settings, field=path)
                kept[name] = settings
            elif not (isinstance(table, Mapping) and any(unit in table for unit in UNITS)):
                raise ConfigError(path, {}, f"an amount such as '2000000 per day' for at least one of {', '.join(UNITS)}")
    mistakes.report()
    return kept


def _check_labels(name: str, settings: BudgetSettings, *, field: str) -> None:
    if not settings.labels:
        try:
            check_label(name)
        except ConfigError:
            raise ConfigError(f"{field}.labels", [], f"labels, because {name!r} is none: {_LABELS}") from None


def _limit(unit: str, text: str | None) -> BudgetLimit | None:
    if text is None:
        return None
    amount, per, period = text.lower().replace("_", "").partition(" per ")
    try:
        rate = parse_rate(f"{amount.strip()} per {period.strip()} strict") if per else None
    except ConfigError:
        rate = None
    if rate is None or rate.unit != "requests":
        raise ConfigError(unit, text, f"{AMOUNT_FORMS}, or 'off'")
    if not MICROSECOND <= rate.period <= MAX_DURATION:
        raise ConfigError(unit, text, f"an amount in a duration from {MICROSECOND} to {MAX_DURATION}")
    worth, what = (
        (_MILLION, "a number of dollars from 0.000001, with at most 6 decimals,")
        if unit == USD
        else (1, "a whole number from 1")
    )
    whole, rest = divmod(rate.amount * worth, rate.parts)
    if rest or not 1 <= whole <= MAX_AMOUNT * worth:
        raise ConfigError(unit, text, f"{what} to {MAX_AMOUNT}")
    return BudgetLimit(unit, whole, rate.period)


def _scaled(limit: BudgetLimit, share: float) -> str:
    amount, per = int(limit.amount * share), int(limit.per)
    if not amount:
        amount, per = 1, int(min(ceil(per / (limit.amount * share)), MAX_DURATION))
    whole, millionths = divmod(amount, _MILLION)
    return f"{f'{whole}.{millionths:06}' if limit.unit == USD else amount} per {per}us"
