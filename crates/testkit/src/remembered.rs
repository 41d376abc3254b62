//! What a cookie remembers of a session, as text, if a secret has made it, or says that a key has.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use narthex::crypto::{jwe::Keyring, jws::Hs256, signed::Signer};

/// The way it is written, and what it says: `compact {…}`, `jwt {…} {…}` or `jwe {…} {…}`; `keys {…} {…}` where it says
/// that a key pair has signed it, which is not verified.
pub(crate) fn text(value: &str, secret: &str) -> Option<String> {
    let decode = |part: &str| String::from_utf8(URL_SAFE_NO_PAD.decode(part).ok()?).ok();
    let parts: Vec<_> = value.split('.').collect();
    match *parts.as_slice() {
        [whole] => compact(&decode(whole)?, secret),
        [header, payload, _] => {
            let said = decode(header)?;
            if said.contains(r#""typ":"better-auth.session-cache+jwt""#) {
                return Some(format!("keys {said} {}", decode(payload)?));
            }
            let payload = String::from_utf8(Hs256::new(secret).open(value)?).ok()?;
            Some(format!("jwt {said} {payload}"))
        }
        [header, _, _, _, _] => {
            let keys = Keyring::derive([secret], "better-auth-session");
            let payload = String::from_utf8(keys.open(value)?).ok()?;
            let header: serde_json::Value = serde_json::from_str(&decode(header)?).ok()?;
            // The key opened it, so its id is the right one or is not there.
            let header = header.to_string().replace(header.get("kid")?.as_str()?, "<thumbprint>");
            Some(format!("jwe {header} {payload}"))
        }
        _ => None,
    }
}

fn compact(text: &str, secret: &str) -> Option<String> {
    let (whole, signature) = text.strip_suffix("\"}")?.rsplit_once(r#","signature":""#)?;
    let (payload, expires) = whole.strip_prefix(r#"{"session":"#)?.rsplit_once(r#","expiresAt":"#)?;
    let signed = format!(r#"{},"expiresAt":{expires}}}"#, payload.strip_suffix('}')?);
    let right = Signer::new(secret).sign(&signed);
    let right = right.get(signed.len() + 1..)?.trim_end_matches('=').replace('+', "-").replace('/', "_");
    (right == signature).then(|| format!("compact {whole}}}"))
}

/// What the cookies of a response remember, in the order in which each is first seen; pieces are put together.
pub(crate) fn in_cookies(headers: &[(String, String)], secret: &str) -> Vec<String> {
    let mut groups: Vec<(String, Vec<(usize, &str)>)> = Vec::new();
    for (_, line) in headers.iter().filter(|(name, _)| name == "set-cookie") {
        let Some((name, rest)) = line.split_once('=') else { continue };
        let value = rest.split(';').next().unwrap_or_default();
        if value.is_empty() {
            continue;
        }
        let piece = name.rsplit_once('.').and_then(|(whole, index)| Some((whole, index.parse().ok()?)));
        let (group, index) = match piece {
            Some((whole, index)) => (format!("{whole} in pieces"), index),
            None => (name.to_owned(), 0),
        };
        // One that is whole and set twice is two.
        let same = groups.iter_mut().find(|(other, _)| piece.is_some() && *other == group);
        match same {
            Some((_, pieces)) => pieces.push((index, value)),
            None => groups.push((group, vec![(index, value)])),
        }
    }
    let whole = |(_, mut pieces): (String, Vec<(usize, &str)>)| {
        pieces.sort_unstable();
        text(&pieces.into_iter().map(|(_, value)| value).collect::<String>(), secret)
    };
    groups.into_iter().filter_map(whole).collect()
}
