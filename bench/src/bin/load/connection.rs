//! One keep-alive HTTP/1.1 connection: a request out, a whole response in.

use std::net::Ipv4Addr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use crate::Failure;

pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// How the end of a body is found.
#[derive(Debug, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunked,
}

impl Connection {
    pub(crate) async fn open(port: u16) -> Result<Self, Failure> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: Vec::with_capacity(16 * 1024) })
    }

    /// Sends the request and reads the answer, which must be a 200 whose body begins as expected.
    pub(crate) async fn exchange(&mut self, request: &[u8], expected: &[u8]) -> Result<(), Failure> {
        self.stream.write_all(request).await?;
        self.buffer.clear();
        let head = loop {
            self.receive().await?;
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                break end + 4;
            }
        };
        let length = length(self.buffer.get(..head).unwrap_or_default());
        let body = loop {
            let rest = self.buffer.get(head..).unwrap_or_default();
            let body = match length {
                Some(Length::Bytes(count)) => rest.get(..count),
                Some(Length::Chunked) => first_chunk_if_complete(rest),
                None => return Err(self.unexpected()),
            };
            match body {
                Some(body) => break body,
                None => self.receive().await?,
            }
        };
        if self.buffer.starts_with(b"HTTP/1.1 200 ") && body.starts_with(expected) {
            Ok(())
        } else {
            Err(self.unexpected())
        }
    }

    /// A header of the last answer.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let head = self.buffer.get(..find(&self.buffer, b"\r\n\r\n")?)?;
        let mut lines = std::str::from_utf8(head).ok()?.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    async fn receive(&mut self) -> Result<(), Failure> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            return Err(self.unexpected());
        }
        Ok(())
    }

    fn unexpected(&self) -> Failure {
        format!("unexpected answer: {}", String::from_utf8_lossy(&self.buffer)).into()
    }
}

fn find(text: &[u8], sought: &[u8]) -> Option<usize> {
    text.windows(sought.len()).position(|window| window == sought)
}

fn length(head: &[u8]) -> Option<Length> {
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"content-length") {
            let value = std::str::from_utf8(value.get(1..)?).ok()?;
            return value.trim().parse().ok().map(Length::Bytes);
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            return Some(Length::Chunked);
        }
    }
    None
}

/// The first chunk of a chunked body, once the last one has arrived.
fn first_chunk_if_complete(body: &[u8]) -> Option<&[u8]> {
    let mut first = None;
    let mut rest = body;
    loop {
        let line = find(rest, b"\r\n")?;
        let (size, after) = rest.split_at(line);
        let size = usize::from_str_radix(std::str::from_utf8(size).ok()?, 16).ok()?;
        let after = after.get(2..)?;
        let chunk = after.get(..size)?;
        rest = after.get(size + 2..)?;
        if size == 0 {
            return Some(first.unwrap_or_default());
        }
        first = first.or(Some(chunk));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_length_is_found_whatever_the_case_of_its_name() {
        assert_eq!(length(b"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n"), Some(Length::Bytes(12)));
        assert_eq!(length(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"), Some(Length::Chunked));
        assert_eq!(length(b"HTTP/1.1 200 OK\r\ndate: now\r\n\r\n"), None);
    }

    #[test]
    fn a_chunked_body_is_complete_only_with_its_last_chunk() {
        let body = b"5\r\nhello\r\n3\r\n me\r\n0\r\n\r\n";
        assert_eq!(first_chunk_if_complete(body), Some(&b"hello"[..]));
        for end in 0..body.len() {
            assert_eq!(first_chunk_if_complete(&body[..end]), None, "{end}");
        }
    }
}
