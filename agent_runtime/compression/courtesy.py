"""Which sentences of a conversation only keep it polite?

Thanks, apologies, good wishes, offers of further help. A sentence is one of them if it holds nothing but their words:
a word outside the list, a negation, a condition on anything but further help, and the sentence says something. Pure.
"""

from __future__ import annotations

import re

from agent_runtime.compression.protect import word_set
from agent_runtime.compression.sentences import LIST_MARK, information_words

_WORDS = word_set(
    """additional always amazing any anything appreciate appreciated apologise apologies apologize ask assist
    assistance assisted assisting awesome back bye care clarification come concern concerns confusion contact
    contacting convenience cooperation day delighted disappointment else enjoy enjoyable evening excellent fantastic
    feel forward free frustrating frustration future glad goodbye great greetings happy hear hello help helped helpful
    helpfulness helping helps hesitate hey hi hope inconvenience information issues kind know looking lovely lot luck
    morning much need nice night patience patiently perfect pleasant pleased pleasure questions reach reaching
    ready requests safe sincerely sorry start stay support take talk time today too travel travels trip truly
    trouble understand understanding wait waiting weekend welcome wish wonderful"""
)
_MARK = re.compile(
    r"\b(?:thank(?:s| you)|welcome|pleasure|glad|happy to|help(?:ed|ful|s|ing)?|assist(?:ed|ing|ance)?|hello|hi|hey"
    r"|bye|goodbye|greetings|appreciated?|apologi(?:es|[sz]e)|sorry|frustrat(?:ing|ion)|inconvenience|patience"
    r"|let me know|feel free|reach out|look(?:ing)? forward|hear(?:ing)? from|safe (?:travels?|trip)|take care(?! of)"
    r"|enjoy|have an? (?:\w+ )?(?:day|evening|night|time|trip|weekend))\b",
    re.IGNORECASE,
)
"""What makes a sentence courtesy: the words of the list alone may also be an answer ("Great, I understand.")."""
_SAYS_MORE = re.compile(
    r"\b(?:not|no|never|none|neither|nor|cannot|without|only|unless|except|must|should|instead|but|however|because|until"
    r"|who|whom|whose|what|which|when|where|why|wants?|prefer|like to|wish to|care of|\w+n['’]t"
    r"|(?:that|it)(?:['’]s| is| sounds| would| will)|i will(?=[.!]))\b"
    r"|^(?:great|good|perfect|excellent|wonderful|fantastic|awesome|amazing|lovely)\b",
    re.IGNORECASE,
)
"""What a polite sentence may say besides: "That would be great, thank you!" and "Perfect, thanks!" may be a yes."""
_OFFER = re.compile(r"^if (?:you|there)\b.*\b(?:any|anything|further|other|more|else)\b", re.IGNORECASE)
_FRAME = r"(?:please |just )*(?:let me know|feel free|hesitate)"
_TOPIC = re.compile(
    rf"\b(?:with|about|regarding|within|such as|once) (?:[^.!?]*(?=, {_FRAME})|[^,.!?]*)", re.IGNORECASE
)
_THANKS_FOR = re.compile(
    r"^(thank(?:s| you)[\w ]*?) for (?:your|the|all|confirming|providing|sharing|letting|reaching|waiting)\b[^,.!?;]*",
    re.IGNORECASE,
)
LONGEST = 300
"""Characters of a sentence. Courtesy is short, and the patterns below are not made for pages without a full stop."""
_DUTY = r"(?:proceed|continue|assist|help|look|check|verify|determine|locate|find|access|be able)"
_PROMISE = re.compile(
    r"^(?:once (?:i have|you(?:['’]ve)? provided?)[^,.!?]*, (?:i|we)(?: can|['’]ll| will)"
    r"|this (?:will|would) (?:help|allow|enable) (?:me|us)(?: to)?)"
    rf" {_DUTY}\b[^.!?]*[.!]$",
    re.IGNORECASE,
)
"""What the speaker does once told what was asked for."""
_EMPTY = re.compile(r"^should(?= (?:you|there)\b)|\b(?:do not|don['’]t) (?=hesitate)", re.IGNORECASE)


def is_courtesy(sentence: str) -> bool:
    """Whether a sentence only keeps the conversation polite; thanks and offers of further help may name their topic."""
    bare = LIST_MARK.sub("", sentence.strip())
    if len(bare) > LONGEST:
        return False
    if _PROMISE.match(bare):
        return True
    bare = _EMPTY.sub(lambda found: "if" if found[0].lower() == "should" else "", bare)
    if not _MARK.search(bare) or _SAYS_MORE.search(bare):
        return False
    bare = _THANKS_FOR.sub(r"\1", bare)
    if _OFFER.match(bare):
        bare = _TOPIC.sub("", bare)
    return information_words(bare) <= _WORDS
