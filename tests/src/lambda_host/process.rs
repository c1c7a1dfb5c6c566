//! A function as its own process, started the way Lambda starts one: nothing in its environment but what Lambda and
//! the template set, its output kept as its log.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::runtime_api::{Invocation, RuntimeApi};

/// How long a function may take, unless it is said otherwise.
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// Lambda's own limit for starting.
const INIT_LIMIT: Duration = Duration::from_secs(10);

/// The release binary of a function: in `TRADEPOST_BIN_DIR`, else where this workspace's release build leaves it.
///
/// # Errors
/// If it is not there; says how to build it.
pub fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = match (std::env::var_os("TRADEPOST_BIN_DIR"), std::env::var_os("CARGO_TARGET_DIR")) {
        (Some(folder), _) => PathBuf::from(folder),
        (None, Some(target)) => workspace.join(target).join("release"),
        (None, None) => workspace.join("target/release"),
    };
    let path = folder.join(name);
    if !path.is_file() {
        bail!("{} is not there; run `cargo build --release -p tradepost-aws` first", path.display());
    }
    Ok(path)
}

/// What is started as a function.
#[derive(Clone, Debug)]
pub struct Program {
    /// The executable.
    pub path: PathBuf,
    /// What it is called with.
    pub arguments: Vec<OsString>,
}

impl From<PathBuf> for Program {
    fn from(path: PathBuf) -> Self {
        Self { path, arguments: Vec::new() }
    }
}

/// A running function.
#[derive(Debug)]
pub struct Function {
    name: String,
    child: Child,
    runtime_api: RuntimeApi,
    spawned: Instant,
    log: Arc<Mutex<Vec<u8>>>,
    readers: Vec<JoinHandle<()>>,
}

impl Function {
    /// Starts the binary `name` with `environment` and nothing else.
    ///
    /// # Errors
    /// If the binary is missing or cannot be started.
    pub async fn start(name: &str, environment: &[(String, String)]) -> anyhow::Result<Self> {
        Self::run(name, &binary(name)?.into(), environment).await
    }

    /// Starts any program as the function `name`.
    ///
    /// # Errors
    /// If it cannot be started.
    pub async fn run(name: &str, program: &Program, environment: &[(String, String)]) -> anyhow::Result<Self> {
        let Program { path, arguments } = program;
        let runtime_api = RuntimeApi::open(name).await?;
        let mut command = Command::new(path);
        command.args(arguments).env_clear().envs(lambda_environment(name)).envs(environment.iter().cloned());
        command.env("AWS_LAMBDA_RUNTIME_API", runtime_api.address());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        let spawned = Instant::now();
        let mut child = command.spawn().with_context(|| format!("{} cannot be started", path.display()))?;
        let log = Arc::default();
        let readers = vec![keep(child.stdout.take(), &log), keep(child.stderr.take(), &log)];
        Ok(Self { name: name.to_owned(), child, runtime_api, spawned, log, readers })
    }

    /// Waits until the function asks for its first event; gives the time since it was started.
    ///
    /// # Errors
    /// If it ends, or takes longer than Lambda allows.
    pub async fn ready(&mut self) -> anyhow::Result<Duration> {
        tokio::select! {
            asked = timeout(INIT_LIMIT, self.runtime_api.asked()) => Ok(asked.context("not started in time")??.duration_since(self.spawned)),
            status = self.child.wait() => bail!("{} ended while starting: {}\n{}", self.name, status?, self.log_so_far()),
        }
    }

    /// Hands the function an event and waits for what comes of it.
    ///
    /// # Errors
    /// If the function ends instead, or takes too long.
    pub async fn invoke(&mut self, event: impl Into<Bytes>) -> anyhow::Result<Invocation> {
        self.invoke_within(event, TIME_LIMIT).await
    }

    /// The same with a time limit of its own.
    ///
    /// # Errors
    /// If the function ends instead, or takes too long.
    pub async fn invoke_within(&mut self, event: impl Into<Bytes>, limit: Duration) -> anyhow::Result<Invocation> {
        let answer = self.runtime_api.send(event.into(), limit);
        tokio::select! {
            answer = timeout(limit, answer) => Ok(answer.context("Task timed out")??),
            status = self.child.wait() => bail!("{} ended: {}\n{}", self.name, status?, self.log_so_far()),
        }
    }

    /// Waits for the process to end by itself; gives whether it called that a success, and its log.
    ///
    /// # Errors
    /// If it does not end.
    pub async fn ended(mut self) -> anyhow::Result<(bool, String)> {
        let status = timeout(INIT_LIMIT, self.child.wait()).await.context("it did not end")??;
        Ok((status.success(), self.stop().await?))
    }

    /// Ends the process; gives its log.
    ///
    /// # Errors
    /// If it cannot be ended.
    pub async fn stop(mut self) -> anyhow::Result<String> {
        self.child.kill().await?;
        for reader in self.readers.drain(..) {
            reader.await?;
        }
        Ok(self.log_so_far())
    }

    /// What it has logged by now.
    pub fn log_so_far(&self) -> String {
        String::from_utf8_lossy(&self.log.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    /// The process.
    ///
    /// # Errors
    /// If it has ended.
    pub fn id(&self) -> anyhow::Result<u32> {
        self.child.id().context("it has ended")
    }

    /// The time it has been on a processor so far.
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn processor_time(&self) -> anyhow::Result<Duration> {
        processor_time(self.id()?)
    }

    /// The most memory it has held so far, in kilobytes (`VmHWM`).
    ///
    /// # Errors
    /// If the system does not tell.
    pub fn peak_kilobytes(&self) -> anyhow::Result<u64> {
        peak_kilobytes(self.id()?)
    }
}

/// The time the threads of a process have been on a processor.
///
/// # Errors
/// If the system does not tell.
pub fn processor_time(id: u32) -> anyhow::Result<Duration> {
    let mut sum = 0_u64;
    for thread in std::fs::read_dir(format!("/proc/{id}/task"))? {
        sum = sum.saturating_add(on_processor(&std::fs::read_to_string(thread?.path().join("schedstat"))?));
    }
    Ok(Duration::from_nanos(sum))
}

/// The most memory a process has held, in kilobytes (`VmHWM`).
///
/// # Errors
/// If the system does not tell.
pub fn peak_kilobytes(id: u32) -> anyhow::Result<u64> {
    let status = std::fs::read_to_string(format!("/proc/{id}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    Ok(line.trim().trim_end_matches("kB").trim().parse()?)
}

/// The time a line of `schedstat` tells, in nanoseconds.
fn on_processor(schedstat: &str) -> u64 {
    schedstat.split_whitespace().next().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Lambda's own variables (AWS Lambda developer guide, "Defined runtime environment variables").
fn lambda_environment(name: &str) -> Vec<(&'static str, String)> {
    vec![
        ("_HANDLER", "bootstrap".to_owned()),
        ("AWS_REGION", "us-east-1".to_owned()),
        ("AWS_DEFAULT_REGION", "us-east-1".to_owned()),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_provided.al2023".to_owned()),
        ("AWS_LAMBDA_FUNCTION_NAME", format!("tradepost-{name}")),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128".to_owned()),
        ("AWS_LAMBDA_FUNCTION_VERSION", "$LATEST".to_owned()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand".to_owned()),
        ("AWS_LAMBDA_LOG_FORMAT", "JSON".to_owned()),
        ("AWS_LAMBDA_LOG_LEVEL", "INFO".to_owned()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", format!("/aws/lambda/tradepost-{name}")),
        ("AWS_LAMBDA_LOG_STREAM_NAME", "2026/11/21/[$LATEST]8476a536e9f411e89739".to_owned()),
        ("LANG", "en_US.UTF-8".to_owned()),
        ("LAMBDA_TASK_ROOT", "/var/task".to_owned()),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime".to_owned()),
        ("PATH", "/usr/local/bin:/usr/bin/:/bin:/opt/bin".to_owned()),
        (
            "LD_LIBRARY_PATH",
            "/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib".to_owned(),
        ),
        ("TZ", ":UTC".to_owned()),
    ]
}

fn keep(output: Option<impl AsyncRead + Unpin + Send + 'static>, log: &Arc<Mutex<Vec<u8>>>) -> JoinHandle<()> {
    let log = Arc::clone(log);
    tokio::spawn(async move {
        let Some(mut output) = output else { return };
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(read @ 1..) = output.read(&mut buffer).await {
            log.lock()
                .unwrap_or_else(PoisonError::into_inner)
                .extend_from_slice(buffer.get(..read).unwrap_or_default());
        }
    })
}
