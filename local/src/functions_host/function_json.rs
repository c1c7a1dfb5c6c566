//! The function folders: each folder beside `host.json` with a `function.json` is a function of that name. Read as
//! strictly as `host.json`; only what the stand-in can do is understood.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use http::Method;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::host_json::{expand, read, unfit};
use super::route::Route;
use super::schedule::Schedule;

/// A function of the app.
#[derive(Clone, Debug)]
pub struct Function {
    /// Its folder's name.
    pub name: String,
    /// The name of its trigger binding.
    pub input: String,
    /// What starts it.
    pub trigger: Trigger,
    /// What it may give out.
    pub outputs: Vec<Output>,
}

/// What starts a function.
#[derive(Clone, Debug)]
pub enum Trigger {
    /// A request.
    Http {
        /// Below the prefix.
        route: Route,
        /// All, if there are none.
        methods: Vec<Method>,
        /// Who may.
        level: Level,
    },
    /// The clock.
    Timer {
        /// When.
        schedule: Schedule,
        /// Also each time the host starts.
        run_on_startup: bool,
        /// Whether the host remembers its runs.
        monitored: bool,
    },
    /// A message.
    Queue {
        /// The queue.
        queue: String,
    },
}

/// An output binding.
#[derive(Clone, Debug)]
pub struct Output {
    /// Its name.
    pub name: String,
    /// Whether it is the answer to a request.
    pub http: bool,
    /// `dataType: binary`: a text stays as it is.
    pub binary: bool,
}

/// `authLevel`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Everybody.
    Anonymous,
    /// Who has a key of the function or the host.
    #[default]
    Function,
    /// Who has the master key.
    Admin,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FunctionJson {
    bindings: Vec<Value>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum In {
    In,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Out {
    Out,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct HttpTrigger {
    name: String,
    #[serde(rename = "direction")]
    _direction: In,
    #[serde(default)]
    auth_level: Level,
    route: Option<String>,
    #[serde(default)]
    methods: Vec<HttpMethod>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum HttpMethod {
    Get,
    Post,
    Put,
    Patch,
    Delete,
    Head,
    Options,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct TimerTrigger {
    name: String,
    #[serde(rename = "direction")]
    _direction: In,
    schedule: String,
    #[serde(default)]
    run_on_startup: bool,
    use_monitor: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct QueueTrigger {
    name: String,
    #[serde(rename = "direction")]
    _direction: In,
    queue_name: String,
    #[serde(rename = "connection")]
    _connection: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HttpOut {
    name: String,
    #[serde(rename = "direction")]
    _direction: Out,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct QueueOut {
    name: String,
    #[serde(rename = "direction")]
    _direction: Out,
    #[serde(rename = "queueName")]
    _queue_name: String,
    #[serde(rename = "connection")]
    _connection: Option<String>,
    data_type: Option<DataType>,
}

#[derive(PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum DataType {
    String,
    Binary,
}

impl Function {
    /// Whether its requests can be proxied or forwarded: exactly a request in and its answer out.
    pub fn is_http_in_and_out(&self) -> bool {
        matches!(self.trigger, Trigger::Http { .. }) && matches!(self.outputs.as_slice(), [Output { http: true, .. }])
    }
}

/// Reads all functions of the app at `root`, by name.
///
/// # Errors
/// If there is none, or anything in one that the stand-in does not understand.
pub fn functions(root: &Path, prefix: &str, settings: &[(String, String)]) -> anyhow::Result<Vec<Function>> {
    let mut functions = Vec::new();
    for folder in std::fs::read_dir(root).with_context(|| format!("{} cannot be read", root.display()))? {
        let folder = folder?;
        let path = folder.path().join("function.json");
        if path.is_file() {
            let name = folder.file_name().to_string_lossy().into_owned();
            functions.push(function(&path, name, prefix, settings)?);
        }
    }
    ensure!(!functions.is_empty(), "{}: no folder with a function.json", root.display());
    functions.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(functions)
}

fn function(path: &Path, name: String, prefix: &str, settings: &[(String, String)]) -> anyhow::Result<Function> {
    let legal = name.starts_with(|c: char| c.is_ascii_alphabetic())
        && name.len() <= 128
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    ensure!(legal && !name.eq_ignore_ascii_case("host"), "{}: {name:?} cannot be a function's name", path.display());
    let file: FunctionJson = read(path)?;
    let mut trigger = None;
    let mut outputs = Vec::new();
    for (number, mut value) in file.bindings.into_iter().enumerate() {
        let within = format!("bindings[{number}]");
        let kind = value.as_object_mut().and_then(|members| members.remove("type"));
        let at = |member: &str| format!("{}: {within}.{member}", path.display());
        let (input, starts) = match kind.as_ref().and_then(Value::as_str) {
            Some("httpTrigger") => {
                let binding: HttpTrigger = binding(path, &within, value)?;
                let route =
                    Route::parse(prefix, binding.route.as_deref().unwrap_or(&name)).with_context(|| at("route"))?;
                let methods = binding.methods.iter().map(|method| method.name()).collect();
                (binding.name, Trigger::Http { route, methods, level: binding.auth_level })
            }
            Some("timerTrigger") => {
                let binding: TimerTrigger = binding(path, &within, value)?;
                let schedule = Schedule::parse(&expand(&binding.schedule, settings)).with_context(|| at("schedule"))?;
                let monitored = binding.use_monitor.unwrap_or(true) && !schedule.is_often();
                (binding.name, Trigger::Timer { schedule, run_on_startup: binding.run_on_startup, monitored })
            }
            Some("queueTrigger") => {
                let binding: QueueTrigger = binding(path, &within, value)?;
                (binding.name, Trigger::Queue { queue: expand(&binding.queue_name, settings) })
            }
            Some("http") => {
                let binding: HttpOut = binding(path, &within, value)?;
                outputs.push(Output { name: binding.name, http: true, binary: false });
                continue;
            }
            Some("queue") => {
                let binding: QueueOut = binding(path, &within, value)?;
                let binary = binding.data_type == Some(DataType::Binary);
                outputs.push(Output { name: binding.name, http: false, binary });
                continue;
            }
            Some(other) => bail!("{}: {other:?} is not understood", at("type")),
            None => bail!("{}: missing", at("type")),
        };
        ensure!(trigger.is_none(), "{}: {within} is a second trigger", path.display());
        trigger = Some((input, starts));
    }
    let (input, trigger) = trigger.with_context(|| format!("{}: bindings: no trigger", path.display()))?;
    Ok(Function { name, input, trigger, outputs })
}

fn binding<T: DeserializeOwned>(path: &Path, within: &str, value: Value) -> anyhow::Result<T> {
    serde_path_to_error::deserialize(value).map_err(|e| unfit(path, within, &e))
}

impl HttpMethod {
    fn name(self) -> Method {
        match self {
            Self::Get => Method::GET,
            Self::Post => Method::POST,
            Self::Put => Method::PUT,
            Self::Patch => Method::PATCH,
            Self::Delete => Method::DELETE,
            Self::Head => Method::HEAD,
            Self::Options => Method::OPTIONS,
        }
    }
}
