//! What a person does with keyboard and mouse, and with the browser's own buttons; how the screen is.

use std::path::Path;

use anyhow::Context;
use base64::Engine as _;
use fantoccini::actions::{InputSource as _, KeyAction, KeyActions, MOUSE_BUTTON_LEFT, MouseActions, PointerAction};
use fantoccini::elements::Element;
use serde_json::json;

use super::Chromium;

/// The Tab key.
pub const TAB: &str = "\u{e004}";
/// The Escape key.
pub const ESCAPE: &str = "\u{e00c}";
/// The Enter key.
pub const ENTER: &str = "\u{e007}";

impl Chromium {
    /// Presses keys, one after the other, wherever the focus is.
    pub async fn keys(&self, keys: &str) -> anyhow::Result<()> {
        let mut strokes = KeyActions::new("keyboard".to_owned());
        for value in keys.chars() {
            strokes = strokes.then(KeyAction::Down { value }).then(KeyAction::Up { value });
        }
        Ok(self.turn().await?.perform_actions(strokes).await?)
    }

    /// Presses a key that leads to another page.
    pub async fn keys_and_go(&self, keys: &str) -> anyhow::Result<()> {
        self.going("the key", self.keys(keys)).await
    }

    /// Clicks twice, as people do who double-click everything.
    pub async fn double_click_and_go(&self, element: &Element) -> anyhow::Result<()> {
        let to = PointerAction::MoveToElement { element: element.clone(), duration: None, x: 0.0, y: 0.0 };
        let (down, up) =
            (PointerAction::Down { button: MOUSE_BUTTON_LEFT }, PointerAction::Up { button: MOUSE_BUTTON_LEFT });
        let mouse = MouseActions::new("mouse".to_owned());
        let mouse = mouse.then(to).then(down.clone()).then(up.clone()).then(down).then(up);
        self.going("the double click", async { Ok(self.turn().await?.perform_actions(mouse).await?) }).await
    }

    /// The Back button.
    pub async fn back(&self) -> anyhow::Result<()> {
        self.going("Back", async { Ok(self.turn().await?.back().await?) }).await
    }

    /// The Reload button.
    pub async fn reload(&self) -> anyhow::Result<()> {
        self.going("Reload", async { Ok(self.turn().await?.refresh().await?) }).await
    }

    /// A screen of this width, light or dark.
    pub async fn screen(&self, width: u32, dark: bool) -> anyhow::Result<()> {
        let size = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": false});
        self.devtools("Emulation.setDeviceMetricsOverride", size).await?;
        // As on a telephone: they take no room from the page.
        self.devtools("Emulation.setScrollbarsHidden", json!({"hidden": true})).await?;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.devtools("Emulation.setEmulatedMedia", media).await.map(|_| ())
    }

    /// Writes a picture of the whole page.
    pub async fn picture(&self, to: &Path) -> anyhow::Result<()> {
        let shot = self.devtools("Page.captureScreenshot", json!({"captureBeyondViewport": true})).await?;
        let data = shot.get("data").and_then(serde_json::Value::as_str).context("no picture was taken")?;
        let picture = base64::engine::general_purpose::STANDARD.decode(data)?;
        std::fs::write(to, picture).with_context(|| format!("{} cannot be written", to.display()))
    }
}
