"""How people and corpora spell emotions: `ser init` and `splits.scope` suggest merges by it."""

import unicodedata
from collections.abc import Iterable

# Canonical emotion: its other spellings, as `bare` leaves them. Words that two emotions share in
# some language (such as Italian "tristo") and codes of fewer than three letters are not here.
SPELLINGS = {
    "angry": "anger ang rage wut wuetend wutend arger aerger argerlich colere colerique enfado "
    "enojo ira rabbia raiva zlosc gniew kizgin 愤怒 生气 怒り 怒",
    "boredom": "bored boring bor langeweile gelangweilt ennui noia aburrimiento nuda tedio",
    "calm": "calmness calmed cal relaxed ruhig calme calma calmo spokoj",
    "contempt": "con contemptuous verachtung mepris disprezzo desprecio pogarda 轻蔑",
    "disgust": "disgusted dis disgusting ekel degout disgusto asco nojo obrzydzenie 厌恶 嫌悪",
    "excited": "excitement exc excite aufgeregt",
    "fear": "fearful afraid fea scared anxiety anxious angst peur paura miedo medo strach "
    "恐惧 害怕 恐れ",
    "frustrated": "frustration fru frustriert",
    "happy": "happiness hap joy joyful happily freude froh glucklich gluecklich joie gioia "
    "felicita alegria felicidad felicidade radosc szczescie mutlu 开心 高兴 喜び",
    "neutral": "neutrality neu neut normal neutre neutrale neutro neutralny neutralnosc 中性 中立",
    "sad": "sadness trauer traurig tristesse triste tristezza tristeza smutek uzgun 悲伤 难过 "
    "悲しみ",
    "surprise": "surprised sur suprise suprised surprising pleasantsurprise pleasantlysurprised "
    "uberraschung ueberraschung uberrascht sorpresa surpresa zaskoczenie zdziwienie 惊讶 驚き",
}


def bare(label: str) -> str:
    """A label in small letters alone, without accents, blanks, digits and marks."""
    whole = unicodedata.normalize("NFKD", label.replace("ł", "l").replace("Ł", "l"))
    return "".join(one for one in whole.casefold() if one.isalpha())


_KNOWN = {bare(name): name for name in SPELLINGS}
_KNOWN |= {bare(word): name for name, words in SPELLINGS.items() for word in words.split()}


def canonical(label: str) -> str | None:
    """The emotion that a label most likely means: ``Anger`` is ``angry``; None: none is known."""
    return _KNOWN.get(bare(label))


def meant(label: str, known: Iterable[str]) -> str | None:
    """The first known label for the emotion that a label most likely means; None: there is none."""
    emotion = canonical(label)
    return next((one for one in known if emotion and canonical(one) == emotion), None)
