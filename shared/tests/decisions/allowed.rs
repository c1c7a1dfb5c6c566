//! What a policy must not say: each fault under its key, at its boundary, and nothing else with it.

use tradepost::policy::{Model, Policy, PolicyError};

/// A policy that sells nothing yet.
const RULES: &str = r#"
vendor = "Example"
organization_word = "account"
[support]
ticket_url = "https://example.com/tickets"
email = "support@example.com"
[link]
choosing = "implied"
roles = ["owner"]
[end]
family = "keep"
"#;
const METHODS: &str = "[link.payment_method]\naws = \"AWS Marketplace\"\nazure = \"Azure Marketplace\"\n";

fn listing(marketplace: &str, code: &str, model: &str) -> String {
    format!(
        "[[listing]]\nmarketplace = \"{marketplace}\"\ncode = \"{code}\"\nproduct = \"Example\"\ntitle = \"Example\"\n\
         url = \"https://example.com/{code}\"\nmodel = \"{model}\"\n"
    )
}

/// The keys at which a policy is refused; none if it is allowed.
fn faults(text: &str) -> Vec<String> {
    match Policy::parse(text) {
        Ok(_) => Vec::new(),
        Err(PolicyError::Rules(faults)) => faults.into_iter().map(|fault| fault.path).collect(),
        Err(error) => panic!("{error}\n{text}"),
    }
}

/// Of a policy with these rules and one listing.
fn faults_with(rules: &str) -> Vec<String> {
    faults(&format!("{rules}{METHODS}{}", listing("aws", "one", "subscription")))
}

#[test]
fn somebody_known_must_be_able_to_link() {
    for (roles, allowed) in
        [("", false), ("\"janitor\"", false), ("\"owner\", \"janitor\"", false), ("\"member\"", true)]
    {
        let told = faults_with(&RULES.replace("\"owner\"", roles));
        assert_eq!(told, if allowed { vec![] } else { vec!["link.roles"] }, "{roles}");
    }
}

#[test]
fn an_origin_is_a_scheme_of_the_web_and_a_host() {
    for (origin, allowed) in [
        ("https://console.example.com", true),
        ("http://localhost:8080", true),
        ("https://console.example.com/", false),
        ("https://console.example.com/status", false),
        ("https://console.example.com:443", false),
        ("ftp://files.example.com", false),
        ("console.example.com", false),
    ] {
        let told = faults_with(&format!("{RULES}[console]\norigins = [\"{origin}\"]\n"));
        assert_eq!(told, if allowed { vec![] } else { vec!["console.origins.0"] }, "{origin}");
    }
}

#[test]
fn what_is_asked_for_has_a_short_plain_name_and_there_are_eight_at_most() {
    let asked = |keys: &[String]| {
        let ask = |key: &String| format!("[[link.ask]]\nkey = \"{key}\"\nlabel = \"Label\"\n");
        faults_with(&format!("{RULES}{}", keys.iter().map(ask).collect::<String>()))
    };
    for (key, allowed) in
        [("cost_centre_2", true), (&"a".repeat(40), true), (&"a".repeat(41), false), ("", false), ("Cost", false)]
    {
        let told = asked(&[key.to_owned()]);
        assert_eq!(told, if allowed { vec![] } else { vec!["link.ask.0.key"] }, "{key:?}");
    }
    let so_many = |number: usize| asked(&(0..number).map(|number| format!("key_{number}")).collect::<Vec<_>>());
    assert_eq!((so_many(8), so_many(9)), (vec![], vec!["link.ask".to_owned()]));
}

#[test]
fn each_marketplace_needs_its_payment_method_and_is_named_once() {
    let [one, two] = ["one", "two"].map(|code| listing("aws", code, "subscription"));
    let azure = listing("azure", "three", "subscription");
    let (no_aws, no_azure) = ("link.payment_method.aws".to_owned(), "link.payment_method.azure".to_owned());
    let none = "[link.payment_method]\n";
    assert_eq!(faults(&format!("{RULES}{none}{one}")), std::slice::from_ref(&no_aws));
    assert_eq!(faults(&format!("{RULES}{none}{one}{two}{azure}")), [no_aws, no_azure]);
    assert_eq!(faults(&format!("{RULES}{METHODS}{one}{two}{azure}")), [""; 0]);
}

#[test]
fn the_last_usage_is_waited_for_within_the_hour_that_aws_takes_it() {
    for (minutes, allowed) in [(0, false), (1, true), (50, true), (51, false)] {
        let told = faults_with(&format!("{RULES}[usage]\nfinal_minutes = {minutes}\n"));
        assert_eq!(told, if allowed { vec![] } else { vec!["usage.final_minutes"] }, "{minutes}");
    }
}

#[test]
fn what_is_metered_is_what_the_marketplace_and_the_model_know() {
    let (both, plain, long) = ("contract-with-consumption", "subscription", "d".repeat(256));
    let meter = |more: &str| format!("[[listing.meter]]\ndimension = \"gb\"\n{more}\n");
    let named = |name: &str| format!("[[listing.meter]]\ndimension = \"{name}\"\n");
    let by = "included_by = \"gb_contract\"";
    for (marketplace, model, meters, told) in [
        ("aws", plain, named("gb"), &[][..]),
        ("aws", plain, named(&long[..255]), &[]),
        ("aws", plain, named(&long), &["meter.0.dimension"]),
        ("aws", plain, named(""), &["meter.0.dimension"]),
        ("aws", plain, named("gb") + &named("gb"), &["meter.1.dimension"]),
        ("aws", "contract", named("gb"), &["meter.0.dimension"]),
        ("aws", both, meter(by), &[]),
        ("aws", plain, meter(by), &["meter.0.included_by"]),
        ("azure", both, meter(by), &["meter.0.included_by"]),
        ("aws", plain, meter("zeros = true"), &[]),
        ("azure", plain, meter("zeros = true"), &["meter.0.zeros"]),
        ("azure", plain, meter("included = { team = \"3\" }"), &[]),
        ("aws", plain, meter("included = { team = \"3\" }"), &["meter.0.included"]),
        ("aws", plain, "tags = true\n".to_owned(), &[]),
        ("azure", plain, "tags = true\n".to_owned(), &["tags"]),
    ] {
        let text = format!("{RULES}{METHODS}{}{meters}", listing(marketplace, "one", model));
        let expected: Vec<String> = told.iter().map(|key| format!("listing.0.{key}")).collect();
        assert_eq!(faults(&text), expected, "{marketplace} {model} {meters}");
    }
}

#[test]
fn a_product_is_sold_through_tradepost_or_without_it() {
    let text = |others: &str, marketplace: &str| {
        format!("other_products = [{others}]\n{RULES}{METHODS}{}", listing(marketplace, "one", "subscription"))
    };
    assert_eq!(faults(&text("\"two\"", "aws")), [""; 0]);
    assert_eq!(faults(&text("\"two\", \"one\"", "aws")), ["listing.0.code"]);
    assert_eq!(faults(&text("\"one\"", "azure")), [""; 0], "an offer of Microsoft's is no product of AWS");
}

#[test]
fn contracts_entitle_and_what_is_paid_as_it_is_used_does_not() {
    let all = [Model::Subscription, Model::Contract, Model::ContractWithConsumption];
    assert_eq!(all.map(Model::has_entitlements), [false, true, true]);
}
