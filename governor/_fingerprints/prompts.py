"""Prompts: what is folded in what is asked of a language model or of a tool, and conversations without repetitions."""

import re
from typing import Final

import msgspec

from governor._fingerprints.answers import told, without_itself
from governor._fingerprints.bodies import MAX_FOLDED, ends
from governor._fingerprints.volatile import ZEROS, without_random

#: The most messages of a turn that is recognized where it repeats.
MAX_TURNS: Final = 8
#: What is asked of a language model, or of a tool in its place.
_PROMPT: Final = re.compile(rb'"(?:messages|prompt|contents|inputText|model)":|"method":"(?:tools/call|message/send)"')
#: Where the messages of a conversation are.
_CONVERSATIONS: Final = ("messages", "contents", "input", "prompt")
#: How a model is to answer the same question.
_SAMPLING: Final = re.compile(rb'"(?:temperature|top_p|max_(?:completion_|output_)?tokens)":[0-9.]+')
#: The identifier of a message.
_MESSAGE: Final = re.compile(rb',"id":"[0-9a-f]{8}-[0-9a-f-]{27}"(?=,"(?:name|role|type)")')
#: The clock of the caller in words.
_CLOCK: Final = re.compile(
    rb'((?:[cC]urrent|[tT]oday|[nN]ow|[tT]ime|[dD]ate)[^"\\.0-9]{0,30}?)'
    rb"(?:[A-Z][a-z]{2,8}, )?"
    rb"(?:[A-Z][a-z]{2,8} [0-9]{1,2},? [0-9]{4}|[0-9]{1,2} [A-Z][a-z]{2,8} [0-9]{4}|[0-9]{1,4}[/-][0-9]{1,2}[/-][0-9]{1,4})"
    rb"(?:,| at)? [0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?(?: ?[AaPp][Mm])?"
)
#: The most bytes of it before the last digit of the hour, and from there on.
_CLOCK_BEFORE: Final = 80
_CLOCK_BEHIND: Final = 20
#: A message before the last that sums up what was said before.
_SUMMARY: Final = re.compile(
    rb'"content":"(?:[^"\\ ]+ ){0,4}(?:[sS]ummary|SUMMARY)(?: of (?:the |our |your )?(?:work|conversation|session|chat|progress'
    rb"|history|steps|discussion|dialog(?:ue)?|interaction|previous|earlier|prior)| so far)"
    rb'(?:[^"\\]|\\.)*+"(?=,"role":"[a-z]+"\},\{)'
)
#: What a program notes about its call.
_METADATA: Final = re.compile(rb'"metadata":\{[^{}]*\}')
#: The members of a prompt that say for whom it is; and the least size of a message by which it is no greeting or button, as
#: many users send.
_USERS: Final = ("user", "safety_identifier")
_MIN_QUESTION: Final = 64
#: Numbers of steps.
_STEPS: Final = re.compile(
    rb"[0-9](?<![0-9A-Za-z.][0-9])[0-9]{0,3}(?:st|nd|rd|th)?"
    rb"(?= (?:attempt|try|tries|retry|retries|step|turn|iteration|round)s?(?![a-z]))"
)
#: Where each digit is 0: whether there may be one.
_MAY_BE_STEPS: Final = re.compile(rb"0(?:st|nd|rd|th)? (?:attempt|tr|retr|step|turn|iteration|round)")


def is_prompt(text: bytes) -> bool:
    """Whether a request asks a language model, or a tool in its place."""
    return _PROMPT.search(text) is not None


def folded(asked: bytes, text: bytes, document: object) -> bytes:
    """A prompt, `text`, of which `asked` is the query and `document` the body, without what differs between repetitions."""
    turns = _unrepeated(document)
    if turns is not None:
        text = b"%b\n%b" % (asked, ends(turns, MAX_FOLDED))
    text = _SAMPLING.sub(b"#", _without_user(text, document))
    has = text.count
    if has(b',"id":"'):
        text = _MESSAGE.sub(b"", text)
    if has(b'"metadata"'):
        text = _METADATA.sub(b"", text)
    text = _without_clock(text)
    if text.count(b"ummary") or text.count(b"SUMMARY"):
        text = _SUMMARY.sub(b"#", text)
    if _MAY_BE_STEPS.search(text.translate(ZEROS)) is not None:
        text = _STEPS.sub(b"#", text)
    return without_itself(text)


def _without_clock(text: bytes) -> bytes:
    """A prompt without the clock in words, which is looked for around times of day: most prompts have none."""
    times = text.translate(ZEROS)
    first = times.find(b"0:00")
    if first < 0:
        return text
    has = text.count
    if not (has(b"urrent ") or has(b"oday") or has(b"ow is ") or has(b"ime is ") or has(b"ime: ") or has(b"ate: ")):
        return text
    begin, end = max(0, first - _CLOCK_BEFORE), times.rfind(b"0:00") + _CLOCK_BEHIND
    return b"%b%b%b" % (text[:begin], _CLOCK.sub(rb"\1#", text[begin:end]), text[end:])


def _without_user(text: bytes, document: object) -> bytes:
    """A prompt without for whom it is asked, unless its last message is short."""
    if not isinstance(document, dict) or document.keys().isdisjoint(_USERS):
        return text
    said = next(filter(None, map(document.get, _CONVERSATIONS)), None)
    if len(msgspec.json.encode(said[-1] if isinstance(said, list) else said)) < _MIN_QUESTION:
        return text
    for name in _USERS:
        if isinstance(user := document.get(name), str):
            text = text.replace(b'"%b":%b' % (name.encode(), msgspec.json.encode(user)), b"#")
    return text


def _unrepeated(document: object) -> bytes | None:
    """A prompt without the turns at its end that repeat those before them, of up to `MAX_TURNS` messages; None without such."""
    if not isinstance(document, dict):
        return None
    for name in _CONVERSATIONS:
        match document.get(name):
            case list(messages) if len(messages) >= 3:
                pass
            case str(transcript) if transcript.count("\n") >= 3:
                messages = transcript.rstrip().split("\n")
            case _:
                continue
        last, role = _said(messages[-1]), _role(messages[-1])
        if all(_role(message) != role or _said(message) != last for message in messages[-MAX_TURNS - 1 : -1]):
            return None
        turns = [_said(message) for message in messages[-2 * MAX_TURNS :]]
        size = next((size for size in range(1, len(turns) // 2 + 1) if _repeats(turns, size)), None)
        if size is None:
            return None
        turns = [_said(message) for message in messages]
        while _repeats(turns, size):
            del turns[-size:]
        return msgspec.json.encode({**document, name: messages[: len(turns)]}, order="sorted")
    return None


def _role(message: object) -> object:
    """Whose message it is, as one of another role is never the same."""
    return message.get("role") if isinstance(message, dict) else None


def _said(message: object) -> bytes:
    return without_random(told(msgspec.json.encode(message, order="sorted")))


def _repeats(turns: list[bytes], size: int) -> bool:
    """Whether the last two turns, each of so many messages, say the same, but for the identifiers of their calls."""
    return len(turns) >= 2 * size and turns[-size:] == turns[-2 * size : -size]
