//! Writes people for `narthex import`, all with one password, whose hash they share: `people FILE NUMBER`.

use std::{env, error::Error, fmt::Write as _, fs};

const PASSWORD: &str = "correct horse battery staple";
const SALT: [u8; 16] = *b"sixteen bytes of";
/// The default of `password.bcrypt-cost`: with another one the server would hash anew at a sign-in.
const COST: u32 = 10;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(file), Some(number), None) = (arguments.next(), arguments.next(), arguments.next()) else {
        return Err("usage: people FILE NUMBER".into());
    };
    let hash = bcrypt::hash_with_salt(PASSWORD, COST, SALT).map_err(|error| error.to_string())?;
    let mut people = String::from("email,name,email_verified,password_hash\n");
    for number in 0..number.parse::<u32>()? {
        writeln!(people, "user{number}@example.com,User {number},true,{hash}")?;
    }
    fs::write(file, people)?;
    Ok(())
}
