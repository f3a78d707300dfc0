//! Small edits of the definition's text, which keep the order of all else.

use std::ops::Range;

/// The definition with the block of one state edited.
pub(super) fn in_state(asl: &str, state: &str, edit: impl FnOnce(&str) -> String) -> String {
    let block = block(asl, state);
    let edited = edit(&asl[block.clone()]);
    assert_ne!(edited, asl[block.clone()], "{state} is as it was");
    [&asl[..block.start], &edited, &asl[block.end..]].concat()
}

/// From the indentation of the state's name to its closing brace.
fn block(asl: &str, state: &str) -> Range<usize> {
    let head = format!("\"{state}\": {{\n");
    let name = asl.find(&head).unwrap_or_else(|| panic!("no state {state}"));
    let start = asl[..name].rfind('\n').unwrap() + 1;
    let close = format!("\n{}}}", &asl[start..name]);
    start..name + asl[name..].find(&close).unwrap() + close.len()
}

/// The block with `from` replaced where it stands first.
pub(super) fn replaced(block: &str, from: &str, to: &str) -> String {
    assert!(block.contains(from), "no {from} in {block}");
    block.replacen(from, to, 1)
}

/// The block without a field of the state's own.
pub(super) fn without_field(block: &str, field: &str) -> String {
    without(block, own_field(block, field))
}

/// The block with a field of the state's own replaced.
pub(super) fn with_field(block: &str, field: &str, to: &str) -> String {
    let mut edited = block.to_owned();
    edited.replace_range(own_field(block, field), to);
    edited
}

/// The block with one more element at the end of an array of the state's own.
pub(super) fn appended(block: &str, field: &str, element: &str) -> String {
    let last = block[..own_field(block, field).end - 1].trim_end().len();
    [&block[..last], ", ", element, &block[last..]].concat()
}

/// Name and value of a field of the state's own: those inside a Map are indented further.
fn own_field(block: &str, field: &str) -> Range<usize> {
    let indent = " ".repeat(block.len() - block.trim_start().len() + 2);
    let head = format!("\n{indent}\"{field}\":");
    let start = block.find(&head).unwrap_or_else(|| panic!("no {field} in {block}")) + 1 + indent.len();
    let line = &block[start..start + block[start..].find('\n').unwrap()];
    let length = match line.chars().last() {
        Some(open @ ('{' | '[')) => {
            let close = format!("\n{indent}{}", if open == '{' { '}' } else { ']' });
            block[start..].find(&close).unwrap() + close.len()
        }
        _ => line.trim_end_matches(',').len(),
    };
    start..start + length
}

/// The block without the innermost object around `inside`.
pub(super) fn without_object(block: &str, inside: &str) -> String {
    let at = block.find(inside).unwrap_or_else(|| panic!("no {inside} in {block}"));
    without(block, block[..at].rfind('{').unwrap()..at + block[at..].find('}').unwrap() + 1)
}

/// The block without the `number`th of these entries, counted from 0.
pub(super) fn without_entry(block: &str, entry: &str, number: usize) -> String {
    let (start, _) = block.match_indices(entry).nth(number).unwrap_or_else(|| panic!("no {entry} in {block}"));
    without(block, start..start + entry.len())
}

/// The text without an entry and the comma that parts it from its neighbour.
fn without(text: &str, entry: Range<usize>) -> String {
    let (before, after) = (&text[..entry.start], &text[entry.end..]);
    match after.strip_prefix(',') {
        Some(after) => [before, after.trim_start()].concat(),
        None => [before.trim_end().trim_end_matches(','), after].concat(),
    }
}

/// The definition with two states of one scope in each other's place; neither may be the last.
pub(super) fn swapped(asl: &str, upper: &str, lower: &str) -> String {
    let (first, second) = (block(asl, upper), block(asl, lower));
    let between = &asl[first.end..second.start];
    [&asl[..first.start], &asl[second.clone()], between, &asl[first], &asl[second.end..]].concat()
}

/// The definition with another state above one.
pub(super) fn with_state(asl: &str, above: &str, text: &str) -> String {
    let place = block(asl, above).start;
    [&asl[..place], text, ",\n", &asl[place..]].concat()
}
