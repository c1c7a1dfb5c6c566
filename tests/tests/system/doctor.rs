//! What `doctor` sees of a configuration that is well, and of each that is not: the real command, with nothing in its
//! environment but what the account's services need, against services of which nobody is kind.

#![expect(clippy::indexing_slicing, reason = "JSON that is not there reads as null, and the test fails")]

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, ensure};
use aws_sdk_dynamodb::types::TimeToLiveSpecification;
use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use serde_json::{Value, json};
use system_tests::kill9::binary;
use system_tests::lambda_host::Stage;
use tokio::net::TcpListener;
use tokio::process::Command;
use tradepost_local::dynamo::TABLE;

type Outcome = anyhow::Result<()>;
/// Variables that are set otherwise.
type Changed = Vec<(&'static str, String)>;

/// What is said of each thing, by what it is about.
type Said = BTreeMap<String, Vec<(String, String)>>;

fn worst(said: &Said, about: &str) -> String {
    let of = said.get(about).map(Vec::as_slice).unwrap_or_default();
    let wrong = of.iter().find(|(word, _)| word == "wrong").or(of.first());
    wrong.map_or_else(|| "nothing is said".to_owned(), |(word, says)| format!("{word}: {says}"))
}

/// Runs the command; what it said, and whether it was content.
async fn doctor(cloud: &str, variables: &[(String, String)]) -> anyhow::Result<(Said, bool)> {
    let (ours, aws): (Vec<_>, Vec<_>) = variables.iter().cloned().partition(|(name, _)| !name.starts_with("AWS_"));
    let file = std::env::temp_dir().join(format!("doctor-{}-{:?}", std::process::id(), std::thread::current().id()));
    let lines: String = ours.iter().map(|(name, value)| format!("{name}='{value}'\n")).collect();
    std::fs::write(&file, lines)?;
    let mut command = Command::new(binary()?);
    command.args(["--json", "doctor", cloud, "--env"]).arg(&file).env_clear().envs(aws);
    command.env("AWS_REGION", "us-east-1").stdin(Stdio::null());
    let output = command.output().await?;
    std::fs::remove_file(&file)?;
    let text = String::from_utf8(output.stdout)?;
    let mut said = Said::new();
    for line in text.lines() {
        let one: Value = serde_json::from_str(line).with_context(|| line.to_owned())?;
        if let (Some(about), Some(word), Some(says)) =
            (one["about"].as_str(), one["word"].as_str(), one["says"].as_str())
        {
            said.entry(about.to_owned()).or_default().push((word.to_owned(), says.to_owned()));
        }
    }
    ensure!(!said.is_empty(), "{text}{}", String::from_utf8_lossy(&output.stderr));
    Ok((said, output.status.success()))
}

/// An identity provider with nothing but its document and its keys, a Tradepost with nothing but its health, and a control
/// plane that takes anybody at their word.
async fn others() -> anyhow::Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let at = format!("http://{}", listener.local_addr()?);
    let document = json!({
        "issuer": at, "authorization_endpoint": format!("{at}/authorize"), "token_endpoint": format!("{at}/token"),
        "jwks_uri": format!("{at}/keys"), "response_types_supported": ["code"], "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    });
    let keys = json!({"keys": [{"kty": "EC", "crv": "P-256", "use": "sig", "kid": "1",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]});
    let well = json!({"status": "well", "table": "answers", "marketplace": "answers", "version": "0.1.0"});
    let ill = json!({"status": "ill", "table": "refuses", "marketplace": "silent"});
    let nobody = json!({"error": {"code": "organization_not_found", "message": "There is no such organization."}});
    let reply = |status: StatusCode, body: Value| move || async move { (status, axum::Json(body)) };
    let router = Router::new()
        .route("/.well-known/openid-configuration", get(reply(StatusCode::OK, document)))
        .route("/keys", get(reply(StatusCode::OK, keys)))
        .route("/well/health", get(reply(StatusCode::OK, well)))
        .route("/ill/health", get(reply(StatusCode::SERVICE_UNAVAILABLE, ill)))
        .route("/credulous/{operation}", post(reply(StatusCode::NOT_FOUND, nobody)));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(at)
}

fn method(issuer: &str) -> String {
    json!([{"id": "demo", "label": "Sign in", "issuer": issuer, "client_id": "tradepost"}]).to_string()
}

#[tokio::test]
async fn a_configuration_that_is_well_has_nothing_wrong() -> Outcome {
    let (stage, at) = (Stage::open().await?, others().await?);
    let changed = [("TRADEPOST_PUBLIC_URL", format!("{at}/well")), ("TRADEPOST_SIGN_IN", method(&at))];
    let changed: Vec<_> = changed.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (said, content) = doctor("aws", &stage.environment_with(&changed)).await?;
    ensure!(content, "{said:?}");
    for about in [
        "variables",
        "policy",
        "table",
        "queue",
        "secret",
        "marketplace",
        "control plane",
        "sign-in",
        "public address",
        "events",
        "e-mail",
    ] {
        ensure!(worst(&said, about).starts_with("well: "), "{about}: {said:?}");
    }
    Ok(())
}

#[tokio::test]
async fn whatever_is_wrong_is_named_where_it_is_wrong() -> Outcome {
    let (stage, at) = (Stage::open().await?, others().await?);
    let nobody = TcpListener::bind(("127.0.0.1", 0)).await?.local_addr()?;
    let silent = format!("http://{nobody}");
    let ses_and_smtp = "smtps://user@127.0.0.1:465";
    let cases: Vec<(Changed, &str, &str)> = vec![
        (vec![("TRADEPOST_TABEL", "tradepost".to_owned())], "variables", "TRADEPOST_TABEL is read by nobody"),
        (vec![("TRADEPOST_WORK_QUEUE_URL", String::new())], "variables", "TRADEPOST_WORK_QUEUE_URL is not set"),
        (vec![("TRADEPOST_DELETION_CAP", "many".to_owned())], "settings", "TRADEPOST_DELETION_CAP is not a number"),
        (
            vec![("TRADEPOST_MAIL", "ses".to_owned()), ("TRADEPOST_SMTP_URL", ses_and_smtp.to_owned())],
            "settings",
            "set only one of them",
        ),
        (vec![("TRADEPOST_POLICY", "/none.toml".to_owned())], "settings", "/none.toml cannot be read"),
        (vec![("TRADEPOST_TABLE", "another".to_owned())], "table", "it cannot be described"),
        (
            vec![("TRADEPOST_WORK_QUEUE_URL", "https://sqs.us-east-1.amazonaws.com/1/none".to_owned())],
            "queue",
            "does not answer",
        ),
        (vec![("TRADEPOST_SECRET_ID", "another".to_owned())], "secret", "the secret cannot be fetched"),
        (vec![("TRADEPOST_EVENTS_URL", "https://vendor.example/".to_owned())], "secret", "there is no events"),
        (
            vec![("AWS_ENDPOINT_URL_MARKETPLACE_METERING", silent.clone())],
            "marketplace",
            "AWS Marketplace does not answer",
        ),
        (vec![("TRADEPOST_CONTROL_PLANE_URL", format!("{at}/credulous"))], "control plane", "it answers a stranger"),
        (vec![("TRADEPOST_CONTROL_PLANE_URL", format!("{at}/none"))], "control plane", "is the address right?"),
        (vec![("TRADEPOST_CONTROL_PLANE_URL", silent.clone())], "control plane", "cannot be reached"),
        (vec![("TRADEPOST_SIGN_IN", method(&format!("{at}/none")))], "sign-in", "demo: "),
        (vec![("TRADEPOST_SIGN_IN", method(&at.replace("127.0.0.1", "localhost")))], "sign-in", "demo: "),
        (
            vec![("TRADEPOST_PUBLIC_URL", format!("{at}/ill"))],
            "public address",
            "its table refuses, its marketplace silent",
        ),
        (vec![("TRADEPOST_PUBLIC_URL", at.clone())], "public address", "answers 404"),
        (vec![("TRADEPOST_PUBLIC_URL", silent)], "public address", "does not answer"),
    ];
    let usual = [("TRADEPOST_PUBLIC_URL", format!("{at}/well")), ("TRADEPOST_SIGN_IN", method(&at))];
    for (changed, about, expected) in cases {
        let base = usual.iter().filter(|(name, _)| !changed.iter().any(|(other, _)| other == name));
        let all: Vec<_> = base.chain(&changed).map(|(name, value)| (*name, value.as_str())).collect();
        let (said, content) = doctor("aws", &stage.environment_with(&all)).await?;
        let worst = worst(&said, about);
        ensure!(worst.starts_with("wrong: ") && worst.contains(expected), "{changed:?}: {worst}\n{said:?}");
        ensure!(!content, "{changed:?} and yet it is content");
    }
    Ok(())
}

#[tokio::test]
async fn a_table_that_keeps_everything_or_may_be_deleted_is_named() -> Outcome {
    let (stage, at) = (Stage::open().await?, others().await?);
    let (address, sign_in) = (format!("{at}/well"), method(&at));
    let environment = stage.environment_with(&[("TRADEPOST_PUBLIC_URL", &address), ("TRADEPOST_SIGN_IN", &sign_in)]);
    let expiry = |attribute: &str, on: bool| {
        TimeToLiveSpecification::builder().attribute_name(attribute).enabled(on).build().map(|expiry| {
            let call = stage.dynamo.client().update_time_to_live().table_name(TABLE);
            call.time_to_live_specification(expiry).send()
        })
    };
    expiry("expires", false)?.await?;
    let (said, content) = doctor("aws", &environment).await?;
    ensure!(!content && worst(&said, "table").contains("rows are kept for ever"), "{said:?}");
    expiry("due_at", true)?.await?;
    let (said, _) = doctor("aws", &environment).await?;
    ensure!(worst(&said, "table").contains("rows are kept for ever"), "by another attribute: {said:?}");
    expiry("due_at", false)?.await?;
    expiry("expires", true)?.await?;
    for (protected, expected) in [(false, "wrong: it is not protected"), (true, "well: ")] {
        stage.dynamo.client().update_table().table_name(TABLE).deletion_protection_enabled(protected).send().await?;
        let (said, _) = doctor("aws", &environment).await?;
        ensure!(worst(&said, "table").starts_with(expected), "{said:?}");
    }
    Ok(())
}

#[tokio::test]
async fn on_azure_what_only_the_platform_may_see_is_said_to_be_unseen() -> Outcome {
    let (stage, at) = (Stage::open().await?, others().await?);
    let policy = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../policies/emqx.toml").display().to_string();
    let guid = "5a3e1c52-7d0f-4a6e-9a53-0d7c3f2b1a90";
    let of_azure = [
        ("TRADEPOST_SECRETS", "@Microsoft.KeyVault(SecretUri=https://vault.example/secrets/tradepost)"),
        ("TRADEPOST_POLICY", &policy),
        ("TRADEPOST_AZURE_TENANT", guid),
        ("TRADEPOST_AZURE_APP", guid),
        ("TRADEPOST_AZURE_BUYER_APP", guid),
        ("TRADEPOST_AWS_REGION", "us-east-1"),
        ("TRADEPOST_AWS_ROLE", "arn:aws:iam::111122223333:role/tradepost"),
        ("TRADEPOST_AWS_AUDIENCE", "api://aws-ledger"),
        ("TRADEPOST_PUBLIC_URL", &format!("{at}/well")),
        ("TRADEPOST_SIGN_IN", &method(&at)),
        ("TRADEPOST_SECRET_ID", ""),
        ("TRADEPOST_WORK_QUEUE_URL", ""),
        ("TRADEPOST_METERING_QUEUE_URL", ""),
        ("TRADEPOST_METRICS", ""),
    ];
    let (said, content) = doctor("azure", &stage.environment_with(&of_azure)).await?;
    ensure!(content, "{said:?}");
    ensure!(worst(&said, "secret").starts_with("unseen: TRADEPOST_SECRETS refers to Key Vault"), "{said:?}");
    ensure!(worst(&said, "table").starts_with("well: "), "{said:?}");
    let mut secret = of_azure;
    secret[0].1 = "{}";
    let (said, content) = doctor("azure", &stage.environment_with(&secret)).await?;
    ensure!(!content && worst(&said, "secret").contains("not of the documented shape"), "{said:?}");
    Ok(())
}
