"""Bans in words: texts and codes that say that the server serves this client no more, and mostly not until when.

The ban must be one of the client: of its address, its key or its application. That a user of the service, a recipient or a
content is banned concerns no other call. So does an account, which may be one of many of the client, unless it was abuse.
"""

from typing import Final

from governor.hints.leaves import letters
from governor.hints.patterns import has_one, pattern

#: Each text about a ban has one of these words: to look for them takes a twentieth of the time.
_WORDS: Final = ("ban", "block", "black", "denylist", "suspend", "abuse detection", "temporarily forbidden")
_STOPPED: Final = r"(?:banned|blocked|(?:black|deny)-?listed|suspended)"
_SAID: Final = pattern(
    r"(?:\byou|\bips?|\bip address(?:es)?|\bclient|\bconsumer|\buser.?agent|\b(?:api|access).?key"
    r"|\b(?:your|this) (?:api )?(?:access|network|host)|\byour (?:\w+ )?requests"
    r"|\bapplication|\bapp|\bproject|\bbot)"
    r"(?: ['\"(\[]?[0-9a-f.:/]{2,45}['\")\]]?| '[^' ]{1,64}'| to (?:the|this|our) (?:\w+ )?api)?"
    rf" (?:(?:ha[sd]|have|is|are|was|were|been|being|got|temporarily|currently|now|permanently|automatically) ){{1,5}}"
    rf"{_STOPPED}"
    r"(?! (?:by (?:the |this |that |our |an? )?(?:user|author|owner|member|recipient|sender|seller|cors|robots|content"
    r"|safety|polic)"
    r"|from (?:follow|comment|post|messag|contact|repl|join|purchas|invit|email|view)))"
    rf"|{_STOPPED} you\b"
    rf"|(?:temporarily|been|was|were|is|are) {_STOPPED} (?:from (?:access|call|using|making|send|acquir|the api|our api)"
    r"|(?:for|due to|because of|as a result of|after) (?:\w+ ){0,2}"
    r"(?:abus|exceed|excess|flood|too (?:many|frequent)|spam|violat|suspicious|rate|overus|making)"
    r"|because you (?:\w+ ){0,2}(?:over|abus|exceed|sen[dt]|ma[kd]e|violat))"
    r"|temporarily forbidden (?:access|from (?:access|call|us|ma|send))|\Ablocked user\. please contact your api provider"
    r"|abuse detection mechanism|\bip (?:ban|block)\b|\A(?:you are |you're )?(?:temporarily |permanently )?banned[.!]?\Z"
)
_CODE: Final = pattern(
    r"^(?:your)?ip(?:address)?(?:is|was|hasbeen)?(?:temporarily)?(?:ban|block|black-?list)"
    r"|^(?:client|requester|useragent|apikey)(?:is|was)?(?:banned|blocked|blacklisted)|^(?:banned|blacklisted)$"
)


def says_banned(text: str) -> bool:
    """Whether a text, in lower case, says that the client is banned: in a sentence, or as a code that is all of it."""
    return has_one(text, _WORDS) and (_SAID.search(text) is not None or is_ban(letters(text)))


def is_ban(code: str) -> bool:
    """Whether a code, in lower case and without separators, says so: `IP_BANNED`."""
    return _CODE.match(code) is not None
