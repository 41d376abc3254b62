//! URLs as they are found, and what is wrong with others.

use super::*;

const PASSWORD: &str = "gEh3im";

fn parse(url: &str) -> PostgresUrl {
    PostgresUrl::parse(url).unwrap_or_else(|problems| panic!("{url}: {problems:?}"))
}

fn problems(url: &str) -> String {
    let problems = PostgresUrl::parse(url).expect_err(url);
    assert!(!problems.is_empty());
    problems.join("\n")
}

fn places(url: &str) -> Vec<String> {
    parse(url).places.iter().map(Place::name).collect()
}

#[test]
fn urls_of_every_kind_name_the_same_database() {
    for url in [
        "postgres://ada:gEh3im@db.example.com/app",
        "postgresql://ada:gEh3im@db.example.com:5432/app",
        "postgresql+psycopg2://ada:gEh3im@db.example.com/app",
        "postgresql+psycopg://ada:gEh3im@db.example.com:/app",
        "postgresql+asyncpg://ada:gEh3im@db.example.com/app?ssl=require",
        "postgresql://db.example.com/app?user=ada&password=gEh3im",
        "postgresql:///app?host=db.example.com&port=5432&user=ada&password=gEh3im",
        "postgresql:///?host=db.example.com&dbname=app&user=ada&password=gEh3im",
        "postgres://%61da:gEh3%69m@db.ex%61mple.com/%61pp",
        "postgres://ada:gEh3im@elsewhere:1/app?host=db.example.com:5432",
        "postgresql://ada:gEh3im@db.example.com:5432/app?schema=public&connection_limit=1&pool_timeout=20&pgbouncer=true",
    ] {
        let parsed = parse(url);
        assert_eq!(parsed.user.as_deref(), Some("ada"), "{url}");
        assert_eq!(parsed.password.as_ref().map(Secret::expose), Some(PASSWORD), "{url}");
        assert_eq!(parsed.database.as_deref(), Some("app"), "{url}");
        assert_eq!(places(url), ["db.example.com:5432"], "{url}");
    }
}

#[test]
fn what_providers_hand_out_is_read() {
    let neon = parse(
        "postgresql://ada:gEh3im@ep-cool-pooler.eu-central-1.aws.neon.tech/neondb?sslmode=require&channel_binding=require",
    );
    assert_eq!((neon.mode, neon.binding), (Some(Mode::VerifyFull), Some(Binding::Require)));
    let old_neon = parse("postgres://ada:gEh3im@db.neon.tech/x?options=endpoint%3Dep-cool&sslmode=require");
    assert_eq!(old_neon.options.as_deref(), Some("endpoint=ep-cool"));
    let supabase = parse(
        "postgres://postgres.abc:gEh3im@aws-0.pooler.supabase.com:6543/postgres?sslmode=require&supa=base-pooler.x&pgbouncer=true",
    );
    assert_eq!(supabase.pooler, Some(true));
    assert_eq!(supabase.user.as_deref(), Some("postgres.abc"));
    let azure = parse("postgres://me%40host:gEh3im@host.postgres.database.azure.com/db?sslmode=require");
    assert_eq!(azure.user.as_deref(), Some("me@host"));
    let prisma = parse(
        "postgresql://u:p@h/db?schema=auth&connection_limit=5&pool_timeout=0&connect_timeout=15&statement_cache_size=100&sslaccept=strict&socket_timeout=10",
    );
    assert_eq!(prisma.schema.as_deref(), Some("auth"));
    assert_eq!(prisma.connection_limit, Some(5));
    assert_eq!(prisma.pool_timeout, Some(Duration::from_secs(30)));
    assert_eq!(prisma.connect_timeout, Some(Duration::from_secs(15)));
    assert_eq!(prisma.pooler, None);
    let libpq = parse(
        "postgres://h/db?application_name=a%20b&options=-c%20search_path%3Dauth&keepalives_idle=30&tcp_user_timeout=9000&target_session_attrs=read-write&gssencmode=prefer&client_encoding=UTF8",
    );
    assert_eq!(libpq.application_name.as_deref(), Some("a b"));
    assert_eq!(libpq.options.as_deref(), Some("-c search_path=auth"));
    assert_eq!(libpq.target, Some(Target::Writable));
    assert_eq!(libpq.keepalive.idle, Some(Duration::from_secs(30)));
    assert_eq!(libpq.keepalive.user_timeout, Some(Duration::from_secs(9)));
    for url in [
        "postgresql+asyncpg://h/db?prepared_statement_cache_size=0",
        "postgres://h/db?statement_cache_size=0",
        "postgres://h/db?prepared_statements=false",
    ] {
        assert_eq!(parse(url).pooler, Some(true), "{url}");
    }
}

#[test]
fn how_to_encrypt_is_said_in_many_ways() {
    for (query, mode) in [
        ("", None),
        ("sslmode=disable", Some(Mode::Disable)),
        ("sslmode=allow", Some(Mode::Allow)),
        ("sslmode=prefer", Some(Mode::Prefer)),
        ("sslmode=no-verify", Some(Mode::NoVerify)),
        ("sslmode=verify-ca&sslrootcert=/a.pem", Some(Mode::VerifyCa)),
        ("sslmode=verify-full", Some(Mode::VerifyFull)),
        ("sslmode=require", Some(Mode::VerifyFull)),
        ("sslmode=require&uselibpqcompat=true", Some(Mode::NoVerify)),
        ("uselibpqcompat=true&sslmode=require&sslrootcert=/a.pem", Some(Mode::VerifyCa)),
        ("sslmode=require&sslaccept=accept_invalid_certs", Some(Mode::NoVerify)),
        ("sslmode=prefer&sslaccept=accept_invalid_certs", Some(Mode::Prefer)),
        ("sslmode=require&sslaccept=strict", Some(Mode::VerifyFull)),
        ("ssl=true", Some(Mode::VerifyFull)),
        ("ssl=false", Some(Mode::Disable)),
        ("ssl=verify-ca&sslrootcert=/a.pem", Some(Mode::VerifyCa)),
        ("sslrootcert=/a.pem", Some(Mode::VerifyFull)),
        ("sslrootcert=system", Some(Mode::VerifyFull)),
        ("sslnegotiation=direct&sslmode=require", Some(Mode::VerifyFull)),
    ] {
        assert_eq!(parse(&format!("postgres://h/db?{query}")).mode, mode, "{query}");
    }
}

#[test]
fn whoever_asks_an_authority_says_which() {
    for query in ["sslmode=verify-ca", "ssl=verify-ca", "sslmode=verify-ca&sslrootcert=system"] {
        let problems = problems(&format!("postgres://h/db?{query}"));
        assert!(problems.contains("sslmode=verify-ca: needs sslrootcert=FILE"), "{query}: {problems}");
    }
}

#[test]
fn several_hosts_sockets_and_addresses_are_places() {
    for (url, expected) in [
        ("postgres://a,b:1,c/db", &["a:5432", "b:1", "c:5432"][..]),
        ("postgres://u:p@a:1,b:2/db?target_session_attrs=any", &["a:1", "b:2"]),
        ("postgres:///db?host=a,b&port=1,2", &["a:1", "b:2"]),
        ("postgres:///db?host=a,b&port=7", &["a:7", "b:7"]),
        ("postgresql+asyncpg:///db?host=a:1&host=b:2", &["a:1", "b:2"]),
        ("postgres://[::1]:6000,[2001:db8::1]/db", &["::1:6000", "2001:db8::1:5432"]),
        ("postgres://%2Fvar%2Frun%2Fpostgresql/db", &["/var/run/postgresql/.s.PGSQL.5432"]),
        ("postgres://a:1,b:2/db?port=3", &["a:3", "b:3"]),
        ("postgres://u@:5433/db?host=/run/pg", &["/run/pg/.s.PGSQL.5433"]),
        ("postgres:///db?hostaddr=10.0.0.1", &["10.0.0.1:5432"]),
    ] {
        assert_eq!(places(url), expected, "{url}");
    }
    let named = parse("postgres://db.example.com/db?hostaddr=127.0.0.1");
    assert_eq!(named.places[0].address, "127.0.0.1".parse().ok());
    let is_local = |url| parse(url).places[0].is_local();
    assert!(is_local("postgres://localhost/db"));
    assert!(is_local("postgres://127.8.0.1/db"));
    assert!(is_local("postgres://[::1]/db"));
    assert!(is_local("postgres:///db?host=/run/pg"));
    assert!(is_local("postgres://db.example.com/db?hostaddr=127.0.0.1"));
    assert!(!is_local("postgres://localhost/db?hostaddr=10.0.0.1"));
    assert!(!is_local("postgres://10.0.0.1/db"));
}

#[test]
fn a_mistake_names_its_part_and_what_would_be_right() {
    for (url, says) in [
        ("postgres://h:port/db", "a port must be a number from 1 to 65535"),
        ("postgres://h:0/db", "a port must be"),
        ("postgres:///db", "no host: write postgres://user@localhost/database"),
        ("postgres://a,,b/db", "no host"),
        (
            "postgres://h/db?sslmode=strict",
            "sslmode=strict: must be disable, allow, prefer, require, no-verify",
        ),
        ("postgres://h/db?ssl=maybe", "ssl=maybe: must be"),
        (
            "postgres://h/db?channel_binding=always",
            "channel_binding=always: must be disable, prefer or require",
        ),
        (
            "postgres://h/db?connect_timeout=soon",
            "connect_timeout=soon: must be a whole number from 0 to 86400",
        ),
        ("postgres://h/db?target_session_attrs=read-only", "read-write or primary: Narthex writes"),
        ("postgres://h/db?sslcert=/a.pem", "sslcert: Narthex has no client certificates"),
        ("postgres://h/db?service=main", "service: there is no such parameter; there are application_name, "),
        ("postgres://h/db?sslMode=require", "sslMode: there is no such parameter"),
        ("postgres://h/db?schema=a%22b", "schema=…: must be the name of one schema"),
        ("postgres://h/db?connection_limit=0", "connection_limit=0: must be a whole number from 1 to 1000"),
        ("postgres://h/db?pgbouncer=maybe", "pgbouncer=maybe: must be true or false"),
        ("postgres://h/db?client_encoding=LATIN1", "client_encoding=LATIN1: must be UTF8"),
        ("postgres://h/db?gssencmode=require", "Narthex does not speak GSSAPI"),
        ("postgres://a,b/db?hostaddr=10.0.0.1", "hostaddr: must have one address for each host"),
        ("postgres://a/db?hostaddr=somewhere", "hostaddr: must be IP addresses"),
        ("postgres:///db?host=a,b,c&port=1,2", "port: must have one number for each host"),
        ("postgres://h/db?sslnegotiation=direct", "sslnegotiation=direct: needs sslmode=require"),
        (
            "postgres://h/db?sslmode=verify-full&sslaccept=accept_invalid_certs",
            "sslaccept=accept_invalid_certs: contradicts sslmode",
        ),
        ("postgres://u:100%@h/db", "the password has a % that begins no code"),
    ] {
        let problems = problems(url);
        assert!(problems.contains(says), "{url}: {problems}");
    }
    let both = problems("postgres://h/db?sslmode=strict&nonsense=1");
    assert!(both.contains("sslmode") && both.contains("nonsense"), "{both}");
}

#[test]
fn every_parameter_that_is_offered_is_taken() {
    for name in HONOURED.iter().chain(&HARMLESS) {
        // Some value is wrong for most of them, but that is another problem.
        if let Err(problems) = PostgresUrl::parse(&format!("postgres://h/db?{name}=1")) {
            assert!(!problems.join("\n").contains("no such parameter"), "{name}: {problems:?}");
        }
    }
    let mut sorted = HONOURED;
    sorted.sort_unstable();
    assert_eq!(sorted, HONOURED);
}

#[test]
fn no_mistake_shows_a_password() {
    for url in [
        "postgres://ada:gEh3im@h:port/db?sslmode=strict",
        "postgres://ada:gEh3im%@h/db",
        "postgres://ada:gEh3im#x@h/db",
        "postgres://ada:gEh3im/x@h/db",
        "postgres://ada:x/gEh3im@h/db",
        "postgres://ada:x?gEh3im@h/db",
        "postgres://ada:gEh3im?x@h/db",
        "postgres://ada:x?sslmode=gEh3im@h/db",
        "postgres://ada:x@y?sslmode=gEh3im@h/db",
        "postgres://ada:x@y?gEh3im@h/db",
        "postgres://ada:x@y/gEh3im@h/db",
        "postgres://ada:x@/y?gEh3im&z@h/db",
        "postgres://ada:x@y?gEh3im=%&z=@h/db",
        "postgres://ada:5432?gEh3im=@h/db",
        "postgres://ada@h/db?password=gEh3im&sslmode=strict",
        "mysql://ada:gEh3im@h/db",
    ] {
        let problems = problems(url);
        assert!(!problems.contains("gEh3im"), "{url}: {problems}");
        assert!(!without_password(url).contains("gEh3im"), "{url}: {}", without_password(url));
    }
    assert!(problems("postgres://h/db?user=me@host&sslmode=strict").contains("an @ after ? is written %40"));
    assert!(problems("postgres://h/db?user=me%40host&sslmode=strict").contains("sslmode=strict"));
    assert_eq!(parse("postgres://h/db?user=me@host").user.as_deref(), Some("me@host"));
    for url in [
        "postgres://db/app?user=ada&password=p@gEh3im",
        "postgres://db/app?user=me@host&password=gEh3im",
        "ada:gEh3im@h/db",
        "postgres:/ada:gEh3im@h/db",
        "postgres://ada:gEh3im",
        "postgres://ada:gEh3im/db",
        "redis://:gEh3im",
    ] {
        assert!(!without_password(url).contains("gEh3im"), "{url}: {}", without_password(url));
    }
    let parsed = parse("postgres://ada:gEh3im@h/db");
    assert!(!format!("{parsed:?}").contains("gEh3im"));
}

#[test]
fn what_is_shown_of_a_url_is_the_rest() {
    for (url, shown) in [
        ("sqlite://narthex.db", "sqlite://narthex.db"),
        ("postgres://h:1/db?sslmode=require", "postgres://h:1/db?sslmode=require"),
        ("postgres://ada@h/db", "postgres://ada@h/db"),
        ("postgres://[::1]:5432,b:1/db", "postgres://[::1]:5432,b:1/db"),
        ("sqlite:///home/me@work/x?.db", "sqlite:///home/me@work/x?.db"),
        ("narthex.db", "narthex.db"),
        ("postgres://ada:gEh3im@a:1,b:2/db", "postgres://ada:***@a:1,b:2/db"),
        ("postgres://h/db?user=ada&password=gEh3im", "postgres://h/db?user=ada&password=***"),
        ("redis://:gEh3im@localhost:6379/0", "redis://:***@localhost:6379/0"),
        ("host=h password=gEh3im", "***"),
    ] {
        assert_eq!(without_password(url), shown);
    }
}
