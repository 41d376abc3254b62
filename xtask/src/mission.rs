//! `cargo xtask mission <folder>`: takes the server-side code and the `.env` files out of the plans of an application, and
//! runs them as they are written: against the release binary, the Python package and Better Auth's own client.
//!
//! Nothing of the plans is kept: what is taken out of them is in `target/mission`, and what their code expects around it is
//! in `python/mission` and `conformance/mission`. Whatever is changed in it is printed.

mod environment;
mod plans;
mod service;

use std::{
    fs,
    net::{Ipv4Addr, TcpListener},
    os::unix::fs::symlink,
    path::{Path, PathBuf},
    process::Command,
};

use self::{
    environment::Replacement,
    plans::{Block, Plans},
    service::Service,
};
use crate::{
    conformance, npm,
    postgres::{self, Access, Postgres, Purpose, free_port},
    python,
    steps::Steps,
    tools::{self, OPENSSL, Outcome, output, root, run as run_command, target},
};

/// What the plans' URLs of databases say. The cluster of this run has the same user, password and database.
const USER: &str = "user";
const PASSWORD: &str = "pass";
const DATABASE: &str = "dbname";
/// It has other names of endpoints: those that the plans list.
const TOKEN_API: &str = "[plugins.token-api]";
/// Where the plans' service listens.
const PORT: u16 = 3001;

/// Takes the code out of the plans and runs all of it.
pub(crate) fn run(folder: &Path) -> Outcome {
    let mut steps = Steps::default();
    steps.run("tools", || tools::provide(&[postgres::NEED, python::VENV, OPENSSL]));
    let code = steps.run("the plans' code", || Code::take_from(folder));
    let binary = steps.run("release binary", conformance::release_binary);
    let packages = steps.run("npm packages", || npm::install(&conformance::folder()));
    let python = steps.run("Python packages", python::mission);
    let (Some(code), Some(binary), Some(()), Some(python)) = (code, binary, packages, python) else {
        return steps.finish();
    };
    let mission = Mission { code, binary, python };
    mission.development(&mut steps);
    mission.production(&mut steps);
    steps.finish()
}

/// What was taken out of the plans, in a folder of its own.
struct Code {
    folder: PathBuf,
    /// The `.env` of the auth service, in two parts.
    service: String,
    /// The `.env` of the backend.
    backend: String,
}

impl Code {
    fn take_from(folder: &Path) -> Outcome<Self> {
        let plans = Plans::read(folder)?;
        let code = Self {
            folder: target().join("mission"),
            service: plans.below("env", "**Auth Service** (`.env`)")?.code.clone(),
            backend: plans.below("env", "**FastAPI** (`.env`)")?.code.clone(),
        };
        drop(fs::remove_dir_all(&code.folder));
        code.keep("configuration/auth.ts", plans.file("typescript", "auth-service/src/lib/auth.ts")?)?;
        code.keep(
            "auth-service/tests/auth.test.ts",
            plans.file("typescript", "auth-service/tests/auth.test.ts")?,
        )?;
        code.keep("endpoints", plans.below("", "**Better Auth Service** (auto-generated")?)?;
        code.keep("backend/src/middleware/auth.py", plans.file("python", "backend/src/middleware/auth.py")?)?;
        code.keep("backend/src/routers/query.py", plans.with("python", "logging.getLogger(\"auth\")")?)?;
        code.keep("backend/src/utils/jwt_validator.py", plans.with("python", "{\"verify_exp\": True}")?)?;

        let test = plans.file("python", "backend/tests/test_jwt_validation.py")?;
        let file = code.keep("backend/tests/test_jwt_validation.py", test)?;
        let (jose, ours) = ("from jose import jwt\n", "import jwt\n");
        if test.code.matches(jose).count() != 1 {
            return Err(format!("{test}: the line `{}` is not there once", jose.trim()));
        }
        println!("{test}: `{}` is replaced by `{}`", jose.trim(), ours.trim());
        write(&file, &test.code.replace(jose, ours))?;
        Ok(code)
    }

    fn keep(&self, name: &str, block: &Block) -> Outcome<PathBuf> {
        println!("{block}: {name}");
        let file = self.folder.join(name);
        write(&file, &block.code)?;
        Ok(file)
    }
}

/// All that the steps need.
struct Mission {
    code: Code,
    binary: PathBuf,
    python: PathBuf,
}

impl Mission {
    /// The first part of the service's `.env`, the backend's `.env`, and everything that asks the service or the backend.
    fn development(&self, steps: &mut Steps) {
        let access = Access { user: USER, password: Some(PASSWORD), certificate: None };
        let prepared = steps.run("PostgreSQL", || Ok((self.database(access)?, self.secret()?)));
        let Some((postgres, secret)) = prepared else { return };
        let service = steps.run(".env, development", || {
            let database = Replacement::new("localhost:5432", format!("localhost:{}", postgres.port()));
            self.serve("Development", &[database, Replacement::secret("your-256-bit-secret-key", &secret)])
        });
        let Some(service) = service else { return };
        steps.run("what it answers", || self.pytest(&service, &["test_service.py".as_ref()]));
        steps.run("auth.test.ts", || self.vitest(&service));
        let backend = steps.run(".env, FastAPI", || self.backend(&service, &secret));
        if backend.is_some() {
            steps.run("test_jwt_validation.py", || {
                self.pytest(&service, &[&self.code.folder.join("backend/tests/test_jwt_validation.py")])
            });
            steps.run("the backend's code", || self.pytest(&service, &["test_backend.py".as_ref()]));
        }
        steps.run("it stops", || service.stop());
    }

    /// The second part, with a PostgreSQL that talks to nobody without TLS.
    fn production(&self, steps: &mut Steps) {
        let prepared = steps.run("PostgreSQL with TLS", || {
            let certificate = self.certificate()?;
            let access = Access { user: USER, password: Some(PASSWORD), certificate: Some(&certificate) };
            Ok((self.database(access)?, self.secret()?, certificate.join("server.crt")))
        });
        let Some((postgres, secret, authority)) = prepared else { return };
        let service = steps.run(".env, production", || {
            let ours = [
                Replacement::new("db.neon.tech:5432", format!("localhost:{}", postgres.port())),
                // Of authorities that browsers trust nothing has to be said.
                Replacement::new(
                    "sslmode=require",
                    format!("sslmode=require&sslrootcert={}", authority.display()),
                ),
                Replacement::secret("<production-secret>", &secret),
            ];
            self.serve("Production", &ours)
        });
        let Some(service) = service else { return };
        steps.run("narthex doctor", || service.narthex("doctor"));
        steps.run("what it answers then", || self.pytest(&service, &["test_service.py".as_ref()]));
        steps.run("it stops then", || service.stop());
    }

    fn database(&self, access: Access<'_>) -> Outcome<Postgres> {
        let postgres = Postgres::start_for(Purpose::Tests, access)?;
        postgres.create_database(DATABASE)?;
        Ok(postgres)
    }

    fn secret(&self) -> Outcome<String> {
        output(Command::new(&self.binary).arg("secret")).map(|secret| secret.trim().to_owned())
    }

    /// One that is its own authority.
    fn certificate(&self) -> Outcome<PathBuf> {
        let folder = self.code.folder.join("certificate");
        make_folder(&folder)?;
        let mut command = Command::new("openssl");
        command.args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]);
        command.args(["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]);
        command.args(["-addext", "basicConstraints=critical,CA:FALSE", "-out", "server.crt"]);
        run_command(command.args(["-keyout", "server.key"]).current_dir(&folder))?;
        Ok(folder)
    }

    /// Starts the service with a part of its `.env`, and with the plan's configuration of Better Auth.
    fn serve(&self, part: &str, replacements: &[Replacement]) -> Outcome<Service> {
        let text = environment::part(&self.code.service, part)
            .ok_or_else(|| format!("the auth service's .env has no part below `# {part}`"))?;
        let folder = self.code.folder.join("auth-service").join(part.to_lowercase());
        let configuration = conformance::folder().join("mission/configuration.ts");
        let mut tsx = Command::new(conformance::folder().join("node_modules/.bin/tsx"));
        let toml = output(tsx.arg(configuration).arg(self.code.folder.join("configuration/auth.ts")))?;
        println!(
            "narthex.toml: what the plan configures, and {TOKEN_API} for the names that it has for endpoints"
        );
        write(&folder.join("narthex.toml"), &format!("{toml}\n{TOKEN_API}\n"))?;
        let port = port()?;
        let text = fill_in(&fill_in(&text, &with_port(port)), replacements);
        write(&folder.join(".env"), &text)?;
        Service::start(&self.binary, folder, port, environment::variables(&text))
    }

    /// Makes the backend's `.env` that of a backend of this service.
    fn backend(&self, service: &Service, secret: &str) -> Outcome {
        let text = fill_in(&self.code.backend, &with_port(service.port));
        let text = fill_in(&text, &[Replacement::secret("<same-as-auth-service>", secret)]);
        write(&self.code.folder.join("backend/.env"), &text)
    }

    fn pytest(&self, service: &Service, tests: &[&Path]) -> Outcome {
        let ours = root().join("python/mission");
        let mut command = Command::new(&self.python);
        command.args(["-m", "pytest", "-v", "-p", "surroundings", "-p", "no:cacheprovider"]).args(tests);
        command.arg("--rootdir").arg(&ours).arg("--config-file").arg(ours.join("pytest.ini"));
        command.env("PYTHONPATH", &ours).env("PYTHONDONTWRITEBYTECODE", "1").current_dir(&ours);
        command.env("MISSION", &self.code.folder).env("SERVICE_ENV", service.folder.join(".env"));
        run_command(&mut command)
    }

    /// With our `src/lib/auth.ts`, which is the official client.
    fn vitest(&self, service: &Service) -> Outcome {
        let (folder, conformance) = (self.code.folder.join("auth-service"), conformance::folder());
        let ours = conformance.join("mission/auth.ts");
        let adapter = fs::read_to_string(&ours).map_err(|error| failed(&ours, &error))?;
        write(&folder.join("src/lib/auth.ts"), &adapter)?;
        let modules = folder.join("node_modules");
        symlink(conformance.join("node_modules"), &modules).map_err(|error| failed(&modules, &error))?;
        let mut command = npm::command(&folder, ["exec", "--no", "--", "vitest", "run"]);
        run_command(command.envs(service.variables.iter().map(|(name, value)| (name, value))))
    }
}

/// The plans' port, unless somebody has it.
fn port() -> Outcome<u16> {
    match TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)) {
        Ok(_) => Ok(PORT),
        Err(_) => free_port(),
    }
}

/// Nothing to replace where the port is the plans' own.
fn with_port(port: u16) -> Vec<Replacement> {
    let other = (port != PORT).then(|| Replacement::new("3001", port.to_string()));
    other.into_iter().collect()
}

/// Prints what is replaced.
fn fill_in(text: &str, replacements: &[Replacement]) -> String {
    let (text, replaced) = environment::filled_in(text, replacements);
    for line in replaced {
        println!("{line}");
    }
    text
}

fn make_folder(folder: &Path) -> Outcome {
    fs::create_dir_all(folder).map_err(|error| failed(folder, &error))
}

fn write(file: &Path, text: &str) -> Outcome {
    make_folder(file.parent().unwrap_or(file))?;
    fs::write(file, text).map_err(|error| failed(file, &error))
}

fn failed(path: &Path, error: &std::io::Error) -> String {
    format!("{}: {error}", path.display())
}
