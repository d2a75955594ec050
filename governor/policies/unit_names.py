"""Names of the units that limits count: `requests`, `tokens`, or any other lower-case word.

Several words mean requests. A unit that is known has one spelling, the plural: `token` and `tokens` are never two units.
"""

from typing import Final

from governor.policies.contract import REQUESTS

#: Words that mean requests.
_REQUEST_WORDS: Final = frozenset({"req", "reqs", "request", REQUESTS, "call", "calls", "hit", "hits", "query", "queries"})
#: Units that providers count, in the singular.
_SINGULARS: Final = frozenset(
    {
        *("bit", "byte", "char", "character", "completion", "credit", "document", "dollar", "email", "embedding", "event"),
        *("file", "image", "item", "job", "message", "operation", "page", "point", "prompt", "record", "row", "symbol", "task"),
        *("token", "unit", "word"),
    }
)
#: Words that are checked for typing mistakes. Shorter ones are too similar to other units, such as `hits` to `bits`.
_CHECKED: Final = ("requests", "request", "calls", "queries", "tokens", "token")
_NEAR: Final = 0.86


def canonical(word: str) -> str:
    """The one spelling of a unit: `requests` for `calls`, `tokens` for `token`, `input_tokens` for `input_token`.

    An unknown word is returned unchanged.
    """
    if word in _REQUEST_WORDS:
        return REQUESTS
    return f"{word}s" if word.rpartition("_")[2] in _SINGULARS else word


def near(word: str) -> str | None:
    """The unit that a word probably means: `tokens` for `token`, `requests` for `requets`; None for every other word."""
    spelled = canonical(word)
    if spelled != word:
        return spelled
    if word in _CHECKED:
        return None
    import difflib  # loaded only for a unit that is neither of requests nor of tokens

    swapped = [known for known in _CHECKED if sorted(known) == sorted(word)]
    found = swapped or difflib.get_close_matches(word, _CHECKED, n=1, cutoff=_NEAR)
    return canonical(found[0]) if found else None
