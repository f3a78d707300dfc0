"""Plants faults in the product, one by one, and shows which promise of the simulation catches each.

The product is copied to target/mutants; nothing is changed here. Every fault is an exact replacement of text: where the
old text is not found exactly once, the fault is out of date and the command fails.

    python3 local/mutants.py [--seeds N] [--only WORD] [--apply PATCH]
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "target" / "mutants"
TREE = PLACE / "tree"
STEPS = "crates/aws/src/steps"
LEFT_OUT = {"target", ".git", "__pycache__"}


@dataclass(frozen=True)
class Fault:
    name: str
    # (place, old text, new text)
    edits: list[tuple[str, str, str]] = field(default_factory=list)
    # Nothing may rest on it (SEMANTICS.md, rule 3): then no promise is broken without it.
    harmless: bool = False


FAULTS = [
    Fault(
        "writes skip If-Match",
        [("crates/aws/src/destination/mod.rs", "(None, Some(etag.quoted()))", "{ let _ = etag; (None, None) }")],
    ),
    Fault(
        "a lost reply to a PUT is trusted",
        [
            (
                "crates/aws/src/destination/mod.rs",
                """        let answer = in_time(length, || self.what("writing", key), write).await?;
""",
                """        let answer = match in_time(length, || self.what("writing", key), write).await {
            Err(error) if error.name == ErrorName::Transient => {
                return Ok(Written {
                    etag: ETag::new(&md5.hex()),
                    encryption: longhaul_core::etag::Encryption::Plain,
                    checksum: None,
                });
            }
            other => other?,
        };
""",
            )
        ],
    ),
    Fault(
        "the ledger drops its condition",
        [("crates/aws/src/ledger/mod.rs", "Self::Revision(revision) => held == Some(revision)", "Self::Revision(_) => true"),
         ("crates/aws/src/ledger/mod.rs", "Self::Absent => held.is_none()", "Self::Absent => held.is_none() || held.is_some()")],
    ),
    Fault(
        "an upload is resumed by part numbers with another part size",
        [
            (
                f"{STEPS}/large.rs",
                "if let Some((upload, identity)) = resumable(&next, look) {",
                """if let Some((mut upload, identity)) = resumable(&next, look) {
            if let Ok(layout) = PartLayout::new(upload.layout.size(), route.options.part_size.unwrap_or(PART_DEFAULT)) {
                upload.layout = layout;
            }""",
            ),
            (
                f"{STEPS}/large.rs",
                "layout.part(part.number).is_some_and(|(_, length)| length == part.size)",
                "layout.part(part.number).is_some()",
            ),
        ],
    ),
    Fault(
        "an upload is resumed for another version of the source",
        [(f"{STEPS}/large.rs", "let same = identity.is_still(&look.identity) && ", "let same = ")],
    ),
    Fault(
        "the sequencer is ignored: the oldest event of a batch stands for its key",
        [("crates/core/src/request.rs", "if object.sequencer >= known.sequencer {", "if object.sequencer < known.sequencer {")],
        harmless=True,
    ),
    Fault(
        "an error of ListParts is taken for an empty list",
        [
            (
                "crates/aws/src/destination/uploads.rs",
                """.send()
                .await
                .map_err(|error| from_sdk(Place::Destination, &self.what("listing the parts of", key), &error))?;""",
                """.send()
                .await;
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    let error = from_sdk(Place::Destination, &self.what("listing the parts of", key), &error);
                    if error.name == ErrorName::UploadGone {
                        return Err(error);
                    }
                    return Ok(held);
                }
            };""",
            )
        ],
    ),
    Fault(
        "an error of a listing is taken for its end",
        [
            (
                "crates/aws/src/scan/listing.rs",
                "let mut page = page.map_err(|error| self.placed(error))?;",
                "let Ok(mut page) = page.map_err(|error| self.placed(error)) else { return Ok(()) };",
            )
        ],
    ),
    Fault(
        "an upload is completed with missing parts",
        [
            (f"{STEPS}/complete.rs", "if held.len() == object.layout.count() as usize && !differed", "if !held.is_empty() && !differed"),
        ],
    ),
    Fault(
        "a repeated plan begins another upload and leaves the first",
        [
            (f"{STEPS}/large.rs", "    same.then(|| (upload.clone(), identity.clone()))", "    (same && false).then(|| (upload.clone(), identity.clone()))"),
            (
                f"{STEPS}/large.rs",
                """        } else {
            abandon(destination, destination_key, record.as_ref()).await;
        }""",
                "        }",
            ),
        ],
    ),
    Fault(
        "all but the first record of a message are forgotten",
        [("crates/core/src/event.rs", "for record in records {", "for record in records.into_iter().take(1) {")],
    ),
    Fault(
        "the destination is looked at after the source was read",
        [
            (
                f"{STEPS}/copy_objects.rs",
                """        let borrowed = borrowed_md5(&look).filter(|_| faith.borrows);
""",
                """        let seen = match destination.head(key).await? {
            Some(facts) => Seen::Present(facts.etag),
            None => match seen {
                Seen::Absent | Seen::Present(_) => Seen::Absent,
            },
        };
        let borrowed = borrowed_md5(&look).filter(|_| faith.borrows);
""",
            )
        ],
    ),
    Fault(
        "an ETag under KMS is taken for an MD5",
        [(f"{STEPS}/complete.rs", "let plain = object.encryption == Encryption::Plain;", "let plain = true;"),
         ("crates/core/src/contract.rs", "self.encryption == Encryption::Plain && ", "")],
    ),
    Fault(
        "an execution that ended badly is not settled",
        [
            (
                f"{STEPS}/settle.rs",
                "    // An execution that recorded its end has settled everything itself, and its successor does what was left to it.\n",
                """    if ended.status == "ABORTED" {
        return Ok(SettleOutput::Settled(Settled::default()));
    }
""",
            )
        ],
    ),
    Fault(
        "nobody compares the whole with the source",
        [
            (f"{STEPS}/complete.rs", "            && *made != object.source.etag\n", "            && *made != object.source.etag\n            && made.as_str().is_empty()\n"),
            (f"{STEPS}/complete.rs", "                && told != sum\n", "                && told != sum\n                && sum.is_empty()\n"),
            (f"{STEPS}/complete.rs", "let crc64nvme = told.or(sum.as_deref());", "let crc64nvme = sum.as_deref();"),
        ],
    ),
    Fault(
        "a failed item sends no message",
        [("crates/aws/src/outcomes.rs", "        clients.outbox.send_failed(&body).await?;\n", "        let _ = &body;\n")],
    ),
    Fault(
        "a planner that lost the ledger's race keeps its upload",
        [
            (
                f"{STEPS}/large.rs",
                """                // Nobody else knows this upload.
                destination.abort(destination_key, &upload.upload_id).await?;
""",
                "",
            )
        ],
    ),
]


def sync() -> None:
    """Brings the copy up to date. What is the same keeps its time, so that little is built again."""
    wanted = set()
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        for name in names:
            source = Path(folder) / name
            inside = source.relative_to(ROOT)
            wanted.add(inside)
            copy = TREE / inside
            if not copy.exists() or copy.read_bytes() != source.read_bytes():
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(source, copy)
                os.utime(copy)
    for folder, folders, names in os.walk(TREE):
        for name in names:
            copy = Path(folder) / name
            if copy.relative_to(TREE) not in wanted:
                copy.unlink()


def planted(fault: Fault) -> dict[Path, str]:
    """Changes the copy; returns what was there before. Changes nothing where an old text is not found once."""
    before: dict[Path, str] = {}
    after: dict[Path, str] = {}
    for place, old, new in fault.edits:
        path = TREE / place
        text = after.get(path) or path.read_text()
        before.setdefault(path, path.read_text())
        if text.count(old) != 1:
            sys.exit(f"{fault.name}: its old text stands {text.count(old)} times in {place}, not once:\n{old}")
        after[path] = text.replace(old, new)
    for path, text in after.items():
        path.write_text(text)
    return before


def cargo(*arguments: str) -> subprocess.CompletedProcess[str]:
    settings = {"CARGO_TARGET_DIR": str(PLACE / "target"), "CARGO_PROFILE_DEV_DEBUG": "0"}
    return subprocess.run(
        ["cargo", *arguments], cwd=TREE, env=os.environ | settings, text=True, capture_output=True, check=False
    )


def simulated(seeds: int, jobs: int) -> tuple[int, list[str]]:
    """Seeds run, and the promises that the first failing one broke."""
    built = cargo("build", "-p", "longhaul-simulation", "--bin", "simulate")
    if built.returncode != 0:
        sys.exit(f"it does not build:\n{built.stderr[-4000:]}")
    command = [PLACE / "target/debug/simulate", "--first", "--seeds", str(seeds), "--jobs", str(jobs)]
    out = subprocess.run(command, text=True, capture_output=True, check=False)
    ran = re.search(r"^(\d+) seeds from", out.stdout, re.MULTILINE)
    if not ran:
        # A panic of the simulation itself: as loud as a broken promise.
        return 0, [f"panic: {out.stderr.strip().splitlines()[-1][:80] if out.stderr.strip() else out.returncode}"]
    return int(ran.group(1)), re.findall(r"^  ([a-z-]+): \d+ seeds, such as", out.stdout, re.MULTILINE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2_000, help="most seeds for one fault")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="seeds at once")
    parser.add_argument("--only", default="", help="faults whose names contain this")
    parser.add_argument("--apply", type=Path, help="a patch to apply to the copy first")
    parser.add_argument("--clean-seeds", type=int, default=300, help="seeds that must pass without a fault")
    arguments = parser.parse_args()
    sync()
    if arguments.apply:
        subprocess.run(["patch", "-p1", "-s", "-i", arguments.apply.resolve()], cwd=TREE, check=True)
    # Every fault must still be plantable before the first is built.
    for fault in FAULTS:
        for path, text in planted(fault).items():
            path.write_text(text)
    ran, broken = simulated(arguments.clean_seeds, arguments.jobs)
    if broken:
        sys.exit(f"without any fault, {broken} broke within {ran} seeds: mend that first")
    print(f"{'fault':<100} {'caught by':<40} seeds  seconds", flush=True)
    missed = 0
    for fault in FAULTS:
        if arguments.only not in fault.name:
            continue
        before, began = planted(fault), time.monotonic()
        try:
            ran, broken = simulated(arguments.seeds, arguments.jobs)
        finally:
            for path, text in before.items():
                path.write_text(text)
        missed += bool(broken) == fault.harmless
        told = ", ".join(broken) or ("nothing, as it must be" if fault.harmless else "NOT CAUGHT")
        print(f"{fault.name:<100} {told:<40} {ran:>5}  {time.monotonic() - began:>7.0f}", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
