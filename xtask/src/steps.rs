//! A sequence of steps that all run, whatever the earlier ones did, and a table of them at the end.

use std::time::{Duration, Instant};

use crate::tools::Outcome;

struct Step {
    name: String,
    took: Duration,
    problem: Option<String>,
}

/// The steps that have run so far.
#[derive(Default)]
pub(crate) struct Steps(Vec<Step>);

impl Steps {
    /// Runs one step, keeps its time and its problem, and gives back what it made.
    pub(crate) fn run<T>(&mut self, name: &str, work: impl FnOnce() -> Outcome<T>) -> Option<T> {
        println!("\n── {name}");
        let start = Instant::now();
        let outcome = work();
        let took = start.elapsed();
        let (value, problem) = match outcome {
            Ok(value) => (Some(value), None),
            Err(problem) => {
                eprintln!("{name}: {problem}");
                (None, Some(problem))
            }
        };
        self.0.push(Step { name: name.to_owned(), took, problem });
        value
    }

    /// Prints the table and the totals; fails when a step did.
    pub(crate) fn finish(self) -> Outcome {
        println!("\n{}", self.table());
        if self.0.iter().any(|step| step.problem.is_some()) {
            Err("not everything passed".to_owned())
        } else {
            Ok(())
        }
    }

    fn table(&self) -> String {
        let rows = self.0.iter().map(|step| {
            let verdict = step.problem.as_deref().map_or_else(
                || "ok".to_owned(),
                |problem| format!("FAILED: {}", problem.lines().next().unwrap_or_default()),
            );
            format!("{:>8.1} s  {:<24} {verdict}\n", step.took.as_secs_f64(), step.name)
        });
        let failed = self.0.iter().filter(|step| step.problem.is_some()).count();
        format!("{}{} passed, {failed} failed", rows.collect::<String>(), self.0.len() - failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_step_does_not_stop_the_next_and_fails_the_whole() {
        let mut steps = Steps::default();
        assert_eq!(steps.run("first", || Err::<u8, _>("broken\nin detail".to_owned())), None);
        assert_eq!(steps.run("second", || Ok(7)), Some(7));
        let table = steps.table();
        assert!(table.contains("first") && table.contains("FAILED: broken\n"), "{table}");
        assert!(table.ends_with("1 passed, 1 failed"), "{table}");
        assert!(steps.finish().is_err());
    }
}
