//! The page that figures are written into: what stands between the two marks of a section is the command's, everything
//! else is a person's.

use anyhow::Context as _;

/// The page with another section of that name.
///
/// # Errors
/// If the page has no such section.
pub fn with_section(page: &str, name: &str, text: &str) -> anyhow::Result<String> {
    let (begin, end) = (format!("<!-- bench: {name} -->"), format!("<!-- /bench: {name} -->"));
    let parts = page.split_once(&begin).and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)));
    let (before, after) = parts.with_context(|| format!("the page has no section {begin} … {end}"))?;
    Ok(format!("{before}{begin}\n\n{}\n\n{end}{after}", text.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_section_is_written_and_the_same_again_changes_nothing() {
        let page = "# Page\n<!-- bench: a -->old<!-- /bench: a -->\nmine\n<!-- bench: b -->\n<!-- /bench: b -->\n";
        let once = with_section(page, "a", "| new |\n").unwrap();
        assert_eq!(
            once,
            "# Page\n<!-- bench: a -->\n\n| new |\n\n<!-- /bench: a -->\nmine\n<!-- bench: b -->\n<!-- /bench: b -->\n"
        );
        assert_eq!(with_section(&once, "a", "| new |").unwrap(), once);
        assert!(with_section(page, "c", "").is_err());
    }
}
