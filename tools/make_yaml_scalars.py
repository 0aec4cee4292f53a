#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Write tests/data/yaml-scalars.tsv: how PyYAML's safe_load reads plain scalars.

Each line: the scalar as a JSON string, a tab, the kind, a tab, the value as JSON. Needs PyYAML.
The kind is one of null, bool, int, real, inf, nan, string, and error where PyYAML fails or where
the number does not fit 64 bits.
"""

import datetime
import json
import math
import pathlib
import sys

import yaml

WORDS = """
~ null Null NULL nULL none None nil
yes Yes YES yEs no No NO nO y Y n N true True TRUE tRUE false False FALSE t f on On ON oN
off Off OFF oFF
enabled deterministic auto <none>
0 1 -1 +1 42 00 07 010 -010 +017 08 09 018 0o7 0o17 1_000 1__0 _1 1_ -1_0 0_ 0_7 00_1
0x0 0x1F 0X1F 0xff_ff -0x10 +0xA 0xG 0x 0x_ 0b_ 0b0 0b101 0B1 -0b11 0b1_0 0b2 0b
9223372036854775807 -9223372036854775808 9223372036854775808 -9223372036854775809
0x7fffffffffffffff
0x8000000000000000 99999999999999999999999 0777777777777777777777 01777777777777777777777
12:30 1:00 0:30 190:20:30 -12:30 +1:2 1:60 1:5 1:05:09 12:30.5 1:2.3_4 -1:2.5 1: 12:30:
00:01 9:59 1:2:3:4
0. 1. .5 0.5 -.5 +.5 -0.5 +0.5 1.5 1_0.2_5 1._5 ._5 . .. ... - + -- -. +. _ __ _.5
1e3 1e-3 1E3 1e+3 1.0e3 1.0e-3 1.0e+3 1.0E-3 1.e+3 1.e3 .5e-1 .5e1 -1.0e+10 1.0e+ 1.0e
1_0.0e+1_0
1.0e+400 1.0e-400 4.9e-324 1.7976931348623157e+308 0.1 0.30000000000000004
123456789.123456789 1.0e+22 5.0e-324
.inf .Inf .INF .iNF -.inf +.inf +.INF .nan .NaN .NAN .Nan -.nan inf nan Infinity NaN
2001-12-14 2001-12-14t21:59:43.10-05:00 2001-1-1 2001-12-14-05 1.2.3 1.2.3.4 v1.0 gpt2
Qwen/Qwen2.5-0.5B meta-llama/Llama-3.2-1B
./model ../model ~/model /abs/model a:b http://x.org/y 1,000 1% $5 50W 5s 5.0s 1/2 a_b a-b
A.B é 日本 🙂
<< = a=b == float16 bfloat16 8bit 4-bit 0bit e e5 1e 1e5 -1e-5 1.5e 0x1p3 1f 1.0f 0d1 1j
"""
SENTENCES = ["", "a b", "yes please", "1 000", "12 : 30", "1e-3 s", "a:b", "1 .5", "no one", "~ x",
             "-1", "null null", "0x 1", "x y z"]


def kind_of(value):
    if value is None:
        return "null", None
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, int):
        return ("int", value) if -(2**63) <= value < 2**63 else ("error", None)
    if isinstance(value, float):
        if math.isinf(value):
            return "inf", 1 if value > 0 else -1
        if math.isnan(value):
            return "nan", None
        return "real", value
    return "string", value


def main():
    out = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else "tests/data/yaml-scalars.tsv")
    lines = []
    for text in dict.fromkeys(WORDS.split() + SENTENCES):
        loader = yaml.SafeLoader("")
        tag = loader.resolve(yaml.ScalarNode, text, (True, False))
        try:
            # Even where YAML would not take the text as one plain scalar, the resolver still
            # says how PyYAML would type it.
            value = loader.construct_object(yaml.ScalarNode(tag, text), deep=True)
            if isinstance(value, (datetime.date, datetime.datetime)):
                kind, value = "string", text  # there is no such kind of setting
            else:
                kind, value = kind_of(value)
        except (ValueError, IndexError, yaml.YAMLError):
            kind, value = "string", text
        lines.append(f"{json.dumps(text)}\t{kind}\t{json.dumps(value)}")
    out.write_text("".join(line + "\n" for line in lines))
    print(f"{out}: {len(lines)} scalars, PyYAML {yaml.__version__}")


if __name__ == "__main__":
    main()
