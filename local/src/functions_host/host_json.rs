//! `host.json`, read strictly: the real host passes over members it does not know, so a misspelt one would only show
//! in the cloud. Here it is an error that names the file and the member.
//!
//! Read from source and the reference page, not recorded: the defaults, the search for the executable, `%NAME%`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

/// The timeout of every plan but Consumption.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30 * 60);
const DEFAULT_PREFIX: &str = "api";
const DEFAULT_DEQUEUE_COUNT: u32 = 5;

/// How the handler gets HTTP requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// `enableProxyingHttpRequest`: the request itself, streamed.
    Proxy,
    /// `enableForwardingHttpRequest`: a copy, buffered.
    Forward,
    /// Neither: as an envelope, like every other trigger.
    Envelope,
}

/// What `host.json` settles.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The handler.
    pub executable: PathBuf,
    /// Its arguments, split at blanks as the real host's are.
    pub arguments: Vec<String>,
    /// Where it runs.
    pub working_directory: PathBuf,
    /// How it gets HTTP requests.
    pub mode: Mode,
    /// What every route begins with; may be empty.
    pub route_prefix: String,
    /// How long an invocation may take; `None` is for ever.
    pub timeout: Option<Duration>,
    /// How often a message is tried before it is poison.
    pub max_dequeue_count: u32,
    /// Whether messages are base64 in the queue.
    pub base64_messages: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HostJson {
    version: String,
    function_timeout: Option<String>,
    custom_handler: CustomHandler,
    #[serde(default)]
    extensions: Extensions,
    #[serde(rename = "extensionBundle")]
    bundle: Option<Bundle>,
    #[serde(rename = "logging")]
    _logging: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct CustomHandler {
    description: Description,
    #[serde(default, rename = "enableProxyingHttpRequest")]
    proxying: bool,
    #[serde(default, rename = "enableForwardingHttpRequest")]
    forwarding: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Description {
    default_executable_path: String,
    #[serde(default)]
    working_directory: String,
    #[serde(default)]
    arguments: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Extensions {
    http: Option<Http>,
    queues: Option<Queues>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Http {
    route_prefix: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Queues {
    message_encoding: Option<Encoding>,
    max_dequeue_count: Option<u32>,
    #[serde(rename = "visibilityTimeout")]
    _visibility_timeout: Option<String>,
    #[serde(rename = "batchSize")]
    _batch_size: Option<u32>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Encoding {
    Base64,
    None,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Bundle {
    id: String,
    version: String,
}

/// Reads a JSON file; whatever does not fit is named with its path in the file.
///
/// # Errors
/// If the file is missing or not of this shape.
pub fn read<T: DeserializeOwned>(path: &Path) -> anyhow::Result<T> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    let mut reader = serde_json::Deserializer::from_str(&text);
    let read = serde_path_to_error::deserialize(&mut reader).map_err(|e| unfit(path, "", &e))?;
    reader.end().with_context(|| format!("{}: more than one value", path.display()))?;
    Ok(read)
}

/// The error for a member that does not fit.
pub fn unfit<E: std::fmt::Display>(file: &Path, within: &str, error: &serde_path_to_error::Error<E>) -> anyhow::Error {
    let member = match (within, error.path().to_string().as_str()) {
        ("", ".") => "the file".to_owned(),
        (within, ".") => within.to_owned(),
        ("", member) => member.to_owned(),
        (within, member) => format!("{within}.{member}"),
    };
    anyhow::anyhow!("{}: {member}: {}", file.display(), error.inner())
}

/// Reads `host.json` of the app at `root`; `settings` are the app's settings, for `%NAME%`.
///
/// # Errors
/// If there is anything in it that the stand-in does not understand.
pub fn settings(root: &Path, settings: &[(String, String)]) -> anyhow::Result<Settings> {
    let path = root.join("host.json");
    let file: HostJson = read(&path)?;
    let at = |member: &str| format!("{}: {member}", path.display());
    ensure!(file.version == "2.0", "{}: {:?} is not \"2.0\"", at("version"), file.version);
    let timeout = match file.function_timeout.as_deref() {
        None => Some(DEFAULT_TIMEOUT),
        Some("-1") => None,
        Some(text) => Some(time_span(text).with_context(|| at("functionTimeout"))?),
    };
    if let Some(bundle) = &file.bundle {
        ensure!(bundle.id.starts_with("Microsoft.Azure.Functions.ExtensionBundle"), "{}", at("extensionBundle.id"));
        ensure!(bundle.version.starts_with(['[', '(']), "{}: not a range", at("extensionBundle.version"));
    }
    let description = &file.custom_handler.description;
    let wanted = expand(&description.default_executable_path, settings);
    let executable = executable(root, &wanted, settings)
        .with_context(|| format!("{}: {wanted:?}", at("customHandler.description.defaultExecutablePath")))?;
    let arguments: Vec<_> = description.arguments.iter().map(|text| expand(text, settings)).collect();
    let arguments = arguments.join(" ");
    if arguments.contains('"') {
        bail!("{}: quotes are not understood", at("customHandler.description.arguments"));
    }
    let working_directory = root.join(&description.working_directory);
    ensure!(working_directory.is_dir(), "{}: no such folder", at("customHandler.description.workingDirectory"));
    let route_prefix = file.extensions.http.and_then(|http| http.route_prefix);
    let route_prefix = route_prefix.unwrap_or_else(|| DEFAULT_PREFIX.to_owned());
    let queues = file.extensions.queues.as_ref();
    Ok(Settings {
        executable,
        arguments: arguments.split_whitespace().map(str::to_owned).collect(),
        working_directory,
        mode: match (file.custom_handler.proxying, file.custom_handler.forwarding) {
            (true, _) => Mode::Proxy,
            (false, true) => Mode::Forward,
            (false, false) => Mode::Envelope,
        },
        route_prefix: route_prefix.trim_matches('/').to_owned(),
        timeout,
        max_dequeue_count: queues.and_then(|q| q.max_dequeue_count).unwrap_or(DEFAULT_DEQUEUE_COUNT),
        base64_messages: !matches!(queues.and_then(|q| q.message_encoding.as_ref()), Some(Encoding::None)),
    })
}

/// Replaces each `%NAME%`; a name that is not set is removed.
pub fn expand(text: &str, settings: &[(String, String)]) -> String {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some((before, name, after)) = rest.split_once('%').and_then(|(before, from)| {
        let (name, after) = from.split_once('%')?;
        Some((before, name, after))
    }) {
        expanded.push_str(before);
        expanded.push_str(settings.iter().find(|(set, _)| set == name).map_or("", |(_, value)| value));
        rest = after;
    }
    expanded + rest
}

/// In the app's folder if it is there, else on the app's PATH.
fn executable(root: &Path, wanted: &str, settings: &[(String, String)]) -> anyhow::Result<PathBuf> {
    ensure!(!wanted.is_empty(), "no executable");
    let inside = root.join(wanted);
    if inside.is_file() {
        return Ok(inside);
    }
    let path = settings.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    let found = std::env::split_paths(path).map(|folder| folder.join(wanted)).find(|file| file.is_file());
    found.context("there is no such file, neither in the app nor on PATH")
}

/// A .NET time span, `hh:mm:ss` with at most `d.` before it.
fn time_span(text: &str) -> anyhow::Result<Duration> {
    let (days, clock) = text.split_once('.').unwrap_or(("0", text));
    let parts: Vec<u64> = clock.split(':').map(str::parse).collect::<Result<_, _>>().context("not hh:mm:ss")?;
    let [hours, minutes, seconds] = parts.as_slice() else { bail!("{text:?} is not hh:mm:ss") };
    ensure!(*hours < 24 && *minutes < 60 && *seconds < 60, "{text:?} is not hh:mm:ss");
    let days: u64 = days.parse().context("not d.hh:mm:ss")?;
    let hours = days.saturating_mul(24).saturating_add(*hours);
    let seconds = hours.saturating_mul(3600).saturating_add(minutes * 60 + seconds);
    ensure!(seconds > 0, "{text:?} is no time at all");
    Ok(Duration::from_secs(seconds))
}
