//! The configuration: every mistake at once, the order of its sources, and the commands that show and describe it.

use super::{database::Database, server};
use std::{fs, os::unix::fs::PermissionsExt as _, path::Path, process::Output};

const SECRET: &str = "7f3c9b1e5a2d48f6b0c4e8a19d63725f";

struct Said {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

fn narthex(folder: &Path, arguments: &[&str], variables: &[(&str, &str)]) -> Said {
    let mut command = server::narthex(folder);
    command.args(arguments).envs(variables.iter().copied());
    let Output { status, stdout, stderr } = command.output().unwrap();
    let (stdout, stderr) = (String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap());
    assert!(!stderr.contains("panicked"), "{stderr}");
    Said { code: status.code(), stdout, stderr }
}

fn configure(folder: &Path, text: &str) {
    fs::write(folder.join("narthex.toml"), text).unwrap();
}

/// The value of a key in what `narthex config show` prints.
fn in_force(folder: &Path, variables: &[(&str, &str)], key: &str) -> toml::Value {
    let Said { code, stdout, stderr } = narthex(folder, &["config", "show"], variables);
    assert_eq!(code, Some(0), "{stderr}");
    let table: toml::Table = stdout.parse().unwrap();
    key.split('.').fold(toml::Value::Table(table), |value, key| value[key].clone())
}

#[test]
fn nine_mistakes_are_told_at_once_each_with_its_line_and_what_would_be_right() {
    let database = Database::sqlite();
    configure(
        database.folder(),
        r#"listen = "somewhere"
baseURL = "https://auth.example.com"
trusted-origins = "https://app.example.com"
[sesion]
expires-in = 60
[session]
expires-in = "a week"
update-age = -1
[session.cookie-cache]
strategy = "jwz"
[email-and-password]
min-password-length = 300
[advanced.database]
generate-id = true
"#,
    );
    let Said { code, stdout, stderr } = narthex(database.folder(), &["serve"], &[]);
    assert_eq!((code, stdout.as_str()), (Some(2), ""));
    let expected = r#"narthex: 9 mistakes
  narthex.toml:1: listen = "somewhere": must be an address and a port, such as "127.0.0.1:3001" or "0.0.0.0:3001", or a Unix socket, such as "unix:/run/narthex/narthex.sock"
  narthex.toml:2: baseURL: is no option; perhaps `base-url` is meant
  narthex.toml:3: trusted-origins = "https://app.example.com": must be a list, [ … ], each text in quotes
  narthex.toml:4: sesion: is no option; perhaps `session` is meant
  narthex.toml:7: session.expires-in = "a week": must be a whole number from 0 to 4294967295
  narthex.toml:8: session.update-age = -1: must be a whole number from 0 to 4294967295
  narthex.toml:10: session.cookie-cache.strategy = "jwz": must be "compact", "jwt" or "jwe"
  narthex.toml:12: email-and-password.min-password-length = 300: must not exceed max-password-length = 128
  narthex.toml:14: advanced.database.generate-id = true: must be "uuid", "serial" or false
"#;
    assert_eq!(stderr, expected);
    let left: Vec<_> =
        fs::read_dir(database.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["narthex.toml"], "nothing is made for a server that does not start");
}

#[test]
fn every_kind_of_mistake_says_what_would_be_right() {
    let database = Database::sqlite();
    for (file, told) in [
        ("listen = 5", "narthex.toml:1: listen = 5: must be text in quotes"),
        (
            "\n\n[database]\nmigrate = \"yes\"",
            "narthex.toml:4: database.migrate = \"yes\": must be \"auto\", \"check\" or \"off\"",
        ),
        ("session = 5", "narthex.toml:1: session = 5: must be a table with expires-in, "),
        (
            "[password]\nbcrypt-cost = 1.5",
            "narthex.toml:2: password.bcrypt-cost = 1.5: must be a whole number from 0 to 4294967295",
        ),
        (
            "[password]\nthreads = 0",
            "narthex.toml:2: password.threads = 0: must be a whole number, 1 at least",
        ),
        (
            "[user.additional-fields.x]\nrequired = false",
            "narthex.toml:1: user.additional-fields.x: needs `type`: \"string\", ",
        ),
        (
            "[user.additional-fields.x]\ntype = \"text\"",
            "narthex.toml:2: user.additional-fields.x.type = \"text\": must be \"string\", ",
        ),
        (
            "[user.additional-fields.x]\ntype = \"string\"\nfielName = \"y\"",
            "narthex.toml:3: user.additional-fields.x.fielName: is no option; ",
        ),
        (
            "trusted-origins = [\"http://a\", 5]",
            "narthex.toml:1: trusted-origins[1] = 5: must be text in quotes",
        ),
        (
            "[advanced]\ndisable-origin-check = 1",
            "narthex.toml:2: advanced.disable-origin-check = 1: must be true, false or a list of paths",
        ),
        (
            "[email-and-password]\nenabled = \"yes\"",
            "narthex.toml:2: email-and-password.enabled = \"yes\": must be true or false",
        ),
        (
            "database = \"sqlite://x.db\"",
            "narthex.toml:1: database = \"sqlite://x.db\": must be a table with url, ",
        ),
        (
            "base-url = \"auth.example.com\"",
            "narthex.toml:1: base-url = \"auth.example.com\": must be http:// or https://",
        ),
        (
            "[secondary-storage]\nurl = \"rediss://:hunter2@localhost\"",
            "narthex.toml:2: secondary-storage.url: rediss:// needs TLS",
        ),
        (
            "[secondary-storage]\nurl = \"localhost:6379\"",
            "narthex.toml:2: secondary-storage.url: must be redis://",
        ),
        (
            "[rate-limit]\nstorage = \"secondary-storage\"",
            "narthex.toml:2: rate-limit.storage = \"secondary-storage\": there is none",
        ),
        (
            "[emailVerification]\nsendOnSignUp = true",
            "narthex.toml:1: emailVerification: is no option here: verifying addresses is not there yet",
        ),
        (
            "[advanced]\ndisableCSRFCheck = true",
            "narthex.toml:2: advanced.disableCSRFCheck: is no option; perhaps `disable-csrf-check` is meant",
        ),
        (
            "[onAPIError]\nerrorURL = \"/\"",
            "narthex.toml:1: onAPIError: is no option; perhaps `on-api-error` is meant",
        ),
        ("secret = \"hunter2\"", "narthex.toml:1: secret: needs at least 32 characters"),
        (
            "database = \"postgres://ada:hunter2@h/db\"",
            "narthex.toml:1: database = \"postgres://ada:***@h/db\": must be a table with url, ",
        ),
        (
            "secondary-storage = \":hunter2@h\"",
            "narthex.toml:1: secondary-storage = \"***\": must be a table with ",
        ),
        ("secret = 42", "narthex.toml:1: secret = ***: must be text in quotes"),
        ("[[secrets]]\nversion = 1", "narthex.toml:1: secrets[0]: needs `value`: text in quotes"),
        ("a = = 3", "narthex.toml:1: extra `=`"),
        ("\n[session\n", "narthex.toml:2: unclosed table"),
        ("[session]\nexpires-in = 1\nexpires-in = 2", "narthex.toml:3: duplicate key"),
    ] {
        configure(database.folder(), file);
        let Said { code, stdout, stderr } = narthex(database.folder(), &["serve"], &[]);
        assert_eq!((code, stdout.as_str()), (Some(2), ""), "{file}: {stderr}");
        let first = stderr.strip_prefix("narthex: ").unwrap_or_default();
        assert!(first.starts_with(told) && stderr.lines().count() == 1, "{file}: {stderr}");
        assert!(!stderr.contains("hunter2"), "{stderr}");
    }
}

#[test]
fn a_mistake_in_the_environment_or_a_flag_is_told_by_its_name() {
    let database = Database::sqlite();
    for (variable, value, told) in [
        (
            "BETTER_AUTH_URL",
            "nowhere",
            "BETTER_AUTH_URL: base-url = \"nowhere\": must be http:// or https://",
        ),
        ("BETTER_AUTH_SECRET", "hunter2", "BETTER_AUTH_SECRET: secret: needs at least 32 characters"),
        ("AUTH_SECRET", "hunter2", "AUTH_SECRET: secret: needs at least 32 characters"),
        ("PORT", "http", "PORT = \"http\": must be a number from 0 to 65535"),
        (
            "NARTHEX__TRUSTED_ORIGINS",
            "[8080]",
            "NARTHEX__TRUSTED_ORIGINS: trusted-origins[0] = 8080: must be text in quotes",
        ),
        ("NARTHEX_ENV", "prod", "NARTHEX_ENV = \"prod\": must be \"production\" or \"development\""),
        (
            "NARTHEX__SESSION__UPDATE_AGE",
            "a day",
            "NARTHEX__SESSION__UPDATE_AGE: session.update-age = \"a day\": must be a whole number",
        ),
        (
            "NARTHEX__SESION__UPDATE_AGE",
            "1",
            "NARTHEX__SESION__UPDATE_AGE: sesion: is no option; perhaps `session` is meant",
        ),
    ] {
        let Said { code, stderr, .. } = narthex(database.folder(), &["serve"], &[(variable, value)]);
        assert_eq!(code, Some(2), "{stderr}");
        assert!(stderr.starts_with(&format!("narthex: {told}")) && !stderr.contains("hunter2"), "{stderr}");
    }
    let Said { code, stderr, .. } = narthex(database.folder(), &["serve", "--listen", "3001"], &[]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.starts_with("narthex: --listen: listen = \"3001\": must be an address and a port"),
        "{stderr}"
    );
    let Said { code, stderr, .. } = narthex(database.folder(), &["serve"], &[("NARTHEX_LOG", "=,=")]);
    assert_eq!(code, Some(2));
    assert!(
        stderr.starts_with("narthex: NARTHEX_LOG: log.level = \"=,=\": must be error, warn, info"),
        "{stderr}"
    );
}

#[test]
fn the_environment_comes_after_the_file_and_names_that_others_read_come_last() {
    let database = Database::sqlite();
    let folder = database.folder();
    configure(
        folder,
        "base-url = \"http://localhost:1\"\n[session]\nupdate-age = 1\n[database]\nurl = \"sqlite://a.db\"\n",
    );
    let text = |value: &str| toml::Value::from(value);
    assert_eq!(in_force(folder, &[], "session.update-age"), 1.into());
    assert_eq!(in_force(folder, &[("NARTHEX__SESSION__UPDATE_AGE", "2")], "session.update-age"), 2.into());
    assert_eq!(
        in_force(folder, &[("BETTER_AUTH_URL", "http://localhost:2")], "base-url"),
        text("http://localhost:2")
    );
    assert_eq!(
        in_force(folder, &[("NEXT_PUBLIC_BETTER_AUTH_URL", "http://localhost:2")], "base-url"),
        text("http://localhost:1")
    );
    assert_eq!(
        in_force(folder, &[("DATABASE_URL", "postgres://ada:hunter2@h/d")], "database.url"),
        text("postgres://ada:***@h/d")
    );
    // What looks like a number is text where text is wanted.
    assert_eq!(
        in_force(folder, &[("NARTHEX__SESSION__COOKIE_CACHE__VERSION", "3")], "session.cookie-cache.version"),
        text("3")
    );
    let origins = [("BETTER_AUTH_TRUSTED_ORIGINS", "http://a.example, http://b.example")];
    assert_eq!(
        in_force(folder, &origins, "trusted-origins"),
        toml::Value::Array(vec!["http://a.example".into(), "http://b.example".into()])
    );
    assert_eq!(
        in_force(folder, &[("CORS_ORIGINS", " http://a.example ,,http://b.example")], "cors.origins"),
        toml::Value::Array(vec!["http://a.example".into(), "http://b.example".into()])
    );
    let named = folder.join("other.toml");
    fs::write(&named, "base-path = \"/other\"\n").unwrap();
    assert_eq!(in_force(folder, &[("NARTHEX_CONFIG", named.to_str().unwrap())], "base-path"), text("/other"));
    fs::remove_file(folder.join("narthex.toml")).unwrap();
    assert_eq!(
        in_force(folder, &[("NEXT_PUBLIC_BETTER_AUTH_URL", "http://localhost:2")], "base-url"),
        text("http://localhost:2")
    );
}

#[test]
fn the_configuration_is_shown_with_its_sources_and_without_its_secrets() {
    let database = Database::sqlite();
    let file = format!(
        "secret = \"{SECRET}\"\n[database]\nurl = \"postgres://ada:hunter2@localhost/auth\"\n[secondary-storage]\nurl = \"redis://:hunter2@localhost:6379\"\n"
    );
    configure(database.folder(), &file);
    let list = format!("2:{SECRET}");
    let Said { code, stdout, stderr } =
        narthex(database.folder(), &["config", "show"], &[("BETTER_AUTH_SECRETS", &list)]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(!stdout.contains("hunter2") && !stdout.contains(SECRET), "{stdout}");
    assert!(
        stdout.contains("# narthex.toml:1: secret\n") && stdout.contains("# BETTER_AUTH_SECRETS: secrets\n"),
        "{stdout}"
    );
    // What is shown is a configuration.
    let defaults = Database::sqlite();
    let shown = narthex(defaults.folder(), &["config", "show"], &[]).stdout;
    configure(defaults.folder(), &shown);
    let again = narthex(defaults.folder(), &["config", "show"], &[]).stdout;
    let without_sources =
        |text: &str| text.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n");
    assert_eq!(without_sources(&again).trim(), without_sources(&shown).trim());
}

#[test]
fn the_schema_describes_every_option() {
    let database = Database::sqlite();
    let schema: serde_json::Value =
        serde_json::from_str(&narthex(database.folder(), &["config", "schema"], &[]).stdout).unwrap();
    assert_eq!(schema["additionalProperties"], false);
    assert!(schema["properties"]["listen"].is_object() && schema["properties"]["session"].is_object());
    let parts = schema["$defs"].as_object().unwrap().iter().map(|(name, table)| (name.as_str(), table));
    let mut options = 0;
    for (name, table) in parts.chain([("narthex.toml", &schema)]) {
        for (key, option) in table["properties"].as_object().into_iter().flatten() {
            assert!(option["description"].is_string(), "{name}.{key} has no description");
            options += 1;
        }
    }
    assert!(options > 80, "{options}");
}

#[test]
fn what_is_written_from_the_code_is_of_this_code() {
    let database = Database::sqlite();
    for (what, name) in [("reference", "configuration.md"), ("tables", "data-model.md")] {
        let written = narthex(database.folder(), &["config", what], &[]).stdout;
        let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference").join(name);
        let kept = fs::read_to_string(kept).unwrap();
        assert!(written == kept, "docs/reference/{name} is not of this code; run `cargo xtask generate`");
    }
}

#[test]
fn every_table_that_is_made_is_on_the_page_with_its_columns() {
    let database = Database::sqlite();
    configure(
        database.folder(),
        "rate-limit.storage = \"database\"\n[plugins.jwt]\nrevocation = true\nrevocation-public = true\n[plugins.bearer]\n[plugins.token-api]\n",
    );
    let made = narthex(database.folder(), &["migrate"], &[("BETTER_AUTH_SECRET", SECRET)]);
    assert_eq!(made.code, Some(0), "{}", made.stderr);
    let page = narthex(database.folder(), &["config", "tables"], &[]).stdout;
    let connection = database.open();
    let names = "select name from sqlite_master where type = 'table' and name not like 'sqlite%'";
    let mut tables = connection.prepare(names).unwrap();
    let mut seen = 0;
    for table in tables.query_map((), |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap) {
        let (_, section) =
            page.split_once(&format!("\n## `{table}`\n")).unwrap_or_else(|| panic!("{table}: {page}"));
        let section = section.split("\n## ").next().unwrap();
        let mut columns = connection.prepare("select name from pragma_table_info(?1)").unwrap();
        for column in columns.query_map([&table], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap)
        {
            let row = section.lines().find(|line| line.starts_with(&format!("| `{column}` |")));
            let row = row.unwrap_or_else(|| panic!("{table}.{column}"));
            assert!(!row.ends_with("| |"), "{table}.{column} has no description");
            seen += 1;
        }
    }
    assert!(seen > 60, "{seen}");
}

#[test]
fn init_writes_a_private_file_that_serves_and_never_over_another() {
    let database = Database::sqlite();
    let folder = database.folder();
    let Said { code, stdout, stderr } = narthex(folder, &["init"], &[]);
    assert_eq!(code, Some(0), "{stderr}");
    assert!(stdout.starts_with("narthex.toml is written"), "{stdout}");
    let file = folder.join("narthex.toml");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let written = fs::read_to_string(&file).unwrap();
    let table: toml::Table = written.parse().unwrap();
    assert_eq!(table["secret"].as_str().unwrap().len(), 64);
    // In production too, where a secret is required.
    let checked = narthex(folder, &["doctor"], &[("NODE_ENV", "production")]);
    assert_eq!(checked.code, Some(0), "{}{}", checked.stdout, checked.stderr);
    let again = narthex(folder, &["init"], &[]);
    assert_eq!(again.code, Some(1));
    assert!(again.stderr.contains("is there already"), "{}", again.stderr);
    assert_eq!(fs::read_to_string(&file).unwrap(), written);
    let elsewhere = narthex(folder, &["init", "other.toml"], &[]);
    assert_eq!(elsewhere.code, Some(0));
    assert_ne!(
        fs::read_to_string(folder.join("other.toml")).unwrap(),
        written,
        "each has a secret of its own"
    );
}

#[test]
fn secrets_are_new_and_long() {
    let database = Database::sqlite();
    let [one, other] = [(); 2].map(|()| narthex(database.folder(), &["secret"], &[]).stdout);
    assert_eq!(one.trim().len(), 64);
    assert!(one.trim().bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_ne!(one, other);
}

#[test]
fn completions_name_every_command() {
    let database = Database::sqlite();
    for shell in ["bash", "zsh", "fish"] {
        let script = narthex(database.folder(), &["completions", shell], &[]).stdout;
        for command in ["serve", "init", "config", "doctor", "migrate", "routes", "secret", "health"] {
            assert!(script.contains(command), "{shell}: {command}");
        }
    }
}
