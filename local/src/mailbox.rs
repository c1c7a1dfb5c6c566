//! A mail server on 127.0.0.1 that keeps every mail for people to read. It speaks enough SMTP (RFC 5321) for the real
//! client: EHLO, MAIL, RCPT, DATA with dots doubled, RSET, NOOP, QUIT. No mail ever leaves this machine.

mod parsed;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Context;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::clock::Clock;

/// How many mails are kept.
const KEPT: usize = 200;
/// No line and no mail of ours is longer.
const LONGEST: usize = 1024 * 1024;

/// A mail as it came.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Mail {
    /// When.
    pub at: Timestamp,
    /// To whom, as the envelope says.
    pub to: Vec<String>,
    /// All of it.
    pub raw: String,
}

/// The mail server and what it keeps.
pub struct Mailbox {
    /// None if nothing is served.
    port: Option<u16>,
    shared: Arc<Shared>,
    serving: Option<JoinHandle<()>>,
}

struct Shared {
    clock: Clock,
    mails: Mutex<Vec<Mail>>,
    /// Every mail is refused with this line instead.
    refusal: Mutex<Option<String>>,
}

impl Drop for Mailbox {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.abort();
        }
    }
}

fn held<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Mailbox {
    /// Takes a free port, with what was kept.
    pub async fn open(clock: Clock, kept: &Value) -> anyhow::Result<Self> {
        let mails = if kept.is_null() {
            Vec::new()
        } else {
            serde_json::from_value(kept.clone())
                .context("the kept mails are of another version; delete the folder to start afresh")?
        };
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.context("no port for the mail server")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared { clock, mails: Mutex::new(mails), refusal: Mutex::new(None) });
        let served = Arc::clone(&shared);
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&served);
                tokio::spawn(async move {
                    if let Err(error) = converse(&shared, stream).await {
                        tracing::warn!(%error, "a conversation with the mail server broke off");
                    }
                });
            }
        });
        Ok(Self { port: Some(port), shared, serving: Some(serving) })
    }

    /// One that nothing can be sent to.
    pub fn shut(clock: Clock) -> Self {
        let shared = Arc::new(Shared { clock, mails: Mutex::default(), refusal: Mutex::default() });
        Self { port: None, shared, serving: None }
    }

    /// Its address, if it takes mails.
    pub fn url(&self) -> Option<String> {
        self.port.map(|port| format!("smtp://127.0.0.1:{port}"))
    }

    /// Every mail, oldest first.
    pub fn mails(&self) -> Vec<Mail> {
        held(&self.shared.mails).clone()
    }

    /// From now on every mail is answered with this line (`451 later`), or taken again.
    pub fn refuse(&self, line: Option<&str>) {
        *held(&self.shared.refusal) = line.map(str::to_owned);
    }

    /// To be kept over a restart.
    pub fn save(&self) -> Value {
        serde_json::to_value(&*held(&self.shared.mails)).unwrap_or_default()
    }
}

/// One conversation. A mail is kept once its last line has come.
async fn converse(shared: &Shared, mut stream: TcpStream) -> std::io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::new(reader);
    writer.write_all(b"220 mailbox.localhost\r\n").await?;
    let mut to = Vec::new();
    while let Some(line) = line(&mut reader).await? {
        let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
        let answer = match verb.as_str() {
            "EHLO" | "HELO" => "250-mailbox.localhost\r\n250-8BITMIME\r\n250 SMTPUTF8".to_owned(),
            "MAIL" => {
                to.clear();
                "250 OK".to_owned()
            }
            "RCPT" => {
                let address =
                    line.split_once('<').and_then(|(_, rest)| rest.split_once('>')).map(|(address, _)| address);
                to.extend(address.map(str::to_owned));
                "250 OK".to_owned()
            }
            "DATA" if to.is_empty() => "503 Nobody to send it to".to_owned(),
            "DATA" => {
                writer.write_all(b"354 Go on\r\n").await?;
                let Some(raw) = data(&mut reader).await? else { return Ok(()) };
                let refusal = held(&shared.refusal).clone();
                match refusal {
                    Some(refusal) => refusal,
                    None => {
                        shared.keep(Mail { at: shared.clock.now(), to: std::mem::take(&mut to), raw });
                        "250 OK".to_owned()
                    }
                }
            }
            "RSET" | "NOOP" => "250 OK".to_owned(),
            "QUIT" => {
                return writer.write_all(b"221 Bye\r\n").await;
            }
            _ => "502 Not known here".to_owned(),
        };
        writer.write_all(format!("{answer}\r\n").as_bytes()).await?;
    }
    Ok(())
}

impl Shared {
    fn keep(&self, mail: Mail) {
        let mut mails = held(&self.mails);
        mails.push(mail);
        let too_many = mails.len().saturating_sub(KEPT);
        mails.drain(..too_many);
    }
}

/// The next line without its end; none when the client has gone.
async fn line(reader: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<String>> {
    let mut bytes = Vec::new();
    if reader.read_until(b'\n', &mut bytes).await? == 0 || bytes.len() > LONGEST {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&bytes).trim_end_matches(['\r', '\n']).to_owned()))
}

/// A mail up to the line that is only a dot; a dot that was doubled is one again.
async fn data(reader: &mut (impl AsyncBufRead + Unpin)) -> std::io::Result<Option<String>> {
    let mut raw = String::new();
    while let Some(line) = line(reader).await? {
        if line == "." {
            return Ok(Some(raw));
        }
        raw.push_str(line.strip_prefix('.').unwrap_or(&line));
        raw.push_str("\r\n");
        if raw.len() > LONGEST {
            break;
        }
    }
    Ok(None)
}
