//! The vendor's map: which subscriber is which organization. A CSV file whose header names `customerIdentifier`,
//! `customerAWSAccountID` or both, `organization`, and perhaps `contact`, the address to write to where the table has none.

use csv::{ReaderBuilder, Trim};

use super::export::Subscriber;

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
    /// Not CSV.
    #[error("it does not read as CSV")]
    Csv(#[from] csv::Error),
    /// Other columns.
    #[error("line 1: {0}; expected are the columns {EXPECTED}")]
    Header(String),
    /// A line that says too little.
    #[error("line {0}: {1}")]
    Line(u64, String),
}

impl Line {
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
    let mut reader = ReaderBuilder::new().trim(Trim::All).from_reader(text);
    let header = reader.headers()?.clone();
    let at = |name: &str| header.iter().position(|column| column.eq_ignore_ascii_case(name));
    if let Some(unknown) = header.iter().find(|column| !COLUMNS.iter().any(|name| name.eq_ignore_ascii_case(column))) {
        return Err(NotAMap::Header(format!("there is no column {unknown:?}")));
    }
    let [customer, account, organization, contact] = COLUMNS.map(at);
    if organization.is_none() || (customer.is_none() && account.is_none()) {
        return Err(NotAMap::Header("a column is missing".to_owned()));
    }
    let mut lines = Vec::new();
    for record in reader.records() {
        let record = record?;
        let of = |at: Option<usize>| at.and_then(|at| record.get(at)).unwrap_or_default().to_owned();
        let number = record.position().map_or(0, csv::Position::line);
        let line = Line {
            number,
            customer: of(customer),
            account: of(account),
            organization: of(organization),
            contact: of(contact),
        };
        let wrong = |why: &str| Err(NotAMap::Line(number, why.to_owned()));
        if line.organization.is_empty() {
            return wrong("the organization is missing");
        }
        if line.customer.is_empty() && line.account.is_empty() {
            return wrong("it names neither a customer nor an account");
        }
        if !line.account.is_empty() && !is_account(&line.account) {
            return wrong("an AWS account has 12 digits; a spreadsheet may have dropped zeros at its beginning");
        }
        lines.push(line);
    }
    Ok(lines)
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
            ("", "missing"),
            ("organization\n", "missing"),
            ("customerIdentifier\n", "missing"),
            ("customerIdentifier;organization\n", "no column"),
            ("customerIdentifier,organization,plan\n", "no column \"plan\""),
            ("customerIdentifier,organization\nc-1,\n", "line 2: the organization"),
            ("customerIdentifier,organization\n\n,org-1\n", "line 3: it names neither"),
            ("customerAWSAccountID,organization\n12345678901,org-1\n", "line 2: an AWS account has 12 digits"),
            ("customerIdentifier,organization\nc-1\n", "CSV"),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{text}: {error}");
        }
    }
}
