//! Whose doing something is: the trace that a call belongs to, as the platform names it (W3C Trace Context at Azure's host,
//! the X-Ray header at Lambda). Log lines carry its id, and calls to the vendor's product pass it on as `traceparent`, so
//! that one id finds a buyer's request in the platform's traces, in our lines and in the product's own log.

use std::future::Future;

tokio::task_local! {
    static CURRENT: Trace;
}

/// A trace, and the step of it that called us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trace {
    id: String,
    parent: String,
    sampled: bool,
}

impl Trace {
    /// From a header `traceparent` (W3C Trace Context, version 00, and later ones as far as they read the same).
    pub fn of_w3c(header: &str) -> Option<Self> {
        let mut parts = header.trim().split('-');
        let (version, id, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let known = is_hex(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
        let flags = u8::from_str_radix(flags, 16).ok().filter(|_| is_hex(flags, 2))?;
        known.then(|| Self::new(id.to_owned(), parent, flags & 1 == 1)).flatten()
    }

    /// From a trace header of X-Ray (`Root=1-…;Parent=…;Sampled=1`; X-Ray Developer Guide, "Tracing header"). A call that
    /// nobody traces has no parent: the trace's own end stands for it.
    pub fn of_xray(header: &str) -> Option<Self> {
        let member = |name: &str| {
            let found = |part: &str| Some(part.trim().strip_prefix(name)?.strip_prefix('=')?.to_owned());
            header.split(';').find_map(found)
        };
        let root = member("Root")?;
        let id = root.strip_prefix("1-")?.replacen('-', "", 1);
        let end = id.get(16..).unwrap_or_default().to_owned();
        Self::new(id, &member("Parent").unwrap_or(end), member("Sampled").as_deref() == Some("1"))
    }

    fn new(id: String, parent: &str, sampled: bool) -> Option<Self> {
        let real = |text: &str, digits| is_hex(text, digits) && text.bytes().any(|byte| byte != b'0');
        (real(&id, 32) && real(parent, 16)).then(|| Self { id, parent: parent.to_owned(), sampled })
    }

    /// Its id: 32 hexadecimal digits, the `operation_Id` of Application Insights.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The trace as a header `traceparent`.
    pub fn header(&self) -> String {
        format!("00-{}-{}-{:02x}", self.id, self.parent, u8::from(self.sampled))
    }
}

fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Does `work` as part of `trace`, if there is one.
pub async fn within<T>(trace: Option<Trace>, work: impl Future<Output = T>) -> T {
    match trace {
        Some(trace) => CURRENT.scope(trace, work).await,
        None => work.await,
    }
}

/// The header `traceparent` of what is being done, if it is part of a trace.
pub fn header() -> Option<String> {
    CURRENT.try_with(Trace::header).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "2ae62a199f35a48d123a38761a58b1db";
    const STEP: &str = "b672ea452c012653";

    #[test]
    fn a_trace_of_either_platform_reads_and_goes_on() {
        let w3c = format!("00-{ID}-{STEP}-01");
        assert_eq!(Trace::of_w3c(&w3c).map(|trace| trace.header()), Some(w3c));
        let later = Trace::of_w3c(&format!("01-{ID}-{STEP}-02-more")).unwrap();
        assert_eq!(later.header(), format!("00-{ID}-{STEP}-00"));
        let root = format!("1-{}-{}", &ID[..8], &ID[8..]);
        let xray = Trace::of_xray(&format!("Root={root};Parent={STEP};Sampled=1;Lineage=1:a:0")).unwrap();
        assert_eq!((xray.id(), xray.header()), (ID, format!("00-{ID}-{STEP}-01")));
        let alone = Trace::of_xray(&format!("Root={root};Sampled=0")).unwrap();
        assert_eq!(alone.header(), format!("00-{ID}-{}-00", &ID[16..]));
    }

    /// Both headers may come from anybody; what is logged and passed on is digits only.
    #[test]
    fn what_is_no_trace_is_none() {
        let zeros = "0".repeat(32);
        for bad in [
            "".to_owned(),
            format!("00-{ID}-{STEP}"),
            format!("00-{ID}-{STEP}-01-more"),
            format!("ff-{ID}-{STEP}-01"),
            format!("00-{zeros}-{STEP}-01"),
            format!("00-{ID}-0000000000000000-01"),
            format!("00-{}-{STEP}-01", ID.to_uppercase()),
            format!("00-{ID}\r\nx: y-{STEP}-01"),
            format!("00-{ID}-{STEP}-+1"),
        ] {
            assert_eq!(Trace::of_w3c(&bad), None, "{bad}");
        }
        for bad in
            ["", "Root=", "Root=1-2ae62a19", "Root=2-2ae62a19-9f35a48d123a38761a58b1db", "Parent=b672ea452c012653"]
        {
            assert_eq!(Trace::of_xray(bad), None, "{bad}");
        }
    }

    #[tokio::test]
    async fn it_holds_for_what_is_done_within_it() {
        let trace = Trace::of_w3c(&format!("00-{ID}-{STEP}-00"));
        assert_eq!(within(trace, async { header() }).await, Some(format!("00-{ID}-{STEP}-00")));
        assert_eq!(within(None, async { header() }).await, None);
        assert_eq!(header(), None);
    }
}
