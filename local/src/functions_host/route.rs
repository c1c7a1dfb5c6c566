//! Routes of requests as ASP.NET has them: literal segments match without regard to case, `{name}` takes one segment,
//! `{*name}` the rest, which may be empty. The more particular route goes first; a route whose methods do not fit is
//! passed over, so a wrong method ends at the next route or as 404, never 405. Read from source, but for the `{*rest}`
//! of the recording.

use std::cmp::Ordering;

use anyhow::ensure;

/// A route, its prefix included.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    segments: Vec<Segment>,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Segment {
    Literal(String),
    One(String),
    Rest(String),
}

impl Route {
    /// Reads a route of `function.json` below `prefix`.
    ///
    /// # Errors
    /// If it has constraints, defaults or half segments, or would take one of the host's own addresses.
    pub fn parse(prefix: &str, route: &str) -> anyhow::Result<Self> {
        ensure!(!route.starts_with('/'), "{route:?} begins with a slash");
        let prefix =
            prefix.split('/').filter(|text| !text.is_empty()).map(|text| Ok(Segment::Literal(text.to_owned())));
        let own = route.split('/').filter(|text| !text.is_empty()).map(|text| segment(text, route));
        let segments: Vec<Segment> = prefix.chain(own).collect::<anyhow::Result<_>>()?;
        if let Some(Segment::Literal(first)) = segments.first() {
            let taken = ["admin", "runtime"].iter().any(|own| first.eq_ignore_ascii_case(own));
            ensure!(!taken, "{route:?} conflicts with one of the host's own routes");
        }
        let inner = segments.split_last().map_or(&[][..], |(_, inner)| inner);
        ensure!(!inner.iter().any(|s| matches!(s, Segment::Rest(_))), "{route:?} goes on behind a catch-all");
        Ok(Self { segments })
    }

    /// The parameters of a path that fits, decoded; an empty rest is left out.
    pub fn fits(&self, path: &str) -> Option<Vec<(String, String)>> {
        let mut path = path.strip_prefix('/')?;
        let mut params = Vec::new();
        for segment in &self.segments {
            let (first, rest) = path.split_once('/').unwrap_or((path, ""));
            match segment {
                Segment::Literal(text) if text.eq_ignore_ascii_case(first) => path = rest,
                Segment::One(name) if !first.is_empty() => {
                    params.push((name.clone(), decoded(first)));
                    path = rest;
                }
                Segment::Rest(name) => {
                    if !path.is_empty() {
                        params.push((name.clone(), decoded(path)));
                    }
                    path = "";
                }
                Segment::Literal(_) | Segment::One(_) => return None,
            }
        }
        path.is_empty().then_some(params)
    }

    /// Less is more particular.
    pub fn order(&self, other: &Self) -> Ordering {
        let rank = |segment: &Segment| match segment {
            Segment::Literal(_) => 1,
            Segment::One(_) => 3,
            Segment::Rest(_) => 5,
        };
        self.segments.iter().map(rank).cmp(other.segments.iter().map(rank))
    }
}

fn segment(text: &str, route: &str) -> anyhow::Result<Segment> {
    let Some(name) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) else {
        ensure!(!text.contains(['{', '}', '?', '*']), "{route:?}: {text:?} is not understood");
        return Ok(Segment::Literal(text.to_owned()));
    };
    let (rest, name) = name.strip_prefix('*').map_or((false, name), |name| (true, name));
    let plain = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    ensure!(plain, "{route:?}: {text:?} is not understood");
    Ok(if rest { Segment::Rest(name.to_owned()) } else { Segment::One(name.to_owned()) })
}

/// Undoes percent signs; what is not UTF-8 then is left as it is.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| first == b'%').and_then(|two| std::str::from_utf8(two).ok());
        let (byte, after) = match hex.and_then(|two| u8::from_str_radix(two, 16).ok()) {
            Some(byte) => (byte, after.get(2..).unwrap_or_default()),
            None => (first, after),
        };
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).unwrap_or_else(|_| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fits(route: &str, path: &str) -> Option<Vec<(String, String)>> {
        Route::parse("api", route).unwrap().fits(path)
    }

    #[test]
    fn paths_fit_as_aspnet_fits_them() {
        let rest = |text: &str| Some(vec![("rest".to_owned(), text.to_owned())]);
        assert_eq!(fits("hello/{*rest}", "/api/hello/x"), rest("x"));
        assert_eq!(fits("hello/{*rest}", "/API/Hello/x/y%20z"), rest("x/y z"));
        assert_eq!(fits("hello/{*rest}", "/api/hello"), Some(vec![]));
        assert_eq!(fits("hello/{*rest}", "/hello/x"), None);
        assert_eq!(fits("{*path}", "/api/"), Some(vec![]));
        assert_eq!(fits("{*path}", "/apiary"), None);
        assert_eq!(fits("a/{rest}", "/api/a/b"), rest("b"));
        assert_eq!(fits("a/{rest}", "/api/a/b/c"), None);
        assert_eq!(fits("azure/webhook", "/api/azure/webhook/"), Some(vec![]));
    }

    #[test]
    fn the_more_particular_route_goes_first() {
        let route = |text: &str| Route::parse("api", text).unwrap();
        assert_eq!(route("azure/webhook").order(&route("{*path}")), Ordering::Less);
        assert_eq!(route("azure/{x}").order(&route("azure/webhook")), Ordering::Greater);
    }

    #[test]
    fn what_is_not_understood_is_refused() {
        for route in ["/x", "{id:int}", "{id?}", "a{b}", "{*a}/b", "{}"] {
            assert!(Route::parse("api", route).is_err(), "{route}");
        }
        assert!(Route::parse("", "admin/x").is_err() && Route::parse("", "{*path}").is_ok());
    }
}
