//! Refresh tokens: each holds once, and gives the next one of the same session.
//!
//! All tokens of a session begin alike, with bytes of chance that nobody else can know; the rest is each one's own. The
//! database has the hash of that beginning, of the token that holds now and of the one before it: one row for a session,
//! however often it is refreshed, and no token can be read from it.
//!
//! Whoever comes with the beginning of a session and a token that holds no more has had a token of it: either they stole
//! an old one, or somebody who stole one has used it before them. Nobody can tell which, so the session ends. The one
//! before the last is excused for half a minute, because its answer may have been lost; that answer can be given again,
//! because each token follows from the one before it and our secret.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::Mac as _;
use narthex::{
    crypto::{constant_time_eq, hmac_sha256},
    model,
    prelude::*,
};
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// Why a session was ended: a token of it was used again.
pub const REFRESH_TOKEN_REUSED: &str = "refresh-token-reused";

/// How long after its use a token is answered the same again.
const GRACE: Duration = Duration::from_secs(30);
/// What the key is for from which a token's successor follows.
const PURPOSE: &str = "narthex-refresh-token";
/// Bytes that all tokens of a session have in common.
const FAMILY: usize = 16;
/// Bytes of its own.
const OWN: usize = 32;
/// What so many bytes are in base64.
const LENGTH: usize = (FAMILY + OWN) / 3 * 4;

narthex::model! {
    /// The refresh tokens of a session.
    pub struct RefreshTokens in "narthexRefreshToken" {
        /// The hash of what they have in common.
        [hidden] FAMILY_HASH family_hash: String = text("familyHash").unique();
        /// The hash of the one that holds.
        [hidden] TOKEN_HASH token_hash: String = text("tokenHash");
        /// The hash of the one before it.
        [hidden] PREVIOUS_HASH previous_hash: Option<String> = text("previousHash").optional();
        /// When that was used.
        USED_AT used_at: Option<Time> = time("usedAt").optional();
        /// When the session began.
        CREATED_AT created_at: Time = time("createdAt");
        /// Whose tokens they are; they go with it.
        SESSION_ID session_id: String = text("sessionId").references("session").unique();
    }
}

/// A refresh token.
pub(super) struct RefreshToken {
    family: [u8; FAMILY],
    own: [u8; OWN],
}

/// What came of using a token.
enum Outcome {
    /// It held, and does no longer.
    Used,
    /// It held until a moment ago; this is the hash of the one that does now.
    Again(String),
    /// It never held, or the session is gone.
    Refused,
}

impl RefreshToken {
    pub(super) fn draw(cx: &Ctx) -> Self {
        Self { family: cx.random(), own: cx.random() }
    }

    /// A token as a client has it; nothing when it is none.
    pub(super) fn read(text: &str) -> Option<Self> {
        let bytes = (text.len() == LENGTH).then(|| URL_SAFE_NO_PAD.decode(text).ok())??;
        let (family, own) = bytes.split_first_chunk()?;
        Some(Self { family: *family, own: own.try_into().ok()? })
    }

    /// As a client has it.
    pub(super) fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode([&self.family[..], &self.own[..]].concat())
    }

    fn hash(&self) -> String {
        hash(&[&self.family[..], &self.own[..]].concat())
    }

    /// The one that follows.
    fn next(&self, key: &Secret) -> Self {
        let mac = hmac_sha256(key.expose().as_bytes()).chain_update(self.family).chain_update(self.own);
        Self { family: self.family, own: mac.finalize().into_bytes().into() }
    }

    /// Makes it the first of a session.
    pub(super) async fn begin(&self, tx: &mut Tx, session: &model::Session) -> Result<()> {
        let row = RefreshTokens {
            id: tx.new_id(),
            family_hash: hash(&self.family),
            token_hash: self.hash(),
            previous_hash: None,
            used_at: None,
            created_at: session.created_at,
            session_id: session.id.clone(),
            extra: narthex::store::Record::default(),
            hidden: narthex::store::Record::default(),
        };
        tx.create(&row).await.map(drop)
    }

    async fn row(&self, cx: &Ctx) -> Result<Option<RefreshTokens>> {
        Ok(cx.store().find(RefreshTokens::FAMILY_HASH.eq(hash(&self.family))).await?)
    }

    /// Its session, whether or not it holds.
    pub(super) async fn session(&self, cx: &Ctx) -> Result<Option<SignedIn>> {
        match self.row(cx).await? {
            Some(row) => cx.session_by_id(&row.session_id).await,
            None => Ok(None),
        }
    }

    /// Its session, which is renewed when that is due, and the token after it.
    pub(super) async fn use_once(&self, cx: &mut Ctx) -> Result<Option<(SignedIn, Self)>> {
        let Some(row) = self.row(cx).await? else { return Ok(None) };
        let Some(signed_in) = cx.session_by_id(&row.session_id).await? else { return Ok(None) };
        let keys = cx.secrets().for_purpose(PURPOSE);
        let next = self.next(keys.current());
        let next = match self.replace(cx, &row, &signed_in, &next).await? {
            Outcome::Used => next,
            // The secret may have been replaced meanwhile.
            Outcome::Again(current) => {
                let mut all = keys.all().map(|key| self.next(key));
                let found = all.find(|next| constant_time_eq(next.hash().as_bytes(), current.as_bytes()));
                let Some(next) = found else { return Ok(None) };
                next
            }
            Outcome::Refused => return Ok(None),
        };
        // Where this fails the client comes again with the same token.
        Ok(cx.renew_if_due(signed_in).await?.map(|signed_in| (signed_in, next)))
    }

    /// Puts `next` in its place, in one statement that decides who is first. Who comes too late ends the session.
    async fn replace(
        &self,
        cx: &mut Ctx,
        row: &RefreshTokens,
        SignedIn { session, user }: &SignedIn,
        next: &Self,
    ) -> Result<Outcome> {
        let (now, hash) = (cx.now(), self.hash());
        let in_use = RefreshTokens::ID.eq(&row.id).and(RefreshTokens::TOKEN_HASH.eq(&hash));
        let used = RefreshTokens::TOKEN_HASH.set(next.hash());
        let used = used.and(RefreshTokens::PREVIOUS_HASH.set(&hash)).and(RefreshTokens::USED_AT.set(now));
        cx.transact(async |tx: &mut Tx| {
            if tx.change(in_use, used).await?.is_some() {
                return Ok(Outcome::Used);
            }
            let Some(row) = tx.lock(RefreshTokens::ID.eq(&row.id)).await? else {
                return Ok(Outcome::Refused);
            };
            if row.excuses(&hash, now) {
                return Ok(Outcome::Again(row.token_hash));
            }
            tx.sessions().revoke(&user.id, &session.token, Some(session), REFRESH_TOKEN_REUSED).await?;
            Ok(Outcome::Refused)
        })
        .await
    }
}

impl RefreshTokens {
    /// Whether this is the hash of a token that was used a moment ago. A clock that was wrong must not lengthen that.
    fn excuses(&self, hash: &str, now: Time) -> bool {
        let is_previous = self
            .previous_hash
            .as_ref()
            .is_some_and(|known| constant_time_eq(known.as_bytes(), hash.as_bytes()));
        is_previous && self.used_at.is_some_and(|used| used <= now + GRACE && now <= used + GRACE)
    }
}

fn hash(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(Sha256::digest(bytes))
}
