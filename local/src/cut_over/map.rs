//! The vendor's map: which subscriber is which organization. A CSV file whose header names `customerIdentifier`,
//! `customerAWSAccountID` or both, `organization`, and perhaps `contact`, the address to write to where the table has none.

use super::export::Subscriber;
use crate::usage::lines::fields;

/// The columns, as the table and the documents call them.
const COLUMNS: [&str; 4] = ["customerIdentifier", "customerAWSAccountID", "organization", "contact"];
const EXPECTED: &str = "customerIdentifier or customerAWSAccountID, organization, and perhaps contact";

/// One line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Its number in the file.
    pub number: u64,
    /// The customer it is about; empty if it says the account.
    pub customer: String,
    /// The account it is about; empty if it says the customer.
    pub account: String,
    /// The vendor's organization.
    pub organization: String,
    /// The address to write to, instead of the table's.
    pub contact: String,
}

/// A file that is not such a map.
#[derive(Debug, thiserror::Error)]
pub enum NotAMap {
    /// Other columns.
    #[error("line 1: {0}; expected are the columns {EXPECTED}")]
    Header(String),
    /// A line that does not read, or says too little.
    #[error("line {0}: {1}")]
    Line(u64, String),
}

impl Line {
    fn fault(&self) -> Option<&'static str> {
        if self.organization.is_empty() {
            return Some("the organization is missing");
        }
        if self.customer.is_empty() && self.account.is_empty() {
            return Some("it names neither a customer nor an account");
        }
        let whole = self.account.is_empty() || is_account(&self.account);
        (!whole).then_some("an AWS account has 12 digits; a spreadsheet may have dropped zeros at its beginning")
    }

    /// Whether it is about that subscriber: whatever it says must fit.
    pub fn is_about(&self, subscriber: &Subscriber) -> bool {
        (self.customer.is_empty() || self.customer == subscriber.customer)
            && (self.account.is_empty() || self.account == subscriber.account)
    }
}

/// Every line.
///
/// # Errors
/// The first thing that is wrong: a map with a mistake maps nobody.
pub fn read(text: &[u8]) -> Result<Vec<Line>, NotAMap> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    let mut rows = (1_u64..).zip(text.split(|byte| *byte == b'\n')).filter(|(_, row)| !row.trim_ascii().is_empty());
    let Some((_, first)) = rows.next() else { return Err(NotAMap::Header("the file is empty".to_owned())) };
    let header = fields(first.trim_ascii_end()).map_err(NotAMap::Header)?;
    if let Some(unknown) = header.iter().find(|column| !COLUMNS.iter().any(|name| name.eq_ignore_ascii_case(column))) {
        return Err(NotAMap::Header(format!("there is no column {unknown:?}")));
    }
    let [customer, account, organization, contact] =
        COLUMNS.map(|name| header.iter().position(|column| column.eq_ignore_ascii_case(name)));
    if organization.is_none() || (customer.is_none() && account.is_none()) {
        return Err(NotAMap::Header("a column is missing".to_owned()));
    }
    rows.map(|(number, row)| {
        let wrong = |why: String| NotAMap::Line(number, why);
        let values = fields(row.trim_ascii_end()).map_err(wrong)?;
        if values.len() != header.len() {
            return Err(wrong(format!("it has {} values, the header names {}", values.len(), header.len())));
        }
        let of = |at: Option<usize>| at.and_then(|at| values.get(at)).cloned().unwrap_or_default();
        let (customer, account) = (of(customer), of(account));
        let line = Line { number, customer, account, organization: of(organization), contact: of(contact) };
        match line.fault() {
            Some(why) => Err(wrong(why.to_owned())),
            None => Ok(line),
        }
    })
    .collect()
}

/// Whether it can be an AWS account.
pub fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_about_a_customer_an_account_or_both() {
        let text =
            "\u{feff}customerawsaccountid, organization ,customerIdentifier\r\n,org-1,c-1\r\n012345678901,org-2,\r\n";
        let lines = read(text.as_bytes()).unwrap();
        let said: Vec<_> =
            lines.iter().map(|line| (line.number, line.customer.as_str(), line.account.as_str())).collect();
        assert_eq!(said, [(2, "c-1", ""), (3, "", "012345678901")]);
        let subscriber = |customer: &str, account: &str| Subscriber {
            customer: customer.to_owned(),
            product: String::new(),
            account: account.to_owned(),
            contact: String::new(),
            hint: None,
        };
        let both = Line { customer: "c-1".to_owned(), account: "1".to_owned(), ..lines[0].clone() };
        assert!(both.is_about(&subscriber("c-1", "1")) && !both.is_about(&subscriber("c-1", "2")));
        assert!(lines[1].is_about(&subscriber("x", "012345678901")) && !lines[0].is_about(&subscriber("x", "1")));
    }

    #[test]
    fn a_map_with_a_mistake_is_none() {
        for (text, says) in [
            ("", "empty"),
            ("organization\n", "missing"),
            ("customerIdentifier\n", "missing"),
            ("customerIdentifier;organization\n", "no column"),
            ("customerIdentifier,organization,plan\n", "no column \"plan\""),
            ("customerIdentifier,organization\nc-1,\n", "line 2: the organization"),
            ("customerIdentifier,organization\n\n,org-1\n", "line 3: it names neither"),
            ("customerAWSAccountID,organization\n12345678901,org-1\n", "line 2: an AWS account has 12 digits"),
            ("customerIdentifier,organization\nc-1\n", "line 2: it has 1 values"),
            ("customerIdentifier,organization\nc-1,\"o\n", "line 2: a quotation mark"),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
