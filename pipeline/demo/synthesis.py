"""The embedded demo corpus: acted emotions, spoken by a source-filter voice.

First in the flow of the data: it writes ``data/raw/demo`` (see `write`). It is synthetic, so it
measures the machinery and not people. Each emotion moves a speaker's voice as the literature
describes (`EXPRESSIONS`), each speaker does so in an own way, and each take varies again, so that
emotions overlap. References: Banse & Scherer, "Acoustic profiles in vocal emotion expression",
J. Pers. Soc. Psych. 70, 1996; Juslin & Laukka, "Communication of emotions in vocal expression and
music performance", Psych. Bulletin 129, 2003, table 11; Gobl & Ni Chasaide, "The role of voice
quality in communicating emotion, mood and attitude", Speech Comm. 40, 2003.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from pipeline.corpora.manifest import EMOTIONS, RATED
from pipeline.demo import listeners, voice
from pipeline.demo.voice import FRICATIVES_HZ, NASALS_HZ, RATE_HZ, STOPS_HZ, VOWELS_HZ, Phone, Voice
from pipeline.ground import files

SYLLABLES = 7
CONSONANTS = {"fricative": [*FRICATIVES_HZ], "stop": [*STOPS_HZ], "nasal": [*NASALS_HZ]}
SYLLABLE_S = 0.21  # at tempo 1
# The cues, each with the scale on which speakers and listeners judge it.
CUES = {
    "pitch": 4.0,  # semitones above the speaker's own level
    "range": 0.5,  # log of the range, relative
    "rise": 3.0,  # semitones from the beginning to the end
    "tempo": 0.15,  # log of the rate, relative
    "energy": 5.0,  # dB
    "tension": 0.4,  # log of 1 / Rd, relative
    "roughness": 0.02,  # jitter
    "breath": 0.05,  # noise, relative to the pulses
}
NEUTRAL = {"roughness": 0.008, "breath": 0.02}
# By how many scales each cue departs from neutral speech, in the order of CUES.
EXPRESSIONS = {
    "angry": (1.0, 1.2, 0.0, 0.8, 1.7, 1.6, 0.6, 0.0),
    "calm": (-0.4, -0.5, -0.3, -1.0, -0.7, -0.7, -0.1, 0.6),
    "disgust": (-0.6, 0.1, -0.9, -0.9, 0.2, 0.6, 1.3, 0.2),
    "fear": (1.5, -0.3, 0.5, 1.3, 0.1, 0.1, 0.8, 1.2),
    "happy": (1.0, 1.3, 0.7, 0.6, 0.9, 0.3, 0.0, 0.1),
    "neutral": (0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0),
    "sad": (-0.6, -0.9, -1.0, -1.4, -1.3, -1.2, 0.4, 1.0),
    "surprise": (1.6, 1.6, 2.0, -0.1, 0.5, 0.0, 0.0, 0.5),
}
SPEAKER_SPREAD = 0.15  # of a speaker's own way with an emotion, in scales
TAKE_SPREAD = 0.2  # of one take, in scales
FULL_SCALE_DB = -30.0  # level of neutral speech, relative to a pulse of 1
NOISE_FLOOR = 2e-4

Vector = NDArray[np.float64]


@dataclass(frozen=True)
class Speaker:
    """A voice of its own: pitch, tract, distance to the microphone, and way with emotions."""

    name: str
    gender: str
    session: str
    pitch_hz: float
    tract: float
    gain_db: float
    tempo: float
    rd: float
    manner: Vector  # (emotions, cues), in scales, added to EXPRESSIONS
    vigour: float  # factor on EXPRESSIONS


@dataclass(frozen=True)
class Utterance:
    """One recording: 16-bit samples at 44.1 kHz, where its sounds lie, what listeners heard."""

    speaker: Speaker
    emotion: str
    take: int
    samples: NDArray[np.int16]
    phones: list[Phone]
    shares: dict[str, float]
    votes: dict[str, int]
    dimensions: dict[str, float]

    @property
    def path(self) -> str:
        """Relative to the corpus."""
        return f"wav/{self.speaker.name}_{self.emotion}_{self.take}.wav"


def write(folder: Path, seed: int, speakers: int, takes: int, panel: int) -> None:
    """Write ``wav/*.wav``, ``labels.csv`` and ``phones.csv`` under ``folder``.

    ``takes`` is per speaker and emotion; ``panel`` is how many listeners judge each utterance.
    """
    (folder / "wav").mkdir(parents=True)
    labels: list[dict[str, object]] = []
    phones: list[dict[str, object]] = []
    for utterance in corpus(seed, speakers, takes, panel):
        wavfile.write(folder / utterance.path, RATE_HZ, utterance.samples)
        labels.append(_label(utterance))
        phones += _alignment(utterance)
    _write(folder / "labels.csv", labels)
    _write(folder / "phones.csv", phones)


def corpus(seed: int, speakers: int, takes: int, panel: int) -> Iterator[Utterance]:
    """Every speaker in every emotion; each utterance follows from its own seed alone."""
    for number in range(speakers):
        for emotion in EMOTIONS:
            for take in range(takes):
                yield utter(seed, number, emotion, take, panel)


def utter(seed: int, number: int, emotion: str, take: int, panel: int) -> Utterance:
    """One recording; its random choices follow from (seed, speaker, emotion, take) alone."""
    rng = np.random.default_rng([seed, number + 1, EMOTIONS.index(emotion) + 1, take + 1])
    speaker = make_speaker(seed, number)
    cues = express(speaker, emotion, rng)
    value = dict(zip(CUES, cues * list(CUES.values()), strict=True))
    phones = _say(make_text(seed, take), speaker.tempo * np.exp(value["tempo"]), rng)
    pitch_hz = speaker.pitch_hz * 2 ** (_melody_st(phones, value, rng) / 12)
    phonation = Voice(
        tract=speaker.tract,
        rd=float(np.clip(speaker.rd * np.exp(-value["tension"]), 0.4, 2.5)),
        jitter=max(NEUTRAL["roughness"] + value["roughness"], 0.003),
        shimmer=max(0.03 + 2 * value["roughness"], 0.02),
        breath=max(NEUTRAL["breath"] + value["breath"], 0.005),
    )
    speech = voice.speak(phones, pitch_hz, phonation, rng)
    level = 10 ** ((FULL_SCALE_DB + speaker.gain_db + value["energy"]) / 20)
    samples = _record(level * speech, rng)
    return Utterance(
        speaker,
        emotion,
        take,
        samples,
        phones,
        shares=listeners.shares(cues, panel, rng),
        votes=listeners.votes(cues, EXPRESSIONS, panel, rng),
        dimensions=listeners.dimensions(cues, panel, rng),
    )


def make_speaker(seed: int, number: int) -> Speaker:
    """Speakers alternate, a woman and a man to a session; tracts as in Peterson & Barney."""
    rng = np.random.default_rng([seed, number + 1])
    woman = number % 2 == 0
    session = number // 2 + 1
    return Speaker(
        name=f"{'f' if woman else 'm'}{session}",
        gender="female" if woman else "male",
        session=str(session),
        pitch_hz=(205.0 if woman else 115.0) * 2 ** (rng.normal(0, 1.5) / 12),
        tract=(1.17 if woman else 1.0) * np.exp(rng.normal(0, 0.03)),
        gain_db=rng.normal(0, 1.5),
        tempo=np.exp(rng.normal(0, 0.06)),
        rd=(1.3 if woman else 1.1) * np.exp(rng.normal(0, 0.1)),
        manner=rng.normal(0, SPEAKER_SPREAD, (len(EMOTIONS), len(CUES))),
        vigour=rng.uniform(0.8, 1.2),
    )


def express(speaker: Speaker, emotion: str, rng: np.random.Generator) -> Vector:
    """The cues of one take, in scales from the speaker's neutral speech, of shape (cues,)."""
    intended: Vector = speaker.vigour * np.array(EXPRESSIONS[emotion])
    own = speaker.manner[EMOTIONS.index(emotion)]
    cues: Vector = intended + own + rng.normal(0, TAKE_SPREAD, len(CUES))
    return cues


def make_text(seed: int, take: int) -> list[tuple[str, str]]:
    """Seven syllables of a consonant and a vowel, as (class, symbol).

    A take has the same text in every speaker and emotion, as in acted corpora: what differs is how
    it is said.
    """
    rng = np.random.default_rng([seed, 0, 0, take + 1])
    text: list[tuple[str, str]] = []
    for _ in range(SYLLABLES):
        kind = str(rng.choice(list(CONSONANTS)))
        text.append((kind, str(rng.choice(CONSONANTS[kind]))))
        text.append(("vowel", str(rng.choice(list(VOWELS_HZ)))))
    return text


def _say(text: list[tuple[str, str]], tempo: float, rng: np.random.Generator) -> list[Phone]:
    """Give each sound its length, with a pause around the text and one in its middle."""
    share = {"vowel": 0.65}  # of a syllable; the rest is its consonant
    sizes_s = SYLLABLE_S / tempo * rng.uniform(0.85, 1.15, len(text))
    phones = [
        Phone(kind, symbol, share.get(kind, 0.35) * size_s)
        for (kind, symbol), size_s in zip(text, sizes_s, strict=True)
    ]
    middle = len(phones) // 2 // 2 * 2
    edge, within = Phone("pause", "", 0.12), Phone("pause", "", 0.12 / tempo**2)
    return [edge, *phones[:middle], within, *phones[middle:], edge]


def _melody_st(phones: list[Phone], value: dict[str, float], rng: np.random.Generator) -> Vector:
    """Pitch at each sample, in semitones: an accent on each sound, and a slope over all."""
    lengths = voice.lengths_samples(phones)
    accents = rng.normal(0, 2.0 * np.exp(value["range"]), len(phones))
    centres = np.cumsum(lengths) - np.array(lengths) / 2
    time = np.arange(sum(lengths))
    slope = (value["rise"] - 2.0) * (time / len(time) - 0.5)  # neutral speech declines
    melody: Vector = value["pitch"] + slope + np.interp(time, centres, accents)
    return melody


def _record(speech: Vector, rng: np.random.Generator) -> NDArray[np.int16]:
    """Add the room's noise and quantise to 16 bits."""
    noisy = speech + NOISE_FLOOR * rng.standard_normal(len(speech))
    return np.round(np.clip(noisy, -0.999, 0.999) * 32767).astype(np.int16)


def _label(utterance: Utterance) -> dict[str, object]:
    return {
        "path": utterance.path,
        "emotion": utterance.emotion,
        "speaker": utterance.speaker.name,
        "gender": utterance.speaker.gender,
        "session": utterance.speaker.session,
        "language": "none",
        **{
            prefix + name: value
            for kind, prefix in RATED.items()
            for name, value in getattr(utterance, kind, {}).items()
        },
    }


def _alignment(utterance: Utterance) -> Iterator[dict[str, object]]:
    ends = np.cumsum(voice.lengths_samples(utterance.phones)) / RATE_HZ
    for phone, start_s, end_s in zip(utterance.phones, [0.0, *ends], ends, strict=False):
        yield {
            "path": utterance.path,
            "start_s": f"{start_s:.6f}",
            "end_s": f"{end_s:.6f}",
            "class": phone.kind,
            "symbol": phone.symbol,
        }


def _write(path: Path, rows: list[dict[str, object]]) -> None:
    files.write_csv(path, list(rows[0]), [list(row.values()) for row in rows])
