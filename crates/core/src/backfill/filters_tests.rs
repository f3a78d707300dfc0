#![allow(clippy::unwrap_used)]
use super::*;
use proptest::prelude::*;

fn matches(pattern: &str, key: &str) -> bool {
    let filters = Filters { include: vec![pattern.into()], ..Filters::default() };
    Matcher::new(&filters).unwrap().passes(key, None, None)
}

/// Tries every way in which the pattern could match.
fn naive(pattern: &[char], key: &[char]) -> bool {
    match (pattern, key) {
        ([], []) => true,
        (['*', rest @ ..], _) => naive(rest, key) || !key.is_empty() && naive(pattern, &key[1..]),
        (['?', rest @ ..], [_, key @ ..]) => naive(rest, key),
        (['[', '!', first, '-', last, ']', rest @ ..], [char, key @ ..]) => {
            !(first..=last).contains(&char) && naive(rest, key)
        }
        (['[', first, '-', last, ']', rest @ ..], [char, key @ ..]) => {
            (first..=last).contains(&char) && naive(rest, key)
        }
        (['{', one, ',', other, '}', rest @ ..], [char, key @ ..]) => {
            (one == char || other == char) && naive(rest, key)
        }
        ([literal, rest @ ..], [char, key @ ..]) => literal == char && naive(rest, key),
        _ => false,
    }
}

/// Pieces of patterns; no two stars side by side, which mean something of their own beside a slash.
fn pattern() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "*",
        "?",
        "[a-c]",
        "[!a-c]",
        "[ä-ü]",
        "[!ä-🚢]",
        "{a,ß}",
        "a",
        "b",
        ".",
        "..",
        "/",
        "//",
        "-",
        "ß",
        "🚢",
        "+",
        "^",
        "$",
        "(",
        "|",
    ]);
    prop::collection::vec(piece, 1..8).prop_map(|pieces| pieces.concat().replace("**", "*").replace("**", "*"))
}

fn key() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "a", "b", "c", "d", ".", "..", "/", "//", "-", "ß", "ä", "ö", "🚢", "\n", "\\", "+", "^", "$", "(", "|", "x",
    ]);
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    #[test]
    fn patterns_match_characters_and_nothing_else_is_special(pattern in pattern(), key in key()) {
        let chars = |text: &str| text.chars().collect::<Vec<_>>();
        prop_assert_eq!(matches(&pattern, &key), naive(&chars(&pattern), &chars(&key)), "{:?} {:?}", pattern, key);
    }

    #[test]
    fn an_escaped_key_matches_itself_alone(key in "\\PC{1,12}", other in "\\PC{1,12}") {
        let escaped: String = key.chars().flat_map(|char| ['\\', char]).collect();
        prop_assert!(matches(&escaped, &key));
        prop_assert_eq!(matches(&escaped, &other), key == other);
    }

    #[test]
    fn a_list_matches_what_one_of_its_patterns_does(patterns in prop::collection::vec(pattern(), 1..6), key in key()) {
        let any = patterns.iter().any(|pattern| matches(pattern, &key));
        let filters = Filters { exclude: patterns, ..Filters::default() };
        prop_assert_eq!(Matcher::new(&filters).unwrap().passes(&key, None, None), !any);
    }
}

#[test]
fn keys_are_no_paths() {
    for (pattern, key, expected) in [
        ("logs/*", "logs/a/b", true),
        ("*.tmp", "a/b/.tmp", true),
        ("*.tmp", "a.TMP", false),
        ("a//b", "a//b", true),
        ("a//b", "a/b", false),
        ("a/b", "a//b", false),
        ("/a", "/a", true),
        ("/a", "a", false),
        ("a/", "a", false),
        ("a/./b", "a/b", false),
        ("**/..", "a/..", true),
        ("*/..", "a/..", true),
        ("../*", "../x", true),
        ("*", "", true),
        ("**/x", "x", true),
        ("**/x", "a/b/x", true),
        ("a/**", "a/b/c", true),
        ("a?c", "aüc", true),
        ("a??c", "aüc", false),
        ("[ü]", "ü", true),
        ("{a*,b}.{jpg,png}", "a/x.png", true),
        ("\\*", "*", true),
        ("\\*", "a", false),
        ("a\\\\x41", "a\\x41", true),
        ("x{,.bak}", "x", true),
        ("a*", "a\nb", true),
    ] {
        assert_eq!(matches(pattern, key), expected, "{pattern:?} {key:?}");
    }
}

#[test]
fn an_excluded_key_is_out_even_if_it_is_included() {
    let filters = Filters { include: vec!["a/*".into()], exclude: vec!["*/b".into()], ..Filters::default() };
    let matcher = Matcher::new(&filters).unwrap();
    let passes = |key| matcher.passes(key, None, None);
    assert!(passes("a/c") && !passes("a/b") && !passes("c"));
    assert!(Matcher::new(&Filters::default()).unwrap().passes("anything", Some(0), Some(0)));
}

#[test]
fn windows_hold_at_their_edges_and_let_pass_what_is_unknown() {
    let filters = Filters {
        min_size: Some(10),
        max_size: Some(20),
        modified_after: Some(100),
        modified_before: Some(200),
        ..Filters::default()
    };
    let matcher = Matcher::new(&filters).unwrap();
    let of = |size, modified| matcher.passes("k", size, modified);
    assert!(of(Some(10), None) && of(Some(20), None) && !of(Some(9), None) && !of(Some(21), None));
    assert!(of(None, Some(100)) && of(None, Some(199)) && !of(None, Some(99)) && !of(None, Some(200)));
    assert!(of(None, None) && !of(Some(15), Some(99)));
}

#[test]
fn a_bad_pattern_is_refused_by_name() {
    for (pattern, told) in [("a[b", "a[b"), ("{a", "{a"), ("a}", "a}"), ("[z-a]", "[z-a]"), ("x\\", "x"), ("", "empty")]
    {
        let filters = Filters { exclude: vec!["fine".into(), pattern.into()], ..Filters::default() };
        let error = filters.check().unwrap_err();
        assert!(error.contains(told) && error.contains("exclude"), "{error}");
    }
    assert!(Filters { include: vec!["a".into()], ..Filters::default() }.check().is_ok());
}

#[test]
fn ignore_lists_have_comments_and_name_bad_lines() {
    let text = "\u{feff}# all of it\n\n*.tmp\r\n  \n\\#literal\nlogs/* \n";
    assert_eq!(ignore_list(text).unwrap(), ["*.tmp", "\\#literal", "logs/* "]);
    assert!(matches("\\#literal", "#literal"));
    let error = ignore_list("a\n\n{b\n").unwrap_err();
    assert!(error.contains("line 3") && error.contains("{b"), "{error}");
    assert_eq!(ignore_list("").unwrap(), Vec::<String>::new());
}

#[test]
fn thousands_of_patterns_fit() {
    let exclude: Vec<String> = (0..3_000).map(|number| format!("tenants/{number:06}/*/cache-?.[a-f]*")).collect();
    let matcher = Matcher::new(&Filters { exclude, ..Filters::default() }).unwrap();
    assert!(!matcher.passes("tenants/002999/x/y/cache-ü.abc", None, None));
    assert!(matcher.passes("tenants/003000/x/y/cache-1.abc", None, None));
}
