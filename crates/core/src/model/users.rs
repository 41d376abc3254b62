//! People. An address is kept, and looked for, in lower case.

use crate::{
    Result,
    env::Env,
    error::{Code, Error},
    model,
    model::new_id,
    plugin::Event,
    store::{self, Reader, StoreError, Tx},
    time::Time,
};

model! {
    /// A person who can sign in.
    pub struct User in "user" {
        /// What they are called.
        NAME name: String = text("name");
        /// Their address, in lower case.
        EMAIL email: String = text("email").unique();
        /// Whether they have shown that the address is theirs.
        EMAIL_VERIFIED email_verified: bool = bool("emailVerified").no_input();
        /// Where there is a picture of them.
        IMAGE image: Option<String> = text("image").optional();
        /// When they signed up.
        CREATED_AT created_at: Time = time("createdAt").default_now();
        /// When this record last changed.
        UPDATED_AT updated_at: Time = time("updatedAt").default_now();
    }
}

/// A person signed up.
#[derive(Debug, Clone)]
pub struct UserCreated {
    /// The new record.
    pub user: User,
}

impl Event for UserCreated {
    const NAME: &'static str = "user.created";
}

/// What a new user brings.
#[derive(Debug, Clone)]
pub struct NewUser {
    /// What they are called.
    pub name: String,
    /// Their address.
    pub email: String,
    /// Whether they have shown that the address is theirs.
    pub email_verified: bool,
    /// Where there is a picture of them.
    pub image: Option<String>,
}

impl NewUser {
    /// The record it becomes.
    pub(crate) fn into_user(self, env: &Env) -> User {
        let now = env.clock.now();
        User {
            id: new_id(env),
            name: self.name,
            email: normalize(&self.email),
            email_verified: self.email_verified,
            image: self.image,
            created_at: now,
            updated_at: now,
            extra: store::Record::default(),
            hidden: store::Record::default(),
        }
    }
}

/// The form in which addresses are kept and compared.
pub(crate) fn normalize(email: &str) -> String {
    email.to_lowercase()
}

/// The rules for users.
pub struct Users<D> {
    database: D,
}

impl<D: Reader> Users<D> {
    pub(crate) fn new(database: D) -> Self {
        Self { database }
    }

    /// The user with this address.
    pub async fn by_email(&mut self, email: &str) -> Result<Option<User>> {
        Ok(self.database.find(User::EMAIL.eq(normalize(email))).await?)
    }

    /// The user with this id.
    pub async fn by_id(&mut self, id: &str) -> Result<Option<User>> {
        Ok(self.database.find(User::ID.eq(id)).await?)
    }
}

impl Users<&mut Tx> {
    /// Adds a user; an address that is taken is refused, also when two come at once.
    pub async fn create(&mut self, user: &User) -> Result<User> {
        let created = self.database.create(user).await.map_err(refused)?;
        self.database.emit(UserCreated { user: created.clone() });
        Ok(created)
    }
}

/// The database decides which of two concurrent sign-ups came first, and what text it can hold: PostgreSQL refuses NUL.
fn refused(error: Error) -> Error {
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<StoreError>());
    match source {
        Some(StoreError::Unique { table, column }) if table == "user" && column == "email" => {
            Error::unprocessable(Code::USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL)
        }
        Some(StoreError::Other(_)) => Error::unprocessable(Code::FAILED_TO_CREATE_USER).caused_by(error),
        _ => error,
    }
}
