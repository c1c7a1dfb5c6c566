//! A small checker over Microsoft's descriptions of the fulfillment and metering APIs: that what we ask is in it, with what it
//! requires, and that sample answers are what it describes.

use serde_json::{Map, Value};

use crate::stub::Asked;

const SAAS: &str = include_str!("../../../../tests/openapi/microsoft/saasapi.v2.json");
const METERING: &str = include_str!("../../../../tests/openapi/microsoft/meteringapi.v1.json");

pub struct Contract(Value);

impl Contract {
    pub fn saas() -> Self {
        Self(serde_json::from_str(SAAS).unwrap())
    }

    pub fn metering() -> Self {
        Self(serde_json::from_str(METERING).unwrap())
    }

    /// The operation a request is, and its path's template.
    fn operation(&self, method: &str, path: &str) -> Option<(&str, &Value)> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        self.0["paths"].as_object().unwrap().iter().find_map(|(template, operations)| {
            let wanted: Vec<&str> = template.trim_matches('/').split('/').collect();
            let same =
                |(want, is): (&&str, &&str)| want == is || (want.starts_with('{') && uuid::Uuid::try_parse(is).is_ok());
            let fits = wanted.len() == parts.len() && wanted.iter().zip(&parts).all(same);
            let operation = operations.get(method.to_lowercase())?;
            fits.then_some((template.as_str(), operation))
        })
    }

    /// Panics unless the request is in the description, with everything that is required and nothing unknown in its
    /// body. Returns the template of its path.
    pub fn check(&self, asked: &Asked) -> String {
        let path = asked.path.strip_prefix("/api").unwrap_or_else(|| panic!("{} is not below the base", asked.path));
        let (template, operation) =
            self.operation(asked.method.as_str(), path).unwrap_or_else(|| panic!("no {} {path}", asked.method));
        let mut known = Vec::new();
        for parameter in operation["parameters"].as_array().unwrap() {
            let name = parameter["name"].as_str().unwrap();
            let given = match parameter["in"].as_str().unwrap() {
                "query" => asked.parameter(name).map(str::to_owned),
                "header" => asked.headers.get(name).map(|value| value.to_str().unwrap().to_owned()),
                _ => continue,
            };
            known.push(name);
            assert!(given.is_some() || parameter["required"] != Value::Bool(true), "{template}: {name} is required");
            if let Some(given) = given {
                let wrong = self.wrong(&parameter["schema"], &Value::String(given), true);
                assert_eq!(wrong, Vec::<String>::new(), "{template}: {name}");
            }
        }
        for (name, _) in &asked.query {
            assert!(known.contains(&name.as_str()), "{template} has no parameter {name}");
        }
        let schema = &operation["requestBody"]["content"]["application/json"]["schema"];
        if schema.is_null() {
            assert!(asked.body.is_empty(), "{template} has no body");
        } else {
            assert_eq!(self.wrong(schema, &asked.json(), true), Vec::<String>::new(), "{template}");
        }
        format!("{} {template}", asked.method)
    }

    /// What is wrong with a sample answer.
    pub fn wrong_answer(&self, method: &str, path: &str, status: &str, sample: &Value) -> Vec<String> {
        let (_, operation) = self.operation(method, path).unwrap();
        let schema = &operation["responses"][status]["content"]["application/json"]["schema"];
        assert!(!schema.is_null(), "{method} {path} answers {status} without a body");
        self.wrong(schema, sample, false)
    }

    fn wrong(&self, schema: &Value, value: &Value, strict: bool) -> Vec<String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.rsplit('/').next().unwrap();
            return self.wrong(&self.0["components"]["schemas"][name], value, strict);
        }
        let mut found = Vec::new();
        if let Some(allowed) = schema["enum"].as_array()
            && !allowed.contains(value)
        {
            found.push(format!("{value} is none of {allowed:?}"));
        }
        let fits = match schema["type"].as_str() {
            Some("object") => value.is_object(),
            Some("array") => value.is_array(),
            Some("string") => value.is_string(),
            Some("integer") => value.is_i64() || value.is_u64(),
            Some("number") => value.is_number(),
            Some("boolean") => value.is_boolean(),
            _ => true,
        };
        if !fits {
            found.push(format!("{value} is not of type {}", schema["type"]));
        }
        if schema["format"] == "uuid" && value.as_str().is_none_or(|text| uuid::Uuid::try_parse(text).is_err()) {
            found.push(format!("{value} is no GUID"));
        }
        let none = Map::new();
        let properties = schema["properties"].as_object().unwrap_or(&none);
        for (name, inner) in value.as_object().unwrap_or(&none) {
            match properties.get(name) {
                Some(schema) => found.extend(self.wrong(schema, inner, strict)),
                None if strict => found.push(format!("{name} is not described")),
                None => {}
            }
        }
        for inner in value.as_array().into_iter().flatten() {
            found.extend(self.wrong(&schema["items"], inner, strict));
        }
        found
    }
}

#[test]
fn the_checker_finds_what_is_wrong() {
    let contract = Contract::saas();
    let body = serde_json::json!({ "id": "5c0d2f6e-8a57-4d0e-9a0e-0f4d2d9d1b11", "quantity": "20", "saasSubscriptionStatus": "Odd" });
    let wrong = contract.wrong_answer("GET", "/saas/subscriptions/5c0d2f6e-8a57-4d0e-9a0e-0f4d2d9d1b11", "200", &body);
    assert_eq!(wrong.len(), 2, "{wrong:?}");
    assert!(contract.operation("PUT", "/saas/subscriptions").is_none());
    assert!(contract.operation("GET", "/saas/subscriptions/../operations").is_none());
}

#[test]
fn microsofts_descriptions_read() {
    assert!(Contract::metering().operation("POST", "/batchUsageEvent").is_some());
}
