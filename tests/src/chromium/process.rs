//! The processes behind a browser: chromedriver on a free port of this machine, which starts Chromium with an empty
//! profile. They end with the value, also when a test fails: Chromium hangs on a pipe of chromedriver's, and ends
//! when chromedriver is gone.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};

/// What to do without Chromium.
pub(super) const INSTALL: &str =
    "the browser tests need Chromium and chromedriver: apt-get install -y chromium chromium-driver";
const STARTED: &str = "ChromeDriver was started successfully on port ";
const START_LIMIT: Duration = Duration::from_secs(30);
const TRIES: u32 = 5;
/// How long Chromium may take to end.
const FAREWELL: Duration = Duration::from_secs(5);

static PROFILES: AtomicU32 = AtomicU32::new(0);

/// What a browser is to be like. By default as it comes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Taste {
    /// Runs no scripts of pages.
    pub no_scripts: bool,
    /// Keeps no cookies.
    pub no_cookies: bool,
}

/// A running chromedriver, and the folder of its Chromium.
#[derive(Debug)]
pub(super) struct Process {
    child: Child,
    profile: PathBuf,
    /// Where it takes commands.
    pub address: String,
}

impl Process {
    /// Starts chromedriver.
    pub async fn start() -> anyhow::Result<Self> {
        let number = PROFILES.fetch_add(1, Ordering::Relaxed);
        let profile = std::env::temp_dir().join(format!("tradepost-chromium-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&profile).with_context(|| format!("{} cannot be made", profile.display()))?;
        let mut tries = 0;
        let (child, port) = loop {
            tries += 1;
            match chromedriver(&profile).await {
                // It takes a free port for IPv4 and then the same for IPv6, which somebody may hold; then it ends.
                Err(_) if tries < TRIES => {}
                settled => break settled?,
            }
        };
        Ok(Self { child, profile, address: format!("http://127.0.0.1:{port}") })
    }

    /// What Chromium is to be started with.
    pub fn capabilities(&self, taste: Taste) -> Value {
        let mut arguments = vec![
            "--headless=new".to_owned(),
            "--remote-debugging-pipe".to_owned(),
            format!("--user-data-dir={}", self.profile.join("profile").display()),
            "--window-size=1280,900".to_owned(),
            // Nothing but this machine's own stack can be reached.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE localhost, EXCLUDE *.localhost, EXCLUDE 127.0.0.1"
                .to_owned(),
        ];
        arguments.extend(FLAGS.iter().map(|flag| (*flag).to_owned()));
        if runs_as_root() {
            arguments.push("--no-sandbox".to_owned());
        }
        let mut preferences = serde_json::Map::new();
        // 2 is "block".
        if taste.no_scripts {
            preferences.insert("profile.managed_default_content_settings.javascript".to_owned(), json!(2));
        }
        if taste.no_cookies {
            preferences.insert("profile.default_content_setting_values.cookies".to_owned(), json!(2));
        }
        json!({
            "browserName": "chrome",
            "goog:loggingPrefs": {"browser": "ALL"},
            "goog:chromeOptions": {"args": arguments, "prefs": preferences},
        })
    }
}

const FLAGS: &[&str] = &[
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--metrics-recording-only",
    "--no-default-browser-check",
    "--no-first-run",
    "--no-proxy-server",
];

/// Chromium's sandbox does not work for root.
fn runs_as_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    Path::new("/proc/self").metadata().is_ok_and(|own| own.uid() == 0)
}

/// Starts chromedriver; gives the port it took.
async fn chromedriver(profile: &Path) -> anyhow::Result<(Child, u16)> {
    let mut child = Command::new("chromedriver")
        .arg("--port=0")
        .env("TMPDIR", profile)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .context(INSTALL)?;
    let output = child.stdout.take().context("chromedriver has no output")?;
    let port = tokio::time::timeout(START_LIMIT, port(BufReader::new(output)))
        .await
        .map_err(|_| anyhow!("chromedriver did not start in {} s", START_LIMIT.as_secs()))??;
    Ok((child, port))
}

/// Reads the port chromedriver took. What it says later is read too, so that it never waits for a reader.
async fn port(output: BufReader<tokio::process::ChildStdout>) -> anyhow::Result<u16> {
    let mut lines = output.lines();
    while let Some(line) = lines.next_line().await? {
        if let Some((_, rest)) = line.split_once(STARTED) {
            tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
            return rest.trim_end_matches('.').parse().with_context(|| format!("chromedriver said: {line}"));
        }
    }
    bail!("chromedriver ended before it started")
}

impl Process {
    /// Chromium's own process, as it has signed its profile: the lock is a link to "host-process".
    fn chromium(&self) -> Option<PathBuf> {
        let lock = std::fs::read_link(self.profile.join("profile/SingletonLock")).ok()?;
        let process = lock.to_str()?.rsplit_once('-')?.1.to_owned();
        Some(Path::new("/proc").join(process).join("cmdline"))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let chromium = self.chromium();
        let _ = self.child.start_kill();
        // Chromium writes into its profile until its end. One that has ended has no command line any more.
        let start = Instant::now();
        let runs = || chromium.as_ref().and_then(|path| std::fs::read(path).ok()).is_some_and(|line| !line.is_empty());
        while runs() && start.elapsed() < FAREWELL {
            std::thread::sleep(Duration::from_millis(10));
        }
        let _ = std::fs::remove_dir_all(&self.profile);
    }
}
