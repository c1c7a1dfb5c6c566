//! The names: whether everything that has to be set is, and nothing that nobody reads.

use std::collections::BTreeSet;

use tradepost::settings::reference::Setting;

use super::Finding;
use super::environment::Environment;

const ABOUT: &str = "variables";

/// Compares variables with what there is to set. `by_the_platform` are those that the cloud sets itself, which nobody can see
/// from outside.
pub fn names(environment: &Environment, known: &[&[Setting]], by_the_platform: &[&str]) -> Vec<Finding> {
    let known = || known.iter().flat_map(|part| part.iter());
    let is_set = |setting: &Setting| environment.get(setting.name).is_some_and(|value| !value.trim().is_empty());
    let ours = |setting: &&Setting| !by_the_platform.contains(&setting.name);
    let missing = known().filter(ours).filter(|setting| setting.without.is_none() && !is_set(setting));
    let mut found: Vec<Finding> = missing
        .map(|setting| Finding::wrong(ABOUT, format!("{} is not set: {}", setting.name, setting.meaning)))
        .collect();
    let all: BTreeSet<&str> = known().map(|setting| setting.name).collect();
    let strange = environment.keys().filter(|name| name.starts_with("TRADEPOST_") && !all.contains(name.as_str()));
    found.extend(strange.map(|name| Finding::wrong(ABOUT, format!("{name} is read by nobody; is it spelled right?"))));
    let padded =
        environment.iter().filter(|(name, value)| all.contains(name.as_str()) && value.trim() != value.as_str());
    found.extend(padded.map(|(name, _)| Finding::wrong(ABOUT, format!("{name} has spaces around its value"))));
    if found.is_empty() {
        let set = known().filter(|setting| is_set(setting)).count();
        found.push(Finding::well(ABOUT, format!("all that must be set is, {set} of {} in all", all.len())));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Word;

    #[test]
    fn what_is_missing_unknown_or_padded_is_named() {
        const KNOWN: [Setting; 3] = [
            Setting::needed("TRADEPOST_TABLE", "the table"),
            Setting::or("TRADEPOST_MAIL", "smtp", "the way of mails"),
            Setting::needed("IDENTITY_ENDPOINT", "set by the host"),
        ];
        let of = |pairs: &[(&str, &str)]| {
            let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            let found = names(&environment, &[&KNOWN], &["IDENTITY_ENDPOINT"]);
            found.into_iter().map(|one| (one.word, one.says)).collect::<Vec<_>>()
        };
        let well = of(&[("TRADEPOST_TABLE", "t"), ("PATH", " /bin ")]);
        assert_eq!(well, [(Word::Well, "all that must be set is, 1 of 3 in all".to_owned())]);
        let wrong = of(&[("TRADEPOST_TABLE", " "), ("TRADEPOST_TABEL", "t"), ("TRADEPOST_MAIL", "ses ")]);
        let says: Vec<_> = wrong.iter().map(|(_, says)| says.as_str()).collect();
        assert_eq!(
            says,
            [
                "TRADEPOST_TABLE is not set: the table",
                "TRADEPOST_TABEL is read by nobody; is it spelled right?",
                "TRADEPOST_MAIL has spaces around its value",
                "TRADEPOST_TABLE has spaces around its value",
            ]
        );
        assert!(wrong.iter().all(|(word, _)| *word == Word::Wrong));
    }
}
