//! Runs a test's code inside a request, where the only way to a transaction is.

use http::HeaderMap;
use narthex::{BoxFuture, Ctx, Error, Plugin, Result, Setup, http::Reply};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// A header that names the job a request runs.
pub(crate) const HEADER: &str = "x-job";
/// Where jobs run: a `GET`, so that dropping the request drops the job.
pub(crate) const PATH: &str = "/probe";

pub(crate) type Job = Box<dyn for<'a> FnOnce(&'a mut Ctx) -> BoxFuture<'a, ()> + Send>;

/// Jobs that wait for their request. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Jobs(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    next: u64,
    jobs: HashMap<String, Job>,
}

impl Jobs {
    /// The name under which a request finds the job.
    pub(crate) fn add(&self, job: Job) -> String {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.next += 1;
        let name = waiting.next.to_string();
        waiting.jobs.insert(name.clone(), job);
        name
    }

    fn take(&self, headers: &HeaderMap) -> Option<Job> {
        let name = headers.get(HEADER)?.to_str().ok()?;
        self.0.lock().unwrap_or_else(PoisonError::into_inner).jobs.remove(name)
    }
}

/// The plugin that runs them.
pub(crate) struct Probe(pub(crate) Jobs);

impl Plugin for Probe {
    const ID: &'static str = "probe";

    fn install(&self, setup: &mut Setup<'_, Self>) {
        setup.get(PATH, Self::run);
    }
}

impl Probe {
    /// `GET /probe`
    async fn run(&self, cx: &mut Ctx) -> Result<Reply> {
        let job = self.0.take(cx.headers()).ok_or_else(|| Error::internal("no such job"))?;
        job(cx).await;
        Ok(Reply::empty(http::StatusCode::NO_CONTENT))
    }
}
