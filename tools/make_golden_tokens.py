#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Make three small tokenizers and 10,000 mixed texts with their token ids.

Inputs: examples/sample-model/tokenizer.json (--sample) and the grammar in tools/sample_corpus.py;
everything else is drawn from a fixed seed.

Outputs, under --out (default tests/data):
  tokenizers/gpt2.json            the sample model's tokenizer (GPT-2's pattern), copied
  tokenizers/llama3.json          Llama 3's pattern, ignore_merges, special tokens at the end
  tokenizers/qwen2.json           Qwen2's pattern, NFC, special tokens at the end
  golden/tokens.lines.zst         the texts, each followed by one zero byte
  golden/tokens.<name>.ids.zst    for each text: count, then ids, all u16 little-endian
  golden/decoded.<name>.json      [{ids, text}]: ids and what they are decoded to

Text number i is of the kind KINDS[i % len(KINDS)], which helps to find out what went wrong.
The ids are those of the `tokenizers` package with add_special_tokens=False, the decoded texts its
own with skip_special_tokens=True, with U+FFFD for U+0000, which llem's JSON does not take.
"""

import argparse
import array
import json
import pathlib
import random
import sys
import unicodedata

import sample_corpus
import zstandard
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)

CONTRACTION = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
TAIL = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
LLAMA3 = CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + TAIL
QWEN2 = CONTRACTION + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}" + TAIL
LLAMA3_SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>"]
QWEN2_SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]

# --- Texts -------------------------------------------------------------------------------------

# fmt: off
CHINESE = "今天天气很好我们去河边散步机器的能量是功率乘以时间请测量三次并取平均值。，！？「」"
JAPANESE = (
    "今日は天気がいいので川まで歩きます"
    "エネルギーを測るカタカナひらがな東京お茶ー。、ガギグパピ"
)
KOREAN = "오늘은날씨가좋아서강가를걷습니다에너지를측정하세요전력시간"
HEBREW = "שלום עולם אנרגיה זמן מים לחם"
ARABIC = "مرحبا بالعالم الطاقة والوقت ماء خبز ٠١٢٣٤٥"
GREEK = "Καλημέρα κόσμε ενέργεια χρόνος ΣΊΣΥΦΟΣ σίσυφος ὕδωρ ἄρτος"
CYRILLIC = "Доброе утро мир энергия время вода хлеб ЁЛКА ёлка"
HINDI = "नमस्ते दुनिया ऊर्जा समय पानी क़िला"
THAI = "สวัสดีชาวโลก พลังงาน เวลา น้ำ ขนมปัง"
ACCENTED = (
    "café naïve façade jalapeño über Straße Ægir smörgåsbord crème brûlée Čeština žluťoučký kůň "
    "Łódź ångström İstanbul ıssız Việt Nam Tiếng Zoë fiancée São Paulo œuvre ŒUVRE ﬁn ﬂow"
).split()
EMOJI = [
    "😀", "🎉", "🌧️", "☕", "🚲", "❤️", "❤", "👍🏽", "👩‍🔬", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇯🇵",
    "🇩🇪🇫🇷", "1️⃣", "#️⃣", "🧑🏿‍🚀", "⚡", "🔋", "🌱", "✅", "™️", "ℹ️",
]
SPACES = [
    " ", "  ", "   ", "\t", "\t\t", "\n", "\n\n", "\r\n", "\r", "\u00a0", "\u2003",
    "\u3000", "\u2028", "\u0085", "\u200b", "\ufeff", "\u180e", "\u202f", "\v",
    "\f", "\u001c", "        ",
]
DIGITS = "0123456789٣४๕²³½⅓Ⅷⅷ①㊿７８〇"
MARKS = "\u0301\u0300\u0308\u0327\u0323\u0302\u0331\u20d7\u0345\u0344\u05b0\u0651"
CONTRACTIONS = [
    "I'm", "you're", "it's", "we've", "they'll", "she'd", "don't", "I'M", "YOU'RE",
    "IT'S", "WE'VE", "THEY'LL", "SHE'D", "DON'T", "It'S", "o'clock", "rock'n'roll",
    "'tis", "'Twas", "y'all'd've", "it\u2019s", "don\u2019t", "'re", "'lll", "'s",
    "''s", "x'y", "'\u017f", "a'\u017fb", "l'été", "d'accord", "'d've", "1's",
    "the '90s", "C's", "s'", "'ve're",
]
PUNCTUATION = list("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~") + [
    "...", "…", "—", "–", "“", "”", "‘", "’", "«", "»", "¿", "¡", "§", "€", "£",
    "°", "±", "×", "÷", "≤", "∞", "→", "•", "||", "&&", "!=", "==", "->", "::",
    "//", "/*", "*/", "!!!", "???", "---", "***", "_", "¬", "¶",
]
WORDS = (
    "the of and to in is it meter energy power watt joule time second model token prompt answer "
    "kettle garden river window machine clock sensor reading average error baseline memory Hello "
    "World HTTP GPU CamelCase snake_case XMLHttpRequest running quickly unbelievable a I"
).split()
# Singletons, exclusions and others that NFC changes or must leave alone.
NORMAL = [
    "\u212b", "\u2126", "\u212a", "\u0958", "\uf900", "\u0344", "\u1fef", "\u2000",
    "e\u0301", "E\u0301\u0323", "o\u0302\u0301", "s\u0323\u0307", "s\u0307\u0323",
    "\u1112\u1161\u11ab", "\u1100\u1161", "\uac00\u11a8", "a\u0328\u0301", "\u0f73",
    "\ufb1d", "\u0340", "\u0387", "\u03b9\u0308\u0301", "\u0915\u093c", "A\u030a",
    "\u2adc", "\u0b47\u0b3e", "\U0001d15e", "\u304b\u3099", "\uff76\uff9e",
    "\u0061\u0315\u0300\u05ae\u0300\u0062",
]
# fmt: on


def plain_points():
    """Code points whose category has not changed since Unicode 3.2: safe with any version."""
    old = unicodedata.ucd_3_2_0
    return [
        code
        for code in range(1, 0x20000)
        if old.category(chr(code)) not in {"Cn", "Cs"}
        and old.category(chr(code)) == unicodedata.category(chr(code))
        and not 0xAC00 <= code < 0xD7A4
        and not 0x4E00 <= code < 0xA000
    ]


POINTS = plain_points()


def some(rng, source, low, high, separator=""):
    return separator.join(rng.choice(source) for _ in range(rng.randint(low, high)))


def english(rng):
    text = sample_corpus.piece(rng)
    start = rng.randrange(len(text))
    return text[start : start + rng.randint(20, 110)]


def number(rng):
    forms = [
        lambda: str(rng.randint(0, 10 ** rng.randint(1, 14))),
        lambda: f"{rng.uniform(-1000, 1000):.{rng.randint(0, 8)}f}",
        lambda: f"{rng.randint(0, 10**9):,}",
        lambda: f"{rng.random() * 10 ** rng.randint(-20, 20):.4e}",
        lambda: f"{rng.randint(1900, 2100)}-{rng.randint(1, 12):02}-{rng.randint(1, 28):02}",
        lambda: f"{rng.randint(0, 23):02}:{rng.randint(0, 59):02}:{rng.randint(0, 59):02}",
        lambda: hex(rng.getrandbits(rng.randint(4, 64))),
        lambda: f"v{rng.randint(0, 9)}.{rng.randint(0, 20)}.{rng.randint(0, 99)}",
        lambda: some(rng, DIGITS, 1, 6),
        lambda: (
            f"{rng.randint(1, 999)}{rng.choice(['W', 'kWh', ' J', '%', 'ms', 'th', ' °C', 'x'])}"
        ),
    ]
    return some(
        rng, [rng.choice(forms)() for _ in range(8)], 1, 8, rng.choice([" ", ", ", "", " + ", "\t"])
    )


def punctuation(rng):
    return some(rng, PUNCTUATION * 2 + WORDS + [" ", " ", " "], 4, 25, rng.choice(["", "", " "]))


def contractions(rng):
    return some(rng, CONTRACTIONS + WORDS[:12], 3, 12, " ")


def code(rng):
    name, other, value = rng.choice(WORDS), rng.choice(WORDS), rng.randint(0, 9999)
    forms = [
        f"for (int i = 0; i < {value}; i++) {{\n\t{name}[i] = {other}->next;\n}}",
        f"def {name}_{other}(x, y={value}):\n"
        '    if x != y:\n        return f"{x}\\n"\n    return None',
        json.dumps({name: value, other: [1, 2.5, None, True], "text": 'a\tb"c'}),
        f'<div class="{name}"><a href="https://example.org/{other}?q={value}&r=%20">'
        f"{name}</a></div>",
        f'#include <{name}.h>\nstatic const char *{other} = "{value}\\0"; /* {name} */',
        f"SELECT {name}, COUNT(*) FROM {other} WHERE t >= '{value}' GROUP BY 1;",
        f"$ ./{name} --{other}={value} | grep -v '^#' > /dev/null 2>&1",
        f"fn {name}<'a>(x: &'a str) -> Option<u{value}> {{ x.get(..{value}) }}",
        f"\\frac{{{name}_{{{value}}}}}{{\\sqrt{{x^2}}}} \\cdot {other}",
        f"{name}:\n  - {other}: {value}\n  - null\n# comment\n",
        f'{value},"{name}",{other},,\r\n',
        f"[{value}] WARN {name}.{other}: \u001b[31mfailed\u001b[0m after {value}ms",
    ]
    return rng.choice(forms)


def whitespace(rng):
    parts = []
    for _ in range(rng.randint(1, 9)):
        parts.append(some(rng, SPACES[:11] if rng.random() < 0.7 else SPACES, 1, 4))
        parts.append(rng.choice([*WORDS, "", "1", "!", "é", "中"]))
    if rng.random() < 0.5:
        parts.append(some(rng, SPACES, 1, 3))
    return "".join(parts)


def east_asian(rng):
    script = rng.choice([CHINESE, JAPANESE, KOREAN, CHINESE + JAPANESE + KOREAN])
    text = some(rng, script, 3, 40)
    if rng.random() < 0.3:
        text += chr(rng.randrange(0x4E00, 0x9FA5)) + "𠮷" + chr(rng.randrange(0xAC00, 0xD7A3))
    return text if rng.random() < 0.6 else text + " " + rng.choice(WORDS) + some(rng, script, 1, 9)


def accents(rng):
    text = some(rng, ACCENTED, 2, 10, " ")
    return unicodedata.normalize("NFD", text) if rng.random() < 0.5 else text


def emoji(rng):
    return some(rng, EMOJI + WORDS[:14], 2, 12, rng.choice(["", " "]))


def combining(rng):
    parts = []
    for _ in range(rng.randint(2, 8)):
        word = rng.choice(WORDS)
        parts.append("".join(letter + some(rng, MARKS, 0, 2) for letter in word))
        parts.append(rng.choice(NORMAL))
    return rng.choice([" ", ""]).join(parts)


def scripts(rng):
    source = rng.choice([GREEK, CYRILLIC, HINDI, THAI]).split()
    return some(rng, source, 2, 8, rng.choice([" ", "  ", ", "]))


def right_to_left(rng):
    parts = [
        rng.choice((HEBREW + " " + ARABIC).split() + WORDS[:6]) for _ in range(rng.randint(2, 9))
    ]
    if rng.random() < 0.3:
        parts.insert(1, "\u202b" + parts[0] + "\u202c\u200f")
    return " ".join(parts)


def random_points(rng):
    parts = [chr(rng.choice(POINTS)) for _ in range(rng.randint(3, 24))]
    if rng.random() < 0.2:
        odd = "\ue000 \uffff \ufffd \U0010ffff \U000f0000 \u0378 \u007f \u0001"
        parts.append(rng.choice(odd.split()))
    return "".join(parts)


def long_word(rng):
    length = rng.choice([40, 40, 80, 80, 120, 200])
    kind = rng.randrange(7)
    if kind == 0:
        return some(rng, "abcdefghijklmnopqrstuvwxyz", length, length)
    if kind == 1:
        return rng.choice("aAeé中=- .0") * length * rng.choice([1, 3, 20])
    if kind == 2:
        return some(rng, WORDS, length // 6, length // 4)
    if kind == 3:
        return some(rng, "0123456789", length, length)
    if kind == 4:
        path = some(rng, WORDS, 6, 12, "/")
        return f"https://example.org/{path}#{some(rng, '0123456789abcdef', 16, 16)}"
    if kind == 5:
        return (rng.choice(WORDS) + rng.choice(PUNCTUATION)) * (length // 4)
    return some(rng, "aeiou", 1, 2) * (length * 2)


def special(rng):
    # fmt: off
    pieces = [
        *LLAMA3_SPECIAL, *QWEN2_SPECIAL, "<|endoftex|>", "<|endoftext|", "|endoftext|>", "<|",
        "|>", "<s>", "</s>", " ", "\n", "user", *WORDS[:8],
    ]
    # fmt: on
    return some(rng, pieces, 2, 9, rng.choice(["", "", " "]))


def tiny(rng):
    # fmt: off
    return rng.choice([
        "", " ", "\n", "a", "I", "'", "é", "中", "😀", "\t", "0", "1000", " a", "a ", "\r\n", ".",
        "  a", "\u00a0", "\u0301", "e\u0301", "the", " the", "The", "\u1112\u1161",
        rng.choice(WORDS), rng.choice(PUNCTUATION), chr(rng.choice(POINTS)),
    ])
    # fmt: on


def mixed(rng):
    kinds = [
        english,
        number,
        punctuation,
        contractions,
        whitespace,
        east_asian,
        accents,
        emoji,
        right_to_left,
    ]
    parts = [rng.choice(kinds)(rng)[: rng.randint(5, 25)] for _ in range(rng.randint(2, 5))]
    return rng.choice(["", " ", "\n"]).join(parts)


# fmt: off
KINDS = [
    english, number, punctuation, contractions, code, whitespace, east_asian, accents, emoji,
    combining, scripts, right_to_left, random_points, long_word, special, tiny, mixed, english,
]
# fmt: on


def make_texts(seed, count):
    """`count` texts without zero characters."""
    rng = random.Random(seed)
    texts = [KINDS[i % len(KINDS)](rng) for i in range(count)]
    assert not any("\0" in text for text in texts)
    return texts


# --- Tokenizers --------------------------------------------------------------------------------


def train(pattern, texts, vocabulary, special_tokens, nfc):
    """A byte-level BPE behind a Split pattern, with its special tokens after the vocabulary."""
    tokenizer = Tokenizer(models.BPE())
    if nfc:
        tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t in special_tokens]
    )
    return tokenizer


def string_merges(text):
    """The spelling of published files: every merge one string."""
    tree = json.loads(text)
    tree["model"]["merges"] = [" ".join(pair) for pair in tree["model"]["merges"]]
    return tree


def make_tokenizers(folder, sample, texts):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "gpt2.json").write_bytes(sample.read_bytes())

    llama = train(LLAMA3, texts, 2000, LLAMA3_SPECIAL, False)
    begin = LLAMA3_SPECIAL[0]
    llama.post_processor = processors.Sequence(
        [
            processors.ByteLevel(trim_offsets=True),
            processors.TemplateProcessing(
                single=f"{begin} $A",
                pair=f"{begin} $A {begin}:1 $B:1",
                special_tokens=[(begin, llama.token_to_id(begin))],
            ),
        ]
    )
    tree = string_merges(llama.to_str())
    tree["model"]["ignore_merges"] = True
    (folder / "llama3.json").write_text(
        json.dumps(tree, ensure_ascii=False) + "\n", encoding="utf-8"
    )

    qwen = train(QWEN2, texts, 2000, QWEN2_SPECIAL, True)
    (folder / "qwen2.json").write_text(
        json.dumps(string_merges(qwen.to_str()), ensure_ascii=False) + "\n", encoding="utf-8"
    )


def write_zst(path, data):
    path.write_bytes(zstandard.ZstdCompressor(level=19).compress(data))
    print(f"{path}: {len(data)} bytes, compressed {path.stat().st_size}")


def make_decoded(path, tokenizer, texts, seed, count=200):
    """Ids of texts, and as many lists of random ids; some are of special tokens or of none."""
    rng = random.Random(seed)
    whole = tokenizer.get_vocab_size()
    lists = [tokenizer.encode(text).ids[:40] for text in texts[:count]]
    for _ in range(count):
        # The first ids are single bytes: rarely UTF-8, often the beginning of some.
        ends = [whole + 4, 260, 260, whole][: rng.randint(1, 4)]
        lists.append([rng.randrange(rng.choice(ends)) for _ in range(rng.randint(0, 24))])
    cases = [
        {"ids": ids, "text": tokenizer.decode(ids, skip_special_tokens=True)} for ids in lists
    ]
    for case in cases:
        case["text"] = case["text"].replace("\0", "\ufffd")
    lines = ",\n".join(json.dumps(c, ensure_ascii=False) for c in cases)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path("tests/data"))
    parser.add_argument(
        "--sample", type=pathlib.Path, default=pathlib.Path("examples/sample-model/tokenizer.json")
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10000)
    arguments = parser.parse_args()

    folder, golden = arguments.out / "tokenizers", arguments.out / "golden"
    make_tokenizers(folder, arguments.sample, make_texts(arguments.seed + 1, 6000))
    golden.mkdir(parents=True, exist_ok=True)
    texts = make_texts(arguments.seed, arguments.count)
    write_zst(golden / "tokens.lines.zst", b"".join(text.encode() + b"\0" for text in texts))
    for name in ["gpt2", "llama3", "qwen2"]:
        tokenizer = Tokenizer.from_file(str(folder / f"{name}.json"))
        numbers = array.array("H")
        for text in texts:
            ids = tokenizer.encode(text, add_special_tokens=False).ids
            decoded = tokenizer.decode(ids, skip_special_tokens=False)
            expected = unicodedata.normalize("NFC", text) if name == "qwen2" else text
            assert decoded == expected, (name, text, decoded)
            numbers.append(len(ids))
            numbers.extend(ids)
        if sys.byteorder == "big":
            numbers.byteswap()
        write_zst(golden / f"tokens.{name}.ids.zst", numbers.tobytes())
        make_decoded(golden / f"decoded.{name}.json", tokenizer, texts, arguments.seed)


if __name__ == "__main__":
    main()
