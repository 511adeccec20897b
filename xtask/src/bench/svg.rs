//! Plots as SVG. Written here because all that is needed is bars with their range: a plotting crate would bring fonts,
//! rasterisers and a hundred other crates.
use std::fmt::Write;

/// One plot: horizontal bars, the longest as wide as the plot.
#[derive(Debug, Clone, Default)]
pub(crate) struct Plot {
    pub(crate) title: String,
    /// Whether a longer bar is a better one.
    pub(crate) more_is_better: bool,
    pub(crate) bars: Vec<Bar>,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Bar {
    pub(crate) label: String,
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) max: f64,
    /// The median as people read it.
    pub(crate) shown: String,
    /// Ours stand out.
    pub(crate) ours: bool,
}

const WIDTH: f64 = 560.0;
const LABEL: f64 = 104.0;
const FIGURE: f64 = 96.0;
const ROW: f64 = 22.0;
const TITLE: f64 = 30.0;
const GAP: f64 = 14.0;
/// Readable on white and, in a dark page, on the white that the plot brings along.
const STYLE: &str = "text{font:12px system-ui,sans-serif;fill:#222}.t{font-weight:600}.d{fill:#777}.o{fill:#9aa7b4}\
                     .m{fill:#2f6fde}.w{stroke:#111;stroke-width:1.2;fill:none}";

/// Plots one below the other, in as many columns.
pub(crate) fn sheet(plots: &[Plot], columns: usize) -> String {
    let columns = columns.max(1);
    let rows: Vec<&[Plot]> = plots.chunks(columns).collect();
    let heights: Vec<f64> = rows.iter().map(|row| row.iter().map(Plot::height).fold(0.0, f64::max)).collect();
    let (width, height) = (WIDTH * columns as f64 + GAP, heights.iter().sum::<f64>() + GAP);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\">\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n"
    );
    let mut top = GAP / 2.0;
    for (row, height) in rows.iter().zip(heights) {
        for (column, plot) in row.iter().enumerate() {
            plot.draw(GAP + WIDTH * column as f64, top, &mut out);
        }
        top += height;
    }
    out.push_str("</svg>\n");
    out
}

/// Text that is nothing but text in XML and HTML.
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML has no way to write these
            c if c.is_control() && c != '\n' && c != '\t' => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    out
}

impl Plot {
    fn height(&self) -> f64 {
        TITLE + ROW * self.bars.len() as f64 + GAP
    }

    fn draw(&self, left: f64, top: f64, out: &mut String) {
        let better = if self.more_is_better { "more is better" } else { "less is better" };
        let _ = writeln!(
            out,
            "<text class=\"t\" x=\"{left:.0}\" y=\"{:.0}\">{} <tspan class=\"d\" font-weight=\"400\">({better})</tspan></text>",
            top + 18.0,
            escape(&self.title)
        );
        let longest = self.bars.iter().map(|bar| bar.max.max(bar.median)).fold(0.0, f64::max);
        let room = WIDTH - LABEL - FIGURE - GAP;
        let length = |value: f64| if longest > 0.0 { (value / longest * room).clamp(0.0, room) } else { 0.0 };
        for (i, bar) in self.bars.iter().enumerate() {
            let y = top + TITLE + ROW * i as f64;
            let (x, middle, base) = (left + LABEL, y + 8.0, y + 12.0);
            let kind = if bar.ours { "m" } else { "o" };
            let (low, high) = (x + length(bar.min), x + length(bar.max));
            let _ = writeln!(
                out,
                "<text x=\"{:.0}\" y=\"{base:.1}\" text-anchor=\"end\">{}</text>\
                 <rect class=\"{kind}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"16\" rx=\"2\"/>\
                 <path class=\"w\" d=\"M{low:.1} {middle:.1}H{high:.1}M{low:.1} {:.1}v6M{high:.1} {:.1}v6\"/>\
                 <text x=\"{:.1}\" y=\"{base:.1}\">{}</text>",
                x - 8.0,
                escape(&bar.label),
                length(bar.median),
                middle - 3.0,
                middle - 3.0,
                high.max(x + length(bar.median)) + 8.0,
                escape(&bar.shown)
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plot(bars: &[(&str, f64)]) -> Plot {
        let bar = |(label, median): &(&str, f64)| Bar {
            label: (*label).to_owned(),
            min: *median,
            median: *median,
            max: *median,
            ..Bar::default()
        };
        Plot { title: "a < b".into(), more_is_better: true, bars: bars.iter().map(bar).collect() }
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(escape("<a href=\"x\">&'"), "&lt;a href=&quot;x&quot;&gt;&amp;&#39;");
        assert_eq!(escape("a\u{0}b\u{1b}"), "a\u{fffd}b\u{fffd}");
        let svg = sheet(&[plot(&[("</text><script>", 1.0)])], 1);
        assert!(!svg.contains("<script>") && svg.contains("&lt;script&gt;") && svg.contains("a &lt; b"));
    }

    #[test]
    fn the_longest_bar_fills_the_plot_and_others_are_in_proportion() {
        let svg = sheet(&[plot(&[("a", 10.0), ("b", 5.0), ("c", 0.0)])], 1);
        let widths: Vec<f64> = svg
            .split("<rect class=\"o\"")
            .skip(1)
            .filter_map(|rest| rest.split("width=\"").nth(1)?.split('"').next()?.parse().ok())
            .collect();
        let room = WIDTH - LABEL - FIGURE - GAP;
        assert_eq!(widths, [room, room / 2.0, 0.0]);
    }

    #[test]
    fn nothing_and_zeros_make_a_picture_too() {
        for svg in [sheet(&[], 2), sheet(&[plot(&[("a", 0.0)])], 0)] {
            assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n") && !svg.contains("NaN"));
        }
    }
}
