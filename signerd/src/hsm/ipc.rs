//! What the front and a worker say to each other over their Unix socket.
//!
//! A frame is a length and one CBOR message (RFC 8949) of that many bytes:
//!
//! ```text
//!  0            4                          4 + n
//!  +------------+--------------------------+
//!  | n, u32 BE  | CBOR message, n bytes    |      1 ≤ n ≤ FRAME_BYTES_MAX
//!  +------------+--------------------------+
//!
//!   worker                                            front
//!     │  Hello {version, module, token, keys, secret}   │   once, after log-in and a proof of
//!     │ ──────────────────────────────────────────────► │   every key by a verified signature
//!     │  Sign {id, key, digests}                        │   up to sessions + 1 in flight;
//!     │ ◄────────────────────────────────────────────── │   digests: n × 32 bytes in one string
//!     │  Signed {id, signatures, took_us}               │   in any order; signatures: n × the
//!     │ ──────────────────────────────────────────────► │   key's length in one string
//!     │  Prove                                          │   a signature did not verify: prove the
//!     │ ◄────────────────────────────────────────────── │   keys before anything else is signed
//!     │  Failed {id, kind, detail}                      │   this request only
//!     │ ──────────────────────────────────────────────► │
//!     │  Alive                                          │   from time to time, so that a stopped
//!     │ ──────────────────────────────────────────────► │   process is told from a slow HSM
//!     │  Fatal {kind, detail}                           │   the worker's last word
//!     │ ──────────────────────────────────────────────► │
//! ```
//!
//! In go messages, out come bytes, and back. A frame that is longer than the bound, has bytes left
//! over or does not fit its type is an error, and the connection is given up. Both ends are the
//! same program of the same version; [`VERSION`] guards against an upgrade of only one of them.

use std::fmt;
use std::io;
use std::io::Read;

use serde::Deserialize;
use serde::Serialize;
use tokio::io::AsyncRead;
use tokio::io::AsyncReadExt;
use zeroize::Zeroizing;

/// Version of these messages; both ends must agree.
pub(crate) const VERSION: u32 = 2;
/// Longest message: 64 signatures of RSA-4096 are 32 KiB, a Hello with 64 keys about 8 KiB.
pub(crate) const FRAME_BYTES_MAX: usize = 128 * 1024;
/// Length of a SHA-256 digest.
pub(crate) const DIGEST_BYTES: usize = 32;
const HEADER_BYTES: usize = 4;

/// From the front to a worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToWorker {
    /// Sign these digests with that key.
    Sign { id: u64, key: String, digests: Bytes },
    /// A signature did not verify: prove every key before you sign on.
    Prove,
}

/// From a worker to the front.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ToFront {
    /// The worker is ready.
    Hello(Hello),
    /// The signatures, in the order of the digests.
    Signed { id: u64, signatures: Bytes, took_us: u64 },
    /// This request cannot be served, others can.
    Failed { id: u64, kind: FaultKind, detail: String },
    /// The process runs.
    Alive,
    /// The worker ends, and why.
    Fatal { kind: FaultKind, detail: String },
}

/// What a worker is and holds.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Hello {
    /// [`VERSION`] of the worker.
    pub(crate) version: u32,
    /// The module's own name and version.
    pub(crate) module: String,
    /// Label and serial number of the token.
    pub(crate) token: String,
    /// Names of the keys that are found, bound and proved.
    pub(crate) keys: Vec<String>,
    /// The token's secret for the ledger, 32 bytes.
    pub(crate) secret: Bytes,
}

impl fmt::Debug for Hello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hello")
            .field("version", &self.version)
            .field("module", &self.module)
            .field("token", &self.token)
            .field("keys", &self.keys)
            .finish_non_exhaustive()
    }
}

/// Whom a fault of a worker concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FaultKind {
    /// The configuration and the token do not fit each other; an operator must change one of them.
    Config,
    /// The key is not one of this worker's.
    Key,
    /// The PIN was refused or must not be tried; an operator must clear the latch.
    Pin,
    /// The token or its module failed; starting again may cure it.
    Token,
}

impl FaultKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Config, Self::Key, Self::Pin, Self::Token];

    /// A stable lower-case name for logs and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Config => "config",
            Self::Key => "key",
            Self::Pin => "pin",
            Self::Token => "token",
        }
    }

    /// `EX_TEMPFAIL`, `EX_NOPERM` and `EX_CONFIG` of sysexits.h.
    #[must_use]
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Token => 75,
            Self::Pin => 77,
            Self::Config | Self::Key => 78,
        }
    }
}

/// A byte string; plain `Vec<u8>` would become a CBOR array of integers. Wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Bytes(pub(crate) Zeroizing<Vec<u8>>);

impl Bytes {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a byte string")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes::new(bytes.to_vec()))
            }

            fn visit_byte_buf<E: serde::de::Error>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes::new(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Visitor)
    }
}

/// One message as a frame.
///
/// # Errors
/// `InvalidData` where the message is longer than [`FRAME_BYTES_MAX`].
pub(crate) fn frame<M: Serialize>(message: &M) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut frame = Zeroizing::new(vec![0; HEADER_BYTES]);
    ciborium::into_writer(message, &mut *frame).map_err(|e| invalid(&e.to_string()))?;
    let length = frame.len().saturating_sub(HEADER_BYTES);
    if length > FRAME_BYTES_MAX {
        return Err(invalid(&format!("a message of {length} bytes is too long")));
    }
    let header = u32::try_from(length).map_err(|_| invalid("a message is too long"))?.to_be_bytes();
    if let Some(start) = frame.first_chunk_mut::<HEADER_BYTES>() {
        *start = header;
    }
    Ok(frame)
}

/// Reads one message; `None` where the other end closed the connection between two messages.
///
/// # Errors
/// Those of the connection, and `InvalidData` for a frame that is not one.
pub(crate) fn read<M: for<'de> Deserialize<'de>>(from: &mut impl Read) -> io::Result<Option<M>> {
    let mut header = [0; HEADER_BYTES];
    match from.read_exact(&mut header) {
        Ok(()) => {}
        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(e) => return Err(e),
    }
    let mut body = Zeroizing::new(vec![0; body_length(header)?]);
    from.read_exact(&mut body)?;
    message(&body).map(Some)
}

/// Takes messages out of a connection; giving up a call of [`Inlet::next`] loses nothing.
pub(crate) struct Inlet<R> {
    connection: R,
    buffer: Zeroizing<Vec<u8>>,
}

impl<R: AsyncRead + Unpin> Inlet<R> {
    pub(crate) fn new(connection: R) -> Self {
        Self { connection, buffer: Zeroizing::new(Vec::with_capacity(16 * 1024)) }
    }

    /// The next message; `None` where the other end closed the connection.
    ///
    /// # Errors
    /// Those of the connection, and `InvalidData` for a frame that is not one.
    pub(crate) async fn next<M: for<'de> Deserialize<'de>>(&mut self) -> io::Result<Option<M>> {
        loop {
            if let Some(message) = self.take()? {
                return Ok(Some(message));
            }
            if self.connection.read_buf(&mut *self.buffer).await? == 0 {
                return Ok(None);
            }
        }
    }

    fn take<M: for<'de> Deserialize<'de>>(&mut self) -> io::Result<Option<M>> {
        let Some(header) = self.buffer.first_chunk::<HEADER_BYTES>() else { return Ok(None) };
        let end = body_length(*header)?.saturating_add(HEADER_BYTES);
        let Some(body) = self.buffer.get(HEADER_BYTES..end) else { return Ok(None) };
        let message = message(body)?;
        self.buffer.drain(..end);
        Ok(Some(message))
    }
}

fn body_length(header: [u8; HEADER_BYTES]) -> io::Result<usize> {
    match usize::try_from(u32::from_be_bytes(header)) {
        Ok(length) if (1..=FRAME_BYTES_MAX).contains(&length) => Ok(length),
        _ => Err(invalid("a frame has a length out of bounds")),
    }
}

fn message<M: for<'de> Deserialize<'de>>(mut body: &[u8]) -> io::Result<M> {
    let message = ciborium::from_reader(&mut body).map_err(|e| invalid(&e.to_string()))?;
    if body.is_empty() { Ok(message) } else { Err(invalid("a message has bytes left over")) }
}

fn invalid(problem: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign() -> ToWorker {
        ToWorker::Sign { id: 7, key: "vn-moh".into(), digests: Bytes::new(vec![9; 64]) }
    }

    #[test]
    fn a_message_survives_its_frame() {
        // What one end writes is what the other end reads, and byte strings stay byte strings.
        let frame = frame(&sign()).unwrap();
        assert!(frame.windows(2).any(|pair| pair == [0x58, 0x40]), "byte string of 64 bytes");
        let read: Option<ToWorker> = read(&mut &frame[..]).unwrap();
        assert_eq!(read, Some(sign()));
    }

    #[test]
    fn a_closed_connection_is_not_an_error() {
        // The end of the connection between two messages is the end, not a fault.
        assert_eq!(read::<ToWorker>(&mut &[][..]).unwrap(), None);
    }

    #[test]
    fn a_bad_frame_is_refused() {
        // Too long, empty, cut off, left-over bytes and foreign CBOR are all refused.
        let good = frame(&sign()).unwrap();
        let mut over = good.to_vec();
        over[3] += 1;
        over.push(0);
        for bytes in
            [&[0xff, 0xff, 0xff, 0xff, 0][..], &[0; 4], &good[..20], &over, &[0, 0, 0, 1, 0x01]]
        {
            assert!(read::<ToWorker>(&mut &bytes[..]).is_err(), "{bytes:?}");
        }
    }

    #[tokio::test]
    async fn messages_are_taken_from_pieces() {
        // A message is complete only with its last byte, and two in one read are both taken.
        let twice = [&frame(&sign()).unwrap()[..], &frame(&sign()).unwrap()[..]].concat();
        for cut in [1, 4, 30, twice.len() / 2 + 3] {
            let (head, tail) = twice.split_at(cut);
            let connection = AsyncReadExt::chain(head, tail);
            let mut inlet = Inlet::new(connection);
            assert_eq!(inlet.next().await.unwrap(), Some(sign()));
            assert_eq!(inlet.next().await.unwrap(), Some(sign()));
            assert_eq!(inlet.next::<ToWorker>().await.unwrap(), None);
        }
    }

    #[test]
    fn the_secret_never_prints() {
        // A Hello in a log line shows no byte of the secret.
        let hello = Hello {
            version: VERSION,
            module: "m".into(),
            token: "t".into(),
            keys: vec![],
            secret: Bytes::new(vec![0xab; 32]),
        };
        let text = format!("{:?}", ToFront::Hello(hello));
        assert!(!text.contains("171") && !text.contains("ab,"), "{text}");
    }
}
