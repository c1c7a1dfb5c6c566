//! Bars, as a picture that can be read on light and on dark.

/// One bar.
#[derive(Clone, Debug)]
pub struct Bar {
    /// Of what.
    pub label: String,
    /// How long, in any unit.
    pub length: u64,
    /// The figure, as it is shown.
    pub shown: String,
    /// Whether it is ours, or what ours is compared with.
    pub ours: bool,
}

/// Bars of one measure, one below the other.
#[derive(Clone, Debug)]
pub struct Panel {
    /// What is measured, in which unit.
    pub title: String,
    /// What is wanted: a length, and how it is shown.
    pub goal: Option<(u64, String)>,
    /// The bars.
    pub bars: Vec<Bar>,
}

const WIDTH: u64 = 760;
/// Where bars begin.
const LEFT: u64 = 200;
/// The longest bar; the rest is left for its figure.
const LONGEST: u64 = 460;
/// What a figure takes.
const FIGURE: u64 = 48;
const ROW: u64 = 22;
const HEAD: u64 = 54;

const STYLE: &str = "\
text{font:13px system-ui,sans-serif;fill:#1f2328}.t{font-weight:600}.g{fill:#57606a}.f{font-variant-numeric:tabular-nums}\
.o{fill:#0a6ebd}.r{fill:#8c959f}.l{stroke:#bc4c00;stroke-width:1.5;stroke-dasharray:4 3}.m{fill:#bc4c00}\
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.g{fill:#9198a1}.o{fill:#58a6ff}.r{fill:#6e7681}.l{stroke:#f0883e}\
.m{fill:#f0883e}}";

/// The picture.
pub fn picture(about: &str, panels: &[Panel]) -> String {
    let mut drawn = String::new();
    let mut top = 0;
    for panel in panels {
        drawn.push_str(&drawn_at(panel, top));
        top += HEAD + ROW * u64::try_from(panel.bars.len()).unwrap_or(0) + 14;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {top}\" width=\"{WIDTH}\" height=\"{top}\" \
         role=\"img\" aria-label=\"{about}\">\n<title>{about}</title>\n<style>{STYLE}</style>\n{drawn}</svg>\n",
        about = escaped(about)
    )
}

fn drawn_at(panel: &Panel, top: u64) -> String {
    let goal = panel.goal.as_ref().map(|(length, _)| *length);
    let longest = panel.bars.iter().map(|bar| bar.length).chain(goal).max().unwrap_or(0).max(1);
    let scaled = |length: u64| length.saturating_mul(LONGEST) / longest;
    let mut drawn = format!("<text class=\"t\" x=\"8\" y=\"{}\">{}</text>\n", top + 20, escaped(&panel.title));
    for (bar, row) in panel.bars.iter().zip(0..) {
        let y = top + HEAD + ROW * row;
        let (width, class) = (scaled(bar.length).max(1), if bar.ours { "o" } else { "r" });
        let beside = LEFT + width + 6;
        // A figure does not stand on the mark.
        let figure = match goal.map(|goal| LEFT + scaled(goal)) {
            Some(mark) if (beside.saturating_sub(4)..beside + FIGURE).contains(&mark) => mark + 6,
            _ => beside,
        };
        drawn.push_str(&format!(
            "<text class=\"g\" x=\"{}\" y=\"{}\" text-anchor=\"end\">{}</text>\
             <rect class=\"{class}\" x=\"{LEFT}\" y=\"{y}\" width=\"{width}\" height=\"16\" rx=\"2\"/>\
             <text class=\"f\" x=\"{}\" y=\"{}\">{}</text>\n",
            LEFT - 8,
            y + 13,
            escaped(&bar.label),
            figure,
            y + 13,
            escaped(&bar.shown),
        ));
    }
    if let Some((length, shown)) = &panel.goal {
        let (x, below) = (LEFT + scaled(*length), top + HEAD + ROW * u64::try_from(panel.bars.len()).unwrap_or(0));
        drawn.push_str(&format!(
            "<line class=\"l\" x1=\"{x}\" x2=\"{x}\" y1=\"{}\" y2=\"{below}\"/>\
             <text class=\"m\" x=\"{x}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
            top + HEAD - 6,
            top + HEAD - 10,
            escaped(shown),
        ));
    }
    drawn
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_to_scale_and_the_goal_is_marked() {
        let bar = |label: &str, length| Bar { label: label.to_owned(), length, shown: length.to_string(), ours: true };
        let goal = Some((50, "at most 50".to_owned()));
        let panel = Panel { title: "Start, ms".to_owned(), goal, bars: vec![bar("a & b", 100), bar("c", 25)] };
        let svg = picture("Starts", &[panel]);
        for part in [
            "width=\"460\" height=\"16\"",
            "width=\"115\" height=\"16\"",
            "a &amp; b",
            "x1=\"430\" x2=\"430\"",
            "prefers-color-scheme:dark",
        ] {
            assert!(svg.contains(part), "{part} is missing:\n{svg}");
        }
    }
}
