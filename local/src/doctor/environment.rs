//! The variables a function is given, as its cloud prints them or as lines of a file.

use std::collections::BTreeMap;

use anyhow::{Context, bail};
use serde_json::Value;

/// Variables by name.
pub type Environment = BTreeMap<String, String>;

/// Reads variables from what a command of a cloud has printed, or from lines `NAME=value`.
///
/// A JSON object of names and values (`aws lambda get-function-configuration --query Environment.Variables`), one that has
/// it in `Environment.Variables` or `Variables`, or a list of objects with `name` and `value` (`az functionapp config
/// appsettings list`) will do.
///
/// # Errors
/// If the text is neither.
pub fn read(text: &str) -> anyhow::Result<Environment> {
    match text.trim_start().chars().next() {
        Some('{' | '[') => named(&serde_json::from_str(text).context("the JSON of the variables does not read")?),
        Some(_) => text.lines().enumerate().filter_map(|(at, line)| assigned(at, line)).collect(),
        None => bail!("there are no variables in it"),
    }
}

fn named(json: &Value) -> anyhow::Result<Environment> {
    let text = |name: &str, value: &Value| match value {
        Value::String(text) => Ok((name.to_owned(), text.clone())),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            bail!("{name} has no text for a value")
        }
    };
    match json {
        Value::Array(list) => {
            let member = |one: &Value| {
                let name = one.get("name").and_then(Value::as_str).context("one of the list has no name")?;
                text(name, one.get("value").unwrap_or(&Value::Null))
            };
            list.iter().map(member).collect()
        }
        Value::Object(object) => match object.get("Environment").or(object.get("Variables")) {
            Some(inner @ Value::Object(_)) => named(inner),
            Some(_) | None => object.iter().map(|(name, value)| text(name, value)).collect(),
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => bail!("the JSON names no variables"),
    }
}

/// `NAME=value`, perhaps exported, perhaps in quotation marks; nothing for a remark or an empty line.
fn assigned(at: usize, line: &str) -> Option<anyhow::Result<(String, String)>> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let Some((name, value)) = line.split_once('=') else {
        return Some(Err(anyhow::anyhow!("line {} is no NAME=value", at.saturating_add(1))));
    };
    let value = value.trim();
    let bare = ['"', '\''].iter().find_map(|mark| value.strip_prefix(*mark)?.strip_suffix(*mark));
    Some(Ok((name.trim().to_owned(), bare.unwrap_or(value).to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_cloud_prints_is_read() {
        let expected: Environment = [("A", "1"), ("B", "x=y z")].map(|(n, v)| (n.to_owned(), v.to_owned())).into();
        for text in [
            r#"{"A": "1", "B": "x=y z"}"#,
            r#"{"FunctionName": "landing", "Environment": {"Variables": {"A": "1", "B": "x=y z"}}}"#,
            r#"{"Variables": {"A": "1", "B": "x=y z"}}"#,
            r#"[{"name": "A", "slotSetting": false, "value": "1"}, {"name": "B", "value": "x=y z"}]"#,
            "# a remark\n\nA=1\n  export B='x=y z'\n",
            "A = \"1\"\nB=x=y z",
        ] {
            assert_eq!(read(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_does_not_read_says_where() {
        for (text, says) in [
            ("", "no variables"),
            ("A=1\nnothing", "line 2"),
            ("{", "does not read"),
            (r#"[{"value": "1"}]"#, "no name"),
            (r#"{"A": 1}"#, "A has no text"),
        ] {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
