"""Names of HTTP methods, and words that are one of them with a typing mistake.

Words that mean something else are no mistakes: `posts`, `host` and `path` stay what they are.
"""

from typing import Final

METHODS: Final = ("get", "head", "post", "put", "delete", "connect", "options", "trace", "patch")
#: Real words that are one letter away from a method.
_WORDS: Final = frozenset({"had", "heard", "option", "path", "pos", "posit", "pot", "race"})
#: From so many letters on, no real word differs from a method in one letter only.
_LONG: Final = 6


def near(word: str) -> str | None:
    """The method that was probably meant by a word in lower case: `post` for `psot`. None for a method, and for other words."""
    if word in METHODS or word in _WORDS:
        return None
    return next((method for method in METHODS if _is_slip(word, method)), None)


def _is_slip(word: str, method: str) -> bool:
    """Whether two neighbours are swapped, one letter is missing, or one too many, or in a long word one is wrong."""
    if len(word) == len(method):
        wrong = [at for at, letter in enumerate(word) if letter != method[at]]
        if len(method) >= _LONG:
            return len(wrong) == 1 or sorted(word) == sorted(method)
        return len(wrong) == 2 and wrong[1] - wrong[0] == 1 and sorted(word) == sorted(method)
    if len(word) == len(method) + 1:
        # A letter at the end makes a plural or another form of the verb, unless it is typed twice.
        return word == method + method[-1] or _lacks_one(method, word, before=len(method))
    return len(method) > 3 and len(word) == len(method) - 1 and _lacks_one(word, method, before=len(method))


def _lacks_one(short: str, long: str, *, before: int) -> bool:
    """Whether the shorter one is the longer one without a letter that stands before this place."""
    return any(long[:at] + long[at + 1 :] == short for at in range(before))
