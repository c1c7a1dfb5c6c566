//! The Bicep names nothing that is not known, and has what the platform needs.

use serde_json::Value;

use super::{MAIN, WATCHING, between, settings};

/// Every resource type with the API version it is written for, and properties it has to have.
const RESOURCES: [(&str, &str, &[&str]); 15] = [
    ("Microsoft.ManagedIdentity/userAssignedIdentities", "2023-01-31", &[]),
    (
        "Microsoft.Storage/storageAccounts",
        "2023-05-01",
        &[
            "allowSharedKeyAccess: false",
            "allowBlobPublicAccess: false",
            "minimumTlsVersion: 'TLS1_2'",
            "supportsHttpsTrafficOnly: true",
        ],
    ),
    ("Microsoft.Storage/storageAccounts/blobServices", "2023-05-01", &["name: 'default'"]),
    ("Microsoft.Storage/storageAccounts/blobServices/containers", "2023-05-01", &["publicAccess: 'None'"]),
    ("Microsoft.KeyVault/vaults", "2023-07-01", &["enableRbacAuthorization: true", "enablePurgeProtection: true"]),
    ("Microsoft.OperationalInsights/workspaces", "2023-09-01", &["name: 'PerGB2018'", "retentionInDays: logDays"]),
    ("Microsoft.Insights/components", "2020-02-02", &["DisableLocalAuth: true", "WorkspaceResourceId: logs.id"]),
    ("Microsoft.Authorization/roleAssignments", "2022-04-01", &["principalType: 'ServicePrincipal'"]),
    ("Microsoft.Web/serverfarms", "2024-04-01", &["tier: 'FlexConsumption'", "name: 'FC1'", "reserved: true"]),
    (
        "Microsoft.Web/sites",
        "2024-04-01",
        &[
            "kind: 'functionapp,linux'",
            "type: 'UserAssigned'",
            "httpsOnly: true",
            "keyVaultReferenceIdentity: identity.id",
            "type: 'blobContainer'",
            "type: 'UserAssignedIdentity'",
            "userAssignedIdentityResourceId: identity.id",
            "instanceMemoryMB: instanceMemory",
            "maximumInstanceCount: maximumInstances",
            "alwaysReady: alwaysReady == 0 ? [] : [",
            "name: 'custom'",
            "version: '1.0'",
            "httpLoggingEnabled: false",
        ],
    ),
    ("Microsoft.Web/sites/basicPublishingCredentialsPolicies", "2024-04-01", &["allow: false"]),
    ("Microsoft.Insights/actionGroups", "2023-01-01", &["location: 'global'", "useCommonAlertSchema: true"]),
    ("Microsoft.Insights/scheduledQueryRules", "2023-12-01", &["kind: 'LogAlert'", "autoMitigate: alarm.fewer"]),
    ("Microsoft.Insights/metricAlerts", "2018-03-01", &["location: 'global'", "metricName: 'Http5xx'"]),
    ("Microsoft.Insights/workbooks", "2023-06-01", &["kind: 'shared'", "loadTextContent('workbook.json')"]),
];

/// What the platform needs for an identity in place of a connection string; not to be set on Flex Consumption are those below.
const PLATFORM: [&str; 8] = [
    "AzureWebJobsStorage__credential",
    "AzureWebJobsStorage__clientId",
    "AzureWebJobsStorage__accountName",
    "AzureWebJobsStorage__blobServiceUri",
    "AzureWebJobsStorage__queueServiceUri",
    "AzureWebJobsStorage__tableServiceUri",
    "APPLICATIONINSIGHTS_CONNECTION_STRING",
    "APPLICATIONINSIGHTS_AUTHENTICATION_STRING",
];
const MOVED: [&str; 4] =
    ["FUNCTIONS_WORKER_RUNTIME", "FUNCTIONS_EXTENSION_VERSION", "WEBSITE_RUN_FROM_PACKAGE", "AzureWebJobsStorage'"];

/// Azure's built-in roles that the identity has.
const ROLES: [(&str, &str); 5] = [
    ("blobs", "b7e6dc6d-f1e8-4753-8033-0f276bb0955b"),
    ("queues", "974c5e8b-45b9-4653-ba55-5f855dd0fb88"),
    ("tables", "0a9a7e1f-b9d0-4cc4-a60d-0319b160aaa3"),
    ("metrics", "3913510d-42f4-4e42-8a64-420c390055eb"),
    ("secrets", "4633458b-17de-408a-b874-0445c86b69e6"),
];

/// Type, version and body of every resource of a Bicep file.
fn declared(bicep: &'static str) -> Vec<(&'static str, &'static str, &'static str)> {
    let one = |text: &'static str| {
        let (kind, rest) = text.split_once('@').unwrap();
        let (version, rest) = rest.split_once('\'').unwrap();
        let body = rest.split_once("\n}").unwrap().0;
        (kind.split_once('\'').unwrap().1, version, body)
    };
    bicep.split("\nresource ").skip(1).map(one).collect()
}

#[test]
fn the_bicep_names_only_resources_that_are_known_with_what_they_need() {
    let all: Vec<_> = declared(MAIN).into_iter().chain(declared(WATCHING)).collect();
    for (kind, version, body) in &all {
        let (_, known, needs) =
            RESOURCES.iter().find(|(known, _, _)| known == kind).unwrap_or_else(|| panic!("{kind} is not known"));
        assert_eq!(version, known, "{kind}");
        for need in *needs {
            assert!(body.contains(need), "{kind}: {need}");
        }
    }
    for (kind, _, _) in RESOURCES {
        assert!(all.iter().any(|(declared, _, _)| *declared == kind), "{kind} is not there");
    }
}

#[test]
fn the_app_has_what_the_platform_needs_and_no_key() {
    let settings = settings();
    for name in PLATFORM {
        assert!(settings.contains(name), "{name}");
    }
    for name in MOVED {
        assert!(!MAIN.contains(&format!("name: '{name}")), "{name} is not for Flex Consumption");
    }
    for secret in ["listKeys", "AccountKey=", "SharedAccessSignature", "@secure"] {
        assert!(!MAIN.contains(secret) && !WATCHING.contains(secret), "{secret}");
    }
    assert!(MAIN.contains("'@Microsoft.KeyVault(SecretUri=${vault.properties.vaultUri}secrets/${secretName})'"));
    let given = between(MAIN, "var roles = {\n", "\n}");
    assert_eq!(given.lines().count(), ROLES.len());
    for (name, role) in ROLES {
        assert!(given.contains(&format!("  {name}: '{role}' //")), "{name}");
        assert_eq!(
            MAIN.matches(&format!("'Microsoft.Authorization/roleDefinitions', roles.{name})")).count(),
            1,
            "{name}"
        );
    }
}

#[test]
fn a_timers_run_ends_before_the_host_ends_it() {
    let host: Value = serde_json::from_str(include_str!("../../../../host.json")).unwrap();
    let limit: Vec<u64> =
        host["functionTimeout"].as_str().unwrap().split(':').map(|two| two.parse().unwrap()).collect();
    let limit = limit.iter().fold(0, |sum, part| sum * 60 + part);
    let work = include_str!("../../../../functions/azure/src/work.rs");
    let run: u64 = between(work, "const RUN: SignedDuration = SignedDuration::from_secs(", ")").parse().unwrap();
    assert!(run + 30 <= limit, "{run} s of {limit} s");
    for name in ["landing", "webhook", "worker", "sweeper", "metering", "reconcile"] {
        let path = format!("{}/../functions/azure/functions/{name}/function.json", env!("CARGO_MANIFEST_DIR"));
        let function: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
        let trigger = &function["bindings"][0];
        // An instance that starts must not run what is on a schedule: every new one would.
        assert!(trigger["type"] != "timerTrigger" || trigger["runOnStartup"] == false, "{name}");
    }
}
