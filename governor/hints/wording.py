"""Wording of error bodies: codes and sentences that say "rate limited", and what they say of waits and limits.

Providers without a dialect say so in their own structure, but in few words: `"code": "rate_limited"`, `"retry_after": 30`,
`"Please try again in 1m26.4s"`. Codes include those of the AWS SDKs (botocore, `retries/standard.py`).

What is read are the leaves of a body, in time linear in it.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Final

from governor._units import MILLISECOND, MINUTE, SECOND, Duration
from governor.hints.bans import is_ban, says_banned
from governor.hints.body import decode
from governor.hints.leaves import Leaf, elements_of, leaves_of, letters
from governor.hints.patterns import pattern
from governor.hints.sentences import limits_in, says_rate_limited, wait_in
from governor.hints.values import MAX_LENGTH, Clock, count, span

_CODE: Final = pattern(
    r"throttl|(?<!decline)ratelimit|toomany(?:requests|attempts)|requestlimit|apilimit|apicalllimit|serverbusy|overquerylimit|overqps|qps(?:has)?(?:exceed|limit)|overrate"
    r"|(?:query|request|call|access|usage)s?overlimit|over(?:global|rate|request|usage|plan)limit|frequentlyaccess|toofrequent|bandwidthlimit|limitexceededexception|slowdown"
    r"|(?:^|api|call|request|query|message)rateexceeded|servicerequestsexceed|exceeded(?:api|account)\w{0,12}allowance|throughputexceeded|complexitybudget|resourceexhausted|priorrequestnotcomplete"
    r"|maxconcurrentreq|floodwait|concurren(?:t|cy)(?:requests?|calls)?(?:limit)?(?:exceed|reached)"
    r"|(?:^(?:second|minute|hour|day|month)|usage|invocation|hourly|daily|monthly|burst|concurrency|encode|calls?)limit(?:exceeded|reached)"
    r"|(?<!storage)(?<!disk)(?<!space)(?<!instance)(?<!service)quota(?:limit)?(?:exceeded|exhausted|reached)"
)
#: Keys whose value may be such a code: a message that is one word is none.
_CODE_KEY: Final = pattern(r"(?:code|type|reason|error|errors|errorstring|name|status|tag|id|errorcode|kind|^value)$")
#: Elements of XML that say what has failed.
_FAULT_KEY: Final = pattern(r"(?:error|errors|code|errmsg|authmsg|reason|faultstring)$")
_MAX_FAULT: Final = 8
#: Characters of a text that is an error.
_MAX_LINE: Final = 256
#: Names of codes, of messages beside them, and of the parts of an answer that have them; without separators.
_SIGNS: Final = frozenset(
    {
        "code",
        "errcode",
        "errorcode",
        "statuscode",
        "status",
        "errorstatus",
        "value",
        "success",
        "ok",
        "error",
        "response",
        "ret",
        "retcode",
        "errno",
        "estado",
        "returncode",
        "resultcode",
        "rspcd",
        "codigoerro",
    }
)
_MESSAGES: Final = frozenset(
    {"msg", "message", "errmsg", "errormsg", "errormessage", "statusmsg", "statusmessage", "errordescription", "info", "reason"}
    | {"detail", "result", "description", "statusdescription", "submsg", "retmsg", "resmsg", "descripcion"}
    | {"returnmsg", "returnmessage", "resultmsg", "resultmessage", "rspmsg", "errtips", "zhdesc", "endesc"}
)
_ENVELOPES: Final = frozenset({"response", "retorno", "status", "baseresp", "header", "meta", "error", "errorresponse"})
_ERRORS: Final = frozenset({"error", "errors", "erro", "erros"})
_FAILURES: Final = frozenset({"error", "fail", "failed", "failure", "nok", "false"})
#: Values of an object that are looked at for one of them, and characters of a message that may be a code.
_MAX_PARTS: Final = 32
_MAX_PHRASE: Final = 24

#: Keys of waits, without separators, and their unit.
_WAIT_KEY: Final = pattern(
    r"x?(?:rate)?(?:limit)?(?:(?:retry|reset|resets|available|allowed)(?:after|in|delay|wait)|wait(?:time|for)?|backoff|cooldown"
    r"|(?:ttl|time)remaining|remaining(?:ttl|time)"
    r"|(?:lockout|penalty|block(?:ed)?|ban(?:ned)?)(?:time|for|duration|remaining|(?=sec|min|ms))"
    r"|throttle|secondsuntilreset|ratelimitduration|estimatedtimetoregainaccess)(?P<unit>seconds?|secs?|ms|millis(?:econds)?|minutes?|mins?)?$"
)
#: Keys of instants, or spans, at which a limit is available again.
_RESET_KEY: Final = pattern(
    r"x?(?:rate)?(?:limit)?(?:resets?(?:ms|sec|seconds)?(?:at|on|time|timeduration|timestamp|date)?(?:utc)?|(?:retry|available|banned|blocked)(?:at|until|afterdate)|until|un(?:banned|blocked|locked)at)$"
    r"|(?:period|window|interval)ends?(?:at|time|date)?$"
    r"|ratelimitnext$|endtime$|(?:ban|block)?expire[sd]?(?:at|on|in|time)$|(?:ratelimit)?next(?:valid)?(?:access|retry|try|request|call|allowed|available)(?:time|at|date)?$|(?:recommended)?retrytime$"
)
_MILLISECONDS: Final = ("ms", "milli")
#: Keys of a limit of calls, and of its window, in one object of a denial.
_LIMIT_KEYS: Final = frozenset(
    {"limit", "ratelimit", "requestlimit", "calllimit", "maxrequests", "maxcalls", "requestsperperiodallowed"}
)
_WINDOW_KEY: Final = pattern(
    r"(?:ratelimit)?(?:window|period|interval)(?:size|length)?(?:in)?(?P<unit>seconds?|secs?|ms|millis(?:econds)?|minutes?|mins?)$"
)
_PERIOD_KEYS: Final = frozenset({"period", "interval", "window", "per", "timeunit", "unit"})
_PERIODS: Final = {"second": SECOND, "minute": MINUTE, "hour": 60 * MINUTE}
#: The number from which on it is none of a limit, nor of its window.
_MAX_NUMBER: Final = 10**9
#: All of a limit, in percent.
_ALL: Final = 100
#: Keys of what is used, in percent.
_PERCENT_KEY: Final = pattern(r"pct$|^(?:callcount|totaltime|totalcputime)$")
#: A code with a wait in it, in seconds: `FLOOD_WAIT_30`.
_CODED_WAIT: Final = pattern(r"_(?:wait|after|in)_([0-9]{1,6})$")


def says_throttled(leaves: Iterable[Leaf]) -> bool:
    """Whether a body says in a code or in a sentence that the call is denied as rate limited."""
    return any(map(_says_throttled, leaves))


def says_failed(document: object) -> bool:
    """Whether a decoded JSON body of an answer that succeeded says that the call failed, as rate limited.

    Some APIs answer every call with 200. What they say of a failure is in an error, or beside a code; the data of other answers
    may hold the same words.
    """
    if isinstance(document, str):
        return _text_fails(document)
    if not isinstance(document, dict):
        return False
    named = [(letters(key), value) for key, value in document.items()][:_MAX_PARTS]
    within = [value for name, value in named if name in _ENVELOPES and isinstance(value, dict)]
    return _fails(named) or any(_fails([(letters(key), value) for key, value in one.items()][:_MAX_PARTS]) for one in within)


def _fails(named: Sequence[tuple[str, object]]) -> bool:
    failed, said = False, _is_429(named)
    for name, value in named:
        if (name in _ERRORS or (len(named) == 1 and name.endswith("error"))) and says_throttled(leaves_of([value])):
            return True
        if name in _SIGNS or (name == "result" and type(value) is int):
            failed = failed or _is_failure(name, value)
            said = said or (isinstance(value, str) and (name != "status" or value.isupper()) and is_code(value))
        elif name in _MESSAGES or (name == "data" and isinstance(value, str)):
            short = isinstance(value, str) and len(value) <= _MAX_PHRASE and is_code(value)
            said = said or short or (isinstance(value, (str, list)) and says_throttled(leaves_of([value])))
    return failed and said


def _is_429(named: Sequence[tuple[str, object]]) -> bool:
    """Whether a code is that of HTTP, in an object that has no data beside it."""
    return all(name in _SIGNS or name in _MESSAGES or value is None for name, value in named) and any(
        name.endswith("code") and str(value).strip() == "429" for name, value in named
    )


def _text_fails(text: str) -> bool:
    """Whether a text of an answer that succeeded is an error: a line that begins so, or XML whose first elements are."""
    if len(text) <= _MAX_LINE and (says_banned(lower := text.lower()) or (lower[:5] == "error" and says_rate_limited(lower))):
        return True
    first = list(islice(elements_of(text), _MAX_FAULT))
    if "<fault>" in text[:_MAX_LINE]:  # XML-RPC names the parts of a fault in elements of their own.
        return any(_says_throttled(leaf) for leaf in first)
    said = (leaf for leaf in first if _FAULT_KEY.search(leaf.key) is not None)
    return any(_says_throttled(leaf) or leaf.value == "banned" for leaf in said)  # As AniDB says it.


def says_ban(leaves: Iterable[Leaf]) -> bool:
    """Whether a body of a denial says that the client is banned."""
    return any(says_banned(leaf.lower) for leaf in leaves if leaf.lower)


def _is_failure(name: str, value: object) -> bool:
    """Whether a code says that a call failed: a number that is none of success, or a word."""
    text = str(value).strip().lower()
    if isinstance(value, (list, dict)):
        return bool(value)
    if name in ("success", "ok"):
        return text == "false"
    if text.isdecimal():
        return text == "0" if name == "status" and len(text) == 1 else int(text[:9]) > 1 and not 200 <= int(text[:9]) < 300
    return text not in ("", "none", "ok", "success", "true") and (name != "status" or not text.isalpha() or text in _FAILURES)


def is_code(text: str) -> bool:
    """Whether a code means "rate limited": `ThrottlingException`, `rate_limited`, `com.amazon#SlowDown`."""
    if text.startswith(("urn:", "http://", "https://")):  # A type of RFC 9457.
        text = re.split("[:/]", text)[-1]
    code = letters(text.partition(":")[0].rpartition("#")[2])
    return _CODE.search(code) is not None or is_ban(code)


def wait_of(leaves: Iterable[Leaf], clock: Clock) -> int:
    """The longest wait that a body of a denial names; -1 if it names none. In microseconds."""
    return max([_wait(leaf, clock) for leaf in leaves], default=-1)


def retry_of(leaves: Iterable[Leaf], clock: Clock) -> int:
    """The longest wait that a body names as one before a retry; -1 if it names none. In microseconds."""
    return max([_wait(leaf, clock) for leaf in leaves if leaf.key.startswith("retry")], default=-1)


def used_up(text: str, clock: Clock, default: int) -> int:
    """The wait that a header asks for in which a usage has reached 100 percent, `default` without one; -1 below that.

    `{"call_count": 100, "total_time": 25}`, and `estimated_time_to_regain_access` beside them.
    """
    leaves = leaves_of(decode(text.encode("utf-8", "replace")))
    used = (leaf.value for leaf in leaves if _PERCENT_KEY.search(leaf.key) is not None)
    if not any(isinstance(percent, (int, float)) and percent >= _ALL for percent in used):
        return -1
    wait = wait_of(leaves, clock)
    return wait if wait > 0 else default


def limit_of(leaves: Iterable[Leaf]) -> tuple[int, Duration] | None:
    """The limit and its window that a denial names, in words or in an object; None if none, or several of one window."""
    found: dict[Duration, int] = {}
    for leaf in leaves:
        if leaf.key in _LIMIT_KEYS and type(leaf.value) is int and 0 < leaf.value < _MAX_NUMBER:
            stated = [(window, leaf.value) for window in _windows_in(leaf.of)]
        else:
            stated = limits_in(leaf.lower) if leaf.is_sentence or "/" in leaf.lower else []
        for window, amount in stated:
            if found.setdefault(window, amount) != amount:
                return None
    shortest = min(found, default=None)
    return None if not shortest or not found[shortest] else (found[shortest], shortest)


def _says_throttled(leaf: Leaf) -> bool:
    if leaf.is_sentence:
        return says_rate_limited(leaf.lower)
    value = leaf.value
    if not isinstance(value, str) or len(value) > MAX_LENGTH:
        return False
    # A message that is one word in capitals, or in snake case, is a code.
    is_one = value.isupper() or ("_" in value and leaf.key in _MESSAGES) or _CODE_KEY.search(leaf.key) is not None
    return is_one and is_code(value)


def _wait(leaf: Leaf, clock: Clock) -> int:
    value = leaf.value
    if (leaf.is_sentence or "=" in leaf.lower) and (said := wait_in(leaf.lower, clock)) >= 0:
        return said
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return -1
    if leaf.lower[-1:].isdecimal() and (found := _CODED_WAIT.search(leaf.lower)) is not None and is_code(str(value)):
        return int(found[1]) * SECOND
    scale, is_reset = _unit_of(leaf.key)
    if scale is None or (is_reset and _has_units_left(leaf.of)):
        return -1
    wait = span(str(value)[:MAX_LENGTH].strip(), clock, unit=scale)
    return -1 if wait is None else wait


@lru_cache(maxsize=1_024)
def _unit_of(key: str) -> tuple[int | None, bool]:
    """The unit of a number that a key says, if it is a wait or a reset; and whether it is a reset. Kept as the keys are."""
    found = _WAIT_KEY.match(key)
    if found is None:
        is_reset = _RESET_KEY.match(key) is not None
        return ((MILLISECOND if key.endswith("resetms") else SECOND) if is_reset else None), is_reset
    unit = found["unit"] or ""
    return (MINUTE if key == "estimatedtimetoregainaccess" else _scale(unit)), "reset" in key


def _has_units_left(of: Mapping[str, object]) -> bool:
    """Whether an object says that units of its limit are left: its reset is none of the limit that has denied the call."""
    for name, value in islice(of.items(), _MAX_PARTS):
        key = letters(name)
        if key == "exceeded":
            return value is False
        if key.endswith("remaining") and count(str(value)):
            return True
        if key.endswith("pct") and isinstance(value, (int, float)) and value < _ALL:
            return True
    return False


def _windows_in(of: Mapping[str, object]) -> list[Duration]:
    """The windows that an object says: in a number whose unit is in its key, `windowSeconds`, or a word, `"period": "hour"`."""
    parts = list(islice(of.items(), _MAX_PARTS))
    numbers = ((_unit_of_window(key), value) for key, value in parts if type(value) is int)
    words = (_PERIODS.get(value.lower()) for key, value in parts if isinstance(value, str) and letters(key) in _PERIOD_KEYS)
    return [
        *(Duration(value * unit) for unit, value in numbers if unit is not None and 0 < value < _MAX_NUMBER),
        *(Duration(unit) for unit in words if unit is not None),
    ]


@lru_cache(maxsize=256)
def _unit_of_window(key: str) -> int | None:
    """The unit of a window, if a key says one. Kept as the keys are."""
    found = _WINDOW_KEY.match(letters(key))
    return None if found is None else _scale(found["unit"])


def _scale(unit: str) -> int:
    return MINUTE if unit.startswith("min") else MILLISECOND if unit.startswith(_MILLISECONDS) else SECOND
