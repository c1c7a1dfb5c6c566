//! How pages look like the vendor's own: name, logo, colours, the way back to the product. All of it comes from the
//! policy and nothing from a third party: the logo is SVG text that our own server hands out and that pages show only
//! as an image, so that nothing in it can run.
//!
//! A colour that people with weak sight could not read is refused: the accent is text and button, so it needs
//! a contrast of 4.5 : 1 to what it stands on (WCAG 2.2, success criterion 1.4.3).

use std::fmt;

use serde::Deserialize;

/// What the accent stands on in the light and in the dark scheme, as in `assets/app.css`: the page's paper is the less
/// kind one in the light, a card in the dark.
const LIGHT: Colour = Colour([0xf4, 0xf6, 0xf9]);
const DARK: Colour = Colour([0x17, 0x1c, 0x24]);
/// The least contrast of text.
const LEAST_CONTRAST: f64 = 4.5;
/// A logo above this would cost the first page too much.
const LARGEST_LOGO: usize = 8 * 1024;

/// What a vendor's pages look like.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Brand {
    /// The way back to the product: where its console is.
    #[serde(default)]
    pub console_url: Option<String>,
    /// Where the product's own payment methods are edited; not while a marketplace pays.
    #[serde(default)]
    pub billing_url: Option<String>,
    /// The logo, an SVG.
    #[serde(default)]
    pub logo: Option<String>,
    /// Buttons and links in the light scheme.
    #[serde(default)]
    pub accent: Option<Colour>,
    /// The same in the dark scheme.
    #[serde(default)]
    pub accent_dark: Option<Colour>,
}

impl Brand {
    /// What is not allowed, if anything.
    pub(crate) fn fault(&self) -> Option<(&'static str, String)> {
        for (key, url) in [("brand.console_url", &self.console_url), ("brand.billing_url", &self.billing_url)] {
            if let Some(url) = url
                && !(url.starts_with("https://") || url.starts_with("http://"))
            {
                return Some((key, format!("is {url}; it must be a whole address, https://…")));
            }
        }
        if let Some(logo) = &self.logo {
            if !logo.trim_start().starts_with("<svg") {
                return Some(("brand.logo", "must be the text of an SVG image, beginning with <svg".to_owned()));
            }
            if logo.len() > LARGEST_LOGO {
                return Some(("brand.logo", format!("has {} bytes; at most {LARGEST_LOGO} are allowed", logo.len())));
            }
        }
        let pairs =
            [("brand.accent", self.accent, LIGHT, "light"), ("brand.accent_dark", self.accent_dark, DARK, "dark")];
        for (name, colour, under, paper) in pairs {
            if let Some(colour) = colour
                && contrast(colour, under) < LEAST_CONTRAST
            {
                let other = if paper == "light" { "darker" } else { "lighter" };
                let what = format!(
                    "{colour} cannot be read on {paper} paper; its contrast is below 4.5 to 1, choose a {other} one"
                );
                return Some((name, what));
            }
        }
        None
    }

    /// The stylesheet that puts the vendor's colours over ours; empty if it names none.
    pub fn css(&self) -> String {
        let light = self.accent.map(|colour| format!(":root{{--act:{colour}}}\n")).unwrap_or_default();
        let dark = self
            .accent_dark
            .map(|colour| format!("@media (prefers-color-scheme:dark){{:root{{--act:{colour}}}}}\n"))
            .or_else(|| self.accent.map(|_| "@media (prefers-color-scheme:dark){:root{--act:#8ab4f8}}\n".to_owned()));
        light + &dark.unwrap_or_default()
    }
}

/// A colour, `#rrggbb`.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Colour([u8; 3]);

impl TryFrom<String> for Colour {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let wrong = || format!("{text} is not a colour; write it as #rrggbb");
        let digits = text.strip_prefix('#').filter(|digits| digits.len() == 6).ok_or_else(wrong)?;
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return Err(wrong());
        }
        let number = u32::from_str_radix(digits, 16).map_err(|_| wrong())?;
        let [_, red, green, blue] = number.to_be_bytes();
        Ok(Self([red, green, blue]))
    }
}

impl fmt::Display for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [red, green, blue] = self.0;
        write!(f, "#{red:02x}{green:02x}{blue:02x}")
    }
}

impl fmt::Debug for Colour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The contrast of two colours, from 1 to 21 (WCAG 2.2, "contrast ratio").
#[expect(clippy::float_arithmetic, reason = "luminance is defined over reals; no money is counted here")]
fn contrast(one: Colour, other: Colour) -> f64 {
    let luminance = |colour: Colour| {
        let linear = colour.0.map(|byte| {
            let share = f64::from(byte) / 255.0;
            if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
        });
        let [red, green, blue] = linear;
        0.2126 * red + 0.7152 * green + 0.0722 * blue
    };
    let (one, other) = (luminance(one) + 0.05, luminance(other) + 0.05);
    one.max(other) / one.min(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn colour(text: &str) -> Colour {
        Colour::try_from(text.to_owned()).unwrap()
    }

    #[test]
    fn contrast_is_as_the_standard_counts_it() {
        assert!((contrast(colour("#000000"), colour("#ffffff")) - 21.0).abs() < 0.01);
        assert!((contrast(colour("#777777"), colour("#ffffff")) - 4.48).abs() < 0.01);
        assert!((contrast(colour("#ffffff"), colour("#ffffff")) - 1.0).abs() < 0.01);
        // The dark end of the scale, where the share is linear.
        assert!((contrast(colour("#0a0a0a"), colour("#000000")) - 1.061).abs() < 0.001);
    }

    fn what_is_told(fault: Option<(&str, String)>) -> String {
        fault.unwrap().1
    }

    #[test]
    fn what_cannot_be_read_is_refused_by_name() {
        let of = |accent: Option<&str>, dark: Option<&str>| {
            Brand { accent: accent.map(colour), accent_dark: dark.map(colour), ..Brand::default() }.fault()
        };
        assert_eq!(of(Some("#6f6f6f"), None), None);
        assert!(what_is_told(of(Some("#767676"), None)).ends_with("choose a darker one"));
        assert!(what_is_told(of(None, Some("#444444"))).ends_with("choose a lighter one"));
        let (key, what) = of(Some("#767676"), None).unwrap();
        assert!(key == "brand.accent" && what.starts_with("#767676 cannot be read on light paper"), "{key} {what}");
        assert_eq!(of(None, Some("#444444")).unwrap().0, "brand.accent_dark");
        assert_eq!(of(None, Some("#8ab4f8")), None);
    }

    #[test]
    fn colours_logos_and_addresses_are_checked() {
        for text in ["red", "#fff", "#12345g", "#+12345", "123456", "#1234567"] {
            assert!(Colour::try_from(text.to_owned()).is_err(), "{text}");
        }
        let logo = |text: &str| Brand { logo: Some(text.to_owned()), ..Brand::default() }.fault();
        assert!(logo("<html>").is_some());
        let of = |bytes: usize| logo(&format!("<svg>{}", "x".repeat(bytes - "<svg>".len())));
        assert!(of(LARGEST_LOGO).is_none() && of(LARGEST_LOGO + 1).is_some());
        assert_eq!(logo("  <svg></svg>"), None);
        let url = |text: &str| Brand { console_url: Some(text.to_owned()), ..Brand::default() }.fault();
        assert!(url("javascript:alert(1)").is_some() && url("/console").is_some());
        assert_eq!(url("https://console.example/"), None);
    }

    #[test]
    fn the_stylesheet_names_only_what_the_vendor_chose() {
        assert_eq!(Brand::default().css(), "");
        let brand = Brand { accent: Some(colour("#006644")), ..Brand::default() };
        assert!(brand.css().starts_with(":root{--act:#006644}"), "{}", brand.css());
    }
}
