"""Plants faults in the product, one at a time, and shows which promise of the simulation catches each.

The product is copied to target/mutants and built there once, every fault behind a switch that the environment sets;
nothing is changed here, and the product itself has no switch. An edit replaces one piece of text, however its lines are
broken: where the old text is not found exactly once, the fault is out of date, and the command says so and fails.
Where a promise rests on two guards, the fault takes both away: with one of them left nothing could go wrong, and
nothing could be seen.

First the copy has to pass --clean-seeds seeds without any fault; so does the one fault that must be harmless. Then each
fault gets up to --seeds seeds. A fault that none of them catches makes the exit status 1. The catching seed is printed:
it replays with

    LONGHAUL_PLANTED=SLUGS target/mutants/target/debug/simulate --seed SEED --verbose

    python3 local/mutants.py [--seeds N] [--only WORD] [--from SEED] [--jobs N] [--clean-seeds N]
"""

import argparse
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLACE = ROOT / "target" / "mutants"
TREE = PLACE / "tree"
STEPS = "crates/aws/src/steps"
DESTINATION = "crates/aws/src/destination"
LEFT_OUT = {"target", ".git", ".venvs", ".aws-sam", "__pycache__"}
# What is set already stays: a target directory with the dependencies in it saves most of the first build.
SETTINGS = {"CARGO_TARGET_DIR": str(PLACE / "target")} | os.environ

# What the copy gets besides, in crates/core: `PLANTED` in an edit asks it.
SWITCH = '''
/// True if the fault of this name is planted.
pub fn planted(name: &str) -> bool {
    static PLANTED: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    PLANTED.get_or_init(|| std::env::var("LONGHAUL_PLANTED").unwrap_or_default()).split(',').any(|one| one == name)
}
'''


@dataclass(frozen=True)
class Fault:
    slug: str
    name: str
    # (place, old text, new text)
    edits: list[tuple[str, str, str]] = field(default_factory=list)
    # Nothing may rest on it (SEMANTICS.md, rule 3): then no promise is broken without it.
    harmless: bool = False
    # Another fault that is planted with it: without that guard taken away too, nothing could go wrong.
    along: str = ""

    @property
    def slugs(self) -> str:
        return f"{self.slug},{self.along}" if self.along else self.slug


FAULTS = [
    Fault(
        "if-match",
        "writes over an object skip If-Match",
        [(f"{DESTINATION}/mod.rs", "(None, Some(etag.quoted()))", "(None, (!PLANTED).then(|| etag.quoted()))")],
    ),
    Fault(
        "if-none-match",
        "writes where nothing stood skip If-None-Match",
        [(f"{DESTINATION}/mod.rs", '(Some("*".to_owned()), None)', '((!PLANTED).then(|| "*".to_owned()), None)')],
    ),
    Fault(
        "unpinned",
        "ranges are read from whatever version is current, and nobody compares",
        along="whole",
        edits=[
            (
                "crates/aws/src/source.rs",
                ".set_version_id(identity.version_id.clone()) .if_match(identity.etag.quoted()) .range(",
                """.set_version_id(identity.version_id.clone().filter(|_| !PLANTED))
            .set_if_match((!PLANTED).then(|| identity.etag.quoted()))
            .range(""",
            ),
            ("crates/aws/src/source.rs", "if etag != identity.etag {", "if !PLANTED && etag != identity.etag {"),
            (
                f"{STEPS}/copy_parts.rs",
                "if object.source.is_still(&look.identity) {",
                "if PLANTED || object.source.is_still(&look.identity) {",
            ),
        ],
    ),
    Fault(
        "put-reply",
        "a lost reply to a PUT is trusted",
        [
            (
                f"{DESTINATION}/mod.rs",
                'let answer = in_time(length, || self.what("writing", key), write).await?;',
                """let answer = match in_time(length, || self.what("writing", key), write).await {
            Err(error) if PLANTED && error.name == ErrorName::Transient => {
                return Ok(Written { etag: ETag::new(&md5.hex()), encryption: Encryption::Plain, checksum: None });
            }
            other => other?,
        };""",
            )
        ],
    ),
    Fault(
        "ledger",
        "the ledger drops its condition",
        [
            (
                "crates/aws/src/ledger/mod.rs",
                "Self::Revision(revision) => held == Some(revision)",
                "Self::Revision(revision) => PLANTED || held == Some(revision)",
            ),
            (
                "crates/aws/src/ledger/mod.rs",
                "Self::Absent => held.is_none()",
                "Self::Absent => PLANTED || held.is_none()",
            ),
        ],
    ),
    Fault(
        "part-size",
        "an upload is resumed with the part size that is configured now, and nobody compares",
        along="whole",
        edits=[
            (
                f"{STEPS}/large.rs",
                "if let Some((upload, identity)) = resumable(&next, look) {",
                """if let Some((mut upload, identity)) = resumable(&next, look) {
            let wanted = route.options.part_size.unwrap_or(PART_DEFAULT);
            if PLANTED && let Ok(layout) = PartLayout::new(upload.layout.size(), wanted) {
                upload.layout = layout;
            }""",
            ),
            (
                f"{STEPS}/large.rs",
                "layout.part(part.number).is_some_and(|(_, length)| length == part.size)",
                "layout.part(part.number).is_some_and(|(_, length)| PLANTED || length == part.size)",
            ),
        ],
    ),
    Fault(
        "another-version",
        "an upload is resumed for another version of the source, and nobody compares",
        along="whole",
        edits=[
            (
                f"{STEPS}/large.rs",
                "let same = identity.is_still(&look.identity) && ",
                "let same = (PLANTED || identity.is_still(&look.identity)) && ",
            ),
            (
                f"{STEPS}/large.rs",
                "same.then(|| (upload.clone(), identity.clone()))",
                "same.then(|| (upload.clone(), if PLANTED { &look.identity } else { identity }.clone()))",
            ),
        ],
    ),
    Fault(
        "sequencer",
        "the sequencer is ignored: the oldest event of a batch stands for its key",
        [
            (
                "crates/core/src/request.rs",
                "if object.sequencer >= known.sequencer {",
                "if (object.sequencer >= known.sequencer) != PLANTED {",
            )
        ],
        harmless=True,
    ),
    Fault(
        "list-parts",
        "an error of ListParts is taken for an empty list",
        [
            (
                f"{DESTINATION}/uploads.rs",
                '.map_err(|error| from_sdk(Place::Destination, &self.what("listing the parts of", key), &error))?;',
                """.map_err(|error| from_sdk(Place::Destination, &self.what("listing the parts of", key), &error));
            let answer = match answer {
                Err(error) if PLANTED && error.name != ErrorName::UploadGone => return Ok(held),
                other => other?,
            };""",
            )
        ],
    ),
    Fault(
        "listing",
        "an error of a listing is taken for its end",
        [
            (
                "crates/aws/src/scan/listing.rs",
                "let mut page = page.map_err(|error| self.placed(error))?;",
                """let mut page = match page {
            Err(_) if PLANTED => return Ok(()),
            other => other.map_err(|error| self.placed(error))?,
        };""",
            )
        ],
    ),
    Fault(
        "early",
        "a message is deleted too early: though its execution was not started",
        [
            (
                f"{STEPS}/intake.rs",
                "report.again.extend(start.message_ids);",
                "report.again.extend(start.message_ids.into_iter().filter(|_| !PLANTED));",
            )
        ],
    ),
    Fault(
        "missing-parts",
        "an upload is completed with missing parts, no size is told, and nobody compares",
        along="whole",
        edits=[
            (
                f"{STEPS}/complete.rs",
                "if held.len() == object.layout.count() as usize && !differed",
                "if (held.len() == object.layout.count() as usize || PLANTED && !held.is_empty()) && !differed",
            ),
            (
                f"{DESTINATION}/uploads.rs",
                ".mpu_object_size(size as i64)",
                ".set_mpu_object_size((!PLANTED).then_some(size as i64))",
            ),
        ],
    ),
    Fault(
        "second-upload",
        "a repeated plan begins another upload and leaves the first",
        [
            (
                f"{STEPS}/large.rs",
                "&& upload.layout.size() == look.identity.size && !held;",
                "&& upload.layout.size() == look.identity.size && !held && !PLANTED;",
            ),
            (
                f"{STEPS}/large.rs",
                "} else { abandon(destination, destination_key, record.as_ref()).await; }",
                "} else if !PLANTED { abandon(destination, destination_key, record.as_ref()).await; }",
            ),
        ],
    ),
    Fault(
        "first-record",
        "all but the first record of a message are forgotten",
        [
            (
                "crates/core/src/event.rs",
                "for record in records {",
                "for record in records.into_iter().take(if PLANTED { 1 } else { usize::MAX }) {",
            )
        ],
    ),
    Fault(
        "source-first",
        "the destination is looked at after the source was read",
        [
            (
                f"{STEPS}/copy_objects.rs",
                "let borrowed = borrowed_md5(&look).filter(|_| faith.borrows);",
                """let seen = match PLANTED {
            true => destination.head(key).await?.map_or(Seen::Absent, |facts| Seen::Present(facts.etag)),
            false => seen,
        };
        let borrowed = borrowed_md5(&look).filter(|_| faith.borrows);""",
            )
        ],
    ),
    Fault(
        "kms-whole",
        "the parts' ETags under KMS are taken for MD5s, and compared with the source's",
        [
            (
                f"{STEPS}/complete.rs",
                "let plain = object.encryption == Encryption::Plain;",
                "let plain = PLANTED || object.encryption == Encryption::Plain;",
            ),
            (
                f"{STEPS}/large.rs",
                "&& begun.encryption == Encryption::Plain {",
                "&& (PLANTED || begun.encryption == Encryption::Plain) {",
            ),
            (
                "crates/core/src/contract/large.rs",
                "&& self.encryption == Encryption::Plain",
                "&& (PLANTED || self.encryption == Encryption::Plain)",
            ),
        ],
    ),
    Fault(
        "kms-borrowed",
        "a source's ETag under KMS is borrowed as Content-MD5, and nothing is tried without",
        [
            (
                f"{STEPS}/copy_objects.rs",
                "look.identity.etag.md5_form().filter(|_| look.identity.encryption == Encryption::Plain)",
                "look.identity.etag.md5_form().filter(|_| PLANTED || look.identity.encryption == Encryption::Plain)",
            ),
            (
                f"{STEPS}/copy_objects.rs",
                "if unconditional || error.name == ErrorName::ChecksumMismatch {",
                "if !PLANTED && (unconditional || error.name == ErrorName::ChecksumMismatch) {",
            ),
        ],
    ),
    Fault(
        "unsettled",
        "an execution that was stopped is not settled",
        [
            (
                f"{STEPS}/settle.rs",
                "// An execution that recorded its end has settled everything itself,",
                """if PLANTED && ended.status == "ABORTED" {
        return Ok(SettleOutput::Settled(Settled::default()));
    }
    // An execution that recorded its end has settled everything itself,""",
            )
        ],
    ),
    Fault(
        "whole",
        "nobody compares the whole with the source",
        [
            (
                f"{STEPS}/complete.rs",
                "&& *made != object.source.etag",
                "&& *made != object.source.etag && !PLANTED",
            ),
            (f"{STEPS}/complete.rs", "&& told != sum", "&& told != sum && !PLANTED"),
            (
                f"{STEPS}/complete.rs",
                "let crc64nvme = told.or(sum.as_deref());",
                "let crc64nvme = told.filter(|_| !PLANTED).or(sum.as_deref());",
            ),
            (
                f"{STEPS}/complete.rs",
                "checksums(&source.facts(), &stands) == Checksums::Different {",
                "(!PLANTED && checksums(&source.facts(), &stands) == Checksums::Different) {",
            ),
        ],
    ),
    Fault(
        "no-message",
        "a failed item sends no message",
        [
            (
                "crates/aws/src/outcomes.rs",
                "clients.outbox.send_failed(&body).await?;",
                "if !PLANTED { clients.outbox.send_failed(&body).await?; }",
            )
        ],
    ),
    Fault(
        "lost-race",
        "a planner that lost the ledger's race keeps its upload",
        [
            (
                f"{STEPS}/large.rs",
                "// Nobody else knows this upload. destination.abort(destination_key, &upload.upload_id).await?;",
                "if !PLANTED { destination.abort(destination_key, &upload.upload_id).await?; }",
            )
        ],
    ),
]


def planted() -> dict[Path, bytes]:
    """The places that faults change, and what stands there with all of them behind their switches."""
    texts: dict[str, str] = {}
    for fault in FAULTS:
        for place, old, new in fault.edits:
            text = texts.get(place) or (ROOT / place).read_text()
            found = list(re.finditer(r"\s+".join(map(re.escape, old.split())), text))
            if len(found) != 1:
                sys.exit(f"{fault.name}: its old text stands {len(found)} times in {place}, not once:\n{old}")
            core = "crate" if place.startswith("crates/core/") else "longhaul_core"
            put = new.replace("PLANTED", f'{core}::planted("{fault.slug}")')
            texts[place] = text[: found[0].start()] + put + text[found[0].end() :]
    switch = "crates/core/src/lib.rs"
    texts[switch] = (ROOT / switch).read_text() + SWITCH
    return {Path(place): text.encode() for place, text in texts.items()}


def sync() -> None:
    """Brings the copy up to date. What is the same keeps its time, so that little is built again."""
    changed = planted()
    wanted = set()
    for folder, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if name not in LEFT_OUT]
        for name in names:
            source = Path(folder) / name
            inside = source.relative_to(ROOT)
            wanted.add(inside)
            copy = TREE / inside
            content = changed.get(inside) or source.read_bytes()
            if not copy.exists() or copy.read_bytes() != content:
                copy.parent.mkdir(parents=True, exist_ok=True)
                copy.write_bytes(content)
    for folder, _, names in os.walk(TREE):
        for name in names:
            copy = Path(folder) / name
            if copy.relative_to(TREE) not in wanted:
                copy.unlink()


def build() -> Path:
    command = ["cargo", "build", "--locked", "-p", "longhaul-simulation", "--bin", "simulate"]
    built = subprocess.run(command, cwd=TREE, env=SETTINGS, text=True, capture_output=True, check=False)
    if built.returncode != 0:
        sys.exit(f"the copy does not build:\n{built.stderr[-4000:]}")
    return Path(SETTINGS["CARGO_TARGET_DIR"]) / "debug" / "simulate"


@dataclass(frozen=True)
class Told:
    """What running seeds told: how many ran, the promises that the failing ones broke, and those seeds."""

    ran: int
    broken: list[str]
    seeds: list[int]


def simulated(binary: Path, slugs: str, first: int, seeds: int, jobs: int) -> Told:
    """Runs seeds until one breaks a promise."""
    command = [binary, "--first", "--from", str(first), "--seeds", str(seeds), "--jobs", str(jobs)]
    environment = os.environ | {"LONGHAUL_PLANTED": slugs}
    out = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    ran = re.search(r"^(\d+) seeds from", out.stdout, re.MULTILINE)
    broken = re.findall(r"^  ([a-z-]+): \d+ seeds, such as", out.stdout, re.MULTILINE)
    failing = {int(seed) for seed in re.findall(r"^seed (\d+) broke", out.stdout, re.MULTILINE)}
    if out.returncode != 0 and not broken:
        # A panic of the simulation itself is as loud as a broken promise.
        lines = out.stderr.strip().splitlines() or [f"exit status {out.returncode}"]
        broken = [f"panic: {lines[-1][:60]}"]
    return Told(int(ran.group(1)) if ran else seeds, broken, sorted(failing))


def judged(binary: Path, fault: Fault, first: int, seeds: int, jobs: int) -> Told:
    """Runs seeds until one tells that the fault is there. A seed that what is planted along breaks by itself tells
    nothing."""
    ran = 0
    while ran < seeds:
        told = simulated(binary, fault.slugs, first + ran, seeds - ran, jobs)
        ran += told.ran
        if not fault.along:
            return Told(ran, told.broken, told.seeds)
        for seed in told.seeds:
            if not simulated(binary, fault.along, seed, 1, 1).broken:
                alone = simulated(binary, fault.slugs, seed, 1, 1)
                return Told(ran, alone.broken, alone.seeds)
    return Told(ran, [], [])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=2_000, help="most seeds for one fault")
    parser.add_argument("--from", type=int, default=0, help="the first seed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="seeds at once")
    parser.add_argument("--only", default="", help="faults whose slugs or names contain this")
    parser.add_argument("--clean-seeds", type=int, default=300, help="seeds that must pass without a fault")
    arguments = parser.parse_args()
    first = getattr(arguments, "from")
    sync()
    binary = build()
    if arguments.clean_seeds:
        clean = simulated(binary, "", first, arguments.clean_seeds, arguments.jobs)
        if clean.broken:
            sys.exit(f"without any fault, seeds {clean.seeds} broke {clean.broken}: mend that first")
        print(f"without any fault: {clean.ran} seeds pass\n", flush=True)
    print(f"{'fault':<85} {'caught by':<50} {'seeds':>5} {'seconds':>7}  replay", flush=True)
    missed = 0
    for fault in FAULTS:
        if arguments.only not in fault.slug and arguments.only not in fault.name:
            continue
        began = time.monotonic()
        seeds = arguments.clean_seeds if fault.harmless else arguments.seeds
        told = judged(binary, fault, first, seeds, arguments.jobs)
        missed += bool(told.broken) == fault.harmless
        by = ", ".join(told.broken) or ("nothing, as it must be" if fault.harmless else "NOT CAUGHT")
        seconds = time.monotonic() - began
        replay = f"{fault.slugs} {told.seeds[0]}" if told.seeds else ""
        print(f"{fault.name:<85} {by:<50} {told.ran:>5} {seconds:>7.1f}  {replay}", flush=True)
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
