//! People. An address is kept, and looked for, in lower case.

use crate::{
    Result,
    error::{Code, Error, chain},
    happening::Happening,
    model,
    model::{Account, Session, new_id},
    plugin::Event,
    secondary::Told,
    store::{self, Order, Patch, Reader, Select, Store, StoreError, Tx},
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
        EMAIL_VERIFIED email_verified: bool = bool("emailVerified").no_input().default(false);
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
    pub(crate) fn into_user(self, store: &Store) -> User {
        let now = store.now();
        User {
            id: store.new_id(),
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

impl User {
    /// What somebody is told who signs up with an address that is taken, where nobody is to learn that: the record
    /// that would have been made.
    pub(crate) async fn imagined(mut self, store: &Store, fields: store::Record) -> Result<Self> {
        (self.extra, self.hidden) = Default::default();
        self.fill(store.resolved::<Self>()?, fields, store.now());
        if self.id.is_empty() {
            self.id = next_id(store).await?;
        }
        Ok(self)
    }
}

/// The id that a database which counts would give next.
async fn next_id(store: &Store) -> Result<String> {
    let newest = Select::matching(store::Filter::<User>::everything());
    let newest = store.list(newest.order_by(User::ID, Order::Descending).limit(1)).await?.pop();
    let next = newest.map_or(Some(1), |newest| newest.id.parse::<i64>().ok()?.checked_add(1));
    Ok(next.map_or_else(|| new_id(store.env()), |next| next.to_string()))
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
        self.database.happened(Happening::new(Happening::USER_CREATED).of(&created.id));
        self.database.emit(UserCreated { user: created.clone() });
        Ok(created)
    }

    /// Takes a user away with everything that hangs on them; `None` when there is none. What plugins have of them goes
    /// as their columns' references say.
    pub async fn delete(&mut self, id: &str, why: &'static str) -> Result<Option<User>> {
        self.database.sessions().revoke_all(id, why).await?;
        if !self.database.store().resolved::<Session>()?.is_elsewhere() {
            // Some of them may be kept as something that was.
            self.database.delete(Session::USER_ID.eq(id)).await?;
        }
        self.database.delete(Account::USER_ID.eq(id)).await?;
        let deleted = self.database.take(User::ID.eq(id)).await?;
        if deleted.is_some() {
            self.database.happened(Happening::new(Happening::USER_DELETED).of(id).because(why));
        }
        Ok(deleted)
    }

    /// Changes a user; `None` when there is none any more.
    pub async fn update(&mut self, id: &str, patch: Patch<User>) -> Result<Option<User>> {
        let now = self.database.env().clock.now();
        let changed = self.database.change(User::ID.eq(id), patch.and(User::UPDATED_AT.set(now))).await;
        let changed = changed.map_err(|error| unwritable(error, Code::FAILED_TO_UPDATE_USER))?;
        if changed.is_some() {
            // As often as somebody likes: a row for each would let them fill the disk.
            self.database.happened(Happening::new(Happening::USER_UPDATED).of(id).routine());
            if self.database.secondary().is_some() {
                self.database.tell(Told::UserChanged { user_id: id.to_owned() });
            }
        }
        Ok(changed)
    }
}

/// What a client wants written and the database refuses: a value that another row has, text that it cannot hold.
pub(super) fn unwritable(error: Error, code: Code) -> Error {
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<StoreError>());
    match source {
        Some(StoreError::Other(_) | StoreError::Unique { .. }) => {
            // It may be the operator's to mend: a column that only they know and that must have a value.
            tracing::warn!(error = chain(&error), "the database refused a record");
            Error::unprocessable(code).caused_by(error)
        }
        _ => error,
    }
}

/// The database decides which of two concurrent sign-ups came first, and what text it can hold: PostgreSQL refuses NUL.
fn refused(error: Error) -> Error {
    let source = std::error::Error::source(&error).and_then(|source| source.downcast_ref::<StoreError>());
    match source {
        Some(StoreError::Unique { table, column }) if table == "user" && column == "email" => {
            Error::unprocessable(Code::USER_ALREADY_EXISTS_USE_ANOTHER_EMAIL)
        }
        _ => unwritable(error, Code::FAILED_TO_CREATE_USER),
    }
}
