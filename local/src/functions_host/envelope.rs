//! The envelope `{"Data":{..},"Metadata":{..}}` of every trigger that is not proxied or forwarded, its members in the
//! real host's order.
//!
//! Recorded byte for byte: a timer's without monitor. Recorded in part: a request's (`Data.req` up to `Claims`). Read
//! from source: messages, `ScheduleStatus`, `Body`, and that strings, numbers and booleans become a string with their
//! JSON text, so that a string is encoded twice. A request's Metadata is only what we are sure of.

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

/// What names an invocation in its envelope.
#[derive(Clone, Debug)]
pub struct System {
    /// The function's folder.
    pub function: String,
    /// When the envelope is made.
    pub now: Timestamp,
    /// `RandGuid`.
    pub guid: String,
}

/// What the host remembers of a monitored timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduleStatus {
    /// The run before; none before the first.
    pub last: Option<Timestamp>,
    /// The run that is due.
    pub next: Timestamp,
    /// When this was written; none before the first run.
    pub updated: Option<Timestamp>,
}

/// A message as the handler is told of it.
#[derive(Clone, Debug)]
pub struct Message {
    /// Its text.
    pub text: String,
    /// Its id.
    pub id: String,
    /// Which try this is, from 1.
    pub dequeue_count: u32,
    /// When it was put in.
    pub inserted: Timestamp,
}

/// A request as the handler is told of it.
#[derive(Clone, Debug, Default)]
pub struct Request {
    /// The whole address the caller used.
    pub url: String,
    /// Its method.
    pub method: String,
    /// Its query, decoded.
    pub query: Vec<(String, String)>,
    /// Its headers, by name in title case.
    pub headers: Vec<(String, Vec<String>)>,
    /// The route's parameters.
    pub params: Vec<(String, String)>,
    /// Its body, if there is one.
    pub body: Option<String>,
}

/// A timer's envelope.
pub fn timer(input: &str, status: Option<ScheduleStatus>, past_due: bool, system: &System) -> String {
    let status = status.map_or_else(
        || "null".to_owned(),
        |status| {
            // .NET's default date has no offset.
            let or_never = |at: Option<Timestamp>| at.map_or_else(|| "0001-01-01T00:00:00".to_owned(), offset);
            object([
                ("Last", text(&or_never(status.last))),
                ("Next", text(&offset(status.next))),
                ("LastUpdated", text(&or_never(status.updated))),
            ])
        },
    );
    let schedule = object([("AdjustForDST", "true".to_owned())]);
    let info = object([("Schedule", schedule), ("ScheduleStatus", status), ("IsPastDue", past_due.to_string())]);
    envelope(input, info, vec![sys(system)])
}

/// A message's envelope.
pub fn message(input: &str, message: &Message, system: &System) -> String {
    let day = SignedDuration::from_hours(24);
    let expires = message.inserted.checked_add(day * 7).unwrap_or(Timestamp::MAX);
    let visible = system.now.checked_add(SignedDuration::from_mins(10)).unwrap_or(Timestamp::MAX);
    let mut metadata = vec![
        ("DequeueCount".to_owned(), text(&message.dequeue_count.to_string())),
        ("Id".to_owned(), twice(&message.id)),
        ("PopReceipt".to_owned(), twice("AgAAAAMAAAAAAAAAexample")),
        ("ExpirationTime".to_owned(), text(&offset(expires))),
        ("InsertionTime".to_owned(), text(&offset(message.inserted))),
        ("NextVisibleTime".to_owned(), text(&offset(visible))),
        sys(system),
    ];
    merge(&mut metadata, &message.text);
    envelope(input, twice(&message.text), metadata)
}

/// A request's envelope.
pub fn request(input: &str, request: &Request, system: &System) -> String {
    let strings = |pairs: &[(String, String)]| object(pairs.iter().map(|(name, value)| (name.as_str(), text(value))));
    let headers = request.headers.iter();
    let headers = object(headers.map(|(name, values)| (name.as_str(), Value::from(values.as_slice()).to_string())));
    let claims = [
        ("AuthenticationType", "null".to_owned()),
        ("IsAuthenticated", "false".to_owned()),
        ("Claims", "[]".to_owned()),
        ("Actor", "null".to_owned()),
        ("BootstrapContext", "null".to_owned()),
        ("Label", "null".to_owned()),
        ("Name", "null".to_owned()),
        ("NameClaimType", text("http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name")),
        ("RoleClaimType", text("http://schemas.microsoft.com/ws/2008/06/identity/claims/role")),
    ];
    let mut members = vec![
        ("Url", text(&request.url)),
        ("Method", text(&request.method)),
        ("Query", strings(&request.query)),
        ("Headers", headers),
        ("Params", strings(&request.params)),
        ("Identities", format!("[{}]", object(claims))),
    ];
    members.extend(request.body.as_ref().map(|body| ("Body", text(body))));
    let mut metadata: Vec<_> = request.params.iter().map(|(name, value)| (name.clone(), twice(value))).collect();
    metadata.push(sys(system));
    envelope(input, object(members), metadata)
}

/// An instant as .NET writes one that knows it is UTC: ticks of 100 ns, `Z`.
pub fn utc(instant: Timestamp) -> String {
    let ticks = instant.as_nanosecond().div_euclid(100) * 100;
    Timestamp::from_nanosecond(ticks).unwrap_or(instant).to_string()
}

/// The same as .NET writes a local time on a machine whose zone is UTC.
fn offset(instant: Timestamp) -> String {
    format!("{}+00:00", utc(instant).trim_end_matches('Z'))
}

/// A JSON message's top members go into Metadata, in place of any of the same name whatever its case; lists do not.
fn merge(metadata: &mut Vec<(String, String)>, message: &str) {
    let Ok(Value::Object(members)) = serde_json::from_str(message) else { return };
    for (name, value) in members {
        let encoded = match &value {
            Value::Null | Value::Array(_) => continue,
            Value::Object(_) => value.to_string(),
            Value::String(_) | Value::Number(_) | Value::Bool(_) => text(&value.to_string()),
        };
        metadata.retain(|(other, _)| !other.eq_ignore_ascii_case(&name));
        metadata.push((name, encoded));
    }
}

fn sys(system: &System) -> (String, String) {
    let members =
        [("MethodName", text(&system.function)), ("UtcNow", text(&utc(system.now))), ("RandGuid", text(&system.guid))];
    ("sys".to_owned(), object(members))
}

fn envelope(input: &str, data: String, mut metadata: Vec<(String, String)>) -> String {
    metadata.retain(|(name, _)| !name.to_ascii_lowercase().ends_with("trigger"));
    let metadata = object(metadata.iter().map(|(name, value)| (name.as_str(), value.clone())));
    object([("Data", object([(input, data)])), ("Metadata", metadata)])
}

/// An object whose members are JSON already.
fn object<'a>(members: impl IntoIterator<Item = (&'a str, String)>) -> String {
    let members: Vec<_> = members.into_iter().map(|(name, value)| format!("{}:{value}", text(name))).collect();
    format!("{{{}}}", members.join(","))
}

fn text(text: &str) -> String {
    Value::from(text).to_string()
}

fn twice(plain: &str) -> String {
    text(&text(plain))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn system() -> System {
        System {
            function: "tick".to_owned(),
            now: "2026-11-21T06:58:55.019433499Z".parse().unwrap(),
            guid: "cb2e48ce-eb46-4bef-b565-18f7be9e4735".to_owned(),
        }
    }

    #[test]
    fn a_timer_is_the_recorded_bytes() {
        let recorded = concat!(
            r#"{"Data":{"t":{"Schedule":{"AdjustForDST":true},"ScheduleStatus":null,"IsPastDue":false}},"#,
            r#""Metadata":{"sys":{"MethodName":"tick","UtcNow":"2026-11-21T06:58:55.0194334Z","#,
            r#""RandGuid":"cb2e48ce-eb46-4bef-b565-18f7be9e4735"}}}"#,
        );
        assert_eq!(timer("t", None, false, &system()), recorded);
        assert_eq!(recorded.len(), 220, "the recorded content-length");
    }

    #[test]
    fn a_monitored_timer_has_three_instants() {
        let at = |text: &str| text.parse().unwrap();
        let status = ScheduleStatus { last: None, next: at("2026-11-20T09:15:00Z"), updated: None };
        let first = timer("t", Some(status), true, &system());
        let years = r#"{"Last":"0001-01-01T00:00:00","Next":"2026-11-20T09:15:00+00:00","LastUpdated":"0001-01-01T00:00:00"},"IsPastDue":true"#;
        assert!(first.contains(years), "{first}");
        let ran = Some(at("2026-11-20T09:00:00.0035Z"));
        let next = timer("t", Some(ScheduleStatus { last: ran, updated: ran, ..status }), false, &system());
        assert!(next.contains(r#""Last":"2026-11-20T09:00:00.0035+00:00","Next""#), "{next}");
    }

    #[test]
    fn a_request_begins_as_recorded() {
        let sent = Request {
            url: "http://127.0.0.1:21301/api/hello/x".to_owned(),
            method: "GET".to_owned(),
            headers: vec![
                ("Accept".to_owned(), vec!["*/*".to_owned()]),
                ("Host".to_owned(), vec!["127.0.0.1:21301".to_owned()]),
                ("User-Agent".to_owned(), vec!["curl/7.88.1".to_owned()]),
            ],
            params: vec![("rest".to_owned(), "x".to_owned())],
            ..Request::default()
        };
        let recorded = concat!(
            r#"{"Data":{"req":{"Url":"http://127.0.0.1:21301/api/hello/x","Method":"GET","Query":{},"#,
            r#""Headers":{"Accept":["*/*"],"Host":["127.0.0.1:21301"],"User-Agent":["curl/7.88.1"]},"#,
            r#""Params":{"rest":"x"},"Identities":[{"AuthenticationType":null,"IsAuthenticated":false,"Claims":[],"#,
        );
        let made = request("req", &sent, &system());
        assert!(made.starts_with(recorded), "{made}");
        assert!(!made.contains("\"Body\""), "{made}");
    }

    #[test]
    fn a_message_is_encoded_twice_and_merged_into_the_metadata() {
        let sent = Message {
            text: r#"{"kind":"reconcile","id":7,"list":[1],"workTrigger":"x","of":{"a":"b"}}"#.to_owned(),
            id: "800ae4b3".to_owned(),
            dequeue_count: 2,
            inserted: "2026-11-20T09:00:00Z".parse().unwrap(),
        };
        let made: Value = serde_json::from_str(&message("work", &sent, &system())).unwrap();
        assert_eq!(made["Data"]["work"], text(&sent.text));
        let metadata = &made["Metadata"];
        assert_eq!((&metadata["DequeueCount"], &metadata["kind"]), (&"2".into(), &"\"reconcile\"".into()));
        assert_eq!((&metadata["id"], &metadata["of"]["a"]), (&"7".into(), &"b".into()));
        assert_eq!(metadata["ExpirationTime"], "2026-11-27T09:00:00+00:00");
        for gone in ["Id", "list", "workTrigger"] {
            assert!(metadata.get(gone).is_none(), "{gone}");
        }
    }
}
