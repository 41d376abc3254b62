//! `narthex import`.

use super::{
    super::database::Database, Answer, FIELDS, HASH, PASSWORD, PHRASE, PLAIN, create, installed, run, serve,
    signs_in, users,
};
use serde_json::json;
use std::fs;

/// A hash of [`PHRASE`] of each family, by other makers.
const HASHES: [(&str, &str); 12] = [
    ("bcrypt-2a", "$2a$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG"),
    ("bcrypt-2b", HASH),
    ("bcrypt-2y", "$2y$04$abcdefghijklmnopqrstuu7EJV7kdjBBQxyb0HjTh9KS7.Lah/6CG"),
    (
        "better-auth",
        "eb167fac46db18813cb10631e03df4ea:2f4d05ff8e31e4ed3826396a87c871702b6ae4064d7f9406aee74f2ec79436ffdc2880534e66c5869185d5e141b2fa2d44ccc485615c6709b3f2cb418158cb0c",
    ),
    (
        "argon2id",
        "$argon2id$v=19$m=1024,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$1G06hvLNVYYOip8xNneh7BSEw9mz3/2HyKr1gHMPrPg",
    ),
    (
        "argon2i",
        "$argon2i$v=19$m=1024,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$npc+DxKV2aFAYE2CysNW/FRsvGLFX9ABqsyRqwU9Z90",
    ),
    (
        "argon2d",
        "$argon2d$v=19$m=1024,t=2,p=2$MDEyMzQ1Njc4OWFiY2RlZg$ffyeBWZJygnQrD1JhgCFPhohv0eRNyS87sj8RyPtPkk",
    ),
    ("scrypt", "$scrypt$ln=10,r=8,p=2$MDEyMzQ1Njc4OWFiY2RlZg$KhW5KLACpfR1HRqSPdg8ODHC9nzhpv0EHEqfwm5GJX4"),
    (
        "pbkdf2-sha256",
        "$pbkdf2-sha256$1000$MDEyMzQ1Njc4OWFiY2RlZg$yqSq2SygY1sB4EcH9f2FG0JTMES.wqLsOT5YmiRBplI",
    ),
    (
        "pbkdf2-phc",
        "$pbkdf2-sha256$i=1000,l=32$MDEyMzQ1Njc4OWFiY2RlZg$yqSq2SygY1sB4EcH9f2FG0JTMES+wqLsOT5YmiRBplI",
    ),
    ("django", "pbkdf2_sha256$1000$seasalt$3xmXbyk2QpiyNcnoBbzRPwEBsYPTbDlRdtmLyBvQltA="),
    ("none", ""),
];

fn import(database: &Database, name: &str, content: impl AsRef<[u8]>, more: &[&str]) -> Answer {
    fs::write(database.folder().join(name), content).unwrap();
    let mut arguments = vec!["import", name];
    arguments.extend(more);
    run(database, &arguments, "")
}

#[test]
fn people_sign_in_with_the_passwords_that_other_systems_have_hashed() {
    let database = installed("import_hashes", PLAIN);
    let server = serve(&database);
    let rows = HASHES.map(|(name, hash)| format!("{name}@example.com,\"{name}\",\"{hash}\"\r\n"));
    let csv = format!("email,name,password_hash\r\n{}", rows.concat());
    assert_eq!(import(&database, "users.csv", &csv, &[]).result(), "imported 12 users and 11 passwords\n");
    for (name, hash) in HASHES {
        let expected = if hash.is_empty() { 401 } else { 200 };
        assert_eq!(signs_in(&server, &format!("{name}@example.com"), PHRASE), expected, "{name}");
        assert_eq!(signs_in(&server, &format!("{name}@example.com"), "another phrase"), 401, "{name}");
    }
}

#[test]
fn every_field_arrives_from_csv_and_from_json_lines() {
    let database = installed("import_fields", &format!("{PLAIN}{FIELDS}"));
    // As a spreadsheet writes it: with a byte order mark, and an end of line within a field.
    let csv = "\u{feff}id,email,email_verified,name,image,created_at,level,rank,password_hash\n".to_owned()
        + "user-1,Ada@Example.com,TRUE,\"Ada,\nCountess\",https://example.com/a.png,2020-02-03T04:05:06Z,expert,7,\n";
    import(&database, "users.csv", csv, &[]).result();
    let jsonl = json!({
        "id": "user-2", "email": "bob@example.com", "emailVerified": false, "name": "Bob\nB", "createdAt": "2020-02-03",
        "updatedAt": "2021-02-03T04:05:06.789Z", "level": "beginner", "rank": null, "passwordHash": HASH,
    });
    let auth0 = json!({
        "_id": { "$oid": "60425dc43519d90068f82973" }, "email": "eve@example.com", "email_verified": true,
        "passwordHash": HASH, "password_set_date": { "$date": "2020-02-03T04:05:06.789Z" }, "tenant": "t",
        "connection": "c", "_tmp_is_unique": true, "level": "expert",
    });
    import(&database, "users.jsonl", format!("{jsonl}\r\n\n{auth0}"), &["--ignore", "password_set_date"])
        .result();
    let show = |user: &str| run(&database, &["user", "show", user, "--json"], "").json()["user"].clone();
    assert_eq!(
        show("user-1"),
        json!({
            "name": "Ada,\nCountess", "email": "ada@example.com", "emailVerified": true, "image": "https://example.com/a.png",
            "createdAt": "2020-02-03T04:05:06.000Z", "updatedAt": "2020-02-03T04:05:06.000Z", "level": "expert", "rank": 7,
            "id": "user-1",
        })
    );
    assert_eq!(
        show("user-2"),
        json!({
            "name": "Bob\nB", "email": "bob@example.com", "emailVerified": false, "image": null,
            "createdAt": "2020-02-03T00:00:00.000Z", "updatedAt": "2021-02-03T04:05:06.789Z", "level": "beginner",
            "rank": null, "id": "user-2",
        })
    );
    assert_eq!(
        (&show("eve@example.com")["name"], &show("eve@example.com")["emailVerified"]),
        (&"eve".into(), &true.into())
    );
}

#[test]
fn every_mistake_is_told_with_its_line_and_nothing_is_written() {
    let database = installed("import_mistakes", &format!("{PLAIN}{FIELDS}"));
    let lines = [
        r#"{"email":"good@example.com","level":"expert"}"#,
        r#"{"email":"no address","level":"expert"}"#,
        r#"{"level":"expert","emailVerified":"perhaps","createdAt":1234567890}"#,
        r#"{"email":"a@example.com","level":"master"}"#,
        r#"{"email":"b@example.com","level":"expert","passwordHash":"$1$salt$secretsecretsecret"}"#,
        r#"{"email":"c@example.com","level":"expert","passwordHash":"$2b$04$tooshort"}"#,
        r#"{"email":"GOOD@example.com","level":"expert"}"#,
        r#"{"email":"d@example.com","level":"expert","colour":"red"}"#,
        r#"{"email":"e@example.com","level":"expert""#,
        r#"{"email":"f@example.com","level":"expert","name":"a\u0000b"}"#,
        r#"{"email":"g@example.com","level":"expert","emailVerified":true,"email_verified":true}"#,
        r#"["h@example.com"]"#,
    ];
    let said = import(&database, "users.jsonl", lines.join("\n"), &[]).failure(1);
    let expected = [
        "users.jsonl: nothing was written",
        "  line 2: email: is no address that Better Auth's clients take",
        "  line 3: email: is missing",
        "  line 3: emailVerified: must be true or false",
        "  line 3: createdAt: must be a time such as 2026-11-21T09:30:00Z",
        "  line 4: [field.level] Invalid option: expected one of \"beginner\"|\"expert\"",
        "  line 5: passwordHash: is in no known format; known are bcrypt",
        "  line 6: passwordHash: begins like a hash of a known format and does not go on so",
        "  line 7: email: is in the file twice",
        "  line 8: colour: is no field of a user (id, email, name, emailVerified, image, createdAt, updatedAt, passwordHash, level, rank); `--ignore colour` leaves it out",
        "  line 9: is no object of JSON",
        "  line 10: name: has a NUL in it",
        "  line 11: emailVerified and email_verified: are the same",
        "  line 12: is no object of JSON",
    ];
    let told: Vec<&str> = said.strip_prefix("narthex: ").unwrap().lines().collect();
    assert_eq!(told.len(), expected.len(), "{said}");
    for (told, expected) in told.iter().zip(expected) {
        assert!(told.starts_with(expected), "{told}\n{expected}");
    }
    assert!(!said.contains("secretsecret") && !said.contains("tooshort"), "{said}");
    assert_eq!(users(&database), 0);

    let answer = import(&database, "users.jsonl", lines.join("\n"), &["--skip-invalid"]);
    assert!(
        answer.stderr.contains("left out what is wrong") && answer.stderr.contains("line 12"),
        "{}",
        answer.stderr
    );
    assert_eq!(answer.result(), "imported 1 users and 0 passwords\n");
    assert_eq!(users(&database), 1);
}

#[test]
fn the_first_fifty_mistakes_are_told_and_how_many_more() {
    let database = installed("import_many", PLAIN);
    let csv = format!("email\n{}", "nobody\n".repeat(130));
    let said = import(&database, "users.csv", csv, &[]).failure(1);
    assert_eq!(said.lines().count(), 52, "{said}");
    assert!(said.contains("line 51:") && !said.contains("line 52:"), "{said}");
    assert!(said.ends_with("  and 80 more mistakes\n"), "{said}");
}

#[test]
fn files_that_are_no_files_of_users_say_why() {
    let database = installed("import_files", PLAIN);
    let refused = |name: &str, content: &[u8], expected: &str| {
        let said = import(&database, name, content, &[]).failure(1);
        assert!(said.contains(expected), "{said}");
    };
    refused("a.csv", b"", "is empty; the first line has the names of the columns");
    refused("a.csv", b"\xff\xfee\0m\0", "is UTF-16; save it as UTF-8");
    refused("a.csv", b"email;name\na@example.com;A\n", "line 1: email;name: is no field of a user");
    refused("a.csv", b"email,email\n", "line 1: the column \"email\" is there twice");
    refused("a.csv", b"email,name\na@example.com\n", "line 2: has 1 fields and the first line names 2");
    refused(
        "a.csv",
        b"email,name\na@example.com,\"a\nb\"\nb@example.com,\xe4\n",
        "line 4: name: is not UTF-8",
    );
    refused("a.csv", b"email,name\na@example.com,a\0b\n", "line 2: name: has a NUL in it");
    refused("a.jsonl", b"{\"email\":\"a@example.com\",\"name\":\"\xe4\"}\n", "line 1: is not UTF-8");
    // A quote that nobody closes does not fill the memory.
    let mut endless = b"email,name\na@example.com,\"".to_vec();
    endless.resize(endless.len() + (9 << 20), b'x');
    refused("a.csv", &endless, "line 2: is longer than 1048576 bytes; perhaps a quote is missing");
    let mut long = b"email,name\na@example.com,".to_vec();
    long.resize(long.len() + 65_537, b'x');
    refused("a.csv", &long, "line 2: name: is longer than 65536 bytes");
    endless.retain(|byte| *byte == b'x');
    refused("a.jsonl", &endless, "line 1: is longer than 8388608 bytes; each line is one object");
    let said = import(&database, "users.txt", "", &[]).failure(2);
    assert!(said.contains("--format csv"), "{said}");
    import(&database, "users.txt", "email\na@example.com\n", &["--format", "csv"]).result();
    let said = run(&database, &["import", "missing.csv"], "").failure(1);
    assert!(said.contains("missing.csv: No such file"), "{said}");
    assert_eq!(users(&database), 1);
}

#[test]
fn who_is_there_already_is_a_mistake_or_left_alone() {
    let database = installed("import_existing", PLAIN);
    let server = serve(&database);
    create(&database, "ada@example.com");
    let csv = format!("id,email,password_hash\n,ada@example.com,{HASH}\nuser-1,bob@example.com,{HASH}\n");
    let said = import(&database, "users.csv", &csv, &[]).failure(1);
    assert!(
        said.contains("line 2: email: a user with this address is there already; --skip-existing"),
        "{said}"
    );
    assert_eq!(users(&database), 1);
    let said = import(&database, "users.csv", &csv, &["--dry-run", "--skip-existing"]).result();
    assert_eq!(said, "would import 1 users and 1 passwords; 1 were there already\n");
    assert_eq!(users(&database), 1);
    let said = import(&database, "users.csv", &csv, &["--skip-existing"]).result();
    assert_eq!(said, "imported 1 users and 1 passwords; 1 were there already\n");
    assert_eq!(signs_in(&server, "ada@example.com", PASSWORD), 200, "hers is as it was");
    assert_eq!(signs_in(&server, "bob@example.com", PHRASE), 200);
    let said = import(&database, "ids.csv", "id,email\nuser-1,carol@example.com\n", &[]).failure(1);
    assert!(said.contains("line 2: id: a user with this id is there already"), "{said}");
}

#[test]
fn an_import_that_was_cut_off_is_repeated() {
    let database = installed("import_cut", PLAIN);
    let rows: Vec<String> = (0..250).map(|number| format!("user-{number}@example.com,{HASH}\n")).collect();
    let csv = format!("email,password_hash\n{}", rows.concat());
    fs::write(database.folder().join("users.csv"), &csv).unwrap();
    // Nothing tells this row from the others until it is written.
    let failing = if database.is_postgres() {
        "create function refuse() returns trigger language plpgsql as $$ begin if new.email = 'user-220@example.com' then raise exception 'no'; end if; return new; end $$; create trigger refuse before insert on \"user\" for each row execute function refuse()"
    } else {
        "create trigger refuse before insert on \"user\" when new.email = 'user-220@example.com' begin select raise(abort, 'no'); end"
    };
    failing.split_inclusive("end $$; ").for_each(|statement| database.execute(statement));
    let said = run(&database, &["import", "users.csv"], "").failure(1);
    assert!(said.contains("line 222:") && said.contains("200 users and 200 passwords are written"), "{said}");
    assert!(said.contains("--skip-existing") && !said.contains(HASH), "{said}");
    assert_eq!(users(&database), 200, "whole transactions");
    database.execute(if database.is_postgres() {
        "drop trigger refuse on \"user\""
    } else {
        "drop trigger refuse"
    });
    let said = run(&database, &["import", "users.csv", "--skip-existing"], "").result();
    assert_eq!(said, "imported 50 users and 50 passwords; 200 were there already\n");
    assert_eq!((users(&database), database.number("select count(*) from \"account\"")), (250, 250));
}

#[test]
fn a_database_that_is_slow_gets_fewer_users_at_a_time() {
    let database = installed("import_slow", PLAIN);
    if !database.is_postgres() {
        return;
    }
    database.execute("create function dawdle() returns trigger language plpgsql as $$ begin perform pg_sleep(0.03); return new; end $$");
    database
        .execute("create trigger dawdle before insert on \"user\" for each row execute function dawdle()");
    let rows: Vec<String> = (0..60).map(|number| format!("user-{number}@example.com,{HASH}\n")).collect();
    let csv = format!("email,password_hash\n{}", rows.concat());
    assert_eq!(import(&database, "users.csv", csv, &[]).result(), "imported 60 users and 60 passwords\n");
    assert_eq!((users(&database), database.number("select count(*) from \"account\"")), (60, 60));
}

#[test]
fn ids_are_left_out_where_the_database_counts_them() {
    let database =
        installed("import_serial", &format!("{PLAIN}[advanced.database]\ngenerate-id = \"serial\"\n"));
    let said = import(&database, "users.csv", "id,email\n7,ada@example.com\n", &[]).failure(1);
    assert!(said.contains("line 2: id: the database makes the ids here; leave it out"), "{said}");
    let csv = format!("email,password_hash\nada@example.com,{HASH}\n");
    import(&database, "users.csv", csv, &[]).result();
    assert_eq!(signs_in(&serve(&database), "ada@example.com", PHRASE), 200);
}

#[test]
fn a_password_of_an_export_needs_its_user() {
    let database = installed("import_orphan", PLAIN);
    let row = |user_id: &str| {
        json!({ "table": "account", "row": { "userId": user_id, "providerId": "credential", "password": HASH } }).to_string()
    };
    let user = json!({ "table": "user", "row": { "id": "user-1", "email": "ada@example.com" } }).to_string();
    let lines = [row("user-1"), user, row("user-1"), row("user-1")].join("\n");
    let said = import(&database, "users.jsonl", lines, &[]).failure(1);
    assert!(said.contains("line 1: userId: no line before this one is of the user with this id; users come first, in the same file"), "{said}");
    assert!(said.contains("line 4: userId: has a password in the file already"), "{said}");
    assert_eq!(users(&database), 0);
}

/// Lines of an export: a user, and the password of a user.
fn exported(id: &str, email: &str) -> String {
    json!({ "table": "user", "row": { "id": id, "email": email } }).to_string()
}

fn exported_password(id: &str) -> String {
    let row = json!({ "userId": id, "providerId": "credential", "password": HASH });
    json!({ "table": "account", "row": row }).to_string()
}

#[test]
fn a_password_is_given_to_nobody_but_the_user_of_the_same_id_and_address() {
    let database = installed("import_whose", PLAIN);
    let here = [exported("1", "ada@example.com"), exported("2", "bob@example.com")].join("\n");
    import(&database, "here.jsonl", here, &[]).result();
    let passwords = || database.number("select count(*) from \"account\"");

    let alone = [exported_password("1"), exported_password("2")].join("\n");
    let said = import(&database, "alone.jsonl", alone, &["--skip-existing"]).failure(1);
    assert!(
        said.contains("line 2: userId: no line before this one") && said.contains("users come first"),
        "{said}"
    );

    // Elsewhere the first id is Eve's, and Bob has another.
    let lines = [
        exported("1", "eve@example.com"),
        exported_password("1"),
        exported("3", "bob@example.com"),
        exported_password("3"),
    ]
    .join("\n");
    let said = import(&database, "other.jsonl", &lines, &[]).failure(1);
    assert!(said.contains("line 2: userId: this user's id or address is somebody else's here"), "{said}");
    let said = import(&database, "other.jsonl", &lines, &["--skip-existing"]).result();
    assert_eq!(said, "imported 0 users and 0 passwords; 4 were there already\n");
    assert_eq!(passwords(), 0);

    // A line that is refused says nothing about whose the id is.
    let lines = [
        exported("4", "carol@example.com"),
        exported("5", "carol@example.com"),
        exported_password("5"),
        exported("6", "no address"),
        exported_password("6"),
    ]
    .join("\n");
    let said = import(&database, "refused.jsonl", lines, &["--skip-invalid"]).result();
    assert_eq!((said.as_str(), passwords()), ("imported 1 users and 0 passwords\n", 0));

    let lines = [exported("2", "bob@example.com"), exported_password("2")].join("\n");
    let said = import(&database, "same.jsonl", lines, &["--skip-existing"]).result();
    assert_eq!(said, "imported 0 users and 1 passwords; 1 were there already\n");
    let server = serve(&database);
    assert_eq!(signs_in(&server, "bob@example.com", PHRASE), 200);
    assert_eq!(signs_in(&server, "ada@example.com", PHRASE), 401);
}

#[test]
fn a_password_apart_from_its_user_is_refused_where_ids_are_not_kept() {
    let expected = "userId: ids are not kept, so that whose password this is cannot be known; put the hash into the user's line as passwordHash";
    let database = installed("import_ignored_ids", PLAIN);
    let lines = [exported("1", "ada@example.com"), exported_password("1")].join("\n");
    let said = import(&database, "users.jsonl", lines, &["--ignore", "id"]).failure(1);
    assert!(said.contains(&format!("line 2: {expected}")), "{said}");
    let serial = format!("{PLAIN}[advanced.database]\ngenerate-id = \"serial\"\n");
    let database = installed("import_serial_ids", &serial);
    import(&database, "users.csv", "email\nada@example.com\n", &[]).result();
    let said = import(&database, "users.jsonl", exported_password("1"), &[]).failure(1);
    assert!(said.contains(&format!("line 1: {expected}")), "{said}");
    assert_eq!((users(&database), database.number("select count(*) from \"account\"")), (1, 0));
}

#[test]
fn nothing_stays_nothing_in_a_field_that_has_a_default() {
    let fields = "[user.additional-fields.plan]\ntype = \"string\"\nrequired = false\ndefault = \"free\"\n";
    let database = installed("import_null", &format!("{PLAIN}{fields}"));
    let lines = [
        json!({ "id": "1", "email": "ada@example.com", "name": null, "plan": null }).to_string(),
        json!({ "id": "2", "email": "bob@example.com" }).to_string(),
    ];
    import(&database, "users.jsonl", lines.join("\n"), &[]).result();
    let show = |user: &str| run(&database, &["user", "show", user, "--json"], "").json()["user"].clone();
    assert_eq!((&show("1")["plan"], &show("1")["name"]), (&json!(null), &json!("ada")));
    assert_eq!(show("2")["plan"], "free");
}

#[test]
fn lines_of_an_export_may_be_long() {
    let fields = "[user.additional-fields.about]\ntype = \"json\"\nrequired = false\n";
    let database = installed("import_long", &format!("{PLAIN}{fields}"));
    let line = |id: u32| {
        let row = json!({ "id": id.to_string(), "email": format!("{id}@example.com"), "about": ["x".repeat(1_200_000)] });
        json!({ "table": "user", "row": row }).to_string() + "\n"
    };
    let lines: String = (0..2).map(line).collect();
    fs::write(database.folder().join("long.jsonl"), lines).unwrap();
    assert_eq!(run(&database, &["import", "long.jsonl"], "").result(), "imported 2 users and 0 passwords\n");
    let exported = run(&database, &["export", "--output", "-"], "").result();
    assert_eq!(exported.lines().filter(|line| line.len() > 1_200_000).count(), 2);
}
