"""Names of HTTP methods, and misspelled names of them.

Words with a meaning of their own are not misspelled: `posts`, `host` and `path`.
"""

from typing import Final

METHODS: Final = ("get", "head", "post", "put", "delete", "connect", "options", "trace", "patch")
#: Words that differ from a method in one letter.
_WORDS: Final = frozenset({"had", "heard", "option", "path", "pos", "posit", "pot", "race"})
#: From this number of letters on, no real word differs from a method in one letter only.
_LONG: Final = 6


def near(word: str) -> str | None:
    """The method that a misspelled word in lower case means: `post` for `psot`. None for methods and for other words."""
    if word in METHODS or word in _WORDS:
        return None
    return next((method for method in METHODS if _is_slip(word, method)), None)


def _is_slip(word: str, method: str) -> bool:
    """Whether two neighbouring letters are swapped, one is missing or added, or in a long word one is wrong."""
    if len(word) == len(method):
        wrong = [at for at, letter in enumerate(word) if letter != method[at]]
        if len(method) >= _LONG:
            return len(wrong) == 1 or sorted(word) == sorted(method)
        return len(wrong) == 2 and wrong[1] - wrong[0] == 1 and sorted(word) == sorted(method)
    if len(word) == len(method) + 1:
        # A letter added at the end is a plural or another form of the verb, unless it repeats the last one.
        return word == method + method[-1] or _lacks_one(method, word, before=len(method))
    return len(method) > 3 and len(word) == len(method) - 1 and _lacks_one(word, method, before=len(method))


def _lacks_one(short: str, long: str, *, before: int) -> bool:
    """Whether `short` is `long` without one of the letters before this index."""
    return any(long[:at] + long[at + 1 :] == short for at in range(before))
