# SPDX-License-Identifier: MIT
"""The command `llem`, and whether the installation is whole: needs nothing of llenergymeasure.

pip lets two distributions write into one folder, and neither is whole then. LLenergyMeasure, the
Python original, has import name and command in common with llem, so the two do meet. The check
runs at each import: it lists two folders, reads one small file, and looks closer only where
something is strange.
"""

from __future__ import annotations

import os
import sys

DISTRIBUTION = "llem"
PACKAGE = "llenergymeasure"
HOME = os.path.join(os.path.dirname(os.path.abspath(__file__)), PACKAGE)


def _read(*path: str) -> bytes:
    """What a file holds after a line's end, nothing if it cannot be read."""
    try:
        with open(os.path.join(*path), "rb") as file:
            return b"\n" + file.read()
    except OSError:
        return b""


def mixed_with(command: bool = False) -> str | None:
    """The distribution, as "NAME VERSION", whose files are among ours; None if there is none.

    Args:
        command: look for another command `llem`, too.
    """
    site = os.path.dirname(HOME)
    infos = [name for name in os.listdir(site) if name.endswith(".dist-info")]
    own = next((name for name in infos if name.startswith(DISTRIBUTION + "-")), None)
    if own is None:
        return None  # a source tree or an editable installation: nobody else's files are here
    start = f"\n{PACKAGE}/".encode()
    files = _read(site, own, "RECORD").split(start)[1:]
    ours = {os.fsdecode(file.partition(b",")[0].partition(b"/")[0]) for file in files}
    strange = not ours.issuperset(set(os.listdir(HOME)) - {"__pycache__"})
    for name in infos:
        other = name[: -len(".dist-info")].replace("-", " ", 1)
        if name == own:
            continue
        if other.startswith(PACKAGE + " ") or strange and start in _read(site, name, "RECORD"):
            return other
        if command:
            scripts = _read(site, name, "entry_points.txt").split(b"\n")
            if any(line.partition(b"=")[0].strip() == b"llem" for line in scripts):
                return other
    return None


def sentence(other: str) -> str:
    """What to say of it."""
    return (
        f"{other} is installed beside {DISTRIBUTION} and has the same import name ({PACKAGE}) or "
        "command (llem): their files are mixed. Each needs an environment of its own: "
        f"pip uninstall {other.partition(' ')[0]} {DISTRIBUTION}, then install the one wanted."
    )


def check() -> None:
    """Refuse to be half of two distributions.

    Raises:
        ImportError: the files of another distribution are here.
    """
    other = mixed_with()
    if other:
        raise ImportError(sentence(other))


def main() -> int:
    """Become the program, so that no Python stays behind and signals reach it.

    Returns:
        1, where that is not possible.
    """
    import signal  # a millisecond that an import of the package need not wait for

    # Python ignores these for itself, which the program would inherit. SIGINT stays ignored where
    # it was, as in a script's background.
    for number in (signal.SIGPIPE, signal.SIGXFSZ):
        signal.signal(number, signal.SIG_DFL)
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    other = mixed_with(command=True)
    if other:
        print(f"llem: {sentence(other)}", file=sys.stderr)
        return 1
    places = [os.path.join(HOME, d, "llem") for d in ("_native", "../../build")]
    program = next(filter(os.path.isfile, places), None)
    if program is None:
        print(
            f"llem: the program {places[0]} is missing. Install the package again "
            "(pip install --force-reinstall llem), or in a source tree run make.",
            file=sys.stderr,
        )
        return 1
    os.environ["LLEM_OWN_PYTHON"] = sys.executable
    try:
        os.execv(program, ["llem", *sys.argv[1:]])
    except OSError as failure:
        print(f"llem: {program} cannot be run: {failure.strerror}", file=sys.stderr)
    return 1
