//! Options of upstream's that are none here: what to do instead. Whoever moves a configuration over meets them.

/// By key, in kebab-case, with all that is inside it.
const NOT_HERE: &[(&str, &str)] = &[
    ("account.account-linking.allow-different-emails", "there are no social providers yet"),
    ("account.account-linking.disable-implicit-linking", "there are no social providers yet"),
    ("account.account-linking.enabled", "there are no social providers yet"),
    ("account.account-linking.require-local-email-verified", "there are no social providers yet"),
    ("account.account-linking.trusted-providers", "there are no social providers yet"),
    ("account.account-linking.update-user-info-on-link", "there are no social providers yet"),
    ("account.encrypt-oauth-tokens", "there are no social providers yet"),
    ("account.skip-state-cookie-check", "there are no social providers yet"),
    ("account.store-account-cookie", "there are no social providers yet"),
    ("account.store-state-strategy", "there are no social providers yet"),
    ("account.update-account-on-sign-in", "there are no social providers yet"),
    ("advanced.background-tasks", "what can wait is done after the reply by itself"),
    ("advanced.database.default-find-many-limit", "lists are whole; leave it out"),
    ("advanced.database.joins", "joins are used wherever they help; leave it out"),
    ("advanced.database.validate-schema", "database.migrate = \"check\" does this"),
    (
        "advanced.trusted-proxy-headers",
        "list the proxies in advanced.trusted-proxies; the scheme is base-url's",
    ),
    ("app-name", "no message names the application yet; leave it out"),
    ("base-url.allowed-hosts", "one server has one base-url"),
    ("database-hooks", "there are no hooks in the configuration yet; a Rust application has `Setup`"),
    ("email-and-password.password", "schemes are chosen with password.hash"),
    ("email-and-password.reset-password-token-expires-in", "resetting a password is not there yet"),
    ("email-and-password.revoke-sessions-on-password-reset", "resetting a password is not there yet"),
    ("email-and-password.send-reset-password", "resetting a password is not there yet"),
    ("email-verification", "verifying addresses is not there yet"),
    ("experimental", "leave it out"),
    ("hooks", "there are no hooks in the configuration yet; a Rust application has `Setup`"),
    ("logger", "see log.level, log.format and log.file"),
    ("on-api-error.customize-default-error-page", "name a page of your own in on-api-error.error-url"),
    ("on-api-error.on-error", "failures are in the log"),
    ("on-api-error.throw", "there is nobody to throw to; leave it out"),
    ("plugins.admin", "this plugin is not there yet"),
    ("plugins.anonymous", "this plugin is not there yet"),
    ("plugins.api-key", "this plugin is not there yet"),
    ("plugins.captcha", "this plugin is not there yet"),
    ("plugins.device-authorization", "this plugin is not there yet"),
    ("plugins.email-otp", "this plugin is not there yet"),
    ("plugins.generic-oauth", "this plugin is not there yet"),
    ("plugins.haveibeenpwned", "passwords that are known are refused by password.blocklist"),
    ("plugins.jwt.adapter", "keys are in the database"),
    ("plugins.jwt.jwt.sign", "there is no signing elsewhere; keys are in the database, encrypted"),
    ("plugins.last-login-method", "this plugin is not there yet"),
    ("plugins.magic-link", "this plugin is not there yet"),
    ("plugins.multi-session", "this plugin is not there yet"),
    ("plugins.one-tap", "this plugin is not there yet"),
    ("plugins.one-time-token", "this plugin is not there yet"),
    ("plugins.organization", "this plugin is not there yet"),
    ("plugins.passkey", "this plugin is not there yet"),
    ("plugins.phone-number", "this plugin is not there yet"),
    ("plugins.scim", "this plugin is not there yet"),
    ("plugins.siwe", "this plugin is not there yet"),
    ("plugins.sso", "this plugin is not there yet"),
    ("plugins.two-factor", "this plugin is not there yet"),
    ("plugins.username", "this plugin is not there yet"),
    ("rate-limit.custom-storage", "see rate-limit.storage"),
    ("social-providers", "there are no social providers yet"),
    ("telemetry", "nothing is ever reported; leave it out"),
    ("user.change-email", "changing an address is not there yet"),
    ("user.delete-user", "deleting a user is not there yet"),
    (
        "user.validate-user-info",
        "there are no hooks in the configuration yet; a Rust application has `Setup`",
    ),
];

/// What to do instead of an option of upstream's that is none here.
pub(super) fn instead_of(path: &str) -> Option<&'static str> {
    let is_inside = |section: &str| {
        path.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    };
    NOT_HERE.iter().find(|(section, _)| is_inside(section)).map(|(_, instead)| *instead)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_keys_are_compared() {
        assert_eq!(instead_of("telemetry.enabled"), Some("nothing is ever reported; leave it out"));
        assert_eq!(instead_of("on-api-error.throw"), Some("there is nobody to throw to; leave it out"));
        assert_eq!(instead_of("hooks-of-mine"), None);
        assert_eq!(instead_of("session.expires-in"), None);
    }
}
