"""Wording of error bodies: codes and sentences that say "rate limited", and waits, by the names of keys and in sentences.

Providers without a dialect say so in their own structure, but in few words: `"code": "rate_limited"`, `"retry_after": 30`,
`"Please try again in 1m26.4s"`. Codes include those of the AWS SDKs (botocore, `retries/standard.py`).

Reading takes time linear in the body. Of one body `MAX_LEAVES` values are read, and `MAX_CHARACTERS` of each.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

from governor._units import DAY, MILLISECOND, MINUTE, SECOND, Duration
from governor.hints.body import MAX_CHARACTERS, decode
from governor.hints.patterns import pattern
from governor.hints.values import MAX_LENGTH, Clock, count, span

MAX_LEAVES: Final = 1_024

_CODE: Final = pattern(
    r"throttl|(?<!decline)ratelimit|toomany(?:requests|attempts)|requestlimit|apilimit|apicalllimit|serverbusy|overquerylimit|overqps|qps(?:has)?(?:exceed|limit)|overrate"
    r"|(?:query|request|call|access|usage)s?overlimit|over(?:global|rate|request|usage|plan)limit|frequentlyaccess|toofrequent|bandwidthlimit|limitexceededexception|slowdown"
    r"|(?:^|api|call|request|query|message)rateexceeded|servicerequestsexceed|exceeded(?:api|account)\w{0,12}allowance|throughputexceeded|complexitybudget|resourceexhausted|priorrequestnotcomplete"
    r"|(?:^(?:second|minute|hour|day|month)|usage|invocation|hourly|daily|monthly|burst|concurrency|encode|calls?)limit(?:exceeded|reached)"
    r"|(?<!storage)(?<!disk)(?<!space)(?<!instance)(?<!service)quota(?:limit)?(?:exceeded|exhausted|reached)"
)
#: Keys whose value may be such a code: a message that is one word is none.
_CODE_KEY: Final = pattern(r"(?:code|type|reason|error|errors|errorstring|name|status|tag|id|errorcode|kind)$")
#: Elements of XML that say what has failed.
_FAULT_KEY: Final = pattern(r"(?:error|errors|code|errmsg|authmsg|reason|faultstring)$")
_MAX_FAULT: Final = 8
#: Characters of a text that is an error.
_MAX_LINE: Final = 256
#: Sentences that say that calls come too fast.
_SAID: Final = pattern(
    r"too many (?!(?:pull|merge|friend|follow) )(?:(?:\w+ ){0,2}(?:requests|calls|attempts|tries|visits)|(?:\w+ )?request)\b"
    r"(?! in (?:\w+ )?(?:batch|bulk|single|one))(?![^.]{0,48} account (?:has been|is|was) locked)"
    r"|please wait (?:\w+ ){0,5}before (?:you |your )?(?:try|next|send)\w*|too many polls"
    r"|reached (?:its|the|their|your) (?:(?!pull|merge|friend)\w+ )?(?:rate|requests?|api|calls?|query) limit"
    r"|must wait (?:\w+ ){0,3}[0-9]{1,6} (?:second|minute|hour)|wait [0-9]{1,6} (?:second|minute)s? between"
    r"|try again (?:in|after) [0-9]{1,6} ?(?:s|seconds?|minutes?|hours?)\b|throttling your request"
    r"|(?:rate|requests?|calls?|api|throttle)[ -]?limits? (?:per \w+ |has |have |was |is |are |been )*"
    r"(?:exceed|reached|hit|met|triggered)"
    r"|(?:rate|request|call|usage)[ -]?limit (?:of|for) [^.]{0,48}(?:exceeded|reached)"
    r"|exceed\w* (?:[\w']+ ){0,5}(?:(?:rate|request|usage|[rqt]ps)[ -]limit|(?:access|request|call) rate)"
    r"|(?:over|out of) (?:(?:your|the) )?(?:rate|request|usage) limit|usage (?:is )?over (?:the |your )?limit"
    r"|(?:user|api) usage (?:limit )?(?:exceeded|reached)|\A(?:the )?limit (?:is |has been )?(?:exceeded|reached)\.?\Z"
    r"|(?:was|been|is|are|being) (?:throttled|rate[ -]limited)|\bthrottled:|\brate[ -]limited\b|qps exceeded"
    r"|(?:\A(?:the )?|[:.(] ?|max(?:imum)? |(?:request|call|api|query|access|sending|message)s? )rate exceeded"
    r"|only (?:one|[0-9]{1,6}) (?:\w+ ){0,2}(?:requests?|calls?) (?:\w+ ){0,8}(?:at a time|per (?:second|minute|hour|day))"
    r"|(?:rate|request) threshold exceeded"
    r"|calls? (?:is |are )?limited|not permit further calls|reduce (?:your|the) request rate|please slow down"
    r"|banned until|banned for (?:flood|too many)|temporar(?:y|ily) (?:lockout|locked out|banned)"
    r"|over developer|developer over (?:qps|rate)"
    r"|(?:requests?|calls?|frequency|send(?:ing)?) (?:is |are )?too (?:high|frequent|fast|often)|too frequent\b"
    r"|(?:request|trigger|access|call) frequency (?:\w+ )?(?:exceed|limit)\w*|exceed\w* (?:\w+ ){0,3}frequency"
    r"|(?<!not )exceed\w* [0-9]{1,9} times (?:per|an?|in [0-9]{1,9}) (?:second|minute|hour|day)"
    r"|(?:exceeded_quota|quota_exceeded|too_many_requests|rate_limited|rate_limit_exceeded)\b|too_many_attempts"
)
#: Such sentences of other languages: Chinese, Korean, Japanese, Russian, German, French, Spanish, Portuguese, Italian.
_SAID_ELSEWHERE: Final = pattern(
    r"频繁|限流|每(?:秒|分钟|小时|天|日)\w{0,8}(?:最多|最大)\w{0,4}(?:访问|调用|请求)|超(?:过|出)\w{0,12}(?:请求|调用|访问)\w{0,2}次数|请求\w{0,6}暂时禁用"
    r"|(?:请求|调用|访问|并发|频率|次数|查询)(?!\w{0,8}(?:体|大小|长度|参数|文件|内容|数量|页))\w{0,16}(?:超过|超出|超限|上限|过快|过高)"
    r"|요청이 (?:너무 )?많|초당 [^.]{0,12}초과|(?:요청|호출) ?(?:횟수|한도|건수|수|량)[^.]{0,8}초과"
    r"|(?:リクエスト|アクセス|呼び出し)(?!\w{0,8}(?:サイズ|ボディ|長))\w{0,12}(?:上限|超え|超過|多すぎ)|レート制限"
    r"|слишком (?:много запросов|част)|превыш\w{0,8} (?:\w+ ){0,3}(?:частот|запросов|обращений|вызовов)"
    r"|zu viele (?:anfragen|versuche|aufrufe)|trop de (?:requêtes|demandes|tentatives|appels|sms|messages)"
    r"|demasiad[ao]s (?:solicitudes|peticiones|intentos|llamadas|consultas)"
    r"|muitas (?:requisições|solicitações|tentativas|chamadas)"
    r"|troppe richieste|troppi tentativi"
    r"|l[ií]mite d[ei] (?:peticiones|solicitudes|consultas|llamadas|requisições|chamadas|requêtes|richieste|chiamate)"
    r"[^.]{0,40} (?:exced|super|alcanz|atingid|ultrapass|dépass|attei|raggiunt)"
)
#: Sentences that say that a number is used up: that of the calls of some time, unless a word near says another thing.
_SPENT: Final = pattern(
    r"quota (?:for (?:\w+ ){1,4}|limit )?(?:(?:has|have|was|is|been) ){0,2}(?:exceeded|exhausted|reached)"
    r"|exceed\w* (?:\w+ ){0,5}limit of [0-9][0-9,]{0,12} (?:\w+ ){0,2}(?:requests|calls|queries)"
    r"|reached (?:the |your )?(?:hourly|daily|weekly|monthly) limit of [0-9][0-9,]{0,12} (?:\w+ ){0,2}"
    r"(?:requests|calls|queries)"
    r"|(?:requests?|calls?) (?:\w+ )?reached (?:the |your )?(?:\w+ ){0,2}limit|requests are too many"
    r"|quota will be (?:renewed|reset|replenished|restored)|(?:query|usage) limits? (?:is |are |has been )?(?:exceeded|reached)"
    r"|quota [^.]{0,48}used up|reached (?:the |your )?(?:\w+ ){0,2}quota|(?:max(?:imum)?|pending|concurrent) requests exceeded"
    r"|over (?:\w+ ){0,2}quota|usage limits? [^.]{0,40}exceeded|out of (?:\w+ ){0,3}quota"
    r"|reach(?:ed)? (?:the |your )?max(?:imum)? (?:\w+ ){0,4}(?:quota|(?:request|call|rate)s? limit"
    r"|requests|calls)|(?:hourly|daily|weekly|monthly|minutely|per-minute) (?:\w+ ){0,2}limit [^.]{0,40}(?:exceeded|reached)"
    r"|(?:exceed|surpass)\w* (?:\w+ ){0,5}(?:quota|api calls"
    r"|(?:hourly|daily|weekly|monthly) (?:\w+ |(?:\w+ ){1,2}(?:requests?|calls?) )?"
    r"limit"
    r"|(?:requests|calls|queries) per|(?:maximum|number of) (?:\w+ ){0,2}(?:requests|calls|queries))"
    r"|(?:number|threshold|amount) (?:of|for) [^.]{0,48}(?:requests|calls|queries)[^.]{0,96}(?:exceeded|reached)"
)
_OTHER_THING: Final = pattern(
    r"storage|disk|space|records?\b|service quota|mailbox|memory|instance|seat|member|file|batch|single|depth|payload|upload"
    r"|size|byte|length"
    r"|transfer|cores?\b|cpu|pods?\b|compute|peraccount|spend|card\b|amount|transaction|withdraw|deposit|balance"
    r"|price limit|friend|pull request|merge request"
)
_NEAR: Final = 24
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
    }
)
_MESSAGES: Final = frozenset(
    {"msg", "message", "errmsg", "errormsg", "errormessage", "statusmsg", "statusmessage", "errordescription", "info", "reason"}
    | {"detail", "result", "description", "submsg", "retmsg", "resmsg", "descripcion"}
)
_ENVELOPES: Final = frozenset({"response", "status", "baseresp", "header", "meta", "error", "errorresponse"})
_FAILURES: Final = frozenset({"error", "fail", "failed", "failure", "nok", "false"})
#: Values of an object of which a message is read, and characters of a message that may be a code.
_MAX_PARTS: Final = 32
_MAX_PHRASE: Final = 24
#: An element of XML that has a text only: its name, or the name that an attribute gives it, and its text.
_ELEMENT: Final = pattern(r'(?i)<(?:\w{1,16}:)?([\w.-]{1,64})(?: name="([\w.-]{1,64})")?[^<>]{0,128}>([^<>]{1,256})</')

#: Keys of waits, without separators, and their unit.
_WAIT_KEY: Final = pattern(
    r"x?(?:rate)?(?:limit)?(?:(?:retry|reset|resets|available|allowed)(?:after|in|delay|wait)|wait(?:time|for)?|backoff|cooldown"
    r"|(?:ttl|time)remaining|remaining(?:ttl|time)"
    r"|throttle|secondsuntilreset|ratelimitduration|estimatedtimetoregainaccess)(?P<unit>seconds?|secs?|ms|millis(?:econds)?|minutes?|mins?)?$"
)
#: Keys of instants, or spans, at which a limit is available again.
_RESET_KEY: Final = pattern(
    r"x?(?:rate)?(?:limit)?(?:resets?(?:ms|sec|seconds)?(?:at|on|time|timestamp|date)?(?:utc)?|(?:retry|available|banned|blocked)(?:at|until|afterdate)|until|un(?:banned|blocked|locked)at)$"
    r"|(?:period|window|interval)ends?(?:at|time|date)?$"
    r"|ratelimitnext$|endtime$|next(?:valid)?(?:access|retry|try|request|call|allowed|available)(?:time|at|date)?$|(?:recommended)?retrytime$"
)
#: A sentence that names a wait: "try again in 7.5s", "retry after 35", "banned until 1700000000000", "in the next hour".
_SENTENCE: Final = pattern(
    r"(?:again|retry|availab(?:le|ility)|resets?|renewed|wait|banned|blocked|throttled|suspended|disabled|expires|try after"
    r"|request (?:this |it )?after|replenished|timed out|will last|remaining (?:period|time))"
    r"(?:(?!every|per )[^0-9.!?]){0,24}?[ :~\[]"
    r"(?:(?P<clock>[0-9]{1,3}:[0-5][0-9]:[0-5][0-9])(?![0-9:])"
    r"|(?P<date>[0-9]{4}-[0-9]{2}-[0-9]{2}[t ][0-9:.]{5,18}z?|(?:[a-z]{3} [a-z]{3} [0-9]{1,2}|[0-9]{1,2} [a-z]{3}) [0-9]{4}"
    r" [0-9:]{8}(?: (?:utc|gmt(?:[+-][0-9]{4})?))?)"
    r"|(?P<span>(?:[0-9]{1,9}(?:\.[0-9]{1,9})?\]?\s?(?:more )?"
    r"(?:milliseconds?|ms|[\u00b5\u03bcun]s|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)"
    r"(?![a-z])[ ,]{0,2}(?:and )?){1,4})"
    r"|(?:an?|one|(?:the )?next) (?P<one>second|minute|hour|day)(?![a-z])"
    r"|(?P<number>[0-9]{1,19}(?:\.[0-9]{1,9})?))(?![0-9])"
)
#: A limit: "15 requests per second", "40 API calls / minute", "5 per 1 minute", "50/second".
_LIMIT: Final = pattern(
    r"(?<![0-9.,:/-])([0-9]{1,9}) ?(?:(?:\w{1,8} )?(?:requests?|calls?|queries|hits|times|messages) )?"
    r"(?:per (?:user|ip|key|client|account) )?"
    r"(?:per|/|an?|each|every) ?([0-9]{1,5}(?= ?[smh]))? ?(seconds?|secs?|s|minutes?|mins?|m|hours?|h)(?![a-z0-9])"
)
#: A wait in the other languages, in a text that says "again" or "wait": "in 20 Sekunden", "через 30 секунд", "30秒后".
_AGAIN_ELSEWHERE: Final = pattern(
    r"erneut|wieder|wart|réessay|patiente|attend|nuevo|intent|esper|novamente|tente|aguard|riprov|attend|повтор|попроб|подожд|再|等|다시|お待ち"
)
_WAIT_ELSEWHERE: Final = pattern(
    r"\b(?:in|nach|noch|en|em|por|após|tra|fra|dopo|через)\s([0-9]{1,6})\s?(?:(sekunde|segundo|secondi|секунд)|minuten\b|minut[oi]|минут)"
    r"|\b(?:dans|après)\s([0-9]{1,6})\s?(?:(seconde)|minute)|([0-9]{1,6})\s?(?:(秒|초)|分|분)钟?\s?(?:后|後|之后|以后|후|뒤)"
)
_NEXT_ELSEWHERE: Final = pattern(r"(?:siguiente|próximo|prochaine|nächsten?|prossimo|следующ\w{1,4}|下一) ?(?:minut|分钟)")
#: A number without a unit is a wait after these words only.
_MEANS_WAIT: Final = pattern(r"(?:after|in|until|for)[ :~]+[0-9.]+$")
#: Digits of a number that is a date.
_EPOCH_DIGITS: Final = 10
#: Commas of numbers, `1,640 seconds`.
_THOUSANDS: Final = pattern(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
_MIDNIGHT: Final = pattern(r"(?:tomorrow|again|until|resets?|renew\w*|replenish\w*)[^.]{0,24} midnight[^.]{0,8} (?:utc|gmt)")
_IS_SPAN: Final = pattern(r"(?:in|for)[ :~]+[0-9:]+$")
_PART: Final = pattern(r"([0-9]+(?:\.[0-9]+)?)\]?\s?(?:more )?(ms|milli|[\u00b5\u03bcun]s|[smhd])")
_MILLISECONDS: Final = ("ms", "milli")


class _Leaf(NamedTuple):
    """A value that has no parts: its key, in lower case and without separators, itself, and the object that it is in."""

    key: str
    value: object
    of: Mapping[str, object]


def says_throttled(document: object) -> bool:
    """Whether a decoded JSON body, or a text, says in a code or in a sentence that the call is denied as rate limited."""
    if isinstance(document, str):
        return _is_sentence(document[:MAX_CHARACTERS].lower()) or any(_says_throttled(leaf) for leaf in _elements(document))
    return any(_says_throttled(leaf) for leaf in _leaves(document))


def says_failed(document: object) -> bool:
    """Whether a decoded JSON body of an answer that succeeded says that the call failed, as rate limited.

    Some APIs answer every call with 200. What they say of a failure is in an error, or beside a code; the data of other answers
    may hold the same words.
    """
    if isinstance(document, str):
        return _text_fails(document)
    if not isinstance(document, dict):
        return False
    named = [(_letters(key), value) for key, value in document.items()][:_MAX_PARTS]
    within = [value for name, value in named if name in _ENVELOPES and isinstance(value, dict)]
    return _fails(named) or any(_fails([(_letters(key), value) for key, value in one.items()][:_MAX_PARTS]) for one in within)


def _fails(named: Sequence[tuple[str, object]]) -> bool:
    failed, said = False, _is_429(named)
    for name, value in named:
        if name in ("error", "errors") and says_throttled([value]):
            return True
        if name in _SIGNS or (name == "result" and type(value) is int):
            failed = failed or _is_failure(name, value)
            said = said or (isinstance(value, str) and (name != "status" or value.isupper()) and is_code(value))
        elif name in _MESSAGES or (name == "data" and isinstance(value, str)):
            short = isinstance(value, str) and len(value) <= _MAX_PHRASE and is_code(value)
            said = said or short or (isinstance(value, (str, list)) and says_throttled([value]))
    return failed and said


def _is_429(named: Sequence[tuple[str, object]]) -> bool:
    """Whether a code is that of HTTP, in an object that has no data beside it."""
    return all(name in _SIGNS or name in _MESSAGES or value is None for name, value in named) and any(
        name.endswith(("code", "estado")) and str(value).strip() == "429" for name, value in named
    )


def _text_fails(text: str) -> bool:
    """Whether a text of an answer that succeeded is an error: a line that begins so, or XML whose first elements are."""
    if text[:5].lower() == "error" and len(text) <= _MAX_LINE:
        return _is_sentence(text.lower())
    first = islice(_elements(text), _MAX_FAULT)
    return any(_FAULT_KEY.search(leaf.key) is not None and _says_throttled(leaf) for leaf in first)


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
    return _CODE.search(_letters(text.partition(":")[0].rpartition("#")[2])) is not None


def wait_of(document: object, clock: Clock) -> int:
    """The longest wait that a decoded body, or a text, of a denial names; -1 if it names none. In microseconds."""
    if isinstance(document, str):
        return max([_in_sentence(document, clock), *(_wait(leaf, clock) for leaf in _elements(document))])
    return max((_wait(leaf, clock) for leaf in _leaves(document)), default=-1)


def limit_of(document: object) -> tuple[int, Duration] | None:
    """The limit and its window that a denial names in words, `15 requests per second`; None if it names none, or several."""
    said = [document] if isinstance(document, str) else [leaf.value for leaf in _leaves(document)]
    found: dict[Duration, int] = {}
    for text in said:
        if isinstance(text, str) and "token" not in (lower := text[:MAX_CHARACTERS].lower()):
            for amount, many, unit in _LIMIT.findall(lower):
                window = Duration(int(many or 1) * _scale(unit[0]))
                if found.setdefault(window, int(amount)) != int(amount):
                    return None
    shortest = min(found, default=None)
    return None if not shortest or not found[shortest] else (found[shortest], shortest)


def _leaves(document: object) -> Iterator[_Leaf]:
    left: list[tuple[str, object, Mapping[str, object]]] = [("", document, {})]
    found = 0
    while left and found < MAX_LEAVES:
        name, value, of = left.pop()
        if isinstance(value, dict):
            left.extend([(key, one, value) for key, one in value.items()][:MAX_LEAVES])
        elif isinstance(value, list):
            left.extend([(name, one, of) for one in value[:MAX_LEAVES]])
        elif (
            isinstance(value, str) and value[:1] == "{" and isinstance(inner := decode(value.encode("utf-8", "replace")), dict)
        ):
            left.append((name, inner, of))  # What a gateway quotes of the answer of another server.
        else:
            found += 1
            yield _Leaf(_letters(name), value, of)


def _elements(text: str) -> Iterator[_Leaf]:
    """The elements of an XML document that have a text only; none of another text, nor of a page for people."""
    if text[:1] == "<" and "<html" not in (text := text[:MAX_CHARACTERS].strip()).lower():
        for found in _ELEMENT.finditer(text):
            yield _Leaf(_letters(found[2] or found[1]), found[3].strip(), {})


def _letters(text: str) -> str:
    return "".join([letter for letter in text[:MAX_LENGTH].lower() if letter.isalpha()])


def _says_throttled(leaf: _Leaf) -> bool:
    value = leaf.value
    if not isinstance(value, str):
        return False
    if " " in value or not value.isascii():
        return _is_sentence(value[:MAX_CHARACTERS].lower())
    # A message that is one word in capitals, or in snake case, is a code.
    is_one = value.isupper() or ("_" in value and leaf.key in _MESSAGES) or _CODE_KEY.search(leaf.key) is not None
    return len(value) <= MAX_LENGTH and is_one and is_code(value)


def _is_sentence(text: str) -> bool:
    """Whether a text, in lower case, has a sentence that says "rate limited"."""
    if _SAID.search(text) is not None or _SAID_ELSEWHERE.search(text) is not None:
        return True
    spent = _SPENT.search(text)
    return spent is not None and _OTHER_THING.search(text, max(0, spent.start() - _NEAR), spent.end() + _NEAR) is None


def _wait(leaf: _Leaf, clock: Clock) -> int:
    value = leaf.value
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return -1
    if isinstance(value, str) and " " in value and (said := _in_sentence(value, clock)) >= 0:
        return said
    found = _WAIT_KEY.match(leaf.key)
    if found is None and (_RESET_KEY.match(leaf.key) is None or _has_units_left(leaf.of)):
        return -1
    unit = (found["unit"] or "") if found is not None else ""
    minutes = unit.startswith("min") or leaf.key == "estimatedtimetoregainaccess"
    unit = unit or ("ms" if leaf.key.endswith("resetms") else "")
    scale = MINUTE if minutes else MILLISECOND if unit.startswith(_MILLISECONDS) else SECOND
    wait = span(str(value)[:MAX_LENGTH].strip(), clock, unit=scale)
    return -1 if wait is None else wait


def _has_units_left(of: Mapping[str, object]) -> bool:
    """Whether an object says that units of its limit are left: its reset is none of the limit that has denied the call."""
    left = (count(str(value)) for key, value in of.items() if _letters(key).endswith("remaining"))
    return any(units for units in left)


def _in_sentence(text: str, clock: Clock) -> int:
    text = text[:MAX_CHARACTERS].lower()
    if "," in text:
        text = _THOUSANDS.sub("", text)
    longest = DAY - clock() % DAY if "midnight" in text and _MIDNIGHT.search(text) is not None else -1
    longest = max(longest, _in_sentence_elsewhere(text))
    for found in _SENTENCE.finditer(text):
        if found["span"] is not None:
            parts = _PART.findall(found["span"])
            wait = sum(-(-round(float(amount) * 1_000) * _scale(unit) // 1_000) for amount, unit in parts)
        elif found["one"] is not None:
            wait = _scale(found["one"][0])
        elif found["clock"] is not None:
            # After other words than these it is the time of a day.
            wait = span(found["clock"], clock) or -1 if _IS_SPAN.search(found[0]) is not None else -1
        elif found["date"] is not None:
            wait = span(found["date"].upper(), clock) or -1
        elif _MEANS_WAIT.search(found[0]) is not None or len(found["number"].partition(".")[0]) >= _EPOCH_DIGITS:
            wait = span(found["number"], clock) or -1
        else:
            continue
        longest = max(longest, wait)
    return longest


def _in_sentence_elsewhere(text: str) -> int:
    """The longest wait that a text of another language names."""
    if _AGAIN_ELSEWHERE.search(text) is None:
        return -1
    longest = -1 if _NEXT_ELSEWHERE.search(text) is None else MINUTE
    for groups in _WAIT_ELSEWHERE.findall(text):  # Of each language the amount, and the unit if it is a second.
        amount, second = "".join(groups[::2]), "".join(groups[1::2])
        longest = max(longest, int(amount) * (SECOND if second else MINUTE))
    return longest


def _scale(unit: str) -> int:
    if unit[1:] == "s" and unit != "ms":
        return 1  # Microseconds, and what is less.
    return {"s": SECOND, "m": MINUTE, "h": 60 * MINUTE, "d": 1_440 * MINUTE}.get(unit, MILLISECOND)
