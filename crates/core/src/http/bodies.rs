//! Reading bodies: each up to a size, and all that are held at once up to another, so that no number of connections
//! fills the memory.

use crate::error::{Code, Error, Result};
use axum::body::Body;
use bytes::Bytes;
use http::StatusCode;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use std::{
    future::Future as _,
    pin::pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    task::{Context, Poll, Waker},
};

/// The largest body that is read; nothing we take is nearly as large.
const LARGEST: usize = 1 << 20;
/// What all bodies may hold together, from their first byte until their requests are answered.
const ALL: usize = 64 << 20;
/// A body that is larger leaves half of that to those that are not, which are all that anybody honest sends.
const SMALL: usize = 64 << 10;
/// How much of a body that nobody wants is taken from the connection.
const SKIMMED: usize = 64 << 10;

/// How many bytes of bodies are held.
#[derive(Debug, Default)]
pub(crate) struct Bodies(AtomicUsize);

/// A body, and the room that it takes until it is dropped.
struct Held {
    bytes: Vec<u8>,
    charged: usize,
    bodies: Arc<Bodies>,
}

impl Held {
    fn append(&mut self, data: &[u8]) -> Result<()> {
        if self.bytes.len() + data.len() > LARGEST {
            return Err(too_large());
        }
        self.bytes.extend_from_slice(data);
        let size = self.bytes.capacity();
        let all = self.bodies.0.fetch_add(size - self.charged, Relaxed) + size - self.charged;
        self.charged = size;
        let most = if size > SMALL { ALL / 2 } else { ALL };
        if all > most {
            return Err(Error::busy("the bodies of all requests take too much room"));
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.bodies.0.fetch_sub(self.charged, Relaxed);
    }
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Reads a body to its end. It is copied: a client that sends it byte by byte decides neither how much memory is held
/// for each byte nor by what.
pub(super) async fn read(body: &mut Body, declared: Option<u64>, bodies: &Arc<Bodies>) -> Result<Bytes> {
    if declared.is_some_and(|length| length > LARGEST as u64) {
        return Err(too_large());
    }
    if body.is_end_stream() {
        return Ok(Bytes::new());
    }
    let mut held = Held { bytes: Vec::new(), charged: 0, bodies: Arc::clone(bodies) };
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| {
            let text = "The request body could not be read";
            Error::with(StatusCode::BAD_REQUEST, Some(Code::BAD_REQUEST.code), text).caused_by(error)
        })?;
        if let Some(data) = frame.data_ref() {
            held.append(data)?;
        }
    }
    Ok(Bytes::from_owner(held))
}

/// Takes what has come of a body that nobody has wanted, and waits for no more; whether that was its end, so that the
/// connection can be used again.
pub(super) async fn skim(body: &mut Body) -> bool {
    let mut skimmed = 0;
    let mut has_waited = false;
    while !body.is_end_stream() {
        let polled = pin!(body.frame()).poll(&mut Context::from_waker(Waker::noop()));
        match polled {
            Poll::Ready(None) => return true,
            Poll::Ready(Some(Ok(frame))) => {
                skimmed += frame.data_ref().map_or(0, Bytes::len);
                has_waited = false;
            }
            // Whoever reads the connection has to be asked for it, and is what drives us.
            Poll::Pending if !has_waited => {
                has_waited = true;
                tokio::task::yield_now().await;
            }
            Poll::Ready(Some(Err(_))) | Poll::Pending => return false,
        }
        if skimmed > SKIMMED {
            return false;
        }
    }
    true
}

fn too_large() -> Error {
    Error::new(StatusCode::PAYLOAD_TOO_LARGE, Code::PAYLOAD_TOO_LARGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(bodies: &Arc<Bodies>, size: usize) -> Result<Held> {
        let mut held = Held { bytes: Vec::new(), charged: 0, bodies: Arc::clone(bodies) };
        held.append(&vec![b' '; size]).map(|()| held)
    }

    #[test]
    fn large_bodies_leave_room_for_small_ones_and_all_is_given_back() {
        let bodies = Arc::default();
        let mut large: Vec<_> = (0..32).map(|_| held(&bodies, LARGEST).ok().unwrap()).collect();
        let refused = |size| held(&bodies, size).err().map(|error| error.status());
        assert_eq!(refused(LARGEST), Some(StatusCode::SERVICE_UNAVAILABLE));
        let small: Vec<_> = (0..512).map(|_| held(&bodies, SMALL).ok().unwrap()).collect();
        assert_eq!(refused(1), Some(StatusCode::SERVICE_UNAVAILABLE));
        drop(large.pop());
        assert_eq!((refused(SMALL), refused(SMALL + 1)), (None, Some(StatusCode::SERVICE_UNAVAILABLE)));
        drop((large, small));
        assert_eq!(bodies.0.load(Relaxed), 0);
    }

    #[test]
    fn a_body_that_grows_too_large_is_refused() {
        let bodies = Arc::default();
        let mut held = held(&bodies, LARGEST).ok().unwrap();
        assert_eq!(held.append(b" ").unwrap_err().status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
}
