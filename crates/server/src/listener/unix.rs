//! The file of a Unix socket: nobody is let in before it has its permissions, one that a dead server has left is replaced,
//! and that of a living one never is.

use crate::settings::SocketMode;
use std::{
    fs::{self, File, OpenOptions, Permissions, TryLockError},
    io::{self, ErrorKind},
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};
use tokio::net::{UnixListener, UnixSocket, UnixStream};

/// Connections that may wait to be accepted; as many as for a port.
const BACKLOG: u32 = 1024;
/// How often somebody else may finish starting in the moment between our opening the lock and our having it.
const ATTEMPTS: usize = 8;

/// The file of a socket that listens. Dropping it removes the file, unless another has taken its place.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| identity(&metadata) == self.identity)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(%error, "{} could not be removed", self.path.display());
        }
    }
}

/// Listens at `path`, or says why not.
pub(super) async fn bind(path: &Path, mode: SocketMode) -> Result<(UnixListener, SocketFile), String> {
    let text = |error: io::Error| error.to_string();
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !folder.is_dir() {
        return Err(format!(
            "there is no folder {}; make it, or set listen to another path",
            folder.display()
        ));
    }
    // Of several that start at once one looks for a dead one's socket and replaces it while the others do not.
    let _lock = Lock::take(path)?;
    make_way(path).await?;
    let socket = UnixSocket::new_stream().map_err(text)?;
    socket.bind(path).map_err(text)?;
    let metadata = fs::symlink_metadata(path).map_err(text)?;
    let file = SocketFile { path: path.to_owned(), identity: identity(&metadata) };
    // Whoever connects before it listens is refused, so nobody comes in by the permissions that it was made with.
    fs::set_permissions(path, Permissions::from_mode(mode.bits())).map_err(text)?;
    Ok((socket.listen(BACKLOG).map_err(text)?, file))
}

/// Removes the socket of a server that is no more.
async fn make_way(path: &Path) -> Result<(), String> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.to_string()),
    };
    if !metadata.file_type().is_socket() {
        return Err("there is a file that is no socket; remove it, or set listen to another path".to_owned());
    }
    match UnixStream::connect(path).await {
        // Too many wait to be accepted: it is alive, and busy.
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::WouldBlock => {}
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
            return fs::remove_file(path).map_err(|error| {
                format!("the socket that another server has left cannot be removed: {error}")
            });
        }
        Err(error) => {
            return Err(format!(
                "there is a socket, and who has it cannot be asked: {error}; set listen to another path"
            ));
        }
    }
    Err("another server answers there; stop it, or set listen to another path".to_owned())
}

/// A file beside the socket that only one server has at a time, and that is removed with it.
struct Lock {
    path: PathBuf,
    _file: File,
}

impl Lock {
    fn take(socket: &Path) -> Result<Self, String> {
        let mut path = socket.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let failed = |error: io::Error| format!("{}: {error}", path.display());
        for _ in 0..ATTEMPTS {
            let file = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(&path);
            let file = file.map_err(failed)?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => break,
                Err(TryLockError::Error(error)) => return Err(failed(error)),
            }
            // Whoever had it may have removed it since it was opened.
            let ours = file.metadata().map_err(failed)?;
            if fs::symlink_metadata(&path).is_ok_and(|there| identity(&there) == identity(&ours)) {
                return Ok(Self { path, _file: file });
            }
        }
        Err("another server is starting there; stop it, or set listen to another path".to_owned())
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "{} could not be removed", self.path.display());
        }
    }
}

fn identity(metadata: &fs::Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}
