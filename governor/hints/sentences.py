"""Sentences of error bodies: those that say "rate limited", and the waits and the limits that they name.

A sentence is read in lower case, in time linear in it.
"""

from typing import Final

from governor._units import MILLISECOND, MINUTE, SECOND, Duration
from governor.hints.bans import says_banned
from governor.hints.moments import wait_until
from governor.hints.patterns import has_one, pattern
from governor.hints.values import Clock, span

#: Sentences that say that calls come too fast.
_SAID: Final = pattern(
    r"too many (?!(?:pull|merge|friend|follow) |(?:\w+ )?(?:pull|merge|friend|follow|feature|leave) requests)"
    r"(?:(?:\w+ ){0,2}(?:requests|calls|attempts|tries|visits)|(?:\w+ )?request"
    r"|(?:simultaneous|concurrent|parallel) (?:queries|connections|jobs|operations|executions)(?! (?:configur|defin|in )))\b"
    r"(?! in (?:\w+ )?(?:batch|bulk|single|one))(?![^.]{0,48} account (?:has been|is|was) locked)"
    r"|please wait (?:\w+ ){0,5}before (?:you |your )?(?:try|next|send)\w*|too many polls"
    r"|reached (?:its|the|their|your) (?:(?!pull|merge|friend)\w+ )?(?:rate|requests?|api|calls?|query|api usage) limit"
    r"|reached (?:its|the|their|your) per.(?:second|minute|hour|day) limit|exceeded the number of times [^.]{0,40} called"
    r"|must wait (?:\w+ ){0,3}[0-9]{1,6} (?:second|minute|hour)|wait [0-9]{1,6} (?:second|minute)s? between"
    r"|try again (?:in|after) [0-9]{1,6} ?(?:ms|s|seconds?|minutes?|hours?)\b|throttling your request"
    r"|rate of (?:requests|calls) (?:has been |was |is )?exceeded"
    r"|(?:rate(?<!\bheart rate)(?<!\bframe rate)(?<!\bbit rate)(?<!\binterest rate)(?<!\btax rate)(?<!\bdiscount rate)"
    r"|requests?|calls?|api|throttle|access|concurrency)[ -]?limits? (?:\([^)]{0,40}\) |'?[0-9]{1,9}'? )?"
    r"(?:per \w+ |has |have |was |is |are |been )*"
    r"(?:exceed|reached|hit|met|triggered)"
    r"|(?:rate|request|call|usage)[ -]?limit (?:of|for) [^.]{0,48}(?:exceeded|reached)"
    r"|exceed\w* (?:[\w']+ ){0,5}(?:(?:rate|requests?|usage|[rqt]ps)[ -]limit|(?:access|request|call) rate)"
    r"|(?:over|out of) (?:(?:your|the) )?(?:rate|request|usage) limit|usage (?:is )?over (?:the |your )?limit"
    r"|(?:user|api) usage (?:limit )?(?:exceeded|reached)|\A(?:the )?limit (?:is |has been )?(?:exceeded|reached)\.?\Z"
    r"|(?:was|been|is|are|being) (?:throttled|rate[ -]limited)|\bthrottled:|\brate[ -]limited\b|qps exceeded"
    r"|(?:\A(?:the )?|[:.(] ?|max(?:imum)? |(?:request|call|api|query|access|sending|message)s? )rate exceeded"
    r"|only (?:one|[0-9]{1,6}) (?:\w+ ){0,2}(?:requests?|calls?) (?:\w+ ){0,8}(?:at a time|per (?:second|minute|hour|day))"
    r"|can (?:make|send) (?:another|more|the next) (?:requests?|calls?) (?:in|after|at) |rate limiting (?:is )?in effect"
    r"|api key (?:is )?over (?:the |its |your )?limit(?! of)|(?:rate|request) threshold exceeded"
    r"|(?:due to|by) (?:\w+ ){0,2}flow control\b"
    r"|(?:sen[dt]|sending|ma[kd]e|making) more than [0-9,]{1,9} (?:\w+ )?(?:requests|calls|queries) (?:per|in|within|an?) "
    r"|calls? (?:is |are )?limited|not permit further calls|reduce (?:your|the) request rate|please slow down"
    r"|banned until|banned for (?:flood|too many)"
    r"|temporar(?:y|ily) (?:lockout|locked out|banned(?! from (?:comment|vot|chat)))"
    r"|over developer|developer over (?:qps|rate)"
    r"|(?:requests?|calls?|frequency|send(?:ing)?) (?:is |are )?too (?:high|frequent|fast|often)|too frequent\b"
    r"|(?:visit|call|access|operat|poll|quer|request)\w{0,5} (?:[\w']+ ){0,3}too (?:often|frequently|fast|quickly)\b"
    r"|(?:request|trigger|access|call) frequency (?:\w+ )?(?:exceed|limit)\w*|exceed\w* (?:\w+ ){0,3}frequency"
    r"|(?<!not )exceed\w* [0-9]{1,9} times (?:per|an?|in [0-9]{1,9}) (?:second|minute|hour|day)"
    r"|(?:exceeded_quota|quota_exceeded|too_many_requests|rate_limited|rate_limit_exceeded)\b|too_many_attempts"
)
#: Each of these sentences has one of these words: to look for them takes a twentieth of the time.
_SAID_WORDS: Final = (
    *("limit", "exceed", "too many", "wait", "again", "thrott", "usage", "only", "more than", "further calls", "request rate"),
    *("slow down", "ban", "temporar", "developer", " too ", "frequen", "too_many", "flow control", "can make", "can send"),
)
#: Such sentences of other languages: Chinese, Korean, Japanese, Russian, German, French, Spanish, Portuguese, Italian; Polish,
#: Dutch, Turkish, Ukrainian, Czech, Swedish, Indonesian, Vietnamese.
_SAID_ELSEWHERE: Final = pattern(
    r"频繁|限流|每(?:秒|分钟|小时|天|日)\w{0,8}(?:最多|最大)\w{0,4}(?:访问|调用|请求)|超(?:过|出)\w{0,12}(?:(?:请求|调用|访问)\w{0,2}次数|速率|频率)|请求\w{0,6}暂时禁用"
    r"|(?:请求|调用|访问|并发|频率|次数|查询)(?!\w{0,8}(?:体|大小|长度|参数|文件|内容|数量|页))\w{0,16}(?:超过|超出|超限|上限|过快|过高)"
    r"|요청이 (?:너무 )?많|초당 [^.]{0,12}초과|(?:요청|호출|처리) ?(?:거래 ?)?(?:횟수|한도|건수|개수|수|량)[^.]{0,8}초과"
    r"|(?:リクエスト|アクセス|呼び出し)(?!\w{0,8}(?:サイズ|ボディ|長))\w{0,12}(?:上限|超え|超過|多すぎ)|レート制限|短時間に\w{0,8}アクセス"
    r"|слишком (?:много запросов|част)|превыш\w{0,8} (?:\w+ ){0,3}(?:частот|запросов|обращений|вызовов)"
    r"|zu viele (?:anfragen|versuche|aufrufe)|(?:anfrage|abruf|aufruf)n?limit\w{0,2} (?:überschritten|erreicht)"
    r"|trop de (?:requêtes|demandes|tentatives|appels|sms|messages)"
    r"|demasiad[ao]s (?:solicitudes|peticiones|intentos|llamadas|consultas)"
    r"|muitas (?:requisições|solicitações|tentativas|chamadas)|api bloquead"
    r"|excedid\w (?:o |a )?(?:número|limite|máximo|quantidade) (?:\w+ ){0,3}(?:acessos|requisições|chamadas)\b"
    r"|troppe richieste|troppi tentativi"
    r"|przekroczono (?:\w+ ){0,2}(?:limit|liczb)\w{0,2} [^.]{0,16}(?:żądań|zapytań|wywołań)"
    r"|zbyt (?:wiele|dużo) (?:żądań|zapytań|prób)"
    r"|te veel (?:verzoeken|aanvragen|pogingen)|çok fazla (?:istek|deneme)|(?:забагато|занадто багато) (?:запитів|спроб)"
    r"|příliš mnoho (?:požadavků|dotazů|pokusů)|för många (?:förfrågningar|anrop|försök)"
    r"|terlalu banyak (?:permintaan|percobaan)|quá nhiều yêu cầu"
    r"|l[ií]mite d[ei] (?:peticiones|solicitudes|consultas|llamadas|requisições|chamadas|requêtes|richieste|chiamate)"
    r"[^.]{0,40} (?:exced|super|alcanz|atingid|ultrapass|dépass|attei|raggiunt)"
)
#: Words of those that need no other letters than those of English.
_SAID_WORDS_ELSEWHERE: Final = (
    *("zu viele", "erreicht", "trop de ", "demasiad", "muitas", "bloquead", "excedid", "tropp", "limite d"),
    *("przekroczono", "zbyt wiele", "te veel", "terlalu banyak"),
)
#: Sentences that say that a number is used up: that of the calls of some time, unless a word near says another thing.
_SPENT: Final = pattern(
    r"quota (?:for (?:[\w`']+ ){1,5}|limit )?(?:(?:has|have|was|is|been) ){0,2}(?:exceeded|exhausted|reached)"
    r"|exceed\w* (?:\w+ ){0,5}limit of [0-9][0-9,]{0,12} (?:\w+ ){0,2}(?:requests|calls|queries)"
    r"|(?:reached|hit) (?:the |your )?(?:hourly|daily|weekly|monthly) limit (?:of [0-9][0-9,]{0,12}|for|on) (?:\w+ ){0,2}"
    r"(?:requests|calls|queries)"
    r"|(?:requests?|calls?) (?:\w+ )?reached (?:the |your )?(?:\w+ ){0,2}limit|requests are too many"
    r"|quota will be (?:renewed|reset|replenished|restored)|(?:query|usage) limits? (?:is |are |has been )?(?:exceeded|reached)"
    r"|quota reach(?:es)? (?:the )?limit|quota [^.]{0,48}(?:used up|consumed|depleted)"
    r"|exceed\w* (?:\w+ ){0,2}(?:hourly|daily|weekly|monthly) (?:api )?usage"
    r"|reached (?:the |your )?(?:\w+ ){0,2}quota|(?:max(?:imum)?|pending|concurrent) requests exceeded"
    r"|over (?:\w+ ){0,2}quota|usage limits? [^.]{0,40}exceeded|out of (?:\w+ ){0,3}quota"
    r"|reach(?:ed)? (?:the |your )?max(?:imum)? (?:\w+ ){0,4}(?:quota|(?:request|call|rate)s? limit"
    r"|requests|calls)|(?:hourly|daily|weekly|monthly|minutely|per-minute) (?:\w+ ){0,2}limit [^.]{0,40}(?:exceeded|reached)"
    r"|(?<!to )(?:exceed|surpass)\w* (?:[\w-]+ ){0,5}(?:quota|api calls"
    r"|(?:hourly|daily|weekly|monthly) (?:\w+ |(?:\w+ ){1,2}(?:requests?|calls?) )?limit"
    r"|(?:requests|calls|queries) per|(?:maximum|number of|amount of) (?:\w+ ){0,2}(?:requests|calls|queries))"
    r"|(?:number|threshold|amount) (?:of|for) [^.]{0,48}(?:requests|calls|queries)[^.]{0,96}(?:exceeded|reached)"
)
#: The words of these sentences.
_SPENT_WORDS: Final = ("quota", "limit", "exceed", "reach", "surpass", "requests are too many")
_OTHER_THING: Final = pattern(
    r"storage|disk|space|records?\b|service quota|mailbox|memory|instance|seat|member|file|batch|single|depth|payload|upload"
    r"|size|byte|length|transfer|cores?\b|cpu|pods?\b|compute|peraccount|spend|card\b|amount(?! of (?:requests|calls))"
    r"|transaction|withdraw|deposit|balance"
    r"|price limit|friend|pull request|merge request|coupon|voucher|promo"
)
_NEAR: Final = 24
#: A sentence that names a wait: "try again in 7.5s", "retry after 35", "banned until 1700000000000", "in the next hour".
_SENTENCE: Final = pattern(
    r"(?:again|regain access|retry|availab(?:le|ility)|resets?|renewed|wait|banned|blocked|locked|throttled|suspended"
    r"|disabled|expires"
    r"|\(in|allowed (?:at|in|after|from)|try after|request (?:this |it )?after|access (?:\w+ ){0,2}after|replenish(?:ed|es)"
    r"|timed out|another (?:request|call)|in effect|cool ?down|breather"
    r"|will (?:last|end)|ends at|remaining (?:period|time)|the next)"
    r"(?:(?!every|per )[^0-9.!?]){0,24}?[ :~\[='\"]"
    r"(?:(?P<clock>(?:[0-9]{1,3}\.)?[0-9]{1,3}:[0-5][0-9]:[0-5][0-9])(?![0-9:])"
    r"|(?P<date>[0-9]{4}-(?:[0-9]{2}|[a-z]{3})-[0-9]{2}(?:t| (?:at )?)[0-9:.]{5,18}(?:z| ?[+-][0-9]{2}:?[0-9]{2})?"
    r"|(?:[a-z]{3} [a-z]{3} [0-9]{1,2}|[0-9]{1,2} [a-z]{3}) [0-9]{4} [0-9:]{8}(?: (?:utc|gmt(?:[+-][0-9]{4})?))?)"
    r"|(?P<span>(?:[0-9]{1,9}(?:\.[0-9]{1,9})?['\"\]]?\s?(?:more )?"
    r"(?:milliseconds?|ms|[\u00b5\u03bcun]s|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)"
    r"(?![a-z])[ ,]{0,2}(?:and )?){1,4})"
    r"|(?:an?|one|(?:the )?next) (?P<one>second|minute|hour|day)(?![a-z])"
    r"|(?P<number>[0-9]{1,19}(?:\.[0-9]{1,9})?))(?![0-9])"
)
#: Each sentence that names a wait, or a moment, has one of these words.
_WAIT_WORDS: Final = (
    *("again", "access", "retry", "avail", "reset", "renew", "wait", "bann", "lock", "thrott", "suspend", "disabl", "expire"),
    *(
        "after",
        "replenish",
        "timed out",
        "will last",
        "will end",
        "ends at",
        "remaining",
        "until",
        " of ",
        "the next",
        "refresh",
    ),
    *("resume", "restored", "continue", "(in ", "allowed", "permitted", "tomorrow", "back", "later", "try", "another "),
    *("in effect", "cool"),
)
#: A limit: "15 requests per second", "40 API calls / minute", "5 per 1 minute", "50/second".
_LIMIT: Final = pattern(
    r"([0-9](?<![0-9.,:/-].)[0-9]{0,8}) ?(?:(?:\w{1,8} )?(?:requests?|calls?|queries|hits|times|messages) ?)?"
    r"(?:per (?:user|ip|key|client|account) )?"
    r"(?:per|/|an?|each|every) ?([0-9]{1,5}(?= ?[smh]))? ?(seconds?|secs?|s|minutes?|mins?|m|hours?|h)(?![a-z0-9])"
)
#: As Apigee says a limit: `MessageRate{capacity=80, period=Minutes}`, `Allowed rate : 5ps`.
_CAPACITY: Final = pattern(r"(?:messagerate\{capacity=|allowed rate ?: ?)([0-9]{1,9})(?:, ?(?:message)?period=|p)([smh])")
#: As gateways of Huawei say a limit: `limit:100,time:1 minute`.
_LISTED: Final = pattern(r"\blimit:([0-9]{1,9}),time:([0-9]{1,5}) ?(second|minute|hour)")
#: A wait in the other languages, in a text that says "again" or "wait": "in 20 Sekunden", "через 30 секунд", "30秒后".
_AGAIN_ELSEWHERE: Final = pattern(
    r"erneut|wieder|wart|réessay|patiente|attend|nuevo|intent|esper|novamente|tente|aguard|riprov|attend|повтор|попроб|подожд|再|等|다시|お待ち"
    r"|ponownie|opnieuw|tekrar|спроб|zkuste|znovu|försök|coba lagi|thử lại"
)
#: Those of these words that need no other letters than those of English.
_AGAIN_WORDS: Final = (
    *("erneut", "wieder", "wart", "patient", "attend", "nuevo", "intent", "esper", "novamente", "tente", "aguard"),
    *("riprov", "ponownie", "opnieuw", "tekrar", "zkuste", "znovu", "coba lagi"),
)
_WAIT_ELSEWHERE: Final = pattern(
    r"\b(?:in|nach|noch|en|em|por|após|tra|fra|dopo|через|esper[aei]r?|aguard[ae]r?|warten(?: sie)?|подождите"
    r"|po|za|over|om|dalam|sau)"
    r"\s([0-9]{1,6})\s?(?:(sekund|segundo|second(?!s?\b)|секунд|detik|giây)|minut(?!es?\b)|минут|хвилин|menit|phút)"
    r"|\b(?:dans|après|attende[zr]|patiente[zr])\s([0-9]{1,6})\s?(?:(seconde)|minute)|([0-9]{1,6})\s?(?:(秒|초|saniye)|分|분|dakika)钟?\s?(?:后|後|之后|以后|후|뒤|sonra)"
)
_NEXT_ELSEWHERE: Final = pattern(r"(?:siguiente|próximo|prochaine|nächsten?|prossimo|следующ\w{1,4}|下一) ?(?:minut|分钟)")
_ENDS: Final = pattern(r"[.!?。]")
#: Characters of a text in which a wait in another language alone denies a call: to look for its words takes long.
_MAX_SHORT: Final = 512
#: A number without a unit is a wait after these words only.
_MEANS_WAIT: Final = pattern(r"(?:after|in|until|for)[ :~=]+[0-9.]+$")
#: Digits of a number that is a date.
_EPOCH_DIGITS: Final = 10
#: Commas of numbers, `1,640 seconds`.
_THOUSANDS: Final = pattern(r",(?<=[0-9],)(?=[0-9]{3}(?![0-9]))")
_IS_SPAN: Final = pattern(r"(?:in|for)[ :~]+[0-9:.]+$")
_PART: Final = pattern(r"([0-9]+(?:\.[0-9]+)?)['\"\]]?\s?(?:more )?(ms|milli|[\u00b5\u03bcun]s|[smhd])")


def says_rate_limited(text: str) -> bool:
    """Whether a text, in lower case, has a sentence that says "rate limited"."""
    if has_one(text, _SAID_WORDS) and _SAID.search(text) is not None:
        return True
    if (_is_elsewhere(text, _SAID_WORDS_ELSEWHERE) and _SAID_ELSEWHERE.search(text) is not None) or says_banned(text):
        return True
    if len(text) <= _MAX_SHORT and _asks_to_wait_elsewhere(text):
        return True
    spent = _SPENT.search(text) if has_one(text, _SPENT_WORDS) else None
    return spent is not None and _OTHER_THING.search(text, max(0, spent.start() - _NEAR), spent.end() + _NEAR) is None


def limits_in(text: str) -> list[tuple[Duration, int]]:
    """The windows and the limits that a text, in lower case, names: `15 requests per second`.

    Those of tokens are none of requests.
    """
    found = [] if "token" in text else _LIMIT.findall(text)
    if ",time:" in text:
        found += [(amount, many, unit) for amount, many, unit in _LISTED.findall(text)]
    if "allowed rate" in text:
        found += [(amount, "1", unit) for amount, unit in _CAPACITY.findall(text)]
    return [(Duration(int(many or 1) * _scale(unit[0])), int(amount)) for amount, many, unit in found]


def wait_in(text: str, clock: Clock) -> int:
    """The longest wait that a text, in lower case, names; -1 if it names none. In microseconds."""
    longest = -1
    if has_one(text, _WAIT_WORDS):
        longest = wait_until(text, clock, _spans_in(_THOUSANDS.sub("", text) if "," in text else text, clock))
    return longest if longest >= 0 else _wait_elsewhere(text)


def _spans_in(text: str, clock: Clock) -> int:
    longest = -1
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
            wait = span(found["date"].rstrip(".").upper().replace(" AT ", " "), clock) or -1
        elif _MEANS_WAIT.search(found[0]) is not None or len(found["number"].partition(".")[0]) >= _EPOCH_DIGITS:
            wait = span(found["number"], clock) or -1
        else:
            continue
        longest = max(longest, wait)
    return longest


def _is_elsewhere(text: str, words: tuple[str, ...]) -> bool:
    """Whether a text may be in another language than English: by its letters, or one of these words."""
    return not text.isascii() or has_one(text, words)


def _asks_to_wait_elsewhere(text: str) -> bool:
    """Whether a sentence of another language asks to try again after a wait, as "try again in 30 seconds" does."""
    return _is_elsewhere(text, _AGAIN_WORDS) and any(_wait_elsewhere(sentence) > 0 for sentence in _ENDS.split(text))


def _wait_elsewhere(text: str) -> int:
    """The longest wait that a text of another language names."""
    if not _is_elsewhere(text, _AGAIN_WORDS) or _AGAIN_ELSEWHERE.search(text) is None:
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
