//! Text that may hold anything, as HTML.

/// Text as the content of an element. What would act on its surroundings or could not be seen (controls, marks of
/// writing direction, spaces of other widths) is written out as `\u{…}`, set apart from the text itself.
pub(super) fn text(raw: &str) -> String {
    let mut html = String::with_capacity(raw.len() + raw.len() / 8);
    for character in raw.chars() {
        match character {
            '&' => html.push_str("&amp;"),
            '<' => html.push_str("&lt;"),
            '>' => html.push_str("&gt;"),
            '"' => html.push_str("&quot;"),
            '\'' => html.push_str("&#39;"),
            hidden if is_hidden(hidden) => {
                let escaped: String = hidden.escape_unicode().collect();
                html.push_str(&format!("<span class=\"hidden\">{escaped}</span>"));
            }
            _ => html.push(character),
        }
    }
    html
}

/// A key or another name: set in one width, broken anywhere, and without effect on the direction of what stands beside.
pub(super) fn key(raw: &str) -> String {
    format!("<bdi class=\"key\" dir=\"ltr\">{}</bdi>", text(raw))
}

fn is_hidden(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
        || (character.is_whitespace() && character != ' ')
        // Not characters at all: HTML forbids them.
        || (u32::from(character) & 0xfffe) == 0xfffe
        || matches!(character, '\u{fdd0}'..='\u{fdef}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn nothing_gets_through() {
        assert_eq!(text("<script>\"a\" & 'b'"), "&lt;script&gt;&quot;a&quot; &amp; &#39;b&#39;");
        assert_eq!(text("a\u{202e}b"), "a<span class=\"hidden\">\\u{202e}</span>b");
        assert_eq!(text("\0\n"), "<span class=\"hidden\">\\u{0}</span><span class=\"hidden\">\\u{a}</span>");
        assert_eq!(text("שלום ü"), "שלום ü");
    }

    proptest! {
        #[test]
        fn only_our_own_marks_are_left(raw in any::<String>()) {
            let html = text(&raw).replace("<span class=\"hidden\">", "").replace("</span>", "");
            let plain = !html.contains(['<', '>', '"', '\'']) && !html.chars().any(is_hidden);
            prop_assert!(plain);
        }
    }
}
