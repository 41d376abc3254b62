//! JavaScript's `encodeURIComponent` and `decodeURIComponent`, with which upstream writes and reads cookies and
//! query strings.
//!
//! The same bytes out for every input, and the same inputs refused; what needs no change is not copied.

use std::borrow::Cow;

/// `text` with every byte as `%XX` but `A-Z a-z 0-9 - _ . ! ~ * ' ( )`.
pub(crate) fn encode_component(text: &str) -> Cow<'_, str> {
    if text.bytes().all(is_unreserved) {
        return Cow::Borrowed(text);
    }
    let mut encoded = String::with_capacity(text.len() + 32);
    for byte in text.bytes() {
        if is_unreserved(byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push(hex_digit(byte >> 4));
            encoded.push(hex_digit(byte & 0xf));
        }
    }
    Cow::Owned(encoded)
}

/// `text` with every `%XX` as the byte it means, or nothing where JavaScript throws: at a `%` without two hex
/// digits, and where the bytes are not UTF-8. A `+` stays a `+`.
pub fn decode_component(text: &str) -> Option<Cow<'_, str>> {
    if !text.contains('%') {
        return Some(Cow::Borrowed(text));
    }
    // In pieces, because in what a browser sends little is escaped.
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some(position) = rest.iter().position(|byte| *byte == b'%') {
        let (plain, escape) = rest.split_at_checked(position)?;
        let [_, high, low, after @ ..] = escape else { return None };
        decoded.extend_from_slice(plain);
        decoded.push((hex_value(*high)? << 4) | hex_value(*low)?);
        rest = after;
    }
    decoded.extend_from_slice(rest);
    // One check at the end finds the same errors as one per character: what was not escaped is whole
    // characters, so it cannot complete an escaped beginning.
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'.' | b'!' | b'~' | b'*' | b'\'' | b'(' | b')')
}

const fn hex_digit(nibble: u8) -> char {
    (if nibble < 10 { b'0' + nibble } else { b'A' + (nibble - 10) }) as char
}

const fn hex_value(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_every_ascii_character_as_javascript_does() {
        let ascii: String = (0_u8..128).map(char::from).collect();
        assert_eq!(
            encode_component(&ascii),
            "%00%01%02%03%04%05%06%07%08%09%0A%0B%0C%0D%0E%0F%10%11%12%13%14%15%16%17%18%19%1A%1B%1C%1D%1E%1F\
             %20!%22%23%24%25%26'()*%2B%2C-.%2F0123456789%3A%3B%3C%3D%3E%3F%40ABCDEFGHIJKLMNOPQRSTUVWXYZ\
             %5B%5C%5D%5E_%60abcdefghijklmnopqrstuvwxyz%7B%7C%7D~%7F"
        );
    }

    #[test]
    fn encodes_other_characters_as_their_utf_8_bytes() {
        assert_eq!(encode_component("é✓😀"), "%C3%A9%E2%9C%93%F0%9F%98%80");
    }

    #[test]
    fn what_needs_no_change_is_borrowed() {
        assert!(matches!(encode_component("a-Z_0.!~*'()"), Cow::Borrowed("a-Z_0.!~*'()")));
        assert!(matches!(decode_component("a+b é"), Some(Cow::Borrowed("a+b é"))));
    }

    /// Each pair is what Node's `decodeURIComponent` answers; `None` is its `URIError`.
    #[test]
    fn decodes_and_refuses_what_javascript_does() {
        for (text, expected) in [
            ("", Some("")),
            ("%c3%a9", Some("é")),
            ("%C3%A9", Some("é")),
            ("%F0%9F%98%80x", Some("😀x")),
            ("%00", Some("\0")),
            ("é%20✓", Some("é ✓")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%+1", None),
            ("% 1", None),
            ("a+b%2", None),
            ("%C3", None),
            ("%C3é", None),
            ("%E2%82", None),
            ("%C0%80", None),
            ("%ED%A0%80", None),
            ("%F4%90%80%80", None),
        ] {
            assert_eq!(decode_component(text).as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn every_character_survives_the_round_trip() {
        let all: String = (0..=u32::from(char::MAX)).step_by(7).filter_map(char::from_u32).collect();
        assert_eq!(decode_component(&encode_component(&all)).as_deref(), Some(all.as_str()));
    }
}
