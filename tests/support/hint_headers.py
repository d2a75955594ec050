"""Names of the headers in which the built-in dialects look for hints."""

from typing import Final

from governor.hints import built_in_dialects

HINT_HEADERS: Final = sorted(
    {
        source
        for dialect in built_in_dialects().values()
        for limit in dialect.limits
        for source in (
            limit.limit,
            limit.remaining,
            limit.ratio,
            limit.used,
            limit.refill,
            limit.name,
            limit.interval,
            *limit.reset,
        )
        if source is not None and source[0] != "$"
    }
    | {field for dialect in built_in_dialects().values() for pair in dialect.fields for field in (pair.state, pair.policy)}
    | {"retry-after", "retry-after-ms", "x-amz-retry-after", "ratelimit", "ratelimit-policy", "date"}
)
