//! What a policy does, in plain words: for whoever writes one, and for whoever has to agree to it.

use super::{After, Choosing, EndFamily, MessageKind, Model, Policy, RefusalRule, Trials};
use crate::ledger::Provider;
use crate::organization::Role;
use crate::web::text::english::ENGLISH;

/// Microsoft asks publishers to keep a customer's data at least this long after the end (Microsoft: Managing the SaaS
/// subscription life cycle).
const MICROSOFT_ASKS_HOURS: i64 = 7 * 24;

/// A part of the explanation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its headline.
    pub title: &'static str,
    /// Sentences, each on its own.
    pub lines: Vec<String>,
}

/// The whole explanation, in the order in which a buyer meets it.
pub fn explained(policy: &Policy) -> Vec<Part> {
    vec![
        Part { title: "What is sold", lines: sold(policy) },
        Part { title: "Who may link a purchase", lines: who(policy) },
        Part { title: "What refuses a link", lines: refused(policy) },
        Part { title: "Once linked", lines: linked(policy) },
        Part { title: "When the subscription ends", lines: ended(policy) },
        Part { title: "Who is told", lines: told(policy) },
        Part { title: "To look at", lines: remarks(policy) },
    ]
    .into_iter()
    .filter(|part| !part.lines.is_empty())
    .collect()
}

fn name(marketplace: Provider) -> &'static str {
    (ENGLISH.marketplace)(&marketplace)
}

/// The marketplaces with a listing.
fn markets(policy: &Policy) -> Vec<Provider> {
    let sells = |market: &Provider| policy.listings.iter().any(|listing| listing.marketplace == *market);
    [Provider::Aws, Provider::Azure].into_iter().filter(sells).collect()
}

fn sold(policy: &Policy) -> Vec<String> {
    let listing = |listing: &super::Listing| {
        let model = match listing.model {
            Model::Subscription => "pay as you go",
            Model::Contract => "contract",
            Model::ContractWithConsumption => "contract with consumption",
        };
        let market = name(listing.marketplace);
        format!("{} on {market} as \u{201c}{}\u{201d} ({model}, {})", listing.product, listing.title, listing.code)
    };
    let others = (!policy.other_products.is_empty()).then(|| {
        format!(
            "Not by Tradepost: {}. What AWS tells of their licences is kept, and nobody is asked.",
            policy.other_products.join(", ")
        )
    });
    policy.listings.iter().flat_map(|one| std::iter::once(listing(one)).chain(metered(one))).chain(others).collect()
}

/// What is billed by usage, a line each.
fn metered(listing: &super::Listing) -> Vec<String> {
    let line = |meter: &super::Meter| {
        let unit = meter.unit.as_ref().map_or(String::new(), |unit| format!(" (by the {unit})"));
        let paid = meter.included_by.iter().map(|dimension| format!("after what {dimension} entitles to"));
        let included = meter.included.iter().map(|(plan, amount)| format!("{plan} includes {amount} a term"));
        let zeros = meter.zeros.then(|| "hours without any are reported as zero".to_owned());
        let more: Vec<String> = paid.chain(included).chain(zeros).collect();
        let more = if more.is_empty() { String::new() } else { format!(": {}", more.join(", ")) };
        format!("\u{2014} {}{unit} is billed by the hour{more}", meter.dimension)
    };
    listing.meters.iter().map(line).collect()
}

fn who(policy: &Policy) -> Vec<String> {
    let (word, link) = (&policy.organization_word, &policy.link);
    let roles: Vec<&str> = link.roles.iter().map(|role| role_name(*role)).collect();
    let mut lines = vec![format!("Whoever is {} of the {word}.", one_of(&roles))];
    lines.push(match link.choosing {
        Choosing::Implied => format!("The {word} is the person's own; whoever has several is asked which."),
        Choosing::List => {
            format!("The person chooses the {word} from a list, with the reasons beside those that cannot.")
        }
        Choosing::Pick => {
            format!("The person picks one {word}, and sees the reasons beside those that cannot be picked.")
        }
    });
    if !link.plans.is_empty() {
        let plans: Vec<&str> = link.plans.iter().map(String::as_str).collect();
        lines.push(format!("Only if the {word} is on the plan {}.", one_of(&plans)));
    }
    if link.create_organization {
        lines.push(format!("A new {word} can be created on the way."));
    }
    if !link.sign_in.is_empty() {
        let methods: Vec<&str> = link.sign_in.iter().map(String::as_str).collect();
        lines.push(format!("People sign in by {}.", one_of(&methods)));
    }
    let asked = link.ask.iter().map(|ask| format!("{}{}", ask.label, if ask.optional { " (optional)" } else { "" }));
    let asked: Vec<String> = asked.collect();
    if !asked.is_empty() {
        lines.push(format!("Whoever links is also asked for: {}.", asked.join(", ")));
    }
    lines
}

fn told(policy: &Policy) -> Vec<String> {
    let rules = &policy.messages;
    let mut lines = Vec::new();
    match &rules.from {
        None => lines.push("No e-mails go out: messages.from is missing.".to_owned()),
        Some(from) => {
            for (who, kinds) in [("Buyers", &rules.buyer), ("Operators", &rules.operators)] {
                let kinds: Vec<&str> = kinds.iter().map(|kind| occasion(*kind)).collect();
                if !kinds.is_empty() {
                    lines.push(format!("{who} get an e-mail from {from} {}.", kinds.join(", ")));
                }
            }
        }
    }
    if !policy.console.origins.is_empty() {
        let origins = policy.console.origins.join(", ");
        lines.push(format!("Pages of {origins} may show how {} stands.", (ENGLISH.a)(&policy.organization_word)));
    }
    lines
}

fn occasion(kind: MessageKind) -> &'static str {
    match kind {
        MessageKind::Linked => "when a purchase is linked",
        MessageKind::Refused => "when one is refused",
        MessageKind::Ended => "when a subscription ends",
        MessageKind::Stopped => "when deployments are stopped",
        MessageKind::Warning => "before they are deleted",
        MessageKind::Deleted => "when they are deleted",
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Owner => "an owner",
        Role::Admin => "an administrator",
        Role::Billing => "a billing person",
        Role::Member => "a member",
        Role::Unknown => "of an unknown role",
    }
}

/// "a", "a or b", "a, b or c".
fn one_of(names: &[&str]) -> String {
    match names {
        [] => "nobody".to_owned(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

fn refused(policy: &Policy) -> Vec<String> {
    let word = &policy.organization_word;
    let rule = |rule: &RefusalRule| match rule {
        RefusalRule::CardOnFile => format!("The {word} has a credit card set up."),
        RefusalRule::CreditsAvailable => format!("The {word} has credits available."),
        RefusalRule::UnpaidInvoices => format!("The {word} has unpaid invoices."),
    };
    let mut lines: Vec<String> = policy.link.refuse.iter().map(rule).collect();
    lines.push(format!("The {word} is linked already, to any of the listings above. This always refuses."));
    lines
}

fn linked(policy: &Policy) -> Vec<String> {
    let (word, link) = (&policy.organization_word, &policy.link);
    let mut lines = Vec::new();
    for market in markets(policy) {
        lines.push(format!(
            "The Payment Method of {} is \u{201c}{}\u{201d}.",
            name(market),
            policy.payment_method(market)
        ));
    }
    if let Some(plan) = &link.plan_after {
        lines.push(format!("The {word} is put on the plan {plan}."));
    }
    if link.after == After::Billing {
        lines.push(format!("The person is shown the billing page of the {word}."));
    }
    if link.may_move {
        lines.push(format!("The link can be moved to another {word} of the same person, without a gap."));
    }
    if link.may_unlink {
        lines.push(
            "The link can be taken off without cancelling the purchase; that stops and deletes nothing.".to_owned(),
        );
    }
    lines.push(format!(
        "A purchase that is not confirmed within {} fails, and nothing is linked.",
        hours(link.confirmation_hours)
    ));
    lines.push(if policy.end.run_while_suspended {
        "While the marketplace suspends a subscription, everything runs on.".to_owned()
    } else {
        format!("While the marketplace suspends a subscription, the {word} may not run; nothing is deleted.")
    });
    if markets(policy).contains(&Provider::Azure) {
        lines.push(changes(policy));
    }
    lines
}

fn changes(policy: &Policy) -> String {
    let plans: Vec<&str> = policy.change.plans.iter().map(String::as_str).collect();
    if plans.is_empty() && policy.change.most_seats.is_none() {
        return "Whatever plan and seats the buyer changes to on Microsoft Marketplace is accepted.".to_owned();
    }
    let plans = if plans.is_empty() { "any plan".to_owned() } else { format!("the plan {}", one_of(&plans)) };
    let seats = policy.change.most_seats.map_or_else(String::new, |most| format!(", with {most} seats at most"));
    format!("On Microsoft Marketplace the buyer may change to {plans}{seats}; anything else is refused.")
}

fn ended(policy: &Policy) -> Vec<String> {
    let word = &policy.organization_word;
    match policy.end.family {
        EndFamily::Keep => vec![format!(
            "Only the link goes. Everything of the {word} stays and runs, and {} charges in its own way.",
            policy.vendor
        )],
        EndFamily::Downgrade => vec![
            format!("The {word} is put on the plan {}.", policy.end.downgrade_to.as_deref().unwrap_or_default()),
            format!("Nothing of the {word} is stopped or deleted. Whatever else pays by then keeps its plan."),
        ],
        EndFamily::StopAndDelete => {
            let trials = match policy.end.trials {
                Trials::UntilTheirEnd => "Trials go on until they end, and stop then unless something pays.",
                Trials::LeftAlone => "Trials are left alone.",
            };
            let mut lines = vec![format!("Running deployments stop. {trials}")];
            for market in markets(policy) {
                let kept = u32::try_from(policy.retention(market).as_hours()).unwrap_or(u32::MAX);
                lines.push(format!(
                    "What has been stopped for more than {} is deleted for good ({}).",
                    hours(kept),
                    name(market)
                ));
            }
            lines.push(format!("A warning goes out {} before.", hours(policy.end.warn_hours)));
            lines.push(format!("Whatever pays for the {word} by then keeps everything."));
            lines.push(if policy.end.restart_on_return {
                "Who links again in time finds running again what the end had stopped.".to_owned()
            } else {
                "Who links again in time keeps everything, and starts it again by hand.".to_owned()
            });
            lines
        }
    }
}

/// What is allowed and may still not be meant.
fn remarks(policy: &Policy) -> Vec<String> {
    let mut lines = Vec::new();
    let deletes = policy.end.family == EndFamily::StopAndDelete;
    for market in markets(policy) {
        if !policy.manage_url.contains_key(&market) {
            lines.push(format!(
                "manage_url has nothing for {}: buyers get no link to their subscriptions.",
                name(market)
            ));
        }
        if market == Provider::Azure && deletes && policy.retention(market).as_hours() < MICROSOFT_ASKS_HOURS {
            lines.push("Microsoft asks to keep a customer's data for 7 days after the end; end.retention_hours.azure is shorter.".to_owned());
        }
    }
    if deletes && policy.link.may_unlink {
        lines.push("link.may_unlink: whoever unlinks first and cancels then keeps everything running.".to_owned());
    }
    if !deletes && !policy.end.retention_hours.is_empty() {
        lines.push("end.retention_hours has no effect: nothing is deleted.".to_owned());
    }
    if policy.brand.console_url.is_none() {
        lines.push(format!("brand.console_url is missing: pages have no way back to {}.", policy.vendor));
    }
    let addresses = policy.listings.iter().map(|listing| &listing.url).chain([&policy.support.ticket_url]);
    for address in addresses.filter(|address| !address.starts_with("https://")) {
        lines.push(format!("{address} is not a https address."));
    }
    lines
}

fn hours(hours: u32) -> String {
    (ENGLISH.duration)(&u64::from(hours))
}

#[cfg(test)]
mod tests {
    use super::*;

    const EMQX: &str = include_str!("../../../policies/emqx.toml");

    fn text(policy: &str) -> String {
        let parts = explained(&Policy::parse(policy).unwrap());
        parts.iter().flat_map(|part| part.lines.iter()).cloned().collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_preset_says_what_its_page_says() {
        let text = text(EMQX);
        for said in [
            "Whoever is an owner, an administrator, a billing person or a member of the account.",
            "The account has a credit card set up.",
            "The Payment Method of AWS Marketplace is \u{201c}AWS Marketplace Subscription\u{201d}.",
            "What has been stopped for more than 3 days is deleted for good (Microsoft Marketplace).",
            "A warning goes out a day before.",
            "session_hours (by the session hour) is billed by the hour: professional includes 72000 a term",
            "Microsoft asks to keep a customer's data for 7 days",
            "Whatever plan and seats the buyer changes to on Microsoft Marketplace is accepted.",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
    }

    #[test]
    fn another_policy_says_otherwise() {
        let other = EMQX
            .replace("family = \"stop-and-delete\"", "family = \"keep\"")
            .replace(
                "roles = [\"owner\", \"admin\", \"billing\", \"member\"]",
                "roles = [\"owner\"]\nplans = [\"Starter\"]",
            )
            .replace("choosing = \"implied\"", "choosing = \"list\"\ncreate_organization = true")
            .replace("run_while_suspended = true", "run_while_suspended = false")
            .replace("https://aws.amazon.com", "http://aws.amazon.com")
            + "\n[change]\nplans = [\"silver\", \"gold\"]\nmost_seats = 100\n";
        let text = text(&other);
        for said in [
            "Whoever is an owner of the account.",
            "Only if the account is on the plan Starter.",
            "A new account can be created on the way.",
            "Only the link goes.",
            "may not run; nothing is deleted",
            "the plan silver or gold, with 100 seats at most",
            "is not a https address",
        ] {
            assert!(text.contains(said), "{said}: {text}");
        }
        assert!(!text.contains("is deleted for good") && !text.contains("7 days"), "{text}");
    }

    /// What is remarked says what it is about, and is said of nothing else.
    #[test]
    fn what_may_not_be_meant_is_remarked() {
        let keeps = EMQX.replace("family = \"stop-and-delete\"", "family = \"keep\"");
        let unlinks = |policy: &str| policy.replace("choosing =", "may_unlink = true\nchoosing =");
        let for_azure = |hours: u32| EMQX.replace("azure = 72", &format!("azure = {hours}"));
        let only_aws = EMQX.split("\n# The codes of the Microsoft marketplace").next().unwrap().to_owned();
        let (seven, unlink, retention) = ("7 days", "whoever unlinks first", "end.retention_hours has no effect");
        for (policy, said) in [
            (for_azure(7 * 24 - 1), [true, false, false]),
            (for_azure(7 * 24), [false, false, false]),
            (only_aws, [false, false, false]),
            (keeps.clone(), [false, false, true]),
            (keeps.replace("[end.retention_hours]\naws = 72\nazure = 72\n", ""), [false, false, false]),
            (unlinks(EMQX), [true, true, false]),
            (unlinks(&keeps), [false, false, true]),
        ] {
            let policy = Policy::parse(&policy).unwrap();
            let remarks = remarks(&policy).join("\n");
            assert_eq!([seven, unlink, retention].map(|one| remarks.contains(one)), said, "{remarks}");
        }
    }

    #[test]
    fn what_a_buyer_may_change_to_is_told_as_far_as_it_is_bounded() {
        for (rules, told) in [
            ("plans = [\"gold\"]", "may change to the plan gold; anything else"),
            ("most_seats = 5", "may change to any plan, with 5 seats at most; anything else"),
            ("plans = []", "Whatever plan and seats the buyer changes to"),
        ] {
            let text = text(&format!("{EMQX}\n[change]\n{rules}\n"));
            assert!(text.contains(told), "{rules}: {text}");
        }
    }
}
