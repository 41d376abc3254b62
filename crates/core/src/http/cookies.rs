//! Our cookies: their names and attributes, computed once, and the ones a reply sets.
//!
//! Upstream: `cookies/index.ts`.

use super::{
    cookie::{self, Attributes, SameSite},
    decode_component, encode_component,
};
use crate::{
    config::{Config, CookieAttributes},
    crypto::signed::Signer,
};
use http::{HeaderMap, HeaderValue, header::COOKIE};
use std::borrow::Cow;
use url::Url;

/// A cookie we set: its full name and attributes.
#[derive(Debug, Clone)]
pub(crate) struct Cookie {
    /// Its name with prefixes.
    pub(crate) name: String,
    /// Its attributes.
    pub(crate) attributes: Attributes,
}

/// The cookies every installation has.
#[derive(Debug)]
pub(crate) struct AuthCookies {
    pub(crate) session_token: Cookie,
    pub(crate) session_data: Cookie,
    pub(crate) dont_remember: Cookie,
}

/// What one cookie may take up together with its name and attributes, in bytes: the least that a browser keeps, and a
/// little less.
const LARGEST_COOKIE: usize = 4050;
/// What does not fit into so many pieces does not belong into a cookie.
const MOST_PIECES: usize = 100;

impl Cookie {
    /// The cookie of upstream's `key`. What the operator says of this cookie counts more than `max_age`, and that more
    /// than what is said of all cookies.
    pub(crate) fn new(config: &Config, key: &str, max_age: Option<i64>) -> Self {
        let advanced = &config.advanced;
        let is_secure = advanced.use_secure_cookies.unwrap_or(config.base_url.starts_with("https://"));
        let options = advanced.cookies.get(key);
        let name = options.and_then(|options| options.name.clone()).unwrap_or_else(|| {
            format!("{}.{key}", advanced.cookie_prefix.as_deref().unwrap_or("better-auth"))
        });
        let mut attributes = Attributes {
            path: Some("/".to_owned()),
            http_only: true,
            secure: is_secure,
            same_site: Some(SameSite::Lax),
            domain: shared_domain(config),
            ..Attributes::default()
        };
        put(&mut attributes, &advanced.default_cookie_attributes);
        attributes.max_age = max_age.or(attributes.max_age);
        if let Some(options) = options {
            put(&mut attributes, &options.attributes);
        }
        Self { name: format!("{}{name}", if is_secure { "__Secure-" } else { "" }), attributes }
    }

    /// Whether browsers would refuse it.
    fn is_refused(&self) -> bool {
        let asks_for_secure =
            self.attributes.same_site == Some(SameSite::None) || self.attributes.partitioned;
        let is_secure = self.attributes.secure
            || ["__Secure-", "__Host-"].iter().any(|prefix| self.name.starts_with(prefix));
        asks_for_secure && !is_secure
    }
}

/// The domain whose hosts all get our cookies, where that is asked for.
fn shared_domain(config: &Config) -> Option<String> {
    let options = &config.advanced.cross_sub_domain_cookies;
    let host = || Url::parse(&config.base_url).ok()?.host_str().map(str::to_owned);
    options.enabled.then(|| options.domain.clone().filter(|domain| !domain.is_empty()).or_else(host))?
}

fn put(attributes: &mut Attributes, options: &CookieAttributes) {
    let CookieAttributes { domain, http_only, max_age, partitioned, path, same_site, secure } = options;
    attributes.domain = domain.clone().or(attributes.domain.take());
    attributes.http_only = http_only.unwrap_or(attributes.http_only);
    attributes.max_age = max_age.map(i64::from).or(attributes.max_age);
    attributes.partitioned = partitioned.unwrap_or(attributes.partitioned);
    attributes.path = path.clone().or(attributes.path.take());
    attributes.same_site = same_site.or(attributes.same_site);
    attributes.secure = secure.unwrap_or(attributes.secure);
}

impl AuthCookies {
    /// Two cookies of one name, or of a name that is a piece of another, would overwrite each other.
    pub(crate) fn new(config: &Config, problems: &mut Vec<String>) -> Self {
        let cookies = Self {
            session_token: Cookie::new(config, "session_token", Some(config.session.expires_in.into())),
            session_data: Cookie::new(
                config,
                "session_data",
                Some(config.session.cookie_cache.max_age.into()),
            ),
            dont_remember: Cookie::new(config, "dont_remember", None),
        };
        let all = [&cookies.session_token, &cookies.session_data, &cookies.dont_remember];
        for (position, cookie) in all.iter().enumerate() {
            if cookie.is_refused() {
                let name = &cookie.name;
                tracing::warn!(
                    name,
                    "browsers refuse a cookie with SameSite=None or Partitioned that is not Secure"
                );
            }
            let others = all.iter().enumerate().filter(|(other, _)| *other != position);
            for (_, other) in others.filter(|(_, other)| cookie::is_piece(&other.name, &cookie.name)) {
                problems.push(format!(
                    "advanced.cookies: {:?} and {:?} get in each other's way; give one another name",
                    cookie.name, other.name
                ));
            }
        }
        cookies
    }
}

/// The cookies a reply sets, in order.
#[derive(Debug, Default)]
pub(crate) struct Cookies {
    lines: Vec<String>,
    /// Whether none is set, whoever wants to.
    are_refused: bool,
}

impl Cookies {
    /// None is set any more.
    pub(crate) fn refuse(&mut self) {
        self.lines.clear();
        self.are_refused = true;
    }

    /// Sets a cookie to a value signed with our secret.
    pub(crate) fn set_signed(&mut self, signer: &Signer, cookie: &Cookie, value: &str, max_age: Option<i64>) {
        let signed = signer.sign(value);
        self.write(
            &cookie.name,
            &encode_component(&signed),
            &Attributes { max_age, ..cookie.attributes.clone() },
        );
    }

    /// Whether none will be set, whatever is asked for.
    pub(crate) fn are_refused(&self) -> bool {
        self.are_refused
    }

    /// Makes the browser forget a cookie; what this reply set under the name before is taken back.
    pub(crate) fn expire(&mut self, cookie: &Cookie) {
        self.lines.retain(|line| !cookie::is_for(line, &cookie.name));
        self.expire_as(&cookie.name, cookie);
    }

    /// Sets a cookie that may be too long for one: then in pieces. What the browser has of it besides is forgotten.
    ///
    /// Upstream keeps its cookies in an object while it makes them: those to be forgotten come first, in the order in
    /// which they were sent, and one that is set anew takes its old place (kept).
    pub(crate) fn set_in_pieces(&mut self, header: &str, cookie: &Cookie, value: &str, max_age: Option<i64>) {
        let attributes = Attributes { max_age, ..cookie.attributes.clone() };
        let mut pieces = pieces(cookie, value, &attributes);
        for name in present(header, cookie) {
            let renewed = pieces.iter_mut().find(|(other, _)| other == name);
            match renewed.and_then(|(_, piece)| piece.take()) {
                Some(piece) => self.write(name, piece, &attributes),
                None => self.expire_as(name, cookie),
            }
        }
        for (name, piece) in &pieces {
            if let Some(piece) = piece {
                self.write(name, piece, &attributes);
            }
        }
    }

    /// Makes the browser forget every piece it sent of a cookie that may have been split.
    pub(crate) fn expire_pieces(&mut self, header: &str, cookie: &Cookie) {
        for name in present(header, cookie) {
            self.expire_as(name, cookie);
        }
    }

    /// Leaves out each line that a later one for the same name takes back.
    pub(crate) fn settle(&mut self) {
        fn name(line: &str) -> Option<&str> {
            line.split('=').next()
        }
        if self.lines.len() < 2 {
            return;
        }
        let mut settled: Vec<String> = Vec::with_capacity(self.lines.len());
        while let Some(line) = self.lines.pop() {
            if settled.iter().all(|later| name(later) != name(&line)) {
                settled.push(line);
            }
        }
        settled.reverse();
        self.lines = settled;
    }

    /// What the last line for this name sets it to; nothing when it takes the cookie back.
    pub(crate) fn value_of(&self, name: &str) -> Option<String> {
        let line = |line: &&String| line.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        let line = self.lines.iter().rfind(line)?;
        let (pair, attributes) = line.split_once(';').unwrap_or((line, ""));
        let (_, value) = pair.split_once('=')?;
        let is_set =
            !value.is_empty() && !attributes.split("; ").any(|attribute| attribute.trim() == "Max-Age=0");
        is_set.then(|| decode_component(value).map_or_else(|| value.to_owned(), Cow::into_owned))
    }

    fn expire_as(&mut self, name: &str, cookie: &Cookie) {
        self.write(name, "", &Attributes { max_age: Some(0), ..cookie.attributes.clone() });
    }

    fn write(&mut self, name: &str, encoded: &str, attributes: &Attributes) {
        if self.are_refused {
            return;
        }
        match cookie::serialize(name, encoded, attributes) {
            Ok(line) => self.lines.push(line),
            // Names and attributes were checked when the configuration was read, values are encoded.
            Err(error) => tracing::error!(%error, name, "a cookie was not set"),
        }
    }

    pub(crate) fn into_values(self) -> impl Iterator<Item = HeaderValue> {
        self.lines.into_iter().filter_map(|line| HeaderValue::try_from(line).ok())
    }
}

/// Names and values of the cookies that hold `value`; none when it is too long. A value that is written has been taken.
fn pieces<'a>(cookie: &Cookie, value: &'a str, attributes: &Attributes) -> Vec<(String, Option<&'a str>)> {
    let overhead =
        cookie::serialize(&format!("{}.99", cookie.name), "", attributes).map_or(0, |line| line.len());
    let room = LARGEST_COOKIE.saturating_sub(overhead);
    if room > 0 && value.len() <= room {
        return vec![(cookie.name.clone(), Some(value))];
    }
    if room == 0 || value.len().div_ceil(room) > MOST_PIECES {
        tracing::warn!(cookie = cookie.name, bytes = value.len(), "too much for a cookie: it was not set");
        return Vec::new();
    }
    let ends = (0..value.len().div_ceil(room)).map(|index| (index, index * room));
    ends.map(|(index, from)| {
        (format!("{}.{index}", cookie.name), value.get(from..value.len().min(from + room)))
    })
    .collect()
}

/// The names under which the browser sent the cookie or pieces of it.
fn present<'header>(header: &'header str, cookie: &Cookie) -> Vec<&'header str> {
    if header.contains(&cookie.name) { cookie::pieces(header, &cookie.name) } else { Vec::new() }
}

/// The Cookie header; several are one, as HTTP/2 may split them.
pub(crate) fn header(headers: &HeaderMap) -> String {
    let mut lines = headers.get_all(COOKIE).iter().map(|line| match line.to_str() {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => String::from_utf8_lossy(line.as_bytes()),
    });
    let mut all = lines.next().unwrap_or_default().into_owned();
    for line in lines {
        all.push_str("; ");
        all.push_str(&line);
    }
    all
}

/// The value of one of our signed cookies, if the signature is ours.
pub(crate) fn signed(header: &str, signer: &Signer, cookie: &Cookie) -> Option<String> {
    let value = cookie::find(header, &cookie.name)?;
    signer.open(&value).map(str::to_owned)
}

/// What the browser sent of a cookie that may be in pieces, if there is something in it.
pub(crate) fn chunked<'header>(header: &'header str, cookie: &Cookie) -> Option<Cow<'header, str>> {
    // Most requests have none, and the careful reading costs as much as everything else about cookies.
    if !header.contains(&cookie.name) {
        return None;
    }
    cookie::chunked(header, &cookie.name).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data() -> Cookie {
        let attributes = Attributes { path: Some("/".to_owned()), ..Attributes::default() };
        Cookie { name: "data".to_owned(), attributes }
    }

    fn lines(cookies: Cookies) -> Vec<String> {
        cookies.into_values().map(|line| line.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_cookie_is_split_when_it_is_larger_than_browsers_keep() {
        let cookie = data();
        let room = LARGEST_COOKIE - "data.99=; Max-Age=300; Path=/".len();
        for (length, expected) in
            [(1, 1), (room, 1), (room + 1, 2), (2 * room, 2), (100 * room, 100), (100 * room + 1, 0)]
        {
            let value = "x".repeat(length);
            let mut cookies = Cookies::default();
            cookies.set_in_pieces("", &cookie, &value, Some(300));
            let lines = lines(cookies);
            assert_eq!(lines.len(), expected, "{length}");
            assert!(lines.iter().all(|line| line.len() <= LARGEST_COOKIE));
            let values = lines.iter().filter_map(|line| line.split(';').next()?.split_once('='));
            let joined: String = values.map(|(_, value)| value).collect();
            assert!(expected == 0 || joined == value);
            assert_eq!(lines.first().is_some_and(|line| line.starts_with("data=")), expected == 1);
        }
    }

    #[test]
    fn pieces_that_are_not_renewed_are_forgotten_in_the_order_in_which_they_were_sent() {
        let cookie = data();
        let mut cookies = Cookies::default();
        cookies.set_in_pieces(
            "data.7=a; data.1=b; other=c; data=d; data.x=e",
            &cookie,
            &"x".repeat(5000),
            None,
        );
        let starts: Vec<_> =
            lines(cookies).iter().map(|line| line.chars().take(9).collect::<String>()).collect();
        assert_eq!(starts, ["data.7=; ", "data.1=xx", "data=; Ma", "data.0=xx"]);
    }

    #[test]
    fn of_several_lines_for_one_name_the_last_is_left_after_settling() {
        let cookie = data();
        let mut cookies = Cookies::default();
        cookies.expire(&cookie);
        cookies.set_signed(
            &Signer::new("secret"),
            &Cookie { name: "data_token".to_owned(), ..data() },
            "token",
            None,
        );
        cookies.set_in_pieces("data.1=x; data=y", &cookie, &"x".repeat(5000), None);
        cookies.settle();
        let starts: Vec<_> =
            lines(cookies).iter().map(|line| line.chars().take(11).collect::<String>()).collect();
        assert_eq!(starts, ["data_token=", "data.1=xxxx", "data=; Max-", "data.0=xxxx"]);
    }

    #[test]
    fn without_room_for_a_value_nothing_is_set() {
        let mut cookie = data();
        cookie.attributes.path = Some(format!("/{}", "x".repeat(LARGEST_COOKIE)));
        let mut cookies = Cookies::default();
        cookies.set_in_pieces("", &cookie, "x", None);
        assert_eq!(lines(cookies), Vec::<String>::new());
    }

    #[test]
    fn the_value_that_the_browser_will_have_is_told_and_none_that_is_taken_back() {
        let cookie = data();
        let signer = Signer::new("secret");
        let mut cookies = Cookies::default();
        assert_eq!(cookies.value_of("data"), None);
        cookies.set_signed(&signer, &cookie, "one", None);
        cookies.set_signed(&signer, &Cookie { name: "data_token".to_owned(), ..data() }, "other", None);
        cookies.set_signed(&signer, &cookie, "two", Some(7));
        assert_eq!(cookies.value_of("data"), Some(signer.sign("two")));
        cookies.expire(&cookie);
        assert_eq!(cookies.value_of("data"), None);
        assert_eq!(cookies.value_of("data_token"), Some(signer.sign("other")));
        assert_eq!(cookies.value_of("dat"), None);
    }

    /// A second factor is asked for after the cookies were set: no valid value may stay in the reply.
    #[test]
    fn ghsa_xg6x_h9c9_2m83_what_is_set_and_taken_back_leaves_no_value() {
        let cookie = data();
        for length in [10, 9000] {
            let mut cookies = Cookies::default();
            cookies.set_signed(&Signer::new("secret"), &cookie, "token", None);
            cookies.set_in_pieces("data.5=x", &cookie, &"x".repeat(length), Some(300));
            cookies.expire(&cookie);
            assert_eq!(lines(cookies), ["data=; Max-Age=0; Path=/"]);
        }
    }
}
