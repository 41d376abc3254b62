//! `cargo xtask test`: everything the build server runs, on a private PostgreSQL too.

use crate::{
    check, conformance, fuzz, instructions, npm,
    postgres::{self, Postgres, Purpose},
    python,
    redis::{self, Redis},
    steps::Steps,
    tools::{self, Outcome, cargo, run as run_command},
    wheel,
};

/// Runs everything and reports each step.
pub(crate) fn run() -> Outcome {
    let mut steps = Steps::default();
    steps.run("tools", || {
        tools::provide(&[
            postgres::NEED,
            tools::PGBOUNCER,
            redis::NEED,
            tools::STRACE,
            tools::FAKETIME,
            instructions::VALGRIND,
            fuzz::COMPILER,
            python::VENV,
            tools::CURL,
            tools::JQ,
        ])
    });
    check::add(&mut steps);
    let postgres = steps.run("PostgreSQL", || Postgres::start(Purpose::Tests));
    let postgres = || postgres.as_ref().ok_or_else(|| "PostgreSQL did not start".to_owned());

    steps.run("tests on PostgreSQL", || {
        run_command(check::rust_tests().env("TEST_DATABASE", postgres()?.url("postgres")))
    });
    steps.run("doc tests", || run_command(&mut cargo(["test", "--workspace", "--doc"])));
    steps.run("fuzz targets", || fuzz::run(&fuzz::Options::in_tests()));
    let binary = steps.run("release binary", conformance::release_binary);
    steps.run("instruction counts", || instructions::run(&[]));
    let packages = steps.run("npm packages", || npm::install(&conformance::folder()));
    let redis = steps.run("Redis", Redis::start);
    let redis = || redis.as_ref().ok_or_else(|| "Redis did not start".to_owned());
    let packages = || packages.ok_or_else(|| "the npm packages are not installed".to_owned());
    let binary = || binary.as_ref().ok_or_else(|| "the release binary was not built".to_owned());
    steps.run("conformance", || {
        packages()?;
        conformance::scenarios(binary()?, postgres()?, redis()?, &[])
    });
    steps.run("handing data over", || {
        packages()?;
        conformance::data(binary()?, postgres()?)
    });
    steps.run("beside Better Auth", || {
        packages()?;
        conformance::alternate(binary()?, postgres()?, redis()?)
    });
    steps.run("TypeScript types", || {
        packages()?;
        run_command(&mut npm::command(&conformance::folder(), ["run", "typecheck"]))
    });
    steps.run("Python package", python::package);
    steps.run("tokens elsewhere", || {
        packages()?;
        python::interop(binary()?, &conformance::folder().join("node_modules"))
    });
    steps.run("installed by pip", || wheel::check(binary()?));
    steps.run("FastAPI alone", || python::fastapi_example(binary()?, &postgres()?.url("postgres")));
    steps.finish()
}
