//! What table and map mean together, before anybody is asked. Pure. Whatever is not clear is refused here, by name: two
//! subscribers of one organization, two organizations of one subscriber.

use std::collections::BTreeMap;

use tradepost::link::Contact;

use super::export::{Hint, Subscriber};
use super::map::{Line, is_account};

/// What becomes of a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Tradepost is asked to adopt it.
    Ask {
        /// For this organization.
        organization: String,
        /// Where the buyer can be reached.
        contact: String,
    },
    /// The table says that there is nothing to take over: code and words.
    Over(&'static str, &'static str),
    /// A person has to look: code and words.
    Refused(&'static str, &'static str),
}

/// What becomes of each subscriber, in their order; and the lines of the map that are about none.
pub fn plan<'a>(subscribers: &[Subscriber], map: &'a [Line]) -> (Vec<Fate>, Vec<&'a Line>) {
    let mut fates: Vec<Fate> = subscribers.iter().map(|subscriber| fate(subscriber, map)).collect();
    let mut asked: BTreeMap<String, u32> = BTreeMap::new();
    for fate in &fates {
        if let Fate::Ask { organization, .. } = fate {
            let times = asked.entry(organization.clone()).or_default();
            *times = times.saturating_add(1);
        }
    }
    for fate in &mut fates {
        let twice = matches!(fate, Fate::Ask { organization, .. } if asked.get(organization).is_some_and(|n| *n > 1));
        if twice {
            *fate = Fate::Refused(
                "organization_twice",
                "The map names this organization for another subscriber too, and it has one place. Name one of them.",
            );
        }
    }
    let unused = map.iter().filter(|line| !subscribers.iter().any(|one| line.is_about(one))).collect();
    (fates, unused)
}

fn fate(subscriber: &Subscriber, map: &[Line]) -> Fate {
    match subscriber.hint {
        Some(Hint::Ended) => return Fate::Over("table_ended", "The table says that it has ended."),
        Some(Hint::Unpaid) => return Fate::Over("table_unpaid", "The table says that it was not paid."),
        Some(Hint::Ending) => {
            let text = "The table says that it ends within the hour. The integration before sends its last usage.";
            return Fate::Over("table_ending", text);
        }
        None => {}
    }
    if subscriber.product.is_empty() {
        return Fate::Refused("product_missing", "The row has no productCode. Add it to the file.");
    }
    if !is_account(&subscriber.account) {
        let text = "The row has no customerAWSAccountID of 12 digits. AWS's Account feed has it: add it to the file.";
        return Fate::Refused("account_missing", text);
    }
    let mut lines = map.iter().filter(|line| line.is_about(subscriber));
    let Some(line) = lines.next() else {
        return Fate::Refused("organization_missing", "The map names no organization for it. Add a line.");
    };
    if lines.any(|other| (&other.organization, &other.contact) != (&line.organization, &line.contact)) {
        let text = "Several lines of the map are about it and differ. Leave one, by customerIdentifier.";
        return Fate::Refused("map_ambiguous", text);
    }
    let contact = if line.contact.is_empty() { &subscriber.contact } else { &line.contact };
    match Contact::parse(contact).filter(|contact| contact.as_str().is_ascii()) {
        Some(contact) => Fate::Ask { organization: line.organization.clone(), contact: contact.as_str().to_owned() },
        None => Fate::Refused(
            "contact_missing",
            "There is no e-mail address (in ASCII) to reach the buyer at. Name one in the map, column contact.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subscriber(customer: &str, account: &str) -> Subscriber {
        Subscriber {
            customer: customer.to_owned(),
            product: "p".to_owned(),
            account: account.to_owned(),
            contact: "a@example.com".to_owned(),
            hint: None,
        }
    }

    fn line(customer: &str, account: &str, organization: &str) -> Line {
        let (customer, account) = (customer.to_owned(), account.to_owned());
        Line { number: 2, customer, account, organization: organization.to_owned(), contact: String::new() }
    }

    fn code(fate: &Fate) -> &str {
        match fate {
            Fate::Ask { organization, .. } => organization,
            Fate::Over(code, _) | Fate::Refused(code, _) => code,
        }
    }

    fn codes(subscribers: &[Subscriber], map: &[Line]) -> Vec<String> {
        plan(subscribers, map).0.iter().map(|fate| code(fate).to_owned()).collect()
    }

    const A: &str = "111111111111";
    const B: &str = "222222222222";

    #[test]
    fn a_subscriber_needs_one_organization() {
        let all = [subscriber("c-1", A), subscriber("c-2", B)];
        for (map, expected) in [
            (vec![line("c-1", "", "o-1"), line("", B, "o-2")], ["o-1", "o-2"]),
            (vec![line("c-1", A, "o-1"), line("", A, "o-1")], ["o-1", "organization_missing"]),
            (vec![line("c-1", "", "o-1"), line("", A, "o-3"), line("c-2", B, "o-2")], ["map_ambiguous", "o-2"]),
            (vec![line("c-1", B, "o-1"), line("c-2", "", "o-2")], ["organization_missing", "o-2"]),
            (vec![line("c-1", "", "o-1"), line("c-2", "", "o-1")], ["organization_twice", "organization_twice"]),
            (vec![], ["organization_missing", "organization_missing"]),
        ] {
            assert_eq!(codes(&all, &map), expected, "{map:?}");
        }
    }

    #[test]
    fn what_is_over_takes_no_place() {
        let mut all = [subscriber("c-1", A), subscriber("c-2", A)];
        let map = [line("", A, "o-1")];
        assert_eq!(codes(&all, &map), ["organization_twice", "organization_twice"]);
        for (hint, told) in
            [(Hint::Ended, "table_ended"), (Hint::Unpaid, "table_unpaid"), (Hint::Ending, "table_ending")]
        {
            all[0].hint = Some(hint);
            assert_eq!(codes(&all, &map), [told, "o-1"]);
            assert_eq!(codes(&all, &[])[0], told, "without an organization too");
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let map = [line("c-1", "", "o-1")];
        let with = |change: fn(&mut Subscriber)| {
            let mut one = subscriber("c-1", A);
            change(&mut one);
            one
        };
        for (one, expected) in [
            (with(|one| one.product.clear()), "product_missing"),
            (with(|one| one.account.clear()), "account_missing"),
            (with(|one| one.account = "12345678901".to_owned()), "account_missing"),
            (with(|one| one.contact.clear()), "contact_missing"),
            (with(|one| one.contact = "nobody".to_owned()), "contact_missing"),
            (with(|one| one.contact = "jürgen@example.com".to_owned()), "contact_missing"),
        ] {
            assert_eq!(codes(&[one], &map), [expected]);
        }
        let given = [Line { contact: "b@example.com".to_owned(), ..map[0].clone() }];
        let fates = plan(&[with(|one| one.contact.clear())], &given).0;
        assert_eq!(fates, [Fate::Ask { organization: "o-1".to_owned(), contact: "b@example.com".to_owned() }]);
    }

    #[test]
    fn lines_about_nobody_are_told() {
        let map = [line("c-1", "", "o-1"), line("c-9", "", "o-9")];
        let all = [subscriber("c-1", A)];
        assert_eq!(plan(&all, &map).1, [&map[1]]);
    }
}
