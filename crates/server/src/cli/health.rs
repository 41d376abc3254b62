//! `narthex health`: for container health checks, where there is no curl.

use super::{Failure, print};
use crate::settings::{Flags, Settings};
use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    time::Duration,
};

/// How long the server may take to answer.
const PATIENCE: Duration = Duration::from_secs(3);

pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let settings = Settings::load(flags).map_err(Failure::Usage)?;
    let address = reachable(settings.listen);
    let failed = |what: &str| Failure::Failed(format!("{address} {what}"));
    let asked = TcpStream::connect_timeout(&address, PATIENCE).and_then(|mut stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        stream.write_all(
            format!("GET /health HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n").as_bytes(),
        )?;
        let mut answer = [0_u8; 12];
        stream.read_exact(&mut answer)?;
        Ok(answer)
    });
    match asked {
        Ok(answer) if answer.ends_with(b" 200") => print("ok"),
        Ok(_) => Err(failed("answers, but not with 200")),
        Err(error) => Err(failed(&format!("does not answer: {error}"))),
    }
}

/// A server that listens on all addresses is asked on this machine's own.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let address = match listen.ip() {
        IpAddr::V4(address) if address.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(address) if address.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        other => other,
    };
    SocketAddr::new(address, listen.port())
}
