//! `cargo xtask dist`: what is published for people who do not compile, an archive with the binary and what belongs to it.
//!
//! The same files make the same archive, byte for byte: names are sorted, owner, modes and times are fixed.

mod licences;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{
    npm,
    tools::{
        Need, OPENSSL, Outcome, cargo, is_root, on_path, output, provide, root, run as run_command, target,
    },
};

/// Every crate of the workspace has this version, so this one too.
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// What stands beside the binary: where it is in the repository, and its name in the archive.
const CONTENTS: [(&str, &str); 8] = [
    ("README.md", "README.md"),
    ("CHANGELOG.md", "CHANGELOG.md"),
    ("LICENSE-APACHE", "LICENSE-APACHE"),
    ("LICENSE-MIT", "LICENSE-MIT"),
    ("packaging/systemd/narthex.service", "systemd/narthex.service"),
    ("packaging/systemd/narthex.socket", "systemd/narthex.socket"),
    ("packaging/prometheus/alerts.yml", "prometheus/alerts.yml"),
    ("packaging/grafana/narthex.json", "grafana/narthex.json"),
];

/// Compiles the C in it, SQLite for example, for a static binary.
const MUSL: Need =
    Need { name: "musl-gcc", package: "musl-tools", present: || on_path("musl-gcc").is_some() };

/// Debian without a machine, and certificates for it.
const REHEARSAL: [Need; 3] = [
    Need { name: "debootstrap", package: "debootstrap", present: || on_path("debootstrap").is_some() },
    Need {
        name: "systemd-nspawn",
        package: "systemd-container",
        present: || on_path("systemd-nspawn").is_some(),
    },
    OPENSSL,
];

/// Builds and packs, for the target that `arguments` name or for the best one this machine has.
pub(crate) fn run(arguments: &[String]) -> Outcome {
    make(target_of(arguments, "dist")?).map(drop)
}

/// The target that the arguments of a command name, if they do.
pub(crate) fn target_of(arguments: &[String], command: &str) -> Outcome<Option<String>> {
    match arguments {
        [] => Ok(None),
        [flag, triple] if flag == "--target" => Ok(Some(triple.clone())),
        _ => Err(format!("usage: cargo xtask {command} [--target TRIPLE]")),
    }
}

/// Installs the archive on a Debian of its own, under systemd, and looks whether anybody is lost when the service is
/// restarted and stopped.
pub(crate) fn rehearse() -> Outcome {
    if !is_root() {
        return Err("a Debian of its own can only be booted by root".to_owned());
    }
    provide(&REHEARSAL)?;
    let client = root().join("conformance");
    npm::install(&client)?;
    let archive = make(None)?;
    run_command(Command::new(root().join("packaging/rehearsal/run")).arg(archive).arg(client))
}

/// The binary that is published, and what it was built for.
pub(crate) fn binary(triple: Option<String>) -> Outcome<(PathBuf, String)> {
    let host = host()?;
    let triple = triple.unwrap_or_else(|| best_target(&host, &installed_targets()));
    let is_for_host_processor = triple.split('-').next() == host.split('-').next();
    if triple.ends_with("-musl") && is_for_host_processor {
        provide(&[MUSL])?;
    }
    run_command(&mut cargo([
        "build",
        "--locked",
        "--profile",
        "dist",
        "--package",
        "narthex-server",
        "--target",
        &triple,
    ]))?;
    let binary = target().join(&triple).join("dist/narthex");
    if is_for_host_processor {
        says_its_version(&binary)?;
    }
    Ok((binary, triple))
}

fn make(triple: Option<String>) -> Outcome<PathBuf> {
    let (binary, triple) = binary(triple)?;
    let folder = target().join("packages");
    let name = format!("narthex-{VERSION}-{triple}");
    collect(&binary, root(), &folder.join(&name))?;
    let licences = folder.join(&name).join("THIRD-PARTY-LICENSES");
    fs::write(&licences, self::licences(&triple)?)
        .map_err(|error| format!("{}: {error}", licences.display()))?;
    let archive = pack(&folder, &name, &time_of_source()?)?;
    fs::remove_dir_all(folder.join(&name)).map_err(|error| format!("{name}: {error}"))?;
    let sums = sum(&folder)?;
    println!("{:>12} bytes  {}", size(&binary)?, binary.display());
    println!("{:>12} bytes  {}", size(&archive)?, archive.display());
    print!("{}\n{sums}", folder.join("SHA256SUMS").display());
    Ok(archive)
}

/// The licences of everything that is in the binary for this target.
pub(crate) fn licences(triple: &str) -> Outcome<String> {
    licences::collect(triple)
}

/// The target that a compiler on this machine builds for by itself.
pub(crate) fn host() -> Outcome<String> {
    let version = output(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc -vV names no host".to_owned())
}

/// What rustup has installed; nothing where Rust came without it.
fn installed_targets() -> String {
    if on_path("rustup").is_none() {
        return String::new();
    }
    output(Command::new("rustup").args(["target", "list", "--installed"])).unwrap_or_default()
}

/// A static binary runs on every Linux, so it is the better one wherever it can be built.
fn best_target(host: &str, installed: &str) -> String {
    let musl = host.replace("-linux-gnu", "-linux-musl");
    if installed.lines().any(|line| line.trim() == musl) { musl } else { host.to_owned() }
}

/// A binary that does not start here is not published.
fn says_its_version(binary: &Path) -> Outcome {
    let said = output(Command::new(binary).arg("--version"))?;
    if said.trim() == format!("narthex {VERSION}") {
        Ok(())
    } else {
        Err(format!("{} --version says {said:?}", binary.display()))
    }
}

/// Seconds since 1970 of what is packed: the last commit's, or `SOURCE_DATE_EPOCH` where that is set.
pub(crate) fn time_of_source() -> Outcome<String> {
    if let Some(seconds) = std::env::var_os("SOURCE_DATE_EPOCH") {
        return Ok(seconds.to_string_lossy().into_owned());
    }
    output(Command::new("git").args(["log", "-1", "--format=%ct"]).current_dir(root()))
        .map(|seconds| seconds.trim().to_owned())
        .map_err(|problem| format!("{problem}; outside a git repository set SOURCE_DATE_EPOCH"))
}

/// Puts everything that is packed into a new folder.
fn collect(binary: &Path, from: &Path, folder: &Path) -> Outcome {
    if folder.exists() {
        fs::remove_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    copy(binary, &folder.join("narthex"))?;
    CONTENTS.iter().try_for_each(|(source, name)| copy(&from.join(source), &folder.join(name)))
}

pub(crate) fn copy(from: &Path, to: &Path) -> Outcome {
    let copied = to.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::copy(from, to));
    copied.map(|_| ()).map_err(|error| format!("{} to {}: {error}", from.display(), to.display()))
}

/// Makes `<name>.tar.gz` of the folder `name`, both in `folder`.
fn pack(folder: &Path, name: &str, time: &str) -> Outcome<PathBuf> {
    let archive = format!("{name}.tar.gz");
    let mut tar = Command::new("tar");
    tar.current_dir(folder).args(["--create", "--format=ustar", "--sort=name"]);
    tar.args(["--owner=root:0", "--group=root:0", "--mode=u=rwX,go=rX"]);
    // gzip would write the time and the name of what it packs.
    tar.args(["--use-compress-program=gzip -9 --no-name", "--file", &archive]);
    run_command(tar.arg(format!("--mtime=@{time}")).arg(name))?;
    Ok(folder.join(archive))
}

/// Writes and returns the digests of all archives of this version, which may have been made one after the other.
fn sum(folder: &Path) -> Outcome<String> {
    let unreadable = |error| format!("{}: {error}", folder.display());
    let entries = fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let mut names: Vec<String> = Vec::new();
    for entry in entries.map_err(unreadable)? {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with(&format!("narthex-{VERSION}-")) && name.ends_with(".tar.gz") {
            names.push(name);
        }
    }
    names.sort();
    let sums = output(Command::new("sha256sum").args(&names).current_dir(folder))?;
    fs::write(folder.join("SHA256SUMS"), &sums).map_err(unreadable)?;
    Ok(sums)
}

fn size(file: &Path) -> Outcome<u64> {
    fs::metadata(file).map(|metadata| metadata.len()).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        os::unix::fs::PermissionsExt as _,
        time::{Duration, SystemTime},
    };

    #[test]
    fn a_static_target_is_taken_where_it_is_installed() {
        let gnu = "x86_64-unknown-linux-gnu";
        let other = "aarch64-unknown-linux-musl\nx86_64-unknown-linux-gnu\n";
        assert_eq!(best_target(gnu, other), gnu);
        assert_eq!(best_target(gnu, ""), gnu);
        let both = "x86_64-unknown-linux-gnu\nx86_64-unknown-linux-musl\n";
        assert_eq!(best_target(gnu, both), "x86_64-unknown-linux-musl");
    }

    #[test]
    fn everything_that_is_packed_exists() {
        for (source, _) in CONTENTS {
            assert!(root().join(source).is_file(), "{source}");
        }
    }

    #[test]
    fn the_image_is_built_with_the_rust_of_the_workspace() {
        let read = |file: &str| fs::read_to_string(root().join(file)).unwrap();
        let manifest = read("Cargo.toml");
        let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap();
        let wanted = format!("FROM rust:{}-", version.trim_matches('"'));
        assert!(read("Dockerfile").lines().any(|line| line.starts_with(&wanted)), "{wanted}");
    }

    #[test]
    fn the_same_files_make_the_same_archive_whenever_and_however_they_were_written() {
        let top = std::env::temp_dir().join(format!("narthex-dist-{}", std::process::id()));
        let make = |place: &str, order: [&str; 2], age: u64, mode: u32| {
            let folder = top.join(place);
            for name in order {
                let file = folder.join("narthex-1").join(name);
                fs::create_dir_all(file.parent().unwrap()).unwrap();
                fs::write(&file, name).unwrap();
                fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
                let time = SystemTime::UNIX_EPOCH + Duration::from_secs(age);
                fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
            }
            fs::read(pack(&folder, "narthex-1", "1700000000").unwrap()).unwrap()
        };
        let first = make("first", ["a", "b/c"], 1_000_000_000, 0o644);
        let second = make("second", ["b/c", "a"], 1_500_000_000, 0o600);
        let executable = make("executable", ["a", "b/c"], 1_000_000_000, 0o700);
        fs::remove_dir_all(&top).unwrap();
        assert!(!first.is_empty());
        assert!(first == second, "time, order or mode of the files shows in the archive");
        assert!(first != executable, "a program is no longer one when it is unpacked");
    }
}
