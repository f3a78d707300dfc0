"""A command in a terminal of its own, and somebody who answers what it asks."""

import contextlib
import os
import pty
import re
import select
import signal
import subprocess
import termios
import time

COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
# What `sam deploy --guided` and others print before they wait: a question, its default in brackets, a colon.
QUESTION = re.compile(r"(?:^|\n)\s*(?P<asked>[^\n\[\]]+?)(?: \[(?P<default>[^\n\]]*)\])?: $")
# Beside the parameters: what the documents say to all deployments.
USUAL = {
    "Stack Name": "", "AWS Region": "", "Confirm changes before deploy": "y", "Allow SAM CLI IAM role creation": "y", "Disable rollback": "n",
    "Save arguments to configuration file": "y", "SAM configuration file": "", "SAM configuration environment": "", "Deploy this changeset?": "y",
}
QUIET_SECONDS = 0.05


class Terminal:
    """Runs a command under a pseudo-terminal, in a session of its own, for the time of a `with`."""

    def __init__(self, command, directory, environment):
        self.master, slave = pty.openpty()
        settings = termios.tcgetattr(slave)
        settings[3] &= ~termios.ECHO
        settings[1] &= ~termios.ONLCR
        termios.tcsetattr(slave, termios.TCSANOW, settings)
        self.process = subprocess.Popen(command, cwd=directory, env=environment, stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
        os.close(slave)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for number in (signal.SIGTERM, signal.SIGKILL):
            if self.process.poll() is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self.process.pid, number)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    self.process.wait(10)
        os.close(self.master)

    def read(self):
        """What it printed within a moment; None once it has ended."""
        ready, _, _ = select.select([self.master], [], [], QUIET_SECONDS)
        if not ready:
            return b""
        with contextlib.suppress(OSError):
            return os.read(self.master, 65536) or None
        return None

    def talk(self, answers, seconds):
        """Answers parameters by name, an empty line for those it does not know, until the command ends: its status and
        what it printed. Without answers nothing may be asked. Fails on a question that nobody foresaw."""
        deadline, printed, asked, seen = time.monotonic() + seconds, "", set(), 0
        while (block := self.read()) is not None:
            assert time.monotonic() < deadline, f"still at work after {seconds} s:\n{printed[-4000:]}"
            printed += COLOURS.sub("", block.decode(errors="replace"))
            question = QUESTION.search(printed[seen:]) if answers and not block else None
            if question:
                name = question["asked"].strip()
                parameter = name.removeprefix("Parameter ")
                assert name in USUAL or name != parameter, f"nobody knows an answer to {name!r}"
                answer = answers.get(parameter, "") if name != parameter else USUAL[name]
                asked.add(parameter)
                seen = len(printed)
                os.write(self.master, answer.encode() + b"\n")
        left = set(answers) - asked
        assert not left, f"nobody asked for {left}:\n{printed[-4000:]}"
        return self.process.wait(), printed
