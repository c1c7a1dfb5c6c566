//! The handler's process: started with a free port that it keeps, asked with `GET /` until it answers, started anew as
//! the real host would. Recorded: the five variables' port, the poll with nothing but a `host` header. Read from source:
//! every 25 ms for 30 s; an exit other than 0 and 200 is an error and so is no answer in time; the third error, none
//! of them half an hour after the one before, ends the host; 200 asks for a restart; after 0 nothing is started again.

use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use axum::body::Body;
use http::{Request, header};
use tokio::process::Command;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::call;
use super::host_json::Settings;
use super::log::{Level, Log};

const POLL: Duration = Duration::from_millis(25);
const ERRORS: usize = 3;
const FORGOTTEN_AFTER: Duration = Duration::from_secs(30 * 60);
/// The exit code by which a handler asks to be started again.
const RESTART: i32 = 200;

/// How the handler is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// It does not answer yet.
    Starting,
    /// It answers.
    Ready,
    /// It ended with 0 and is not started again; invocations fail.
    Ended,
    /// The host gave up.
    ShutDown,
}

/// The handler's process, over all its lives.
#[derive(Debug)]
pub(super) struct Worker {
    pub port: u16,
    pub state: watch::Receiver<State>,
    tell: watch::Sender<State>,
    restarts: mpsc::UnboundedSender<()>,
    task: tokio::task::JoinHandle<()>,
}

enum End {
    Exited(ExitStatus),
    Failed(String),
    Recycled,
}

/// What a process is started from.
pub(super) struct Start {
    pub settings: Settings,
    pub environment: Vec<(String, String)>,
    pub root: std::path::PathBuf,
    pub limit: Duration,
    pub log: Log,
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Worker {
    /// Starts it; see [`Worker::state`] for how that goes.
    pub fn start(start: Start) -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind(("127.0.0.1", 0)).context("no loopback port")?.local_addr()?.port();
        let (tell, state) = watch::channel(State::Starting);
        let (restarts, recycle) = mpsc::unbounded_channel();
        let task = tokio::spawn(keep_running(start, port, tell.clone(), recycle));
        Ok(Self { port, state, tell, restarts, task })
    }

    /// Ends the process and starts it anew, which is no error of its own.
    pub fn recycle(&self) {
        // At once, so that the next invocation waits for the new process.
        let runs = self.tell.send_if_modified(|state| {
            let runs = matches!(state, State::Ready | State::Ended);
            if runs {
                *state = State::Starting;
            }
            runs
        });
        if runs {
            let _ = self.restarts.send(());
        }
    }
}

async fn keep_running(start: Start, port: u16, tell: watch::Sender<State>, mut recycle: mpsc::UnboundedReceiver<()>) {
    let log = &start.log;
    let mut errors: Vec<Instant> = Vec::new();
    loop {
        tell.send_replace(State::Starting);
        let why = match run(&start, port, &tell, &mut recycle).await {
            End::Recycled => continue,
            End::Exited(status) if status.code() == Some(RESTART) => {
                log.host(Level::Information, "Language Worker Process exited and needs to be restarted.");
                continue;
            }
            End::Exited(status) if status.success() => {
                log.host(Level::Debug, "Language Worker Process exited with 0.");
                tell.send_replace(State::Ended);
                match recycle.recv().await {
                    Some(()) => continue,
                    None => return,
                }
            }
            End::Exited(status) => format!("Language Worker Process exited: {status}"),
            End::Failed(why) => why,
        };
        log.host(Level::Error, why);
        let now = Instant::now();
        if errors.last().is_some_and(|last| now.duration_since(*last) > FORGOTTEN_AFTER) {
            errors.clear();
        }
        errors.push(now);
        if errors.len() >= ERRORS {
            log.host(Level::Error, "Exceeded http worker restart retry count. Shutting down Functions Host");
            tell.send_replace(State::ShutDown);
            return;
        }
    }
}

/// One life of the process.
async fn run(start: &Start, port: u16, tell: &watch::Sender<State>, recycle: &mut mpsc::UnboundedReceiver<()>) -> End {
    while recycle.try_recv().is_ok() {}
    let settings = &start.settings;
    let id = super::guid();
    let mut command = Command::new(&settings.executable);
    command.args(&settings.arguments).current_dir(&settings.working_directory);
    command.env_clear().env("PATH", "/usr/local/bin:/usr/bin:/bin").envs(start.environment.iter().cloned());
    for name in ["FUNCTIONS_CUSTOMHANDLER_PORT", "FUNCTIONS_HTTPWORKER_PORT"] {
        command.env(name, port.to_string());
    }
    for name in ["FUNCTIONS_CUSTOMHANDLER_WORKER_ID", "FUNCTIONS_HTTPWORKER_ID"] {
        command.env(name, &id);
    }
    command.env("FUNCTIONS_APP_ROOT_PATH", &start.root);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    let mut child = match command.spawn() {
        Ok(child) => child,
        Err(e) => return End::Failed(format!("{} cannot be started: {e}", settings.executable.display())),
    };
    let readers = [start.log.keep(child.stdout.take(), false), start.log.keep(child.stderr.take(), true)];
    let life = async {
        if timeout(start.limit, answers(port)).await.is_err() {
            return End::Failed(format!("Failed to start http worker process within {:?}", start.limit));
        }
        start.log.host(Level::Debug, "Worker process started and initialized.");
        tell.send_replace(State::Ready);
        std::future::pending().await
    };
    let end = tokio::select! {
        end = life => end,
        status = child.wait() => match status {
            Ok(status) => End::Exited(status),
            Err(e) => End::Failed(format!("Language Worker Process is lost: {e}")),
        },
        Some(()) = recycle.recv() => End::Recycled,
    };
    let _ = child.kill().await;
    for reader in readers {
        // A grandchild may keep the stream open.
        let _ = timeout(Duration::from_secs(1), reader).await;
    }
    end
}

/// Waits until the handler answers, whatever it answers.
async fn answers(port: u16) {
    loop {
        let request = Request::get("/").header(header::HOST, format!("127.0.0.1:{port}")).body(Body::empty());
        if let Ok(request) = request
            && !matches!(call::send(port, request).await, Err(call::Failure::Connect(_)))
        {
            return;
        }
        sleep(POLL).await;
    }
}
