//! Every alarm reaches a person and has its paragraph in the runbook, and every paragraph its alarm.

use std::collections::{BTreeMap, BTreeSet};

use super::{RUNBOOK, SELLER, TEMPLATE, WATCHING, between, of_kind, section};

pub fn aws_alarms(resources: &BTreeMap<String, String>) -> BTreeMap<&str, &str> {
    of_kind(resources, "AWS::CloudWatch::Alarm")
}

/// The alarms of the Bicep with what they say: those of the list, and the one that watches a metric.
fn azure_alarms() -> BTreeMap<String, &'static str> {
    let value = |entry: &'static str, key: &str| between(entry, &format!("{key}: '"), "'\n");
    let list = between(WATCHING, "var alarms = [", "\n]");
    let listed =
        list.split("\n  {").skip(1).map(|entry| (format!("Azure{}", value(entry, "name")), value(entry, "text")));
    let errors = between(WATCHING, "resource httpErrors", "severity");
    listed.chain([("AzureHttpErrors".to_owned(), value(errors, "description"))]).collect()
}

#[test]
fn every_alarm_has_its_paragraph_and_every_paragraph_its_alarm() {
    let resources = section(TEMPLATE, "Resources");
    let aws = aws_alarms(&resources);
    let azure = azure_alarms();
    assert!(aws.len() >= 24 && azure.len() >= 8, "{aws:?} {azure:?}");
    let seller = section(SELLER, "Resources");
    let mut told: BTreeMap<&str, &str> = azure.iter().map(|(name, says)| (&**name, *says)).collect();
    told.extend(aws.into_iter().chain(aws_alarms(&seller)));
    let headings: BTreeSet<&str> = RUNBOOK.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    assert_eq!(headings, told.keys().copied().collect());
    for (name, says) in told {
        let link = format!("docs/runbook.md#{}", name.to_lowercase());
        assert!(says.split_whitespace().any(|word| word == link), "{name} does not name {link}");
        let paragraph = between(RUNBOOK, &format!("\n### {name}\n\n"), "\n");
        assert!(paragraph.len() > 30, "{name}: {paragraph}");
    }
}

#[test]
fn every_alarm_reaches_a_person_and_says_when_it_is_over() {
    let (resources, seller) = (section(TEMPLATE, "Resources"), section(SELLER, "Resources"));
    for (name, block) in aws_alarms(&resources).into_iter().chain(aws_alarms(&seller)) {
        assert!(block.contains("      AlarmActions: [!Ref Alarms]\n"), "{name}");
        // The comparison comes by the hour: that its alarm is off in between says nothing of what is open.
        let hourly = name == "OpenFindingsAlarm";
        assert_eq!(block.contains("      OKActions: [!Ref Alarms]\n"), !hourly, "{name}");
        assert!(!hourly || block.contains("      Period: 300\n"), "it rings with each comparison");
        // Where nothing comes, nothing is wrong, but for what has to come.
        let breaching = block.contains("      TreatMissingData: breaching\n");
        assert!(breaching || block.contains("      TreatMissingData: notBreaching\n"), "{name}");
        assert_eq!(breaching, name.contains("Missing"), "{name}");
    }
    assert_eq!(WATCHING.matches("people.id").count(), 2, "the rules and the metric's alarm");
}

#[test]
fn every_queue_of_dead_letters_and_every_function_has_an_alarm() {
    let resources = section(TEMPLATE, "Resources");
    let alarms = aws_alarms(&resources);
    for name in of_kind(&resources, "AWS::SQS::Queue").into_keys().filter(|name| !name.ends_with("Queue")) {
        assert!(alarms.contains_key(format!("{name}Alarm").as_str()), "{name}");
    }
    for name in of_kind(&resources, "AWS::Serverless::Function").into_keys() {
        assert!(alarms.contains_key(format!("{name}ErrorsAlarm").as_str()), "{name}");
    }
}
