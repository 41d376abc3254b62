//! Ways in: a user has an account for each, and the one with a password is called `credential`.

use crate::{
    Result,
    error::{Code, Error},
    happening::Happening,
    model,
    model::User,
    store::{self, Filter, Reader, Tx},
    time::Time,
};

model! {
    /// One way for a user to sign in.
    pub struct Account in "account" {
        /// Who they are over there; for a password, the user's id.
        ACCOUNT_ID account_id: String = text("accountId");
        /// Where that is.
        PROVIDER_ID provider_id: String = text("providerId");
        /// Whose it is.
        USER_ID user_id: String = text("userId").references("user").index();
        /// What opens the provider's interface.
        [hidden] ACCESS_TOKEN access_token: Option<String> = text("accessToken").optional();
        /// What renews it.
        [hidden] REFRESH_TOKEN refresh_token: Option<String> = text("refreshToken").optional();
        /// What the provider says of them.
        [hidden] ID_TOKEN id_token: Option<String> = text("idToken").optional();
        /// When the access token ends.
        [hidden] ACCESS_TOKEN_EXPIRES_AT access_token_expires_at: Option<Time> = time("accessTokenExpiresAt").optional();
        /// When the refresh token ends.
        [hidden] REFRESH_TOKEN_EXPIRES_AT refresh_token_expires_at: Option<Time> = time("refreshTokenExpiresAt").optional();
        /// What the provider lets us do.
        SCOPE scope: Option<String> = text("scope").optional();
        /// The hash of the password.
        [hidden] PASSWORD password: Option<String> = text("password").optional();
        /// When it was linked.
        CREATED_AT created_at: Time = time("createdAt").default_now();
        /// When this record last changed.
        UPDATED_AT updated_at: Time = time("updatedAt");
    }
}

impl Account {
    /// This account, as long as its password is the one that was read.
    pub(crate) fn unchanged(&self) -> Filter<Self> {
        Self::ID.eq(&self.id).and(Self::PASSWORD.eq(self.password.clone()))
    }
}

/// The provider of accounts that sign in with a password.
const CREDENTIAL: &str = "credential";

/// The rules for accounts.
pub struct Accounts<D> {
    database: D,
}

impl<D: Reader> Accounts<D> {
    pub(crate) fn new(database: D) -> Self {
        Self { database }
    }

    /// The ways in which a user can sign in.
    pub async fn of(&mut self, user_id: &str) -> Result<Vec<Account>> {
        Ok(self.database.list(Account::USER_ID.eq(user_id).into()).await?)
    }

    /// The account that holds a user's password.
    ///
    /// Asked also for an id that no user has, so that an unknown address costs the same statements.
    pub async fn credential(&mut self, user_id: &str) -> Result<Option<Account>> {
        let accounts = self.of(user_id).await?;
        Ok(accounts
            .into_iter()
            .find(|account| account.provider_id == CREDENTIAL && account.account_id == user_id))
    }
}

impl Accounts<&mut Tx> {
    /// Gives a user a password.
    pub async fn create_credential(&mut self, user_id: &str, password: String) -> Result<Account> {
        let now = self.database.env().clock.now();
        let account = Account {
            id: self.database.new_id(),
            account_id: user_id.to_owned(),
            provider_id: CREDENTIAL.to_owned(),
            user_id: user_id.to_owned(),
            access_token: None,
            refresh_token: None,
            id_token: None,
            access_token_expires_at: None,
            refresh_token_expires_at: None,
            scope: None,
            password: Some(password),
            created_at: now,
            updated_at: now,
            extra: store::Record::default(),
            hidden: store::Record::default(),
        };
        self.database.create(&account).await
    }

    /// Replaces the hash of a password; `None` when somebody changed it meanwhile.
    pub async fn rehash(&mut self, account: &Account, password: String) -> Result<Option<Account>> {
        let now = self.database.env().clock.now();
        let replaced = Account::PASSWORD.set(password).and(Account::UPDATED_AT.set(now));
        self.database.change(account.unchanged(), replaced).await
    }

    /// Takes a way to sign in from a user, but the last one only if `even_the_last`.
    pub async fn unlink(&mut self, user_id: &str, id: &str, even_the_last: bool) -> Result<()> {
        // Of two who unlink at once, the second counts what the first has left.
        self.database.lock(User::ID.eq(user_id)).await?;
        let accounts = self.of(user_id).await?;
        if accounts.len() == 1 && !even_the_last {
            return Err(Error::bad_request(Code::FAILED_TO_UNLINK_LAST_ACCOUNT));
        }
        let Some(account) = accounts.iter().find(|account| account.id == id) else {
            return Err(Error::bad_request(Code::ACCOUNT_NOT_FOUND));
        };
        self.database.delete(Account::ID.eq(id)).await?;
        let unlinked = Happening::new(Happening::ACCOUNT_UNLINKED).of(user_id);
        self.database.happened(unlinked.with("provider", &*account.provider_id));
        Ok(())
    }
}
