//! Writes the seeds of every target to a folder of its name, and prints the names: `fuzz-seeds FOLDER`.

#![expect(clippy::print_stdout, reason = "the names are its output")]

use narthex_fuzz::TARGETS;
use std::{env, error::Error, fs, path::Path};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = env::args_os().nth(1).ok_or("usage: fuzz-seeds FOLDER")?;
    for target in &TARGETS {
        let folder = Path::new(&folder).join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, seed) in (target.seeds)().iter().enumerate() {
            fs::write(folder.join(format!("seed-{number:04}")), seed)?;
        }
        println!("{}", target.name);
    }
    Ok(())
}
