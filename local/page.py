"""Opens a page in headless Chromium and prints what it became, as JSON.

    python3 local/page.py PAGE [--screenshot IMAGE] [--size WIDTHxHEIGHT] [--dark]

Prints the title, the text of each element that has an id, the rows of each table, the marks of each plot, and what the
console complained about. Needs Chromium on the PATH; ends with 3 and says so where there is none.
"""

import argparse
import html.parser
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile

LEFT_OUT = 3
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
# Without the flags against background traffic it asks its maker's hosts for news at every start.
FLAGS = (
    "--headless",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--enable-logging=stderr",
    "--v=0",
)
SECONDS = 60
CONSOLE = re.compile(r'CONSOLE[:(]\d+[^\]]*\] (.*)')
VOID = {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"}


class Dom(html.parser.HTMLParser):
    """Gathers what has an id."""

    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open = []
        self.texts, self.rows, self.marks, self.elements = {}, {}, {}, {}

    def handle_starttag(self, tag, attributes):
        name = dict(attributes).get("id")
        self.elements[tag] = self.elements.get(tag, 0) + 1
        above = [name for _, name in self.open if name]
        if tag == "tr" and any(tag == "tbody" for tag, _ in self.open) and above:
            self.rows[above[-1]] = self.rows.get(above[-1], 0) + 1
        if tag == "rect" and above:
            self.marks[above[-1]] = self.marks.get(above[-1], 0) + 1
        if tag not in VOID:
            self.open.append((tag, name))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        for index in range(len(self.open) - 1, -1, -1):
            if self.open[index][0] == tag:
                del self.open[index:]
                break

    def handle_data(self, data):
        within = [tag for tag, _ in self.open]
        if "title" in within and "svg" not in within:
            self.texts["title"] = self.texts.get("title", "") + data
        for name in {name for _, name in self.open if name}:
            self.texts[name] = self.texts.get(name, "") + data


def chromium(found, arguments, page):
    """Its standard output and standard error."""
    with tempfile.TemporaryDirectory(prefix="longhaul-page-") as profile:
        flags = [*FLAGS, f"--user-data-dir={profile}", *arguments]
        if os.geteuid() == 0:
            # Its sandbox refuses to run as root.
            flags.append("--no-sandbox")
        # A session of its own, so that its processes can be ended together.
        process = subprocess.Popen(
            [found, *flags, page], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            return process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            sys.exit(f"page.py: Chromium did not end within {SECONDS} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=pathlib.Path)
    parser.add_argument("--screenshot", type=pathlib.Path)
    parser.add_argument("--size", default="1280x2600")
    parser.add_argument("--dark", action="store_true")
    options = parser.parse_args()
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        print("page.py: no Chromium on the PATH: the page was not opened", file=sys.stderr)
        sys.exit(LEFT_OUT)
    page = options.page.resolve().as_uri()
    common = [f"--window-size={options.size.replace('x', ',')}"]
    if options.dark:
        common.append("--blink-settings=preferredColorScheme=0")
    out, told = chromium(found, [*common, "--dump-dom"], page)
    if "<html" not in out:
        sys.exit(f"page.py: Chromium gave no page:\n{told}")
    if options.screenshot:
        chromium(found, [*common, f"--screenshot={options.screenshot.resolve()}"], page)
    dom = Dom()
    dom.feed(out)
    seen = {
        "texts": {name: " ".join(text.split()) for name, text in dom.texts.items()},
        "rows": dom.rows,
        "marks": dom.marks,
        "elements": dom.elements,
        "console": CONSOLE.findall(told),
    }
    print(json.dumps(seen, ensure_ascii=False))


if __name__ == "__main__":
    main()
