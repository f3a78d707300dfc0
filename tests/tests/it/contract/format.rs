//! The text of a definition: two-space JSON, byte for byte.

/// One violation if the text is not as a pretty printer would write it.
pub(super) fn check(name: &str, asl: &str) -> Vec<String> {
    let pretty = format!("{}\n", pretty(asl));
    let same = asl.lines().zip(pretty.lines()).take_while(|(one, other)| one == other).count();
    if asl == pretty { Vec::new() } else { vec![format!("{name}: line {} is not two-space JSON", same + 1)] }
}

/// The text with its own tokens in their own order, laid out as `serde_json` lays JSON out. Reading it as a `Value`
/// would sort the fields, whose order counts here.
pub(super) fn pretty(json: &str) -> String {
    let (mut out, mut depth) = (String::new(), 0);
    let (mut in_string, mut escaped) = (false, false);
    for c in json.chars() {
        if in_string {
            out.push(c);
            in_string = escaped || c != '"';
            escaped = c == '\\' && !escaped;
            continue;
        }
        match c {
            '{' | '[' => {
                depth += 1;
                out.push(c);
                break_line(&mut out, depth);
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                if out.trim_end().ends_with(['{', '[']) {
                    out.truncate(out.trim_end().len());
                } else {
                    break_line(&mut out, depth);
                }
                out.push(c);
            }
            ',' => {
                out.push(c);
                break_line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            c if c.is_ascii_whitespace() => {}
            c => {
                in_string = c == '"';
                out.push(c);
            }
        }
    }
    out
}

fn break_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.push_str(&"  ".repeat(depth));
}

#[test]
fn pretty_is_what_serde_json_prints() {
    let value = serde_json::json!({"a": [1, 2.0, {"b": "x, {y}: \"z\" \\"}], "c": {}, "d": [], "e": null});
    assert_eq!(pretty(&value.to_string()), serde_json::to_string_pretty(&value).unwrap());
}
