//! Where a browser ends up when something failed and no application asked to be told.
//!
//! Whoever makes a link chooses what stands in its query, so that nothing of it gets into the page but as text, and
//! the page may load and run nothing. Upstream: `api/routes/error.ts`.

use crate::{config::Environment, error::Error, http::append_query, prelude::*};
use base64::{Engine as _, prelude::BASE64_STANDARD};
use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS},
};
use sha2::{Digest as _, Sha256};
use std::sync::LazyLock;

const STYLE: &str = "\
:root{color-scheme:light dark}\
body{font:16px/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;place-items:center}\
main{max-width:32rem;padding:2rem;overflow-wrap:anywhere}\
h1{font-size:1.5rem;margin:0 0 1rem}\
code{font-family:ui-monospace,monospace;border:1px solid;border-radius:.25rem;padding:.125rem .375rem}";

/// Nothing but the style above, named by its hash.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
    format!(
        "default-src 'none'; style-src 'sha256-{hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
});

pub(crate) struct ErrorPage;

impl Plugin for ErrorPage {
    const ID: &'static str = "error";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup
            .get("/error", Self::error)
            .summary("Where a browser ends up when something failed.")
            .shows("A page that says what went wrong.")
            .answers(
                StatusCode::FOUND,
                "To the page that the options name, or to the home page in production.",
            );
    }
}

/// What the query says went wrong.
struct Failure {
    code: String,
    description: Option<String>,
}

impl Failure {
    /// Of repeated names the first counts, and an empty value is none.
    fn of(query: &str) -> Self {
        let value = |name: &str| {
            let mut pairs = form_urlencoded::parse(query.as_bytes());
            let found = pairs.find_map(|(key, value)| (key == name).then(|| value.into_owned()));
            found.filter(|value| !value.is_empty())
        };
        Self {
            code: value("error").filter(|code| is_code(code)).unwrap_or_else(|| "UNKNOWN".to_owned()),
            description: value("error_description"),
        }
    }

    fn query(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("error", &self.code);
        if let Some(description) = &self.description {
            query.append_pair("error_description", description);
        }
        query.finish()
    }

    fn page(&self) -> String {
        let code = Escaped(&self.code);
        let description =
            self.description.as_deref().unwrap_or("Please try again, or go back to where you came from.");
        let description = Escaped(description);
        format!(
            "<!DOCTYPE html>\n\
             <html lang=\"en\">\n\
             <head>\n\
             <meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>Error</title>\n\
             <style>{STYLE}</style>\n\
             </head>\n\
             <body>\n\
             <main>\n\
             <h1>Something went wrong</h1>\n\
             <p>{description}</p>\n\
             <p><code>{code}</code></p>\n\
             <p><a href=\"/\">Go to the home page</a></p>\n\
             </main>\n\
             </body>\n\
             </html>\n"
        )
    }
}

fn is_code(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'\'' | b'_' | b'-'))
}

/// Text in a page, never markup.
struct Escaped<'a>(&'a str);

impl std::fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        use std::fmt::Write as _;
        for character in self.0.chars() {
            match character {
                '&' => f.write_str("&amp;"),
                '<' => f.write_str("&lt;"),
                '>' => f.write_str("&gt;"),
                '"' => f.write_str("&quot;"),
                '\'' => f.write_str("&#39;"),
                // Not allowed in HTML, and the ones that turn the direction of text would disguise what follows.
                '\0' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => f.write_char('\u{fffd}'),
                character => f.write_char(character),
            }?;
        }
        Ok(())
    }
}

impl ErrorPage {
    /// `GET /error`
    async fn error(&self, cx: &mut Ctx) -> Result<Reply> {
        let failure = Failure::of(cx.query_text());
        let config = cx.config();
        let target = match &config.on_api_error.error_url {
            Some(target) => append_query(target, &failure.query())
                .ok_or_else(|| Error::internal("on-api-error.error-url is no URL"))?,
            None if config.environment == Environment::Production => format!("/?{}", failure.query()),
            None => return page(&failure),
        };
        let mut reply = Reply::empty(StatusCode::FOUND);
        reply.set_header(LOCATION, HeaderValue::from_str(&target).map_err(Error::internal)?);
        Ok(reply)
    }
}

fn page(failure: &Failure) -> Result<Reply> {
    let headers: [(HeaderName, &str); 4] = [
        (CONTENT_TYPE, "text/html"),
        (CONTENT_SECURITY_POLICY, &POLICY),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    let mut reply = Reply::empty(StatusCode::OK);
    for (name, value) in headers {
        reply.set_header(name, HeaderValue::from_str(value).map_err(Error::internal)?);
    }
    reply.set_body(failure.page());
    Ok(reply)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The page without what a query put into it.
    fn frame(code: &str, description: &str) -> (String, String) {
        let failure = Failure { code: code.to_owned(), description: Some(description.to_owned()) };
        let page = failure.page();
        let (before, rest) = page.split_once("<h1>Something went wrong</h1>\n<p>").expect("a heading");
        let (description, rest) = rest.split_once("</p>\n<p><code>").expect("a description");
        let (_, after) = rest.split_once("</code>").expect("a code");
        (description.to_owned(), format!("{before}|{after}"))
    }

    /// Every text of up to three characters that mean something in HTML, and some that people have tried.
    #[test]
    fn nothing_of_a_query_gets_into_the_page_unescaped() {
        const SPECIAL: [char; 16] =
            ['<', '>', '"', '\'', '&', ';', '#', 'x', '3', '/', '!', '-', '=', '\0', '\n', '\u{202e}'];
        let (_, expected) = frame("CODE", "description");
        let mut texts = vec![String::new()];
        for length in 0..3 {
            let longer: Vec<_> = texts
                .iter()
                .filter(|text| text.chars().count() == length)
                .flat_map(|text| SPECIAL.map(|character| format!("{text}{character}")))
                .collect();
            texts.extend(longer);
        }
        texts.extend(
            ["<script>alert(1)</script>", "&lt;b&gt;", "&#60;img src=x onerror=alert(1)&#62;", "]]>", "-->"]
                .map(str::to_owned),
        );
        assert_eq!(texts.len(), 1 + 16 + 256 + 4096 + 5);
        for text in texts {
            let (description, frame) = frame("CODE", &text);
            assert_eq!(frame, expected, "{text:?}");
            let raw = description.contains(['<', '>', '"', '\'', '\0', '\u{202e}']);
            let stray = description.split('&').skip(1).any(|rest| {
                !["amp;", "lt;", "gt;", "quot;", "#39;"].iter().any(|known| rest.starts_with(known))
            });
            assert!(!raw && !stray, "{text:?} became {description:?}");
            let back = description
                .replace("&lt;", "<")
                .replace("&gt;", ">")
                .replace("&quot;", "\"")
                .replace("&#39;", "'")
                .replace("&amp;", "&");
            assert_eq!(back, text.replace(['\0', '\u{202e}'], "\u{fffd}"));
        }
    }

    #[test]
    fn a_code_is_made_of_few_characters() {
        for (query, code) in [
            ("error=invalid_token", "invalid_token"),
            ("error=a'B-9_", "a'B-9_"),
            ("error=%27", "'"),
            ("error=", "UNKNOWN"),
            ("", "UNKNOWN"),
            ("error", "UNKNOWN"),
            ("other=1", "UNKNOWN"),
            ("error=a+b", "UNKNOWN"),
            ("error=a%20b", "UNKNOWN"),
            ("error=%3Cb%3E", "UNKNOWN"),
            ("error=a%0A", "UNKNOWN"),
            ("error=%C3%A9", "UNKNOWN"),
            ("error=%FF", "UNKNOWN"),
            ("error=first&error=second", "first"),
            ("error=&error=second", "UNKNOWN"),
            ("%65rror=x", "x"),
        ] {
            assert_eq!(Failure::of(query).code, code, "{query}");
        }
    }

    #[test]
    fn the_policy_names_the_style_and_nothing_else() {
        let hash = BASE64_STANDARD.encode(Sha256::digest(STYLE));
        assert!(POLICY.starts_with(&format!("default-src 'none'; style-src 'sha256-{hash}';")));
        let page = Failure { code: String::new(), description: None }.page();
        assert_eq!(page.matches(STYLE).count(), 1);
        assert!(!page.contains("script") && !page.contains("http") && !page.contains("style="));
    }
}
