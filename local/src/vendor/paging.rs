//! Short pages, so that whoever reads a list has to follow it to its end.
//!
//! A page is a window over everything that was ever in the list, in the order it was made; what is deleted is left
//! out of its window. So windows never shift while somebody pages, and a window of nothing but deleted things is an
//! empty page that still says where the next one starts. A token belongs to one list and fits no other.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// One window of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Page<T> {
    pub items: Vec<T>,
    pub next: Option<String>,
}

/// The token was not given out for this list.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct BadToken;

/// The window of `list` that `token` names, the first without one. `all` yields None for what is deleted.
pub(super) fn window<T>(
    list: &str,
    all: impl Iterator<Item = Option<T>>,
    size: usize,
    token: Option<&str>,
) -> Result<Page<T>, BadToken> {
    let start = token.map_or(Ok(0), |token| start_of(list, token))?;
    let mut rest = all.skip(start).peekable();
    let items = rest.by_ref().take(size).flatten().collect();
    let next = rest.peek().is_some().then(|| token_for(list, start.saturating_add(size)));
    Ok(Page { items, next })
}

fn token_for(list: &str, start: usize) -> String {
    URL_SAFE_NO_PAD.encode(format!("{start}@{list}"))
}

fn start_of(list: &str, token: &str) -> Result<usize, BadToken> {
    let text = URL_SAFE_NO_PAD.decode(token).ok().and_then(|bytes| String::from_utf8(bytes).ok()).ok_or(BadToken)?;
    let (start, of) = text.split_once('@').ok_or(BadToken)?;
    if of != list {
        return Err(BadToken);
    }
    start.parse().map_err(|_| BadToken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(all: &[Option<u8>], token: Option<&str>) -> Page<u8> {
        window("letters", all.iter().copied(), 3, token).unwrap()
    }

    #[test]
    fn the_last_page_has_no_token_even_when_it_is_full() {
        let all = [Some(1), Some(2), Some(3), Some(4), Some(5), Some(6)];
        let first = read(&all, None);
        assert_eq!(first.items, [1, 2, 3]);
        let last = read(&all, first.next.as_deref());
        assert_eq!(last, Page { items: vec![4, 5, 6], next: None });
    }

    #[test]
    fn a_page_of_deleted_things_is_empty_and_goes_on() {
        let all = [None, None, None, Some(4)];
        let first = read(&all, None);
        assert!(first.items.is_empty());
        assert_eq!(read(&all, first.next.as_deref()).items, [4]);
    }

    #[test]
    fn what_is_deleted_between_two_pages_hides_nothing_else() {
        let next = read(&[Some(1), Some(2), Some(3), Some(4)], None).next;
        assert_eq!(read(&[None, Some(2), Some(3), Some(4)], next.as_deref()).items, [4]);
    }

    #[test]
    fn a_token_of_another_list_is_refused() {
        let token = token_for("numbers", 3);
        assert_eq!(window("letters", [Some(1)].into_iter(), 3, Some(&token)), Err(BadToken));
        assert_eq!(window("letters", [Some(1)].into_iter(), 3, Some("?")), Err(BadToken));
    }
}
