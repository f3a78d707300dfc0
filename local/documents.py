"""Reads the documents as their reader does: which commands to type, and what to answer."""

import re
import subprocess

from endpoints import ROOT

FENCE = re.compile(r"^(?P<indent> *)```(?P<kind>\w*)\n(?P<body>.*?)^ *```$", re.MULTILINE | re.DOTALL)
# What a fence may hold besides commands.
OTHER = {"json", "text"}
SPAN = re.compile(r"`([^`\n]+)`")
PROGRAMS = ("aws", "cargo", "longhaul", "make", "sam")


def text(document):
    return (ROOT / document).read_text()


def commands(document):
    """The commands of the document's fences, in order, each as it would be typed. A fence says what it holds."""
    found = []
    for fence in FENCE.finditer(text(document)):
        if fence["kind"] in OTHER:
            continue
        assert fence["kind"] == "sh", f"{document}: a fence must say whether it is sh, json or text:\n{fence.group()}"
        found += split(document, [line.removeprefix(fence["indent"]) for line in fence["body"].splitlines()])
    return found


def split(document, lines):
    """Joins the lines of each command: as long as the shell calls it unfinished, the next line belongs to it."""
    pending = ""
    for line in lines:
        if not pending and not line.strip():
            continue
        pending += line + "\n"
        whole = not line.endswith("\\") and subprocess.run(["bash", "-n", "-c", pending], stderr=subprocess.DEVNULL).returncode == 0
        if whole:
            yield pending.strip()
            pending = ""
    assert not pending, f"{document}: the shell calls this unfinished:\n{pending}"


def spans(document):
    """Commands that the prose names with their arguments, without a fence."""
    prose = FENCE.sub("", text(document))
    return [found for found in SPAN.findall(prose) if found.startswith(tuple(f"{program} " for program in PROGRAMS))]


def answers(document):
    """The table of parameters and what to answer, as text."""
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \|$", text(document), re.MULTILINE)
    assert rows, f"{document} has no table of answers"
    return {name: answer.strip("`") for name, answer in rows}


def bare(command):
    """The command without the remark behind it."""
    return re.sub(r"\s+# .*$", "", command)
