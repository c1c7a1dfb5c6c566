//! Who may do what on AWS: the functions, whoever writes to the queues, the account that sells, the functions on Azure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::{SELLER, TEMPLATE, between, filled, of_kind, section};

/// Everything that reads `service:Action` where a policy names actions.
fn actions(text: &str) -> BTreeSet<&str> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let word = |one: char| !(one.is_ascii_alphanumeric() || matches!(one, '-' | ':' | '*'));
    let action = |one: &&str| {
        let Some((service, action)) = one.split_once(':') else { return false };
        service.starts_with(|first: char| first.is_ascii_lowercase())
            && (action == "*" || action.chars().next().is_some_and(|first| first.is_ascii_uppercase()))
    };
    // A condition's key looks the same.
    let conditions = ["aws:SourceArn", "aws:SourceAccount", "sts:ExternalId"];
    lines.flat_map(|line| line.split(word)).filter(action).filter(|one| !conditions.contains(one)).collect()
}

#[test]
fn every_function_has_a_role_of_its_own_with_the_rights_it_needs() {
    let resources = section(TEMPLATE, "Resources");
    // Every function also has the rows of the ledger (`LedgerPolicy`) and its own log. `sts:AssumeRole` is who may take
    // the role, and taking the seller's.
    let queue = ["sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"];
    let marketplace = [
        "aws-marketplace:GetEntitlements",
        "aws-marketplace:DescribeAgreement",
        "aws-marketplace:SearchAgreements",
        "aws-marketplace:BatchMeterUsage",
    ];
    let (index, secret, send) = ("dynamodb:Query", "secretsmanager:GetSecretValue", "sqs:SendMessage");
    let mail = ["ses:SendEmail", "ses:SendRawEmail"];
    let rights: BTreeMap<&str, Vec<&str>> = BTreeMap::from([
        ("Landing", vec![index, "aws-marketplace:ResolveCustomer", marketplace[0], marketplace[2], secret, send]),
        ("Notifications", [&queue[..], &marketplace[..1], &[send]].concat()),
        ("Worker", [&queue[..], &marketplace[..], &mail[..], &[index, secret, send]].concat()),
        ("Sweeper", [&marketplace[..], &mail[..], &[index, secret]].concat()),
        ("Metering", [&queue[..], &marketplace[3..], &[index, secret, send]].concat()),
        ("Usage", queue.to_vec()),
    ]);
    let functions = of_kind(&resources, "AWS::Serverless::Function");
    assert_eq!(functions.keys().collect::<Vec<_>>(), rights.keys().collect::<Vec<_>>());
    let ledger = actions(&resources["LedgerPolicy"]);
    assert!(!ledger.contains("dynamodb:Scan") && !ledger.contains("dynamodb:DeleteItem"));
    for (name, block) in functions {
        assert!(block.contains(&format!("Role: !GetAtt {name}Role.Arn\n")), "{name}");
        let role = &resources[&format!("{name}Role")];
        let always = ["logs:CreateLogStream", "logs:PutLogEvents", "sts:AssumeRole"];
        let expected: BTreeSet<&str> = rights[name].iter().copied().chain(always).collect();
        assert_eq!(actions(role), expected, "{name}");
        assert!(role.contains(&format!("Resource: !GetAtt {name}Logs.Arn\n")), "{name} writes to its own log only");
        // One statement for each thing it reaches; only AWS Marketplace's actions know no resources.
        for statement in role.split("Sid: ").skip(1).filter(|one| one.contains("Resource: \"*\"")) {
            assert!(actions(statement).iter().all(|one| one.starts_with("aws-marketplace:")), "{name}: {statement}");
        }
    }
    for text in [TEMPLATE, SELLER] {
        assert!(!actions(text).iter().any(|action| action.ends_with(":*")));
    }
}

#[test]
fn an_account_that_sells_grants_what_the_functions_ask_and_forwards_what_the_rule_takes() {
    let seller = section(SELLER, "Resources");
    let resources = section(TEMPLATE, "Resources");
    let asked = |text: &str| -> BTreeSet<String> {
        let all = actions(text).into_iter().filter(|action| action.starts_with("aws-marketplace:"));
        all.map(str::to_owned).collect()
    };
    assert_eq!(asked(&seller["SellerRole"]), asked(TEMPLATE));
    assert!(seller["SellerRole"].contains("Condition: {StringEquals: {sts:ExternalId: !Ref ExternalId}}"));
    let pattern = |rule: &str| between(rule, "EventPattern:\n", "      Targets:").to_owned();
    assert_eq!(pattern(&seller["Events"]), pattern(&resources["NoticesRule"]));
    // Both suffixes, "- Proposer" and "- Manufacturer", begin alike.
    for kind in ["Purchase Agreement ", "License ", "Agreement Cancellation Request ", "Spend Threshold "] {
        assert!(resources["NoticesRule"].contains(&format!("- prefix: \"{kind}\"\n")), "{kind}");
    }
}

#[test]
fn only_the_rule_and_the_listings_topics_may_write_to_the_notices_queue() {
    let resources = section(TEMPLATE, "Resources");
    let policy = &resources["NoticesFromRule"];
    assert_eq!(policy.matches("Effect: Allow").count(), 2);
    assert!(policy.contains("Condition: {ArnEquals: {aws:SourceArn: !GetAtt NoticesRule.Arn}}"));
    assert!(
        policy.contains(
            "aws:SourceArn: !Sub arn:aws:sns:us-east-1:287250355862:aws-mp-*-notification-${LegacyProductCode}"
        )
    );
    let table = &resources["Table"];
    for kept in [
        "DeletionPolicy: Retain",
        "DeletionProtectionEnabled: true",
        "PointInTimeRecoveryEnabled: true",
        "TimeToLiveSpecification: {AttributeName: expires, Enabled: true}",
        "IndexName: due\n",
    ] {
        assert!(table.contains(kept), "{kept}");
    }
    for (name, group) in of_kind(&resources, "AWS::Logs::LogGroup") {
        assert!(group.contains("RetentionInDays: 400\n"), "{name}");
    }
}

#[test]
fn the_role_for_azure_trusts_one_identity_and_may_only_use_the_table() {
    let resources = section(TEMPLATE, "Resources");
    let role = &resources["AzureRole"];
    let trust = between(role, "AssumeRolePolicyDocument: !Sub |\n", "      ManagedPolicyArns");
    let trust: Value = serde_json::from_str(&filled_keys(trust)).unwrap();
    let statement = &trust["Statement"][0];
    assert_eq!(trust["Statement"].as_array().unwrap().len(), 1);
    assert_eq!(statement["Action"], "sts:AssumeRoleWithWebIdentity");
    assert_eq!(statement["Principal"]["Federated"], "<AzureTokens>");
    let condition = statement["Condition"]["StringEquals"].as_object().unwrap();
    assert_eq!(condition["sts.windows.net/<AzureTenant>/:aud"], "<AzureAudience>");
    assert_eq!(condition["sts.windows.net/<AzureTenant>/:sub"], "<AzurePrincipal>");
    assert!(resources["AzureTokens"].contains("Url: !Sub https://sts.windows.net/${AzureTenant}/\n"), "with its slash");
    let rights = between(role, "      ManagedPolicyArns", "Resource:");
    assert_eq!(actions(rights), BTreeSet::from(["dynamodb:Query"]));
    assert!(rights.starts_with(": [!Ref LedgerPolicy]\n"));
}

/// The text with `${name}` written as `<name>`.
fn filled_keys(text: &str) -> String {
    let (text, names) = filled(text);
    names.into_iter().fold(text, |text, name| text.replacen("filled", &format!("<{name}>"), 1))
}
