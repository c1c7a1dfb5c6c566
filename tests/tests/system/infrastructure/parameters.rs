//! Every parameter has its row in the deploy pages with its default, and every variable of the functions is set.

use std::collections::BTreeSet;

use tradepost::settings::reference::{Setting, VARIABLES};

use super::{DEPLOY_AWS, DEPLOY_AZURE, MAIN, TEMPLATE, section};

/// The rows of a page's tables, each with the names in its first cell.
fn rows(page: &str) -> Vec<(BTreeSet<&str>, &str)> {
    let rows = page.lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| (row.split('|').nth(1).unwrap().split('`').skip(1).step_by(2).collect(), row)).collect()
}

#[test]
fn every_parameter_has_a_row_with_its_default() {
    let aws = section(TEMPLATE, "Parameters").into_iter().map(|(name, block)| {
        let default =
            block.lines().find_map(|line| line.trim().strip_prefix("Default: ")).map(|text| text.replace('"', ""));
        (DEPLOY_AWS, name, default)
    });
    let azure = MAIN.lines().filter_map(|line| line.strip_prefix("param ")).map(|line| {
        let (declared, default) = line.split_once(" = ").map_or((line, None), |(name, default)| (name, Some(default)));
        let default = default.map(|text| text.replace('\'', "")).filter(|text| !text.contains(['(', '[', '{', '.']));
        (DEPLOY_AZURE, declared.split(' ').next().unwrap().to_owned(), default)
    });
    let all: Vec<_> = aws.chain(azure).collect();
    assert!(all.len() > 45, "{}", all.len());
    for (page, name, default) in all {
        let rows = rows(page);
        let (_, row) =
            rows.iter().find(|(names, _)| names.contains(&*name)).unwrap_or_else(|| panic!("no row for {name}"));
        let last = row.trim_end_matches([' ', '|']).rsplit('|').next().unwrap().trim();
        match default.as_deref() {
            // What is computed is told in words.
            None => assert!(!last.is_empty(), "{row}"),
            Some("") => assert!(last == "empty" || last.starts_with("the "), "{row}"),
            Some(default) => assert_eq!(last.trim_matches('`'), default, "{row}"),
        }
    }
}

#[test]
fn every_variable_that_a_function_reads_can_be_set() {
    let set_by_lambda = ["TRADEPOST_POLICY", "AWS_LAMBDA_LOG_LEVEL", "AWS_LAMBDA_LOG_FORMAT"];
    for Setting { name, .. } in VARIABLES.iter().chain(&tradepost_aws::config::VARIABLES) {
        let known = set_by_lambda.contains(name) || TEMPLATE.contains(&format!("        {name}: "));
        assert!(known, "template.yaml does not set {name}");
    }
    // Packaged under the name it has by default; e-mails go over a mail server; other servers than Microsoft's and AWS's
    // are for tests; the platform sets the last three.
    let unset = [
        "TRADEPOST_POLICY",
        "TRADEPOST_MAIL",
        "TRADEPOST_MARKETPLACE_URL",
        "TRADEPOST_ENTRA_URL",
        "TRADEPOST_ENTRA_V1_ISSUER",
        "TRADEPOST_AWS_STS_URL",
        "TRADEPOST_DYNAMODB_URL",
        "IDENTITY_ENDPOINT",
        "IDENTITY_HEADER",
        "FUNCTIONS_CUSTOMHANDLER_PORT",
    ];
    let of_azure = VARIABLES.iter().chain(&tradepost_azure::config::VARIABLES);
    for Setting { name, .. } in of_azure.filter(|setting| !unset.contains(&setting.name)) {
        assert!(MAIN.contains(&format!("{{ name: '{name}', value: ")), "main.bicep does not set {name}");
    }
}
