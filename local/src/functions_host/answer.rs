//! What the host makes of an answer to an envelope. Recorded: `{"Outputs":{},"Logs":[..],"ReturnValue":null}` succeeds,
//! and an answer to a request that is not in the expected form is `204 No Content` for the caller while the invocation
//! counts as succeeded. Read from source: everything else, above all the two traps: an empty answer sets no result, so
//! the invocation hangs until its timeout; and a text that could be base64 is decoded as if it were.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use serde::Deserialize;
use serde_json::Value;

use super::function_json::Output;

/// What came of an invocation.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The host counts it as succeeded.
    Succeeded(Given),
    /// The host counts it as failed, for this reason.
    Failed(String),
    /// No answer, or an empty one, until `functionTimeout`; the handler was started anew.
    TimedOut,
}

/// What a succeeded invocation gave out.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Given {
    /// The output bindings' values, the answer to a request left out.
    pub outputs: BTreeMap<String, Passed>,
    /// The lines of `Logs`.
    pub logs: Vec<String>,
}

/// A value of an output binding, after the host had it.
#[derive(Clone, Debug, PartialEq)]
pub enum Passed {
    /// As the handler gave it.
    Value(Value),
    /// A text that looked like base64, decoded.
    Mangled(Vec<u8>),
}

/// What the answer says.
pub(super) enum Read {
    /// Nothing: nothing sets a result.
    Nothing,
    /// It fails.
    Failed(String),
    /// It succeeds, with this answer for the caller of a request.
    Succeeded(Given, Option<Response>),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Status {
    Number(u16),
    Text(String),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct HttpOutput {
    #[serde(alias = "StatusCode")]
    status_code: Option<Status>,
    #[serde(alias = "Status")]
    status: Option<Status>,
    #[serde(default, alias = "Body")]
    body: Value,
    #[serde(default, alias = "Headers")]
    headers: Option<BTreeMap<String, Value>>,
}

/// Reads the answer to an envelope.
pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: &Bytes, outputs: &[Output]) -> Read {
    if !status.is_success() {
        return Read::Failed(format!("Response status code does not indicate success: {}", status.as_u16()));
    }
    if body.is_empty() {
        return Read::Nothing;
    }
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    if kind != "application/json" && kind != "text/json" {
        return Read::Failed(format!("Invalid HttpResponseMessage: no formatter reads {kind:?}"));
    }
    let members = match serde_json::from_slice(body) {
        Ok(Value::Object(members)) => members,
        Ok(Value::Null) => return Read::Nothing,
        Ok(_) => return Read::Failed("Invalid HttpResponseMessage: not an object".to_owned()),
        Err(e) => return Read::Failed(format!("Invalid HttpResponseMessage: {e}")),
    };
    let member = |wanted: &str| {
        let found = members.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted)).map(|(_, value)| value);
        found.filter(|value| !value.is_null())
    };
    let logs: Result<Vec<String>, _> =
        member("Logs").map_or(Ok(Vec::new()), |logs| serde_json::from_value(logs.clone()));
    let given: Result<BTreeMap<String, Value>, _> =
        member("Outputs").map_or(Ok(BTreeMap::new()), |outputs| serde_json::from_value(outputs.clone()));
    let (Ok(logs), Ok(given)) = (logs, given) else {
        return Read::Failed("Invalid HttpResponseMessage: Outputs or Logs of another type".to_owned());
    };
    let mut outcome = Given { logs, ..Given::default() };
    let mut answer = None;
    for output in outputs {
        let value = match output.name.as_str() {
            "$return" => member("ReturnValue"),
            name => given.get(name),
        };
        match value {
            None => {}
            Some(value) if output.http => match http(value) {
                Ok(response) => answer = Some(response),
                Err(e) => {
                    return Read::Failed(format!(
                        "Output body should have 'StatusCode', 'Status', 'Body', and 'Headers': {e}"
                    ));
                }
            },
            Some(value) => {
                outcome.outputs.insert(output.name.clone(), mangled(value, output.binary));
            }
        }
    }
    Read::Succeeded(outcome, answer)
}

/// .NET's decoder: blanks do not count, padding does, and nothing at all is base64 too.
fn mangled(value: &Value, binary: bool) -> Passed {
    let decoded = value.as_str().filter(|_| !binary).and_then(|text| {
        let dense: String = text.chars().filter(|c| !matches!(c, ' ' | '\t' | '\r' | '\n')).collect();
        STANDARD.decode(dense).ok()
    });
    decoded.map_or_else(|| Passed::Value(value.clone()), Passed::Mangled)
}

/// The caller's answer in `{"statusCode","status","body","headers"}`.
fn http(value: &Value) -> Result<Response, String> {
    let output: HttpOutput = serde_json::from_value(value.clone()).map_err(|e| e.to_string())?;
    let code = match output.status_code.or(output.status) {
        None => 200,
        Some(Status::Number(code)) => code,
        Some(Status::Text(text)) => text.parse().map_err(|_| format!("{text:?} is no status"))?,
    };
    let (body, kind) = match output.body {
        Value::Null => (String::new(), None),
        Value::String(text) => (text, Some("text/plain; charset=utf-8")),
        body @ (Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => {
            (body.to_string(), Some("application/json; charset=utf-8"))
        }
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(code).map_err(|e| e.to_string())?;
    let headers = response.headers_mut();
    if let Some(kind) = kind {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    }
    for (name, value) in output.headers.unwrap_or_default() {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let name: HeaderName = name.parse().map_err(|_| format!("{name:?} is no header"))?;
        headers.insert(name, text.parse().map_err(|_| format!("{text:?} is no header's value"))?);
    }
    Ok(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16, kind: &str, body: &'static str) -> Read {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, kind.parse().unwrap());
        let output = |name: &str, http, binary| Output { name: name.to_owned(), http, binary };
        let outputs = [output("res", true, false), output("next", false, false), output("raw", false, true)];
        read(StatusCode::from_u16(status).unwrap(), &headers, &Bytes::from_static(body.as_bytes()), &outputs)
    }

    const JSON: &str = "application/json; charset=utf-8";

    #[test]
    fn only_a_json_object_of_the_right_types_succeeds() {
        let recorded = r#"{"Outputs":{},"Logs":["tick ran"],"ReturnValue":null}"#;
        let Read::Succeeded(given, None) = answered(200, JSON, recorded) else { panic!() };
        assert_eq!(given.logs, ["tick ran"]);
        assert!(matches!(answered(200, JSON, r#"{"hello":"world"}"#), Read::Succeeded(_, None)));
        for (status, kind, body) in [
            (500, JSON, recorded),
            (302, JSON, recorded),
            (200, "text/plain", recorded),
            (200, JSON, "ok"),
            (200, JSON, "[]"),
            (200, JSON, r#"{"Logs":"one"}"#),
            (200, JSON, r#"{"Outputs":["one"]}"#),
            (200, JSON, r#"{"Outputs":{"res":"hello"}}"#),
            (200, JSON, r#"{"Outputs":{"res":{"statusCode":"fine"}}}"#),
        ] {
            assert!(matches!(answered(status, kind, body), Read::Failed(_)), "{status} {kind} {body}");
        }
        assert!(
            matches!(answered(204, JSON, ""), Read::Nothing) && matches!(answered(200, JSON, "null"), Read::Nothing)
        );
    }

    #[test]
    fn a_text_that_could_be_base64_is_decoded() {
        let body = r#"{"Outputs":{"next":"test","raw":"test"}}"#;
        let Read::Succeeded(given, _) = answered(200, JSON, body) else { panic!() };
        assert_eq!(given.outputs["next"], Passed::Mangled(vec![0xb5, 0xeb, 0x2d]));
        assert_eq!(given.outputs["raw"], Passed::Value("test".into()));
        let Read::Succeeded(given, _) = answered(200, JSON, r#"{"Outputs":{"next":"a word"}}"#) else { panic!() };
        assert_eq!(given.outputs["next"], Passed::Value("a word".into()));
    }

    #[test]
    fn a_request_is_answered_from_the_output() {
        let body = r#"{"Outputs":{"res":{"statusCode":"201","body":{"a":1},"headers":{"X":"y"}}}}"#;
        let Read::Succeeded(_, Some(answer)) = answered(200, JSON, body) else { panic!() };
        assert_eq!((answer.status(), &answer.headers()["x"]), (StatusCode::CREATED, &"y".parse().unwrap()));
        assert_eq!(answer.headers()[header::CONTENT_TYPE], JSON);
    }
}
