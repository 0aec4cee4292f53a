#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write engines/cpu/nfc_table.h from the Unicode data that Python carries.

Normal forms of assigned characters never change (Unicode's stability policy), so the table needs a
new version only for characters that are new. Run in the repository's root:

    python3 tools/make_nfc_table.py > engines/cpu/nfc_table.h
"""

import sys
import unicodedata

HANGUL = range(0xAC00, 0xAC00 + 11172)


def rows(items, per_line):
    for i in range(0, len(items), per_line):
        print("    " + " ".join(items[i : i + per_line]))


def main():
    decompositions, compositions, classes = [], [], []
    for cp in range(sys.maxunicode + 1):
        char = chr(cp)
        ccc = unicodedata.combining(char)
        if ccc:
            if classes and classes[-1][1] == cp - 1 and classes[-1][2] == ccc:
                classes[-1][1] = cp
            else:
                classes.append([cp, cp, ccc])
        text = unicodedata.decomposition(char)
        if not text or text.startswith("<") or cp in HANGUL:
            continue
        parts = [int(part, 16) for part in text.split()]
        first, second = parts[0], parts[1] if len(parts) > 1 else 0
        decompositions.append((cp, first, second))
        # What does not come back is excluded from composition.
        if second and unicodedata.normalize("NFC", chr(first) + chr(second)) == char:
            compositions.append((first, second, cp))
    compositions.sort()

    print("/* SPDX-License-Identifier: MIT")
    print(" *")
    print(
        " * Canonical decompositions, compositions and combining classes of Unicode %s."
        % unicodedata.unidata_version
    )
    print(" * Made by tools/make_nfc_table.py; Hangul syllables are computed. For nfc.c alone.")
    print(" */")
    print("/* clang-format off */")
    print("static const uint32_t decompositions[][3] = { /* character, first, second or 0 */")
    rows(["{ 0x%x, 0x%x, 0x%x }," % d for d in decompositions], 3)
    print("};\n")
    print("static const uint32_t compositions[][3] = { /* first, second, character */")
    rows(["{ 0x%x, 0x%x, 0x%x }," % c for c in compositions], 3)
    print("};\n")
    print("static const uint32_t classes[][3] = { /* first, last, class */")
    rows(["{ 0x%x, 0x%x, %d }," % tuple(c) for c in classes], 4)
    print("};")
    print("/* clang-format on */")


main()
