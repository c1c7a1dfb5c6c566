//! What the vendor's pages are made of beside HTML: the stylesheet, the vendor's own colours over it, the script of
//! the linking modal, the logo. All from here and nothing from a third party.
//!
//! The logo is somebody's SVG. Pages show it as an image, in which nothing runs; opened by itself it is confined by a
//! policy of its own.

use axum::Router;
use axum::extract::State as Shared;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};

use super::{Config, Vendor};

const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The logo of a vendor that brings none.
const PLAIN_LOGO: &str = r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 32 32"><rect x="2" y="2" width="28" height="28" rx="8" fill="#1d5fae"/><path d="M9 12h14M9 17h14M9 22h8" fill="none" stroke="#fff" stroke-width="2.500" stroke-linecap="round"/></svg>"##;

pub(super) fn router() -> Router<Vendor> {
    Router::new()
        .route("/vendor.css", get(|| async { asset(CSS, include_str!("../../templates/vendor/vendor.css")) }))
        .route("/vendor.js", get(|| async { asset(SCRIPT, include_str!("../../templates/vendor/vendor.js")) }))
        .route("/brand.css", get(|Shared(vendor): Shared<Vendor>| async move { asset(CSS, colours(vendor.config())) }))
        .route("/logo.svg", get(logo))
        .route("/favicon.ico", get(logo))
}

fn asset(kind: &'static str, text: impl Into<String>) -> Response {
    ([(CONTENT_TYPE, kind), (X_CONTENT_TYPE_OPTIONS, "nosniff")], text.into()).into_response()
}

/// The vendor's colours, where it names any; the stylesheet has its own otherwise.
fn colours(config: &Config) -> String {
    let brand = &config.brand;
    let line = |name: &str, colour: Option<tradepost::brand::Colour>| {
        colour.map(|colour| format!("--{name}: {colour}; ")).unwrap_or_default()
    };
    format!(":root {{ {}{}}}\n", line("accent", brand.accent), line("accent-dark", brand.accent_dark))
}

async fn logo(Shared(vendor): Shared<Vendor>) -> Response {
    let logo = vendor.config().brand.logo.clone().unwrap_or_else(|| PLAIN_LOGO.to_owned());
    let confined = "default-src 'none'; style-src 'unsafe-inline'; sandbox";
    ([(CONTENT_SECURITY_POLICY, confined)], asset("image/svg+xml", logo)).into_response()
}

#[cfg(test)]
mod tests {
    use tradepost::brand::{Brand, Colour};

    use super::*;
    use crate::vendor::bench;

    #[test]
    fn only_the_colours_that_a_vendor_names_are_its_own() {
        let of = |accent: Option<&str>, accent_dark: Option<&str>| {
            let colour = |text: &str| Colour::try_from(text.to_owned()).unwrap();
            let brand = Brand { accent: accent.map(colour), accent_dark: accent_dark.map(colour), ..Brand::default() };
            colours(&Config { brand, ..bench::config() })
        };
        assert_eq!(of(None, None), ":root { }\n");
        assert_eq!(of(Some("#00734c"), None), ":root { --accent: #00734c; }\n");
        assert_eq!(of(Some("#00734c"), Some("#4fd6a4")), ":root { --accent: #00734c; --accent-dark: #4fd6a4; }\n");
    }
}
