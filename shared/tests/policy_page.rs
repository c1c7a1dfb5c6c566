//! `docs/policy.md` against the code: its example reads, uses every key there is, and every key has its row.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;

use tradepost::policy::{Policy, explained};

const PAGE: &str = include_str!("../../docs/policy.md");

fn example() -> String {
    PAGE.split_once("```toml\n").unwrap().1.split_once("```").unwrap().0.to_owned()
}

/// The keys that the code takes in a table: whoever names another one is told.
fn taken(example: &str, path: &[&str]) -> BTreeSet<String> {
    let header = path.join(".");
    let header = [format!("[{header}]\n"), format!("[[{header}]]\n")];
    let at = header.iter().find_map(|header| example.find(header.as_str()).map(|at| at + header.len()));
    let (before, after) = example.split_at(at.filter(|_| !path.is_empty()).unwrap_or(0));
    let error = Policy::parse(&format!("{before}no_such_key = true\n{after}")).unwrap_err().to_string();
    let expected = error.split_once("expected").unwrap().1;
    expected.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

#[test]
fn every_key_is_documented_and_in_the_example() {
    let example = example();
    Policy::parse(&example).unwrap();
    let mut keys = 0;
    for path in [
        vec![],
        vec!["support"],
        vec!["brand"],
        vec!["console"],
        vec!["link"],
        vec!["link", "ask"],
        vec!["change"],
        vec!["usage"],
        vec!["end"],
        vec!["messages"],
        vec!["listing"],
        vec!["listing", "meter"],
    ] {
        for key in taken(&example, &path) {
            let named: Vec<&str> = path.iter().copied().chain([key.as_str()]).collect();
            let row = format!("\n| `{}` |", named.join("."));
            assert!(PAGE.contains(&row), "{} has no row", named.join("."));
            let written = |line: &str| {
                line.starts_with(&format!("{key} =")) || line.trim_matches(['[', ']']).ends_with(&named.join("."))
            };
            assert!(example.lines().any(written), "{} is not in the example", named.join("."));
            keys += 1;
        }
    }
    let rows = PAGE.lines().filter(|line| line.starts_with("| `")).count();
    assert_eq!(rows, keys, "a row for a key that does not exist");
}

const TOLD: &str = "\
What is sold
  Example on AWS Marketplace as “Example (Pay as you go)” (contract with consumption, examplepaygo000000000000e5)
  — gb_processed (by the GB) is billed by the hour: after what gb_per_year entitles to, hours without any are reported as zero
  Example on Microsoft Marketplace as “Example” (pay as you go, example)
  — gb_processed is billed by the hour: team includes 1000 a term
  Not by Tradepost: exampleagent0000000000000f6. What AWS tells of their licences is kept, and nobody is asked.
Who may link a purchase
  Whoever is an owner or a billing person of the workspace.
  The person picks one workspace, and sees the reasons beside those that cannot be picked.
  Only if the workspace is on the plan starter.
  A new workspace can be created on the way.
  People sign in by google or email.
  Whoever links is also asked for: Cost centre (optional).
What refuses a link
  The workspace has unpaid invoices.
  The workspace is linked already, to any of the listings above. This always refuses.
Once linked
  The Payment Method of AWS Marketplace is “AWS Marketplace”.
  The Payment Method of Microsoft Marketplace is “Azure Marketplace”.
  The workspace is put on the plan standard.
  The person is shown the billing page of the workspace.
  The link can be moved to another workspace of the same person, without a gap.
  The link can be taken off without cancelling the purchase; that stops and deletes nothing.
  A purchase that is not confirmed within a day fails, and nothing is linked.
  While the marketplace suspends a subscription, everything runs on.
  On Microsoft Marketplace the buyer may change to the plan standard or enterprise, with 500 seats at most; anything else is refused.
When the subscription ends
  The workspace is put on the plan starter.
  Nothing of the workspace is stopped or deleted. Whatever else pays by then keeps its plan.
Who is told
  Buyers get an e-mail from billing@example.com when a purchase is linked, when one is refused, when a subscription ends, when deployments are stopped, before they are deleted, when they are deleted.
  Operators get an e-mail from billing@example.com when one is refused.
  Pages of https://console.example.com may show how a workspace stands.
To look at
  manage_url has nothing for Microsoft Marketplace: buyers get no link to their subscriptions.
  end.retention_hours has no effect: nothing is deleted.";

/// Whoever agrees to a policy reads this: every sentence of a policy that uses every key.
#[test]
fn the_example_is_told_in_these_words() {
    let parts = explained(&Policy::parse(&example()).unwrap());
    let told: Vec<String> = parts.iter().map(|part| format!("{}\n  {}", part.title, part.lines.join("\n  "))).collect();
    assert_eq!(told.join("\n"), TOLD);
}

/// What a policy leaves out is as the page says.
#[test]
fn hours_that_are_left_out_are_a_day() {
    let policy = example().replace("confirmation_hours = 24\n", "").replace("warn_hours = 24\n", "");
    let policy = Policy::parse(&policy).unwrap();
    assert_eq!((policy.link.confirmation_hours, policy.end.warn_hours), (24, 24));
}
