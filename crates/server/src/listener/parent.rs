//! The program that has started this one, and is not to be outlived.

use std::{
    io::{ErrorKind, Read as _},
    thread,
};
use tokio::sync::oneshot;

/// Ends once standard input does: it is a pipe whose other end the parent has, and which the system closes however the
/// parent ends.
pub(crate) async fn parent_gone() {
    let (tell, told) = oneshot::channel();
    // A thread of its own: reading cannot be given up, and one of the runtime's would be waited for at the end.
    let reader = thread::Builder::new().name("parent".to_owned()).spawn(move || {
        let mut bytes = [0; 64];
        loop {
            match std::io::stdin().read(&mut bytes) {
                Ok(read) if read > 0 => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => break,
            }
        }
        let _ = tell.send(());
    });
    match reader {
        Ok(_) => drop(told.await),
        Err(error) => {
            tracing::error!(%error, "stopping: the end of the program that started this one would not be noticed");
        }
    }
}
