//! One kept connection, and bytes on a connection that no HTTP library would send.

use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinHandle;

use crate::client::{Answer, Client};

/// A connection that carries one request after the other.
pub struct Session {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<hyper::Result<()>>,
}

impl Session {
    /// Opens a connection.
    ///
    /// # Errors
    /// The connection or the handshake failed.
    pub async fn open(client: &Client) -> std::io::Result<Self> {
        let stream = client.connect().await?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(std::io::Error::other)?;
        Ok(Self { sender, driver: tokio::spawn(connection) })
    }

    /// Sends a request on this connection.
    ///
    /// # Errors
    /// The peer has closed it.
    pub async fn send(&mut self, request: Request<Full<Bytes>>) -> std::io::Result<Answer> {
        let broken = std::io::Error::other;
        self.sender.ready().await.map_err(broken)?;
        let (parts, body) = self.sender.send_request(request).await.map_err(broken)?.into_parts();
        let body = body.collect().await.map_err(broken)?.to_bytes().to_vec();
        let headers = parts.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), value.to_str().unwrap_or("").to_owned())
        });
        Ok(Answer { status: parts.status.as_u16(), headers: headers.collect(), body })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

/// Sends pieces as they are, for as long as the peer takes them, and reads the first answer.
///
/// # Errors
/// The peer closed the connection before it had answered.
pub async fn exchange(
    client: &Client,
    pieces: impl IntoIterator<Item = Vec<u8>, IntoIter: Send> + Send + 'static,
) -> std::io::Result<Answer> {
    let (mut reader, mut writer) = tokio::io::split(client.connect().await?);
    let pieces = pieces.into_iter();
    let sending = tokio::spawn(async move {
        for piece in pieces {
            writer.write_all(&piece).await?;
        }
        writer.flush().await?;
        // The connection stays open: how it goes on is the peer's turn.
        std::future::pending::<std::io::Result<()>>().await
    });
    let answer = async {
        let mut bytes = Vec::new();
        loop {
            if let Some(answer) = parse(&bytes) {
                return Ok(answer);
            }
            if reader.read_buf(&mut bytes).await? == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
    .await;
    sending.abort();
    answer
}

/// A whole answer, once its announced length is there.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).expect("a head in ASCII");
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().expect("status");
    let headers: std::collections::HashMap<String, String> = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    let length: usize = headers.get("content-length").map_or(0, |v| v.parse().expect("length"));
    let body = bytes.get(end + 4..end + 4 + length)?.to_vec();
    Some(Answer { status, headers, body })
}
