//! Folders and files that the server may not write to.

use super::{
    super::{binary::refused, database::Database, server::command},
    PLAIN, new_user, serve, signed_in, unprivileged,
};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

const SECRET: &str = "7f3c9b1e5a2d48f6b0c4e8a19d63725f";

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn a_sqlite_file_that_cannot_be_written_is_refused_with_what_to_set_and_stays() {
    let database = Database::sqlite();
    let server = serve(&database, PLAIN);
    let cookie = new_user(&server, "ada@example.com");
    assert!(server.stop().success());
    let start = || refused(&mut unprivileged(&command(database.folder())), 1);
    let remedy = "set database.url, or data-dir, so that this user may write to the file and to its folder";

    set_mode(&database.file(), 0o400);
    let line = start();
    assert!(line.contains("narthex.db: Permission denied") && line.contains(remedy), "{line}");
    set_mode(&database.file(), 0o600);

    // Its log, which a server that has stopped may leave empty, would be beside it.
    for beside in ["narthex.db-wal", "narthex.db-shm"] {
        let _ = fs::remove_file(database.folder().join(beside));
    }
    set_mode(database.folder(), 0o500);
    let line = start();
    set_mode(database.folder(), 0o700);
    assert!(line.contains("readonly") && line.contains(remedy), "{line}");

    let server = serve(&database, PLAIN);
    assert_eq!(signed_in(&server, &cookie).as_deref(), Some("ada@example.com"));
}

#[test]
fn a_data_folder_that_cannot_be_written_is_refused_with_what_to_set() {
    let database = Database::sqlite();
    let locked = database.folder().join("locked");
    fs::create_dir(&locked).unwrap();
    set_mode(&locked, 0o500);
    fs::write(database.folder().join("file"), "").unwrap();
    for (folder, secret, told) in [
        (
            "locked",
            None,
            "locked/narthex.secret: Permission denied (os error 13); set BETTER_AUTH_SECRET, or data-dir",
        ),
        ("locked", Some(SECRET), "set database.url, or data-dir, so that this user may write"),
        (
            "locked/inner",
            None,
            "data-dir = \"locked/inner\": cannot be made: Permission denied (os error 13); set data-dir to",
        ),
        ("file", None, "data-dir = \"file\": cannot be made: File exists (os error 17); set data-dir to"),
    ] {
        let configuration =
            format!("{PLAIN}\n").replacen("trusted", &format!("data-dir = {folder:?}\ntrusted"), 1);
        fs::write(database.folder().join("narthex.toml"), configuration).unwrap();
        let mut command = command(database.folder());
        command.envs(secret.map(|secret| ("BETTER_AUTH_SECRET", secret)));
        let line = refused(&mut unprivileged(&command), 1);
        assert!(line.contains(told), "{folder}: {line}");
    }
    assert_eq!(fs::read_dir(&locked).unwrap().count(), 0);
}
