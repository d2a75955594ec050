"""What answers say, without what they say about themselves.

Of a stream the text is compared, of a model that calls tools its calls, and of an error the words.
"""

import re
from collections.abc import Callable
from typing import Final

from governor._fingerprints.volatile import VALUE

#: What an answer says about itself: its identifier, its time, and what it used.
_ABOUT_ITSELF: Final = re.compile(
    rb'"(?:(?:created|created_at|system_fingerprint|obfuscation|signature|thoughtSignature|pid'
    rb"|(?:[rR]equest|response|trace|ray)_?[iI]d|took(?:_ms|Ms)?"
    rb"|(?:started|finished|ended|completed|checked|generated|served|executed|processed)_?[aA]t"
    rb'|(?:queue|prompt|completion|total|query|inference|processing)_?[tT]ime(?:_?[mM][sS])?)":\s*(?:"[^"]*"|[0-9.e-]+)'
    rb'|(?:call|chatcmpl|cmpl|fc|gen|msg|req|resp|rs|run|toolu)[-_][0-9A-Za-z]{6,}"'
    rb'|(?:usage|usage_?[mM]etadata|tokens)":\s*\{(?:[^{}]|\{[^{}]*\})*\})'
)
#: How long an answer took.
_TOOK: Final = re.compile(rb'"[a-z_]{0,20}(?:duration|elapsed|latency)(?:_?(?:[mM]s|ns|seconds))?":\s*(?:"[^"]*"|[0-9.e-]+)')
#: When an answer was made, and which one it is, if it says so once: several times are those of what it is about.
_MADE: Final = re.compile(
    rb'"(?:timestamp|date|time|ts|now|server_?[tT]ime|uuid)":\s*(?:"[0-9]{4}-[0-9]{2}-[0-9]{2}T[^"]{5,30}"|1[0-9]{9,18}(?:\.[0-9]+)?'
    rb'|"[0-9a-f]{8}-[0-9a-f-]{27}")'
)
#: Whether a model calls tools, and what it says beside.
_CALLS: Final = re.compile(rb'"(?:tool_calls":\s*\[\s*\{|type":\s*"tool_use"|functionCall":)')
_BESIDE: Final = re.compile(rb'"(?:content|text|thinking|reasoning(?:_content)?)":\s*"(?:[^"\\]|\\.)*+"')
#: The pieces of a stream.
_STREAM: Final = (b"data:", b"event:")
_PIECE: Final = re.compile(
    rb'"(?:content|text|delta|name|arguments|partial_json|thinking|reasoning(?:_content)?)":\s*"((?:[^"\\]|\\.)*+)"'
)
#: Whether an answer of a status of success is an error, and what may differ in one: words with digits, no numbers of JSON.
_ERROR: Final = re.compile(
    rb'"(?:errors?":\s*(?:\[?\s*\{|"[^"])|isError":\s*true|(?:ok|success)":\s*false|status":\s*"(?:error|fail))'
)
_OF_ERROR: Final = re.compile(rb'(?<![0-9A-Za-z_.-])(?<!":)(?<!": )(?<![\[,])[A-Za-z_]*+[0-9][0-9A-Za-z_.:+/=-]*')
#: An answer that says that something is still being done.
_PENDING: Final = re.compile(
    rb'(?:[sS]tat(?:e|us)|STAT(?:E|US)|[pP]hase)\\*"?[=:]\s*\\*"'
    rb"(?i:pending|queued|waiting|scheduled|not_?started|starting|running|working|active|(?:in[_ -]?)?progress|processing)\\*\""
)
_MAX_PENDING: Final = 2_048
#: An answer that says no more than that something was done: `{"ok":true}`, `{"accepted": 1, "rejected": 0}`, `{}`, `ok`.
_DONE: Final = rb"(?:ok|success|accepted|received|acknowledged|created|updated|done)"
_ACKNOWLEDGED: Final = re.compile(
    rb'(?i)\s*(?:"?%b"?|\{\s*\}|\{(?=[^}]*"(?:%b|result|status|message|errors)")'
    rb'(?:\s*"[a-z_]{1,20}":\s*(?:true|false|null|[0-9]{1,9}|"%b")\s*(?:,|(?=\})))+\})\s*' % (_DONE, _DONE, _DONE)
)


def is_pending(answer: bytes) -> bool:
    """Whether an answer says that what was asked for is still being done: its repetition is polling."""
    return len(answer) <= _MAX_PENDING and _PENDING.search(answer) is not None


def acknowledges(answer: bytes) -> bool:
    """Whether an answer says no more than that something was done, whatever it was."""
    return len(answer) <= _MAX_PENDING and _ACKNOWLEDGED.fullmatch(answer) is not None


def compared(text: bytes, echoes: frozenset[bytes], *, is_error: bool) -> bytes:
    """What is compared of an answer; `echoes` are values of the request that it may repeat. `is_error` by its status."""
    if text.startswith(_STREAM):
        text = b"".join(_PIECE.findall(text)) or text
    text = told(text)
    if len(_MADE.findall(text)) == 1:
        text = _MADE.sub(b"#", text)
    if echoes:
        text = VALUE.sub(_without(echoes), text)
    if is_error or text.count(b"Fault>") or _ERROR.search(text) is not None:
        text = _OF_ERROR.sub(b"#", text)
    return text


def told(text: bytes) -> bytes:
    """What a message says, but for what it says about itself; if it calls tools, its calls."""
    if _CALLS.search(text) is not None:
        text = _BESIDE.sub(b"#", text)
    return without_itself(text)


def without_itself(text: bytes) -> bytes:
    text = _ABOUT_ITSELF.sub(b"#", text)
    has = text.count
    return _TOOK.sub(b"#", text) if has(b"duration") or has(b"elapsed") or has(b"latency") else text


def _without(echoes: frozenset[bytes]) -> Callable[[re.Match[bytes]], bytes]:
    return lambda match: b"#" if match.group().strip(b"_.:+-") in echoes else match.group()
