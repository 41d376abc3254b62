//! A PostgreSQL URL as libpq, Prisma, SQLAlchemy, node-postgres and the providers of databases write it.
//!
//! Pure: text in, [`PostgresUrl`] out. A parameter is honoured, or known to have nothing to do here, or refused by name.
//! A mistake names the part it is in and quotes nothing that may be a password, which a URL that was put together wrongly
//! has in unexpected places.

use crate::secret::Secret;
use percent_encoding::percent_decode_str;
use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    time::Duration,
};

const PORT: u16 = 5432;

/// What a URL says.
#[derive(Debug, Clone, Default)]
pub(super) struct PostgresUrl {
    pub(super) places: Vec<Place>,
    pub(super) user: Option<String>,
    pub(super) password: Option<Secret>,
    pub(super) database: Option<String>,
    /// How to encrypt; left to us when nothing is said.
    pub(super) mode: Option<Mode>,
    /// A file with the authorities to trust, instead of those built in.
    pub(super) roots: Option<PathBuf>,
    pub(super) tls: TlsDetails,
    pub(super) binding: Option<Binding>,
    /// For one host, until it takes statements.
    pub(super) connect_timeout: Option<Duration>,
    pub(super) application_name: Option<String>,
    /// Handed to the server as it is.
    pub(super) options: Option<String>,
    pub(super) target: Option<Target>,
    pub(super) is_shuffled: bool,
    pub(super) keepalive: Keepalive,
    /// The schema with the tables.
    pub(super) schema: Option<String>,
    pub(super) connection_limit: Option<u32>,
    pub(super) pool_timeout: Option<Duration>,
    pub(super) idle_lifetime: Option<Duration>,
    /// Whether a transaction pooler is in between.
    pub(super) pooler: Option<bool>,
}

/// One of the hosts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) host: Host,
    /// Where to connect, instead of asking for the host's address.
    pub(super) address: Option<IpAddr>,
    pub(super) port: u16,
}

/// Where a server listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Host {
    Name(String),
    /// The folder of a Unix socket.
    Socket(PathBuf),
}

/// Whether to encrypt, and whom to trust then.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Disable,
    /// Only where the server insists; nothing is verified.
    Allow,
    /// Where the server can; nothing is verified.
    Prefer,
    /// Always; nothing is verified.
    NoVerify,
    /// Always; the certificate has to be signed by a trusted authority, for whomever.
    VerifyCa,
    /// Always; the certificate has to be signed by a trusted authority for this host.
    VerifyFull,
}

/// What few need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct TlsDetails {
    /// Begin with TLS, without asking whether the server speaks it.
    pub(super) is_direct: bool,
    pub(super) hides_name: bool,
    pub(super) only_newest: bool,
}

/// Whether the password's proof is tied to the encrypted connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binding {
    Disable,
    Prefer,
    Require,
}

/// Which of several hosts will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Any,
    /// One that takes writes.
    Writable,
}

/// How to notice that the other side has gone without a word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Keepalive {
    pub(super) is_off: bool,
    pub(super) idle: Option<Duration>,
    pub(super) interval: Option<Duration>,
    pub(super) count: Option<u32>,
    pub(super) user_timeout: Option<Duration>,
}

/// What several parameters decide together, once all are read.
#[derive(Default)]
struct Said {
    hosts: Vec<(String, Option<u16>)>,
    addresses: Vec<String>,
    ports: Vec<u16>,
    sslmode: Option<SslMode>,
    is_libpq: bool,
    accepts_invalid: bool,
    has_roots: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SslMode {
    Plain(Mode),
    Require,
}

/// Parameters that change something here.
const HONOURED: [&str; 38] = [
    "application_name",
    "channel_binding",
    "client_encoding",
    "connect_timeout",
    "connection_limit",
    "dbname",
    "fallback_application_name",
    "gssencmode",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "max_idle_connection_lifetime",
    "options",
    "password",
    "pgbouncer",
    "pool_timeout",
    "port",
    "prepared_statement_cache_size",
    "prepared_statements",
    "schema",
    "search_path",
    "ssl",
    "ssl_min_protocol_version",
    "sslaccept",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "sslsni",
    "statement_cache_size",
    "target_session_attrs",
    "tcp_user_timeout",
    "uselibpqcompat",
    "user",
];

/// Parameters that have nothing to do here: bounds that Narthex has of its own, and notes of providers to their own tools.
const HARMLESS: [&str; 7] = [
    "gsslib",
    "krbsrvname",
    "max_connection_lifetime",
    "socket_timeout",
    "sslcompression",
    "supa",
    "workaround",
];

/// Parameters that ask for what there is not.
const CLIENT_CERTIFICATES: [&str; 4] = ["sslcert", "sslidentity", "sslkey", "sslpassword"];

/// Whether this is the beginning of a PostgreSQL URL.
pub(super) fn is_postgres(scheme: &str) -> bool {
    // SQLAlchemy names its driver: postgresql+psycopg2, postgresql+asyncpg.
    let (name, driver) = scheme.split_once('+').unwrap_or((scheme, "none"));
    matches!(name, "postgres" | "postgresql") && is_name(driver)
}

/// A URL to be shown, with nothing in it that may be a password. Where it cannot be told what is one, little is left.
pub fn without_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        let is_plain = !url.contains(['@', ':']) && !url.to_ascii_lowercase().contains("password");
        return if is_plain { url.to_owned() } else { "***".to_owned() };
    };
    if scheme == "sqlite" {
        return url.to_owned();
    }
    let (place, query) = rest.split_once('?').map_or((rest, None), |(place, query)| (place, Some(query)));
    // What is before the last @ may be a password with a question mark in it.
    if query.is_some_and(|query| query.contains('@')) {
        return format!("{scheme}://***");
    }
    let mut shown = format!("{scheme}://");
    // A password with @ or / in it ends at the last @, wherever that is.
    match place.rsplit_once('@') {
        None if !has_ports_only(place) => return shown + "***",
        None => shown.push_str(place),
        Some((before, after)) => {
            match before.split_once(':') {
                Some((user, _)) => shown.extend([user, ":***@"]),
                None => shown.extend([before, "@"]),
            }
            shown.push_str(after);
        }
    }
    let Some(query) = query else { return shown };
    let pairs = query.split('&').map(|pair| match pair.split_once('=') {
        Some((name, _)) if name.to_ascii_lowercase().contains("password") => format!("{name}=***"),
        _ => pair.to_owned(),
    });
    shown + "?" + &pairs.collect::<Vec<_>>().join("&")
}

/// What is wrong with a URL.
#[cfg(feature = "fuzzing")]
pub(crate) fn problems(url: &str) -> Vec<String> {
    PostgresUrl::parse(url).err().unwrap_or_default()
}

/// Whether what follows a host is a port, and not a password whose host is missing.
fn has_ports_only(place: &str) -> bool {
    let hosts = place.split('/').next().unwrap_or_default();
    hosts.split(',').all(|host| {
        let after_address = host.rsplit(']').next().unwrap_or_default();
        after_address.split_once(':').is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
    })
}

impl PostgresUrl {
    /// Reads a URL, or says everything that is wrong with it.
    pub(super) fn parse(url: &str) -> Result<Self, Vec<String>> {
        let Some((_, rest)) = url.split_once("://").filter(|(scheme, _)| is_postgres(scheme)) else {
            return Err(vec!["must begin with postgres:// or postgresql://".to_owned()]);
        };
        let mut problems = Vec::new();
        let mut parsed = Self::default();
        let mut said = Said::default();
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
        let (user_info, hosts) = match authority.rsplit_once('@') {
            Some((user_info, hosts)) => (user_info, hosts),
            None => ("", authority),
        };
        let is_torn = url.contains('#') || database.contains(['/', '@']) || {
            let beyond = database.len() + query.len() > 0 && (database.contains('@') || query.contains('@'));
            beyond && user_info.is_empty() && authority.contains(':') && ports_of(authority).is_none()
        };
        if is_torn {
            // Nothing after this would be about what was meant.
            return Err(vec![
                "the user, the password or the database's name has a character that must be written as its code: \
                 @ as %40, / as %2F, ? as %3F, # as %23, : as %3A, % as %25"
                    .to_owned(),
            ]);
        }
        let (user, password) = match user_info.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (user_info, None),
        };
        parsed.user = decoded(user, "the user", &mut problems);
        parsed.password =
            password.and_then(|text| decoded(text, "the password", &mut problems)).map(Secret::new);
        parsed.database = decoded(database, "the database's name", &mut problems);
        match ports_of(hosts) {
            None => problems.push(format!(
                "a port must be a number from 1 to 65535, {PORT} when none is given; an IPv6 address is written in [ ]"
            )),
            Some(hosts) => {
                let are_several = hosts.len() > 1;
                for (host, port) in hosts {
                    if host.is_empty() && are_several {
                        said.hosts.push((String::new(), port));
                    } else if let Some(host) = decoded(host, "the host", &mut problems) {
                        said.hosts.push((host, port));
                    } else if let Some(port) = port {
                        said.ports.push(port);
                    }
                }
            }
        }
        let has_hosts = !said.hosts.is_empty();
        let (mut is_first_host, before) = (true, problems.len());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            if !is_name(name) {
                problems.push(
                    "a parameter after ? has characters in its name that no parameter has; is a password with ? or & \
                     not written as %3F and %26?"
                        .to_owned(),
                );
                continue;
            }
            let what = format!("{name}=");
            let value = decoded(value, &what, &mut problems).unwrap_or_default();
            if name == "host" && has_hosts && is_first_host {
                // What comes later counts, as in libpq.
                said.hosts.clear();
                is_first_host = false;
            }
            if let Err(problem) = parsed.parameter(&mut said, name, &value) {
                problems.push(problem);
            }
        }
        parsed.settle(said, &mut problems);
        if problems.len() > before && query.contains('@') {
            // What is before the last @ may be a password with a question mark in it.
            problems.truncate(before);
            problems.push(
                "something after ? is wrong, and is not shown because there is an @ behind it; an @ after ? is written \
                 %40, and a ? in a password %3F"
                    .to_owned(),
            );
        }
        if problems.is_empty() { Ok(parsed) } else { Err(problems) }
    }

    #[expect(clippy::too_many_lines, reason = "one arm for each parameter there is")]
    fn parameter(&mut self, said: &mut Said, name: &str, value: &str) -> Result<(), String> {
        // A password that was not written in codes may have ended up here.
        let shown = if is_name(value) { value } else { "…" };
        let must = |what: &str| Err(format!("{name}={shown}: must be {what}"));
        let number = |most: u32| {
            let problem = || format!("{name}={shown}: must be a whole number from 0 to {most}");
            value.parse().ok().filter(|number| *number <= most).ok_or_else(problem)
        };
        let seconds = || number(86_400).map(|seconds: u32| Duration::from_secs(seconds.into()));
        let flag = || match value {
            "true" | "1" | "yes" | "on" => Ok(true),
            "false" | "0" | "no" | "off" => Ok(false),
            _ => Err(format!("{name}={shown}: must be true or false")),
        };
        let text = || (!value.is_empty()).then(|| value.to_owned());
        match name {
            "host" => said.hosts.extend(value.split(',').map(|host| {
                // SQLAlchemy puts the port behind each host.
                let parts = if host.starts_with('/') { None } else { one_port(host) };
                parts.map_or_else(|| (host.to_owned(), None), |(host, port)| (host.to_owned(), port))
            })),
            "hostaddr" => said.addresses = value.split(',').map(str::to_owned).collect(),
            "port" => {
                let ports: Option<Vec<u16>> = value
                    .split(',')
                    .map(|port| if port.is_empty() { Some(PORT) } else { a_port(port) })
                    .collect();
                match ports {
                    Some(ports) => {
                        // What comes later counts.
                        said.hosts.iter_mut().for_each(|(_, port)| *port = None);
                        said.ports = ports;
                    }
                    None => return must("numbers from 1 to 65535, one for each host or one for all"),
                }
            }
            "user" => self.user = text(),
            "password" => self.password = text().map(Secret::new),
            "dbname" => self.database = text(),
            "sslmode" => said.sslmode = Some(sslmode(name, value, shown)?),
            "ssl" => {
                said.sslmode = Some(match value {
                    "true" | "1" | "yes" | "on" => SslMode::Require,
                    "false" | "0" | "no" | "off" => SslMode::Plain(Mode::Disable),
                    _ => sslmode(name, value, shown)?,
                });
            }
            "uselibpqcompat" => said.is_libpq = flag()?,
            "sslaccept" => match value {
                "strict" => said.accepts_invalid = false,
                "accept_invalid_certs" => said.accepts_invalid = true,
                _ => return must("strict or accept_invalid_certs"),
            },
            "sslrootcert" => {
                // The system's are those built in.
                self.roots = text().filter(|value| value != "system").map(PathBuf::from);
                said.has_roots = !value.is_empty();
            }
            "sslnegotiation" => match value {
                "postgres" => self.tls.is_direct = false,
                "direct" => self.tls.is_direct = true,
                _ => return must("postgres or direct"),
            },
            "sslsni" => self.tls.hides_name = !flag()?,
            "ssl_min_protocol_version" => match value {
                // What is older than 1.2 is not spoken here.
                "TLSv1" | "TLSv1.1" | "TLSv1.2" => self.tls.only_newest = false,
                "TLSv1.3" => self.tls.only_newest = true,
                _ => return must("TLSv1.2 or TLSv1.3"),
            },
            "channel_binding" => {
                self.binding = Some(match value {
                    "disable" => Binding::Disable,
                    "prefer" => Binding::Prefer,
                    "require" => Binding::Require,
                    _ => return must("disable, prefer or require"),
                });
            }
            "connect_timeout" => self.connect_timeout = Some(seconds()?).filter(|time| !time.is_zero()),
            "application_name" => self.application_name = text(),
            "fallback_application_name" => {
                self.application_name = self.application_name.take().or_else(text);
            }
            "options" => self.options = text(),
            "target_session_attrs" => {
                self.target = Some(match value {
                    "any" => Target::Any,
                    "read-write" | "primary" => Target::Writable,
                    _ => return must("any, read-write or primary: Narthex writes"),
                });
            }
            "load_balance_hosts" => match value {
                "disable" => self.is_shuffled = false,
                "random" => self.is_shuffled = true,
                _ => return must("disable or random"),
            },
            "keepalives" => self.keepalive.is_off = !flag()?,
            "keepalives_idle" => self.keepalive.idle = Some(seconds()?).filter(|time| !time.is_zero()),
            "keepalives_interval" => {
                self.keepalive.interval = Some(seconds()?).filter(|time| !time.is_zero());
            }
            "keepalives_count" | "keepalives_retries" => {
                self.keepalive.count = Some(number(1000)?).filter(|count| *count > 0);
            }
            "tcp_user_timeout" => {
                let time = Duration::from_millis(number(86_400_000)?.into());
                self.keepalive.user_timeout = Some(time).filter(|time| !time.is_zero());
            }
            "schema" | "search_path" => {
                self.schema = text();
                if let Some(problem) = schema_problem(value) {
                    return must(problem);
                }
            }
            "connection_limit" => {
                let limit = number(1000)?;
                if limit == 0 {
                    return must("a whole number from 1 to 1000");
                }
                self.connection_limit = Some(limit);
            }
            // Nothing waits without bound here: a request that writes is given up after this time.
            "pool_timeout" => {
                self.pool_timeout = Some(match seconds()? {
                    Duration::ZERO => Duration::from_secs(30),
                    time => time,
                });
            }
            "max_idle_connection_lifetime" => self.idle_lifetime = Some(seconds()?),
            "pgbouncer" => self.pooler = Some(flag()?),
            "prepared_statements" => {
                if !flag()? {
                    self.pooler = Some(true);
                }
            }
            // Whoever keeps no statements has a reason to.
            "statement_cache_size" | "prepared_statement_cache_size" => {
                if number(1_000_000)? == 0 {
                    self.pooler = Some(true);
                }
            }
            "client_encoding" => {
                if !["utf8", "utf-8", "unicode", "auto"].contains(&&*value.to_ascii_lowercase()) {
                    return must("UTF8");
                }
            }
            "gssencmode" => {
                if !["disable", "prefer"].contains(&value) {
                    return must("disable or prefer: Narthex does not speak GSSAPI");
                }
            }
            name if HARMLESS.contains(&name) => {}
            name if CLIENT_CERTIFICATES.contains(&name) => {
                return Err(format!(
                    "{name}: Narthex has no client certificates; a file with the authorities to trust is sslrootcert"
                ));
            }
            _ => {
                return Err(format!(
                    "{name}: there is no such parameter; there are {}, and without effect {}",
                    HONOURED.join(", "),
                    HARMLESS.join(", "),
                ));
            }
        }
        Ok(())
    }

    /// Everything that takes more than one parameter.
    fn settle(&mut self, said: Said, problems: &mut Vec<String>) {
        self.mode = match said.sslmode {
            // node-postgres, whose URLs Better Auth is given, verifies as well; libpq does not.
            Some(SslMode::Require) if said.is_libpq && !said.has_roots => Some(Mode::NoVerify),
            Some(SslMode::Require) if said.is_libpq && self.roots.is_some() => Some(Mode::VerifyCa),
            Some(SslMode::Require) if said.accepts_invalid => Some(Mode::NoVerify),
            Some(SslMode::Require) => Some(Mode::VerifyFull),
            Some(SslMode::Plain(mode)) => Some(mode),
            // Whoever names an authority wants it asked.
            None if said.has_roots => Some(Mode::VerifyFull),
            None => None,
        };
        if self.mode == Some(Mode::VerifyCa) && self.roots.is_none() {
            problems.push(
                "sslmode=verify-ca: needs sslrootcert=FILE, the authority to trust: any site's certificate is signed by a public one; with those, use sslmode=verify-full"
                    .to_owned(),
            );
        }
        if said.accepts_invalid
            && matches!(said.sslmode, Some(SslMode::Plain(Mode::VerifyCa | Mode::VerifyFull)))
        {
            problems.push(
                "sslaccept=accept_invalid_certs: contradicts sslmode, which says to verify; leave one of them out"
                    .to_owned(),
            );
        }
        if self.tls.is_direct && matches!(self.mode, None | Some(Mode::Disable | Mode::Allow | Mode::Prefer))
        {
            problems.push("sslnegotiation=direct: needs sslmode=require or stricter".to_owned());
        }
        let Said { mut hosts, addresses, ports, .. } = said;
        if hosts.is_empty() {
            hosts = addresses.iter().map(|address| (address.clone(), None)).collect();
        }
        if hosts.is_empty() || hosts.iter().any(|(host, _)| host.is_empty()) {
            problems.push(
                "no host: write postgres://user@localhost/database, or postgres:///database?host=/var/run/postgresql \
                 for a Unix socket"
                    .to_owned(),
            );
            return;
        }
        if !addresses.is_empty() && addresses.len() != hosts.len() {
            problems.push("hostaddr: must have one address for each host".to_owned());
        }
        if ports.len() > 1 && ports.len() != hosts.len() {
            problems.push("port: must have one number for each host, or one for all".to_owned());
        }
        for (position, (host, own_port)) in hosts.into_iter().enumerate() {
            let port = own_port.or_else(|| ports.get(position).or_else(|| ports.first()).copied());
            let address = match addresses
                .get(position)
                .filter(|address| !address.is_empty())
                .map(|text| text.parse())
            {
                None => None,
                Some(Ok(address)) => Some(address),
                Some(Err(_)) => {
                    problems.push("hostaddr: must be IP addresses".to_owned());
                    None
                }
            };
            let host = if host.starts_with('/') || host.starts_with('@') {
                Host::Socket(PathBuf::from(host))
            } else {
                Host::Name(host)
            };
            self.places.push(Place { host, address, port: port.unwrap_or(PORT) });
        }
    }
}

impl Place {
    /// As messages name it.
    pub(super) fn name(&self) -> String {
        match &self.host {
            Host::Name(name) => format!("{name}:{}", self.port),
            Host::Socket(folder) => format!("{}/.s.PGSQL.{}", folder.display(), self.port),
        }
    }

    /// Whether what is sent there stays on this machine.
    pub(super) fn is_local(&self) -> bool {
        match (&self.host, self.address) {
            (Host::Socket(_), _) => true,
            (_, Some(address)) => address.is_loopback(),
            (Host::Name(name), None) => {
                name == "localhost"
                    || name.ends_with(".localhost")
                    || name.parse().is_ok_and(|address: IpAddr| address.is_loopback())
            }
        }
    }

    pub(super) fn socket(&self) -> Option<&Path> {
        match &self.host {
            Host::Socket(folder) => Some(folder),
            Host::Name(_) => None,
        }
    }
}

/// What a schema's name must be, if it is not.
pub(crate) fn schema_problem(name: &str) -> Option<&'static str> {
    let is_one = !name.is_empty() && name.len() <= 63 && !name.contains(['"', '\0', ',']);
    (!is_one).then_some("the name of one schema, of 1 to 63 bytes and without quotes")
}

fn sslmode(name: &str, value: &str, shown: &str) -> Result<SslMode, String> {
    Ok(match value {
        "disable" => SslMode::Plain(Mode::Disable),
        "allow" => SslMode::Plain(Mode::Allow),
        "prefer" => SslMode::Plain(Mode::Prefer),
        "require" => SslMode::Require,
        "no-verify" => SslMode::Plain(Mode::NoVerify),
        "verify-ca" => SslMode::Plain(Mode::VerifyCa),
        "verify-full" => SslMode::Plain(Mode::VerifyFull),
        _ => {
            return Err(format!(
                "{name}={shown}: must be disable, allow, prefer, require, no-verify, verify-ca or verify-full"
            ));
        }
    })
}

/// Hosts with their ports; `None` when one of these is no port.
fn ports_of(hosts: &str) -> Option<Vec<(&str, Option<u16>)>> {
    if hosts.is_empty() {
        return Some(Vec::new());
    }
    hosts.split(',').map(one_port).collect()
}

fn one_port(host: &str) -> Option<(&str, Option<u16>)> {
    let (host, port) = match host.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            (address, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => host.split_once(':').map_or((host, None), |(host, port)| (host, Some(port))),
    };
    match port {
        None | Some("") => Some((host, None)),
        Some(port) => a_port(port).map(|port| (host, Some(port))),
    }
}

fn a_port(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port| *port > 0)
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.'))
}

/// A part with its codes read; nothing where it is empty.
fn decoded(text: &str, what: &str, problems: &mut Vec<String>) -> Option<String> {
    let bytes = text.as_bytes();
    let is_code = |position: usize| {
        bytes.get(position + 1..position + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    let is_right = bytes.iter().enumerate().all(|(position, byte)| *byte != b'%' || is_code(position));
    match percent_decode_str(text).decode_utf8() {
        Ok(text) if is_right => (!text.is_empty()).then(|| text.into_owned()),
        _ => {
            problems
                .push(format!("{what} has a % that begins no code such as %40; a % itself is written %25"));
            None
        }
    }
}

#[cfg(test)]
mod tests;
