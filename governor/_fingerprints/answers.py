"""What answers say, without what they say about themselves.

Of a stream the text is compared, of a model that calls tools its calls, and of an error the words.
"""

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from governor._fingerprints.volatile import CURSOR, VALUE, ZEROS, may_page

#: The name of a member of an object, and its value if that is text or a number.
_NAME_OF_MEMBER: Final = re.compile(rb'"([A-Za-z_]{2,40}+)":')
_MEMBER: Final = rb'"%b":\s*(?:"[^"]*"|[0-9.e-]+)'
#: The names of those that an answer says about itself: its identifier, its time, and what it used.
_ABOUT_ITSELF: Final = re.compile(
    rb"created|created_at|system_fingerprint|obfuscation|signature|thoughtSignature|traceparent|pid|avgLogprobs|nonce"
    rb"|tool_?(?:[cC]all|[uU]se)_?[iI]d|call_id"
    rb"|(?:prompt_)?eval_count|took(?:_ms|Ms)?"
    rb"|(?:[rR]equest|response|trace|ray|message|step|run|execution|invocation|event|log|query|correlation|span)_?[iI]d"
    rb"|(?:started|finished|ended|completed|checked|generated|served|executed|processed)_?[aA]t"
    rb"|(?:queue|prompt|completion|total|query|search|inference|processing|execution|response|wall|cpu)_?[tT]ime(?:_?[mM][sS])?"
)
#: The words that begin an identifier of an answer, name a step, and name an object that says what was used.
_IDENTIFIERS: Final = b"call chatcmpl cmpl fc gen msg req resp rs run toolu tooluse".split()
_COUNTED: Final = b"step turn iteration".split()
_USAGES: Final = b"usage token_usage usage_?[mM]etadata tokens _shards extensions throttleStatus rate_?[lL]imit".split()
#: One list of words: each but the right one is passed over by its first letter.
_USED: Final = re.compile(
    b'"(?:%b)'
    % b"|".join(
        [
            *[rb'%b[-_][0-9A-Za-z-]{6,}"' % word for word in _IDENTIFIERS],
            *[rb'%b[ _-][0-9]{1,4}"' % word for word in _COUNTED],
            *[rb'%b":\s*\{(?:[^{}]|\{[^{}]*\})*\}' % word for word in _USAGES],
            rb'context":\s*\[[0-9, ]*\]',
        ]
    )
)
#: How long an answer took.
_TOOK: Final = re.compile(
    rb'"[a-z_]{0,20}(?:duration|elapsed|latency)(?:_?(?:[mM]s|ns|seconds|time))?":\s*(?:"[^"]*"|[0-9.e-]+)'
)
#: When an answer was made, and which one it is, if it says so once: several times are those of what it is about.
_MADE: Final = re.compile(
    rb'"(?:timestamp|date|time|ts|now|at|server_?[tT]ime|current_?[tT]ime|as_?[oO]f|retriev_?[aA]t|fetch_?[aA]t|query_?[aA]t|uuid)":\s*'
    rb'(?:"[0-9]{4}-[0-9]{2}-[0-9]{2}T[^"]{5,30}"|"?1[0-9]{9,18}(?:\.[0-9]+)?"?|"[0-9a-f]{8}-[0-9a-f-]{27}")'
)
#: The identifier of an answer of a model.
_COMPLETION: Final = re.compile(rb'"id":\s*"[0-9a-f-]{32,36}"')
#: What a page and a mail say about themselves: a token against forgery, and the identifier of a message (RFC 5322).
_TOKEN: Final = re.compile(
    rb"""(?i)(?:csrf|xsrf|nonce|authenticity|viewstate)[^<>]{0,60}?(?:value|content)=["'][^"']*"""
    rb"""|nonce=["'][^"']*"""
)
#: What an envelope of SOAP says about itself.
_ENVELOPE: Final = re.compile(rb"(?:MessageID|RelatesTo|Created|Expires)(?: [^<>]*)?>[^<]*")
_MESSAGE_ID: Final = re.compile(rb'"<[^"<>\s]{8,200}@[^"<>\s]{1,200}>"')
#: In text, how long something took, the address of an object, and the time to the second with its day.
_IN_TEXT: Final = re.compile(
    rb" in [0-9]+\.[0-9]+(?= ?(?:ms|s|sec|seconds)\b)| at 0x[0-9a-f]{6,16}|[Rr]equest [0-9a-f]{6,64}\b"
    rb"|[Aa]s of [0-9A-Z][0-9A-Za-z, :T.+-]{9,32}(?<=[0-9Z])(?= |,|\.)"
)
#: An echo that is shorter than this may be a part of a name by chance, after one of these.
_SHORT: Final = 4
_WITHIN: Final = frozenset(bytes((code,)) for code in b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_.")
#: Whether a model calls tools, and what it says beside.
_CALLS: Final = re.compile(rb'"(?:tool_calls":\s*\[\s*\{|type":\s*"tool_use"|functionCall":|toolUse":)')
_BESIDE: Final = re.compile(rb'"(?:content|text|thinking|tool_plan|reasoning(?:_content)?)":\s*"(?:[^"\\]|\\.)*+"')
#: The identifier of a call: before its function or its type, and in canonical form after its function.
_CALL: Final = re.compile(rb'"id":\s*"[^"]*"(?=,\s*"(?:type":\s*"(?:function|tool_use)"|function":))')
_CALLED: Final = re.compile(rb'("name":"[^"]*"\}),"id":"[^"]*"')
#: The longest answer in which numbers are looked for first.
_MAX_PLAIN: Final = 512
_DIGIT: Final = re.compile(rb"[0-9]")
#: The pieces of a stream.
_STREAM: Final = (b"data:", b"event:")
_PIECE: Final = re.compile(
    rb'"(?:content|text|delta|name|arguments|partial_json|thinking|reasoning(?:_content)?)":\s*"((?:[^"\\]|\\.)*+)"'
)
#: Whether an answer of a status of success is an error, and what may differ in one: words with digits, no numbers of JSON.
_ERROR: Final = re.compile(
    rb'"(?:errors?":\s*(?:\[?\s*\{|"[^"])|isError":\s*true|(?:ok|success)":\s*false|status":\s*"(?:error|fail))'
)
_OF_ERROR: Final = re.compile(
    rb'(?<![0-9A-Za-z_.-])(?<!":)(?<!": )(?<![\[,])[A-Za-z_]*+[0-9][0-9A-Za-z_.:+/=-]*|\breq_[0-9A-Za-z]{8,}'
)
#: The letters of a hexadecimal number before its first digit, of which the rest was folded.
_LETTERS_BEFORE: Final = re.compile(rb"(?<![0-9A-Za-z])[a-f]{1,8}#")
#: Digits of a number that differ, and those of a score: two patterns, as each skips to its first byte.
_DIGITS: Final = re.compile(rb"(\.[0-9]{5})[0-9]{4,}")
_SCORE: Final = re.compile(rb'((?:score|similarity|distance)":\s*[0-9]*\.[0-9]{4})[0-9]+')
#: In an error, a value that is random or a time.
_VALUE_OF_ERROR: Final = re.compile(
    rb'"(?:[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{16,64}|[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:.]{5,}[Z0-9:+-]{0,6})"'
)
#: An answer that says that something is still being done: a state in the progressive form, or one before the work.
_PENDING: Final = re.compile(
    rb'(?:[sS]tat(?:e|us)|STAT(?:E|US)|[pP]hase)\\*"?[=:]\s*\\*"(?i:(?:[a-z]{1,20}[_ -]){0,3}'
    rb"(?:(?:en)?queued|scheduled|submitted|not[_ -]?(?:started|ready)|active|(?:in[_ -]?)?progress"
    rb"|(?!missing|failing|existing)[a-z]{1,20}ing)"
    rb'(?:[_ -][a-z]{1,20}){0,3})\\*"'
)
_NOT_YET: Final = re.compile(rb'"(?:done|ready|finished|is_?(?:done|ready|finished))":\s*false')
_MAX_PENDING: Final = 2_048
#: A picture beside an error: a screenshot.
_PICTURE: Final = re.compile(rb'"[0-9A-Za-z+/]{256,}={0,2}"')
#: An answer that says no more than that something was done: `{"ok":true}`, `{"accepted": 1, "rejected": 0}`, `{}`, `ok`.
_DONE: Final = rb"(?:ok|success|accepted|received|acknowledged|created|updated|done)"
_ACKNOWLEDGED: Final = re.compile(
    rb'(?i)\s*(?:"?%b"?|\{\s*\}|\{(?=[^}]*"(?:%b|result|status|message|errors)")'
    rb'(?:\s*"[a-z_]{1,20}":\s*(?:true|false|null|[0-9]{1,9}|"%b")\s*(?:,|(?=\})))+\})\s*' % (_DONE, _DONE, _DONE)
)
#: The longest answer to a call that waits for something, by which it is known that there is nothing yet, or that it goes on.
_MAX_POLLED: Final = 256
_AT_END: Final = re.compile(
    rb'"(?:total[A-Za-z_]{0,12}|count)":\s*[1-9]|"has_?(?:[mM]ore|[nN]ext)[A-Za-z]{0,4}":\s*false'
    rb'|"next[A-Za-z_]{0,12}":\s*(?:null|"")'
)
_LISTED: Final = re.compile(rb'\[\s*[{"]')
#: What names the thing that an answer is about, in whole answers and beside an identifier.
_RANDOM: Final = re.compile(
    rb"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}"
    rb"|(?<![0-9A-Za-z.])(?!0x)(?=[a-z.]*[0-9])(?=[0-9.]*[a-z])[0-9a-z.]{16,}(?![0-9A-Za-z])"
)
#: Where there may be one: each digit, small letter and point is x.
_RUNS: Final = bytes.maketrans(b"0123456789abcdefghijklmnopqrstuvwxyz.", b"x" * 37)
_LONG: Final = b"x" * 16
_UUID: Final = b"xxxxxxxx-xxxx-"
_NAMING: Final = rb"[A-Za-z_-]*(?:id|Id|ID|at|At|_ts|date|time|changed|updated|modified)"
_NAME: Final = re.compile(rb'"%b":\s*"[^"]*"' % _NAMING)
_IDENTITY: Final = re.compile(rb'"(?:%b|number|iid|key|self|[a-z_]*url|href|location)":\s*(?:"[^"]*"|[0-9.]+)' % _NAMING)


def is_stream(answer: bytes) -> bool:
    """Whether an answer has come in events, or in lines of JSON of which the last one is done."""
    return answer.startswith(_STREAM) or answer.count(b'"done":') > 1


def is_pending(answer: bytes) -> bool:
    """Whether an answer says that what was asked for is still being done: its repetition is polling."""
    if len(answer) > _MAX_PENDING or is_stream(answer):
        return False
    has = answer.count
    return bool(
        ((has(b"tat") or has(b"STAT") or has(b"hase")) and _PENDING.search(answer))
        or (has(b"false") and _NOT_YET.search(answer))
    )


def goes_on(answer: bytes) -> bool:
    """Whether the answer to a call that waits for something says no more than that there is nothing yet, or that it goes on."""
    return len(answer) <= _MAX_POLLED


def fails(status: int | None, answer: bytes) -> bool:
    """Whether an answer is an error, by its status or by what it says."""
    if status is not None and status >= 400:
        return True
    has = answer.count
    may_say = has(b"rror") or has(b"false") or has(b"fail")
    return has(b"Fault>") > 0 or (may_say > 0 and _ERROR.search(answer) is not None)


def lists(text: bytes) -> bool:
    """Whether an answer has a list with something in it."""
    return _LISTED.search(text) is not None


def is_past_end(answer: bytes) -> bool:
    """Whether an answer is an empty page, and says that nothing follows, or how much came before it."""
    return answer.count(b"[]") > 0 and not lists(answer) and _AT_END.search(answer) is not None


def gist(text: bytes) -> bytes:
    """What an answer says, without which thing it is about."""
    text = (_IDENTITY if text.count(b'"id":') else _NAME).sub(b"#", text)
    runs = text.translate(_RUNS)
    return _RANDOM.sub(b"#", text) if runs.count(_LONG) or runs.count(_UUID) else text


def acknowledges(answer: bytes) -> bool:
    """Whether an answer says no more than that something was done, whatever it was."""
    return len(answer) <= _MAX_PENDING and _ACKNOWLEDGED.fullmatch(answer) is not None


def compared(status: int | None, text: bytes, echoes: frozenset[bytes]) -> bytes:
    """What is compared of an answer; `echoes` are values of the request that it may repeat."""
    if is_stream(text):
        text = b"".join(_PIECE.findall(text)) or text
    failed = fails(status, text)
    if failed:
        text = _PICTURE.sub(b"#", text)
    if len(text) > _MAX_PLAIN or _DIGIT.search(text) is not None or text.count(b"tool"):
        text = told(text)
    if len(text) > _MAX_PLAIN or _DIGIT.search(text) is not None:
        text = _without_values(text)
        repeated = frozenset(filter(text.count, echoes))
        if repeated:
            text = _without_echoes(text, repeated)
        if failed:
            text = _OF_ERROR.sub(b"#", _VALUE_OF_ERROR.sub(b"#", text))
    if text.count(b"},") > 1:  # Objects, whose order may differ.
        text = b"{".join(
            sorted(part.strip(b" {}[]") for part in text.replace(b"[{", b"},{").replace(b"}]", b"},").split(b"},"))
        )
    return text


def _without_values(text: bytes) -> bytes:
    """An answer without its time, and without what is random in one of its kind."""
    if len(set(_MADE.findall(text))) == 1:
        text = _MADE.sub(b"#", text)
    has = text.count
    if has(b" at 0x") or has(b"equest ") or has(b"s of ") or (has(b" in ") and text.translate(ZEROS).count(b" in 0")):
        text = _IN_TEXT.sub(b"#", text)
    if has(b'"choices"') or has(b'"usage"') or has(b'"messages"'):
        text = _COMPLETION.sub(b"#", text)
    if has(b"@"):
        text = _MESSAGE_ID.sub(b"#", text)
    if has(b"<"):
        text = _TOKEN.sub(b"#", text)
    if has(b"nvelope"):
        text = _ENVELOPE.sub(b"#", text)
    if has(b"score") or has(b"similarity") or has(b"distance"):
        text = _SCORE.sub(rb"\1", text)
    return _DIGITS.sub(rb"\1", text) if has(b".") else text


def _without_echoes(text: bytes, echoes: frozenset[bytes]) -> bytes:
    for name in echoes:
        if name.startswith(b'"'):
            text = text.replace(name, b"#")
    return _LETTERS_BEFORE.sub(b"#", VALUE.sub(_without(echoes), text))


def told(text: bytes) -> bytes:
    """What a message says, but for what it says about itself; if it calls tools, its calls."""
    if (text.count(b"tool") or text.count(b"functionCall")) and _CALLS.search(text) is not None:
        text = _CALLED.sub(rb"\1#", _BESIDE.sub(b"#", text))
    return without_itself(text)


def without_itself(text: bytes) -> bytes:
    for name in set(_NAME_OF_MEMBER.findall(text)):
        member = _about_itself(name)
        if member is not None:
            text = member.sub(b"#", text)
    if text.count(b'"function"') or text.count(b'"tool_use"'):
        text = _CALL.sub(b"#", text)
    text = _USED.sub(b"#", text)
    has = text.count
    if may_page(text):
        text = CURSOR.sub(b"#", text)
    return _TOOK.sub(b"#", text) if has(b"duration") or has(b"elapsed") or has(b"latency") else text


@lru_cache(maxsize=1_024)
def _about_itself(name: bytes) -> re.Pattern[bytes] | None:
    """Where a member with this name is, if an answer says that about itself. There are some 200 such names."""
    return re.compile(_MEMBER % name) if _ABOUT_ITSELF.fullmatch(name) is not None else None


def _without(echoes: frozenset[bytes]) -> Callable[[re.Match[bytes]], bytes]:
    def replaced(match: re.Match[bytes]) -> bytes:
        value = match.group()
        if value.strip(b"_.:+-") not in echoes:
            return value
        # A short number is one of the request only if it stands alone, and is not that of a name: `lamp-3`.
        if len(value) < _SHORT and value.isdigit() and match.string[match.start() - 1 : match.start()] in _WITHIN:
            return value
        return b"#"

    return replaced
