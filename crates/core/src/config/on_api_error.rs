use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

/// `[on-api-error]`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema, Serialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct OnApiError {
    /// The application's own page for errors that end in a browser: a URL, or a path that begins with `/`.
    pub error_url: Option<String>,
}

impl OnApiError {
    pub(super) fn check(&self, problems: &mut Vec<String>) {
        let Some(target) = &self.error_url else { return };
        let is_path = target.starts_with('/') && !target.starts_with("//") && !target.starts_with("/\\");
        let is_url = Url::parse(target).is_ok_and(|url| {
            !url.cannot_be_a_base() && !matches!(url.scheme(), "javascript" | "data" | "vbscript")
        });
        if !is_path && !is_url {
            problems.push(format!(
                "on-api-error.error-url = {target:?}: must be a URL, or a path that begins with one /"
            ));
        }
    }
}
