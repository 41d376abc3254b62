//! Which email addresses clients may send.
//!
//! The accepted language is exactly that of zod's default `email()` pattern: a dot-separated local part of letters,
//! digits and `_ ' + -` that does not end in an apostrophe, and at least two domain labels, the last of two or more
//! letters. All of it is ASCII.

/// The pattern as upstream publishes it in its JSON schemas.
pub(super) const PATTERN: &str =
    r"^(?:[A-Za-z0-9_'+\-]+\.)*[A-Za-z0-9_'+\-]*[A-Za-z0-9_+-]@(?:[A-Za-z0-9][A-Za-z0-9\-]*\.)+[A-Za-z]{2,}$";

/// Whether upstream takes this text for an email address.
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    is_local_part(local) && is_domain(domain)
}

fn is_local_part(local: &str) -> bool {
    !local.ends_with('\'') && local.split('.').all(|atom| !atom.is_empty() && atom.bytes().all(is_atom_byte))
}

fn is_atom_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'\'' | b'+' | b'-')
}

fn is_domain(domain: &str) -> bool {
    let Some((labels, top)) = domain.rsplit_once('.') else { return false };
    top.len() >= 2 && top.bytes().all(|byte| byte.is_ascii_alphabetic()) && labels.split('.').all(is_label)
}

fn is_label(label: &str) -> bool {
    label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        && label.starts_with(|first: char| first.is_ascii_alphanumeric())
}
