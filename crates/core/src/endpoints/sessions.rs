//! Where somebody is signed in, and ending that: one session, all of them, all others.
//!
//! A token of somebody else's session is answered as one that does not exist: nothing is ended, and nobody learns
//! whether there is such a session.
//!
//! Upstream: `api/routes/session.ts`.

use crate::{model, prelude::*};

pub(crate) struct UserSessions;

impl Plugin for UserSessions {
    const ID: &'static str = "sessions";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup
            .get("/list-sessions", Self::list)
            .operation("listUserSessions")
            .summary("Lists where somebody is signed in.");
        setup.post("/revoke-session", Self::revoke).summary("Ends one of one's own sessions.");
        setup.post("/revoke-sessions", Self::revoke_all).summary("Ends all of one's own sessions.");
        setup
            .post("/revoke-other-sessions", Self::revoke_others)
            .summary("Ends all of one's own sessions but the one that asks.");
    }
}

input! {
    /// Which session to end.
    pub(crate) struct RevokeSessionBody {
        /// The token of the session.
        token: Text,
    }
}

output! {
    /// It is done.
    pub(crate) struct Revoked {
        /// Always true.
        status: bool,
    }
}

const REVOKED: Json<Revoked> = Json(Revoked { status: true });

impl UserSessions {
    /// `GET /list-sessions`
    async fn list(
        &self,
        cx: &mut Ctx,
        FreshSession(signed_in): FreshSession,
    ) -> Result<Json<Vec<model::Session>>> {
        let now = cx.now();
        let limit = cx.resolved().max_lifetime;
        let mut sessions = cx.sessions().active(&signed_in.user.id, now).await?;
        sessions.retain_mut(|session| {
            session.expires_at = limit.end(session.created_at, session.expires_at);
            session.expires_at > now
        });
        Ok(Json(sessions))
    }

    /// `POST /revoke-session`
    async fn revoke(
        &self,
        cx: &mut Ctx,
        Body(body): Body<RevokeSessionBody>,
        SensitiveSession(signed_in): SensitiveSession,
    ) -> Result<Json<Revoked>> {
        let user = &signed_in.user.id;
        let elsewhere = cx.session_elsewhere(&body.token).await?;
        cx.transact(async |tx: &mut Tx| {
            tx.sessions().revoke(user, &body.token, elsewhere.as_ref(), Happening::ONE_SESSION).await
        })
        .await?;
        if body.token == signed_in.session.token {
            cx.forget_session();
        }
        Ok(REVOKED)
    }

    /// `POST /revoke-sessions`
    async fn revoke_all(
        &self,
        cx: &mut Ctx,
        SensitiveSession(signed_in): SensitiveSession,
    ) -> Result<Json<Revoked>> {
        let user = &signed_in.user.id;
        cx.transact(async |tx: &mut Tx| tx.sessions().revoke_all(user, Happening::ALL_SESSIONS).await)
            .await?;
        cx.forget_session();
        Ok(REVOKED)
    }

    /// `POST /revoke-other-sessions`
    async fn revoke_others(
        &self,
        cx: &mut Ctx,
        SensitiveSession(SignedIn { session, user }): SensitiveSession,
    ) -> Result<Json<Revoked>> {
        let elsewhere = cx.sessions_elsewhere(&user.id).await?;
        cx.transact(async |tx: &mut Tx| {
            tx.sessions().revoke_others(&user.id, &session.token, &elsewhere).await
        })
        .await?;
        Ok(REVOKED)
    }
}
