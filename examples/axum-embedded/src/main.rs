//! An application with a page of its own and Narthex inside: one process, one port, one SQLite file.
//!
//! `BETTER_AUTH_SECRET=$(openssl rand -base64 32) cargo run --package axum-embedded`

use axum::{
    Router,
    extract::State,
    http::{HeaderMap, StatusCode},
    routing::get,
};
use narthex::{Auth, Config, Store};
use std::{error::Error, net::SocketAddr};
use tokio::net::TcpListener;

#[tokio::main]
#[expect(clippy::disallowed_methods, reason = "an application reads its own environment")]
#[expect(clippy::print_stdout, reason = "what the person who starts it wants to know")]
async fn main() -> Result<(), Box<dyn Error>> {
    let secret =
        std::env::var("BETTER_AUTH_SECRET").map_err(|error| format!("BETTER_AUTH_SECRET: {error}"))?;
    let config = Config { secret: Some(secret.into()), ..Config::default() };
    let auth = Auth::builder(config).build(Store::open("sqlite://axum-embedded.db").await?).await?;

    let app = Router::new().route("/", get(home)).with_state(auth.clone()).merge(auth.router());
    let listener = TcpListener::bind("127.0.0.1:3001").await?;
    println!("http://localhost:3001");
    axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await?;
    Ok(())
}

/// Says who is signed in, as any page of an application would ask.
async fn home(State(auth): State<Auth>, headers: HeaderMap) -> Result<String, StatusCode> {
    let signed_in = auth.session(&headers).await.map_err(|error| error.status())?;
    let name = signed_in.map_or_else(|| "Nobody".to_owned(), |signed_in| signed_in.user.name);
    Ok(format!("{name} is signed in.\n"))
}
