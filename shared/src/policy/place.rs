//! Where in a policy file something stands, so that an error can name the line.

use toml::de::{DeTable, DeValue};

/// The line of a key, counted from 1; of the table it would be in, if it is not there itself. `listing.1.code` is the code
/// of the second listing.
pub fn line(text: &str, path: &str) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut here: Option<(usize, &DeValue<'_>)> = None;
    for step in path.split('.') {
        let next = match here {
            None => named(document.get_ref(), step),
            Some((_, DeValue::Table(table))) => named(table, step),
            Some((_, DeValue::Array(array))) => {
                let value = step.parse().ok().and_then(|number: usize| array.get(number));
                value.map(|value| (value.span().start, value.get_ref()))
            }
            Some(_) => None,
        };
        if next.is_none() {
            break;
        }
        here = next;
    }
    let before = text.get(..here?.0)?;
    Some(before.matches('\n').count() + 1)
}

fn named<'a, 'i>(table: &'a DeTable<'i>, name: &str) -> Option<(usize, &'a DeValue<'i>)> {
    let (key, value) = table.iter().find(|(key, _)| key.get_ref().as_ref() == name)?;
    Some((key.span().start, value.get_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "vendor = \"A\"\n\n[end]\nfamily = \"keep\"\n\n[end.retention_hours]\naws = 72\n\n\
                        [[listing]]\ncode = \"x\"\n\n[[listing]]\ntitle = \"T\"\ncode = \"y\"\n";

    #[test]
    fn a_key_is_found_and_what_is_missing_where_it_would_be() {
        for (path, expected) in [
            ("vendor", Some(1)),
            ("end.family", Some(4)),
            ("end.retention_hours.aws", Some(7)),
            ("end.retention_hours.azure", Some(6)),
            ("listing.0.code", Some(10)),
            ("listing.1.code", Some(14)),
            ("support.email", None),
        ] {
            assert_eq!(line(TEXT, path), expected, "{path}");
        }
        assert_eq!(line("vendor = ", "vendor"), None);
    }
}
